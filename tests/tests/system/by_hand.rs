//! Rows that are written by hand, against which purchases are measured, are those that the shop writes.

use dermaga_shop::{fetch_one, ids::UserId};
use dermaga_tests::{
    Shop, both_engines,
    by_hand::{Buyer, Purchase},
    unique,
};
use serde_json::json;

both_engines!(Shop, [a_purchase_by_hand_has_the_rows_of_one]);

/// Counts rows that nothing but purchases writes meanwhile; the last two are those that purchases update.
async fn rows(shop: &Shop) -> [i64; 9] {
    type Counts = (i64, i64, i64, i64, i64, i64, i64, i64, i64);
    let sql = "SELECT (SELECT count(*) FROM transactions), (SELECT count(*) FROM postings),
                 (SELECT count(*) FROM journal_entries), (SELECT count(*) FROM subscriptions),
                 (SELECT count(*) FROM instances), (SELECT count(*) FROM instance_secrets),
                 (SELECT count(*) FROM subscription_periods),
                 (SELECT CAST(sum(used_quota) AS BIGINT) FROM service_plans),
                 (SELECT CAST(sum(entries) AS BIGINT) FROM wallets)";
    let mut conn = shop.state().db.read().await.unwrap();
    fetch_one!(conn, Counts, sql).unwrap().into()
}

async fn a_purchase_by_hand_has_the_rows_of_one(shop: Shop) {
    let customer = shop
        .customer_with_credit("tangan@example.com", 100_000)
        .await;
    let profile = customer.get("/api/user/profile").await.data(200);
    let user: UserId = profile["id"].as_str().unwrap().parse().unwrap();
    let plan = shop.plan("postgresql", "basic").await;
    let (key, before) = (unique(), rows(&shop).await);
    customer
        .with_key(key.as_str())
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    let bought = rows(&shop).await;
    let url = shop.state().config.database_url();
    let purchase = Purchase::of(&shop.state().db, user, &key).await;
    let mut buyer = Buyer::connect(&url, shop.clock(), &purchase, user).await;
    for times in 1..=2 {
        buyer.buy().await;
        let by_hand = rows(&shop).await;
        for ((before, bought), by_hand) in before.iter().zip(bought).zip(by_hand) {
            assert!(bought > *before);
            assert_eq!(by_hand - bought, times * (bought - before));
        }
    }
}
