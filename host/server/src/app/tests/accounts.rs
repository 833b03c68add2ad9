//! Accounts, sessions and passwords over the router.

use super::*;

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
    clock.advance(chrono::TimeDelta::seconds(11));
    assert_eq!(refresh(&router, text(&first, "refreshToken")).await.0, 401);
    assert_eq!(refresh(&router, text(&second, "refreshToken")).await.0, 401);
    clock.advance(chrono::TimeDelta::seconds(4));
    assert_eq!(profile(&router, text(&second, "accessToken")).await.0, 401);
    assert_eq!(profile(&router, text(&other, "accessToken")).await.0, 200);
    assert_eq!(refresh(&router, text(&other, "refreshToken")).await.0, 200);
}

#[tokio::test]
async fn a_token_that_comes_again_at_once_has_one_successor() {
    let (_folder, app) = shop().await;
    let clock = app.state.clock.clone();
    let router = router(app.state);
    let session = register(&router, "sari@example.com").await;
    let token = text(&session, "refreshToken");
    let (one, two) = tokio::join!(refresh(&router, token), refresh(&router, token));
    assert_eq!((one.0, two.0), (200, 200), "{} {}", one.1, two.1);
    clock.advance(chrono::TimeDelta::seconds(5));
    let (status, late) = refresh(&router, token).await;
    assert_eq!(status, 200, "{late}");
    for field in ["refreshToken", "refreshTokenExpiresAt"] {
        let [one, two, late] = [&one.1, &two.1, &late].map(|answer| text(answer, field));
        assert_eq!((one, two), (late, late), "{field}");
    }
    assert_ne!(text(&late, "refreshToken"), token);
    for answer in [&one.1, &two.1, &late] {
        assert_eq!(profile(&router, text(answer, "accessToken")).await.0, 200);
    }
    assert_eq!(refresh(&router, text(&late, "refreshToken")).await.0, 200);
}

#[tokio::test]
async fn a_token_whose_successor_was_used_ends_the_session_at_once() {
    let (_folder, app) = shop().await;
    let router = router(app.state);
    let first = register(&router, "sari@example.com").await;
    let (_, second) = refresh(&router, text(&first, "refreshToken")).await;
    let (status, third) = refresh(&router, text(&second, "refreshToken")).await;
    assert_eq!(status, 200, "{third}");
    assert_eq!(refresh(&router, text(&first, "refreshToken")).await.0, 401);
    assert_eq!(refresh(&router, text(&third, "refreshToken")).await.0, 401);
    assert_eq!(profile(&router, text(&third, "accessToken")).await.0, 401);
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
