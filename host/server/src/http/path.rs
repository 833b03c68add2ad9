//! Parts of the address.

use axum::{
    extract::{FromRequestParts, OriginalUri, Path},
    http::request::Parts,
};
use dermaga_shop::{Code, Error};
use serde::de::DeserializeOwned;

use super::echo;
use crate::http::Refusal;

/// The id in `/things/{id}`. A text that is not a UUID names nothing: 404, as for an unknown one.
#[derive(Debug, Clone, Copy)]
pub struct Id<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Segment(id) = Segment::from_request_parts(parts, state).await?;
        Ok(Self(id))
    }
}

/// Any other part of the address, or a tuple of several.
#[derive(Debug, Clone, Copy)]
pub struct Segment<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let missing = || {
            // A nested router sees the rest of the path alone.
            let whole = parts.extensions.get::<OriginalUri>();
            let path = whole.map_or(parts.uri.path(), |whole| whole.path());
            let message = format!("There is nothing at {}.", echo::cut(path, 200));
            Error::new(Code::NotFound, message)
        };
        // Nothing has a name with U+0000 in it, and PostgreSQL refuses to look for one.
        if parts.uri.path().contains("%00") {
            return Err(missing().into());
        }
        let Path(value) = path.map_err(|rejection| missing().caused_by(rejection))?;
        Ok(Self(value))
    }
}
