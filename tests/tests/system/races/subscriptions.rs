//! Administrators at one subscription at the same moment, on both databases; those of two servers are in
//! `administrators.rs`.

use chrono::Days;
use dermaga_tests::{Client, Shop, both_engines};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    api::{notifications::told_times, prices::Dearer},
    journeys::{
        overdue,
        renewal::{buy, id_of, moment, next_period, subscription},
        upgrade::customer_with_cash,
    },
};

const REASON: &str = "Two administrators at the same moment.";

// The nightly job rests: what a test lets fall behind, nothing else has looked at before.
both_engines!(
    overdue,
    [
        the_same_price_move_is_made_and_told_once,
        every_grace_counts_and_the_last_one_is_kept,
        one_end_is_made_and_gives_the_place_back_once,
        prices_fall_one_after_another
    ]
);

async fn recorded(admin: &Client, act: &str, id: &str) -> Vec<Value> {
    let path = format!("/api/admin/audit?act={act}&subject=subscription:{id}&limit=100");
    let page = admin.get(&path).await.data(200);
    page.as_array().unwrap().clone()
}

async fn left(shop: &Shop) -> i64 {
    let plan = shop.plan_view("n8n", "basic").await;
    plan["availableQuota"].as_i64().unwrap()
}

async fn the_same_price_move_is_made_and_told_once(shop: Shop) {
    let dearer = Dearer::open(&shop).await;
    let id = dearer.subscription.as_str();
    let (ids, from) = ([id], shop.clock().now() + Days::new(40));
    for answer in join_all((0..6).map(|_| dearer.move_at(&ids, from))).await {
        assert_eq!(answer.data(201)[0]["after"], 65_000);
    }
    let moved = recorded(&dearer.admin, "subscription.price_moved", id).await;
    assert_eq!(moved.len(), 1, "{moved:#?}");
    let count = "UPDATE outbox SET created_at = created_at WHERE topic = 'PRICE_CHANGE'";
    assert_eq!(shop.sql(count).await.unwrap(), 1);
    assert_eq!(dearer.seen().await["nextPrice"], 65_000);

    // It is taken back once, too.
    let path = format!("/api/admin/subscriptions/{id}/price-move");
    let because = json!({ "reason": REASON });
    let requests = (0..4).map(|_| dearer.admin.delete_with(&path, because.clone()));
    let answers = join_all(requests).await;
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.fails(409, "INVALID_STATE");
    }
    let done = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(done.count(), 1);
    let kept = recorded(&dearer.admin, "subscription.price_kept", id).await;
    assert_eq!(kept.len(), 1, "{kept:#?}");
    let details = json!({
        "kept": 50_000, "dropped": 65_000, "termMonths": 1, "termKept": 50_000, "termDropped": 65_000,
    });
    assert_eq!(
        (&kept[0]["details"], &kept[0]["reason"]),
        (&details, &json!(REASON))
    );
    let told = told_times(&dearer.customer, "PRICE_CHANGE", 2).await;
    assert_eq!(told.len(), 2, "{told:#?}");
}

/// Request for so many days of grace.
fn grace(days: u64) -> Value {
    json!({ "graceDays": days, "reason": REASON })
}

async fn every_grace_counts_and_the_last_one_is_kept(shop: Shop) {
    let customer = customer_with_cash(&shop, "tenggang@example.com", 60_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
    let admin = shop.admin().await;
    let path = format!("/api/admin/billing/set-grace-period/{id}");
    let requests = (10..16).map(|days| admin.post(&path, grace(days)));
    for answer in join_all(requests).await {
        answer.data(200);
    }
    let set = recorded(&admin, "subscription.grace_set", id).await;
    let mut days: Vec<_> = set
        .iter()
        .map(|event| event["details"]["days"].as_i64().unwrap())
        .collect();
    days.sort_unstable();
    assert_eq!(days, [10, 11, 12, 13, 14, 15]);
    assert!(set.iter().all(|event| event["reason"] == REASON));
    let until = moment(&subscription(&shop, id).await["graceUntil"]);
    let untils = set.iter().map(|event| moment(&event["details"]["until"]));
    // Databases keep microseconds at most.
    let is_one = untils
        .map(|one| (one - until).num_milliseconds().abs())
        .any(|off| off <= 1);
    assert!(is_one, "{until}: {set:#?}");
}

async fn one_end_is_made_and_gives_the_place_back_once(shop: Shop) {
    let customer = customer_with_cash(&shop, "habis@example.com", 60_000).await;
    let before = left(&shop).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
    assert_eq!(left(&shop).await, before - 1);
    let admin = shop.admin().await;
    let (path, because) = (
        format!("/api/admin/subscriptions/{id}/expire"),
        json!({ "reason": REASON }),
    );
    let ends = join_all((0..4).map(|_| admin.put(&path, because.clone())));
    let path = format!("/api/admin/billing/set-grace-period/{id}");
    let graces = join_all((3..6).map(|days| admin.post(&path, grace(days))));
    let (ends, graces) = tokio::join!(ends, graces);
    for answer in ends.iter().chain(&graces) {
        let code = answer.body["error"]["code"].as_str().unwrap_or_default();
        let is_known = ["INVALID_STATE", "CONFLICT"].contains(&code);
        assert!(answer.status == 200 || is_known, "{:#}", answer.body);
    }
    let done = ends.iter().filter(|answer| answer.status == 200);
    assert_eq!(done.count(), 1);
    let seen = subscription(&shop, id).await;
    assert_eq!(
        (&seen["status"], &seen["cancelReason"]),
        (&json!("EXPIRED"), &json!(REASON))
    );
    let ended = recorded(&admin, "subscription.expired", id).await;
    assert_eq!(ended.len(), 1, "{ended:#?}");
    let set = recorded(&admin, "subscription.grace_set", id).await;
    let granted = graces.iter().filter(|answer| answer.status == 200);
    assert_eq!(set.len(), granted.count());
    assert_eq!(left(&shop).await, before);
    shop.books_balance().await;
}

/// A price that was lowered below another request's is not raised by it.
async fn prices_fall_one_after_another(shop: Shop) {
    let customer = customer_with_cash(&shop, "turun@example.com", 60_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let admin = shop.admin().await;
    let path = format!("/api/admin/subscriptions/{id}");
    let lower = |price: i64| json!({ "monthlyPrice": price, "reason": REASON });
    let requests = [45_000, 30_000, 40_000, 35_000].map(|price| admin.put(&path, lower(price)));
    let answers = join_all(requests).await;
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.fails(400, "VALIDATION_FAILED");
        assert!(answer.detail("monthlyPrice").is_some(), "{:#}", answer.body);
    }
    let seen = subscription(&shop, id).await;
    assert_eq!(seen["monthlyPrice"], 30_000, "{seen:#}");
    let mut changes: Vec<_> = recorded(&admin, "subscription.changed", id)
        .await
        .iter()
        .map(|event| &event["details"]["monthlyPrice"])
        .map(|price| ["before", "after"].map(|side| price[side].as_i64().unwrap()))
        .collect();
    let done = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(changes.len(), done.count());
    changes.sort_by_key(|[before, _]| std::cmp::Reverse(*before));
    let mut price = 50_000;
    for [before, after] in changes {
        assert_eq!(before, price);
        assert!(after < before, "{after}");
        price = after;
    }
    assert_eq!(price, 30_000);
}
