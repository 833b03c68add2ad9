//! Tests that limits hold exactly under concurrency.

use dermaga_tests::{Shop, both_engines};
use futures::{StreamExt, stream};
use serde_json::json;

both_engines!(
    Shop,
    [
        two_hundred_on_one_coupon,
        twenty_checkouts_with_money_for_one,
        one_customer_many_times,
        the_last_of_a_quota
    ]
);

/// Of 200 concurrent customers on a coupon with 50 uses, exactly 50 succeed.
async fn two_hundred_on_one_coupon(shop: Shop) {
    let admin = shop.admin().await;
    admin.post("/api/admin/coupons", json!({
        "code": "RUSH", "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 }, "maxUses": 50,
    })).await.data(201);
    let customers = shop.many_customers(200).await;
    let statuses: Vec<u16> = stream::iter(customers)
        .map(|customer| async move {
            let answer = customer
                .post("/api/wallet/redeem-coupon", json!({ "couponCode": "RUSH" }))
                .await;
            if answer.status != 201 {
                answer.fails(409, "COUPON_USED_UP");
            }
            answer.status
        })
        .buffer_unordered(200)
        .collect()
        .await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 50);
    let coupon = &admin.get("/api/admin/coupons").await.data(200)[0];
    assert_eq!(
        (
            &coupon["usedCount"],
            &coupon["grantedAmount"],
            &coupon["status"]
        ),
        (&json!(50), &json!(50_000), &json!("USED_UP"))
    );
    let found = shop.books_balance().await;
    assert_eq!(found.accounts["WALLET_BONUS"].get(), 50_000);
}

/// Of twenty concurrent checkouts with money for one, exactly one succeeds.
async fn twenty_checkouts_with_money_for_one(shop: Shop) {
    let customer = shop.customer_with_credit("cepat@example.com", 25_000).await;
    let plan = shop.plan("postgresql", "basic").await;
    let answers: Vec<_> = stream::iter(0..20)
        .map(|_| customer.post("/api/subscriptions", json!({ "planId": plan })))
        .buffer_unordered(20)
        .collect()
        .await;
    let bought = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(bought, 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        let code = answer.body["error"]["code"].as_str().unwrap();
        assert!(
            ["INSUFFICIENT_CREDIT", "INSTANCE_LIMIT_REACHED"].contains(&code),
            "{:#}",
            answer.body
        );
    }
    let wallet = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(
        (&wallet["totalBalance"], &wallet["totalSpent"]),
        (&json!(0), &json!(25_000))
    );
    assert_eq!(
        customer
            .get("/api/subscriptions")
            .await
            .data(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
    shop.books_balance().await;
}

/// Of ten concurrent redemptions by a customer of a coupon for one use each, one succeeds.
async fn one_customer_many_times(shop: Shop) {
    let admin = shop.admin().await;
    admin.post("/api/admin/coupons", json!({
        "code": "SEKALI", "plugin": "coupon-credit-topup", "parameters": { "amount": 5_000 }, "maxUsesPerUser": 1,
    })).await.data(201);
    let customer = shop.customer("ulang@example.com").await;
    let answers: Vec<_> = stream::iter(0..10)
        .map(|_| {
            customer.post(
                "/api/wallet/redeem-coupon",
                json!({ "couponCode": "SEKALI" }),
            )
        })
        .buffer_unordered(10)
        .collect()
        .await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 201).count(),
        1
    );
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["bonusBalance"],
        5_000
    );
    shop.books_balance().await;
}

/// The last place of a plan's quota goes to one of many customers.
async fn the_last_of_a_quota(shop: Shop) {
    let plan = shop.plan("ghost", "free").await;
    shop.leave_quota(&plan, 3).await;
    let customers = shop.many_customers(12).await;
    let answers: Vec<_> = stream::iter(&customers)
        .map(|customer| customer.post("/api/subscriptions", json!({ "planId": plan })))
        .buffer_unordered(12)
        .collect()
        .await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 201).count(),
        3
    );
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.fails(409, "QUOTA_EXHAUSTED");
    }
    shop.books_balance().await;
}
