//! Tests of quotes, each of which buys once.

use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

both_engines!(Shop, [a_quote_buys_once]);

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
