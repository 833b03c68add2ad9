//! Rules that each database keeps by itself, against any writer.

use chrono::TimeDelta;
use dermaga_shop::subscriptions::SubscriptionStatus;
use dermaga_tests::{Engine, Shop, both_engines};
use serde_json::json;
use uuid::Uuid;

both_engines!(
    Shop,
    [
        what_was_recorded_of_acts_stays,
        a_status_changes_as_the_table_says
    ]
);

async fn is_refused(shop: &Shop, sql: &'static str) {
    let refused = shop.sql(sql).await.unwrap_err().to_string();
    assert!(refused.contains("append-only"), "{sql}: {refused}");
}

/// The record of administrators is neither changed nor deleted.
async fn what_was_recorded_of_acts_stays(shop: Shop) {
    let admin = shop.admin().await;
    let reload = "/api/admin/catalog/reload";
    admin
        .post(reload, json!({ "reason": "The templates were edited." }))
        .await
        .data(200);
    let before = admin.get("/api/admin/audit").await.data(200);
    assert_eq!(before.as_array().unwrap().len(), 1);
    for sql in [
        "UPDATE audit_events SET reason = 'another'",
        "UPDATE audit_events SET details = details",
        "DELETE FROM audit_events",
    ] {
        is_refused(&shop, sql).await;
    }
    assert_eq!(admin.get("/api/admin/audit").await.data(200), before);
}

/// Every pair of statuses: the database takes those that the shop takes.
async fn a_status_changes_as_the_table_says(shop: Shop) {
    let registered = shop.register("tabel@example.com").await;
    let user: Uuid = registered["user"]["id"].as_str().unwrap().parse().unwrap();
    let plan: Uuid = shop.plan("n8n", "free").await.parse().unwrap();
    let (id, now) = (Uuid::from_u128(1), shop.clock().now());
    let end = now + TimeDelta::days(30);
    let insert = "INSERT INTO subscriptions (id, user_id, plan_id, status, monthly_price, config, auto_renew,
           anchor_at, period_number, period_start, period_end, created_at, updated_at)
         VALUES ($1, $2, $3, $4, 50000, '{}', TRUE, $5, 1, $5, $6, $5, $5)";
    let update = "UPDATE subscriptions SET status = $2 WHERE id = $1";
    for &from in SubscriptionStatus::ALL {
        for &to in SubscriptionStatus::ALL {
            // Nothing of it is committed.
            let mut conn = shop.state().db.begin().await.unwrap();
            dermaga_shop::execute!(conn, insert, id, user, plan, from, now, end).unwrap();
            let changed = dermaga_shop::execute!(conn, update, id, to);
            assert_eq!(changed.is_ok(), from.may_become(to), "{from} {to}");
            drop(conn);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trail_is_not_emptied_at_once() {
    if let Some(shop) = Shop::open(Engine::Postgres).await {
        is_refused(&shop, "TRUNCATE audit_events").await;
    }
}
