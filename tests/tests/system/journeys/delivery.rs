//! Tests that money follows delivery: purchases that can never be set up are undone.

use std::{path::PathBuf, time::Duration};

use chrono::TimeDelta;
use dermaga_runtime::fixtures::{Misdeed, ServiceFixture};
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::journeys::{overdue, renewal::subscription as seen, upgrade::customer_with_cash};

/// Installs a version of N8N's plugin that fails at `manifests`, without activating it; returns its
/// digest.
pub(crate) async fn failing_at_manifests(shop: &Shop) -> String {
    let mut fixture = ServiceFixture::misbehaving("manifests", Misdeed::Trap);
    fixture.about.id = "service-n8n".to_owned();
    let good = shop.state().plugins.running("service-n8n").unwrap();
    let digest = shop.put_in_place("service-n8n", &fixture.component()).await;
    let set = async |digest: &str, state: &str| {
        let mut conn = shop.state().db.begin().await.unwrap();
        let sql = "UPDATE plugin_versions SET state = $2 WHERE digest = $1";
        dermaga_shop::execute!(conn, sql, digest, state).unwrap();
        conn.commit().await.unwrap();
    };
    set(&digest, "SUPERSEDED").await;
    set(&good.to_string(), "ACTIVE").await;
    digest
}

/// Pins an instance to a version and makes it due, directly in the database.
pub(crate) async fn pin(shop: &Shop, instance: &str, digest: &str) {
    let id: Uuid = instance.parse().unwrap();
    let mut conn = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE instances SET plugin_digest = $2, next_attempt_at = $3, manifests_decision_id = NULL WHERE id = $1";
    dermaga_shop::execute!(conn, sql, id, digest, shop.clock().now()).unwrap();
    conn.commit().await.unwrap();
}

/// Puts a file in the place of the customer's namespace folder, so that their instances wait.
pub(crate) async fn block(shop: &Shop, customer: &Client) -> PathBuf {
    let me = customer.get("/api/user/profile").await.data(200);
    let id = me["id"].as_str().unwrap().replace('-', "");
    let manifests = shop.data_dir().join("manifests");
    std::fs::create_dir_all(&manifests).unwrap();
    let namespace = manifests.join(format!("user-{}", &id[20..]));
    let _ = std::fs::remove_dir_all(&namespace);
    std::fs::write(&namespace, "in the way").unwrap();
    namespace
}

pub(super) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..1_200 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not happen");
}

pub(super) async fn balance(customer: &Client) -> (Value, Value) {
    let wallet = customer.get("/api/wallet/info").await.data(200);
    (
        wallet["paidBalance"].clone(),
        wallet["bonusBalance"].clone(),
    )
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).unwrap().as_str().unwrap()
}

// The nightly job rests: what a test renews, nothing else has renewed before.
both_engines!(
    overdue,
    [
        a_purchase_that_can_never_be_set_up_is_undone,
        a_purchase_cancelled_before_its_delivery_is_undone,
        an_upgraded_purchase_is_undone_as_what_was_bought
    ]
);

/// Cash, bonus, quota, the coupon's use and the first-purchase claim are restored once;
/// administrators have an alert until another customer receives the service.
async fn a_purchase_that_can_never_be_set_up_is_undone(shop: Shop) {
    let admin = shop.admin().await;
    let coupon = json!({ "code": "SEKALI", "plugin": "coupon-subscription-discount",
        "parameters": { "percent": 10 }, "maxUses": 1, "maxUsesPerUser": 1 });
    let coupon = admin.post("/api/admin/coupons", coupon).await.data(201);
    let gift = json!({ "code": "HADIAH", "plugin": "coupon-credit-topup", "parameters": { "amount": 40_000 } });
    admin.post("/api/admin/coupons", gift).await.data(201);
    let customer = customer_with_cash(&shop, "gagal@example.com", 20_000).await;
    customer
        .post(
            "/api/wallet/redeem-coupon",
            json!({ "couponCode": "HADIAH" }),
        )
        .await
        .data(201);
    let plan = shop.plan("n8n", "basic").await;
    let quota = async || {
        shop.plan_view("n8n", "basic").await["availableQuota"]
            .as_i64()
            .unwrap()
    };
    let (before, failing) = (quota().await, failing_at_manifests(&shop).await);
    let in_the_way = block(&shop, &customer).await;

    let order = json!({ "planId": plan, "couponCode": "SEKALI" });
    let bought = customer
        .post("/api/subscriptions", order.clone())
        .await
        .data(201);
    assert_eq!(
        (&bought["paidCash"], &bought["paidBonus"]),
        (&json!(5_000), &json!(40_000))
    );
    assert_eq!(quota().await, before - 1);
    let (id, instance) = (
        text(&bought, "/subscription/id"),
        text(&bought, "/instanceId"),
    );
    pin(&shop, instance, &failing).await;
    let mut looks = 0;
    eventually("the purchase is undone", async || {
        // Paced for a busy machine: a pass must end before its lease does.
        looks += 1;
        if looks % 10 == 0 {
            shop.clock().advance(TimeDelta::seconds(20));
        }
        customer
            .get(&format!("/api/subscriptions/{id}"))
            .await
            .data(200)["status"]
            == "CANCELLED"
    })
    .await;
    // Only now, because a pass under way with the working version would deliver it.
    std::fs::remove_file(&in_the_way).unwrap();

    assert_eq!(balance(&customer).await, (json!(20_000), json!(40_000)));
    assert_eq!(quota().await, before);
    let detail = seen(&shop, id).await;
    assert_eq!(
        detail["cancelReason"],
        "It could not be set up. Everything paid for it was given back."
    );
    assert_eq!(detail["periods"][0]["refundedCash"], 5_000);
    let path = format!("/api/admin/coupons/{}", text(&coupon, "/id"));
    let used = admin.get(&path).await.data(200);
    assert_eq!(
        (&used["usedCount"], &used["grantedAmount"], &used["status"]),
        (&json!(0), &json!(0), &json!("ACTIVE"))
    );
    let history = customer.get("/api/wallet/coupon-history").await.data(200);
    assert!(history[0]["releasedAt"].is_string(), "{history:#}");
    let alerts = async || {
        admin
            .get("/api/admin/alerts?kind=PURCHASE_UNDONE&state=OPEN")
            .await
            .data(200)
    };
    assert_eq!(alerts().await[0]["subject"], "n8n basic");
    let retry = format!("/api/subscriptions/{id}/retry-provisioning");
    customer
        .post(&retry, json!(null))
        .await
        .fails(409, "INVALID_STATE");
    shop.instance_becomes(&customer, instance, "TERMINATED")
        .await;
    let refunds = customer
        .get("/api/wallet/transactions?type=REFUND")
        .await
        .data(200);
    assert_eq!(
        (refunds.as_array().unwrap().len(), &refunds[0]["amount"]),
        (1, &json!(45_000))
    );
    let purchase = customer
        .get(&format!(
            "/api/wallet/transactions/{}",
            text(&bought, "/transaction")
        ))
        .await
        .data(200);
    assert_eq!(purchase["status"], "REFUNDED");
    shop.books_balance().await;

    // The coupon can be used again, and a successful delivery ends the alert.
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    assert_eq!(bought["charged"], 45_000);
    shop.instance_becomes(&customer, text(&bought, "/instanceId"), "RUNNING")
        .await;
    eventually("the alert ends", async || {
        alerts().await.as_array().unwrap().is_empty()
    })
    .await;
    shop.books_balance().await;
}

/// Upgraded and cancelled before its delivery: each amount comes back under the plan it was paid for.
async fn an_upgraded_purchase_is_undone_as_what_was_bought(shop: Shop) {
    let customer = customer_with_cash(&shop, "naik@example.com", 200_000).await;
    let in_the_way = block(&shop, &customer).await;
    let order = json!({ "planId": shop.plan("n8n", "basic").await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let path = format!("/api/subscriptions/{}", text(&bought, "/subscription/id"));
    let to = json!({ "planId": shop.plan("n8n", "pro").await });
    customer.put(&format!("{path}/upgrade"), to).await.data(200);
    // `null` is as good as no body.
    let request = customer.request(reqwest::Method::DELETE, &path);
    customer.send(request.json(&Value::Null)).await.data(200);
    std::fs::remove_file(&in_the_way).unwrap();

    assert_eq!(balance(&customer).await, (json!(200_000), json!(0)));
    let refunds = customer
        .get("/api/wallet/transactions?type=REFUND")
        .await
        .data(200);
    let descriptions = refunds.as_array().unwrap().iter();
    let descriptions: Vec<_> = descriptions.map(|one| text(one, "/description")).collect();
    assert!(
        descriptions.contains(&"N8N Basic, purchase undone"),
        "{descriptions:?}"
    );
    shop.books_balance().await;
}

/// A purchase cancelled before its delivery is undone once, also when two requests cancel it;
/// one cancelled after it stays paid.
async fn a_purchase_cancelled_before_its_delivery_is_undone(shop: Shop) {
    let admin = shop.admin().await;
    let coupon = json!({ "code": "SEKALI", "plugin": "coupon-subscription-discount",
        "parameters": { "percent": 10 }, "maxUses": 1, "maxUsesPerUser": 1 });
    admin.post("/api/admin/coupons", coupon).await.data(201);
    let gift = json!({ "code": "HADIAH", "plugin": "coupon-credit-topup", "parameters": { "amount": 40_000 } });
    admin.post("/api/admin/coupons", gift).await.data(201);
    let customer = customer_with_cash(&shop, "batal@example.com", 70_000).await;
    customer
        .post(
            "/api/wallet/redeem-coupon",
            json!({ "couponCode": "HADIAH" }),
        )
        .await
        .data(201);
    let plan = shop.plan("n8n", "basic").await;
    let quota = async || {
        shop.plan_view("n8n", "basic").await["availableQuota"]
            .as_i64()
            .unwrap()
    };
    let before = quota().await;
    let in_the_way = block(&shop, &customer).await;

    let order = json!({ "planId": plan, "couponCode": "SEKALI" });
    let bought = customer
        .post("/api/subscriptions", order.clone())
        .await
        .data(201);
    let path = format!("/api/subscriptions/{}", text(&bought, "/subscription/id"));
    let cancel = async || {
        let request = customer.request(reqwest::Method::DELETE, &path);
        customer
            .send(request.json(&json!({ "reason": "salah pilih" })))
            .await
    };
    let (one, two) = tokio::join!(cancel(), cancel());
    let (ended, late) = if one.status == 200 {
        (one, two)
    } else {
        (two, one)
    };
    late.fails(409, "INVALID_STATE");
    let message = "The subscription has ended before it was set up; everything paid for it is back in your wallet.";
    assert_eq!(ended.body["message"], message);
    let ended = ended.data(200);
    assert_eq!(
        (&ended["status"], &ended["cancelReason"]),
        (&json!("CANCELLED"), &json!("salah pilih"))
    );
    assert_eq!(balance(&customer).await, (json!(70_000), json!(40_000)));
    assert_eq!(quota().await, before);
    let refunds = customer
        .get("/api/wallet/transactions?type=REFUND")
        .await
        .data(200);
    assert_eq!(
        (refunds.as_array().unwrap().len(), &refunds[0]["amount"]),
        (1, &json!(45_000))
    );
    let info = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(
        (&info["totalSpent"], &info["spentThisMonth"]),
        (&json!(0), &json!(0)),
        "an undone purchase is not spent"
    );
    assert!(
        admin
            .get("/api/admin/alerts?kind=PURCHASE_UNDONE")
            .await
            .data(200)
            .as_array()
            .unwrap()
            .is_empty()
    );
    shop.books_balance().await;

    std::fs::remove_file(&in_the_way).unwrap();
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    shop.instance_becomes(&customer, text(&bought, "/instanceId"), "RUNNING")
        .await;
    let path = format!("/api/subscriptions/{}", text(&bought, "/subscription/id"));
    let ended = customer.delete(&path).await;
    assert_eq!(
        ended.body["message"],
        "The subscription has ended; its resources are being removed."
    );
    assert!(
        ended.data(200)["deliveredAt"].is_string(),
        "a payment that stays has its reason"
    );
    assert_eq!(balance(&customer).await, (json!(65_000), json!(0)));

    // An administrator who ends an undelivered purchase keeps nothing either.
    let in_the_way = block(&shop, &customer).await;
    let admin = admin.in_language(Some("en"));
    for (method, start, end) in [
        (reqwest::Method::POST, "/api/admin/billing/expire/", ""),
        (reqwest::Method::PUT, "/api/admin/subscriptions/", "/expire"),
    ] {
        let order = json!({ "planId": plan });
        let bought = customer.post("/api/subscriptions", order).await.data(201);
        let id = text(&bought, "/subscription/id");
        let request = admin.request(method, &format!("{start}{id}{end}"));
        let reason = json!({ "reason": "Tidak bisa dipasang." });
        let ended = admin.send(request.json(&reason)).await;
        let message = "The subscription has ended before it was set up; everything paid for it is back in the wallet.";
        assert_eq!(ended.body["message"], message);
        assert_eq!(ended.data(200)["status"], "CANCELLED");
        assert_eq!(balance(&customer).await, (json!(65_000), json!(0)));
        let path = format!("/api/admin/audit?act=subscription.expired&subject=subscription:{id}");
        let audited = admin.get(&path).await.data(200);
        let details = json!({ "returned": bought["paidCash"], "undone": true });
        assert_eq!(audited[0]["details"], details);
    }
    std::fs::remove_file(&in_the_way).unwrap();
    shop.books_balance().await;
}
