//! Tests that charges, texts and schedules use the days and months of `BILLING_TIMEZONE`.

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_shop::{billing::renew_due, db::Clock};
use dermaga_tests::{Client, Engine, Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{renewal::moment, upgrade::customer_with_cash};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn go_to(shop: &Shop, moment: &str) {
    shop.clock().advance(at(moment) - shop.clock().now());
}

/// Buys the small database; returns the subscription.
async fn buy(shop: &Shop, email: &str) -> Value {
    let customer = customer_with_cash(shop, email, 100_000).await;
    let plan = shop.plan("postgresql", "basic").await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await;
    delivered(shop, &customer, &bought.data(201)).await
}

/// Waits until the purchase runs, since a service that never ran is not charged; returns the
/// subscription.
pub(crate) async fn delivered(shop: &Shop, customer: &Client, bought: &Value) -> Value {
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(customer, instance, "RUNNING").await;
    bought["subscription"].clone()
}

/// Checks that a time is within some seconds after the one the clock was set to.
fn is_shortly_after(found: &Value, expected: &str) -> bool {
    let late = moment(found) - at(expected);
    (TimeDelta::zero()..TimeDelta::minutes(1)).contains(&late)
}

both_engines!(Shop, [a_month_is_the_shops_month]);

/// In Jakarta it is the first of October while it is still September in Greenwich, and the last of March
/// while it is the thirtieth.
async fn a_month_is_the_shops_month(shop: Shop) {
    go_to(&shop, "2027-10-01T05:00:00+07:00");
    let october = buy(&shop, "oktober@example.com").await;
    assert!(
        is_shortly_after(&october["periodEnd"], "2027-11-01T05:00:00+07:00"),
        "{october:#}"
    );
    let end = moment(&october["periodEnd"]);
    shop.clock().advance(end - shop.clock().now());
    renew_due(&shop.state().subscriptions).await.unwrap();
    let admin = shop.admin().await;
    let path = format!(
        "/api/admin/subscriptions/{}",
        october["id"].as_str().unwrap()
    );
    let renewed = admin.get(&path).await.data(200);
    assert_eq!(moment(&renewed["periodStart"]), end);
    assert!(
        is_shortly_after(&renewed["periodEnd"], "2027-12-01T05:00:00+07:00"),
        "{renewed:#}"
    );

    // Texts name the end of a promise in the shop's time zone.
    let body = json!({
        "code": "TAHUNBARU", "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 },
        "startsAt": "2027-12-31T17:00:00Z",
    });
    admin.post("/api/admin/coupons", body).await.data(201);
    let customer = shop.sign_in("oktober@example.com").await;
    let early = customer
        .post(
            "/api/wallet/redeem-coupon",
            json!({ "couponCode": "TAHUNBARU" }),
        )
        .await;
    early.fails(409, "COUPON_NOT_ACTIVE");
    assert_eq!(
        early.body["message"],
        "The coupon TAHUNBARU is valid from 2028-01-01 00:00 WIB."
    );

    go_to(&shop, "2028-03-31T02:00:00+07:00");
    let march = buy(&shop, "maret@example.com").await;
    assert!(
        is_shortly_after(&march["periodEnd"], "2028-04-30T02:00:00+07:00"),
        "{march:#}"
    );
    shop.books_balance().await;
}

/// Grace and months keep their local hour across the change to summer time; texts name the end in
/// the shop's time zone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grace_is_counted_in_the_shops_days() {
    let berlin = |config: &mut dermaga::config::Config| {
        config.billing_timezone = chrono_tz::Europe::Berlin;
    };
    let shop = Shop::open_with(Engine::Sqlite, berlin).await.unwrap();
    go_to(&shop, "2028-02-24T12:00:00+01:00");
    let customer = customer_with_cash(&shop, "musim-panas@example.com", 25_000).await;
    let plan = shop.plan("postgresql", "basic").await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await;
    let bought = delivered(&shop, &customer, &bought.data(201)).await;
    let end = moment(&bought["periodEnd"]);
    assert!(is_shortly_after(
        &bought["periodEnd"],
        "2028-03-24T12:00:00+01:00"
    ));
    shop.clock().advance(end - shop.clock().now());
    renew_due(&shop.state().subscriptions).await.unwrap();
    let admin = shop.admin().await;
    let id = bought["id"].as_str().unwrap();
    let behind = admin
        .get(&format!("/api/admin/subscriptions/{id}"))
        .await
        .data(200);
    assert_eq!(behind["status"], "PAST_DUE", "{behind:#}");
    assert_eq!(
        moment(&behind["graceUntil"]),
        end + TimeDelta::hours(7 * 24 - 1)
    );

    let path = format!("/api/admin/billing/set-grace-period/{id}");
    let grace = json!({ "graceDays": 3, "reason": "Their bank is closed for the holidays." });
    let longer = admin.post(&path, grace).await;
    let message = longer.body["message"].as_str().unwrap();
    assert!(
        message.starts_with("Its grace ends on 2028-03-27 12:0"),
        "{message}"
    );
    assert!(message.ends_with(" CEST."), "{message}");
}

/// An hourly job runs twice in the repeated hour, each time at the instant announced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_run_when_they_were_shown_to() {
    let berlin = |config: &mut dermaga::config::Config| {
        config.billing_timezone = chrono_tz::Europe::Berlin;
        config.schedules.daily_renewals = "30 2 * * *".parse().unwrap();
    };
    // Set before the start, because jobs count from the scheduler's first look.
    let clock = Clock::movable();
    clock.advance(at("2027-10-30T23:20:00Z") - clock.now());
    let shop = Shop::open_at(Engine::Sqlite, clock, berlin).await.unwrap();
    let admin = shop.admin().await;
    let look = async || shop.state().scheduler.look().await;
    look().await;
    let next = async |name: &str| {
        let jobs = admin.get("/api/admin/jobs").await.data(200);
        let jobs = jobs.as_array().unwrap();
        let job = jobs.iter().find(|job| job["name"] == name).unwrap();
        moment(&job["nextRun"])
    };
    let mut shown = Vec::new();
    assert_eq!(next("daily-renewals").await, at("2027-10-31T00:30:00Z"));
    for _ in 0..3 {
        let instant = next("coupon-statuses").await;
        shown.push(instant);
        shop.clock()
            .advance(instant - shop.clock().now() + TimeDelta::minutes(20));
        look().await;
    }
    assert_eq!(
        next("daily-renewals").await,
        at("2027-11-01T01:30:00Z"),
        "once that night"
    );
    let expected = [
        "2027-10-31T00:00:00Z",
        "2027-10-31T01:00:00Z",
        "2027-10-31T02:00:00Z",
    ];
    assert_eq!(shown, expected.map(at));
    let ran = async |name: &str| {
        let path = format!("/api/admin/jobs/{name}/runs");
        let runs = admin.get(&path).await.data(200);
        let runs = runs.as_array().unwrap().iter().rev();
        runs.map(|run| moment(&run["scheduledFor"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(ran("coupon-statuses").await, shown);
    assert_eq!(ran("daily-renewals").await, [at("2027-10-31T00:30:00Z")]);
}
