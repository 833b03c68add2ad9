//! Limits of requests by class of route and caller, and the headers that say so.

use std::time::Duration;

use dermaga_tests::{Answer, Client, Engine, Shop, both_engines};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::settings::empty_shop;

/// A shop whose limits are small and whose windows are short.
struct Strict(Shop);

const WINDOW: Duration = Duration::from_secs(6);

impl Strict {
    async fn open(engine: Engine) -> Option<Self> {
        let change = |config: &mut dermaga::config::Config| {
            config.rates.catalogue = 9;
            config.rates.customers = 5;
            config.rates.administrators = 7;
            config.rates.webhooks = 3;
            config.rates.window = WINDOW;
            config.http.trusted_proxies = 1;
        };
        let shop = Shop::open_with(engine, change).await?;
        Some(Self(shop))
    }

    /// Asks as if from an address.
    async fn from(&self, address: &str, method: Method, path: &str) -> Answer {
        self.asked_by(self.0.client(), address, method, path).await
    }

    async fn asked_by(&self, client: &Client, address: &str, method: Method, path: &str) -> Answer {
        let request = client.request(method, path);
        client
            .send(request.header("x-forwarded-for", address))
            .await
    }
}

both_engines!(
    Strict,
    [
        every_answer_says_what_is_left,
        requests_come_back_by_and_by,
        each_class_is_counted_by_itself,
        a_token_that_is_not_good_is_counted_as_a_strangers,
        networks_of_ipv6_are_one_party,
        probes_are_not_counted,
    ]
);

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let value = answer.headers.get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

const READ: &str = "/api/catalog/categories";

async fn every_answer_says_what_is_left(shop: Strict) {
    for left in (0..9).rev() {
        let answer = shop.from("192.0.2.1", Method::GET, READ).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(
            header(&answer, "ratelimit-policy"),
            r#""catalogue";q=9;w=6"#
        );
        let said = header(&answer, "ratelimit");
        let expected = format!(r#""catalogue";r={left};t="#);
        let seconds = said.strip_prefix(&expected);
        let seconds: u64 = seconds.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
        assert!((1..=6).contains(&seconds), "{said}");
        assert!(answer.headers.get("retry-after").is_none());
    }
    let refused = shop.from("192.0.2.1", Method::GET, READ).await;
    refused.fails(429, "TOO_MANY_REQUESTS");
    let seconds = header(&refused, "retry-after");
    let wait = match seconds {
        "1" => "a second".to_owned(),
        seconds => format!("{seconds} seconds"),
    };
    let sentence = format!("Too many requests. Try again in {wait}.");
    assert_eq!(refused.body["message"], sentence.as_str());
    let expected = format!(r#""catalogue";r=0;t={seconds}"#);
    assert_eq!(header(&refused, "ratelimit"), expected);
    // Another address, and an address that does not exist.
    assert_eq!(shop.from("192.0.2.2", Method::GET, READ).await.status, 200);
    let unknown = shop.from("192.0.2.1", Method::GET, "/api/nothing").await;
    unknown.fails(429, "TOO_MANY_REQUESTS");
}

/// Tests of the shop count how many come back, by a clock of their own.
async fn requests_come_back_by_and_by(shop: Strict) {
    let mut refused = shop.from("192.0.2.1", Method::GET, READ).await;
    // On a busy machine, some of the nine come back while others are asked for.
    for _ in 0..60 {
        if refused.status == 429 {
            break;
        }
        refused = shop.from("192.0.2.1", Method::GET, READ).await;
    }
    let seconds: u64 = header(&refused, "retry-after").parse().unwrap();
    refused.fails(429, "TOO_MANY_REQUESTS");
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    shop.from("192.0.2.1", Method::GET, READ).await.data(200);
}

async fn each_class_is_counted_by_itself(shop: Strict) {
    let customer = shop.0.register("batas@example.com").await;
    let token = customer["accessToken"].as_str().unwrap();
    let customer = shop.0.client().with_token(token);
    let admin = shop.0.admin().await;
    for (class, client, method, path, limit) in [
        ("customers", &customer, Method::GET, "/api/wallet/info", 5),
        ("administrators", &admin, Method::GET, "/api/admin/jobs", 7),
        (
            "webhooks",
            shop.0.client(),
            Method::POST,
            "/api/wallet/webhook/midtrans",
            3,
        ),
    ] {
        for number in 1..=limit {
            // An account is counted wherever its requests come from.
            let address = match class {
                "webhooks" => "198.51.100.1".to_owned(),
                _ => format!("198.51.100.{number}"),
            };
            let answer = shop.asked_by(client, &address, method.clone(), path).await;
            assert_ne!(answer.status, 429, "{class}: {}", answer.text);
            let policy = format!(r#""{class}";q={limit};w=6"#);
            assert_eq!(header(&answer, "ratelimit-policy"), policy);
        }
        let refused = shop.asked_by(client, "198.51.100.1", method, path).await;
        refused.fails(429, "TOO_MANY_REQUESTS");
    }
    // An administrator is one on every route, and a customer on those of administrators.
    let own = shop.asked_by(&admin, "198.51.100.1", Method::GET, "/api/auth/profile");
    own.await.fails(429, "TOO_MANY_REQUESTS");
    // The catalogue is for all, and does not ask who reads it.
    let read = shop.asked_by(&customer, "198.51.100.1", Method::GET, READ);
    assert!(header(&read.await, "ratelimit").starts_with(r#""catalogue";r=8;"#));
}

async fn a_token_that_is_not_good_is_counted_as_a_strangers(shop: Strict) {
    let stranger = shop.0.client().with_token("dmg_not-a-token");
    for _ in 0..9 {
        let refused = shop.asked_by(&stranger, "192.0.2.1", Method::GET, "/api/wallet/info");
        refused.await.fails(401, "UNAUTHENTICATED");
    }
    let refused = shop.asked_by(&stranger, "192.0.2.1", Method::GET, "/api/wallet/info");
    refused.await.fails(429, "TOO_MANY_REQUESTS");
}

async fn networks_of_ipv6_are_one_party(shop: Strict) {
    for number in 0..9 {
        let address = format!("2001:db8::{number:x}");
        shop.from(&address, Method::GET, READ).await.data(200);
    }
    let neighbour = shop.from("2001:db8::ffff", Method::GET, READ).await;
    neighbour.fails(429, "TOO_MANY_REQUESTS");
    let other = shop.from("2001:db8:0:1::1", Method::GET, READ).await;
    assert_eq!(other.status, 200);
}

async fn probes_are_not_counted(shop: Strict) {
    for path in ["/healthz", "/readyz", "/metrics"] {
        for _ in 0..12 {
            let answer = shop.from("192.0.2.1", Method::GET, path).await;
            assert_eq!(answer.status, 200);
            assert!(answer.headers.get("ratelimit").is_none());
        }
    }
}

/// A shop that was told nothing has the limits of the documents.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_class_has_its_limit_where_none_was_set() {
    let as_default = |config: &mut dermaga::config::Config| {
        config.rates = dermaga_shop::rates::Settings::default();
    };
    let shop = Shop::open_with(Engine::Sqlite, as_default).await.unwrap();
    let customer = shop.customer("bawaan@example.com").await;
    let admin = shop.admin().await;
    let notice = json!({ "order_id": Uuid::nil() });
    let webhook = "/api/wallet/webhook/midtrans";
    for (answer, policy) in [
        (shop.client().get(READ).await, r#""catalogue";q=100;w=60"#),
        (
            customer.get("/api/wallet/info").await,
            r#""customers";q=60;w=60"#,
        ),
        (
            admin.get("/api/admin/jobs").await,
            r#""administrators";q=200;w=60"#,
        ),
        (
            shop.client().post(webhook, notice).await,
            r#""webhooks";q=1000;w=60"#,
        ),
    ] {
        assert_eq!(header(&answer, "ratelimit-policy"), policy);
    }
}

/// Each setting is the limit of its class.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_class_has_the_limit_that_was_set() {
    let shop = empty_shop(&[
        ("DERMAGA_CATALOGUE_REQUESTS_PER_MINUTE", "50"),
        ("DERMAGA_CUSTOMER_REQUESTS_PER_MINUTE", "51"),
        ("DERMAGA_ADMIN_REQUESTS_PER_MINUTE", "52"),
        ("DERMAGA_WEBHOOK_REQUESTS_PER_MINUTE", "1"),
    ])
    .await;
    let customer = shop.customer("setelan@example.com").await;
    let admin = shop.admin().await;
    let notice = json!({ "order_id": Uuid::nil() });
    let webhook = "/api/wallet/webhook/midtrans";
    for (answer, policy) in [
        (shop.client().get(READ).await, r#""catalogue";q=50;w=60"#),
        (
            customer.get("/api/wallet/info").await,
            r#""customers";q=51;w=60"#,
        ),
        (
            admin.get("/api/admin/jobs").await,
            r#""administrators";q=52;w=60"#,
        ),
        (
            shop.client().post(webhook, notice.clone()).await,
            r#""webhooks";q=1;w=60"#,
        ),
    ] {
        assert_eq!(header(&answer, "ratelimit-policy"), policy);
    }
    let refused = shop.client().post(webhook, notice).await;
    refused.fails(429, "TOO_MANY_REQUESTS");
}
