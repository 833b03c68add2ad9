//! Logs to stderr and metrics for Prometheus.

pub(crate) mod lines;
mod registered;
pub mod traces;

use std::{
    io::{self, IsTerminal as _, Stderr},
    sync::OnceLock,
    time::Duration,
};

use dermaga_shop::{
    traces::TARGET,
    workers::{Next, Worker},
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry_sdk::trace::SdkTracer;
use tokio_util::sync::CancellationToken;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::filter_fn, fmt, layer::SubscriberExt as _,
    registry::LookupSpan, util::SubscriberInitExt as _,
};

use self::lines::Lines;

/// Settings of log and traces.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Filter of events: a level, or directives such as `info,dermaga=debug`.
    pub log: String,
    pub log_format: LogFormat,
    /// Address of the collector of traces; none are sent without it.
    pub otlp_endpoint: Option<String>,
}

/// Form of a logged event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Upper bounds of durations in seconds; from a cached answer to the longest plugin call.
const DURATION_BUCKETS: &[f64] = &[
    0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Upper bounds of fuel: from a price to the limit of a rendering.
const FUEL_BUCKETS: &[f64] = &[1e4, 1e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 2e8];

/// Interval at which recorded durations are sorted into their buckets.
const SORTED_EVERY: Duration = Duration::from_secs(5);

/// Filter for a library that logs its every step; name it in `DERMAGA_LOG` to see them.
const QUIETER: &str = "tokio_cron_scheduler=warn";

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
static LOG: OnceLock<Lines<Stderr>> = OnceLock::new();

/// Sends events to stderr, and spans to the collector when there is one and they are wanted. The
/// first call in a process counts.
pub fn start_logging(settings: &Settings, is_traced: bool) {
    let filter = EnvFilter::try_new(format!("{QUIETER},{TARGET}=off,{}", settings.log))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let log = LOG.get_or_init(|| Lines::new(io::stderr()));
    let is_terminal = io::stderr().is_terminal();
    let events = fmt::layer::<Registry>().with_writer(log.clone());
    let events = match settings.log_format {
        LogFormat::Text => events.with_ansi(is_terminal).boxed(),
        LogFormat::Json => events
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    };
    let endpoint = settings.otlp_endpoint.as_deref().filter(|_| is_traced);
    let (tracer, failure) = match endpoint.map(traces::tracer).transpose() {
        Ok(tracer) => (tracer, None),
        Err(error) => (None, Some(error)),
    };
    // An error means that this process has a subscriber already, as in tests.
    let is_first = tracing_subscriber::registry()
        .with(events.with_filter(filter))
        .with(tracer.map(spans))
        .try_init()
        .is_ok();
    if is_first && !is_terminal {
        log.wait();
    }
    if let Some(error) = failure {
        tracing::error!(%error, "traces.not_started");
    }
}

/// Writes what waits in the log.
pub fn write_log() {
    if let Some(log) = LOG.get() {
        log.write_out();
    }
}

/// Returns the layer that hands spans to a tracer.
fn spans<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + 'static,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(is_traceable).with_max_level_hint(Level::INFO))
}

/// Returns true for spans of this program. Events stay in the log, and libraries are left out: the
/// client that sends spans would make others.
fn is_traceable(metadata: &Metadata<'_>) -> bool {
    metadata.is_span()
        && metadata.target().starts_with("dermaga")
        && *metadata.level() <= Level::INFO
}

/// Starts the metrics, once in a process: servers in one process share them.
pub fn start_metrics() {
    METRICS.get_or_init(|| {
        let recorder = builder().unwrap_or_default().build_recorder();
        let handle = recorder.handle();
        // An error means that this process has a recorder already; its handle belongs to its owner.
        let _ = metrics::set_global_recorder(recorder);
        registered::describe();
        metrics::gauge!("dermaga_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        handle
    });
}

/// Returns a builder whose histograms have buckets that fit them.
fn builder() -> Result<PrometheusBuilder, BuildError> {
    let (seconds, fuel) = ("_seconds".to_owned(), "_fuel".to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix(seconds), DURATION_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix(fuel), FUEL_BUCKETS)
}

/// Sorts recorded durations into buckets until the server stops, so that memory does not grow when
/// the metrics are never read.
pub async fn keep_up(cancel: CancellationToken) {
    let step = || async {
        if let Some(metrics) = METRICS.get() {
            metrics.run_upkeep();
        }
        Ok(Next::AfterRest)
    };
    Worker::new("metrics", SORTED_EVERY).run(cancel, step).await;
}

/// Returns all metrics in the Prometheus text format.
pub fn render_metrics() -> String {
    METRICS
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}
