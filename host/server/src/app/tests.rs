//! The whole server in one process, asked over its router.

mod accounts;
mod connections;
mod log;
mod steps;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use dermaga_shop::{crypto::Secret, provisioning::Choice};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

use super::*;

/// A shop with nothing to sell, in a folder of its own.
pub(super) async fn shop() -> (tempfile::TempDir, App) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::in_folder(folder.path()).unwrap();
    config.plugins_dir = Some(folder.path().to_owned());
    config.templates_dir = Some(folder.path().to_owned());
    config.provisioning.provisioner = Choice::Directory;
    config.rates = config.rates.raised();
    config.admin_email = Some("admin@example.com".into());
    config.admin_password = Some(Secret::new("the admin's password"));
    let app = App::from_config(config, Clock::movable()).await.unwrap();
    (folder, app)
}

async fn send(
    router: &Router,
    request: Request<Body>,
) -> (StatusCode, axum::http::HeaderMap, Value) {
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = axum::body::to_bytes(response.into_body(), 4 << 20)
        .await
        .unwrap();
    (
        status,
        headers,
        serde_json::from_slice(&bytes).unwrap_or_default(),
    )
}

async fn ask(
    router: &Router,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request
            .header("authorization", format!("Bearer {token}"))
            .header("accept-language", "en");
    }
    let body = match body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    let (status, _, answer) = send(router, request.body(body).unwrap()).await;
    (status.as_u16(), answer)
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer["data"][name].as_str().unwrap()
}

#[tokio::test]
async fn every_failure_has_the_envelope() {
    let (_folder, app) = shop().await;
    let slow = async || {
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    };
    let panics = async || -> () { panic!("boom") };
    let state = app.state;
    let mut config = (*state.config).clone();
    config.http.request_timeout = std::time::Duration::from_millis(50);
    let state = state.with(|shared| shared.config = config.into());
    let extra = Router::new()
        .route("/slow", axum::routing::get(slow))
        .route("/panics", axum::routing::get(panics));
    let (routes, kinds) = routes(&state);
    let router = surround(extra.merge(routes), kinds, state);

    let large = json!({ "email": "a".repeat(http::BODY_LIMIT_BYTES) });
    for (method, path, body, expected) in [
        (Method::GET, "/nowhere", None, "ROUTE_NOT_FOUND"),
        (Method::GET, "/api/nowhere", None, "ROUTE_NOT_FOUND"),
        (
            Method::DELETE,
            "/api/auth/login",
            None,
            "METHOD_NOT_ALLOWED",
        ),
        (Method::POST, "/api/auth/login", None, "VALIDATION_FAILED"),
        (
            Method::POST,
            "/api/tickets/mail",
            None,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            Method::POST,
            "/api/auth/login",
            Some(large),
            "PAYLOAD_TOO_LARGE",
        ),
        (Method::GET, "/api/user/profile", None, "UNAUTHENTICATED"),
        (Method::GET, "/slow", None, "REQUEST_TIMEOUT"),
        (Method::GET, "/panics", None, "INTERNAL"),
    ] {
        let (status, answer) = ask(&router, method, path, None, body).await;
        assert_eq!(
            (answer["success"].as_bool(), code(&answer)),
            (Some(false), expected),
            "{path}: {answer}"
        );
        assert!(
            answer["timestamp"].is_string() && answer["message"].is_string(),
            "{answer}"
        );
        let documented = dermaga_shop::Code::ALL
            .iter()
            .find(|known| known.as_str() == expected)
            .unwrap();
        assert_eq!(status, documented.status());
        assert!(!answer.to_string().contains("boom"));
    }
}

#[tokio::test]
async fn every_answer_carries_an_id_and_its_headers() {
    let (_folder, app) = shop().await;
    let router = router(app.state);
    let request = Request::get("/api/auth/profile")
        .header("x-request-id", "from-the-proxy")
        .body(Body::empty());
    let (_, headers, _) = send(&router, request.unwrap()).await;
    assert_eq!(headers["x-request-id"], "from-the-proxy");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn machines_can_ask_how_it_is() {
    let (_folder, app) = shop().await;
    telemetry::start_metrics();
    let router = router(app.state);
    let (status, answer) = ask(&router, Method::GET, "/readyz", None, None).await;
    assert_eq!(
        (status, answer["ready"].as_bool()),
        (200, Some(true)),
        "{answer}"
    );
    // Anybody may ask: no paths.
    let checks = answer["checks"].as_array().unwrap();
    let says = |name: &str| {
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap()["message"].clone()
    };
    assert_eq!(
        says("provisioner"),
        "directory: manifests are written, not applied"
    );
    assert!(!answer.to_string().contains('/'), "{answer}");
    assert_eq!(
        ask(&router, Method::GET, "/healthz", None, None).await.0,
        200
    );
    assert!(
        telemetry::render_metrics()
            .contains(r#"http_requests_total{method="GET",route="/readyz",status="200"}"#)
    );
}

/// Asks every path with every method: what is documented must be routed, and what is not documented
/// must not be.
#[tokio::test]
async fn the_document_and_the_routes_are_the_same() {
    let (_folder, app) = shop().await;
    let document: Value = serde_json::from_str(&api::openapi_json().unwrap()).unwrap();
    let documented = document["paths"].as_object().unwrap();
    let router = router(app.state);
    let routed = routed_paths(&router);
    assert!(routed.len() > 20, "{routed:?}");
    for path in documented.keys() {
        assert!(
            routed.contains(path),
            "{path} is documented and leads nowhere"
        );
    }
    for path in routed.iter().filter(|path| !is_machinery(path)) {
        // A slash at the end is another way to write a path that is there.
        let known = path.trim_end_matches('/');
        assert!(documented.contains_key(known), "{path} is not documented");
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            let address = path.replace(['{', '}'], "");
            let (_, answer) = ask(&router, method.clone(), &address, None, None).await;
            let is_documented = documented[known]
                .get(method.as_str().to_lowercase())
                .is_some();
            let is_routed = code(&answer) != "METHOD_NOT_ALLOWED";
            assert_eq!(is_documented, is_routed, "{method} {path}: {answer}");
        }
    }
}

/// Pages and probes, which are no part of the API.
fn is_machinery(path: &str) -> bool {
    // axum registers its fallback as these two.
    let fallback = path == "/" || path.starts_with("/{*__private__axum");
    fallback
        || path.starts_with("/api/docs")
        || ["/api/openapi.json", "/healthz", "/readyz", "/metrics"].contains(&path)
}

/// axum has no list of routes but prints one: `paths: {RouteId(0): "/api/..."}`.
fn routed_paths(router: &Router) -> Vec<String> {
    let shown = format!("{router:?}");
    let quoted = shown.split('"').skip(1).step_by(2);
    let mut paths: Vec<String> = quoted
        .filter(|text| text.starts_with('/'))
        .map(str::to_owned)
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

#[test]
fn the_committed_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == api::openapi_json().unwrap(),
        "out of date: `dermaga openapi > docs/openapi.json`"
    );
}

#[test]
fn every_operation_documents_its_failures_and_every_code_is_listed() {
    let document: Value = serde_json::from_str(&api::openapi_json().unwrap()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["responses"]["500"].is_object(), "{method} {path}");
            assert!(
                operation["summary"].is_string() && operation["tags"][0].is_string(),
                "{method} {path}"
            );
        }
    }
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Code"]["enum"], json!(dermaga_shop::Code::ALL));
    assert_eq!(
        schemas["Role"]["enum"],
        json!(dermaga_shop::accounts::Role::ALL)
    );
}

#[tokio::test]
async fn starts_on_a_free_port_answers_and_stops() {
    let (_folder, mut app) = shop().await;
    let mut config = (*app.state.config).clone();
    config.http.listen = ([127, 0, 0, 1], 0).into();
    app.state = app.state.with(|shared| shared.config = config.into());
    let running = app.serve().await.unwrap();
    let mut connection = tokio::net::TcpStream::connect(running.address)
        .await
        .unwrap();
    connection
        .write_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 200 OK") && answer.ends_with("ok\n"),
        "{answer}"
    );
    let mut taken = (*running.state.config).clone();
    taken.http.listen = running.address;
    let error = App::start(taken, Clock::movable()).await.unwrap_err();
    assert!(matches!(error, StartError::PortInUse { .. }), "{error}");
    running.stop().await;
}

#[tokio::test]
async fn a_database_of_another_age_is_not_touched() {
    let (_folder, app) = shop().await;
    let config = (*app.state.config).clone();
    // A migration that only adds something does not stop an older server.
    for (description, is_refused) in [
        ("from the future.contract 99999999", true),
        ("from the future", false),
    ] {
        let mut conn = app.state.db.begin().await.unwrap();
        let sql = "INSERT OR REPLACE INTO _sqlx_migrations \
            (version, description, success, checksum, execution_time) VALUES (99999999, $1, true, x'00', 0)";
        dermaga_shop::execute!(conn, sql, description).unwrap();
        conn.commit().await.unwrap();
        for migrate in [true, false] {
            let config = Config {
                migrate,
                ..config.clone()
            };
            match App::from_config(config, Clock::movable()).await {
                Ok(_) => assert!(!is_refused, "{description}"),
                Err(StartError::DatabaseNewer {
                    version: 99_999_999,
                }) => assert!(is_refused, "{description}"),
                Err(error) => panic!("{description}: {error}"),
            }
        }
    }
    let empty = tempfile::tempdir().unwrap();
    let fresh = Config {
        migrate: false,
        data_dir: empty.path().to_owned(),
        ..config
    };
    let error = App::from_config(fresh, Clock::movable()).await.unwrap_err();
    let is_empty = matches!(error, StartError::DatabaseEmpty { engine: "sqlite" });
    assert!(
        is_empty && error.to_string().contains("`dermaga migrate`"),
        "{error}"
    );
}
