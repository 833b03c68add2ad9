//! Tests that money follows delivery: purchases that wait to be set up are not charged.

use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use dermaga_shop::billing::renew_due;
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{
    delivery::{balance, block, eventually, failing_at_manifests, pin, text},
    overdue,
    renewal::{buy, moment, subscription as seen},
    upgrade::customer_with_cash,
};

// The nightly job rests: what a test renews, nothing else has renewed before.
both_engines!(
    overdue,
    [
        a_first_period_moves_by_the_time_it_waited,
        days_that_were_given_to_what_waits_are_kept,
        an_upgrade_of_what_waits_is_for_a_whole_period,
        a_lower_plan_of_what_waits_is_for_a_whole_period,
        nothing_is_charged_for_a_period_in_which_it_never_ran
    ]
);

/// Buys a plan whose instance cannot be written; returns the purchase and the file that is in the way.
pub(crate) async fn buy_blocked(shop: &Shop, customer: &Client) -> (Value, PathBuf) {
    buy_blocked_plan(shop, customer, "basic").await
}

async fn buy_blocked_plan(shop: &Shop, customer: &Client, plan: &str) -> (Value, PathBuf) {
    let in_the_way = block(shop, customer).await;
    let order = json!({ "planId": shop.plan("n8n", plan).await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    (bought, in_the_way)
}

/// Lets a purchase that waits be set up, by its customer's retry; returns the subscription.
pub(super) async fn set_up(
    shop: &Shop,
    customer: &Client,
    bought: &Value,
    in_the_way: &Path,
) -> Value {
    let id = text(bought, "/subscription/id");
    let retry = format!("/api/subscriptions/{id}/retry-provisioning");
    // Directly before, as the shop tries by itself, too, and then there is nothing to retry.
    std::fs::remove_file(in_the_way).unwrap();
    customer.post(&retry, json!(null)).await.data(202);
    shop.instance_becomes(customer, text(bought, "/instanceId"), "RUNNING")
        .await;
    eventually("the period moves", async || {
        seen(shop, id).await["deliveredAt"].is_string()
    })
    .await;
    seen(shop, id).await
}

/// While the first delivery waits, nothing is charged again, and the period is extended by the
/// wait. A customer can retry at once; administrators find an alert with the path.
async fn a_first_period_moves_by_the_time_it_waited(shop: Shop) {
    let customer = customer_with_cash(&shop, "tunggu@example.com", 200_000).await;
    let (bought, in_the_way) = buy_blocked(&shop, &customer).await;
    let (id, instance) = (
        text(&bought, "/subscription/id"),
        text(&bought, "/instanceId"),
    );
    let path = format!("/api/instances/{instance}");
    eventually("it waits", async || {
        customer.get(&path).await.data(200)["failures"].as_i64() > Some(0)
    })
    .await;
    let admin = shop.admin().await;
    let alerts = admin
        .get("/api/admin/alerts?kind=INSTANCE_FAILED&state=OPEN")
        .await
        .data(200);
    assert!(
        text(&alerts, "/0/message").contains(in_the_way.to_str().unwrap()),
        "{alerts:#}"
    );
    let waiting = customer.get(&path).await.data(200);
    assert!(
        !waiting
            .to_string()
            .contains(shop.data_dir().to_str().unwrap()),
        "{waiting:#}"
    );

    let end = moment(&bought["subscription"]["periodEnd"]);
    shop.clock().advance(TimeDelta::days(40));
    assert_eq!(
        renew_due(&shop.state().subscriptions).await.unwrap().items,
        0
    );
    let held = seen(&shop, id).await;
    assert_eq!(
        (&held["status"], moment(&held["heldSince"])),
        (&json!("PENDING"), end)
    );
    let customer = shop.sign_in("tunggu@example.com").await;
    assert_eq!(balance(&customer).await, (json!(150_000), json!(0)));
    let billing = customer
        .get(&format!("/api/subscriptions/{id}/billing-info"))
        .await
        .data(200);
    assert_eq!(moment(&billing["heldSince"]), end);
    let forecast = shop
        .admin()
        .await
        .get("/api/admin/billing/preview")
        .await
        .data(200);
    assert_eq!(
        (&forecast[0]["forecast"], &forecast[0]["due"]),
        (&json!("HELD"), &Value::Null),
        "{forecast:#}"
    );

    let retry = format!("/api/subscriptions/{id}/retry-provisioning");
    let stranger = shop.customer("orang@example.com").await;
    stranger
        .post(&retry, json!(null))
        .await
        .fails(404, "NOT_FOUND");
    let moved = set_up(&shop, &customer, &bought, &in_the_way).await;
    customer
        .post(&retry, json!(null))
        .await
        .fails(409, "INVALID_STATE");
    assert!(
        moment(&moved["periodEnd"]) >= end + TimeDelta::days(40),
        "{moved:#}"
    );
    assert!(
        moment(&moved["periodEnd"]) < end + TimeDelta::days(44),
        "{moved:#}"
    );
    assert_eq!(moved["status"], "ACTIVE");
    let period = &moved["periods"][0];
    assert_eq!(
        (&moved["heldSince"], &period["startsAt"], &period["endsAt"]),
        (&Value::Null, &moved["deliveredAt"], &moved["periodEnd"])
    );
    assert_eq!(moved["periodStart"], moved["deliveredAt"]);
    let wanted = json!({ "planId": shop.plan("n8n", "pro").await });
    let quote = format!("/api/subscriptions/{id}/upgrade-quote");
    let quote = customer.post(&quote, wanted).await.data(200);
    assert_eq!(quote["due"], 100_000, "a whole period is left: {quote:#}");
    assert_eq!(
        renew_due(&shop.state().subscriptions).await.unwrap().items,
        0
    );
    shop.clock()
        .advance(moment(&moved["periodEnd"]) - shop.clock().now());
    renew_due(&shop.state().subscriptions).await.unwrap();
    let renewed = seen(&shop, id).await;
    assert_eq!(
        (
            &renewed["periods"][0]["number"],
            &renewed["periods"][0]["startsAt"]
        ),
        (&json!(2), &moved["periodEnd"])
    );
    shop.books_balance().await;
}

/// A service that ran and then stays down: the month after the one in which it ran is still
/// charged, further ones are not; charging resumes once it runs again.
async fn nothing_is_charged_for_a_period_in_which_it_never_ran(shop: Shop) {
    let customer = customer_with_cash(&shop, "rusak@example.com", 500_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let (id, instance) = (
        text(&bought, "/subscription/id"),
        text(&bought, "/instanceId"),
    );
    let delivered = shop.instance_becomes(&customer, instance, "RUNNING").await;
    pin(&shop, instance, &failing_at_manifests(&shop).await).await;
    shop.instance_becomes(&customer, instance, "FAILED").await;
    let end = async || moment(&seen(&shop, id).await["periodEnd"]);
    shop.clock().advance(end().await - shop.clock().now());
    assert_eq!(
        renew_due(&shop.state().subscriptions).await.unwrap().items,
        1,
        "it ran in the first period"
    );
    let held_from = end().await;
    shop.clock()
        .advance(held_from - shop.clock().now() + TimeDelta::days(3));
    for _ in 0..2 {
        assert_eq!(
            renew_due(&shop.state().subscriptions).await.unwrap().items,
            0
        );
    }
    let customer = shop.sign_in("rusak@example.com").await;
    assert_eq!(balance(&customer).await.0, 400_000);
    assert_eq!(seen(&shop, id).await["status"], "ACTIVE");
    // A delivered purchase is not undone, even by a final refusal.
    pin(&shop, instance, text(&delivered, "/pluginDigest")).await;
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    assert_eq!(
        renew_due(&shop.state().subscriptions).await.unwrap().items,
        1
    );
    let renewed = seen(&shop, id).await;
    assert!(moment(&renewed["periodStart"]) > held_from, "{renewed:#}");
    assert_eq!(
        (balance(&customer).await.0, &renewed["heldSince"]),
        (json!(350_000), &Value::Null)
    );
    shop.books_balance().await;
}

/// An administrator adds days to what waits for its delivery: the period moves with them, and so does the end that
/// was paid for.
async fn days_that_were_given_to_what_waits_are_kept(shop: Shop) {
    let customer = customer_with_cash(&shop, "sabar@example.com", 100_000).await;
    let (bought, in_the_way) = buy_blocked(&shop, &customer).await;
    let id = text(&bought, "/subscription/id");
    let end = moment(&bought["subscription"]["periodEnd"]);
    let path = format!("/api/admin/subscriptions/{id}/extend");
    let days = json!({ "days": 5, "reason": "It takes long to set it up." });
    shop.admin().await.put(&path, days).await.data(200);
    shop.clock().advance(TimeDelta::days(10));
    let customer = shop.sign_in("sabar@example.com").await;
    let moved = set_up(&shop, &customer, &bought, &in_the_way).await;
    let until = moment(&moved["periodEnd"]);
    let (given, wait) = (TimeDelta::days(5), TimeDelta::days(10));
    assert!(until >= end + given + wait, "{moved:#}");
    assert!(until < end + given + wait + TimeDelta::days(4), "{moved:#}");
    let paid_until = moment(&moved["periods"][0]["paidUntil"]);
    assert!(paid_until >= end + wait, "{moved:#}");
    assert!(paid_until < end + wait + TimeDelta::days(1), "{moved:#}");
    shop.books_balance().await;
}

/// Nothing is used before the delivery: an upgrade pays the whole difference, on the last day of what was bought
/// and after it, and the service is set up in the larger plan.
async fn an_upgrade_of_what_waits_is_for_a_whole_period(shop: Shop) {
    for (email, days) in [("akhir@example.com", 27), ("lewat@example.com", 40)] {
        let customer = customer_with_cash(&shop, email, 200_000).await;
        let (bought, in_the_way) = buy_blocked(&shop, &customer).await;
        let id = text(&bought, "/subscription/id");
        shop.clock().advance(TimeDelta::days(days));
        let customer = shop.sign_in(email).await;
        let pro = json!({ "planId": shop.plan("n8n", "pro").await });
        let path = format!("/api/subscriptions/{id}");
        let quote = format!("{path}/upgrade-quote");
        let quote = customer.post(&quote, pro.clone()).await.data(200);
        assert_eq!(quote["due"], 100_000, "after {days} days: {quote:#}");
        let upgrade = format!("{path}/upgrade");
        let upgraded = customer.put(&upgrade, pro).await.data(200);
        assert_eq!(upgraded["charged"], 100_000, "{upgraded:#}");
        shop.clock().advance(TimeDelta::days(20));
        renew_due(&shop.state().subscriptions).await.unwrap();

        let customer = shop.sign_in(email).await;
        let moved = set_up(&shop, &customer, &bought, &in_the_way).await;
        let periods = moved["periods"].as_array().unwrap();
        assert_eq!((&moved["plan"], periods.len()), (&json!("pro"), 1));
        assert_eq!(moved["periodStart"], moved["deliveredAt"]);
        assert_eq!(balance(&customer).await, (json!(50_000), json!(0)));
        shop.books_balance().await;
    }
}

/// Of a lower plan the whole difference comes back.
async fn a_lower_plan_of_what_waits_is_for_a_whole_period(shop: Shop) {
    let email = "turun@example.com";
    let customer = customer_with_cash(&shop, email, 200_000).await;
    let (bought, in_the_way) = buy_blocked_plan(&shop, &customer, "pro").await;
    let id = text(&bought, "/subscription/id");
    shop.clock().advance(TimeDelta::days(20));
    let basic = shop.plan("n8n", "basic").await;
    let path = format!("/api/admin/subscriptions/{id}/upgrade");
    let wanted = json!({ "planId": basic, "reason": "The customer asked for it." });
    let made = shop.admin().await.put(&path, wanted).await.data(200);
    assert_eq!(made["givesBack"], 100_000, "{made:#}");

    let customer = shop.sign_in(email).await;
    let moved = set_up(&shop, &customer, &bought, &in_the_way).await;
    assert_eq!(moved["plan"], "basic", "{moved:#}");
    eventually("the difference comes back", async || {
        balance(&customer).await == (json!(150_000), json!(0))
    })
    .await;
    shop.books_balance().await;
}
