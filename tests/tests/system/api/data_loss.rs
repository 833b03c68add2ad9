//! Tests of the decision that lost data stays lost.

use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

both_engines!(Shop, [a_loss_is_accepted_once_and_with_a_reason]);

/// Marks the claims of an instance as lost, as a pass on a cluster does.
async fn lose(shop: &Shop, id: &str) {
    let id: uuid::Uuid = id.parse().unwrap();
    let claims = json!([{ "name": "data", "uid": "1", "volume": "pv-1" }]);
    let mut conn = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE instances SET failure_cause = 'DATA_LOST', status = 'FAILED', claims = $2,
               next_attempt_at = $3 WHERE id = $1";
    let later = shop.clock().now() + chrono::TimeDelta::hours(1);
    dermaga_shop::execute!(conn, sql, id, sqlx::types::Json(claims), later).unwrap();
    conn.commit().await.unwrap();
}

async fn a_loss_is_accepted_once_and_with_a_reason(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("hilang@example.com", 100_000)
        .await;
    let plan = shop.plan("postgresql", "basic").await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    let id = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, id, "RUNNING").await;
    let path = format!("/api/admin/instances/{id}/accept-data-loss");
    let reason = json!({ "reason": "The disk burned and there is no copy." });
    let accept = async |body: &Value| admin.post(&path, body.clone()).await;

    accept(&reason).await.fails(409, "INVALID_STATE");
    lose(&shop, id).await;
    accept(&json!({ "reason": "gone" }))
        .await
        .fails(400, "VALIDATION_FAILED");
    customer
        .post(&path, reason.clone())
        .await
        .fails(403, "FORBIDDEN");
    let nowhere = "/api/admin/instances/00000000-0000-0000-0000-000000000009/accept-data-loss";
    admin
        .post(nowhere, reason.clone())
        .await
        .fails(404, "NOT_FOUND");
    let (one, two) = tokio::join!(accept(&reason), accept(&reason));
    let (accepted, late) = if one.status == 202 {
        (one, two)
    } else {
        (two, one)
    };
    late.fails(409, "INVALID_STATE");
    assert_eq!(accepted.data(202)["claims"], json!(["data"]));
    shop.instance_becomes(&customer, id, "RUNNING").await;
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM audit_events WHERE act = 'instance.data_loss_accepted'";
    let (audited,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    assert_eq!(audited, 1);
}
