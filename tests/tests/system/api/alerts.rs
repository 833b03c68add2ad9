//! Tests of alerts to administrators.

use dermaga_shop::alerts::{self, AlertKind};
use dermaga_tests::{Shop, both_engines};
use serde_json::json;

const KIND: AlertKind = AlertKind::PluginNotLoaded;

pub(super) async fn raise(shop: &Shop, subject: &str, message: &str) {
    let mut conn = shop.state().db.begin().await.unwrap();
    alerts::raise(&mut conn, shop.clock(), KIND, subject, message)
        .await
        .unwrap();
    conn.commit().await.unwrap();
}

async fn resolve(shop: &Shop, subject: &str) -> bool {
    let mut conn = shop.state().db.begin().await.unwrap();
    let resolved = alerts::resolve(&mut conn, shop.clock(), KIND, subject)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    resolved
}

async fn readiness(shop: &Shop) -> (u16, String) {
    let answer = shop.client().get("/readyz").await;
    let checks = answer.body["checks"].as_array().unwrap().clone();
    let check = checks
        .into_iter()
        .find(|check| check["name"] == "alerts")
        .unwrap();
    (
        answer.status,
        format!(
            "{} {}",
            check["status"].as_str().unwrap(),
            check["message"].as_str().unwrap()
        ),
    )
}

both_engines!(
    Shop,
    [
        a_cause_is_one_alert_until_it_is_over,
        an_alert_is_acknowledged_once
    ]
);

/// A lasting cause is one alert, open from its beginning to its end; a new beginning is a
/// new alert.
async fn a_cause_is_one_alert_until_it_is_over(shop: Shop) {
    let admin = shop.admin().await;
    assert_eq!(
        readiness(&shop).await,
        (200, "ok no alert is open".to_owned())
    );
    raise(&shop, "coupon-a", "First.").await;
    tokio::join!(
        raise(&shop, "coupon-a", "Again."),
        raise(&shop, "coupon-a", "Again.")
    );
    raise(&shop, "coupon-b", "Another.").await;
    assert_eq!(
        readiness(&shop).await,
        (200, "warning open: 2 PLUGIN_NOT_LOADED".to_owned())
    );

    let found = admin
        .get("/api/admin/alerts?subject=coupon-a&state=OPEN&kind=PLUGIN_NOT_LOADED")
        .await;
    assert_eq!(found.body["pagination"]["totalItems"], 1);
    let alert = found.data(200)[0].clone();
    assert_eq!(
        (&alert["occurrences"], &alert["message"]),
        (&json!(3), &json!("Again."))
    );

    assert!(resolve(&shop, "coupon-a").await && !resolve(&shop, "coupon-a").await);
    assert_eq!(
        readiness(&shop).await,
        (200, "warning open: 1 PLUGIN_NOT_LOADED".to_owned())
    );
    raise(&shop, "coupon-a", "New.").await;
    let found = admin
        .get("/api/admin/alerts?subject=coupon-a")
        .await
        .data(200);
    let states: Vec<_> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| alert["state"].clone())
        .collect();
    assert_eq!(states, ["OPEN", "RESOLVED"]);
}

/// The first acknowledgement is kept; only administrators see alerts.
async fn an_alert_is_acknowledged_once(shop: Shop) {
    let admin = shop.admin().await;
    raise(&shop, "coupon-a", "First.").await;
    let unseen = admin
        .get("/api/admin/alerts?acknowledged=false")
        .await
        .data(200);
    let path = format!(
        "/api/admin/alerts/{}/acknowledge",
        unseen[0]["id"].as_str().unwrap()
    );
    let seen = admin.post(&path, json!(null)).await.data(200);
    assert_eq!(seen["state"], "OPEN");
    let second = shop.admin().await.post(&path, json!(null)).await.data(200);
    assert_eq!(
        (&second["acknowledgedBy"], &second["acknowledgedAt"]),
        (&seen["acknowledgedBy"], &seen["acknowledgedAt"])
    );
    assert!(
        admin
            .get("/api/admin/alerts?acknowledged=false")
            .await
            .data(200)
            .as_array()
            .unwrap()
            .is_empty()
    );

    let unknown = format!("/api/admin/alerts/{}/acknowledge", uuid::Uuid::nil());
    admin
        .post(&unknown, json!(null))
        .await
        .fails(404, "NOT_FOUND");
    admin
        .get("/api/admin/alerts?state=LOUD")
        .await
        .fails(400, "VALIDATION_FAILED");
    let customer = shop.customer("biasa@example.com").await;
    customer
        .get("/api/admin/alerts")
        .await
        .fails(403, "FORBIDDEN");
    customer
        .post(&path, json!(null))
        .await
        .fails(403, "FORBIDDEN");
    shop.client()
        .get("/api/admin/alerts")
        .await
        .fails(401, "UNAUTHENTICATED");
}
