//! The whole server in one process, asked over its router.

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
async fn shop() -> (tempfile::TempDir, App) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::in_folder(folder.path()).unwrap();
    config.plugins_dir = Some(folder.path().to_owned());
    config.templates_dir = Some(folder.path().to_owned());
    config.provisioning.provisioner = Choice::Directory;
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
        request = request.header("authorization", format!("Bearer {token}"));
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
    let router = surround(extra.merge(routes(&state)), state);

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
        (
            Method::POST,
            "/api/auth/login",
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

// ---- accounts ----

async fn register(router: &Router, email: &str) -> Value {
    let body = json!({ "email": email, "password": "kata sandi saya", "name": "Sari" });
    let (status, answer) = ask(router, Method::POST, "/api/auth/register", None, Some(body)).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

async fn log_in(router: &Router, email: &str, password: &str) -> (u16, Value) {
    let body = json!({ "email": email, "password": password });
    ask(router, Method::POST, "/api/auth/login", None, Some(body)).await
}

async fn profile(router: &Router, token: &str) -> (u16, Value) {
    ask(router, Method::GET, "/api/auth/profile", Some(token), None).await
}

#[tokio::test]
async fn an_email_has_one_account_however_it_is_typed() {
    let (_folder, app) = shop().await;
    let router = router(app.state);
    let welcome = register(&router, " Sari@Example.com").await;
    assert_eq!(welcome["data"]["user"]["email"], "sari@example.com");
    let body =
        json!({ "email": "sari@example.COM", "password": "kata sandi saya", "name": "Sari" });
    let (status, answer) = ask(
        &router,
        Method::POST,
        "/api/auth/register",
        None,
        Some(body),
    )
    .await;
    assert_eq!((status, code(&answer)), (409, "EMAIL_TAKEN"));
}

#[tokio::test]
async fn registration_names_every_wrong_field_and_takes_no_role() {
    let (_folder, app) = shop().await;
    let router = router(app.state);
    let body = json!({ "email": "sari", "password": "password123", "name": "\u{200b}", "phone": "12", "avatar": "http://a.id/" });
    let (_, answer) = ask(
        &router,
        Method::POST,
        "/api/auth/register",
        None,
        Some(body),
    )
    .await;
    let fields: Vec<&str> = answer["error"]["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["avatar", "email", "name", "password", "phone"]);
    let body = json!({ "email": "s@a.id", "password": "kata sandi saya", "name": "Sari", "role": "ADMINISTRATOR" });
    let (status, answer) = ask(
        &router,
        Method::POST,
        "/api/auth/register",
        None,
        Some(body),
    )
    .await;
    assert_eq!(
        (status, &answer["error"]["details"][0]["field"]),
        (400, &json!("role")),
        "{answer}"
    );
}

#[tokio::test]
async fn unknown_email_and_wrong_password_look_the_same_and_are_throttled() {
    let (_folder, app) = shop().await;
    let clock = app.state.clock.clone();
    let router = router(app.state);
    register(&router, "sari@example.com").await;
    let strip = |(status, mut answer): (u16, Value)| {
        answer["timestamp"].take();
        (status, answer)
    };
    let unknown = strip(log_in(&router, "nobody@example.com", "kata sandi saya").await);
    let wrong = strip(log_in(&router, "sari@example.com", "another password").await);
    assert_eq!((unknown.0, code(&unknown.1)), (401, "INVALID_CREDENTIALS"));
    assert_eq!(unknown, wrong);
    for _ in 0..9 {
        log_in(&router, "sari@example.com", "another password").await;
    }
    let (status, answer) = log_in(&router, "sari@example.com", "kata sandi saya").await;
    assert_eq!((status, code(&answer)), (429, "TOO_MANY_REQUESTS"));
    clock.advance(chrono::TimeDelta::minutes(16));
    assert_eq!(
        log_in(&router, "sari@example.com", "kata sandi saya")
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn a_disabled_account_is_told_only_with_the_right_password_and_its_tokens_end() {
    let (_folder, app) = shop().await;
    let state = app.state.clone();
    let router = router(app.state);
    let session = register(&router, "sari@example.com").await;
    assert_eq!(profile(&router, text(&session, "accessToken")).await.0, 200);
    let mut conn = state.db.begin().await.unwrap();
    dermaga_shop::execute!(
        conn,
        "UPDATE users SET status = 'DISABLED' WHERE email = $1",
        "sari@example.com"
    )
    .unwrap();
    conn.commit().await.unwrap();
    assert_eq!(
        code(
            &log_in(&router, "sari@example.com", "wrong password")
                .await
                .1
        ),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(
        code(
            &log_in(&router, "sari@example.com", "kata sandi saya")
                .await
                .1
        ),
        "ACCOUNT_DISABLED"
    );
    state.clock.advance(chrono::TimeDelta::seconds(4));
    assert_eq!(profile(&router, text(&session, "accessToken")).await.0, 401);
    let body = json!({ "refreshToken": text(&session, "refreshToken") });
    let (status, answer) = ask(
        &router,
        Method::POST,
        "/api/auth/refresh-token",
        None,
        Some(body),
    )
    .await;
    assert_eq!((status, code(&answer)), (403, "ACCOUNT_DISABLED"));
}

async fn refresh(router: &Router, token: &str) -> (u16, Value) {
    let body = json!({ "refreshToken": token });
    ask(
        router,
        Method::POST,
        "/api/auth/refresh-token",
        None,
        Some(body),
    )
    .await
}

#[tokio::test]
async fn reuse_of_a_rotated_refresh_token_ends_the_session_and_no_other() {
    let (_folder, app) = shop().await;
    let clock = app.state.clock.clone();
    let router = router(app.state);
    let first = register(&router, "sari@example.com").await;
    let (_, other) = log_in(&router, "sari@example.com", "kata sandi saya").await;
    let (status, second) = refresh(&router, text(&first, "refreshToken")).await;
    assert_eq!(status, 200);
    assert_eq!(refresh(&router, text(&first, "refreshToken")).await.0, 401);
    assert_eq!(refresh(&router, text(&second, "refreshToken")).await.0, 401);
    clock.advance(chrono::TimeDelta::seconds(4));
    assert_eq!(profile(&router, text(&second, "accessToken")).await.0, 401);
    assert_eq!(profile(&router, text(&other, "accessToken")).await.0, 200);
    assert_eq!(refresh(&router, text(&other, "refreshToken")).await.0, 200);
}

#[tokio::test]
async fn of_two_at_once_one_refresh_succeeds() {
    let (_folder, app) = shop().await;
    let router = router(app.state);
    let session = register(&router, "sari@example.com").await;
    let token = text(&session, "refreshToken");
    let both = tokio::join!(refresh(&router, token), refresh(&router, token));
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
}

#[tokio::test]
async fn tokens_expire_by_the_clock() {
    let (_folder, app) = shop().await;
    let clock = app.state.clock.clone();
    let router = router(app.state);
    let session = register(&router, "sari@example.com").await;
    clock.advance(chrono::TimeDelta::hours(24));
    let (status, answer) = profile(&router, text(&session, "accessToken")).await;
    assert_eq!((status, code(&answer)), (401, "TOKEN_EXPIRED"));
    clock.advance(chrono::TimeDelta::days(6));
    assert_eq!(
        refresh(&router, text(&session, "refreshToken")).await.0,
        401
    );
}

#[tokio::test]
async fn logging_out_ends_one_session_or_all() {
    let (_folder, app) = shop().await;
    let router = router(app.state);
    let [one, two, three] = [
        register(&router, "sari@example.com").await,
        log_in(&router, "sari@example.com", "kata sandi saya")
            .await
            .1,
        log_in(&router, "sari@example.com", "kata sandi saya")
            .await
            .1,
    ];
    let post = async |path: &str, session: &Value| {
        ask(
            &router,
            Method::POST,
            path,
            Some(text(session, "accessToken")),
            None,
        )
        .await
        .0
    };
    assert_eq!(post("/api/auth/logout", &one).await, 200);
    assert_eq!(profile(&router, text(&one, "accessToken")).await.0, 401);
    assert_eq!(refresh(&router, text(&one, "refreshToken")).await.0, 401);
    assert_eq!(profile(&router, text(&two, "accessToken")).await.0, 200);
    assert_eq!(post("/api/auth/logout-all", &two).await, 200);
    for session in [&two, &three] {
        assert_eq!(profile(&router, text(session, "accessToken")).await.0, 401);
        assert_eq!(refresh(&router, text(session, "refreshToken")).await.0, 401);
    }
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let (_folder, app) = shop().await;
    let router = router(app.state);
    let session = register(&router, "sari@example.com").await;
    let token = text(&session, "accessToken");
    let change = async |current: &str, new: &str| {
        let body = json!({ "currentPassword": current, "newPassword": new });
        ask(
            &router,
            Method::POST,
            "/api/auth/change-password",
            Some(token),
            Some(body),
        )
        .await
    };
    let (status, answer) = change("not the password", "kata sandi baru").await;
    assert_eq!(
        (status, &answer["error"]["details"][0]["field"]),
        (400, &json!("currentPassword"))
    );
    assert_eq!(change("kata sandi saya", "kata sandi saya").await.0, 400);
    let (status, renewed) = change("kata sandi saya", "kata sandi baru").await;
    assert_eq!(status, 200, "{renewed}");
    assert_eq!(profile(&router, token).await.0, 401);
    assert_eq!(profile(&router, text(&renewed, "accessToken")).await.0, 200);
    assert_eq!(
        log_in(&router, "sari@example.com", "kata sandi saya")
            .await
            .0,
        401
    );
    assert_eq!(
        log_in(&router, "sari@example.com", "kata sandi baru")
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn a_profile_changes_within_its_rules() {
    let (_folder, app) = shop().await;
    let router = router(app.state);
    let session = register(&router, "sari@example.com").await;
    let token = Some(text(&session, "accessToken"));
    let body = json!({ "name": " Sari Dewi ", "phone": "0812 3456 7890" });
    let (_, answer) = ask(&router, Method::PUT, "/api/user/profile", token, Some(body)).await;
    assert_eq!(
        (text(&answer, "name"), text(&answer, "phone")),
        ("Sari Dewi", "+6281234567890")
    );
    for forbidden in ["email", "role", "balance"] {
        let body = json!({ "name": "Sari", forbidden: "x" });
        let (status, answer) =
            ask(&router, Method::PUT, "/api/user/profile", token, Some(body)).await;
        assert_eq!(
            (status, &answer["error"]["details"][0]["field"]),
            (400, &json!(forbidden))
        );
    }
    let avatar = |value: Value| {
        ask(
            &router,
            Method::PATCH,
            "/api/user/avatar",
            token,
            Some(value),
        )
    };
    assert_eq!(
        avatar(json!({ "avatar": "https://a.example/p.png" }))
            .await
            .1["data"]["avatar"],
        "https://a.example/p.png"
    );
    assert_eq!(avatar(json!({})).await.0, 400);
    assert_eq!(
        avatar(json!({ "avatar": null })).await.1["data"]["avatar"],
        Value::Null
    );
}

#[tokio::test]
async fn the_first_administrator_is_made_once_and_customers_are_none() {
    let (folder, app) = shop().await;
    let mut config = (*app.state.config).clone();
    let router = router(app.state);
    let (_, admin) = log_in(&router, "admin@example.com", "the admin's password").await;
    assert_eq!(admin["data"]["user"]["role"], "ADMINISTRATOR");
    let path = "/api/admin/plugins";
    assert_eq!(
        ask(
            &router,
            Method::GET,
            path,
            Some(text(&admin, "accessToken")),
            None
        )
        .await
        .0,
        200
    );
    let customer = register(&router, "sari@example.com").await;
    let (status, answer) = ask(
        &router,
        Method::GET,
        path,
        Some(text(&customer, "accessToken")),
        None,
    )
    .await;
    assert_eq!((status, code(&answer)), (403, "FORBIDDEN"));

    config.admin_email = Some("second@example.com".into());
    let again = App::from_config(config, Clock::movable()).await.unwrap();
    assert_eq!(
        log_in(
            &super::router(again.state),
            "second@example.com",
            "the admin's password"
        )
        .await
        .0,
        401
    );
    drop(folder);
}

// ---- start ----

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

/// The rest of a refused body is read, on every route, and the connection is not offered again.
#[tokio::test]
async fn a_body_that_is_too_large_is_refused_in_full() {
    let (_folder, app) = shop().await;
    let router = router(app.state.clone());
    let unread = Arc::new(std::sync::atomic::AtomicUsize::new(64));
    let left = Arc::clone(&unread);
    let chunks = futures::stream::iter((0..64).map(move |_| {
        left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
        Ok::<_, std::io::Error>(axum::body::Bytes::from(vec![b' '; 64 * 1024]))
    }));
    let request = Request::post("/api/auth/login")
        .header("content-type", "application/json")
        .body(Body::from_stream(chunks))
        .unwrap();
    let (status, headers, body) = send(&router, request).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{body}");
    assert_eq!(headers["connection"], "close");
    assert_eq!(unread.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_database_of_another_age_is_not_touched() {
    let (_folder, app) = shop().await;
    let config = (*app.state.config).clone();
    let mut conn = app.state.db.begin().await.unwrap();
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
        VALUES (99999999, 'from the future', true, x'00', 0)";
    dermaga_shop::execute!(conn, sql).unwrap();
    conn.commit().await.unwrap();
    for migrate in [true, false] {
        let config = Config {
            migrate,
            ..config.clone()
        };
        let error = App::from_config(config, Clock::movable())
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                StartError::DatabaseNewer {
                    version: 99_999_999
                }
            ),
            "{error}"
        );
    }
    let empty = tempfile::tempdir().unwrap();
    let fresh = Config {
        migrate: false,
        data_dir: empty.path().to_owned(),
        ..config
    };
    let error = App::from_config(fresh, Clock::movable()).await.unwrap_err();
    assert!(matches!(error, StartError::NotMigrated), "{error}");
}
