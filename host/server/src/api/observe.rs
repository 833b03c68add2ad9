//! Around every request: its id, its span and log line, its metrics, the time limit and the net under
//! panics.

use std::{any::Any, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    middleware::Next,
    response::{IntoResponse, Response},
};
use dermaga_shop::{Code, Error, db::new_id, workers::panic_message};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::api::AppState;
use crate::http::{Refusal, context};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken over from a client or proxy.
const REQUEST_ID_MAX_LENGTH: usize = 128;

/// Sets the context of the request and reports on it when it is answered.
pub async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let request_id =
        accepted_id(request.headers()).unwrap_or_else(|| new_id::<Uuid>(&state.clock).to_string());
    let method = known_method(request.method());
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!(
        "request",
        request.id = request_id,
        user.id = tracing::field::Empty,
        acting.id = tracing::field::Empty
    );

    let started = Instant::now();
    let named = context::named(request.headers());
    let mut response = context::within(state.clock.clone(), named, next.run(request))
        .instrument(span.clone())
        .await;
    let duration = started.elapsed();

    let status = response.status().as_u16();
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(parent: &span, http.method = method, http.route = route, http.status = status, duration_ms, "request");
    let labels = [
        ("method", method.to_owned()),
        ("route", route),
        ("status", status.to_string()),
    ];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_duration_seconds", &labels).record(duration);
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The method as a label. HTTP lets clients invent methods of any length, and every label that was
/// ever seen is kept.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 9] = [
        (Method::GET, "GET"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::PATCH, "PATCH"),
        (Method::DELETE, "DELETE"),
        (Method::HEAD, "HEAD"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::CONNECT, "CONNECT"),
        (Method::TRACE, "TRACE"),
    ];
    let known = KNOWN.iter().find(|(known, _)| known == method);
    known.map_or("OTHER", |(_, name)| name)
}

/// Returns the id sent by a client or proxy, when it is harmless in logs and headers.
fn accepted_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = (1..=REQUEST_ID_MAX_LENGTH).contains(&id.len());
    (fits && id.bytes().all(sane)).then(|| id.to_owned())
}

/// Ends a request that takes too long to begin its answer; what streams after that may go on.
pub async fn time_out(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let limit = state.config.http.request_timeout;
    tokio::time::timeout(limit, next.run(request))
        .await
        .unwrap_or_else(|_| {
            let message = format!(
                "This took longer than {} seconds and was given up.",
                limit.as_secs()
            );
            Refusal(Error::new(Code::RequestTimeout, message)).into_response()
        })
}

/// Answer of a panicking handler.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands the panic over"
)]
pub fn catch_panics(panic: Box<dyn Any + Send>) -> Response {
    let error = Error::internal(format!("panicked: {}", panic_message(&*panic)));
    Refusal(error).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_over_sane_ids_only() {
        for (id, taken) in [
            ("abc-123_4.5", true),
            ("", false),
            ("a b", false),
            ("a\u{7f}", false),
            (&*"a".repeat(129), false),
        ] {
            let Ok(value) = HeaderValue::from_bytes(id.as_bytes()) else {
                continue;
            };
            let headers = HeaderMap::from_iter([(REQUEST_ID, value)]);
            assert_eq!(accepted_id(&headers).is_some(), taken, "{id}");
        }
    }
}
