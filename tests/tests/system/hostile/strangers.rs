//! Tests that strangers and abusive customers cannot exhaust shared resources.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_tests::{Answer, Client, Shop, both_engines};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::settings::empty_shop;

const PASSWORD: &str = "kata sandi yang panjang";

/// Sends a request with an address in the header of the trusted proxy.
async fn post_from(client: &Client, address: &str, path: &str, body: serde_json::Value) -> Answer {
    let request = client.request(Method::POST, path).json(&body);
    client
        .send(request.header("x-forwarded-for", address))
        .await
}

async fn log_in_from(shop: &Shop, address: &str, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    post_from(shop.client(), address, "/api/auth/login", body).await
}

async fn half_a_request(shop: &Shop) -> TcpStream {
    let (address, _) = shop.client().address_and_token();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: a")
        .await
        .unwrap();
    stream
}

/// Returns the status line that the server sends without a request; empty when it only closes.
async fn said(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Half-sent requests keep their connections for a short time and leave room for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_requests_do_not_stop_the_shop() {
    let shop = empty_shop(&[
        ("DERMAGA_HEADER_TIMEOUT", "2s"),
        ("DERMAGA_MAX_CONNECTIONS_PER_ADDRESS", "8"),
    ])
    .await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(half_a_request(&shop).await);
    }
    let refused = said(half_a_request(&shop).await).await;
    assert_eq!(refused, "HTTP/1.1 429 Too Many Requests");
    for stream in held {
        assert_eq!(said(stream).await, "", "closed after its time");
    }
    assert_eq!(shop.client().get("/healthz").await.status, 200);
}

/// Behind a proxy all connections are the proxy's, so only their total is limited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_limited_in_all() {
    let shop = empty_shop(&[
        ("DERMAGA_TRUSTED_PROXIES", "1"),
        ("DERMAGA_MAX_CONNECTIONS", "16"),
        ("DERMAGA_IDLE_TIMEOUT", "1s"),
    ])
    .await;
    // Settings may not ask for what has no effect there.
    let nothing = TempDir::new().unwrap();
    let shop = shop.restart_with(|config| {
        config.plugins_dir = Some(nothing.path().to_owned());
        config.templates_dir = Some(nothing.path().to_owned());
        config.http.connections.most_per_address = 2;
    });
    let shop = shop.await.unwrap();
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(half_a_request(&shop).await);
    }
    let refused = said(half_a_request(&shop).await).await;
    assert_eq!(refused, "HTTP/1.1 503 Service Unavailable");
    drop(held);
    // The server notices the closed connections after a moment.
    for _ in 0..100 {
        // The idle connection is closed after the answer: otherwise this never ends.
        if said_to_a_whole_request(&shop).await.contains("200") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no place became free");
}

async fn said_to_a_whole_request(shop: &Shop) -> String {
    let (address, _) = shop.client().address_and_token();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    said(stream).await
}

/// A request that is refused by its head keeps no handler, however slowly its body comes: by the caller's role, by
/// the rate of requests, and by its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_do_not_wait_for_bodies() {
    let shop = empty_shop(&[
        ("DERMAGA_CUSTOMER_REQUESTS_PER_MINUTE", "1"),
        ("DERMAGA_REQUEST_TIMEOUT", "3s"),
    ])
    .await;
    let customer = shop.customer("lambat@example.com").await;
    let (address, token) = customer.address_and_token();
    let head = format!(
        "Host: a\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n"
    );
    for (path, status) in [
        ("/api/admin/coupons", "403"),
        ("/api/wallet/topup", "429"),
        ("/api/auth/login", "408"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let sent = format!("POST {path} HTTP/1.1\r\n{head}\r\n{{");
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let short = Duration::from_millis(4_500);
        let read = tokio::time::timeout(short, stream.read_to_string(&mut answer));
        read.await.expect("the connection ends at once").unwrap();
        let first = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&first), "{path}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

/// Limits on accounts and top-ups follow the settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_and_top_ups_are_limited() {
    let shop = crate::settings::shop(&[
        ("DERMAGA_REGISTRATIONS_PER_HOUR", "1"),
        ("BONUS_REQUIRES_VERIFIED_EMAIL", "true"),
        ("WALLET_OPEN_TOP_UPS", "1"),
        ("DERMAGA_PAYMENTS_SANDBOX", "true"),
    ])
    .await;
    let bonus = json!({ "code": "SELAMAT", "plugin": "coupon-welcome-bonus", "parameters": { "amount": 25_000 } });
    let admin = shop.admin().await;
    admin.post("/api/admin/coupons", bonus).await.data(201);
    let welcome = shop.register("satu@example.com").await;
    assert_eq!(welcome["welcomeBonuses"][0]["granted"], false);
    let second = json!({ "email": "dua@example.com", "password": PASSWORD, "name": "Dua" });
    let refused = shop.client().post("/api/auth/register", second).await;
    refused.fails(429, "TOO_MANY_REQUESTS");
    let token = welcome["accessToken"].as_str().unwrap();
    let customer = shop.client().with_token(token);
    let top_up = json!({ "amount": 50_000, "paymentMethod": "QRIS" });
    let first = customer.post("/api/wallet/topup", top_up.clone()).await;
    first.data(201);
    let second = customer.post("/api/wallet/topup", top_up).await;
    second.fails(409, "TOO_MANY_OPEN_TOP_UPS");
    let sentence = "You have a top-up waiting for payment. Pay or cancel it first.";
    assert_eq!(second.body["message"], sentence);
}

both_engines!(
    Shop,
    [
        nobody_is_locked_out_by_a_stranger,
        registrations_are_limited_per_address,
        bonuses_wait_for_a_confirmed_address,
        guessing_coupon_codes_ends,
        open_top_ups_are_limited,
        kept_refusals_are_limited
    ]
);

/// A stranger without the password cannot lock the owner out.
async fn nobody_is_locked_out_by_a_stranger(shop: Shop) {
    let shop = shop
        .restart_with(|config| config.http.trusted_proxies = 1)
        .await
        .unwrap();
    shop.register("korban@example.com").await;
    shop.register("tetangga@example.com").await;
    for _ in 0..10 {
        log_in_from(
            &shop,
            "192.0.2.1",
            "korban@example.com",
            "salah salah salah",
        )
        .await
        .fails(401, "INVALID_CREDENTIALS");
    }
    for password in ["salah salah salah", PASSWORD] {
        let refused = log_in_from(&shop, "192.0.2.1", "korban@example.com", password).await;
        refused.fails(429, "TOO_MANY_REQUESTS");
        let wait: u64 = refused.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((800..=901).contains(&wait), "{wait}");
    }
    // The owner from elsewhere, also behind a proxy that writes ports; and others from the same
    // address.
    for address in ["203.0.113.7", "203.0.113.7:4711", "[2001:db8::1]:80"] {
        log_in_from(&shop, address, "korban@example.com", PASSWORD)
            .await
            .data(200);
    }
    log_in_from(&shop, "192.0.2.1", "tetangga@example.com", PASSWORD)
        .await
        .data(200);
    // One IPv6 network counts as one address.
    for host in 0..10 {
        let address = format!("2001:db8:0:7::{host}");
        log_in_from(&shop, &address, "korban@example.com", "salah salah salah")
            .await
            .fails(401, "INVALID_CREDENTIALS");
    }
    log_in_from(&shop, "2001:db8:0:7::ffff", "korban@example.com", PASSWORD)
        .await
        .fails(429, "TOO_MANY_REQUESTS");
    shop.clock().advance(TimeDelta::minutes(15));
    log_in_from(&shop, "192.0.2.1", "korban@example.com", PASSWORD)
        .await
        .data(200);
}

/// Registrations are limited by address and hour; other addresses are not affected.
async fn registrations_are_limited_per_address(shop: Shop) {
    let shop = shop
        .restart_with(|config| {
            config.http.trusted_proxies = 1;
            config.accounts.registrations_per_hour = 3;
        })
        .await
        .unwrap();
    let register = async |address: &str, number: usize| {
        let email = format!("baru-{number}@example.com");
        let body = json!({ "email": email, "password": PASSWORD, "name": "Baru" });
        post_from(shop.client(), address, "/api/auth/register", body).await
    };
    for number in 0..3 {
        register("192.0.2.1", number).await.data(201);
    }
    register("192.0.2.1", 3)
        .await
        .fails(429, "TOO_MANY_REQUESTS");
    register("192.0.2.2", 4).await.data(201);
    shop.clock().advance(TimeDelta::hours(1));
    register("192.0.2.1", 5).await.data(201);
}

/// Welcome bonuses wait for a confirmed e-mail address where the shop asks for one.
async fn bonuses_wait_for_a_confirmed_address(shop: Shop) {
    let shop = shop
        .restart_with(|config| config.coupons.bonus_requires_verified_email = true)
        .await
        .unwrap();
    let bonus = json!({ "code": "SELAMAT", "plugin": "coupon-welcome-bonus", "parameters": { "amount": 25_000 } });
    shop.admin()
        .await
        .post("/api/admin/coupons", bonus)
        .await
        .data(201);
    let welcome = shop.register("baru@example.com").await;
    let bonuses = &welcome["welcomeBonuses"];
    assert_eq!(bonuses[0]["granted"], false, "{bonuses:#}");
    assert_eq!(
        bonuses[0]["message"],
        "Anda mendapatkannya setelah alamat surel Anda dikonfirmasi."
    );
    let customer = shop
        .client()
        .with_token(welcome["accessToken"].as_str().unwrap());
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["totalBalance"],
        0
    );
}

/// Coupon codes cannot be guessed: attempts count together on every route that takes a code.
async fn guessing_coupon_codes_ends(shop: Shop) {
    let guesser = shop.customer("penebak@example.com").await;
    let known = json!({ "code": "ADA", "plugin": "coupon-credit-topup", "parameters": { "amount": 10_000 } });
    shop.admin()
        .await
        .post("/api/admin/coupons", known)
        .await
        .data(201);
    let plan = shop.plan("n8n", "basic").await;
    for number in 0..7 {
        let code = format!("TEBAK-{number}");
        for path in ["validate-coupon", "redeem-coupon"] {
            guesser
                .post(
                    &format!("/api/wallet/{path}"),
                    json!({ "couponCode": code }),
                )
                .await
                .fails(404, "COUPON_NOT_FOUND");
        }
        if number < 6 {
            guesser
                .post(
                    "/api/subscriptions/quote",
                    json!({ "planId": plan, "couponCode": code }),
                )
                .await
                .fails(404, "COUPON_NOT_FOUND");
        }
    }
    for path in ["validate-coupon", "redeem-coupon"] {
        guesser
            .post(
                &format!("/api/wallet/{path}"),
                json!({ "couponCode": "ADA" }),
            )
            .await
            .fails(429, "TOO_MANY_REQUESTS");
    }
    guesser
        .post("/api/subscriptions/quote", json!({ "planId": plan }))
        .await
        .data(200);
    let other = shop.customer("jujur@example.com").await;
    other
        .post(
            "/api/wallet/validate-coupon",
            json!({ "couponCode": "ADA" }),
        )
        .await
        .data(200);
    shop.clock().advance(TimeDelta::minutes(15));
    guesser
        .post("/api/wallet/redeem-coupon", json!({ "couponCode": "ADA" }))
        .await
        .data(201);
}

/// Open payment pages of a customer are limited, also under concurrent requests.
async fn open_top_ups_are_limited(shop: Shop) {
    let shop = shop
        .restart_with(|config| {
            config.payments.sandbox = true;
            config.payments.open_top_ups = 3;
        })
        .await
        .unwrap();
    let customer = shop.customer("banyak@example.com").await;
    let body = json!({ "amount": 50_000, "paymentMethod": "QRIS" });
    let begun = (0..6).map(|_| customer.post("/api/wallet/topup", body.clone()));
    let begun = futures::future::join_all(begun).await;
    let open = begun
        .iter()
        .filter(|answer| answer.status == 201)
        .collect::<Vec<_>>();
    assert_eq!(open.len(), 3);
    let refused = begun.iter().find(|answer| answer.status != 201).unwrap();
    refused.fails(409, "TOO_MANY_OPEN_TOP_UPS");
    assert_eq!(
        refused.body["message"],
        "You have 3 top-ups waiting for payment. Pay or cancel one first."
    );
    let id = open[0].body["data"]["transactionId"].as_str().unwrap();
    customer
        .post(&format!("/api/wallet/transactions/{id}/cancel"), json!({}))
        .await
        .data(200);
    customer.post("/api/wallet/topup", body).await.data(201);
}

/// Refusals kept under a key are limited by customer and hour, as each is a row for a day.
async fn kept_refusals_are_limited(shop: Shop) {
    let customer = shop.customer("gagal@example.com").await;
    let unknown = json!({ "planId": uuid::Uuid::nil() });
    for number in 0..105 {
        let keyed = customer.with_key(format!("kunci-{number}"));
        keyed
            .post("/api/subscriptions", unknown.clone())
            .await
            .fails(404, "NOT_FOUND");
    }
    let again = async |number: usize| {
        let keyed = customer.with_key(format!("kunci-{number}"));
        keyed.post("/api/subscriptions", unknown.clone()).await
    };
    assert!(again(99).await.is_replayed());
    let beyond = again(100).await;
    beyond.fails(404, "NOT_FOUND");
    assert!(!beyond.is_replayed());
}
