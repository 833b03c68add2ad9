//! Tests of several upgrades in one period: each payment is credited over its own span.

use chrono::{DateTime, Datelike, Days, Months, TimeDelta, Utc};
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use crate::{api::plan_changes::settled, journeys::upgrade::customer_with_cash};

/// Tolerance in rupiah: a minute of a test's run time changes prices by up to 17.
const MOVED: i64 = 20;

/// Moves the clock to the tenth of the next month with 31 days, so that the next period also has
/// 31.
fn to_a_long_month(shop: &Shop) {
    let now = shop.clock().now();
    let tenth = |months| now.with_day(10).unwrap() + Months::new(months);
    let has_31 = |at: &DateTime<Utc>| (*at + Months::new(1) - *at).num_days() == 31;
    let next = (1..4).map(tenth).find(has_31).unwrap();
    shop.clock().advance(next - now);
}

/// Moves the clock to this many days after the period began.
fn to_day(shop: &Shop, bought: &Value, days: u64) {
    let start = bought["subscription"]["periodStart"].as_str().unwrap();
    let start: DateTime<Utc> = start.parse().unwrap();
    shop.clock()
        .advance(start + Days::new(days) - shop.clock().now());
}

#[track_caller]
fn about(found: &Value, expected: i64) {
    let found = found.as_i64().unwrap();
    assert!(
        (found - expected).abs() <= MOVED,
        "{found}, not about {expected}"
    );
}

/// Buys a plan of N8N, and waits for its delivery: no time is used before it.
async fn buy(shop: &Shop, customer: &Client, plan: &str) -> Value {
    let order = json!({ "planId": shop.plan("n8n", plan).await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(customer, instance, "RUNNING").await;
    bought
}

/// Upgrades once the previous change is applied.
async fn upgrade(customer: &Client, id: &str, plan: &str) -> Value {
    let path = format!("/api/subscriptions/{id}/upgrade");
    for _ in 0..200 {
        let answer = customer.put(&path, json!({ "planId": plan })).await;
        if answer.body["error"]["code"] != "INVALID_STATE" {
            return answer.data(200);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the change before does not end");
}

both_engines!(
    Shop,
    [
        a_second_upgrade_credits_what_the_first_one_paid_for,
        a_refund_lowers_the_credit,
        a_refund_before_an_upgrade_is_not_one_of_it,
        given_days_cost_the_difference_between_the_plans
    ]
);

/// N8N free, BASIC on day 10 of 31, PRO on day 20: Rp53.225 for eleven days, less Rp17.741 of BASIC.
async fn a_second_upgrade_credits_what_the_first_one_paid_for(shop: Shop) {
    to_a_long_month(&shop);
    let customer = customer_with_cash(&shop, "dua-kali@example.com", 500_000).await;
    let bought = buy(&shop, &customer, "free").await;
    let id = bought["subscription"]["id"].as_str().unwrap().to_owned();
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;

    to_day(&shop, &bought, 10);
    let customer = shop.sign_in("dua-kali@example.com").await;
    let first = upgrade(&customer, &id, &shop.plan("n8n", "basic").await).await;
    about(&first["charged"], 33_870);
    shop.instance_becomes(&customer, instance, "RUNNING").await;

    to_day(&shop, &bought, 20);
    let customer = shop.sign_in("dua-kali@example.com").await;
    let second = upgrade(&customer, &id, &shop.plan("n8n", "pro").await).await;
    about(&second["charged"], 35_484);
    let credit = &second["lines"][1];
    about(&credit["amount"], -17_741);
    let reason = credit["reason"].as_str().unwrap();
    let paid = first["charged"].as_i64().unwrap();
    let paid = format!("Rp{}.{:03} was paid for ", paid / 1_000, paid % 1_000);
    assert!(
        reason.starts_with(&paid) && reason.contains(" of the BASIC plan; time not used: 1"),
        "{reason}"
    );
    let sum: i64 = second["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["amount"].as_i64().unwrap())
        .sum();
    assert_eq!(second["charged"], sum);

    // The explanation agrees, and the plugin's decision still replays.
    let number = second["transaction"].as_str().unwrap();
    let why = customer
        .get(&format!("/api/wallet/transactions/{number}/decisions"))
        .await
        .data(200);
    assert_eq!(why[0]["reasons"][1]["reason"], reason, "{why:#}");
    let decision = second["priceDecisionId"].as_str().unwrap();
    let replay = shop
        .admin()
        .await
        .post(
            &format!("/api/admin/decisions/{decision}/replay"),
            json!(null),
        )
        .await;
    assert_eq!(replay.data(200)["identical"], true);
    shop.books_balance().await;
}

/// A plan is not had for given days at the price of one month: they count as paid at the present price, and
/// the cash that another plan cost for them comes back with it.
async fn given_days_cost_the_difference_between_the_plans(shop: Shop) {
    to_a_long_month(&shop);
    let customer = customer_with_cash(&shop, "diberi@example.com", 2_000_000).await;
    let bought = buy(&shop, &customer, "basic").await;
    let id = bought["subscription"]["id"].as_str().unwrap();
    let admin = shop.admin().await;
    let path = format!("/api/admin/subscriptions/{id}");
    let given = json!({ "days": 310, "reason": "An apology for the outage." });
    admin.put(&format!("{path}/extend"), given).await.data(200);
    let pro = shop.plan("n8n", "pro").await;
    let wanted = json!({ "planId": pro });
    let quote = customer
        .post(
            &format!("/api/subscriptions/{id}/upgrade-quote"),
            wanted.clone(),
        )
        .await
        .data(200);
    // A month of the one plan costs 50,000, of the other 150,000.
    let difference = 100_000;
    let line = quote["lines"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(line["code"], "given-time");
    about(&line["amount"], difference * 10);
    about(&quote["due"], difference * 11);
    let upgraded = customer
        .put(&format!("/api/subscriptions/{id}/upgrade"), wanted)
        .await
        .data(200);
    about(&upgraded["charged"], difference * 11);
    settled(&shop).await;

    // After the month that was paid for, half of the given days: so much of the difference comes back.
    shop.clock().advance(TimeDelta::days(31 + 155));
    let admin = shop.admin().await;
    let end = json!({ "processRefund": true, "reason": "The customer asked for it." });
    let ended = admin
        .delete_with(&format!("{path}/force-cancel"), end)
        .await
        .data(200);
    about(&ended["refunded"], difference * 5);
    shop.books_balance().await;
}

/// Who got money back before an upgrade paid more for it, and has all of the dearer plan's rest back.
async fn a_refund_before_an_upgrade_is_not_one_of_it(shop: Shop) {
    to_a_long_month(&shop);
    let mut ends = Vec::new();
    for (email, refunded) in [("tanpa@example.com", 0), ("dengan@example.com", 40_000)] {
        let customer = customer_with_cash(&shop, email, 500_000).await;
        let bought = buy(&shop, &customer, "basic").await;
        let id = bought["subscription"]["id"].as_str().unwrap().to_owned();
        // Its period would begin again with a delivery that comes later.
        let instance = bought["instanceId"].as_str().unwrap();
        shop.instance_becomes(&customer, instance, "RUNNING").await;
        if refunded > 0 {
            let refund = json!({ "amount": refunded, "reason": "The service was down for days." });
            let path = format!("/api/admin/subscriptions/{id}/refund");
            shop.admin().await.post(&path, refund).await.data(201);
        }
        ends.push((email, id, bought));
    }
    to_day(&shop, &ends[0].2, 15);
    let pro = json!({ "planId": shop.plan("n8n", "pro").await });
    let mut back = Vec::new();
    for (email, id, _) in &ends {
        let customer = shop.sign_in(email).await;
        let upgrade = format!("/api/subscriptions/{id}/upgrade");
        let charged = customer.put(&upgrade, pro.clone()).await.data(200)["charged"].clone();
        settled(&shop).await;
        let end = json!({ "processRefund": true, "reason": "The customer asked for it." });
        let path = format!("/api/admin/subscriptions/{id}/force-cancel");
        let ended = shop.admin().await.delete_with(&path, end).await.data(200);
        back.push((charged, ended["refunded"].clone()));
    }
    let [(charged, all), (dearer, same)] = &back[..] else {
        panic!("two customers");
    };
    about(all, 150_000 * 16 / 31);
    about(same, 150_000 * 16 / 31);
    about(
        &json!(dearer.as_i64().unwrap() - charged.as_i64().unwrap()),
        40_000 * 16 / 31,
    );
    shop.books_balance().await;
}

/// The refunded part of a payment is not credited again.
async fn a_refund_lowers_the_credit(shop: Shop) {
    to_a_long_month(&shop);
    let customer = customer_with_cash(&shop, "kembali-dulu@example.com", 500_000).await;
    let bought = buy(&shop, &customer, "basic").await;
    let id = bought["subscription"]["id"].as_str().unwrap();
    let refund = json!({ "amount": 20_000, "reason": "The service was down for days." });
    let path = format!("/api/admin/subscriptions/{id}/refund");
    shop.admin().await.post(&path, refund).await.data(201);
    to_day(&shop, &bought, 1);
    let customer = shop.sign_in("kembali-dulu@example.com").await;
    let pro = shop.plan("n8n", "pro").await;
    let quote = customer
        .post(
            &format!("/api/subscriptions/{id}/upgrade-quote"),
            json!({ "planId": pro }),
        )
        .await
        .data(200);
    about(&quote["lines"][1]["amount"], -30_000 * 30 / 31);
    let reason = quote["lines"][1]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with(
            "Rp50.000 was paid for 31 days of the BASIC plan, and Rp20.000 of it was given back"
        ),
        "{reason}"
    );
}
