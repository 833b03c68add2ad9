//! Around every request: its id, its span and log line, its metrics, the time limit and the net under
//! panics.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    middleware::Next,
    response::{IntoResponse, Response},
};
use dermaga_shop::{
    Code, Error,
    db::{Clock, new_id},
    text::counted,
    workers::panic_message,
};
use metrics::{Counter, Histogram};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    api::{AppState, rate_limits::PROBES},
    http::{Refusal, context},
    telemetry::traces,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken over from a client or proxy.
const REQUEST_ID_MAX_LENGTH: usize = 128;

/// Metrics of requests by what they are labelled with. A metric that is named for each request builds and hashes
/// its labels each time.
#[derive(Debug, Default)]
pub struct Meters(RwLock<HashMap<String, Vec<Meter>>>);

/// Metrics of a route, a method and a status.
struct Meter {
    method: &'static str,
    status: u16,
    requests: Counter,
    durations: Histogram,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

impl Meters {
    fn note(&self, route: &str, method: &'static str, status: u16, duration: Duration) {
        let is_it = |meter: &&Meter| meter.method == method && meter.status == status;
        {
            let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let meters = routes.get(route);
            if let Some(meter) = meters.and_then(|meters| meters.iter().find(is_it)) {
                meter.note(duration);
                return;
            }
        }
        let meter = Meter::of(route, method, status);
        meter.note(duration);
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let meters = routes.entry(route.to_owned()).or_default();
        // Another request may have been first.
        if !meters.iter().any(|meter| is_it(&meter)) {
            meters.push(meter);
        }
    }
}

impl Meter {
    fn of(route: &str, method: &'static str, status: u16) -> Self {
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.to_string()),
        ];
        Self {
            method,
            status,
            requests: metrics::counter!("http_requests_total", &labels),
            durations: metrics::histogram!("http_request_duration_seconds", &labels),
        }
    }

    fn note(&self, duration: Duration) {
        self.requests.increment(1);
        self.durations.record(duration);
    }
}

/// Sets the context of the request and reports on it when it is answered.
pub async fn observe(
    State((state, meters)): State<(AppState, Arc<Meters>)>,
    request: Request,
    next: Next,
) -> Response {
    let id = accepted_id(request.headers()).unwrap_or_else(|| made_id(&state.clock));
    let is_believed = state.config.http.trusted_proxies > 0;
    let believed = is_believed.then(|| request.headers());
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map_or("unmatched", MatchedPath::as_str);
    let traced = traces::of_request(known_method(request.method()), route, believed);
    let span = tracing::info_span!(
        parent: &traced,
        "request",
        request.id = id.to_str().unwrap_or_default(),
        user.id = tracing::field::Empty,
        acting.id = tracing::field::Empty
    );
    let answering = async move {
        let mut response = answer(&state, &meters, request, next).await;
        response.headers_mut().insert(REQUEST_ID, id);
        response
    };
    let response = answering.instrument(span).instrument(traced.clone()).await;
    traces::answered(&traced, response.status().as_u16());
    response
}

/// Answers a request in its context, and reports on it within its span.
async fn answer(state: &AppState, meters: &Meters, request: Request, next: Next) -> Response {
    let method = known_method(request.method());
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or("unmatched", MatchedPath::as_str);
    let started = Instant::now();
    let named = context::named(request.headers());
    let response = context::within(state.clock.clone(), named, next.run(request)).await;
    let duration = started.elapsed();
    let status = response.status().as_u16();
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    macro_rules! report {
        ($level:ident) => {
            tracing::$level!(
                http.method = method,
                http.route = route,
                http.status = status,
                duration_ms,
                "request"
            )
        };
    }
    if is_probe(route) && status < 400 {
        report!(debug);
    } else {
        report!(info);
    }
    meters.note(route, method, status, duration);
    response
}

/// Returns true for a route that is asked every few seconds for as long as a server runs: what others do is not to be
/// searched for between its lines.
fn is_probe(route: &str) -> bool {
    PROBES.contains(&route)
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
fn accepted_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let sane = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = (1..=REQUEST_ID_MAX_LENGTH).contains(&id.len());
    (fits && id.as_bytes().iter().all(sane)).then(|| id.clone())
}

fn made_id(clock: &Clock) -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    let text = new_id::<Uuid>(clock).hyphenated().encode_lower(&mut text);
    // Digits and hyphens are always a value.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
}

/// Ends a request that takes too long to begin its answer; what streams after that may go on.
pub async fn time_out(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let limit = state.config.http.request_timeout;
    tokio::time::timeout(limit, next.run(request))
        .await
        .unwrap_or_else(|_| {
            let message = format!(
                "This took longer than {} and was given up.",
                counted(limit.as_secs(), "second")
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
