//! Tests of renewals with a coupon: it lasts as long as promised, and its budget is kept to.

use chrono::TimeDelta;
use dermaga_shop::billing::renew_due;
use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{
    overdue,
    renewal::{buy, id_of, moment, next_period, subscription},
    upgrade::customer_with_cash,
};

async fn coupon(shop: &Shop, code: &str, parameters: Value, more: Value) -> String {
    let mut body =
        json!({ "code": code, "plugin": "coupon-subscription-discount", "parameters": parameters });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    let admin = shop.admin().await;
    let made = admin.post("/api/admin/coupons", body).await.data(201);
    made["id"].as_str().unwrap().to_owned()
}

/// Returns the discounts of all periods, in order.
fn discounts(subscription: &Value) -> Vec<i64> {
    let periods = subscription["periods"].as_array().unwrap().iter().rev();
    periods
        .map(|period| period["discount"].as_i64().unwrap())
        .collect()
}

// The nightly job rests: what a test renews, nothing else has renewed before.
both_engines!(
    overdue,
    [
        a_coupon_lasts_as_long_as_was_promised,
        coupons_that_do_not_end_and_those_that_do,
        a_forecast_keeps_to_the_budget
    ]
);

/// Three periods cost half and the fourth the full price; a use is counted once, cost and
/// revenue for every period, and each decision replays.
async fn a_coupon_lasts_as_long_as_was_promised(shop: Shop) {
    let coupon = coupon(
        &shop,
        "TIGA",
        json!({ "percent": 50 }),
        json!({ "lasts": 3, "maxUses": 1 }),
    )
    .await;
    let customer = customer_with_cash(&shop, "tiga@example.com", 400_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), Some("TIGA")).await;
    let id = id_of(&bought);
    assert_eq!(bought["subscription"]["couponPeriodsLeft"], 2);
    // The coupon ends for others; the promise stays.
    let admin = shop.admin().await;
    let off = json!({ "ids": [coupon], "status": "DISABLED" });
    admin.put("/api/admin/coupons/bulk-status", off).await;
    let info = customer
        .get(&format!("/api/subscriptions/{id}/billing-info"))
        .await
        .data(200);
    assert_eq!(
        (&info["due"], &info["missing"]),
        (&json!(25_000), &json!(0)),
        "{info:#}"
    );
    assert_eq!(info["lines"][1]["code"], "coupon");
    // The forecast knows when it will be used up: after one month, two and three.
    let end = moment(&bought["subscription"]["periodEnd"]);
    for (days, renewals, due) in [(27, 1, 25_000), (32, 2, 25_000), (63, 3, 50_000)] {
        let date = (end + TimeDelta::days(days)).format("%FT%TZ");
        let path = format!("/api/admin/billing/preview?date={date}");
        let lines = admin.get(&path).await.data(200);
        let line = &lines[0];
        assert_eq!(
            (&line["forecast"], &line["renewals"], &line["due"]),
            (&json!("RENEWS"), &json!(renewals), &json!(due)),
            "{line:#}"
        );
    }
    for _ in 0..3 {
        next_period(&shop, id).await;
    }
    let renewed = subscription(&shop, id).await;
    assert_eq!(discounts(&renewed), [25_000, 25_000, 25_000, 0]);
    assert_eq!(renewed["couponPeriodsLeft"], 0);

    let customer = shop.sign_in("tiga@example.com").await;
    let history = customer.get("/api/wallet/coupon-history").await.data(200);
    let periods: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["period"].clone())
        .collect();
    assert_eq!(periods, [3, 2, 1]);
    let admin = shop.admin().await;
    for one in history.as_array().unwrap() {
        let path = format!(
            "/api/admin/decisions/{}/replay",
            one["decisionId"].as_str().unwrap()
        );
        assert_eq!(
            admin.post(&path, json!({})).await.data(200)["identical"],
            true
        );
    }
    let statistics = admin.get("/api/admin/coupons/statistics").await.data(200);
    let line = &statistics["costliest"][0];
    assert_eq!(
        (&line["uses"], &line["cost"], &line["revenue"]),
        (&json!(1), &json!(75_000), &json!(75_000)),
        "{line:#}"
    );
    let seen = admin
        .get(&format!("/api/admin/coupons/{coupon}"))
        .await
        .data(200);
    assert_eq!(
        (&seen["usedCount"], &seen["grantedAmount"]),
        (&json!(1), &json!(75_000))
    );
    shop.books_balance().await;
}

/// Discounts without end, free periods, and a spent budget that ends a discount with the
/// reason.
async fn coupons_that_do_not_end_and_those_that_do(shop: Shop) {
    coupon(
        &shop,
        "SELALU",
        json!({ "amount": 5_000 }),
        json!({ "lasts": "forever" }),
    )
    .await;
    coupon(
        &shop,
        "ANGGARAN",
        json!({ "amount": 10_000 }),
        json!({ "lasts": "forever", "budget": 25_000 }),
    )
    .await;
    let free = json!({ "code": "GRATIS", "plugin": "coupon-free-service", "parameters": { "periods": 2 } });
    shop.admin()
        .await
        .post("/api/admin/coupons", free)
        .await
        .data(201);
    let mut ids = Vec::new();
    for code in ["SELALU", "ANGGARAN", "GRATIS"] {
        let email = format!("{code}@example.com").to_lowercase();
        let customer = customer_with_cash(&shop, &email, 100_000).await;
        ids.push(
            id_of(&buy(&shop, &customer, ("postgresql", "basic"), Some(code)).await).to_owned(),
        );
    }
    for _ in 0..3 {
        let end = moment(&subscription(&shop, &ids[2]).await["periodEnd"]);
        shop.clock().advance(end - shop.clock().now());
        let outcome = renew_due(&shop.state().subscriptions).await.unwrap();
        assert_eq!((outcome.items, outcome.errors), (3, Vec::new()));
    }
    let expected = [[5_000; 4], [10_000, 10_000, 0, 0], [25_000, 25_000, 0, 0]];
    for (id, expected) in ids.iter().zip(expected) {
        assert_eq!(discounts(&subscription(&shop, id).await), expected);
    }
    let customer = shop.sign_in("anggaran@example.com").await;
    let newest = &customer.get("/api/wallet/transactions").await.data(200)[0];
    let number = newest["number"].as_str().unwrap();
    let detail = customer
        .get(&format!("/api/wallet/transactions/{number}"))
        .await
        .data(200);
    assert_eq!(
        detail["details"]["couponGaveNothing"],
        "The budget of the coupon ANGGARAN holds Rp5.000, which is less than this discount.",
        "{detail:#}"
    );
    let info = customer
        .get(&format!("/api/subscriptions/{}/billing-info", ids[1]))
        .await
        .data(200);
    assert_eq!(info["autoRenew"], true);
    // The next one is forecast as it will be charged.
    assert_eq!(
        (&info["due"], &info["couponGivesNothing"]),
        (&json!(25_000), &detail["details"]["couponGaveNothing"])
    );
    shop.books_balance().await;
}

/// Two customers share what is left of a budget: the forecast knows which of them it is for.
async fn a_forecast_keeps_to_the_budget(shop: Shop) {
    let more = json!({ "lasts": "forever", "budget": 32_000 });
    coupon(&shop, "BERDUA", json!({ "amount": 10_000 }), more).await;
    let mut ids = Vec::new();
    for email in ["berdua-1@example.com", "berdua-2@example.com"] {
        let customer = customer_with_cash(&shop, email, 100_000).await;
        let bought = buy(&shop, &customer, ("postgresql", "basic"), Some("BERDUA")).await;
        ids.push(id_of(&bought).to_owned());
    }
    let end = moment(&subscription(&shop, &ids[1]).await["periodEnd"]);
    let path = format!(
        "/api/admin/billing/preview?date={}",
        (end + TimeDelta::hours(1)).format("%FT%TZ")
    );
    let forecast = shop.admin().await.get(&path).await.data(200);
    let due = |id: &String| {
        let mut lines = forecast.as_array().unwrap().iter();
        let line = lines.find(|line| line["subscriptionId"] == *id);
        line.unwrap()["due"].clone()
    };
    let expected: Vec<Value> = ids.iter().map(due).collect();
    assert_eq!(expected, [15_000, 25_000]);
    shop.clock().advance(end - shop.clock().now());
    let outcome = renew_due(&shop.state().subscriptions).await.unwrap();
    assert_eq!((outcome.items, outcome.errors), (2, Vec::new()));
    for (id, expected) in ids.iter().zip([[10_000, 10_000], [10_000, 0]]) {
        assert_eq!(discounts(&subscription(&shop, id).await), expected);
    }
}
