//! Tests of freezes: compute off, data and place kept, and the storage charged by the month.
//!
//! N8N Basic is 50,000 a month and 10,000 for its storage; 12 months are 510,000.

use chrono::{DateTime, Months, TimeDelta, Utc};
use chrono_tz::Asia::Jakarta;
use dermaga_shop::billing::{process_grace, renew_due};
use dermaga_tests::{Answer, Client, Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{
    overdue::{self, an_hour_late},
    renewal::{becomes, give, id_of, moment, next_period, subscription},
    upgrade::customer_with_cash,
};

// The nightly job rests: what a test renews, nothing else has renewed before.
both_engines!(
    overdue,
    [
        a_freeze_begins_with_the_next_period_and_charges_the_storage,
        a_freeze_is_called_back_before_it_begins,
        a_late_freeze_says_what_it_charges,
        unpaid_storage_follows_the_rules_of_grace,
        a_pending_freeze_that_cannot_be_paid_stops_all_the_same,
        freezes_are_refused_for_their_reason,
        what_is_frozen_is_not_changed,
        what_ended_while_it_was_frozen_has_ended
    ]
);

pub(super) async fn buy(
    shop: &Shop,
    customer: &Client,
    months: u32,
    coupon: Option<&str>,
) -> Value {
    let plan = shop.plan("n8n", "basic").await;
    let order = json!({ "planId": plan, "termMonths": months, "couponCode": coupon });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(customer, instance, "RUNNING").await;
    bought
}

pub(super) async fn freeze(customer: &Client, id: &str) -> Answer {
    let path = format!("/api/subscriptions/{id}/freeze");
    customer.post(&path, json!({})).await
}

pub(super) async fn thaw(customer: &Client, id: &str) -> Answer {
    let path = format!("/api/subscriptions/{id}/thaw");
    customer.post(&path, json!({})).await
}

pub(super) async fn balance(client: &Client) -> i64 {
    let info = client.get("/api/wallet/info").await.data(200);
    info["totalBalance"].as_i64().unwrap()
}

async fn available(shop: &Shop) -> i64 {
    let view = shop.plan_view("n8n", "basic").await;
    view["availableQuota"].as_i64().unwrap()
}

pub(super) fn later(from: DateTime<Utc>, months: u32) -> DateTime<Utc> {
    (from.with_timezone(&Jakarta) + Months::new(months)).to_utc()
}

pub(super) fn state(seen: &Value) -> (&Value, &Value) {
    (&seen["status"], &seen["freezeState"])
}

/// Buys, freezes and moves into the first frozen period; returns the customer, signed in again, and the purchase.
pub(super) async fn frozen(shop: &Shop, email: &str, cash: i64, months: u32) -> (Client, Value) {
    let customer = customer_with_cash(shop, email, cash).await;
    let bought = buy(shop, &customer, months, None).await;
    freeze(&customer, id_of(&bought)).await.data(200);
    let seen = next_period(shop, id_of(&bought)).await;
    assert_eq!(
        state(&seen),
        (&json!("ACTIVE"), &json!("FROZEN")),
        "{seen:#}"
    );
    let customer = shop.sign_in(email).await;
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "STOPPED").await;
    (customer, bought)
}

/// Replicas of what is applied for an instance, and the volumes that it claims.
async fn compute_and_data(customer: &Client, instance: &str) -> (Vec<Value>, Vec<Value>) {
    let path = format!("/api/instances/{instance}/manifests");
    let applied = customer.get(&path).await.data(200);
    let (mut replicas, mut claims) = (Vec::new(), Vec::new());
    for object in applied["objects"].as_array().unwrap() {
        let (name, spec) = (&object["metadata"]["name"], &object["spec"]);
        match object["kind"].as_str() {
            Some("Deployment" | "StatefulSet") => replicas.push(spec["replicas"].clone()),
            Some("PersistentVolumeClaim") => claims.push(json!({ "name": name, "spec": spec })),
            _ => {}
        }
    }
    (replicas, claims)
}

async fn a_freeze_begins_with_the_next_period_and_charges_the_storage(shop: Shop) {
    let customer = customer_with_cash(&shop, "beku@example.com", 70_000).await;
    let bought = buy(&shop, &customer, 1, None).await;
    let id = id_of(&bought);
    let left = available(&shop).await;
    becomes(&shop, id, "ACTIVE").await;
    let asked = freeze(&customer, id).await.data(200);
    assert_eq!(state(&asked), (&json!("ACTIVE"), &json!("PENDING")));
    assert_eq!(asked["storagePrice"], 10_000);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let (replicas, data) = compute_and_data(&customer, instance).await;
    assert_eq!((replicas, data.len()), (vec![json!(1)], 1), "{data:#?}");
    // The price of the storage is the customer's from now on.
    shop.sql("UPDATE service_plans SET storage_price = 20000 WHERE storage_price IS NOT NULL")
        .await
        .unwrap();
    let info = format!("/api/subscriptions/{id}/billing-info");
    let info = customer.get(&info).await.data(200);
    let amounts: Vec<_> = info["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["amount"].clone())
        .collect();
    assert_eq!(
        (&info["due"], amounts),
        (&json!(10_000), vec![json!(50_000), json!(-40_000)])
    );
    // Of the 20,000 that are left, two frozen months are paid.
    for (days, forecast, renewals) in [(35, "RENEWS", 1), (365, "ENDS", 2)] {
        let date = (shop.clock().now() + TimeDelta::days(days)).date_naive();
        let preview = shop
            .admin()
            .await
            .get(&format!("/api/admin/billing/preview?date={date}"))
            .await
            .data(200);
        let mut lines = preview.as_array().unwrap().iter();
        let line = lines.find(|line| line["subscriptionId"] == id).unwrap();
        assert_eq!(
            (&line["forecast"], &line["renewals"], &line["due"]),
            (&json!(forecast), &json!(renewals), &json!(10_000)),
            "{line:#}"
        );
    }

    let begun = moment(&bought["subscription"]["periodStart"]);
    let seen = next_period(&shop, id).await;
    assert_eq!(state(&seen), (&json!("ACTIVE"), &json!("FROZEN")));
    let customer = shop.sign_in("beku@example.com").await;
    let stopped = shop.instance_becomes(&customer, instance, "STOPPED").await;
    assert_eq!(stopped["halt"], "FROZEN");
    let frozen = compute_and_data(&customer, instance).await;
    assert_eq!(frozen, (vec![json!(0)], data.clone()), "compute off");
    assert_eq!(
        renew_due(&shop.state().subscriptions).await.unwrap().items,
        0,
        "charged twice"
    );
    let seen = next_period(&shop, id).await;
    assert_eq!(moment(&seen["periodEnd"]), later(begun, 3));
    let paid = |number: usize| {
        let period = &seen["periods"][number];
        (
            period["frozen"].clone(),
            period["price"].clone(),
            period["paidCash"].clone(),
        )
    };
    let storage = (json!(true), json!(10_000), json!(10_000));
    assert_eq!([paid(0), paid(1)], [storage.clone(), storage]);
    assert_eq!(paid(2), (json!(false), json!(50_000), json!(50_000)));
    assert_eq!(available(&shop).await, left, "the place stays taken");
    let customer = shop.sign_in("beku@example.com").await;
    assert_eq!(balance(&customer).await, 0);
    let newest = &customer.get("/api/wallet/transactions").await.data(200)[0];
    assert!(
        newest["description"]
            .as_str()
            .unwrap()
            .ends_with("period 3, storage only"),
        "{newest:#}"
    );
    let number = newest["number"].as_str().unwrap();
    let why = customer
        .get(&format!("/api/wallet/transactions/{number}/decisions"))
        .await
        .data(200);
    assert_eq!(why[0]["function"], "price", "{why:#}");
    let acts = shop
        .admin()
        .await
        .get("/api/admin/audit?act=subscription.freeze_asked")
        .await
        .data(200);
    assert_eq!(acts[0]["details"]["storagePrice"], 10_000);
    let user = customer.get("/api/auth/profile").await.data(200)["id"].clone();
    give(&shop, user.as_str().unwrap(), 50_000).await;
    thaw(&customer, id).await.data(200);
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let thawed = compute_and_data(&customer, instance).await;
    assert_eq!(thawed, (vec![json!(1)], data), "the data was kept");
    shop.books_balance().await;
}

async fn a_freeze_is_called_back_before_it_begins(shop: Shop) {
    let customer = customer_with_cash(&shop, "kembali@example.com", 100_000).await;
    let bought = buy(&shop, &customer, 1, None).await;
    let id = id_of(&bought);
    freeze(&customer, id).await.data(200);
    assert_eq!(
        freeze(&customer, id).await.data(200)["freezeState"],
        "PENDING"
    );
    let back = thaw(&customer, id).await;
    let end = moment(&back.body["data"]["subscription"]["periodEnd"]);
    let end = shop.clock().written(end);
    let told = format!("It will not be frozen. Nothing was charged. The period ends on {end}.");
    assert_eq!(back.body["message"], told);
    let back = back.data(200);
    assert_eq!(
        (&back["charged"], &back["transactionId"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(back["subscription"]["freezeState"], "NONE");
    assert_eq!(back["subscription"]["storagePrice"], Value::Null);
    thaw(&customer, id).await.fails(409, "INVALID_STATE");
    let seen = next_period(&shop, id).await;
    assert_eq!(
        (&seen["periods"][0]["price"], &seen["periods"][0]["frozen"]),
        (&json!(50_000), &json!(false))
    );
    shop.books_balance().await;
}

/// After the end of a period, and before the nightly job, the one that runs is charged, and the answer says so.
async fn a_late_freeze_says_what_it_charges(shop: Shop) {
    let email = "beku-lewat@example.com";
    let customer = customer_with_cash(&shop, email, 120_000).await;
    let bought = buy(&shop, &customer, 1, None).await;
    let id = id_of(&bought);
    let customer = an_hour_late(&shop, id, email).await;
    let asked = freeze(&customer, id).await;
    let message = asked.body["message"].as_str().unwrap();
    assert!(
        message.contains("was not charged yet; it is now"),
        "{message}"
    );
    assert_eq!(balance(&customer).await, 20_000);
    let seen = asked.data(200);
    assert_eq!(state(&seen), (&json!("ACTIVE"), &json!("PENDING")));
}

/// Grace, suspension and end of a frozen one; what is paid for again stays frozen; a thaw pays the storage of the
/// days that it ran into grace.
async fn unpaid_storage_follows_the_rules_of_grace(shop: Shop) {
    let (_, first) = frozen(&shop, "gudang@example.com", 60_000, 1).await;
    let unpaid = next_period(&shop, id_of(&first)).await;
    assert_eq!(state(&unpaid), (&json!("PAST_DUE"), &json!("FROZEN")));
    assert_eq!(unpaid["unpaid"], 10_000);
    shop.clock().advance(TimeDelta::days(8));
    process_grace(&shop.state().subscriptions).await.unwrap();
    let suspended = subscription(&shop, id_of(&first)).await;
    assert_eq!(state(&suspended), (&json!("SUSPENDED"), &json!("FROZEN")));
    let customer = shop.sign_in("gudang@example.com").await;
    let user = customer.get("/api/auth/profile").await.data(200)["id"].clone();
    give(&shop, user.as_str().unwrap(), 10_000).await;
    let paid = becomes(&shop, id_of(&first), "ACTIVE").await;
    assert_eq!(
        (paid["freezeState"].as_str(), balance(&customer).await),
        (Some("FROZEN"), 0)
    );
    let instance = first["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "STOPPED").await;

    let unpaid = next_period(&shop, id_of(&first)).await;
    assert_eq!(unpaid["status"], "PAST_DUE");
    shop.clock().advance(TimeDelta::days(3));
    let customer = shop.sign_in("gudang@example.com").await;
    thaw(&customer, id_of(&first))
        .await
        .fails(402, "INSUFFICIENT_CREDIT");
    shop.clock().advance(TimeDelta::days(5));
    process_grace(&shop.state().subscriptions).await.unwrap();
    shop.clock().advance(TimeDelta::days(15));
    process_grace(&shop.state().subscriptions).await.unwrap();
    assert_eq!(
        subscription(&shop, id_of(&first)).await["status"],
        "EXPIRED"
    );
    let customer = shop.sign_in("gudang@example.com").await;
    thaw(&customer, id_of(&first))
        .await
        .fails(409, "INVALID_STATE");
    freeze(&customer, id_of(&first))
        .await
        .fails(409, "INVALID_STATE");

    let (_, second) = frozen(&shop, "gudang-dua@example.com", 60_000, 1).await;
    next_period(&shop, id_of(&second)).await;
    shop.clock().advance(TimeDelta::days(3));
    let customer = shop.sign_in("gudang-dua@example.com").await;
    let user = customer.get("/api/auth/profile").await.data(200)["id"].clone();
    // The worker does not come before the thaw: it waits for the day of another attempt.
    let waits = "UPDATE subscriptions SET renewal_retry_at = grace_until WHERE status = 'PAST_DUE'";
    shop.sql(waits).await.unwrap();
    give(&shop, user.as_str().unwrap(), 60_000).await;
    let thawed = thaw(&customer, id_of(&second)).await.data(200);
    assert_eq!(
        thawed["charged"], 60_000,
        "with the month that was not renewed: {thawed:#}"
    );
    assert_eq!(thawed["lines"][1]["code"], "storage");
    assert_eq!(
        state(&thawed["subscription"]),
        (&json!("ACTIVE"), &json!("NONE"))
    );
    shop.books_balance().await;
}

async fn a_pending_freeze_that_cannot_be_paid_stops_all_the_same(shop: Shop) {
    let customer = customer_with_cash(&shop, "kosong@example.com", 50_000).await;
    let bought = buy(&shop, &customer, 1, None).await;
    freeze(&customer, id_of(&bought)).await.data(200);
    let unpaid = next_period(&shop, id_of(&bought)).await;
    assert_eq!(state(&unpaid), (&json!("PAST_DUE"), &json!("FROZEN")));
    let customer = shop.sign_in("kosong@example.com").await;
    let instance = bought["instanceId"].as_str().unwrap();
    let stopped = shop.instance_becomes(&customer, instance, "STOPPED").await;
    assert_eq!(stopped["halt"], "FROZEN");
    shop.books_balance().await;
}

async fn freezes_are_refused_for_their_reason(shop: Shop) {
    let customer = customer_with_cash(&shop, "tolak-beku@example.com", 500_000).await;
    let other = customer_with_cash(&shop, "asing-beku@example.com", 0).await;
    let plan = shop.plan("postgresql", "basic").await;
    let warm = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    let refused = freeze(&customer, id_of(&warm)).await;
    refused.fails(409, "INVALID_STATE");
    let bought = buy(&shop, &customer, 1, None).await;
    let id = id_of(&bought);
    freeze(&other, id).await.fails(404, "NOT_FOUND");
    thaw(&other, id).await.fails(404, "NOT_FOUND");
    thaw(&customer, id).await.fails(409, "INVALID_STATE");
    let path = format!("/api/subscriptions/{id}");
    let unknown = json!({ "when": "now" });
    customer
        .post(&format!("{path}/thaw"), unknown)
        .await
        .fails(400, "VALIDATION_FAILED");
    let renews = json!({ "autoRenew": false });
    customer
        .put(&format!("{path}/auto-renew"), renews)
        .await
        .data(200);
    freeze(&customer, id).await.fails(409, "INVALID_STATE");
    customer.delete(&path).await.data(200);
    freeze(&customer, id).await.fails(409, "INVALID_STATE");
}

async fn what_is_frozen_is_not_changed(shop: Shop) {
    let (customer, bought) = frozen(&shop, "diam@example.com", 900_000, 1).await;
    let id = id_of(&bought);
    let pro = shop.plan("n8n", "pro").await;
    let path = format!("/api/subscriptions/{id}");
    let wanted = json!({ "planId": pro });
    customer
        .put(&format!("{path}/upgrade"), wanted.clone())
        .await
        .fails(409, "INVALID_STATE");
    for at in ["now", "period_end"] {
        let wanted = json!({ "planId": pro, "at": at, "reason": "The customer asked for it." });
        let path = format!("/api/admin/subscriptions/{id}/upgrade");
        shop.admin()
            .await
            .put(&path, wanted)
            .await
            .fails(409, "INVALID_STATE");
    }
    customer
        .put(&format!("{path}/start"), json!({}))
        .await
        .fails(409, "INVALID_STATE");
    customer
        .post(&format!("{path}/restart"), json!({}))
        .await
        .fails(409, "INVALID_STATE");
    let instance = bought["instanceId"].as_str().unwrap();
    let update = json!({ "config": {} });
    let refused = customer
        .put(&format!("/api/instances/{instance}/update"), update)
        .await;
    assert!(
        refused.status == 409 || refused.status == 400,
        "{}",
        refused.status
    );
    // The owner's stop outlasts the freeze.
    customer
        .put(&format!("{path}/stop"), json!({}))
        .await
        .data(202);
    thaw(&customer, id).await.data(200);
    let seen = shop.instance_becomes(&customer, instance, "STOPPED").await;
    assert_eq!(seen["halt"], "OWNER");
    shop.books_balance().await;
}

/// The refusals name the end, and no thaw that would help.
async fn what_ended_while_it_was_frozen_has_ended(shop: Shop) {
    let (customer, bought) = frozen(&shop, "usai-beku@example.com", 900_000, 1).await;
    let id = id_of(&bought);
    let path = format!("/api/subscriptions/{id}");
    customer.delete(&path).await.data(200);
    let seen = subscription(&shop, id).await;
    assert_eq!(state(&seen), (&json!("CANCELLED"), &json!("FROZEN")));
    let wanted = json!({ "planId": shop.plan("n8n", "pro").await });
    let upgrade = format!("{path}/upgrade");
    let upgrade = customer.put(&upgrade, wanted.clone()).await;
    let quote = customer
        .post(&format!("{path}/upgrade-quote"), wanted)
        .await;
    let unchanged = "This subscription is CANCELLED and its plan cannot be changed.";
    for (refused, message) in [
        (
            thaw(&customer, id).await,
            "This subscription is CANCELLED: it has ended.",
        ),
        (
            freeze(&customer, id).await,
            "This subscription is CANCELLED and cannot be frozen.",
        ),
        (upgrade, unchanged),
        (quote, unchanged),
    ] {
        refused.fails(409, "INVALID_STATE");
        assert_eq!(refused.body["message"], message);
    }
    shop.books_balance().await;
}
