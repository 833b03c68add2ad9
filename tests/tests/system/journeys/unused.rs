//! Tests of what comes back and what does not: storage that a thaw paid for, and days that were given; and of prices
//! that fall while they are not paid.
//!
//! N8N Basic is 50,000 a month and 10,000 for its storage; Pro is 150,000.

use chrono::TimeDelta;
use dermaga_shop::{
    billing::{process_grace, remind_of_grace},
    scheduler::Progress,
};
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use crate::{
    api::notifications::told,
    journeys::{
        freezing::{balance, buy, freeze, frozen, thaw},
        overdue,
        renewal::{becomes, give, id_of, moment, next_period, subscription},
        upgrade::customer_with_cash,
    },
};

// The nightly job rests: what a test renews, nothing else has renewed before.
both_engines!(
    overdue,
    [
        storage_that_a_thaw_paid_for_does_not_come_back,
        a_frozen_month_costs_no_more_than_its_month,
        days_that_were_given_come_back_at_their_own_price,
        what_is_asked_for_is_enough_after_the_price_fell,
        a_reminder_names_the_price_of_now
    ]
);

const REASON: &str = "The customer asked for it by phone.";

async fn force_cancel(shop: &Shop, id: &str) -> i64 {
    let path = format!("/api/admin/subscriptions/{id}/force-cancel");
    let end = json!({ "processRefund": true, "reason": REASON });
    let ended = shop.admin().await.delete_with(&path, end).await.data(200);
    ended["refunded"].as_i64().unwrap()
}

async fn set_price(shop: &Shop, id: &str, price: i64) {
    let path = format!("/api/admin/subscriptions/{id}");
    let lower = json!({ "monthlyPrice": price, "reason": REASON });
    shop.admin().await.put(&path, lower).await.data(200);
}

async fn billing_info(customer: &Client, id: &str) -> Value {
    let path = format!("/api/subscriptions/{id}/billing-info");
    customer.get(&path).await.data(200)
}

async fn user_of(customer: &Client) -> String {
    let profile = customer.get("/api/user/profile").await.data(200);
    profile["id"].as_str().unwrap().to_owned()
}

/// Half a month after the end of a frozen period that no job has renewed: the thaw takes that half's storage, too.
async fn storage_that_a_thaw_paid_for_does_not_come_back(shop: Shop) {
    let (_, bought) = frozen(&shop, "simpan@example.com", 200_000, 1).await;
    let id = id_of(&bought);
    let end = moment(&subscription(&shop, id).await["periodEnd"]);
    shop.clock()
        .advance(end - shop.clock().now() + TimeDelta::days(15));
    let customer = shop.sign_in("simpan@example.com").await;
    let charged = thaw(&customer, id).await.data(200)["charged"].clone();
    let charged = charged.as_i64().unwrap();
    assert!((54_800..=55_400).contains(&charged), "{charged}");
    let quote = format!("/api/subscriptions/{id}/upgrade-quote");
    let pro = json!({ "planId": shop.plan("n8n", "pro").await });
    let quote = customer.post(&quote, pro).await.data(200);
    let lines = quote["lines"].as_array().unwrap();
    let unused = lines.iter().find(|line| line["code"] == "unused-time");
    let unused = unused.unwrap()["amount"].as_i64().unwrap();
    assert!((-50_000..=-49_900).contains(&unused), "{quote:#}");
    let refunded = force_cancel(&shop, id).await;
    assert!((49_900..=50_000).contains(&refunded), "{refunded}");
    shop.books_balance().await;
}

/// The price of the month fell below that of its storage.
async fn a_frozen_month_costs_no_more_than_its_month(shop: Shop) {
    let customer = customer_with_cash(&shop, "murah-beku@example.com", 50_000).await;
    let bought = buy(&shop, &customer, 1, None).await;
    let id = id_of(&bought);
    freeze(&customer, id).await.data(200);
    next_period(&shop, id).await;
    becomes(&shop, id, "PAST_DUE").await;
    set_price(&shop, id, 6_000).await;
    let customer = shop.sign_in("murah-beku@example.com").await;
    let info = billing_info(&customer, id).await;
    assert_eq!(
        (&info["due"], &info["thaw"]),
        (&json!(6_000), &json!(12_000))
    );
    shop.books_balance().await;
}

/// Fifteen days before the end a month is given, and all of it is paid for in a dearer plan. At the end of what was
/// paid first, just the given month is left.
async fn days_that_were_given_come_back_at_their_own_price(shop: Shop) {
    let email = "hari-hadiah@example.com";
    let customer = customer_with_cash(&shop, email, 400_000).await;
    let bought = buy(&shop, &customer, 1, None).await;
    let id = id_of(&bought);
    let end = moment(&subscription(&shop, id).await["periodEnd"]);
    shop.clock()
        .advance(end - shop.clock().now() - TimeDelta::days(15));
    let extend = format!("/api/admin/subscriptions/{id}/extend");
    let days = json!({ "days": 30, "reason": REASON });
    shop.admin().await.put(&extend, days).await.data(200);
    let customer = shop.sign_in(email).await;
    let upgrade = format!("/api/subscriptions/{id}/upgrade");
    let pro = json!({ "planId": shop.plan("n8n", "pro").await });
    let upgraded = customer.put(&upgrade, pro).await.data(200);
    let lines = upgraded["lines"].as_array().unwrap();
    let given = lines.iter().find(|line| line["code"] == "given-time");
    let given = given.unwrap()["amount"].as_i64().unwrap();
    assert!((90_000..=101_000).contains(&given), "{upgraded:#}");
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    while subscription(&shop, id).await["planName"] != "Pro" {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // The change is settled by the worker that looks every second.
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    shop.clock().advance(end - shop.clock().now());
    let refunded = force_cancel(&shop, id).await;
    assert!(
        (given - 200..=given).contains(&refunded),
        "{refunded} of {given}"
    );
    shop.books_balance().await;
}

/// A customer who is suspended pays what is asked for now, which is less than it was.
async fn what_is_asked_for_is_enough_after_the_price_fell(shop: Shop) {
    for (email, grace) in [
        ("turun@example.com", true),
        ("turun-lama@example.com", false),
    ] {
        let customer = customer_with_cash(&shop, email, 50_000).await;
        let bought = buy(&shop, &customer, 1, None).await;
        let id = id_of(&bought);
        next_period(&shop, id).await;
        becomes(&shop, id, "PAST_DUE").await;
        if !grace {
            shop.clock().advance(TimeDelta::days(9));
            process_grace(&shop.state().subscriptions).await.unwrap();
            becomes(&shop, id, "SUSPENDED").await;
        }
        set_price(&shop, id, 30_000).await;
        let customer = shop.sign_in(email).await;
        let info = billing_info(&customer, id).await;
        assert_eq!(info["due"], 30_000);
        give(&shop, &user_of(&customer).await, 30_000).await;
        becomes(&shop, id, "ACTIVE").await;
        assert_eq!(balance(&customer).await, 0);
    }
    shop.books_balance().await;
}

/// The reminder is of the price that a renewal would have now, whatever it was when the period ended.
async fn a_reminder_names_the_price_of_now(shop: Shop) {
    let email = "ingat@example.com";
    let customer = customer_with_cash(&shop, email, 50_000).await;
    let bought = buy(&shop, &customer, 1, None).await;
    let id = id_of(&bought);
    next_period(&shop, id).await;
    becomes(&shop, id, "PAST_DUE").await;
    shop.sql("UPDATE subscriptions SET monthly_price = 20000, term_price = NULL")
        .await
        .unwrap();
    let done = remind_of_grace(&shop.state().subscriptions, &Progress::default()).await;
    assert_eq!(done.unwrap().items, 1);
    let customer = shop.sign_in(email).await;
    let told = told(&customer, "GRACE_PERIOD_REMINDER").await;
    assert_eq!(told[0]["facts"]["missing"], 20_000, "{told:#?}");
    assert_eq!(told[0]["facts"]["isFrozen"], false);
}
