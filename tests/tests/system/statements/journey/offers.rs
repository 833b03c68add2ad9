//! Offers on the journey: coupons, plugins, services and plans, and those who wait for them.

use dermaga_shop::provisioning;
use dermaga_tests::Client;
use serde_json::json;
use uuid::Uuid;

use super::{super::lists::cursor, text};
use crate::api::{
    own_services::new_cache,
    payments::Till,
    services::{self, new_plan, path_of},
};

pub(super) async fn coupons(till: &Till, customer: &Client) {
    let admin = &till.admin;
    let body = json!({ "code": "JALAN", "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 } });
    let made = admin
        .post("/api/admin/coupons", body.clone())
        .await
        .data(201);
    let path = format!("/api/admin/coupons/{}", text(&made["id"]));
    customer
        .post(
            "/api/wallet/validate-coupon",
            json!({ "couponCode": "JALAN" }),
        )
        .await
        .data(200);
    customer
        .post(
            "/api/wallet/redeem-coupon",
            json!({ "couponCode": "JALAN" }),
        )
        .await
        .data(201);
    admin.get(&path).await.data(200);
    let earlier = format!("?cursor={}", cursor("redemptions"));
    for query in ["", earlier.as_str()] {
        let path = format!("{path}/redemptions{query}");
        admin.get(&path).await.data(200);
    }
    admin.put(&path, body).await.data(200);
    let off = json!({ "ids": [made["id"]], "status": "DISABLED" });
    admin
        .put("/api/admin/coupons/bulk-status", off)
        .await
        .data(200);
}

/// A plan whose price a coupon reduces in the next period, too.
pub(super) async fn reduced(till: &Till, customer: &Client) {
    let half = json!({
        "code": "SEPARUH", "plugin": "coupon-subscription-discount", "parameters": { "percent": 50 }, "lasts": 3,
    });
    till.admin.post("/api/admin/coupons", half).await.data(201);
    let plan = till.shop.plan("postgresql", "basic").await;
    let order = json!({ "planId": plan, "couponCode": "SEPARUH" });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let id = text(&bought["subscription"]["id"]);
    let info = format!("/api/subscriptions/{id}/billing-info");
    customer.get(&info).await.data(200);
    let mut conn = till.shop.state().db.read().await.unwrap();
    let found = provisioning::undeliverable(&mut conn).await.unwrap();
    assert!(found.is_empty(), "{found:?}");
    let id = id.parse().unwrap();
    assert!(!provisioning::is_undeliverable(&mut conn, id).await.unwrap());
}

pub(super) async fn plugins(till: &Till) {
    let admin = &till.admin;
    let path = "/api/admin/plugins/service-n8n";
    admin.get("/api/admin/plugins").await.data(200);
    let plugin = admin.get(path).await.data(200);
    let digest = text(&plugin["active"]);
    admin
        .get(&format!("{path}/versions/{digest}"))
        .await
        .data(200);
    let nowhere = json!({ "to": digest, "from": digest, "after": plugin["versions"][0]["id"], "dryRun": true });
    admin.post(&format!("{path}/moves"), nowhere).await;
    let one = json!({ "to": digest, "instances": [Uuid::nil()], "dryRun": true });
    admin.post(&format!("{path}/moves"), one).await.data(200);
    for order in [
        json!({ "dryRun": true }),
        json!({ "dryRun": true, "after": Uuid::nil() }),
        json!({ "dryRun": true, "instances": [Uuid::nil()] }),
    ] {
        let path = "/api/admin/catalog/services/valkey/moves";
        admin.post(path, order).await.data(200);
    }
    // A move to plans of another size has failures to look for.
    let larger = "UPDATE service_plans SET cpu_millis = cpu_millis + 1";
    till.shop.sql(larger).await.unwrap();
    let order = json!({ "dryRun": true });
    let moves = admin
        .post("/api/admin/catalog/services/n8n/moves", order)
        .await
        .data(200);
    assert_ne!(moves["instances"], json!([]));
    let smaller = "UPDATE service_plans SET cpu_millis = cpu_millis - 1";
    till.shop.sql(smaller).await.unwrap();
    admin
        .post(
            "/api/admin/catalog/reload",
            json!({ "reason": "The templates were edited." }),
        )
        .await
        .data(200);
}

/// Acts of administrators on services and plans.
pub(super) async fn catalogue(till: &Till) {
    let admin = &till.admin;
    let found = admin.get("/api/admin/services?q=valkey").await.data(200);
    let path = format!("/api/admin/services/{}", text(&found[0]["id"]));
    let plan = format!("{path}/plans/{}", text(&found[0]["plans"][0]["id"]));
    admin.get(&path).await.data(200);
    admin.get(&plan).await.data(200);
    admin.get(&format!("{plan}/prices")).await.data(200);
    let categories = admin.get("/api/admin/categories").await.data(200);
    let path = format!("/api/admin/categories/{}", text(&categories[0]["id"]));
    admin.get(&path).await.data(200);
    let because = json!({ "reason": "The texts of the template are better." });
    let path = format!("{path}/reset");
    admin.post(&path, because).await.data(200);
    // Those that were never sold are deleted.
    let made = admin.post("/api/admin/services", new_cache(&till.shop).await);
    let path = path_of(&made.await.data(201));
    let two = services::because(json!({ "plan": new_plan("two", "PRO", 20_000) }));
    let plan = admin.post(&format!("{path}/plans"), two).await.data(201);
    let because = services::because(json!({}));
    let plan = format!("{path}/plans/{}", text(&plan["id"]));
    admin.delete_with(&plan, because.clone()).await.data(200);
    admin.delete_with(&path, because).await.data(200);
}

/// Waits for a plan that is sold out.
pub(super) async fn waiting(till: &Till, customer: &Client) {
    let plan = till.shop.plan("valkey", "free").await;
    till.shop.leave_quota(&plan, 0).await;
    let path = "/api/subscriptions/waitlist";
    let order = json!({ "planId": plan });
    customer.post(path, order.clone()).await.data(201);
    let gone = till.shop.customer("pergi@example.com").await;
    gone.post(path, order).await.data(201);
    let profile = gone.get("/api/user/profile").await.data(200);
    let path = format!("/api/admin/users/{}/status", text(&profile["id"]));
    let disabled = json!({ "status": "DISABLED", "reason": "The account was misused." });
    till.admin.patch(&path, disabled).await.data(200);
    let path = format!("/api/admin/quota/plans/{plan}/waitlist");
    for query in [String::new(), format!("?cursor={}", cursor("queue"))] {
        till.admin.get(&format!("{path}{query}")).await.data(200);
    }
}
