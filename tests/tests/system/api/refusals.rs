//! Tests of bad input: a clear sentence and a code, and nothing half-done.

use dermaga_tests::{Shop, both_engines};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

both_engines!(
    Shop,
    [
        every_failure_has_the_envelope,
        what_no_reader_can_take_is_refused_and_not_kept,
        orders_are_refused_for_their_own_reason,
        whole_numbers_reach_plugins_as_such,
        a_dry_run_names_what_is_wrong_with_its_input,
        a_dry_run_of_an_unknown_plugin_is_not_found,
        what_is_not_yours_does_not_exist,
        coupons_are_checked
    ]
);

/// Every failure has the envelope.
async fn every_failure_has_the_envelope(shop: Shop) {
    let nobody = shop.client();
    nobody
        .get("/api/nowhere")
        .await
        .fails(404, "ROUTE_NOT_FOUND");
    nobody.get("/nowhere").await.fails(404, "ROUTE_NOT_FOUND");
    nobody
        .delete("/api/catalog/services")
        .await
        .fails(405, "METHOD_NOT_ALLOWED");
    nobody
        .get("/api/wallet/info")
        .await
        .fails(401, "UNAUTHENTICATED");
    nobody
        .with_token("not.a.token")
        .get("/api/wallet/info")
        .await
        .fails(401, "UNAUTHENTICATED");
    nobody
        .get("/api/catalog/services/nothing")
        .await
        .fails(404, "NOT_FOUND");
    nobody
        .get("/api/catalog/services?limit=101")
        .await
        .fails(400, "VALIDATION_FAILED");
    nobody
        .get("/api/catalog/services?page=-1")
        .await
        .fails(400, "VALIDATION_FAILED");
    nobody
        .get("/api/catalog/services?colour=blue")
        .await
        .fails(400, "VALIDATION_FAILED");

    let customer = shop.customer("siapa@example.com").await;
    let post = |body: &'static str, kind: &'static str| {
        let request = customer
            .request(Method::POST, "/api/wallet/redeem-coupon")
            .header("content-type", kind)
            .body(body);
        customer.send(request)
    };
    post("{", "application/json")
        .await
        .fails(400, "MALFORMED_REQUEST");
    post(" ", "application/json")
        .await
        .fails(400, "MALFORMED_REQUEST");
    for kind in ["application/json", "text/plain"] {
        let refused = post("", kind).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert_eq!(refused.detail("couponCode"), Some("is missing"), "{kind}");
    }
    post("{}", "text/plain")
        .await
        .fails(415, "UNSUPPORTED_MEDIA_TYPE");
    post("[]", "application/json")
        .await
        .fails(400, "VALIDATION_FAILED");
    let large = format!(r#"{{"couponCode": "{}"}}"#, "A".repeat(2_000_000));
    let request = customer
        .request(Method::POST, "/api/wallet/redeem-coupon")
        .header("content-type", "application/json")
        .body(large);
    customer.send(request).await.fails(413, "PAYLOAD_TOO_LARGE");
    let unknown = customer
        .post(
            "/api/wallet/redeem-coupon",
            json!({ "couponCode": "ABC", "amount": 5 }),
        )
        .await;
    assert!(
        unknown
            .fails(400, "VALIDATION_FAILED")
            .detail("amount")
            .is_some(),
        "{:#}",
        unknown.body
    );
    customer
        .post("/api/wallet/redeem-coupon", json!({ "couponCode": 5 }))
        .await
        .fails(400, "VALIDATION_FAILED");
    customer
        .post(
            "/api/wallet/redeem-coupon",
            json!({ "couponCode": "A".repeat(10_000) }),
        )
        .await
        .fails(400, "VALIDATION_FAILED");
    customer
        .post(
            "/api/wallet/redeem-coupon",
            json!({ "couponCode": "'; DROP TABLE coupons; --" }),
        )
        .await
        .fails(400, "VALIDATION_FAILED");
    customer
        .post(
            "/api/wallet/redeem-coupon",
            json!({ "couponCode": "UNKNOWN" }),
        )
        .await
        .fails(404, "COUPON_NOT_FOUND");
    for amount in [
        json!(-1),
        json!(0.5),
        json!("100"),
        json!(i64::MAX),
        json!(1e300),
    ] {
        customer
            .post("/api/wallet/check-credit", json!({ "amount": amount }))
            .await
            .fails(400, "VALIDATION_FAILED");
    }
}

/// Bodies nested without end, and bytes that are not UTF-8, in each place that a request has for them.
async fn what_no_reader_can_take_is_refused_and_not_kept(shop: Shop) {
    let customer = shop.customer("dalam@example.com").await;
    let (admin, plan) = (shop.admin().await, shop.plan("n8n", "basic").await);
    let send = async |method: Method, path: &str, body: Vec<u8>| {
        let request = customer.request(method, path);
        let request = request.header("content-type", "application/json");
        customer.send(request.body(body)).await
    };
    let deep = "[".repeat(500) + &"]".repeat(500);
    let config = format!(r#"{{"planId": "{plan}", "config": {{"a": {deep}}}}}"#);
    for path in ["/api/subscriptions", "/api/subscriptions/quote"] {
        for body in [deep.clone(), config.clone()] {
            let refused = send(Method::POST, path, body.into_bytes()).await;
            refused.fails(400, "MALFORMED_REQUEST");
            let said = refused.body["message"].as_str().unwrap();
            assert!(said.contains("is nested too deeply"), "{path}: {said}");
        }
    }
    let dry_run = format!(r#"{{"function": "check", "input": {deep}}}"#);
    let request = admin
        .request(
            Method::POST,
            "/api/admin/plugins/coupon-credit-topup/dry-run",
        )
        .header("content-type", "application/json");
    let refused = admin.send(request.body(dry_run)).await;
    refused.fails(400, "MALFORMED_REQUEST");

    for (method, path, body) in [
        (
            Method::PUT,
            "/api/user/profile",
            &b"{\"name\": \"Si\xffapa\"}"[..],
        ),
        (
            Method::POST,
            "/api/wallet/redeem-coupon",
            b"{\"couponCode\": \"\xc3\"}",
        ),
    ] {
        let refused = send(method, path, body.to_vec()).await;
        refused.fails(400, "MALFORMED_REQUEST");
    }
    let profile = customer.get("/api/user/profile").await.data(200);
    assert_eq!(profile["name"], "Pelanggan");
    // A part of the address names nothing, and a number or an id is none.
    for (path, status, code) in [
        ("/api/catalog/services/%ff", 404, "NOT_FOUND"),
        ("/api/wallet/transactions/TX-%c3", 404, "NOT_FOUND"),
        ("/api/instances/%ff", 404, "NOT_FOUND"),
        ("/api/%ff", 404, "ROUTE_NOT_FOUND"),
        ("/api/notifications?page=%ff", 400, "VALIDATION_FAILED"),
        ("/api/notifications?%ff=1", 400, "VALIDATION_FAILED"),
    ] {
        customer.get(path).await.fails(status, code);
    }
    for list in ["/api/subscriptions", "/api/instances"] {
        let kept = customer.get(list).await.data(200);
        assert_eq!(kept, json!([]), "{list}");
    }
    shop.books_balance().await;
}

/// An order that cannot be fulfilled is refused with its own reason, and nothing is written.
async fn orders_are_refused_for_their_own_reason(shop: Shop) {
    let customer = shop.customer_with_credit("beli@example.com", 10_000).await;
    let plan = shop.plan("n8n", "basic").await;
    let buy = |body| customer.post("/api/subscriptions", body);
    buy(json!({ "planId": Uuid::nil() }))
        .await
        .fails(404, "NOT_FOUND");
    buy(json!({ "planId": "basic" }))
        .await
        .fails(400, "VALIDATION_FAILED");
    buy(json!({})).await.fails(400, "VALIDATION_FAILED");
    buy(json!({ "planId": plan, "config": [] }))
        .await
        .fails(400, "VALIDATION_FAILED");
    buy(json!({ "planId": plan, "config": { "nonsense": true } }))
        .await
        .fails(400, "VALIDATION_FAILED");
    buy(json!({ "planId": plan, "couponCode": "NOPE" }))
        .await
        .fails(404, "COUPON_NOT_FOUND");
    let short = buy(json!({ "planId": plan })).await;
    assert_eq!(
        short.fails(402, "INSUFFICIENT_CREDIT").detail("missing"),
        Some("40000")
    );
    customer
        .post("/api/subscriptions/validate", json!({ "planId": plan }))
        .await
        .fails(402, "INSUFFICIENT_CREDIT");

    assert!(
        customer
            .get("/api/subscriptions")
            .await
            .data(200)
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert!(
        customer
            .get("/api/instances")
            .await
            .data(200)
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["totalBalance"],
        10_000
    );
    assert_eq!(shop.plan_view("n8n", "basic").await["isAvailable"], true);
    shop.books_balance().await;
}

/// Floats without a fraction are whole numbers to plugins too; those beyond 2^53 are refused.
async fn whole_numbers_reach_plugins_as_such(shop: Shop) {
    let admin = shop.admin().await;
    let coupon = |code: &str, amount: f64| {
        json!({
            "code": code, "plugin": "coupon-credit-topup", "parameters": { "amount": amount },
        })
    };
    let made = admin
        .post("/api/admin/coupons", coupon("WHOLE", 1e3))
        .await
        .data(201);
    assert_eq!(
        made["parameters"]["amount"].as_i64(),
        Some(1_000),
        "{made:#}"
    );
    for (code, amount) in [("HALF", 1000.5), ("HUGE", 1e300)] {
        admin
            .post("/api/admin/coupons", coupon(code, amount))
            .await
            .fails(400, "VALIDATION_FAILED");
    }
}

/// A dry run that its caller got wrong is no failure of the plugin.
async fn a_dry_run_names_what_is_wrong_with_its_input(shop: Shop) {
    let admin = shop.admin().await;
    let path = "/api/admin/plugins/coupon-credit-topup/dry-run";
    for (function, input, field, message) in [
        ("describe", json!({}), "input", "must be null"),
        ("check", json!({}), "input.parameters", "is missing"),
        (
            "evaluate",
            json!({ "parameters": {}, "moment": "x", "place": "wallet" }),
            "input",
            "has a value that must be a whole number",
        ),
        (
            "unknown",
            json!({}),
            "function",
            "is not a function of this plugin; there are: check, describe, evaluate",
        ),
    ] {
        let refused = admin
            .post(path, json!({ "function": function, "input": input }))
            .await;
        assert_eq!(
            refused.fails(400, "VALIDATION_FAILED").detail(field),
            Some(message),
            "{:#}",
            refused.body
        );
    }
}

/// A dry run of a plugin that was never uploaded is answered as not found, with any digest.
async fn a_dry_run_of_an_unknown_plugin_is_not_found(shop: Shop) {
    let admin = shop.admin().await;
    let known = admin.get("/api/admin/plugins/coupon-credit-topup").await;
    let digest = known.data(200)["active"].clone();
    let path = "/api/admin/plugins/coupon-nothing/dry-run";
    for digest in [Value::Null, json!("0".repeat(64)), digest] {
        let call = json!({ "function": "describe", "input": null, "digest": digest });
        let refused = admin.post(path, call).await;
        refused.fails(404, "NOT_FOUND");
        let message = refused.body["message"].as_str().unwrap();
        assert!(message.starts_with("There is no such "), "{message}");
    }
}

/// Other customers' objects are answered as not found.
async fn what_is_not_yours_does_not_exist(shop: Shop) {
    let owner = shop.customer("pemilik@example.com").await;
    let plan = shop.plan("ghost", "free").await;
    let bought = owner
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    let (subscription, instance) = (
        bought["subscription"]["id"].as_str().unwrap(),
        bought["instanceId"].as_str().unwrap(),
    );
    let thief = shop.customer("pencuri@example.com").await;
    for path in [
        format!("/api/subscriptions/{subscription}"),
        format!("/api/instances/{instance}"),
        format!("/api/instances/{instance}/credentials"),
        format!("/api/instances/{instance}/manifests"),
        format!(
            "/api/wallet/transactions/{}",
            bought["transaction"].as_str().unwrap()
        ),
        format!(
            "/api/wallet/transactions/{}",
            bought["transactionId"].as_str().unwrap()
        ),
        "/api/subscriptions/not-an-id".to_owned(),
    ] {
        thief.get(&path).await.fails(404, "NOT_FOUND");
    }
    thief
        .delete(&format!("/api/subscriptions/{subscription}"))
        .await
        .fails(404, "NOT_FOUND");
    for path in [
        "/api/admin/plugins",
        "/api/admin/coupons",
        "/api/admin/decisions",
        "/api/admin/coupon-types",
    ] {
        thief.get(path).await.fails(403, "FORBIDDEN");
    }
    let path = format!("/api/subscriptions/{subscription}");
    let kept = owner.get(&path).await.data(200);
    assert_eq!(kept["cancelledAt"], Value::Null, "{kept:#}");
}

/// Coupons are checked when they are created and when they are used.
async fn coupons_are_checked(shop: Shop) {
    let admin = shop.admin().await;
    let create = |body| admin.post("/api/admin/coupons", body);
    let good = json!({ "code": "GOOD", "plugin": "coupon-credit-topup", "parameters": { "amount": 5_000 } });
    create(good.clone()).await.data(201);
    create(good.clone()).await.fails(409, "CONFLICT");
    let but = |key: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body["code"] = json!("OTHER");
        body[key] = value;
        body
    };
    for (key, value) in [
        ("parameters", json!({ "amount": -5 })),
        ("parameters", json!({ "amount": "many" })),
        ("parameters", json!({})),
        ("parameters", json!({ "amount": 5_000, "colour": "blue" })),
        ("plugin", json!("coupon-unknown")),
        ("plugin", json!("service-n8n")),
        ("maxUses", json!(0)),
        ("budget", json!(-1)),
        ("lasts", json!(0)),
        ("lasts", json!("sometimes")),
        ("endsAt", json!("2001-01-01T00:00:00Z")),
        ("services", json!(["nothing"])),
        ("tiers", json!(["GOLD"])),
        ("unknownField", json!(1)),
    ] {
        create(but(key, value))
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    let later = json!({
        "code": "LATER", "plugin": "coupon-credit-topup", "parameters": { "amount": 5_000 },
        "startsAt": shop.clock().now() + chrono::TimeDelta::days(1), "endsAt": shop.clock().now() + chrono::TimeDelta::days(2),
    });
    create(later).await.data(201);
    let customer = shop.customer("kupon@example.com").await;
    let redeem = |code: &'static str| {
        customer.post("/api/wallet/redeem-coupon", json!({ "couponCode": code }))
    };
    redeem("LATER").await.fails(409, "COUPON_NOT_ACTIVE");
    create(json!({
        "code": "N8N-ONLY", "plugin": "coupon-subscription-discount", "parameters": { "percent": 10 },
        "services": ["n8n"], "tiers": ["PRO"],
    })).await.data(201);
    redeem("N8N-ONLY").await.fails(409, "COUPON_NOT_APPLICABLE");
    for (service, plan) in [("postgresql", "basic"), ("n8n", "basic")] {
        let plan = shop.plan(service, plan).await;
        customer
            .post(
                "/api/subscriptions/quote",
                json!({ "planId": plan, "couponCode": "N8N-ONLY" }),
            )
            .await
            .fails(409, "COUPON_NOT_APPLICABLE");
    }
    shop.books_balance().await;
}
