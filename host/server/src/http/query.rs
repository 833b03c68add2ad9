//! Query strings, with the same refusals as bodies.

use axum::{extract::FromRequestParts, http::request::Parts};
use garde::Validate;
use serde::de::DeserializeOwned;

use super::{
    PageQuery,
    body::validate,
    echo::{cut, shortened},
};
use crate::Error;

/// A query string that fits its type and the type's rules.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T, S> FromRequestParts<S> for Params<T>
where
    T: DeserializeOwned + Validate<Context = ()>,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// `page` and `limit`, and the list's own filters.
#[derive(Debug)]
pub struct Paged<F>(pub PageQuery, pub F);

impl<F, S> FromRequestParts<S> for Paged<F>
where
    F: DeserializeOwned + Validate<Context = ()>,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let (mut page, mut filter) = (String::new(), String::new());
        for pair in parts.uri.query().unwrap_or_default().split('&') {
            let name = pair.split('=').next().unwrap_or_default();
            let part = if matches!(name, "page" | "limit") {
                &mut page
            } else {
                &mut filter
            };
            part.push_str(pair);
            part.push('&');
        }
        Ok(Self(parse(&page)?, parse(&filter)?))
    }
}

fn parse<T: DeserializeOwned + Validate<Context = ()>>(query: &str) -> Result<T, Error> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    let value = serde_path_to_error::deserialize(pairs).map_err(|error| {
        let path = error.path().to_string();
        Error::invalid(
            if path == "." {
                "query".into()
            } else {
                cut(&path, 100)
            },
            shortened(&error.inner().to_string()),
        )
    })?;
    validate(&value)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, Validate)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        #[garde(skip)]
        slug: Option<String>,
    }

    async fn read(query: &str) -> Result<Paged<Filter>, Error> {
        let (mut parts, ()) = axum::http::Request::get(format!("/?{query}"))
            .body(())
            .unwrap()
            .into_parts();
        Paged::from_request_parts(&mut parts, &()).await
    }

    #[tokio::test]
    async fn splits_pages_from_filters() {
        let Paged(page, filter) = read("slug=n8n&limit=5").await.unwrap();
        assert_eq!(
            (page.page, page.limit, filter.slug.as_deref()),
            (1, 5, Some("n8n"))
        );
        assert_eq!(read("").await.unwrap().0, PageQuery::default());
    }

    #[tokio::test]
    async fn names_the_parameter() {
        for (query, field) in [
            ("limit=101", "limit"),
            ("page=0", "page"),
            ("page=x", "page"),
            ("slog=n8n", "slog"),
        ] {
            let error = read(query).await.unwrap_err();
            assert_eq!(
                error.details[0].field, field,
                "{query}: {}",
                error.details[0].message
            );
        }
    }
}
