//! Tests of dates and moments where administrators give them: a date is a whole day where the shop is.

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Asia::Jakarta;
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::json;

use crate::{
    api::prices::Dearer,
    journeys::renewal::{buy, moment},
};

both_engines!(
    Shop,
    [
        subscriptions_and_acts_are_found_by_dates_and_moments,
        a_price_moves_at_the_beginning_of_a_date
    ]
);

fn day_of(moment: DateTime<Utc>) -> NaiveDate {
    moment.with_timezone(&Jakarta).date_naive()
}

/// First moment of a date, for a query.
fn beginning(day: NaiveDate) -> String {
    format!("{day}T00:00:00%2B07:00")
}

async fn count(admin: &Client, path: &str) -> i64 {
    let found = admin.get(path).await;
    let total = found.body["pagination"]["totalItems"].as_i64();
    total.unwrap_or_else(|| panic!("{path}: {:#}", found.body))
}

async fn subscriptions_and_acts_are_found_by_dates_and_moments(shop: Shop) {
    let customer = shop.customer("tanggal@example.com").await;
    let bought = buy(&shop, &customer, ("n8n", "free"), None).await;
    let admin = shop.admin().await;
    let reload = "/api/admin/catalog/reload";
    admin
        .post(reload, json!({ "reason": "The templates were edited." }))
        .await
        .data(200);
    let today = day_of(shop.clock().now());
    let (before, after) = (today.pred_opt().unwrap(), today.succ_opt().unwrap());
    for list in ["/api/admin/subscriptions", "/api/admin/audit"] {
        for (query, expected) in [
            (format!("from={today}&to={today}"), 1),
            (format!("to={before}"), 0),
            (format!("from={after}"), 0),
            (
                format!("from={}&to={}", beginning(today), beginning(after)),
                1,
            ),
            (format!("from={}&to={today}", beginning(today)), 1),
            (format!("from={today}&to={}", beginning(after)), 1),
            (format!("to={}", beginning(today)), 0),
            (format!("from={}", beginning(after)), 0),
        ] {
            let path = format!("{list}?{query}");
            assert_eq!(count(&admin, &path).await, expected, "{path}");
        }
    }
    let end = day_of(moment(&bought["subscription"]["periodEnd"]));
    let (before, after) = (end.pred_opt().unwrap(), end.succ_opt().unwrap());
    for (ends_by, expected) in [
        (end.to_string(), 1),
        (before.to_string(), 0),
        (beginning(after), 1),
        (beginning(end), 0),
    ] {
        let path = format!("/api/admin/subscriptions?endsBy={ends_by}");
        assert_eq!(count(&admin, &path).await, expected, "{path}");
    }
}

async fn a_price_moves_at_the_beginning_of_a_date(shop: Shop) {
    let dearer = Dearer::open(&shop).await;
    let day = day_of(shop.clock().now() + Days::new(40));
    let body = json!({
        "subscriptionIds": [dearer.subscription], "effectiveAt": day,
        "reason": "The new price list of January.",
    });
    let path = format!("{}/price-moves", dearer.plan);
    let moved = dearer.admin.post(&path, body).await.data(201);
    let begun: DateTime<Utc> = format!("{day}T00:00:00+07:00").parse().unwrap();
    assert_eq!(moment(&moved[0]["effectiveAt"]), begun);
    // So close that a part of the first day of the notice is over.
    let soon = day_of(shop.clock().now() + Days::new(29));
    let body = json!({
        "subscriptionIds": [dearer.subscription], "effectiveAt": soon,
        "reason": "The new price list of January.",
    });
    let refused = dearer.admin.post(&path, body).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("effectiveAt").is_some());
}
