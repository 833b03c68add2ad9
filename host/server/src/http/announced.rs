//! Bodies whose length is announced: one that its route does not take is refused by its head, and not waited for.

use std::{io, mem};

use axum::{
    RequestExt as _,
    body::{Body, Bytes, HttpBody as _},
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header::CONTENT_LENGTH},
};
use dermaga_shop::{Code, Error};
use futures::stream;

use super::Refusal;

/// A body as it was sent, read whole.
#[derive(Debug)]
pub(crate) struct Raw(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        Ok(Self(whole(request, state).await?))
    }
}

/// Reads a body, within the limit of its route.
///
/// # Errors
/// `PAYLOAD_TOO_LARGE`; `MALFORMED_REQUEST` for a body that does not arrive whole.
pub(super) async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Error> {
    let request = within_limit(request).ok_or_else(too_large)?;
    let read = Bytes::from_request(request, state).await;
    read.map_err(unreadable)
}

/// Returns the request, unless it announces a body that is larger than its route takes.
pub(super) fn within_limit(mut request: Request) -> Option<Request> {
    let Some(announced) = announced(request.headers()) else {
        return Some(request);
    };
    let most = limit(&mut request);
    (most.is_none_or(|most| announced <= most)).then_some(request)
}

/// Returns the limit of the route. Only axum can read it, and puts it around a body, here one of unknown length.
fn limit(request: &mut Request) -> Option<u64> {
    let unknown = Body::from_stream(stream::pending::<Result<Bytes, io::Error>>());
    let mut measure = Request::new(unknown);
    *measure.extensions_mut() = mem::take(request.extensions_mut());
    let mut measure = measure.with_limited_body();
    *request.extensions_mut() = mem::take(measure.extensions_mut());
    measure.body().size_hint().upper()
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn too_large() -> Error {
    let message = "The body is larger than this route accepts.";
    Error::new(Code::PayloadTooLarge, message)
}

fn unreadable(rejection: BytesRejection) -> Error {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large();
    }
    Error::new(
        Code::MalformedRequest,
        "The body ended before it was complete.",
    )
    .caused_by(rejection)
}

#[cfg(test)]
mod tests {
    use axum::{Router, extract::DefaultBodyLimit, routing::post};
    use tower::ServiceExt as _;

    use super::*;

    /// A body of which nothing ever comes.
    fn silent() -> Body {
        Body::from_stream(stream::pending::<Result<Bytes, io::Error>>())
    }

    async fn status(limit: usize, length: &str, body: Body) -> Option<StatusCode> {
        let taken = post(|Raw(bytes): Raw| async move { bytes });
        let router = Router::new()
            .route("/", taken)
            .layer(DefaultBodyLimit::max(limit));
        let request = Request::post("/")
            .header(CONTENT_LENGTH, length)
            .body(body)
            .unwrap();
        let second = std::time::Duration::from_secs(1);
        let answer = tokio::time::timeout(second, router.oneshot(request)).await;
        answer.ok().map(|answer| answer.unwrap().status())
    }

    #[tokio::test]
    async fn a_body_is_refused_by_the_length_that_it_announces() {
        let too_large = Some(StatusCode::PAYLOAD_TOO_LARGE);
        for (limit, length) in [(10, "11"), (5_000_000, "5000001"), (10, "9000000000")] {
            assert_eq!(status(limit, length, silent()).await, too_large, "{length}");
        }
        assert_eq!(status(10, "10", silent()).await, None, "it is waited for");
        assert_eq!(status(10, "5", "12345".into()).await, Some(StatusCode::OK));
        let longer = status(10, "5", "12345678901".into()).await;
        assert_eq!(longer, too_large, "it is longer than it announces");
        assert_eq!(status(3, "5", "12345".into()).await, too_large);
    }
}
