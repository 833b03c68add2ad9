//! Tests of quotes, each of which buys once.

use chrono::TimeDelta;
use dermaga_shop::fetch_one;
use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{renewal::moment, upgrade::customer_with_cash};

both_engines!(
    Shop,
    [
        a_quote_buys_once,
        a_quote_explains_its_days_and_ends_in_time,
        expired_quotes_of_everybody_are_removed
    ]
);

/// A quote tells the days of its period and how it is rounded; its lines add up, also with a coupon whose part
/// is no whole rupiah; and after fifteen minutes it buys nothing.
async fn a_quote_explains_its_days_and_ends_in_time(shop: Shop) {
    let admin = shop.admin().await;
    let third = json!({
        "code": "SEPERTIGA", "plugin": "coupon-subscription-discount", "parameters": { "percent": 33 },
    });
    admin.post("/api/admin/coupons", third).await.data(201);
    let plan = shop.plan("n8n", "basic").await;
    let customer = customer_with_cash(&shop, "hari@example.com", 200_000).await;
    let order = json!({ "planId": plan, "couponCode": "SEPERTIGA" });
    let quote = customer
        .post("/api/subscriptions/quote", order.clone())
        .await
        .data(200);
    let (start, end) = (moment(&quote["periodStart"]), moment(&quote["periodEnd"]));
    assert_eq!(quote["days"], (end - start).num_days(), "{quote:#}");
    let lines = quote["lines"].as_array().unwrap().iter();
    let sum: i64 = lines.map(|line| line["amount"].as_i64().unwrap()).sum();
    assert_eq!((&quote["due"], sum), (&json!(33_500), 33_500));
    assert!(
        quote["rounding"]
            .as_str()
            .unwrap()
            .contains("rounded down once")
    );

    let mut bound = order.clone();
    bound["quoteId"] = quote["id"].clone();
    let mut other = bound.clone();
    other["couponCode"] = json!(null);
    let refused = customer.post("/api/subscriptions", other).await;
    refused.fails(400, "VALIDATION_FAILED");
    let thief = customer_with_cash(&shop, "pencuri@example.com", 200_000).await;
    let refused = thief.post("/api/subscriptions", bound.clone()).await;
    refused.fails(404, "NOT_FOUND");
    shop.clock().advance(TimeDelta::minutes(15));
    let late = customer.post("/api/subscriptions", bound).await;
    late.fails(409, "QUOTE_CHANGED");
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    assert_eq!(bought["charged"], 33_500);

    // The rest of a period, to the second: the lines tell the days and add up.
    let id = bought["subscription"]["id"].as_str().unwrap();
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    shop.clock().advance(TimeDelta::days(10));
    let customer = shop.sign_in("hari@example.com").await;
    let pro = json!({ "planId": shop.plan("n8n", "pro").await });
    let path = format!("/api/subscriptions/{id}/upgrade-quote");
    let quote = customer.post(&path, pro).await.data(200);
    let left = quote["daysLeft"].as_i64().unwrap();
    assert!((17..=21).contains(&left), "{quote:#}");
    let lines = quote["lines"].as_array().unwrap();
    let sum: i64 = lines
        .iter()
        .map(|line| line["amount"].as_i64().unwrap())
        .sum();
    assert_eq!(quote["due"], sum);
    for line in lines {
        let reason = line["reason"].as_str().unwrap();
        assert!(reason.contains("days"), "{line:#}");
    }
}

/// A quote is charged once: in sequence, concurrently, and after a failed purchase.
async fn a_quote_buys_once(shop: Shop) {
    let plan = shop.plan("postgresql", "basic").await;
    let customer = shop
        .customer_with_credit("sekali@example.com", 100_000)
        .await;
    let quote = async || {
        let quote = customer
            .post("/api/subscriptions/quote", json!({ "planId": plan }))
            .await
            .data(200);
        json!({ "planId": plan, "quoteId": quote["id"] })
    };
    let order = quote().await;
    customer
        .post("/api/subscriptions", order.clone())
        .await
        .data(201);
    customer
        .post("/api/subscriptions", order.clone())
        .await
        .fails(409, "QUOTE_USED");
    customer
        .with_key("another")
        .post("/api/subscriptions", order)
        .await
        .fails(409, "QUOTE_USED");

    let order = quote().await;
    let answers = (0..8).map(|_| customer.post("/api/subscriptions", order.clone()));
    let answers = futures::future::join_all(answers).await;
    let (bought, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((bought.len(), refused.len()), (1, 7));
    for answer in refused {
        answer.fails(409, "QUOTE_USED");
    }
    let wallet = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(
        wallet["totalSpent"], 50_000,
        "two purchases of Rp25.000: {wallet:#}"
    );

    // The purchase failed, so the quote is still valid.
    let poor = shop.customer("belum@example.com").await;
    let quote = poor
        .post("/api/subscriptions/quote", json!({ "planId": plan }))
        .await
        .data(200);
    let order = json!({ "planId": plan, "quoteId": quote["id"] });
    poor.post("/api/subscriptions", order.clone())
        .await
        .fails(402, "INSUFFICIENT_CREDIT");
    let profile = poor.get("/api/auth/profile").await.data(200);
    let gift: Value =
        json!({ "amount": 25_000, "kind": "BONUS", "reason": "Credit for the test of quotes." });
    let path = format!(
        "/api/admin/wallets/{}/add-credit",
        profile["id"].as_str().unwrap()
    );
    shop.admin().await.post(&path, gift).await.data(201);
    poor.post("/api/subscriptions", order).await.data(201);
    shop.books_balance().await;
}

/// Quotes of customers who ask for no other are removed a day after they have expired; the others stay.
async fn expired_quotes_of_everybody_are_removed(shop: Shop) {
    let order = json!({ "planId": shop.plan("n8n", "basic").await });
    let path = "/api/subscriptions/quote";
    let gone = shop.customer("sekali@example.com").await;
    gone.post(path, order.clone()).await.data(200);
    let sql = "SELECT count(*) FROM quotes";
    assert_eq!(count(&shop, sql).await, 1);
    shop.clock().advance(TimeDelta::hours(25));
    let expired = shop.customer("tadi@example.com").await;
    expired.post(path, order).await.data(200);
    shop.clock().advance(TimeDelta::minutes(16));
    let admin = shop.admin().await;
    let job = "/api/admin/jobs/health-history/run";
    admin.post(job, json!({})).await.data(200);
    assert_eq!(count(&shop, sql).await, 1);
    let left = "SELECT count(*) FROM quotes q JOIN users u ON u.id = q.user_id WHERE u.email = 'tadi@example.com'";
    assert_eq!(count(&shop, left).await, 1);
}

async fn count(shop: &Shop, sql: &'static str) -> i64 {
    let mut conn = shop.state().db.read().await.unwrap();
    let (count,) = fetch_one!(conn, (i64,), sql).unwrap();
    count
}
