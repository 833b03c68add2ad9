//! JSON bodies: read whole, checked, and refused with the field that is wrong.

use axum::{
    body::{Bytes, HttpBody as _},
    extract::{FromRequest, OptionalFromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, header},
};
use garde::Validate;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::{
    BODY_LIMIT_BYTES,
    echo::{cut, shortened},
};
use crate::{Code, Error};

/// A JSON body that fits its type and the type's rules.
///
/// Refusals: 415 for another content type, 413 when too large, `MALFORMED_REQUEST` with line and
/// column for what is not JSON, `VALIDATION_FAILED` with one detail a field for the rest. Types
/// carry `#[serde(deny_unknown_fields)]`, so that a misspelt field is named and not ignored.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: DeserializeOwned + Validate<Context = ()>,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        read(request, state).await.map(|(value, _)| Self(value))
    }
}

/// Reads a body as [`Body`] does; with the bytes it was read from.
pub(super) async fn read<T, S>(request: Request, state: &S) -> Result<(T, Bytes), Error>
where
    T: DeserializeOwned + Validate<Context = ()>,
    S: Send + Sync,
{
    if !is_json(request.headers()) {
        let message = "Send the body as JSON, with the header `Content-Type: application/json`.";
        return Err(Error::new(Code::UnsupportedMediaType, message));
    }
    if is_announced_too_large(request.headers()) {
        return Err(too_large());
    }
    let bytes = Bytes::from_request(request, state)
        .await
        .map_err(unreadable)?;
    let bytes = bytes.slice_ref(without_bom(&bytes));
    let value = parse::<T>(&bytes)?;
    validate(&value)?;
    Ok((value, bytes))
}

/// The body without the byte order mark that some editors and shells put before a text.
pub fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// A body that may be left out: absent when nothing was sent.
impl<T, S> OptionalFromRequest<S> for Body<T>
where
    T: DeserializeOwned + Validate<Context = ()>,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Error> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state)
            .await
            .map(Some)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = declared
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// A client that says how much it will send is refused before it sends it.
fn is_announced_too_large(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    length.is_some_and(|length| length > BODY_LIMIT_BYTES)
}

fn too_large() -> Error {
    let message = "The body is larger than this route accepts.";
    Error::new(Code::PayloadTooLarge, message)
}

fn unreadable(rejection: BytesRejection) -> Error {
    if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        return too_large();
    }
    Error::new(
        Code::MalformedRequest,
        "The body ended before it was complete.",
    )
    .caused_by(rejection)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refuse(&path, error.inner())
    })?;
    json.end().map_err(|error| refuse(".", &error))?;
    Ok(value)
}

fn refuse(path: &str, error: &serde_json::Error) -> Error {
    if error.classify() != Category::Data {
        let place = format!("line {}, column {}", error.line(), error.column());
        let message = format!("The body is not JSON: {} ({place}).", without_place(error));
        return Error::new(Code::MalformedRequest, message);
    }
    let field = if path == "." { "body" } else { path };
    Error::invalid(cut(field, 100), shortened(&without_place(error)))
}

/// The sentence without serde's ` at line 1 column 2`.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.clone(), |(sentence, _)| sentence.to_owned())
}

/// Applies a type's rules.
///
/// # Errors
/// `VALIDATION_FAILED` with one detail for each broken rule.
pub(super) fn validate<T: Validate<Context = ()>>(value: &T) -> Result<(), Error> {
    let Err(report) = value.validate() else {
        return Ok(());
    };
    let error = Error::new(Code::ValidationFailed, "The request has invalid fields.");
    Err(report
        .into_inner()
        .into_iter()
        .fold(error, |error, (path, fault)| {
            error.with(camel_case(&path.to_string()), fault.message())
        }))
}

/// Rules name fields as Rust does; clients know them in camelCase.
fn camel_case(path: &str) -> String {
    let mut raise = false;
    path.chars()
        .filter_map(|letter| {
            if letter == '_' {
                raise = true;
                return None;
            }
            Some(if std::mem::take(&mut raise) {
                letter.to_ascii_uppercase()
            } else {
                letter
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, Validate)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Order {
        #[garde(length(chars, min = 3))]
        plan_name: String,
        #[garde(skip)]
        #[expect(dead_code, reason = "only its type matters here")]
        amount: i64,
    }

    async fn send(content_type: &str, body: &str) -> Error {
        let request = Request::post("/")
            .header("content-type", content_type)
            .body(body.to_owned().into())
            .unwrap();
        <Body<Order> as FromRequest<()>>::from_request(request, &())
            .await
            .unwrap_err()
    }

    #[tokio::test]
    async fn names_what_is_wrong() {
        let json = "application/json; charset=utf-8";
        for (body, code, field, message) in [
            (
                r#"{"planName": "basic", "amount": "x"}"#,
                Code::ValidationFailed,
                "amount",
                "invalid type: string \"x\", expected i64",
            ),
            (
                r#"{"planName": "basic", "amount": 1.5}"#,
                Code::ValidationFailed,
                "amount",
                "invalid type: floating point `1.5`, expected i64",
            ),
            (
                r#"{"planName": "basic", "amount": 1, "extra": 2}"#,
                Code::ValidationFailed,
                "extra",
                "unknown field `extra`, expected `planName` or `amount`",
            ),
            (
                r#"{"planName": "ab", "amount": 1}"#,
                Code::ValidationFailed,
                "planName",
                "length is lower than 3",
            ),
            (
                r#"{"planName": "basic"}"#,
                Code::ValidationFailed,
                "body",
                "missing field `amount`",
            ),
            (
                "[]",
                Code::ValidationFailed,
                "body",
                "invalid length 0, expected struct Order with 2 elements",
            ),
        ] {
            let error = send(json, body).await;
            assert_eq!(
                (
                    error.code,
                    &*error.details[0].field,
                    &*error.details[0].message
                ),
                (code, field, message)
            );
        }
    }

    #[tokio::test]
    async fn says_where_the_json_breaks() {
        let error = send("application/json", "{\"planName\": \n oops}").await;
        assert_eq!(error.code, Code::MalformedRequest);
        assert_eq!(
            error.message,
            "The body is not JSON: expected value (line 2, column 2)."
        );
        let error = send(
            "application/json",
            "{\"planName\": \"basic\", \"amount\": 1} x",
        )
        .await;
        assert_eq!(
            error.message,
            "The body is not JSON: trailing characters (line 1, column 36)."
        );
    }

    #[tokio::test]
    async fn takes_nothing_but_json() {
        assert_eq!(
            send("text/plain", "{}").await.code,
            Code::UnsupportedMediaType
        );
    }
}
