//! Order of the steps around all routes, as the headers of answers show it.

use std::time::Duration;

use axum::routing;
use dermaga_shop::rates::{Rates, Settings};

use super::*;

/// Site whose pages may call.
const SITE: &str = "https://toko.example.com";
/// Requests that are admitted.
const ADMITTED: u32 = 5;
/// Header for pages of the site, on an answer that no count has seen.
const ALLOWED_ALONE: &str = "+access-control-allow-origin -ratelimit";

/// A shop with small limits, and two routes more that fail.
async fn strict() -> (tempfile::TempDir, Router) {
    let slow = async || {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    };
    let panics = async || -> () { panic!("boom") };
    let (folder, app) = shop().await;
    let mut config = (*app.state.config).clone();
    config.http.request_timeout = Duration::from_secs(1);
    config.http.origins = SITE.parse().unwrap();
    let limits = Settings {
        catalogue: ADMITTED,
        ..Settings::default()
    };
    let state = app.state.with(|shared| {
        shared.config = config.into();
        shared.rates = Arc::new(Rates::new(shared.db.clone(), limits));
    });
    let extra = Router::new()
        .route("/slow", routing::get(slow))
        .route("/panics", routing::get(panics));
    let (routes, kinds) = routes(&state);
    (folder, surround(extra.merge(routes), kinds, state))
}

fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.body(Body::empty()).unwrap()
}

fn get(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    request(Method::GET, path, headers)
}

#[tokio::test]
async fn an_answer_has_the_headers_of_the_steps_that_it_passed() {
    let (_folder, router) = strict().await;
    let read = "/api/catalog/categories";
    let packed = [("content-encoding", "gzip")];
    let packed = || request(Method::POST, "/api/auth/login", &packed);
    let known = [("if-none-match", "*")];
    let asks = [("origin", SITE), ("access-control-request-method", "GET")];
    let [preflight, of_server] = [read, "*"].map(|path| request(Method::OPTIONS, path, &asks));
    for (request, status, shown) in [
        (
            get(read, &known),
            304,
            "+etag +vary +ratelimit -content-type",
        ),
        (packed(), 415, "+accept-encoding +ratelimit -etag"),
        // The time limit and the net for panics are around the count of requests.
        (get("/slow", &[]), 408, "-ratelimit"),
        (get("/panics", &asks), 500, ALLOWED_ALONE),
        (get("/nowhere", &known), 404, "+ratelimit -etag"),
        // The count is before a look at the request.
        (packed(), 429, "+ratelimit +retry-after -accept-encoding"),
        (get(read, &known), 429, "+ratelimit +retry-after -etag"),
        // These are not counted.
        (preflight, 200, ALLOWED_ALONE),
        (of_server, 204, "+allow -ratelimit"),
        (get("/healthz", &known), 200, "-ratelimit -etag"),
    ] {
        let asked = format!("{} {} for {status}", request.method(), request.uri());
        let (answer, headers, body) = send(&router, request).await;
        assert_eq!(answer.as_u16(), status, "{asked}: {body}");
        for one in shown.split(' ') {
            let name = &one[1..];
            let is_there = headers.contains_key(name);
            assert_eq!(is_there, one.starts_with('+'), "{asked}: {name}");
        }
        assert!(headers.contains_key("x-request-id"), "{asked}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{asked}");
        let is_kept = headers["cache-control"] != "no-store";
        assert_eq!(is_kept, status == 304, "{asked}");
    }
}

/// Its answer comes before the routes, and is observed as that of any other request.
#[tokio::test]
async fn what_a_browser_asks_before_a_call_is_counted_by_its_route() {
    telemetry::start_metrics();
    let (_folder, router) = strict().await;
    let asks = [("origin", SITE), ("access-control-request-method", "PUT")];
    let asked = request(Method::OPTIONS, "/api/wallet/info", &asks);
    let (answer, headers, _) = send(&router, asked).await;
    assert_eq!(answer, StatusCode::OK);
    assert_eq!(headers["access-control-allow-origin"], SITE);
    let metrics = telemetry::render_metrics();
    let counted = r#"http_requests_total{method="OPTIONS",route="/api/wallet/info",status="200"} "#;
    assert!(metrics.contains(counted), "{metrics}");
}
