//! Tests of terms and configurations that administrators give with a subscription.

use chrono::Months;
use chrono_tz::Asia::Jakarta;
use dermaga_tests::{Shop, both_engines};
use serde_json::json;

use super::subscriptions::{REASON, balances};
use crate::journeys::{renewal::moment, upgrade::customer_with_cash};

both_engines!(
    Shop,
    [a_term_and_a_configuration_are_granted_as_they_are_bought]
);

/// N8N Basic is 50,000 a month, and 10 % less for 6 months.
async fn a_term_and_a_configuration_are_granted_as_they_are_bought(shop: Shop) {
    let customer = customer_with_cash(&shop, "setengah@example.com", 300_000).await;
    let admin = shop.admin().await;
    let profile = customer.get("/api/user/profile").await.data(200);
    let order = json!({
        "userId": profile["id"], "planId": shop.plan("n8n", "basic").await, "termMonths": 6,
        "config": { "timezone": "Asia/Makassar" }, "reason": REASON,
    });
    let path = "/api/admin/subscriptions";
    let mut wrong = order.clone();
    wrong["config"] = json!({ "timezone": "?" });
    let refused = admin.post(path, wrong).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("config/timezone").is_some());
    for months in [0, 5, 13] {
        let mut wrong = order.clone();
        wrong["termMonths"] = json!(months);
        let refused = admin.post(path, wrong).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail("termMonths").is_some(), "{}", refused.text);
    }
    assert_eq!(balances(&customer).await, (300_000, 0));

    let made = admin.post(path, order).await.data(201);
    assert_eq!(made["charged"], 270_000, "{made:#}");
    assert_eq!(balances(&customer).await, (30_000, 0));
    let seen = &made["subscription"];
    assert_eq!(
        (&seen["termMonths"], &seen["config"]["timezone"]),
        (&json!(6), &json!("Asia/Makassar"))
    );
    let start = moment(&seen["periodStart"]).with_timezone(&Jakarta);
    assert_eq!(moment(&seen["periodEnd"]), start + Months::new(6));
    shop.books_balance().await;
}
