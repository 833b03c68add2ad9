//! Tests of sessions, passwords and API tokens.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_tests::{Client, Shop, both_engines};
use reqwest::Method;
use serde_json::{Value, json};

both_engines!(
    Shop,
    [
        tokens_end,
        registration_is_checked,
        a_password_is_one_however_its_letters_are_sent,
        api_tokens_act_within_their_scope,
        api_tokens_end_with_the_sessions,
        a_session_that_ended_never_works_again,
        api_tokens_are_bounded,
        a_picture_is_replaced_and_removed
    ]
);

/// A letter with its mark is one character on one keyboard, and two on another: both open the account, and one is no
/// new password in the place of the other.
async fn a_password_is_one_however_its_letters_are_sent(shop: Shop) {
    let in_parts = "cafe\u{301} di pelabuhan";
    let composed = "caf\u{e9} di pelabuhan";
    let new = json!({ "email": "aksen@example.com", "password": in_parts, "name": "Pelanggan" });
    let registered = shop.client().post("/api/auth/register", new).await;
    registered.data(201);
    let mut tokens = Vec::new();
    for password in [composed, in_parts] {
        let login = json!({ "email": "aksen@example.com", "password": password });
        let data = shop.client().post("/api/auth/login", login).await.data(200);
        tokens.push(data["accessToken"].as_str().unwrap().to_owned());
    }
    let customer = shop.client().with_token(tokens[0].as_str());
    let same = json!({ "currentPassword": in_parts, "newPassword": composed });
    let refused = customer.post("/api/auth/change-password", same).await;
    let refused = refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("newPassword").is_some());
    let proof = json!({ "password": composed });
    let archive = customer.post("/api/user/export", proof).await;
    assert_eq!(archive.status, 200, "{}", archive.text);
}

/// A token expires, and `logout-all` ends every token of an account.
async fn tokens_end(shop: Shop) {
    let customer = shop.customer("sesi@example.com").await;
    let profile = customer.get("/api/auth/profile").await.data(200);
    assert_eq!(profile["email"], "sesi@example.com");
    let other = shop.sign_in("sesi@example.com").await;
    customer
        .post("/api/auth/logout-all", json!({}))
        .await
        .data(200);
    // Other servers may cache a session for some seconds.
    shop.clock().advance(TimeDelta::seconds(10));
    other
        .get("/api/auth/profile")
        .await
        .fails(401, "UNAUTHENTICATED");
    let again = shop.sign_in("sesi@example.com").await;
    again.get("/api/auth/profile").await.data(200);
    shop.clock().advance(TimeDelta::hours(25));
    again
        .get("/api/auth/profile")
        .await
        .fails(401, "TOKEN_EXPIRED");
}

/// A second registration of an address is a conflict, and the refusal of a weak password names
/// the reason.
async fn registration_is_checked(shop: Shop) {
    shop.register("dobel@example.com").await;
    let shop = &shop;
    let register = |email: &'static str, password: &'static str, name: &'static str| {
        let body = json!({ "email": email, "password": password, "name": name });
        async move { shop.client().post("/api/auth/register", body).await }
    };
    let register = &register;
    register("DOBEL@example.com", "kata sandi yang panjang", "Dua")
        .await
        .fails(409, "EMAIL_TAKEN");
    for (email, password, name) in [
        ("not-an-address", "kata sandi yang panjang", "Nama"),
        ("a@x", "kata sandi yang panjang", "Nama"),
        (".a@x.id", "kata sandi yang panjang", "Nama"),
        ("a.@x.id", "kata sandi yang panjang", "Nama"),
        ("a..b@x.id", "kata sandi yang panjang", "Nama"),
        ("a@[127.0.0.1]", "kata sandi yang panjang", "Nama"),
        ("a@example.com", "short", "Nama"),
        ("a@example.com", "password123", "Nama"),
        ("a@example.com", "kata sandi yang panjang", "\u{200b}"),
        ("a\u{202e}@example.com", "kata sandi yang panjang", "Nama"),
    ] {
        register(email, password, name)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    // An account of a former release may have an address that none can have now, and signs in with it.
    for email in ["nobody@example.com", "a@x"] {
        let login = json!({ "email": email, "password": "kata sandi yang panjang" });
        shop.client()
            .post("/api/auth/login", login)
            .await
            .fails(401, "INVALID_CREDENTIALS");
    }
}

/// An API token acts for its account: within its scope, until it expires or is revoked.
async fn api_tokens_act_within_their_scope(shop: Shop) {
    let customer = shop.customer("program@example.com").await;
    let create = |name: &str, scope: &str, days: i64| {
        customer.post(
            "/api/user/api-tokens",
            json!({ "name": name, "scope": scope, "expiresInDays": days }),
        )
    };
    create("", "READ", 1).await.fails(400, "VALIDATION_FAILED");
    create("x", "EVERYTHING", 1)
        .await
        .fails(400, "VALIDATION_FAILED");
    create("x", "READ", 0).await.fails(400, "VALIDATION_FAILED");
    create("x", "READ", 366)
        .await
        .fails(400, "VALIDATION_FAILED");
    create("x", "PLUGINS", 1).await.fails(403, "FORBIDDEN");
    let made = create("reports", "READ", 30).await.data(201);
    let reader = shop.client().with_token(made["token"].as_str().unwrap());
    assert_eq!(
        reader.get("/api/wallet/info").await.data(200)["totalBalance"],
        0
    );
    let refused = reader
        .post("/api/wallet/redeem-coupon", json!({ "couponCode": "X" }))
        .await;
    refused.fails(403, "FORBIDDEN");
    let needed = "POST /api/wallet/redeem-coupon needs WRITE.";
    assert!(refused.text.contains(needed), "{}", refused.text);
    reader
        .get("/api/user/api-tokens")
        .await
        .fails(403, "FORBIDDEN");
    reader
        .get("/api/admin/plugins")
        .await
        .fails(403, "FORBIDDEN");

    let writer = create("writer", "WRITE", 1).await.data(201);
    let program = shop.client().with_token(writer["token"].as_str().unwrap());
    program
        .post(
            "/api/wallet/redeem-coupon",
            json!({ "couponCode": "UNKNOWN" }),
        )
        .await
        .fails(404, "COUPON_NOT_FOUND");
    let password = json!({ "currentPassword": "kata sandi yang panjang", "newPassword": "kata sandi yang baru" });
    program
        .post("/api/auth/change-password", password)
        .await
        .fails(403, "FORBIDDEN");

    let listed = customer.get("/api/user/api-tokens").await.data(200);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(
        listed[1]["lastUsedAt"].is_string() && listed[1].get("token").is_none(),
        "{listed:#}"
    );
    assert!(
        made["token"]
            .as_str()
            .unwrap()
            .starts_with(listed[1]["hint"].as_str().unwrap())
    );

    let other = shop.customer("lain@example.com").await;
    let path = format!("/api/user/api-tokens/{}", made["id"].as_str().unwrap());
    other.delete(&path).await.fails(404, "NOT_FOUND");
    customer.delete(&path).await.data(200);
    customer.delete(&path).await.fails(404, "NOT_FOUND");
    reader
        .get("/api/wallet/info")
        .await
        .fails(401, "UNAUTHENTICATED");
    program.get("/api/wallet/info").await.data(200);
    shop.clock().advance(TimeDelta::days(1));
    program
        .get("/api/wallet/info")
        .await
        .fails(401, "UNAUTHENTICATED");
    program
        .with_token("dmg_forged")
        .get("/api/wallet/info")
        .await
        .fails(401, "UNAUTHENTICATED");
}

/// A new password and `logout-all` also end API tokens: a thief of the password may have
/// created some.
async fn api_tokens_end_with_the_sessions(shop: Shop) {
    let customer = shop.customer("pencuri@example.com").await;
    let make = json!({ "name": "laporan", "scope": "READ" });
    let token =
        |data: &serde_json::Value| shop.client().with_token(data["token"].as_str().unwrap());
    let program = token(
        &customer
            .post("/api/user/api-tokens", make.clone())
            .await
            .data(201),
    );
    program.get("/api/wallet/info").await.data(200);
    let change = json!({ "currentPassword": "kata sandi yang panjang", "newPassword": "kata sandi yang baru" });
    let tokens = customer
        .post("/api/auth/change-password", change)
        .await
        .data(200);
    program
        .get("/api/wallet/info")
        .await
        .fails(401, "UNAUTHENTICATED");
    let customer = shop
        .client()
        .with_token(tokens["accessToken"].as_str().unwrap());
    let program = token(&customer.post("/api/user/api-tokens", make).await.data(201));
    customer
        .post("/api/auth/logout-all", json!({}))
        .await
        .data(200);
    program
        .get("/api/wallet/info")
        .await
        .fails(401, "UNAUTHENTICATED");
}

/// A session that was logged out stays so after its refresh tokens are purged, even if an
/// access token is valid for longer.
async fn a_session_that_ended_never_works_again(shop: Shop) {
    let shop = shop
        .restart_with(|config| {
            config.accounts.refresh_token_lifetime = Duration::from_secs(3_600);
            config.accounts.access_token_lifetime = Duration::from_secs(24 * 3_600);
        })
        .await
        .unwrap();
    let ended = shop.customer("keluar@example.com").await;
    let kept = shop.sign_in("keluar@example.com").await;
    ended.post("/api/auth/logout", json!({})).await.data(200);
    for hours in [3, 20] {
        shop.clock().advance(TimeDelta::hours(hours));
        // A login purges expired sessions.
        shop.sign_in("keluar@example.com").await;
        ended
            .get("/api/auth/profile")
            .await
            .fails(401, "UNAUTHENTICATED");
        kept.get("/api/auth/profile").await.data(200);
    }
}

/// An account has at most twenty tokens, even under concurrent requests.
async fn api_tokens_are_bounded(shop: Shop) {
    let customer = shop.customer("banyak@example.com").await;
    let attempts = (0..25).map(|at| {
        customer.post(
            "/api/user/api-tokens",
            json!({ "name": format!("t{at}"), "scope": "READ" }),
        )
    });
    let answers = futures::future::join_all(attempts).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 201).count(),
        20
    );
    assert!(
        answers
            .iter()
            .filter(|answer| answer.status != 201)
            .all(|answer| answer.status == 409)
    );
}

/// A customer replaces or removes the picture with a request that names it, and only an address
/// of HTTPS is taken.
async fn a_picture_is_replaced_and_removed(shop: Shop) {
    let customer = shop.customer("foto@example.com").await;
    let change = async |client: &Client, body: Value| {
        let request = client
            .request(Method::PATCH, "/api/user/avatar")
            .json(&body);
        client.send(request).await
    };
    let picture = "https://cdn.example/foto.png";
    let changed = change(&customer, json!({ "avatar": picture }))
        .await
        .data(200);
    assert_eq!(
        (&changed["avatar"], &changed["email"]),
        (&json!(picture), &json!("foto@example.com"))
    );
    let plain = change(
        &customer,
        json!({ "avatar": "http://cdn.example/foto.png" }),
    )
    .await;
    assert!(
        plain
            .fails(400, "VALIDATION_FAILED")
            .detail("avatar")
            .is_some()
    );
    change(&customer, json!({}))
        .await
        .fails(400, "VALIDATION_FAILED");
    change(shop.client(), json!({ "avatar": null }))
        .await
        .fails(401, "UNAUTHENTICATED");
    assert_eq!(
        customer.get("/api/auth/profile").await.data(200)["avatar"],
        picture
    );
    change(&customer, json!({ "avatar": null })).await.data(200);
    assert_eq!(
        customer.get("/api/auth/profile").await.data(200)["avatar"],
        Value::Null
    );
}
