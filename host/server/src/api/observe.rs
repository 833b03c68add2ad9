//! Observation of every request: its id, its span and log line, its metrics; the time limit and the net under
//! panics.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    response::{IntoResponse, Response},
};
use dermaga_shop::{
    Code, Error,
    db::{Clock, new_id},
    language::Language,
    text::counted,
    workers::panic_message,
};
use metrics::{Counter, Histogram};
use tracing::{Instrument as _, Span, level_filters::LevelFilter};
use uuid::Uuid;

use crate::{
    api::{AppState, rate_limits::PROBES},
    http::{Refusal, context},
    telemetry::traces,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken over from a client or proxy.
const REQUEST_ID_MAX_LENGTH: usize = 128;
/// Route whose handler writes nothing into the log.
const SILENT: &str = "/healthz";

/// Metrics of requests by what they are labelled with. A metric that is named for each request builds and hashes
/// its labels each time.
#[derive(Debug, Default)]
struct Meters(RwLock<HashMap<String, Vec<Meter>>>);

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

/// Observer of requests.
#[derive(Debug)]
pub struct Observer {
    state: AppState,
    meters: Meters,
}

impl Observer {
    pub fn new(state: AppState) -> Self {
        let meters = Meters::default();
        Self { state, meters }
    }

    /// Reads from a request what its observation needs.
    pub fn see(&self, request: &Request) -> Seen<'_> {
        let headers = request.headers();
        let id = accepted_id(headers).unwrap_or_else(|| made_id(&self.state.clock));
        let path = request.extensions().get::<MatchedPath>().cloned();
        let method = known_method(request.method());
        let is_believed = self.state.config.http.trusted_proxies > 0;
        let traced =
            traces::of_request(method, route(path.as_ref()), is_believed.then_some(headers));
        // A span is formatted when it is made. Here no line would have it, but that of a failure.
        let is_silent = route(path.as_ref()) == SILENT
            && traced.is_disabled()
            && LevelFilter::current() < LevelFilter::DEBUG;
        let span = if is_silent {
            Span::none()
        } else {
            span_of(&traced, &id)
        };
        Seen {
            observer: self,
            id,
            path,
            method,
            named: context::named(headers),
            traced,
            span,
        }
    }
}

/// A request under observation.
#[derive(Debug)]
pub struct Seen<'a> {
    observer: &'a Observer,
    id: HeaderValue,
    path: Option<MatchedPath>,
    method: &'static str,
    named: Option<Language>,
    traced: Span,
    span: Span,
}

impl Seen<'_> {
    /// Answers the request in its context, and reports on it within its span.
    pub async fn answered(self, answering: impl Future<Output = Response> + Send) -> Response {
        let Self {
            observer: Observer { state, meters },
            id,
            path,
            method,
            named,
            traced,
            span,
        } = self;
        let is_silent = span.is_none();
        let reporting = async move {
            let started = Instant::now();
            let answering = context::within(state.clock.clone(), named, answering);
            let mut response = answering.await;
            let duration = started.elapsed();
            let (route, status) = (route(path.as_ref()), response.status().as_u16());
            if is_silent && status >= 400 {
                let span = span_of(&Span::none(), &id);
                span.in_scope(|| report(method, route, status, duration));
            } else {
                report(method, route, status, duration);
            }
            meters.note(route, method, status, duration);
            response.headers_mut().insert(REQUEST_ID, id);
            response
        };
        let response = reporting.instrument(span).instrument(traced.clone()).await;
        traces::answered(&traced, response.status().as_u16());
        response
    }
}

/// Name of a route in spans, lines and metrics.
fn route(path: Option<&MatchedPath>) -> &str {
    path.map_or("unmatched", MatchedPath::as_str)
}

/// Returns the span that lines of a request have.
fn span_of(traced: &Span, id: &HeaderValue) -> Span {
    tracing::info_span!(
        parent: traced,
        "request",
        request.id = id.to_str().unwrap_or_default(),
        user.id = tracing::field::Empty,
        acting.id = tracing::field::Empty
    )
}

/// Writes the line of a request.
fn report(method: &str, route: &str, status: u16, duration: Duration) {
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
pub async fn in_time(
    limit: Duration,
    answering: impl Future<Output = Response> + Send,
) -> Response {
    tokio::time::timeout(limit, answering)
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
    use crate::telemetry::lines::REQUESTS;

    #[test]
    fn the_log_knows_lines_about_requests_by_this_module() {
        assert_eq!(module_path!(), format!("{REQUESTS}::tests"));
    }

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
