//! Traces, sent to a collector by OTLP over HTTP.

use std::{
    env,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::HeaderMap;
use dermaga_shop::traces::TARGET;
use opentelemetry::{
    propagation::TextMapPropagator as _,
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use reqwest::{
    StatusCode, Url,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    redirect::Policy,
};
use tokio::runtime::Handle;
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Name of the service, unless `OTEL_SERVICE_NAME` has another.
const SERVICE: &str = "dermaga";
/// Longest time in which the collector takes spans.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Provider of this process, which has spans that are not sent yet.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Failure to prepare the export.
#[derive(Debug, thiserror::Error)]
pub(super) enum TracesError {
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    #[error(transparent)]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error(transparent)]
    Runtime(#[from] tokio::runtime::TryCurrentError),
}

/// Returns a tracer whose spans go to the collector at this address.
///
/// # Errors
/// When the client cannot be made, or outside of a runtime.
pub(super) fn tracer(endpoint: &str) -> Result<SdkTracer, TracesError> {
    let client = Client {
        http: client()?,
        threads: Handle::try_current()?,
        is_away: Arc::default(),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address(endpoint))
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let mut resource = Resource::builder();
    if env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(SERVICE);
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build();
    let tracer = provider.tracer(SERVICE);
    // The first one of a process counts, as with its log.
    let _ = PROVIDER.set(provider);
    Ok(tracer)
}

/// Returns the address at which a collector takes traces. A query stays behind the path.
pub fn address(endpoint: &str) -> String {
    let Ok(mut url) = Url::parse(endpoint) else {
        return endpoint.to_owned();
    };
    let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.into()
}

/// Sends an export without a span to this address, with the headers that exports have; returns the status of
/// the answer.
///
/// # Errors
/// When there is none.
pub async fn probe(address: &str) -> reqwest::Result<StatusCode> {
    let given = env::var("OTEL_EXPORTER_OTLP_TRACES_HEADERS")
        .or_else(|_| env::var("OTEL_EXPORTER_OTLP_HEADERS"));
    let answer = client()?
        .post(address)
        .headers(headers(&given.unwrap_or_default()))
        .header(CONTENT_TYPE, "application/x-protobuf")
        .body(Vec::<u8>::new())
        .send()
        .await?;
    Ok(answer.status())
}

/// Reads `NAME=VALUE`, separated by commas, as the exporter does.
fn headers(given: &str) -> HeaderMap {
    let pairs = given.split(',').filter_map(|pair| pair.split_once('='));
    let read = pairs.filter_map(|(name, value)| {
        let name: HeaderName = name.trim().parse().ok()?;
        let value = value.trim();
        let decoded = percent_decoded(value).unwrap_or_else(|| value.to_owned());
        let mut value = HeaderValue::from_str(&decoded).ok()?;
        value.set_sensitive(true);
        (!value.is_empty()).then_some((name, value))
    });
    read.collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

fn client() -> reqwest::Result<reqwest::Client> {
    // One TLS provider for the process; a second installation changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(EXPORT_TIMEOUT)
        .redirect(Policy::none())
        .build()
}

/// Sends what is not sent yet, and ends the export.
pub async fn end() {
    let Some(provider) = PROVIDER.get().cloned() else {
        return;
    };
    let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(EXPORT_TIMEOUT));
    if let Ok(Err(error)) = ended.await {
        tracing::warn!(%error, "traces.not_sent");
    }
}

/// Client of reqwest whose requests run on the threads of the server. The thread that sends spans
/// is none of those.
#[derive(Debug, Clone)]
struct Client {
    http: reqwest::Client,
    threads: Handle,
    /// True while the collector takes nothing, so that the log says so once.
    is_away: Arc<AtomicBool>,
}

impl HttpClient for Client {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let client = self.clone();
        let sent = self.threads.spawn(async move {
            let answer = client.send(request).await;
            client.note(&answer);
            answer
        });
        Box::pin(async move { sent.await? })
    }
}

impl Client {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        // A user in the address lets the server in here as it does in `probe`; errors do not name the address,
        // which may hold a key.
        let request = self.http.request(parts.method, parts.uri.to_string());
        let sent = request.headers(parts.headers).body(body).send().await;
        let answer = sent.map_err(reqwest::Error::without_url)?;
        let status = answer.status();
        let body = answer.bytes().await?;
        Ok(Response::builder().status(status).body(body)?)
    }

    /// Counts an attempt, and logs the first failure and the end of failures.
    fn note(&self, answer: &Result<Response<Bytes>, HttpError>) {
        let failure = match answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let result = if failure.is_some() { "FAILED" } else { "TAKEN" };
        metrics::counter!("dermaga_trace_exports_total", "result" => result).increment(1);
        let was_away = self.is_away.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !was_away => tracing::warn!(error, "traces.not_taken"),
            None if was_away => tracing::info!("traces.taken_again"),
            _ => {}
        }
    }
}

/// Returns the span of a request. It is part of the trace that the headers of a believed caller
/// name.
pub fn of_request(method: &str, route: &str, believed: Option<&HeaderMap>) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "http",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    );
    if let Some(headers) = believed.filter(|_| !span.is_disabled()) {
        let caller = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        if caller.span().span_context().is_valid() {
            // An error means that this process sends no traces.
            let _ = span.set_parent(caller);
        }
    }
    span
}

/// Writes down the answer of a request in its span.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_takes_traces_below_its_address() {
        for (endpoint, expected) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            (
                "https://a:b@c.example/otlp/?key=d",
                "https://a:b@c.example/otlp/v1/traces?key=d",
            ),
        ] {
            assert_eq!(address(endpoint), expected);
        }
    }

    #[test]
    fn headers_are_read_as_the_exporter_reads_them() {
        let read =
            headers("api-key=a%20b%3D, Authorization = Basic dG9rbw== ,bad name=x,odd=%zz,none=,x");
        let read: Vec<(&str, &str)> = read
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let expected = [
            ("api-key", "a b="),
            ("authorization", "Basic dG9rbw=="),
            ("odd", "%zz"),
        ];
        assert_eq!(read, expected);
        assert!(headers("").is_empty());
    }
}
