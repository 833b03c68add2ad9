//! The gateway, the wallet and the clock of the books.

use chrono::TimeDelta;
use dermaga::{
    config::{self, Sources},
    sandbox::{Action, Fault},
};
use dermaga_shop::db::Clock;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::empty_shop;
use crate::api::payments;

/// Builds a top-up by QRIS.
fn top_up(amount: i64) -> Value {
    json!({ "amount": amount, "paymentMethod": "QRIS" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_go_where_the_settings_say() {
    let (gateway, base) = payments::gateway(Clock::movable()).await;
    let ear = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let notices = format!("http://{}/notices", ear.local_addr().unwrap());
    let settings = |key: &'static str| {
        [
            ("MIDTRANS_SERVER_KEY", key),
            ("MIDTRANS_BASE_URL", &base),
            ("MIDTRANS_CLIENT_KEY", "SB-Mid-client-1"),
            ("MIDTRANS_NOTIFICATION_URL", &notices),
            ("MIDTRANS_FINISH_URL", "https://toko.example/selesai"),
            ("MIDTRANS_UNFINISH_URL", "https://toko.example/belum"),
            ("MIDTRANS_ERROR_URL", "https://toko.example/gagal"),
        ]
    };
    let stranger = empty_shop(&settings("SB-Mid-server-stranger")).await;
    let customer = stranger.customer("asing@example.com").await;
    let refused = customer.post("/api/wallet/topup", top_up(10_000)).await;
    refused.fails(502, "GATEWAY_REFUSED");
    let shop = empty_shop(&settings(payments::KEY)).await;
    let customer = shop.customer("arah@example.com").await;
    let open = customer
        .post("/api/wallet/topup", top_up(10_000))
        .await
        .data(201);
    assert_eq!(open["clientKey"], "SB-Mid-client-1");
    let url = open["redirectUrl"].as_str().unwrap();
    assert!(url.starts_with(&base), "{url}");
    let page = async || reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(page().await.contains("https://toko.example/belum"));
    let admin = shop.admin().await;
    let payments = admin.get("/api/admin/payments").await.data(200);
    let order = payments[0]["orderId"].as_str().unwrap();
    gateway.act(order, Action::Deny).unwrap();
    assert!(page().await.contains("https://toko.example/gagal"));
    let (mut connection, _) = ear.accept().await.unwrap();
    let mut begin = [0; 13];
    connection.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"POST /notices");
    gateway.act(order, Action::Pay).unwrap();
    assert!(page().await.contains("https://toko.example/selesai"));
}

#[test]
fn real_money_needs_a_real_key() {
    let load = |key: &str, is_production: &str| {
        let environment = [
            ("MIDTRANS_SERVER_KEY", key),
            ("MIDTRANS_IS_PRODUCTION", is_production),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        config::load(Sources {
            environment: environment.into(),
            ..Sources::default()
        })
    };
    assert!(load("SB-Mid-server-1", "false").is_ok());
    assert!(load("Mid-server-1", "true").is_ok());
    let refused = load("SB-Mid-server-1", "true").unwrap_err().to_string();
    assert!(refused.contains("MIDTRANS_SERVER_KEY"), "{refused}");
}

/// A request without an answer times out, is repeated and answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_gateway_is_waited_for_so_long() {
    for (timeout, status) in [("1s", 201), ("60s", 408)] {
        let (gateway, base) = payments::gateway(Clock::movable()).await;
        let shop = empty_shop(&[
            ("MIDTRANS_SERVER_KEY", payments::KEY),
            ("MIDTRANS_BASE_URL", &base),
            ("MIDTRANS_TIMEOUT", timeout),
            ("DERMAGA_REQUEST_TIMEOUT", "15s"),
        ])
        .await;
        let customer = shop.customer("sabar@example.com").await;
        gateway.fail_next([Fault::Silence]);
        let answer = customer.post("/api/wallet/topup", top_up(10_000)).await;
        assert_eq!(answer.status, status, "{timeout}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_is_played_where_it_was_asked_for() {
    for (sandbox, status) in [("true", 201), ("false", 503)] {
        let shop = empty_shop(&[("DERMAGA_PAYMENTS_SANDBOX", sandbox)]).await;
        let customer = shop.customer("main@example.com").await;
        let answer = customer.post("/api/wallet/topup", top_up(10_000)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_starts_where_it_was_put() {
    for (clock, expected) in [
        ("+31d", Clock::system().now() + TimeDelta::days(31)),
        ("-90m", Clock::system().now() - TimeDelta::minutes(90)),
        (
            "2031-12-31T23:30:00+07:00",
            "2031-12-31T16:30:00Z".parse().unwrap(),
        ),
    ] {
        let shop = empty_shop(&[("DERMAGA_CLOCK", clock)]).await;
        let off = shop.clock().now() - expected;
        assert!(off.abs() < TimeDelta::minutes(1), "{clock}: {off}");
    }
}

/// Unpaid top-ups count too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_holds_so_much_at_the_most() {
    let shop = empty_shop(&[
        ("WALLET_BALANCE_CAP", "50_000"),
        ("DERMAGA_PAYMENTS_SANDBOX", "true"),
    ])
    .await;
    let customer = shop.customer("penuh@example.com").await;
    let ask = |amount| customer.post("/api/wallet/topup", top_up(amount));
    ask(50_001).await.fails(409, "BALANCE_CAP_EXCEEDED");
    ask(30_000).await.data(201);
    ask(20_001).await.fails(409, "BALANCE_CAP_EXCEEDED");
    ask(20_000).await.data(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_begins_where_the_shop_is() {
    for (zone, hour) in [("Asia/Jakarta", "17:00"), ("Asia/Jayapura", "15:00")] {
        let shop = empty_shop(&[("BILLING_TIMEZONE", zone)]).await;
        let customer = shop.customer("waktu@example.com").await;
        let found = customer.get("/api/wallet/statistics").await.data(200);
        assert_eq!(found["timeZone"], zone);
        let start = found["from"].as_str().unwrap();
        assert!(start.contains(&format!("T{hour}:00")), "{start}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paid_credit_is_capped_and_the_float_is_watched() {
    let settings = [
        ("WALLET_BALANCE_CAP", "2_000_000"),
        ("WALLET_FLOAT_WARNING", "3_000_000"),
    ];
    let shop = empty_shop(&settings).await;
    let admin = shop.admin().await;
    let change = async |act: &str, name: &str, amount: i64, kind: &str| {
        let customer = shop.sign_in(name).await;
        let profile = customer.get("/api/auth/profile").await.data(200);
        let path = format!(
            "/api/admin/wallets/{}/{act}",
            profile["id"].as_str().unwrap()
        );
        let reason = "Paid at the counter, in cash.";
        let body = json!({ "amount": amount, "reason": reason, "kind": kind });
        admin.post(&path, body).await
    };
    let add =
        async |name: &str, amount: i64, kind: &str| change("add-credit", name, amount, kind).await;
    let alerts = async || {
        let run = "/api/admin/jobs/wallet-float/run";
        admin.post(run, json!({})).await.data(200);
        let found = admin.get("/api/admin/alerts?kind=FLOAT_HIGH").await;
        let found = found.data(200).as_array().unwrap().clone();
        let states = found.iter().map(|alert| alert["state"].as_str().unwrap());
        states.map(str::to_owned).collect::<Vec<_>>()
    };
    let float = async || {
        let all = admin.get("/api/admin/wallets/statistics").await.data(200);
        all["float"].clone()
    };
    shop.register("satu@example.com").await;
    shop.register("dua@example.com").await;

    add("satu@example.com", 1_500_000, "PAID").await.data(201);
    let over = add("satu@example.com", 500_001, "PAID").await;
    over.fails(409, "BALANCE_CAP_EXCEEDED");
    assert_eq!(over.detail("amount"), Some("500000"));
    // Bonus credit is not money held for customers.
    add("satu@example.com", 500_001, "BONUS").await.data(201);
    add("satu@example.com", 500_000, "PAID").await.data(201);

    assert_eq!(
        float().await,
        json!({ "paid": 2_000_000, "warningLevel": 3_000_000, "warning": false })
    );
    assert!(alerts().await.is_empty());
    add("dua@example.com", 1_000_000, "PAID").await.data(201);
    assert_eq!(float().await["warning"], true);
    assert_eq!(alerts().await, ["OPEN"]);
    assert_eq!(alerts().await, ["OPEN"], "one alert while it lasts");
    let deducted = change("deduct-credit", "dua@example.com", 1, "PAID").await;
    deducted.data(201);
    assert_eq!(alerts().await, ["RESOLVED"]);
}
