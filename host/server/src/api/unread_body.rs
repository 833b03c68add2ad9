//! Refuses the body of an operation that reads none.
//!
//! A field that is ignored is dangerous where it means a condition to its sender:
//! `POST /api/subscriptions/{id}/freeze {"at": "now"}` would freeze at the end of the period. The document says
//! which operations have a body; those refuse unknown fields themselves.

use std::mem;

use axum::{
    body::{Body as SentBody, HttpBody as _},
    extract::{DefaultBodyLimit, FromRequest as _, OptionalFromRequest, Request},
    http::{HeaderMap, Method},
};
use garde::Validate;
use serde::Deserialize;
use utoipa::{ToSchema, openapi::OpenApi};

use super::unread_query::{Operations, operations};
use crate::http::{Body, Refusal, announced::Raw};

/// Bytes of a body that is looked at to refuse it.
const MOST_BYTES: usize = 4 * 1024;
/// Programs of mail services send a form to it (RFC 8058), which says nothing new.
pub(super) const UNSUBSCRIBE_PATH: &str = "/api/notifications/unsubscribe/{token}";

/// Operations that read a body, or must take any.
#[derive(Debug)]
pub(super) struct BodyReaders(Operations);

impl BodyReaders {
    /// Collects the operations with a body in the document.
    pub(super) fn of(document: &OpenApi) -> Self {
        let mut readers = Operations::default();
        for (path, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                if path == UNSUBSCRIBE_PATH || operation.request_body.is_some() {
                    readers.add(method, path);
                }
            }
        }
        Self(readers)
    }

    /// Returns true for a request with a body that its operation does not read.
    pub(super) fn is_unread(&self, path: &str, request: &Request) -> bool {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD)
            || self.0.has(request.method(), path);
        !is_read && !request.body().is_end_stream()
    }
}

/// A body without fields.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// Takes the body of a request and reads it: only an empty one, `null` and `{}` say nothing.
///
/// # Errors
/// The refusal of any other body.
pub(super) async fn refuse_body(request: &mut Request) -> Result<(), Refusal> {
    let body = mem::take(request.body_mut());
    says_nothing(body, request.headers()).await
}

async fn says_nothing(body: SentBody, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut sent = with_head(body, headers);
    DefaultBodyLimit::max(MOST_BYTES).apply(&mut sent);
    let Raw(bytes) = Raw::from_request(sent, &()).await?;
    // A body whose end only its reading shows has no content type either.
    if bytes.is_empty() {
        return Ok(());
    }
    let whole = with_head(bytes.into(), headers);
    let read = <Body<NoFields> as OptionalFromRequest<()>>::from_request(whole, &());
    read.await.map(drop)
}

fn with_head(body: SentBody, headers: &HeaderMap) -> Request {
    let mut request = Request::new(body);
    headers.clone_into(request.headers_mut());
    request
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Bytes,
        http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
        response::IntoResponse as _,
    };
    use dermaga_shop::{Code, Error};
    use futures::stream;

    use super::*;

    /// Sends the parts of a body whose length is not announced.
    async fn send(kind: Option<&'static str>, parts: Vec<Bytes>) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let parts = parts.into_iter().map(Ok::<_, std::io::Error>);
        let body = SentBody::from_stream(stream::iter(parts));
        says_nothing(body, &headers)
            .await
            .map_err(|refusal| refusal.0)
    }

    const JSON: Option<&str> = Some("application/json");

    #[tokio::test]
    async fn a_body_that_says_nothing_is_taken() {
        for nothing in ["", "{}", " {\n} ", "null"] {
            let sent = send(JSON, vec![nothing.into()]).await;
            assert!(sent.is_ok(), "{nothing:?}: {sent:?}");
        }
        assert!(send(None, Vec::new()).await.is_ok());
        assert!(send(None, vec!["".into()]).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_says_something_is_refused() {
        for (something, field) in [
            (r#"{"at": "now"}"#, "at"),
            (r#"{"at": null}"#, "at"),
            ("[]", "body"),
            ("true", "body"),
        ] {
            let refused = send(JSON, vec![something.into()]).await.unwrap_err();
            assert_eq!(refused.code, Code::ValidationFailed, "{something}");
            assert_eq!(refused.details[0].field, field, "{something}");
        }
        let refused = send(JSON, vec!["{".into()]).await.unwrap_err();
        assert_eq!(refused.code, Code::MalformedRequest);
        let refused = send(None, vec![r#"{"at": "now"}"#.into()]).await;
        assert_eq!(refused.unwrap_err().code, Code::UnsupportedMediaType);
    }

    #[tokio::test]
    async fn a_long_body_is_not_read_to_its_end() {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"    ")));
        let refused = says_nothing(SentBody::from_stream(endless), &HeaderMap::new()).await;
        let answer = refused.unwrap_err().into_response();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
