//! Traces, and a collector that takes them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use serde_json::json;
use tokio::net::TcpListener;

use super::{
    servers::{Turns, buy, register},
    site::{Patient, Server, Site, free_address},
};

/// Trace of a caller, and the bytes of its id in an export.
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const CALLERS_TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

/// Takes exports, as a collector does.
struct Collector {
    base: String,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    async fn start() -> Self {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&taken);
        let take = move |headers: HeaderMap, body: Bytes| {
            let kept = Arc::clone(&kept);
            async move {
                assert_eq!(headers["content-type"], "application/x-protobuf");
                kept.lock().unwrap().extend_from_slice(&body);
            }
        };
        let router: Router = Router::new().route("/v1/traces", post(take));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, taken }
    }

    fn has(&self, part: &[u8]) -> bool {
        let taken = self.taken.lock().unwrap();
        taken.windows(part.len()).any(|window| window == part)
    }

    /// Waits for a part of an export; texts and ids are in it as they are.
    async fn takes(&self, part: &[u8]) {
        for _ in 0..1_200 {
            if self.has(part) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let taken = self.taken.lock().unwrap();
        panic!(
            "{} is not in {}",
            String::from_utf8_lossy(part),
            String::from_utf8_lossy(&taken)
        );
    }

    /// Waits for a span of this name, as it is in an export: field 5 of the span, and its length.
    async fn takes_span(&self, name: &str) {
        let mut field = vec![0x2a, u8::try_from(name.len()).unwrap()];
        field.extend_from_slice(name.as_bytes());
        self.takes(&field).await;
    }
}

/// Asks a server at this address as a caller that has a trace.
async fn ask(listen: &str, path: &str) {
    let request = reqwest::Client::new().get(format!("http://{listen}{path}"));
    let answer = request.header("traceparent", CALLER).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}

/// Starts a server that sends its spans soon, with this setting.
async fn started(name: &'static str, value: &str, proxies: &str) -> Option<(Site, String, Server)> {
    let site = Site::new(false).await?;
    let site = site
        .with(name, value.to_owned())
        .with("DERMAGA_TRUSTED_PROXIES", proxies.to_owned())
        .with("DERMAGA_REQUEST_TIMEOUT", "30s".to_owned())
        .with("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned());
    let listen = free_address();
    let server = Server::start_at(&site, &listen);
    Some((site, listen, server))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_requests_go_to_the_collector() {
    let setting = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let collector = Collector::start().await;
    let Some((_site, listen, server)) = started(setting, &collector.base, "1").await else {
        return;
    };
    ask(&listen, "/healthz").await;
    collector.takes(b"GET /healthz").await;
    collector.takes(&CALLERS_TRACE.to_be_bytes()).await;
    drop(server);

    // A stranger cannot put spans into traces of others.
    let collector = Collector::start().await;
    let Some((_site, listen, _server)) = started(setting, &collector.base, "0").await else {
        return;
    };
    ask(&listen, "/healthz").await;
    collector.takes(b"GET /healthz").await;
    assert!(!collector.has(&CALLERS_TRACE.to_be_bytes()));
}

/// Tops up, redeems, buys and runs a job: each step outside of a request's own code is a span.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_what_a_purchase_calls_go_to_the_collector() {
    let setting = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let collector = Collector::start().await;
    let Some((site, listen, _server)) = started(setting, &collector.base, "0").await else {
        return;
    };
    let stranger = Patient::new(&site).at(&listen);
    let admin = stranger.administrator(&site).await;
    let session = register(&stranger, "jejak@example.com").await;
    let customer = stranger.signed_in(&session);
    let top_up = json!({ "amount": 30_000, "paymentMethod": "QRIS" });
    customer.post("/api/wallet/topup", "top-up", &top_up).await;
    collector.takes_span("POST /api/wallet/topup").await;
    collector.takes_span("gateway").await;

    let (admins, customers) = (Turns::of(vec![admin.clone()]), Turns::of(vec![customer]));
    buy(&admins, &customers).await;
    for name in [
        "POST /api/subscriptions",
        "coupon-credit-topup evaluate",
        "service-postgresql price",
        "service-postgresql manifests",
        "reconcile",
    ] {
        collector.takes_span(name).await;
    }
    let renewals = "/api/admin/billing/process-renewals";
    admin.post(renewals, "renewals", &json!({})).await;
    collector.takes_span("daily-renewals").await;
}

/// The variable is one that an exporter would read, if one was made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_nothing_is_sent() {
    let collector = Collector::start().await;
    let variable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let address = format!("{}/v1/traces", collector.base);
    let Some((_site, listen, _server)) = started(variable, &address, "1").await else {
        return;
    };
    ask(&listen, "/healthz").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(collector.taken.lock().unwrap().is_empty());
}
