//! Tests of the advice after all versions of a plugin were retired: none of them is activated again.

use dermaga_tests::{Client, Shop, both_engines};
use serde_json::json;

use super::{
    plugins::{giving, install},
    services::because,
};

const PLUGIN: &str = "/api/admin/plugins/coupon-gift";
const COUPONS: &str = "/api/admin/coupons";

both_engines!(
    Shop,
    [
        an_alert_about_a_template_asks_for_a_higher_version,
        a_coupon_that_is_switched_on_asks_for_a_higher_version,
        a_rollback_says_that_the_earlier_versions_are_retired,
        an_upload_of_a_retired_version_asks_for_a_higher_one,
    ]
);

async fn retire(admin: &Client, plugin: &str) {
    let path = format!("/api/admin/plugins/{plugin}/retire?stopSelling=true");
    admin.post(&path, json!(null)).await.data(200);
}

async fn an_alert_about_a_template_asks_for_a_higher_version(shop: Shop) {
    let admin = shop.admin().await;
    retire(&admin, "service-n8n").await;
    let reload = "/api/admin/catalog/reload";
    admin.post(reload, because(json!({}))).await.data(200);
    let path = "/api/admin/alerts?state=OPEN&kind=TEMPLATE_REFUSED";
    let alerts = admin.get(path).await.data(200);
    let message = alerts[0]["message"].as_str().unwrap();
    let retired = "The plugin `service-n8n` was retired.";
    let advice = "Upload the plugin with a higher version number, activate it and reload";
    let is_told = message.contains(retired) && message.contains(advice);
    assert!(is_told, "{message}");
}

async fn a_coupon_that_is_switched_on_asks_for_a_higher_version(shop: Shop) {
    let admin = shop.admin().await;
    install(&admin, giving(1_000, "1.0.0")).await;
    let coupon = json!({ "code": "GIFT", "plugin": "coupon-gift", "parameters": {} });
    let coupon = admin.post(COUPONS, coupon).await.data(201);
    let switch = async |status: &str| {
        let body = json!({ "ids": [coupon["id"]], "status": status });
        admin.put(&format!("{COUPONS}/bulk-status"), body).await
    };
    switch("DISABLED").await.data(200);
    retire(&admin, "coupon-gift").await;
    for advice in [
        "Upload it with a higher version number and activate that first.",
        "Activate a version of it first.",
    ] {
        let refused = switch("ACTIVE").await;
        refused.fails(409, "CONFLICT");
        let expected = format!(
            "The coupon GIFT is of a type that is not active. The plugin `coupon-gift` was retired. {advice}"
        );
        assert_eq!(refused.body["message"], expected);
        admin.upload(giving(1_000, "1.0.1")).await;
    }
}

async fn a_rollback_says_that_the_earlier_versions_are_retired(shop: Shop) {
    let admin = shop.admin().await;
    let refusal = async || {
        let path = format!("{PLUGIN}/rollback");
        let refused = admin.post(&path, json!(null)).await;
        refused.fails(409, "INVALID_STATE");
        refused.body["message"].clone()
    };
    install(&admin, giving(1_000, "1.0.0")).await;
    let never = "No earlier version of this plugin has been active.";
    assert_eq!(refusal().await, never);
    retire(&admin, "coupon-gift").await;
    let retired = "The earlier versions of this plugin are retired and are not activated again. Upload the plugin with a higher version number.";
    assert_eq!(refusal().await, retired);
}

async fn an_upload_of_a_retired_version_asks_for_a_higher_one(shop: Shop) {
    let admin = shop.admin().await;
    install(&admin, giving(1_000, "1.0.0")).await;
    let again = admin.upload(giving(1_000, "1.0.0")).await;
    let active = "coupon-gift 1.0.0 is installed already; it is ACTIVE.";
    assert_eq!(again.body["message"], active);
    retire(&admin, "coupon-gift").await;
    let again = admin.upload(giving(1_000, "1.0.0")).await;
    let retired = "coupon-gift 1.0.0 is installed already and RETIRED: it is not activated again. Upload the plugin with a higher version number.";
    assert_eq!(again.body["message"], retired);
    assert_eq!(again.data(201)["state"], "RETIRED");
}
