//! Tests of the forecast of billing: what it says is what the jobs do, on every page of it.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use dermaga_shop::billing::{process_grace, renew_due};
use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{
    renewal::{becomes, buy, id_of, moment, next_period, subscription},
    upgrade::customer_with_cash,
};

const PREVIEW: &str = "/api/admin/billing/preview";

both_engines!(
    Shop,
    [
        what_is_not_paid_is_foreseen_to_its_end,
        a_later_period_that_is_not_paid_is_foreseen,
        a_price_that_moves_during_a_suspension_is_foreseen,
        a_price_that_falls_during_a_suspension_renews,
        a_price_that_falls_after_the_data_is_gone_renews_nothing,
        renewals_of_a_customer_share_the_wallet_in_their_order,
        a_page_knows_of_those_before_it
    ]
);

/// Returns the forecast of the one subscription until a date, and what is missing.
async fn foreseen(shop: &Shop, date: NaiveDate) -> (String, Value) {
    let path = format!("{PREVIEW}?date={date}");
    let lines = shop.admin().await.get(&path).await.data(200);
    assert_eq!(lines.as_array().unwrap().len(), 1, "{lines:#}");
    let forecast = lines[0]["forecast"].as_str().unwrap();
    (forecast.to_owned(), lines[0]["missing"].clone())
}

/// A grace of 7 days and a retention of 14: each step is foreseen from each step before it, and then taken.
async fn what_is_not_paid_is_foreseen_to_its_end(shop: Shop) {
    let customer = customer_with_cash(&shop, "ramalan@example.com", 60_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let end = moment(&subscription(&shop, id).await["periodEnd"]);
    let day = end.with_timezone(&chrono_tz::Asia::Jakarta).date_naive();
    let short = |forecast: &str| (forecast.to_owned(), json!(40_000));
    let after = async |days: u64| foreseen(&shop, day + Days::new(days)).await;
    for (days, forecast) in [
        (0, "FAILS"),
        (6, "FAILS"),
        (7, "SUSPENDS"),
        (20, "SUSPENDS"),
        (21, "ENDS"),
    ] {
        assert_eq!(after(days).await, short(forecast), "{days}");
    }

    assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
    for (days, forecast) in [(0, "WAITS"), (6, "WAITS"), (7, "SUSPENDS"), (21, "ENDS")] {
        assert_eq!(after(days).await, short(forecast), "{days}");
    }

    shop.clock().advance(TimeDelta::days(7));
    process_grace(&shop.state().subscriptions).await.unwrap();
    let suspended = subscription(&shop, id).await;
    assert_eq!(suspended["status"], "SUSPENDED");
    for (days, forecast) in [(7, "WAITS"), (20, "WAITS"), (22, "ENDS")] {
        assert_eq!(after(days).await, short(forecast), "{days}");
    }

    shop.clock().advance(TimeDelta::days(14));
    process_grace(&shop.state().subscriptions).await.unwrap();
    assert_eq!(subscription(&shop, id).await["status"], "EXPIRED");
    let path = format!("{PREVIEW}?date={}", day + Days::new(22));
    let lines = shop.admin().await.get(&path).await.data(200);
    assert_eq!(lines, json!([]));
}

/// Money for one more month: the second renewal is the one that fails, however far ahead is looked.
async fn a_later_period_that_is_not_paid_is_foreseen(shop: Shop) {
    let customer = customer_with_cash(&shop, "sebulan@example.com", 100_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let end = moment(&becomes(&shop, id, "ACTIVE").await["periodEnd"]);
    let day = end.with_timezone(&chrono_tz::Asia::Jakarta).date_naive();
    let line = async |days: u64| {
        let path = format!("{PREVIEW}?date={}", day + Days::new(days));
        let lines = shop.admin().await.get(&path).await.data(200);
        lines[0].clone()
    };
    let renewed = line(27).await;
    assert_eq!(moment(&renewed["expectedAt"]), end, "{renewed:#}");
    assert_eq!(renewed["missing"], 0);
    assert_eq!(
        (&renewed["forecast"], &renewed["renewals"]),
        (&json!("RENEWS"), &json!(1))
    );
    // A month, a grace of 7 days and a retention of 14 after it.
    let mut expected = Vec::new();
    for (days, forecast) in [(31, "FAILS"), (38, "SUSPENDS"), (92, "ENDS"), (365, "ENDS")] {
        let line = line(days).await;
        assert_eq!(
            (&line["forecast"], &line["renewals"]),
            (&json!(forecast), &json!(1)),
            "{days}: {line:#}"
        );
        assert_eq!(
            (&line["due"], &line["missing"], &line["status"]),
            (&json!(50_000), &json!(50_000), &json!("ACTIVE"))
        );
        assert_eq!(moment(&line["periodEnd"]), end);
        expected.push(moment(&line["expectedAt"]));
    }

    let seen = next_period(&shop, id).await;
    assert_eq!(seen["status"], "ACTIVE");
    assert_eq!(expected, [moment(&seen["periodEnd"]); 4]);
    assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
}

/// The period that is not paid ends before the price moves, and the one that a suspended subscription would begin with
/// its payment begins after that.
async fn a_price_that_moves_during_a_suspension_is_foreseen(shop: Shop) {
    let customer = customer_with_cash(&shop, "naik@example.com", 50_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let end = moment(&subscription(&shop, id).await["periodEnd"]);
    let day = end.with_timezone(&chrono_tz::Asia::Jakarta).date_naive();
    announce(&shop, id, (65_000, end + Days::new(8))).await;
    let short = |forecast: &str, missing: i64| (forecast.to_owned(), json!(missing));
    let after = async |days: u64| foreseen(&shop, day + Days::new(days)).await;
    assert_eq!(after(6).await, short("FAILS", 50_000));
    assert_eq!(after(10).await, short("SUSPENDS", 50_000));
    assert_eq!(after(17).await, short("SUSPENDS", 65_000));

    assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
    shop.clock().advance(TimeDelta::days(7));
    process_grace(&shop.state().subscriptions).await.unwrap();
    let suspended = subscription(&shop, id).await;
    assert_eq!(
        (&suspended["status"], &suspended["unpaid"]),
        (&json!("SUSPENDED"), &json!(50_000))
    );
    assert_eq!(after(10).await, short("WAITS", 50_000));
    assert_eq!(after(17).await, short("WAITS", 65_000));

    shop.clock().advance(TimeDelta::days(10));
    renew_due(&shop.state().subscriptions).await.unwrap();
    assert_eq!(subscription(&shop, id).await["unpaid"], 65_000);
}

/// A wallet holds Rp45.000 for a period of Rp50.000, which costs Rp40.000 after 15 days: 7 of grace, and 8 of its
/// suspension. What is foreseen then happens.
async fn a_price_that_falls_during_a_suspension_renews(shop: Shop) {
    let customer = customer_with_cash(&shop, "turun@example.com", 95_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let end = moment(&subscription(&shop, id).await["periodEnd"]);
    let day = end.with_timezone(&chrono_tz::Asia::Jakarta).date_naive();
    announce(&shop, id, (40_000, end + Days::new(8))).await;
    let told = |forecast: &str, missing: i64| (forecast.to_owned(), json!(missing));
    let after = async |days: u64| foreseen(&shop, day + Days::new(days)).await;
    for (days, forecast, missing) in [
        (6, "FAILS", 5_000),
        (13, "SUSPENDS", 5_000),
        (17, "RENEWS", 0),
        (30, "RENEWS", 0),
        // The month after it, of which Rp5.000 are left.
        (41, "FAILS", 35_000),
    ] {
        assert_eq!(after(days).await, told(forecast, missing), "{days}");
    }
    // Its customer is warned of the period that is not paid in time.
    let path = "/api/admin/billing/low-credit?days=60";
    let short = shop.admin().await.get(path).await.data(200);
    assert_eq!(
        (&short[0]["missing"], &short[0]["renewals"]),
        (&json!(5_000), &json!(0)),
        "{short:#}"
    );

    assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
    shop.clock().advance(TimeDelta::days(7));
    process_grace(&shop.state().subscriptions).await.unwrap();
    assert_eq!(subscription(&shop, id).await["status"], "SUSPENDED");
    assert_eq!(after(13).await, told("WAITS", 5_000));
    assert_eq!(after(17).await, told("RENEWS", 0));
    shop.clock().advance(TimeDelta::days(6));
    renew_due(&shop.state().subscriptions).await.unwrap();
    assert_eq!(subscription(&shop, id).await["status"], "SUSPENDED");
    assert_eq!(after(17).await, told("RENEWS", 0));

    shop.clock().advance(TimeDelta::days(4));
    renew_due(&shop.state().subscriptions).await.unwrap();
    let renewed = subscription(&shop, id).await;
    assert_eq!(renewed["status"], "ACTIVE", "{renewed:#}");
    let customer = shop.sign_in("turun@example.com").await;
    let wallet = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(wallet["paidBalance"], 5_000, "{wallet:#}");
}

/// The price falls 20 days into a suspension whose data is kept for 14.
async fn a_price_that_falls_after_the_data_is_gone_renews_nothing(shop: Shop) {
    let customer = customer_with_cash(&shop, "telat@example.com", 95_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let end = moment(&subscription(&shop, id).await["periodEnd"]);
    let day = end.with_timezone(&chrono_tz::Asia::Jakarta).date_naive();
    announce(&shop, id, (40_000, end + Days::new(20))).await;
    for (days, forecast) in [(17, "SUSPENDS"), (30, "ENDS")] {
        let (found, _) = foreseen(&shop, day + Days::new(days)).await;
        assert_eq!(found, forecast, "{days}");
    }
    assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
    for (days, status) in [(7, "SUSPENDED"), (15, "EXPIRED")] {
        shop.clock().advance(TimeDelta::days(days));
        process_grace(&shop.state().subscriptions).await.unwrap();
        assert_eq!(subscription(&shop, id).await["status"], status, "{days}");
    }
}

/// Sets another price of the plan, and moves a subscription to it from a moment on.
async fn announce(shop: &Shop, id: &str, (price, from): (i64, DateTime<Utc>)) {
    let admin = shop.admin().await;
    let found = admin.get("/api/admin/services?q=n8n").await.data(200);
    let mut plans = found[0]["plans"].as_array().unwrap().iter();
    let basic = plans.find(|plan| plan["slug"] == "basic").unwrap();
    let [service, plan] = [&found[0], basic].map(|one| one["id"].as_str().unwrap());
    let plan = format!("/api/admin/services/{service}/plans/{plan}");
    let reason = "The new price list of January.";
    let changed = json!({ "monthlyPrice": price, "reason": reason });
    admin.put(&plan, changed).await.data(200);
    let body = json!({ "subscriptionIds": [id], "effectiveAt": from, "reason": reason });
    let path = format!("{plan}/price-moves");
    admin.post(&path, body).await.data(201);
}

/// Two subscriptions of a customer, with money for three of their next four periods: the last one of all fails. With
/// money for two, both fail in their second month, also where only the first of them is shown.
async fn renewals_of_a_customer_share_the_wallet_in_their_order(shop: Shop) {
    let three = customer_with_cash(&shop, "tiga@example.com", 125_000).await;
    let two = customer_with_cash(&shop, "dua@example.com", 100_000).await;
    let mut end = shop.clock().now();
    for customer in [&three, &three, &two, &two] {
        let bought = buy(&shop, customer, ("postgresql", "basic"), None).await;
        end = moment(&becomes(&shop, id_of(&bought), "ACTIVE").await["periodEnd"]);
    }
    let admin = shop.admin().await;
    let date = end.with_timezone(&chrono_tz::Asia::Jakarta).date_naive() + Days::new(32);
    let path = format!("{PREVIEW}?date={date}");
    let all = admin.get(&path).await.data(200);
    let told: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let forecast = line["forecast"].as_str().unwrap();
            (
                forecast,
                line["renewals"].as_i64(),
                line["missing"].as_i64(),
            )
        })
        .collect();
    let expected = [
        ("RENEWS", Some(2), Some(0)),
        ("FAILS", Some(1), Some(25_000)),
        ("FAILS", Some(1), Some(25_000)),
        ("FAILS", Some(1), Some(25_000)),
    ];
    assert_eq!(told, expected, "{all:#}");
    for (number, line) in all.as_array().unwrap().iter().enumerate() {
        let path = format!("{path}&limit=1&page={}", number + 1);
        assert_eq!(admin.get(&path).await.data(200), json!([line]));
    }
}

/// Two subscriptions share a wallet, on two pages: the second page says what the first one leaves to it.
async fn a_page_knows_of_those_before_it(shop: Shop) {
    let rich = customer_with_cash(&shop, "lapang@example.com", 500_000).await;
    let poor = customer_with_cash(&shop, "sempit@example.com", 75_000).await;
    for customer in [&poor, &rich, &poor] {
        let bought = buy(&shop, customer, ("postgresql", "basic"), None).await;
        becomes(&shop, id_of(&bought), "ACTIVE").await;
    }
    let admin = shop.admin().await;
    let date = (shop.clock().now() + TimeDelta::days(32)).date_naive();
    let path = format!("{PREVIEW}?date={date}");
    let all = admin.get(&path).await;
    let pagination = &all.body["pagination"];
    assert_eq!(
        (&pagination["page"], &pagination["totalItems"]),
        (&json!(1), &json!(3)),
        "{pagination:#}"
    );
    let all = all.data(200);
    let told: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["forecast"].as_str().unwrap(), line["missing"].as_i64()))
        .collect();
    let expected = [
        ("RENEWS", Some(0)),
        ("RENEWS", Some(0)),
        ("FAILS", Some(25_000)),
    ];
    assert_eq!(told, expected, "{all:#}");
    for (number, line) in all.as_array().unwrap().iter().enumerate() {
        let page = admin
            .get(&format!("{path}&limit=1&page={}", number + 1))
            .await;
        let pagination = &page.body["pagination"];
        assert_eq!(
            (&pagination["totalItems"], &pagination["totalPages"]),
            (&json!(3), &json!(3)),
            "{pagination:#}"
        );
        assert_eq!(page.data(200), json!([line]));
    }
    let beyond = admin.get(&format!("{path}&limit=1&page=4")).await;
    assert_eq!(beyond.data(200), json!([]));
    for wrong in ["limit=101", "page=0", "cursor=x"] {
        let refused = admin.get(&format!("{path}&{wrong}")).await;
        refused.fails(400, "VALIDATION_FAILED");
    }
}
