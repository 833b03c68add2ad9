//! Tests of administrators' coupons: changing, switching, deleting, counting.

use chrono::TimeDelta;
use dermaga_tests::{Client, Shop, both_engines, checkout};
use futures::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};

use crate::example_plugins::{component, examples};

const COUPONS: &str = "/api/admin/coupons";
const REDEEM: &str = "/api/wallet/redeem-coupon";

async fn create(admin: &Client, code: &str, extra: Value) -> String {
    let mut body =
        json!({ "code": code, "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 } });
    merge(&mut body, &extra);
    let made = admin.post(COUPONS, body).await.data(201);
    made["id"].as_str().unwrap().to_owned()
}

fn merge(body: &mut Value, extra: &Value) {
    for (key, value) in extra.as_object().unwrap() {
        body[key] = value.clone();
    }
}

fn at(id: &str) -> String {
    format!("{COUPONS}/{id}")
}

fn codes(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|coupon| coupon["code"].as_str().unwrap())
        .collect()
}

both_engines!(
    Shop,
    [
        listed_by_status_type_and_words,
        a_used_coupon_is_frozen_where_it_matters,
        switched_together_or_not_at_all,
        only_the_unused_are_deleted,
        deleted_and_disabled_while_many_redeem,
        a_budget_is_never_exceeded,
        counted,
        the_first_purchase_only
    ]
);

/// Lists are filtered by present status, by type, and by words.
async fn listed_by_status_type_and_words(shop: Shop) {
    let admin = shop.admin().await;
    let soon = shop.clock().now() + TimeDelta::hours(1);
    create(
        &admin,
        "TETAP",
        json!({ "description": "Potongan 10% semua" }),
    )
    .await;
    create(&admin, "SEBENTAR", json!({ "endsAt": soon })).await;
    create(
        &admin,
        "DISKON",
        json!({ "plugin": "coupon-subscription-discount", "parameters": { "percent": 5 } }),
    )
    .await;
    let off = create(&admin, "MATI", json!({})).await;
    admin
        .put(
            &format!("{COUPONS}/bulk-status"),
            json!({ "ids": [off], "status": "DISABLED" }),
        )
        .await
        .data(200);
    shop.clock().advance(TimeDelta::hours(2));
    for (query, expected) in [
        ("", vec!["MATI", "DISKON", "SEBENTAR", "TETAP"]),
        ("?status=ACTIVE", vec!["DISKON", "TETAP"]),
        ("?status=EXPIRED", vec!["SEBENTAR"]),
        ("?status=DISABLED", vec!["MATI"]),
        ("?status=USED_UP", vec![]),
        ("?plugin=coupon-subscription-discount", vec!["DISKON"]),
        ("?q=teta", vec!["TETAP"]),
        ("?q=10%25%20semua", vec!["TETAP"]),
        ("?q=%25", vec!["TETAP"]),
        ("?status=ACTIVE&limit=1&page=2", vec!["TETAP"]),
    ] {
        let answer = admin.get(&format!("{COUPONS}{query}")).await;
        assert_eq!(codes(&answer.data(200)), expected, "{query}");
    }
    admin
        .get(&format!("{COUPONS}?status=GONE"))
        .await
        .fails(400, "VALIDATION_FAILED");
}

/// Before the first use everything can change; afterwards the terms promised to customers
/// cannot.
async fn a_used_coupon_is_frozen_where_it_matters(shop: Shop) {
    let admin = shop.admin().await;
    let id = create(&admin, "AWAL", json!({ "maxUses": 5 })).await;
    create(&admin, "ADA", json!({})).await;
    let body = |extra: Value| {
        let mut body = json!({ "code": "BARU", "plugin": "coupon-credit-topup", "parameters": { "amount": 2_000 }, "maxUses": 2 });
        merge(&mut body, &extra);
        body
    };
    let changed = admin.put(&at(&id), body(json!({}))).await.data(200);
    assert_eq!(
        (
            &changed["code"],
            &changed["parameters"]["amount"],
            &changed["maxUses"]
        ),
        (&json!("BARU"), &json!(2_000), &json!(2))
    );
    admin
        .put(&at(&id), body(json!({ "code": "ADA" })))
        .await
        .fails(409, "CONFLICT");
    admin
        .put(&at(&id), body(json!({ "parameters": { "amount": -1 } })))
        .await
        .fails(400, "VALIDATION_FAILED");
    admin
        .put(&at(&id), body(json!({ "plugin": "coupon-nothing" })))
        .await
        .fails(400, "VALIDATION_FAILED");
    admin
        .put(&at(&id), body(json!({ "services": ["nothing"] })))
        .await
        .fails(400, "VALIDATION_FAILED");
    let long = "A".repeat(10_000);
    admin
        .put(&at(&id), body(json!({ "code": long })))
        .await
        .fails(400, "VALIDATION_FAILED");
    admin
        .put(&at("01a2069f-9a88-7bc1-a95e-0bcc1e12247e"), body(json!({})))
        .await
        .fails(404, "NOT_FOUND");
    shop.customer("orang@example.com")
        .await
        .put(&at(&id), body(json!({})))
        .await
        .fails(403, "FORBIDDEN");

    for name in ["satu", "dua"] {
        let customer = shop.customer(&format!("{name}@example.com")).await;
        customer
            .post(REDEEM, json!({ "couponCode": "BARU" }))
            .await
            .data(201);
    }
    for frozen in [
        json!({ "code": "LAIN" }),
        json!({ "parameters": { "amount": 3_000 } }),
        json!({ "plugin": "coupon-welcome-bonus", "parameters": { "amount": 2_000 } }),
    ] {
        admin
            .put(&at(&id), body(frozen))
            .await
            .fails(409, "CONFLICT");
    }
    admin
        .put(&at(&id), body(json!({ "maxUses": 1 })))
        .await
        .fails(400, "VALIDATION_FAILED");
    admin
        .put(&at(&id), body(json!({ "budget": 3_999 })))
        .await
        .fails(400, "VALIDATION_FAILED");
    let same = admin.put(&at(&id), body(json!({}))).await.data(200);
    assert_eq!(same["status"], "USED_UP");
    let more = admin
        .put(&at(&id), body(json!({ "maxUses": 3 })))
        .await
        .data(200);
    assert_eq!(
        (&more["status"], &more["usedCount"]),
        (&json!("ACTIVE"), &json!(2))
    );
    shop.clock().advance(TimeDelta::minutes(1));
    let over = admin
        .put(
            &at(&id),
            body(json!({ "maxUses": 3, "endsAt": shop.clock().now() })),
        )
        .await
        .data(200);
    assert_eq!(over["status"], "EXPIRED");
}

/// Coupons are switched all together or not at all; spent ones stay spent.
async fn switched_together_or_not_at_all(shop: Shop) {
    let admin = shop.admin().await;
    let bulk = format!("{COUPONS}/bulk-status");
    let switch = |ids: Vec<String>, status: &str| {
        admin
            .put(&bulk, json!({ "ids": ids, "status": status }))
            .boxed()
    };
    let one = create(&admin, "SATU", json!({ "maxUses": 1 })).await;
    let two = create(&admin, "DUA", json!({})).await;
    let customer = shop.customer("beli@example.com").await;
    customer
        .post(REDEEM, json!({ "couponCode": "SATU" }))
        .await
        .data(201);

    let off = switch(vec![two.clone(), one.clone(), two.clone()], "DISABLED")
        .await
        .data(200);
    assert_eq!(off.as_array().unwrap().len(), 2);
    assert!(
        off.as_array()
            .unwrap()
            .iter()
            .all(|coupon| coupon["status"] == "DISABLED")
    );
    customer
        .post(REDEEM, json!({ "couponCode": "DUA" }))
        .await
        .fails(409, "COUPON_NOT_ACTIVE");

    switch(vec![two.clone(), one.clone()], "ACTIVE")
        .await
        .fails(409, "CONFLICT");
    assert_eq!(
        admin.get(&at(&two)).await.data(200)["status"],
        "DISABLED",
        "all or none"
    );
    let unknown = "01a2069f-9a88-7bc1-a95e-0bcc1e12247e".to_owned();
    switch(vec![two.clone(), unknown], "ACTIVE")
        .await
        .fails(404, "NOT_FOUND");
    switch(vec![], "ACTIVE")
        .await
        .fails(400, "VALIDATION_FAILED");
    switch(vec![two.clone(); 101], "ACTIVE")
        .await
        .fails(400, "VALIDATION_FAILED");
    switch(vec![two.clone()], "EXPIRED")
        .await
        .fails(400, "VALIDATION_FAILED");
    switch(vec![two], "ACTIVE").await.data(200);
    customer
        .post(REDEEM, json!({ "couponCode": "DUA" }))
        .await
        .data(201);
}

/// An unused coupon can be deleted; a used one is in the ledger and cannot.
async fn only_the_unused_are_deleted(shop: Shop) {
    let admin = shop.admin().await;
    let (unused, used) = (
        create(&admin, "KOSONG", json!({})).await,
        create(&admin, "TERPAKAI", json!({})).await,
    );
    let customer = shop.customer("pakai@example.com").await;
    customer
        .post(REDEEM, json!({ "couponCode": "TERPAKAI" }))
        .await
        .data(201);
    admin.delete(&at(&used)).await.fails(409, "CONFLICT");
    assert_eq!(admin.delete(&at(&unused)).await.data(200)["id"], unused);
    admin.delete(&at(&unused)).await.fails(404, "NOT_FOUND");
    customer
        .post(REDEEM, json!({ "couponCode": "KOSONG" }))
        .await
        .fails(404, "COUPON_NOT_FOUND");
    customer.delete(&at(&used)).await.fails(403, "FORBIDDEN");
    // The code is free again.
    create(&admin, "KOSONG", json!({})).await;
}

/// Deleting or disabling during concurrent redemptions: every 201 has its credit, no answer is
/// a 5xx, and a used coupon is kept.
async fn deleted_and_disabled_while_many_redeem(shop: Shop) {
    let admin = shop.admin().await;
    let customers = shop.many_customers(16).await;
    for round in 0..4 {
        let code = format!("LOMBA-{round}");
        let id = create(&admin, &code, json!({})).await;
        let redeeming = stream::iter(&customers)
            .map(|customer| customer.post(REDEEM, json!({ "couponCode": code })))
            .buffer_unordered(16)
            .collect::<Vec<_>>();
        let ending = async {
            if round % 2 == 0 {
                admin.delete(&at(&id)).await
            } else {
                admin
                    .put(
                        &format!("{COUPONS}/bulk-status"),
                        json!({ "ids": [id], "status": "DISABLED" }),
                    )
                    .await
            }
        };
        let (answers, ended) = tokio::join!(redeeming, ending);
        let won = answers.iter().filter(|answer| answer.status == 201).count();
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            let code = answer.body["error"]["code"].as_str().unwrap();
            assert!(
                ["COUPON_NOT_FOUND", "COUPON_NOT_ACTIVE"].contains(&code),
                "{:#}",
                answer.body
            );
        }
        let coupon = admin.get(&at(&id)).await;
        if ended.status == 200 && round % 2 == 0 {
            coupon.fails(404, "NOT_FOUND");
            assert_eq!(won, 0, "a used coupon was deleted");
        } else {
            let coupon = coupon.data(200);
            assert_eq!(coupon["usedCount"], won);
            let page = admin
                .get(&format!("{}/redemptions?limit=100", at(&id)))
                .await
                .data(200);
            assert_eq!(page.as_array().unwrap().len(), won);
        }
    }
    shop.books_balance().await;
}

/// A budget in rupiah is not exceeded under concurrent redemptions.
async fn a_budget_is_never_exceeded(shop: Shop) {
    let admin = shop.admin().await;
    let id = create(&admin, "ANGGARAN", json!({ "budget": 7_500 })).await;
    let customers = shop.many_customers(20).await;
    let won = stream::iter(&customers)
        .map(|customer| async {
            let answer = customer
                .post(REDEEM, json!({ "couponCode": "ANGGARAN" }))
                .await;
            if answer.status != 201 {
                answer.fails(409, "COUPON_BUDGET_SPENT");
            }
            answer.status == 201
        })
        .buffer_unordered(20)
        .filter(|won| futures::future::ready(*won))
        .count()
        .await;
    assert_eq!(won, 7);
    assert_eq!(admin.get(&at(&id)).await.data(200)["grantedAmount"], 7_000);
}

/// Statistics of a coupon: grants, customers and revenue.
async fn counted(shop: Shop) {
    let admin = shop.admin().await;
    let credit = create(
        &admin,
        "ISI",
        json!({ "parameters": { "amount": 100_000 } }),
    )
    .await;
    create(
        &admin,
        "SEPARUH",
        json!({ "plugin": "coupon-subscription-discount", "parameters": { "percent": 50 } }),
    )
    .await;
    create(&admin, "SEPI", json!({})).await;
    let customer = shop.customer("hitung@example.com").await;
    customer
        .post(REDEEM, json!({ "couponCode": "ISI" }))
        .await
        .data(201);
    let plan = shop.plan_view("postgresql", "basic").await;
    let price = plan["monthlyPrice"].as_i64().unwrap();
    let order = json!({ "planId": plan["id"], "couponCode": "SEPARUH" });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let charged = bought["charged"].as_i64().unwrap();

    let found = admin.get(&format!("{COUPONS}/statistics")).await.data(200);
    assert_eq!(
        found["coupons"],
        json!([{ "status": "ACTIVE", "count": 3 }])
    );
    assert_eq!(
        (&found["uses"], &found["customers"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        (&found["cost"], &found["revenue"]),
        (&json!(100_000 + price - charged), &json!(charged))
    );
    assert_eq!(found["byType"][0]["plugin"], "coupon-credit-topup");
    assert_eq!(found["byType"][1]["revenue"], charged);
    assert_eq!(found["costliest"][0]["id"], credit);
    let later = shop.clock().now() + TimeDelta::hours(1);
    let none = admin
        .get(&format!(
            "{COUPONS}/statistics?from={}",
            later.format("%Y-%m-%dT%H:%M:%SZ")
        ))
        .await
        .data(200);
    assert_eq!((&none["uses"], &none["cost"]), (&json!(0), &json!(0)));

    let list = admin
        .get(&format!("{}/redemptions", at(&credit)))
        .await
        .data(200);
    assert_eq!(
        (
            &list[0]["email"],
            &list[0]["amount"],
            &list[0]["couponCode"]
        ),
        (&json!("hitung@example.com"), &json!(100_000), &json!("ISI"))
    );
    customer
        .get(&format!("{COUPONS}/statistics"))
        .await
        .fails(403, "FORBIDDEN");
    admin
        .get(&format!(
            "{}/redemptions",
            at("01a2069f-9a88-7bc1-a95e-0bcc1e12247e")
        ))
        .await
        .fails(404, "NOT_FOUND");
}

/// The rule of the guide, hot-loaded: only a first purchase is cheaper, as the host passes the
/// rule the fact it declares.
async fn the_first_purchase_only(shop: Shop) {
    let Some(bytes) = component(
        &examples()["coupon-first-purchase"],
        &checkout().join("target/examples"),
    ) else {
        return;
    };
    let admin = shop.admin().await;
    let staged = admin.upload(bytes).await.data(201);
    let digest = staged["digest"].clone();
    admin
        .post(
            "/api/admin/plugins/coupon-first-purchase/activate",
            json!({ "digest": digest }),
        )
        .await
        .data(200);
    create(
        &admin,
        "PERTAMA",
        json!({ "plugin": "coupon-first-purchase", "parameters": { "percent": 40 } }),
    )
    .await;
    let customer = shop
        .customer_with_credit("pertama@example.com", 500_000)
        .await;
    let plan = shop.plan_view("postgresql", "basic").await;
    let price = plan["monthlyPrice"].as_i64().unwrap();
    let order = json!({ "planId": plan["id"], "couponCode": "PERTAMA" });
    let bought = customer
        .post("/api/subscriptions", order.clone())
        .await
        .data(201);
    assert_eq!(bought["charged"], price - price * 40 / 100);

    let again = customer.post("/api/subscriptions", order.clone()).await;
    again.fails(409, "COUPON_REFUSED");
    assert_eq!(again.detail("code"), Some("NOT_FIRST_PURCHASE"));
    // Of two concurrent first purchases, one is the first.
    let other = shop
        .customer_with_credit("bersamaan@example.com", 500_000)
        .await;
    let answers = tokio::join!(
        other.post("/api/subscriptions", order.clone()),
        other.post("/api/subscriptions", order.clone())
    );
    let cheap = [&answers.0, &answers.1]
        .into_iter()
        .filter(|answer| answer.status == 201)
        .count();
    assert_eq!(cheap, 1, "{:#} {:#}", answers.0.body, answers.1.body);
    shop.books_balance().await;
}
