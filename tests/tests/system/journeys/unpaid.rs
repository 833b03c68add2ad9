//! Tests of subscriptions that are not paid for: grace, suspension and end, and what administrators
//! see and decide.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_shop::billing::{process_grace, renew_due};
use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{
    renewal::{becomes, buy, give, id_of, moment, next_period, subscription},
    upgrade::customer_with_cash,
};

both_engines!(
    Shop,
    [
        the_end_of_graces_is_processed_on_demand,
        who_does_not_pay_is_suspended_and_who_pays_goes_on,
        what_nobody_pays_for_ends,
        administrators_look_ahead_and_decide
    ]
);

/// An administrator starts the job that ends graces, follows its run, and finds the unpaid
/// subscription suspended.
async fn the_end_of_graces_is_processed_on_demand(shop: Shop) {
    let path = "/api/admin/billing/process-grace-period";
    let customer = customer_with_cash(&shop, "tenggang@example.com", 60_000).await;
    customer.post(path, json!({})).await.fails(403, "FORBIDDEN");
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
    shop.clock().advance(TimeDelta::days(7));
    let admin = shop.admin().await;
    let run = loop {
        let started = admin.post(path, json!({})).await;
        if started.status == 202 {
            break started;
        }
        // The scheduler may have started the job too.
        started.fails(409, "CONFLICT");
    };
    let location = run.headers["location"].to_str().unwrap().to_owned();
    let mut run = run.data(202);
    assert_eq!(
        location,
        format!(
            "/api/admin/jobs/grace-period/runs/{}",
            run["id"].as_str().unwrap()
        )
    );
    while run["finishedAt"].is_null() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        run = admin.get(&location).await.data(200);
    }
    assert_eq!(run["status"], "SUCCEEDED", "{run:#}");
    assert_eq!(subscription(&shop, id).await["status"], "SUSPENDED");
    shop.books_balance().await;
}

/// In grace the service runs; in suspension its data is kept; a top-up resumes it, and the
/// suspended time is not charged.
async fn who_does_not_pay_is_suspended_and_who_pays_goes_on(shop: Shop) {
    let customer = customer_with_cash(&shop, "lupa@example.com", 60_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let (id, instance) = (id_of(&bought), bought["instanceId"].as_str().unwrap());
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let end = moment(&bought["subscription"]["periodEnd"]);

    let behind = next_period(&shop, id).await;
    assert_eq!(
        (&behind["status"], &behind["unpaid"]),
        (&json!("PAST_DUE"), &json!(50_000))
    );
    assert_eq!(moment(&behind["graceUntil"]), end + TimeDelta::days(7));
    let customer = shop.sign_in("lupa@example.com").await;
    assert_eq!(
        customer
            .get(&format!("/api/instances/{instance}"))
            .await
            .data(200)["status"],
        "WRITTEN"
    );
    let info = customer
        .get(&format!("/api/subscriptions/{id}/billing-info"))
        .await
        .data(200);
    assert_eq!(
        (&info["due"], &info["missing"]),
        (&json!(50_000), &json!(40_000))
    );

    // Grace does not restart, and ends on its day.
    shop.clock().advance(TimeDelta::days(6));
    renew_due(&shop.state().subscriptions).await.unwrap();
    process_grace(&shop.state().subscriptions).await.unwrap();
    let behind = subscription(&shop, id).await;
    assert_eq!(behind["status"], "PAST_DUE");
    assert_eq!(moment(&behind["graceUntil"]), end + TimeDelta::days(7));
    shop.clock().advance(TimeDelta::days(1));
    process_grace(&shop.state().subscriptions).await.unwrap();
    let suspended = becomes(&shop, id, "SUSPENDED").await;
    let since = moment(&suspended["suspendedAt"]);
    let customer = shop.sign_in("lupa@example.com").await;
    shop.instance_becomes(&customer, instance, "STOPPED").await;

    shop.clock().advance(TimeDelta::days(3));
    let customer = shop.sign_in("lupa@example.com").await;
    let me = customer.get("/api/user/profile").await.data(200);
    give(&shop, me["id"].as_str().unwrap(), 40_000).await;
    let resumed = becomes(&shop, id, "ACTIVE").await;
    let customer = shop.sign_in("lupa@example.com").await;
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let off = moment(&resumed["periodStart"]) - end;
    assert!(
        off >= TimeDelta::days(3)
            && off < TimeDelta::days(3) + (shop.clock().now() - since - TimeDelta::days(3)),
        "{off}"
    );
    assert_eq!(
        (
            &resumed["unpaid"],
            &resumed["suspendedAt"],
            &resumed["graceUntil"]
        ),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["totalBalance"],
        0
    );
    shop.books_balance().await;
}

/// A long suspension ends a subscription; so does turning off renewal; quota and resources are
/// released.
async fn what_nobody_pays_for_ends(shop: Shop) {
    let quota = async || {
        shop.plan_view("n8n", "basic").await["availableQuota"]
            .as_i64()
            .unwrap()
    };
    let before = quota().await;
    let customer = customer_with_cash(&shop, "habis@example.com", 100_000).await;
    let (first, second) = (
        buy(&shop, &customer, ("n8n", "basic"), None).await,
        buy(&shop, &customer, ("n8n", "free"), None).await,
    );
    let (id, kept) = (id_of(&first), id_of(&second));
    let stop = json!({ "autoRenew": false });
    let noted = customer
        .put(
            &format!("/api/subscriptions/{kept}/auto-renew"),
            stop.clone(),
        )
        .await
        .data(200);
    assert_eq!(noted["autoRenew"], false);
    let thief = shop.customer("orang-lain@example.com").await;
    thief
        .put(&format!("/api/subscriptions/{kept}/auto-renew"), stop)
        .await
        .fails(404, "NOT_FOUND");
    thief
        .get(&format!("/api/subscriptions/{kept}/billing-info"))
        .await
        .fails(404, "NOT_FOUND");
    let none = customer
        .get(&format!("/api/subscriptions/{kept}/billing-info"))
        .await
        .data(200);
    assert_eq!((&none["due"], &none["lines"]), (&Value::Null, &json!([])));

    next_period(&shop, id).await;
    // Bought a moment after the other one.
    next_period(&shop, kept).await;
    assert_eq!(
        becomes(&shop, kept, "EXPIRED").await["cancelReason"],
        "It was not to be renewed."
    );
    next_period(&shop, id).await;
    assert_eq!(quota().await, before - 1);
    // It would end at once, before its grace does, and with its data.
    let cannot_run_out = async || {
        let path = format!("/api/subscriptions/{id}");
        let customer = shop.sign_in("habis@example.com").await;
        let off = json!({ "autoRenew": false });
        let answer = customer.put(&format!("{path}/auto-renew"), off).await;
        answer.fails(409, "INVALID_STATE");
        let request = customer.request(reqwest::Method::DELETE, &path);
        let at_end = json!({ "at": "period_end" });
        let answer = customer.send(request.json(&at_end)).await;
        answer.fails(409, "INVALID_STATE");
    };
    cannot_run_out().await;
    let end = moment(&subscription(&shop, id).await["graceUntil"]);
    shop.clock().advance(end - shop.clock().now());
    process_grace(&shop.state().subscriptions).await.unwrap();
    becomes(&shop, id, "SUSPENDED").await;
    cannot_run_out().await;
    shop.clock().advance(TimeDelta::days(13));
    process_grace(&shop.state().subscriptions).await.unwrap();
    assert_eq!(subscription(&shop, id).await["status"], "SUSPENDED");
    shop.clock().advance(TimeDelta::days(1));
    process_grace(&shop.state().subscriptions).await.unwrap();
    let ended = becomes(&shop, id, "EXPIRED").await;
    assert_eq!(
        (&ended["unpaid"], &ended["graceUntil"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(quota().await, before);
    let customer = shop.sign_in("habis@example.com").await;
    shop.instance_becomes(
        &customer,
        first["instanceId"].as_str().unwrap(),
        "TERMINATED",
    )
    .await;
    let again = json!({ "autoRenew": true });
    customer
        .put(&format!("/api/subscriptions/{id}/auto-renew"), again)
        .await
        .fails(409, "INVALID_STATE");
    shop.books_balance().await;
}

/// Administrators see upcoming renewals and decide about failed ones.
async fn administrators_look_ahead_and_decide(shop: Shop) {
    let rich = customer_with_cash(&shop, "mampu@example.com", 500_000).await;
    let poor = customer_with_cash(&shop, "pas-pasan@example.com", 75_000).await;
    let renews = buy(&shop, &rich, ("n8n", "basic"), None).await;
    // Credit for one of the two.
    let first = buy(&shop, &poor, ("postgresql", "basic"), None).await;
    let ends = buy(&shop, &rich, ("postgresql", "basic"), None).await;
    rich.put(
        &format!("/api/subscriptions/{}/auto-renew", id_of(&ends)),
        json!({ "autoRenew": false }),
    )
    .await
    .data(200);
    let fails = buy(&shop, &poor, ("postgresql", "basic"), None).await;
    let admin = shop.admin().await;
    let preview = "/api/admin/billing/preview";
    assert_eq!(admin.get(preview).await.data(200), json!([]));
    let date = (shop.clock().now() + TimeDelta::days(32)).date_naive();
    let lines = admin.get(&format!("{preview}?date={date}")).await.data(200);
    let found: Vec<_> = lines
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (
                line["subscriptionId"].clone(),
                line["forecast"].clone(),
                line["missing"].clone(),
            )
        })
        .collect();
    let line = |bought: &Value, forecast: &str, missing: Value| {
        (
            bought["subscription"]["id"].clone(),
            json!(forecast),
            missing,
        )
    };
    assert_eq!(
        found,
        [
            line(&renews, "RENEWS", json!(0)),
            line(&first, "RENEWS", json!(0)),
            line(&ends, "ENDS", Value::Null),
            line(&fails, "FAILS", json!(0))
        ]
        .map(|(id, forecast, missing)| {
            let missing = if forecast == "FAILS" {
                json!(25_000)
            } else {
                missing
            };
            (id, forecast, missing)
        }),
        "{lines:#}"
    );
    admin
        .get(&format!("{preview}?date=besok"))
        .await
        .fails(400, "VALIDATION_FAILED");
    rich.get(preview).await.fails(403, "FORBIDDEN");

    let grace = |id: &str| format!("/api/admin/billing/set-grace-period/{id}");
    let why = "Their bank is closed for the holidays.";
    let granted = |days: Value| json!({ "graceDays": days, "reason": why });
    admin
        .post(&grace(id_of(&fails)), granted(json!(3)))
        .await
        .fails(409, "INVALID_STATE");
    for days in [json!(0), json!(31), json!(-1), json!("7"), json!(1.5)] {
        let refused = admin
            .post(&grace(id_of(&fails)), granted(days.clone()))
            .await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail("reason").is_none(), "{days}");
    }
    for reason in [Value::Null, json!(""), json!("short")] {
        let body = json!({ "graceDays": 3, "reason": reason });
        let refused = admin.post(&grace(id_of(&fails)), body).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail("reason").is_some(), "{reason}");
    }
    let refused = admin
        .post(&grace(id_of(&fails)), json!({ "graceDays": 3 }))
        .await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("reason").is_some(), "{}", refused.text);
    shop.clock().advance(TimeDelta::days(32));
    let admin = shop.admin().await;
    let run = loop {
        let ran = admin
            .post("/api/admin/billing/process-renewals", json!({}))
            .await;
        if ran.status == 202 {
            break ran;
        }
        // The scheduler may have started the job too.
        ran.fails(409, "CONFLICT");
    };
    let location = run.headers["location"].to_str().unwrap().to_owned();
    let run = run.data(202);
    assert_eq!(
        location,
        format!(
            "/api/admin/jobs/daily-renewals/runs/{}",
            run["id"].as_str().unwrap()
        )
    );
    let mut ended = run;
    while ended["finishedAt"].is_null() {
        ended = admin.get(&location).await.data(200);
    }
    assert_eq!(
        (&ended["status"], &ended["items"]),
        (&json!("SUCCEEDED"), &ended["total"]),
        "{ended:#}"
    );
    shop.sign_in("mampu@example.com")
        .await
        .get(&location)
        .await
        .fails(403, "FORBIDDEN");
    let other = location.replace("daily-renewals", "grace-period");
    admin.get(&other).await.fails(404, "NOT_FOUND");
    let behind = becomes(&shop, id_of(&fails), "PAST_DUE").await;
    let later = admin
        .post(&grace(id_of(&fails)), granted(json!(30)))
        .await
        .data(200);
    assert!(moment(&later["graceUntil"]) > moment(&behind["graceUntil"]));
    let acts = "/api/admin/audit?act=subscription.grace_set";
    let acts = admin.get(acts).await.data(200);
    let acts = acts.as_array().unwrap();
    // Refused requests are not among them.
    assert_eq!(acts.len(), 1, "{acts:#?}");
    let subject = format!("subscription:{}", id_of(&fails));
    assert_eq!(
        (&acts[0]["subject"], &acts[0]["reason"], &acts[0]["details"]),
        (
            &json!(subject),
            &json!(why),
            &json!({ "days": 30, "until": later["graceUntil"] })
        )
    );
    let expire = |id: &str| format!("/api/admin/billing/expire/{id}");
    admin
        .post(&expire(id_of(&fails)), json!({ "reason": "short" }))
        .await
        .fails(400, "VALIDATION_FAILED");
    let ended = admin
        .post(
            &expire(id_of(&fails)),
            json!({ "reason": "The customer asked by telephone." }),
        )
        .await
        .data(200);
    assert_eq!(
        (&ended["status"], &ended["cancelReason"]),
        (
            &json!("EXPIRED"),
            &json!("The customer asked by telephone.")
        )
    );
    admin
        .post(
            &expire(id_of(&fails)),
            json!({ "reason": "The customer asked by telephone." }),
        )
        .await
        .fails(409, "INVALID_STATE");
    admin
        .post(
            &expire(&uuid::Uuid::nil().to_string()),
            json!({ "reason": "The customer asked by telephone." }),
        )
        .await
        .fails(404, "NOT_FOUND");
    shop.books_balance().await;
}
