//! Lists that grow, read on by cursors while newer rows come.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dermaga_tests::{Client, Shop, both_engines, unique};
use serde_json::{Value, json};

both_engines!(
    Shop,
    [
        transactions_are_read_on_while_new_ones_come,
        all_transactions_and_acts_are_read_on,
        decisions_are_read_on,
        a_cursor_is_refused_that_is_none,
        a_cursor_shows_nothing_of_others,
    ]
);

async fn gift(shop: &Shop, admin: &Client, customer: &Client, amount: i64) {
    let profile = customer.get("/api/auth/profile").await.data(200);
    let id = profile["id"].as_str().unwrap();
    let path = format!("/api/admin/wallets/{id}/add-credit");
    let body = json!({ "amount": amount, "reason": "A gift for a list." });
    admin.post(&path, body).await.data(201);
    // Two gifts may have one moment: the clock is left as it is.
    assert!(shop.clock().offset().is_some());
}

/// Reads a list to its end, two at a time, and lets something come before each further part.
async fn walked(
    client: &Client,
    path: &str,
    field: &str,
    before_each: impl AsyncFn(),
) -> Vec<Value> {
    let joint = if path.contains('?') { '&' } else { '?' };
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = client.get(&format!("{path}{joint}limit=2{cursor}")).await;
        let page = &answer.body["pagination"];
        assert_eq!(page["limit"], 2, "{}", answer.text);
        // Only pages are counted.
        assert_eq!(page["totalItems"].is_null(), !cursor.is_empty());
        assert_eq!(page["page"].is_null(), !cursor.is_empty());
        let next = page["nextCursor"].as_str().map(str::to_owned);
        let items = answer.data(200);
        let items = items.as_array().unwrap();
        seen.extend(items.iter().map(|item| item[field].clone()));
        let Some(next) = next else {
            return seen;
        };
        assert_eq!(items.len(), 2, "more follows");
        cursor = format!("&cursor={next}");
        before_each().await;
    }
}

async fn transactions_are_read_on_while_new_ones_come(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("jalan@example.com").await);
    for amount in 1..=7 {
        gift(&shop, &admin, &customer, amount * 1_000).await;
    }
    let new = async || gift(&shop, &admin, &customer, 99_000).await;
    let seen = walked(&customer, "/api/wallet/transactions", "amount", new).await;
    let expected: Vec<Value> = (1..=7).rev().map(|amount| json!(amount * 1_000)).collect();
    assert_eq!(seen, expected, "each once, and none that came later");

    // By pages the same rows come again.
    let of_type = "/api/wallet/transactions?type=ADMIN_ADJUSTMENT";
    let seen = walked(&customer, of_type, "number", async || {}).await;
    assert_eq!(seen.len(), 10);
    let whole = customer.get("/api/wallet/transactions?limit=100").await;
    assert!(whole.body["pagination"]["nextCursor"].is_null());
    let whole = whole.data(200);
    let numbers: Vec<Value> = whole
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["number"].clone())
        .collect();
    assert_eq!(seen, numbers);
}

async fn all_transactions_and_acts_are_read_on(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("semua@example.com").await);
    for amount in 1..=5 {
        gift(&shop, &admin, &customer, amount * 1_000).await;
    }
    let new = async || gift(&shop, &admin, &customer, 99_000).await;
    let seen = walked(&admin, "/api/admin/transactions", "amount", new).await;
    assert_eq!(seen, [5_000, 4_000, 3_000, 2_000, 1_000].map(Value::from));
    let before = walked(&admin, "/api/admin/audit", "id", async || {}).await;
    assert_eq!(before.len(), 7);
    let new = async || gift(&shop, &admin, &customer, 99_000).await;
    let after = walked(&admin, "/api/admin/audit", "id", new).await;
    assert_eq!(after, before);
}

async fn decisions_are_read_on(shop: Shop) {
    let admin = shop.admin().await;
    // Each redemption is a decision of its coupon's plugin.
    let redeem = async || {
        let email = format!("{}@example.com", unique());
        shop.customer_with_credit(&email, 1_000).await;
    };
    for _ in 0..5 {
        redeem().await;
    }
    let before = walked(&admin, "/api/admin/decisions", "id", async || {}).await;
    assert_eq!(before.len(), 5);
    let after = walked(&admin, "/api/admin/decisions", "id", redeem).await;
    assert_eq!(after, before);
}

async fn a_cursor_is_refused_that_is_none(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("salah@example.com").await);
    for amount in 1..=3 {
        gift(&shop, &admin, &customer, amount * 1_000).await;
    }
    let page = customer.get("/api/wallet/transactions?limit=1").await;
    let cursor = page.body["pagination"]["nextCursor"].as_str().unwrap();
    // Before 1970, and in other spellings than the shop's.
    for place in [
        "-1.TXMP-1",
        "+1790000000123.TXMP-1",
        "1790000000123.TXMP-01",
    ] {
        let cursor = URL_SAFE_NO_PAD.encode(place);
        for (client, list) in [
            (&customer, "/api/wallet/transactions"),
            (&admin, "/api/admin/transactions"),
        ] {
            let refused = client.get(&format!("{list}?cursor={cursor}")).await;
            refused.fails(400, "VALIDATION_FAILED");
            assert!(refused.detail("cursor").is_some(), "{}", refused.text);
        }
    }
    for (client, query) in [
        (&customer, "/api/wallet/transactions?cursor=x".to_owned()),
        (
            &customer,
            "/api/wallet/transactions?cursor=%27%20OR%201=1".to_owned(),
        ),
        (
            &customer,
            format!("/api/wallet/transactions?cursor={}", "A".repeat(101)),
        ),
        (
            &customer,
            format!("/api/wallet/transactions?cursor={cursor}&page=2"),
        ),
        (&admin, format!("/api/admin/decisions?cursor={cursor}")),
        (&admin, format!("/api/admin/audit?cursor={cursor}")),
    ] {
        let refused = client.get(&query).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail("cursor").is_some(), "{}", refused.text);
    }
    // Lists that do not grow have none.
    let other = format!("/api/subscriptions?cursor={cursor}");
    customer.get(&other).await.fails(400, "VALIDATION_FAILED");
}

async fn a_cursor_shows_nothing_of_others(shop: Shop) {
    let (admin, rich) = (shop.admin().await, shop.customer("kaya@example.com").await);
    for amount in 1..=3 {
        gift(&shop, &admin, &rich, amount * 1_000).await;
    }
    let page = rich.get("/api/wallet/transactions?limit=1").await;
    let cursor = page.body["pagination"]["nextCursor"].as_str().unwrap();
    let poor = shop.customer("lain@example.com").await;
    let path = format!("/api/wallet/transactions?cursor={cursor}");
    assert_eq!(poor.get(&path).await.data(200), json!([]));
}
