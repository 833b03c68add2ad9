//! Tests of thaws: a new period is charged once, at the price of the customer. The prices are those of
//! `freezing.rs`.

use chrono::TimeDelta;
use dermaga_shop::billing::{process_grace, renew_due};
use dermaga_tests::{Shop, both_engines};
use futures::future::join_all;
use serde_json::json;

use crate::journeys::{
    freezing::{balance, buy, freeze, frozen, later, state, thaw},
    overdue,
    renewal::{becomes, give, id_of, moment, next_period, subscription},
    upgrade::customer_with_cash,
};

// The nightly job rests: what a test renews, nothing else has renewed before.
both_engines!(
    overdue,
    [
        a_thaw_charges_a_new_period_and_never_fails_for_quota,
        a_thaw_with_too_little_money_changes_nothing,
        what_an_unpaid_thaw_is_said_to_cost_is_enough,
        a_freeze_that_waits_is_not_lost_with_the_renewal,
        concurrent_freezes_and_thaws_charge_once,
        a_coupon_waits_while_frozen_and_a_term_comes_back_whole
    ]
);

/// Half a month into the second frozen month, with the plan sold out and off sale.
async fn a_thaw_charges_a_new_period_and_never_fails_for_quota(shop: Shop) {
    let (_, bought) = frozen(&shop, "cair@example.com", 120_000, 1).await;
    let id = id_of(&bought);
    next_period(&shop, id).await;
    shop.clock().advance(TimeDelta::days(15));
    let plan = shop.plan("n8n", "basic").await;
    shop.leave_quota(&plan, 0).await;
    shop.sql("UPDATE service_plans SET active = FALSE")
        .await
        .unwrap();
    let customer = shop.sign_in("cair@example.com").await;
    let path = format!("/api/subscriptions/{id}/thaw");
    let info = format!("/api/subscriptions/{id}/billing-info");
    assert_eq!(customer.get(&info).await.data(200)["thaw"], 50_000);
    customer
        .post(&path, json!({ "maxCharge": 49_999 }))
        .await
        .fails(409, "QUOTE_CHANGED");
    let thawed = thaw(&customer, id).await;
    let message = thawed.body["message"].clone();
    let thawed = thawed.data(200);
    assert_eq!(
        (&thawed["charged"], &thawed["subscription"]["freezeState"]),
        (&json!(50_000), &json!("NONE"))
    );
    assert_eq!(thawed["lines"].as_array().unwrap().len(), 1);
    let seen = &thawed["subscription"];
    let (start, end) = (moment(&seen["periodStart"]), moment(&seen["periodEnd"]));
    assert!((shop.clock().now() - start).num_seconds() < 60);
    assert_eq!(end, later(start, 1));
    let end = shop.clock().written(end);
    let told = format!("It is being started. Rp50.000 was charged. The period ends on {end}.");
    assert_eq!(message, told);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    assert_eq!(balance(&customer).await, 0);
    thaw(&customer, id).await.fails(409, "INVALID_STATE");
    give(
        &shop,
        customer.get("/api/auth/profile").await.data(200)["id"]
            .as_str()
            .unwrap(),
        50_000,
    )
    .await;
    let renewed = next_period(&shop, id).await;
    assert_eq!(
        (
            &renewed["periods"][0]["price"],
            &renewed["periods"][0]["number"]
        ),
        (&json!(50_000), &json!(5))
    );
    assert_eq!(moment(&renewed["periodEnd"]), later(start, 2));
    shop.books_balance().await;
}

async fn a_thaw_with_too_little_money_changes_nothing(shop: Shop) {
    let (customer, bought) = frozen(&shop, "kurang-cair@example.com", 109_999, 1).await;
    let id = id_of(&bought);
    let before = subscription(&shop, id).await;
    assert_eq!(balance(&customer).await, 49_999);
    for answer in join_all((0..3).map(|_| thaw(&customer, id))).await {
        answer.fails(402, "INSUFFICIENT_CREDIT");
    }
    assert_eq!(subscription(&shop, id).await["periods"], before["periods"]);
    assert_eq!(subscription(&shop, id).await["freezeState"], "FROZEN");
    assert_eq!(balance(&customer).await, 49_999);
    shop.books_balance().await;
}

/// In grace, and suspended: the renewal takes a month of storage as soon as the money is there, and the rest
/// is still enough for the thaw.
async fn what_an_unpaid_thaw_is_said_to_cost_is_enough(shop: Shop) {
    for (email, status) in [
        ("tiga-hari@example.com", "PAST_DUE"),
        ("sembilan-hari@example.com", "SUSPENDED"),
    ] {
        let customer = customer_with_cash(&shop, email, 50_000).await;
        let bought = buy(&shop, &customer, 1, None).await;
        let id = id_of(&bought);
        freeze(&customer, id).await.data(200);
        next_period(&shop, id).await;
        shop.clock().advance(TimeDelta::days(3));
        if status == "SUSPENDED" {
            shop.clock().advance(TimeDelta::days(6));
            process_grace(&shop.state().subscriptions).await.unwrap();
        }
        let unpaid = becomes(&shop, id, status).await;
        assert_eq!(unpaid["freezeState"], "FROZEN");
        let customer = shop.sign_in(email).await;
        let info = format!("/api/subscriptions/{id}/billing-info");
        let named = customer.get(&info).await.data(200)["thaw"].clone();
        assert_eq!((&named, balance(&customer).await), (&json!(60_000), 0));
        let user = customer.get("/api/auth/profile").await.data(200)["id"].clone();
        give(&shop, user.as_str().unwrap(), 60_000).await;
        becomes(&shop, id, "ACTIVE").await;
        assert_eq!(balance(&customer).await, 50_000);
        let path = format!("/api/subscriptions/{id}/thaw");
        let thawed = customer.post(&path, json!({ "maxCharge": named })).await;
        assert_eq!(thawed.data(200)["charged"], 50_000);
        assert_eq!(balance(&customer).await, 0);
    }
    shop.books_balance().await;
}

/// It would end with its period, with its data, though its customer wants to keep them. What ends at once is
/// not to be frozen any more.
async fn a_freeze_that_waits_is_not_lost_with_the_renewal(shop: Shop) {
    let customer = customer_with_cash(&shop, "menunggu-beku@example.com", 100_000).await;
    let bought = buy(&shop, &customer, 1, None).await;
    let id = id_of(&bought);
    freeze(&customer, id).await.data(200);
    let path = format!("/api/subscriptions/{id}");
    let off = json!({ "autoRenew": false });
    let renewal = format!("{path}/auto-renew");
    let refused = customer.put(&renewal, off.clone()).await;
    refused.fails(409, "INVALID_STATE");
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("thaw"), "{message}");
    let at_end = json!({ "at": "period_end" });
    let refused = customer.delete_with(&path, at_end).await;
    refused.fails(409, "INVALID_STATE");
    let seen = subscription(&shop, id).await;
    assert_eq!(
        (&seen["autoRenew"], &seen["freezeState"]),
        (&json!(true), &json!("PENDING"))
    );
    thaw(&customer, id).await.data(200);
    customer.put(&renewal, off).await.data(200);
    customer
        .put(&renewal, json!({ "autoRenew": true }))
        .await
        .data(200);
    freeze(&customer, id).await.data(200);
    let ended = customer.delete(&path).await.data(200);
    assert_eq!(ended["freezeState"], "NONE");

    let bought = buy(&shop, &customer, 1, None).await;
    freeze(&customer, id_of(&bought)).await.data(200);
    let path = format!("/api/admin/subscriptions/{}/expire", id_of(&bought));
    let body = json!({ "reason": "The service is misused." });
    let ended = shop.admin().await.put(&path, body).await.data(200);
    assert_eq!(
        (&ended["status"], &ended["freezeState"]),
        (&json!("EXPIRED"), &json!("NONE"))
    );
}

/// Double calls, and a thaw beside the renewal of the storage.
async fn concurrent_freezes_and_thaws_charge_once(shop: Shop) {
    let customer = customer_with_cash(&shop, "serentak-beku@example.com", 1_000_000).await;
    let bought = buy(&shop, &customer, 1, None).await;
    let id = id_of(&bought);
    for answer in join_all((0..6).map(|_| freeze(&customer, id))).await {
        answer.data(200);
    }
    for round in 0..4 {
        let both = join_all((0..6).map(|one| {
            let customer = &customer;
            async move {
                if one % 2 == 0 {
                    freeze(customer, id).await
                } else {
                    thaw(customer, id).await
                }
            }
        }));
        for answer in both.await {
            assert!(
                answer.status == 200 || answer.status == 409,
                "{round}: {}",
                answer.status
            );
        }
    }
    freeze(&customer, id).await.data(200);
    let seen = next_period(&shop, id).await;
    assert_eq!(seen["freezeState"], "FROZEN");
    assert_eq!(seen["periods"].as_array().unwrap().len(), 2);
    let end = moment(&seen["periodEnd"]);
    shop.clock().advance(end - shop.clock().now());
    let customer = shop.sign_in("serentak-beku@example.com").await;
    let before = balance(&customer).await;
    let thaws = join_all((0..6).map(|_| thaw(&customer, id)));
    let renewals = join_all((0..3).map(|_| renew_due(&shop.state().subscriptions)));
    let (answers, outcomes) = futures::future::join(thaws, renewals).await;
    for outcome in outcomes {
        assert_eq!(outcome.unwrap().errors, Vec::<String>::new());
    }
    let done: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .collect();
    assert_eq!(done.len(), 1);
    let seen = subscription(&shop, id).await;
    assert_eq!(state(&seen), (&json!("ACTIVE"), &json!("NONE")));
    let periods = seen["periods"].as_array().unwrap().iter();
    let paid: i64 = periods
        .skip_while(|period| period["number"] == 0)
        .map(|period| period["price"].as_i64().unwrap())
        .sum();
    assert_eq!(1_000_000 - paid, balance(&customer).await);
    assert!(
        before - balance(&customer).await <= 60_001,
        "one month, and its storage at most"
    );
    shop.books_balance().await;
}

async fn a_coupon_waits_while_frozen_and_a_term_comes_back_whole(shop: Shop) {
    let body = json!({ "code": "DUABELAS", "plugin": "coupon-subscription-discount", "lasts": 18,
        "parameters": { "percent": 50 } });
    shop.admin()
        .await
        .post("/api/admin/coupons", body)
        .await
        .data(201);
    let customer = customer_with_cash(&shop, "tahun-beku@example.com", 1_000_000).await;
    let bought = buy(&shop, &customer, 12, Some("DUABELAS")).await;
    let id = id_of(&bought);
    assert_eq!(
        (
            &bought["charged"],
            &bought["subscription"]["couponPeriodsLeft"]
        ),
        (&json!(255_000), &json!(6))
    );
    freeze(&customer, id).await.data(200);
    let seen = next_period(&shop, id).await;
    let period = &seen["periods"][0];
    assert_eq!(
        (&period["price"], &period["discount"], &period["months"]),
        (&json!(10_000), &json!(0), &json!(1))
    );
    assert_eq!(seen["couponPeriodsLeft"], 6);
    let customer = shop.sign_in("tahun-beku@example.com").await;
    let thawed = thaw(&customer, id).await.data(200);
    // Six of twelve months at half the price.
    assert_eq!(thawed["charged"], 510_000 - 127_500);
    let seen = &thawed["subscription"];
    assert_eq!(
        (
            &seen["termMonths"],
            &seen["termPrice"],
            &seen["couponPeriodsLeft"]
        ),
        (&json!(12), &json!(510_000), &json!(0))
    );
    assert_eq!(
        moment(&seen["periodEnd"]),
        later(moment(&seen["periodStart"]), 12)
    );
    shop.books_balance().await;
}
