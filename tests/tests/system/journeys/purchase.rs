//! Tests of purchases, end to end.

use dermaga_tests::{Shop, both_engines};
use serde_json::json;

both_engines!(
    Shop,
    [
        the_whole_way,
        a_free_plan_needs_no_credit,
        a_free_service_coupon_is_a_cost_of_promotions,
        a_welcome_bonus_comes_with_signing_up,
        a_quote_is_the_charge
    ]
);

/// Register, redeem, quote, buy, become ready, show credentials, cancel: and the books balance.
async fn the_whole_way(shop: Shop) {
    let admin = shop.admin().await;
    admin.post("/api/admin/coupons", json!({
        "code": "credit-100k", "plugin": "coupon-credit-topup", "parameters": { "amount": 100_000 },
    })).await.data(201);
    admin.post("/api/admin/coupons", json!({
        "code": "HALF", "plugin": "coupon-subscription-discount", "parameters": { "percent": 50 },
        "services": ["n8n"], "maxUsesPerUser": 1,
    })).await.data(201);

    let customer = shop.customer("siti@example.com").await;
    let preview = customer
        .post(
            "/api/wallet/validate-coupon",
            json!({ "couponCode": "CREDIT-100K" }),
        )
        .await
        .data(200);
    assert_eq!(preview["amount"], 100_000);
    let redeemed = customer
        .post(
            "/api/wallet/redeem-coupon",
            json!({ "couponCode": "CREDIT-100K" }),
        )
        .await
        .data(201);
    assert_eq!(redeemed["transaction"]["type"], "COUPON_REDEMPTION");
    assert_eq!(redeemed["transaction"]["number"], "TXMP-101");

    let plan = shop.plan("n8n", "basic").await;
    let quota = shop.plan_view("n8n", "basic").await["availableQuota"]
        .as_i64()
        .unwrap();
    let order = json!({ "planId": plan, "couponCode": "half" });
    let quote = customer
        .post("/api/subscriptions/quote", order)
        .await
        .data(200);
    assert_eq!(
        (&quote["price"], &quote["discount"], &quote["due"]),
        (&json!(50_000), &json!(25_000), &json!(25_000))
    );
    let sum: i64 = quote["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["amount"].as_i64().unwrap())
        .sum();
    assert_eq!(sum, 25_000, "the lines add up to what is due");

    let order = json!({ "planId": plan, "couponCode": "HALF", "quoteId": quote["id"] });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    assert_eq!(
        (
            &bought["charged"],
            &bought["paidBonus"],
            &bought["paidCash"]
        ),
        (&json!(25_000), &json!(25_000), &json!(0))
    );
    assert_eq!(
        shop.plan_view("n8n", "basic").await["availableQuota"],
        quota - 1
    );

    let instance = shop
        .instance_becomes(&customer, bought["instanceId"].as_str().unwrap(), "RUNNING")
        .await;
    let manifests = customer
        .get(&format!(
            "/api/instances/{}/manifests",
            instance["id"].as_str().unwrap()
        ))
        .await
        .data(200);
    let kinds: Vec<&str> = manifests["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds.contains(&"Deployment") || kinds.contains(&"StatefulSet"),
        "{kinds:?}"
    );
    let credentials = customer
        .get(&format!(
            "/api/instances/{}/credentials",
            instance["id"].as_str().unwrap()
        ))
        .await
        .data(200);
    assert!(
        credentials["url"]
            .as_str()
            .unwrap()
            .contains(instance["hostname"].as_str().unwrap())
    );

    let wallet = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(
        (
            &wallet["totalBalance"],
            &wallet["bonusBalance"],
            &wallet["totalSpent"]
        ),
        (&json!(75_000), &json!(75_000), &json!(25_000))
    );
    let transaction = customer
        .get(&format!(
            "/api/wallet/transactions/{}",
            bought["transaction"].as_str().unwrap()
        ))
        .await
        .data(200);
    assert_eq!(transaction["amount"], -25_000);
    assert_eq!(transaction["couponDecisionId"], bought["couponDecisionId"]);

    for decision in [&bought["priceDecisionId"], &bought["couponDecisionId"]] {
        let path = format!("/api/admin/decisions/{}/replay", decision.as_str().unwrap());
        assert_eq!(
            admin.post(&path, json!(null)).await.data(200)["identical"],
            true
        );
    }

    let id = bought["subscription"]["id"].as_str().unwrap();
    let detail = customer
        .get(&format!("/api/subscriptions/{id}"))
        .await
        .data(200);
    assert_eq!(detail["periods"][0]["discount"], 25_000);
    let ended = customer
        .delete(&format!("/api/subscriptions/{id}"))
        .await
        .data(200);
    assert_eq!(ended["status"], "CANCELLED");
    shop.instance_becomes(&customer, instance["id"].as_str().unwrap(), "TERMINATED")
        .await;
    assert_eq!(
        shop.plan_view("n8n", "basic").await["availableQuota"],
        quota
    );
    customer
        .delete(&format!("/api/subscriptions/{id}"))
        .await
        .fails(409, "INVALID_STATE");
    shop.books_balance().await;
}

/// A free plan needs no credit, and leaves a transaction of 0 rupiah.
async fn a_free_plan_needs_no_credit(shop: Shop) {
    let customer = shop.customer("budi@example.com").await;
    let plan = shop.plan("ghost", "free").await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    assert_eq!(bought["charged"], 0);
    let limit = shop.plan_view("ghost", "free").await["maxInstancesPerUser"]
        .as_u64()
        .unwrap();
    for _ in 1..limit {
        customer
            .post("/api/subscriptions", json!({ "planId": plan }))
            .await
            .data(201);
    }
    customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .fails(409, "INSTANCE_LIMIT_REACHED");
    shop.books_balance().await;
}

/// A coupon for free periods pays the whole first one, and the ledger shows its cost.
async fn a_free_service_coupon_is_a_cost_of_promotions(shop: Shop) {
    let admin = shop.admin().await;
    admin.post("/api/admin/coupons", json!({
        "code": "GRATIS", "plugin": "coupon-free-service", "parameters": { "periods": 2 }, "budget": 60_000,
    })).await.data(201);
    let customer = shop.customer("dewi@example.com").await;
    let plan = shop.plan("n8n", "basic").await;
    let order = json!({ "planId": plan, "couponCode": "GRATIS" });
    let bought = customer
        .post("/api/subscriptions", order.clone())
        .await
        .data(201);
    assert_eq!(
        (&bought["price"], &bought["charged"]),
        (&json!(50_000), &json!(0))
    );
    let other = shop.customer("agus@example.com").await;
    other
        .post("/api/subscriptions", order)
        .await
        .fails(409, "COUPON_BUDGET_SPENT");
    let found = shop.books_balance().await;
    assert_eq!(
        (
            found.accounts["REVENUE"].get(),
            found.accounts["PROMOTIONS"].get()
        ),
        (50_000, -50_000)
    );
}

/// Registration grants a welcome bonus; a failing one does not prevent it.
async fn a_welcome_bonus_comes_with_signing_up(shop: Shop) {
    let admin = shop.admin().await;
    admin.post("/api/admin/coupons", json!({
        "code": "WELCOME", "plugin": "coupon-welcome-bonus", "parameters": { "amount": 10_000 }, "maxUses": 1,
    })).await.data(201);
    let first = shop.register("satu@example.com").await;
    assert_eq!(first["welcomeBonuses"][0]["granted"], true, "{first:#}");
    let second = shop.register("dua@example.com").await;
    assert!(
        second["welcomeBonuses"]
            .as_array()
            .unwrap()
            .iter()
            .all(|bonus| bonus["granted"] == false)
    );
    let wallet = shop
        .sign_in("satu@example.com")
        .await
        .get("/api/wallet/info")
        .await
        .data(200);
    assert_eq!(wallet["bonusBalance"], 10_000);
    shop.books_balance().await;
}

/// A purchase charges the price of its quote, or nothing.
async fn a_quote_is_the_charge(shop: Shop) {
    let customer = shop.customer_with_credit("rina@example.com", 100_000).await;
    let plan = shop.plan("n8n", "basic").await;
    let quote = customer
        .post("/api/subscriptions/quote", json!({ "planId": plan }))
        .await
        .data(200);
    shop.clock().advance(chrono::TimeDelta::minutes(16));
    customer
        .post(
            "/api/subscriptions",
            json!({ "planId": plan, "quoteId": quote["id"] }),
        )
        .await
        .fails(409, "QUOTE_CHANGED");
    let quote = customer
        .post("/api/subscriptions/quote", json!({ "planId": plan }))
        .await
        .data(200);
    let other = shop.plan("n8n", "pro").await;
    customer
        .post(
            "/api/subscriptions",
            json!({ "planId": other, "quoteId": quote["id"] }),
        )
        .await
        .fails(400, "VALIDATION_FAILED");
    let stranger = shop.customer("lain@example.com").await;
    stranger
        .post(
            "/api/subscriptions",
            json!({ "planId": plan, "quoteId": quote["id"] }),
        )
        .await
        .fails(404, "NOT_FOUND");
    customer
        .post(
            "/api/subscriptions",
            json!({ "planId": plan, "quoteId": quote["id"] }),
        )
        .await
        .data(201);
}
