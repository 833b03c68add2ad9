//! Tests of recorded decisions: explained, replayed and filtered.

use chrono::TimeDelta;
use dermaga_runtime::{
    contract::{Decision, Refusal},
    fixtures::CouponFixture,
};
use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

use super::plugins::{giving, install};

both_engines!(
    Shop,
    [
        decisions_are_replayed_by_the_bytes_that_made_them,
        a_replay_points_to_the_value_that_differs,
        a_refusal_on_the_wallet_page_is_explained,
        a_charge_and_a_refusal_are_explained,
        decisions_are_filtered
    ]
);

/// Every decision can be replayed by the version that made it.
async fn decisions_are_replayed_by_the_bytes_that_made_them(shop: Shop) {
    let admin = shop.admin().await;
    install(&admin, giving(1_000, "1.0.0")).await;
    admin
        .post(
            "/api/admin/coupons",
            json!({ "code": "GIFT", "plugin": "coupon-gift", "parameters": {} }),
        )
        .await
        .data(201);
    let customer = shop.customer("ulangi@example.com").await;
    let redeemed = customer
        .post("/api/wallet/redeem-coupon", json!({ "couponCode": "GIFT" }))
        .await
        .data(201);
    install(&admin, giving(2_000, "2.0.0")).await;
    let id = redeemed["decisionId"].as_str().unwrap();
    let decision = admin
        .get(&format!("/api/admin/decisions/{id}"))
        .await
        .data(200);
    assert_eq!(decision["output"]["grant"]["effect"]["credit"], 1_000);
    let replay = admin
        .post(&format!("/api/admin/decisions/{id}/replay"), json!(null))
        .await
        .data(200);
    assert_eq!(
        (&replay["identical"], &replay["pluginVersion"]),
        (&json!(true), &json!("1.0.0"))
    );
    let unknown = format!("/api/admin/decisions/{}/replay", uuid::Uuid::nil());
    admin
        .post(&unknown, json!(null))
        .await
        .fails(404, "NOT_FOUND");
}

/// A replay detects a tampered record and points to the changed value.
async fn a_replay_points_to_the_value_that_differs(shop: Shop) {
    let admin = shop.admin().await;
    install(&admin, giving(1_000, "1.0.0")).await;
    admin
        .post(
            "/api/admin/coupons",
            json!({ "code": "GIFT", "plugin": "coupon-gift", "parameters": {} }),
        )
        .await
        .data(201);
    let customer = shop.customer("beda@example.com").await;
    let redeemed = customer
        .post("/api/wallet/redeem-coupon", json!({ "couponCode": "GIFT" }))
        .await
        .data(201);
    let path = format!(
        "/api/admin/decisions/{}/replay",
        redeemed["decisionId"].as_str().unwrap()
    );
    let replay = async || admin.post(&path, json!(null)).await.data(200);
    let same = replay().await;
    assert_eq!(
        (&same["identical"], &same["firstDifferencePointer"]),
        (&json!(true), &json!(null))
    );

    for sql in ["UPDATE decisions SET fuel = 0", "DELETE FROM decisions"] {
        assert!(shop.sql(sql).await.is_err(), "{sql} was possible");
    }
    shop.drop_decision_triggers().await;
    shop.sql("UPDATE decisions SET output = replace(output, ':1000', ':1001') WHERE function = 'evaluate'").await.unwrap();
    let changed = replay().await;
    assert_eq!(changed["identical"], false, "{changed:#}");
    assert_eq!(
        changed["firstDifferencePointer"], "/grant/effect/credit",
        "{changed:#}"
    );
    let at = usize::try_from(changed["firstDifference"].as_u64().unwrap()).unwrap();
    assert!(
        changed["recorded"].as_str().unwrap()[..at].ends_with(":100"),
        "{changed:#}"
    );

    shop.sql("UPDATE decisions SET output = NULL, failure = 'PLUGIN_TRAPPED' WHERE function = 'evaluate'").await.unwrap();
    let failed = replay().await;
    assert_eq!(
        (&failed["identical"], &failed["firstDifferencePointer"]),
        (&json!(false), &json!(null))
    );
}

/// A refusal on the wallet page is recorded like one at checkout.
async fn a_refusal_on_the_wallet_page_is_explained(shop: Shop) {
    let admin = shop.admin().await;
    let mut fixture = CouponFixture::deciding(Decision::Refuse(Refusal {
        code: "NOT_TODAY".to_owned(),
        message: "Come back tomorrow.".to_owned(),
    }));
    fixture.about.id = "coupon-gift".to_owned();
    install(&admin, fixture.component()).await;
    admin
        .post(
            "/api/admin/coupons",
            json!({ "code": "BESOK", "plugin": "coupon-gift", "parameters": {} }),
        )
        .await
        .data(201);
    let customer = shop.customer("besok@example.com").await;
    let before = admin
        .get("/api/admin/decisions?couponCode=besok")
        .await
        .body["pagination"]["totalItems"]
        .as_u64()
        .unwrap();
    let code = json!({ "couponCode": "BESOK" });
    let asked = customer
        .post("/api/wallet/validate-coupon", code.clone())
        .await;
    assert_eq!(asked.fails(409, "COUPON_REFUSED").detail("decision"), None);
    let refused = customer.post("/api/wallet/redeem-coupon", code).await;
    assert_eq!(
        refused.fails(409, "COUPON_REFUSED").body["message"],
        "Come back tomorrow."
    );
    let decision = admin
        .get(&format!(
            "/api/admin/decisions/{}",
            refused.detail("decision").unwrap()
        ))
        .await
        .data(200);
    assert_eq!(
        decision["output"]["refuse"]["code"], "NOT_TODAY",
        "{decision:#}"
    );
    let after = admin
        .get("/api/admin/decisions?couponCode=besok")
        .await
        .body["pagination"]["totalItems"]
        .as_u64()
        .unwrap();
    assert_eq!(after, before + 1);
}

/// Explanations of charges and refusals: for the customer, and for an administrator by
/// subscription, code or number.
async fn a_charge_and_a_refusal_are_explained(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("kenapa@example.com", 200_000)
        .await;
    for (code, plugin, parameters) in [
        (
            "SEPARUH",
            "coupon-subscription-discount",
            json!({ "percent": 50 }),
        ),
        (
            "MAHAL",
            "coupon-subscription-discount",
            json!({ "percent": 50, "minPrice": 10_000_000 }),
        ),
    ] {
        admin
            .post(
                "/api/admin/coupons",
                json!({ "code": code, "plugin": plugin, "parameters": parameters }),
            )
            .await
            .data(201);
    }
    let plan = shop.plan("postgresql", "basic").await;
    let bought = customer
        .post(
            "/api/subscriptions",
            json!({ "planId": plan, "couponCode": "SEPARUH" }),
        )
        .await
        .data(201);
    let (number, subscription) = (
        bought["transaction"].as_str().unwrap(),
        bought["subscription"]["id"].as_str().unwrap(),
    );

    let path = format!("/api/wallet/transactions/{number}/decisions");
    let why = customer.get(&path).await.data(200);
    assert_eq!(
        (&why[0]["id"], &why[1]["id"]),
        (&bought["priceDecisionId"], &bought["couponDecisionId"])
    );
    assert_eq!(
        (&why[0]["plugin"], &why[1]["plugin"]),
        (
            &json!("service-postgresql"),
            &json!("coupon-subscription-discount")
        )
    );
    assert_eq!(why[1]["title"], "Subscription discount");
    assert!(
        why[0]["reasons"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("costs"),
        "{why:#}"
    );
    assert!(
        why[1]["reasons"][0]["reason"]
            .as_str()
            .unwrap()
            .starts_with("50% off"),
        "{why:#}"
    );
    assert!(why[0].get("input").is_none());
    let id = bought["transactionId"].as_str().unwrap();
    let by_id = format!("/api/wallet/transactions/{id}/decisions");
    assert_eq!(customer.get(&by_id).await.data(200), why);
    shop.customer("tetangga@example.com")
        .await
        .get(&path)
        .await
        .fails(404, "NOT_FOUND");
    customer
        .get("/api/wallet/transactions/TXMP-0/decisions")
        .await
        .fails(404, "NOT_FOUND");

    // A quote leaves no decision; an attempt to buy is recorded, and can be replayed.
    let order = json!({ "planId": plan, "couponCode": "MAHAL" });
    let ids = async |filter: &str| -> Vec<Value> {
        let found = admin
            .get(&format!("/api/admin/decisions?limit=100&{filter}"))
            .await
            .data(200);
        found
            .as_array()
            .unwrap()
            .iter()
            .map(|decision| decision["id"].clone())
            .collect()
    };
    let asked = customer
        .post("/api/subscriptions/quote", order.clone())
        .await;
    assert!(
        asked
            .fails(409, "COUPON_REFUSED")
            .detail("decision")
            .is_none()
    );
    assert!(ids("couponCode=mahal").await.is_empty());
    let refused = customer.post("/api/subscriptions", order.clone()).await;
    let decision = refused
        .fails(409, "COUPON_REFUSED")
        .detail("decision")
        .unwrap()
        .to_owned();
    assert_eq!(ids("couponCode=mahal").await, [json!(decision)]);
    let replay = admin
        .post(
            &format!("/api/admin/decisions/{decision}/replay"),
            json!(null),
        )
        .await
        .data(200);
    assert_eq!(replay["identical"], true, "{replay:#}");
    for _ in 0..25 {
        customer
            .post("/api/subscriptions", order.clone())
            .await
            .fails(409, "COUPON_REFUSED");
    }
    // Two of the twenty decisions were grants.
    assert_eq!(
        ids("couponCode=MAHAL").await.len(),
        18,
        "refusals are recorded without end"
    );

    let both = [
        bought["priceDecisionId"].clone(),
        bought["couponDecisionId"].clone(),
    ];
    let of_transaction = ids(&format!("transaction={number}")).await;
    assert!(
        of_transaction.len() == 2 && both.iter().all(|id| of_transaction.contains(id)),
        "{of_transaction:?}"
    );
    let of_subscription = ids(&format!("subscriptionId={subscription}")).await;
    assert!(
        both.iter().all(|id| of_subscription.contains(id)),
        "{of_subscription:?}"
    );
    assert_eq!(
        ids("couponCode=separuh").await,
        [bought["couponDecisionId"].clone()]
    );
    assert!(ids("couponCode=nothing").await.is_empty());
}

/// Decisions are filtered by digest, outcome and time.
async fn decisions_are_filtered(shop: Shop) {
    let admin = shop.admin().await;
    // Registered before there is a coupon, which would add a decision at sign-up.
    let customer = shop.customer("saring@example.com").await;
    let first = install(&admin, giving(1_000, "1.0.0")).await;
    admin
        .post(
            "/api/admin/coupons",
            json!({ "code": "GIFT", "plugin": "coupon-gift", "parameters": {} }),
        )
        .await
        .data(201);
    let redeem = async || {
        customer
            .post("/api/wallet/redeem-coupon", json!({ "couponCode": "GIFT" }))
            .await
            .data(201)
    };
    redeem().await;
    shop.clock().advance(TimeDelta::seconds(10));
    install(&admin, giving(2_000, "2.0.0")).await;
    redeem().await;

    let list = async |filter: &str| {
        let path = format!("/api/admin/decisions?plugin=coupon-gift&function=evaluate&{filter}");
        admin.get(&path).await
    };
    let versions = async |filter: &str| {
        let found = list(filter).await;
        let total = found.body["pagination"]["totalItems"].as_u64().unwrap();
        let found = found.data(200).as_array().unwrap().clone();
        assert_eq!(usize::try_from(total).unwrap(), found.len(), "{filter}");
        let version = |decision: &Value| decision["pluginVersion"].as_str().unwrap().to_owned();
        found.iter().map(version).collect::<Vec<_>>()
    };
    let all = list("").await.data(200);
    let at = |position: usize| all[position]["createdAt"].as_str().unwrap();
    let (later, earlier) = (at(0), at(1));
    let (one, two) = (["1.0.0"], ["2.0.0"]);
    assert_eq!(versions("").await, ["2.0.0", "1.0.0"]);
    assert_eq!(
        versions(&format!("digest={}", first.as_str().unwrap())).await,
        one
    );
    assert_eq!(
        versions(&format!("digest={}", "0".repeat(64))).await,
        [""; 0]
    );
    assert_eq!(versions("version=2.0.0").await, two);
    assert_eq!(versions(&format!("since={later}")).await, two);
    assert_eq!(versions(&format!("until={later}")).await, one);
    assert_eq!(
        versions(&format!("since={earlier}&until={later}")).await,
        one
    );
    assert_eq!(
        versions(&format!("version=1.0.0&since={later}")).await,
        [""; 0]
    );
    assert_eq!(versions("outcome=answered").await, ["2.0.0", "1.0.0"]);
    assert_eq!(versions("outcome=failed").await, [""; 0]);
    shop.drop_decision_triggers().await;
    shop.sql("UPDATE decisions SET output = NULL, failure = 'PLUGIN_TRAPPED' WHERE plugin_version = '2.0.0'").await.unwrap();
    assert_eq!(versions("outcome=answered").await, one);
    assert_eq!(versions("outcome=failed").await, two);

    let second_page = list(&format!("since={earlier}&limit=1&page=2")).await;
    assert_eq!(second_page.body["pagination"]["totalItems"], 2);
    assert_eq!(second_page.data(200)[0]["pluginVersion"], "1.0.0");
    for bad in [
        "outcome=maybe",
        "digest=abc",
        &format!("digest={}", "z".repeat(64)),
        "transaction=101",
        "subscriptionId=x",
        "since=yesterday",
        &format!("since={later}&until={earlier}"),
    ] {
        list(bad).await.fails(400, "VALIDATION_FAILED");
    }
    customer
        .get("/api/admin/decisions?outcome=failed")
        .await
        .fails(403, "FORBIDDEN");
}
