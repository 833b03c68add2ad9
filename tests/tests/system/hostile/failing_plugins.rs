//! Tests of plugins that passed every check and fail in use: answers name the plugin and a code,
//! nothing is charged, and waiting instances name the plugin.

use dermaga_runtime::fixtures::{CouponFixture, Misdeed, ServiceFixture};
use dermaga_tests::{Answer, Client, Shop, both_engines};
use serde_json::{Value, json};

/// Builds a plugin for N8N that traps in one function. Each has its own digest, and so its own
/// circuit breaker.
fn n8n_failing_at(function: &str) -> Vec<u8> {
    let mut fixture = ServiceFixture::misbehaving(function, Misdeed::Trap);
    fixture.about.id = "service-n8n".to_owned();
    fixture.component()
}

async fn put_in_place(shop: &Shop, plugin: &str, component: &[u8]) -> String {
    let digest = shop.put_in_place(plugin, component).await;
    shop.state().plugins.refresh().await.unwrap();
    digest
}

#[track_caller]
fn names(answer: &Answer, plugin: &str, function: &str) {
    answer.fails(502, "PLUGIN_FAILED");
    assert_eq!(answer.detail("plugin"), Some(plugin), "{:#}", answer.body);
    assert_eq!(
        answer.detail("function"),
        Some(function),
        "{:#}",
        answer.body
    );
    assert_eq!(
        answer.detail("code"),
        Some("PLUGIN_TRAPPED"),
        "{:#}",
        answer.body
    );
}

/// Returns a customer's possessions: credit, transactions, subscriptions, uses of coupons.
async fn belongings(customer: &Client) -> Value {
    let wallet = customer.get("/api/wallet/info").await.data(200);
    let count = async |path: &str| {
        let answer = customer.get(path).await;
        answer.body["pagination"]["totalItems"].clone()
    };
    json!([
        wallet["paidBalance"],
        wallet["bonusBalance"],
        count("/api/wallet/transactions").await,
        count("/api/subscriptions").await,
        count("/api/wallet/coupon-history").await,
    ])
}

both_engines!(
    Shop,
    [
        a_service_that_fails_at_the_checkout,
        a_service_that_fails_after_the_checkout,
        functions_are_suspended_apart,
        a_change_of_plan_that_is_denied,
        a_coupon_that_fails
    ]
);

/// A failure of a service's plugin in any function ends the checkout and nothing else.
async fn a_service_that_fails_at_the_checkout(shop: Shop) {
    let customer = shop
        .customer_with_credit("kasir@example.com", 500_000)
        .await;
    let order = json!({ "planId": shop.plan("n8n", "basic").await });
    let before = belongings(&customer).await;
    for function in ["check", "price"] {
        put_in_place(&shop, "service-n8n", &n8n_failing_at(function)).await;
        for path in [
            "/api/subscriptions/quote",
            "/api/subscriptions/validate",
            "/api/subscriptions",
        ] {
            names(
                &customer.post(path, order.clone()).await,
                "service-n8n",
                function,
            );
        }
        assert_eq!(belongings(&customer).await, before, "{function}");
    }
    // A quote renders nothing; a purchase renders before it charges.
    put_in_place(&shop, "service-n8n", &n8n_failing_at("manifests")).await;
    for path in ["/api/subscriptions/validate", "/api/subscriptions"] {
        names(
            &customer.post(path, order.clone()).await,
            "service-n8n",
            "manifests",
        );
    }
    assert_eq!(belongings(&customer).await, before);
    // Other services are still sold.
    let other = json!({ "planId": shop.plan("postgresql", "basic").await });
    customer.post("/api/subscriptions", other).await.data(201);
    shop.books_balance().await;
}

/// For a paid instance: a change of plan is not charged, credentials are not shown, and the
/// instance waits with the reason, is retried, and continues with a working version.
async fn a_service_that_fails_after_the_checkout(shop: Shop) {
    let customer = shop
        .customer_with_credit("sudah@example.com", 500_000)
        .await;
    let (basic, pro) = (
        shop.plan("n8n", "basic").await,
        shop.plan("n8n", "pro").await,
    );
    let buy = async |function: &str| {
        put_in_place(&shop, "service-n8n", &n8n_failing_at(function)).await;
        let bought = customer
            .post("/api/subscriptions", json!({ "planId": basic }))
            .await
            .data(201);
        let text = |pointer: &str| {
            bought
                .pointer(pointer)
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        };
        (text("/subscription/id"), text("/instanceId"))
    };

    let (subscription, instance) = buy("plan-change").await;
    shop.instance_becomes(&customer, &instance, "RUNNING").await;
    let before = belongings(&customer).await;
    let path = format!("/api/subscriptions/{subscription}/upgrade");
    names(
        &customer
            .post(&format!("{path}-quote"), json!({ "planId": pro }))
            .await,
        "service-n8n",
        "plan-change",
    );
    names(
        &customer.put(&path, json!({ "planId": pro })).await,
        "service-n8n",
        "plan-change",
    );
    assert_eq!(belongings(&customer).await, before);
    customer
        .delete(&format!("/api/subscriptions/{subscription}"))
        .await
        .data(200);

    let (subscription, instance) = buy("access").await;
    shop.instance_becomes(&customer, &instance, "RUNNING").await;
    names(
        &customer
            .get(&format!("/api/instances/{instance}/credentials"))
            .await,
        "service-n8n",
        "access",
    );
    customer
        .delete(&format!("/api/subscriptions/{subscription}"))
        .await
        .data(200);

    let (_, instance) = buy("health").await;
    shop.instance_becomes(&customer, &instance, "RUNNING").await;
    let digest = put_in_place(&shop, "service-n8n", &n8n_failing_at("manifests")).await;
    let moved = format!(
        "UPDATE instances SET plugin_digest = '{digest}', generation = generation + 1,
        next_attempt_at = created_at WHERE desired = 'RUNNING'"
    );
    shop.rewrite(&[moved]).await.unwrap();
    shop.state().instances.handle.wake();
    let waits = loop {
        let waits = customer
            .get(&format!("/api/instances/{instance}"))
            .await
            .data(200);
        if waits["message"].as_str().unwrap().contains("service-n8n") {
            break waits;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_ne!(waits["status"], "WRITTEN", "{waits:#}");
    shop.books_balance().await;
}

/// Functions are suspended separately: `manifests` that keeps failing is suspended and
/// reported, although `price` answers between its calls and keeps selling.
async fn functions_are_suspended_apart(shop: Shop) {
    let customer = shop
        .customer_with_credit("pisah@example.com", 500_000)
        .await;
    let basic = shop.plan("n8n", "basic").await;
    customer
        .post("/api/subscriptions", json!({ "planId": basic }))
        .await
        .data(201);
    let failing = put_in_place(&shop, "service-n8n", &n8n_failing_at("manifests")).await;
    let admin = shop.admin().await;
    let preview = json!({ "to": failing, "dryRun": true });
    let mut codes = Vec::new();
    for _ in 0..6 {
        customer
            .post("/api/subscriptions/quote", json!({ "planId": basic }))
            .await
            .data(200);
        let moves = admin
            .post("/api/admin/plugins/service-n8n/moves", preview.clone())
            .await
            .data(200);
        codes.push(
            moves["instances"][0]["reason"]
                .as_str()
                .unwrap()
                .contains("PLUGIN_SUSPENDED"),
        );
    }
    assert_eq!(codes, [false, false, false, false, false, true]);
    let alerts = admin
        .get("/api/admin/alerts?kind=PLUGIN_SUSPENDED&state=OPEN")
        .await
        .data(200);
    assert!(
        alerts[0]["message"]
            .as_str()
            .unwrap()
            .starts_with("The manifests of service-n8n"),
        "{alerts:#}"
    );
    customer
        .post("/api/subscriptions/quote", json!({ "planId": basic }))
        .await
        .data(200);
}

/// A plugin that denies a change of plan has its reason shown; an upgrade leaves a decision to
/// replay, a quote leaves nothing.
async fn a_change_of_plan_that_is_denied(shop: Shop) {
    let mut fixture = ServiceFixture {
        denies_plan_changes: Some("Not this way.".to_owned()),
        ..ServiceFixture::default()
    };
    fixture.about.id = "service-n8n".to_owned();
    put_in_place(&shop, "service-n8n", &fixture.component()).await;
    let customer = shop
        .customer_with_credit("tolak@example.com", 500_000)
        .await;
    let (basic, pro) = (
        shop.plan("n8n", "basic").await,
        shop.plan("n8n", "pro").await,
    );
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": basic }))
        .await
        .data(201);
    shop.instance_becomes(&customer, bought["instanceId"].as_str().unwrap(), "RUNNING")
        .await;
    let before = belongings(&customer).await;
    let path = format!(
        "/api/subscriptions/{}/upgrade",
        bought["subscription"]["id"].as_str().unwrap()
    );
    let asked = customer
        .post(&format!("{path}-quote"), json!({ "planId": pro }))
        .await;
    assert_eq!(
        asked.fails(400, "PLUGIN_REFUSED_INPUT").detail("decision"),
        None
    );
    let wanted = customer.put(&path, json!({ "planId": pro })).await;
    assert_eq!(
        wanted.fails(400, "PLUGIN_REFUSED_INPUT").body["message"],
        "Not this way."
    );
    let decision = wanted.detail("decision").unwrap();
    let admin = shop.admin().await;
    let of_changes = admin
        .get("/api/admin/decisions?function=plan-change")
        .await
        .data(200);
    assert_eq!(
        (of_changes.as_array().unwrap().len(), &of_changes[0]["id"]),
        (1, &json!(decision))
    );
    let replay = admin
        .post(
            &format!("/api/admin/decisions/{decision}/replay"),
            json!(null),
        )
        .await
        .data(200);
    assert_eq!(replay["identical"], true, "{replay:#}");
    assert_eq!(belongings(&customer).await, before);
}

/// A failing coupon rule: it is not redeemed, purchases with it fail, and registration still
/// works.
async fn a_coupon_that_fails(shop: Shop) {
    let admin = shop.admin().await;
    for (code, plugin, parameters) in [
        ("ISI", "coupon-credit-topup", json!({ "amount": 1_000 })),
        (
            "DISKON",
            "coupon-subscription-discount",
            json!({ "percent": 10 }),
        ),
        ("HALO", "coupon-welcome-bonus", json!({ "amount": 1_000 })),
    ] {
        admin
            .post(
                "/api/admin/coupons",
                json!({ "code": code, "plugin": plugin, "parameters": parameters }),
            )
            .await
            .data(201);
    }
    let customer = shop
        .customer_with_credit("kupon@example.com", 500_000)
        .await;
    let before = belongings(&customer).await;
    let failing = |id: &str, function: &str| {
        let mut fixture = CouponFixture::misbehaving(function, Misdeed::Trap);
        fixture.about.id = id.to_owned();
        fixture.component()
    };
    put_in_place(
        &shop,
        "coupon-credit-topup",
        &failing("coupon-credit-topup", "evaluate"),
    )
    .await;
    for path in ["/api/wallet/validate-coupon", "/api/wallet/redeem-coupon"] {
        names(
            &customer.post(path, json!({ "couponCode": "ISI" })).await,
            "coupon-credit-topup",
            "evaluate",
        );
    }
    let failed = admin
        .get("/api/admin/decisions?couponCode=isi")
        .await
        .data(200);
    assert!(
        failed
            .as_array()
            .unwrap()
            .iter()
            .all(|call| call["failure"] == "PLUGIN_TRAPPED"),
        "{failed:#}"
    );
    assert_eq!(failed.as_array().unwrap().len(), 2);
    put_in_place(
        &shop,
        "coupon-subscription-discount",
        &failing("coupon-subscription-discount", "check"),
    )
    .await;
    let new = json!({ "code": "BARU", "plugin": "coupon-subscription-discount", "parameters": {} });
    names(
        &admin.post("/api/admin/coupons", new).await,
        "coupon-subscription-discount",
        "check",
    );
    assert_eq!(belongings(&customer).await, before);

    put_in_place(
        &shop,
        "coupon-welcome-bonus",
        &failing("coupon-welcome-bonus", "evaluate"),
    )
    .await;
    let registered = shop.register("baru@example.com").await;
    let bonuses = registered["welcomeBonuses"].as_array().unwrap();
    let greeting = bonuses
        .iter()
        .find(|bonus| bonus["couponCode"] == "HALO")
        .unwrap();
    assert_eq!(greeting["granted"], false, "{registered:#}");
    assert!(
        greeting["message"]
            .as_str()
            .unwrap()
            .contains("coupon-welcome-bonus"),
        "{registered:#}"
    );
    shop.books_balance().await;
}
