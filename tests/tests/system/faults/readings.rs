//! Tests that a decision on old data is not applied to new data: a changed coupon, a refunded
//! period, a denial that waited while the payment was booked.

use std::time::Duration;

use dermaga::sandbox::Action;
use dermaga_runtime::contract::Place;
use dermaga_shop::{
    Code,
    coupons::{self, CouponCode},
    ids::UserId,
    plugins::Asking,
    wallet,
};
use dermaga_tests::{Client, Engine, Shop, both_engines};
use serde_json::json;

use crate::api::payments::Till;
use crate::journeys::{renewal::subscription, upgrade::customer_with_cash};

async fn id_of(customer: &Client) -> UserId {
    let profile = customer.get("/api/auth/profile").await.data(200);
    profile["id"].as_str().unwrap().parse().unwrap()
}

both_engines!(
    Shop,
    [
        a_coupon_changed_after_it_was_judged,
        a_period_refunded_after_the_upgrade_was_priced
    ]
);

/// The rule granted Rp1.000, then the administrator changed it to Rp5.000: the old grant is not
/// applied.
async fn a_coupon_changed_after_it_was_judged(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("kupon@example.com").await;
    let user_id = id_of(&customer).await;
    let coupon = |amount: i64| json!({ "code": "UBAH", "plugin": "coupon-credit-topup", "parameters": { "amount": amount } });
    let made = admin
        .post("/api/admin/coupons", coupon(1_000))
        .await
        .data(201);
    let code: CouponCode = "UBAH".parse().unwrap();
    let state = shop.state();
    let judge = async || {
        let context = (&state.db, &state.clock, &*state.plugins);
        coupons::evaluate(context, &code, user_id, (Place::Wallet, Asking::Act), None)
            .await
            .unwrap()
    };
    let take = async |judged: &coupons::Evaluated| {
        let mut conn = state.db.begin().await.unwrap();
        let wallet = wallet::lock(&mut conn, user_id).await.unwrap();
        let held = coupons::still_holds(&mut conn, judged, &wallet).await?;
        coupons::take(&mut conn, &state.clock, held.unwrap()).await
    };
    let old = judge().await;
    let path = format!("/api/admin/coupons/{}", made["id"].as_str().unwrap());
    admin.put(&path, coupon(5_000)).await.data(200);
    let refused = take(&old).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.retry_after),
        (Code::Conflict, Some(1))
    );
    take(&judge().await).await.unwrap();
    let redeemed = customer
        .post("/api/wallet/redeem-coupon", json!({ "couponCode": "UBAH" }))
        .await
        .data(201);
    assert_eq!(redeemed["coupon"]["amount"], 5_000);
}

/// An upgrade credits the payments of its period; a concurrent refund reduces them.
async fn a_period_refunded_after_the_upgrade_was_priced(shop: Shop) {
    let customer = customer_with_cash(&shop, "naik@example.com", 500_000).await;
    let user_id = id_of(&customer).await;
    let plan = shop.plan("n8n", "basic").await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    shop.instance_becomes(&customer, bought["instanceId"].as_str().unwrap(), "RUNNING")
        .await;
    let id = bought["subscription"]["id"].as_str().unwrap();
    // Or the upgrade would note the delivery, which waits for the wallet's lock on SQLite, before it is priced.
    for _ in 0..600 {
        if subscription(&shop, id).await["deliveredAt"].is_string() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let path = format!("/api/subscriptions/{id}/upgrade");
    let pro = json!({ "planId": shop.plan("n8n", "pro").await });
    let mut conn = shop.state().db.begin().await.unwrap();
    wallet::lock(&mut conn, user_id).await.unwrap();
    let upgrade = tokio::spawn({
        let (customer, path, pro) = (customer.clone(), path.clone(), pro.clone());
        async move { customer.put(&path, pro).await }
    });
    // The upgrade is priced and then waits for the wallet.
    if shop.state().db.engine_name() == "postgres" {
        shop.statements_wait("%FROM wallets%", 1).await;
    } else {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    dermaga_shop::execute!(
        conn,
        "UPDATE subscription_periods SET refunded_cash = refunded_cash + 10000"
    )
    .unwrap();
    conn.commit().await.unwrap();
    upgrade.await.unwrap().fails(409, "CONFLICT");
    customer.put(&path, pro).await.data(200);
}

/// A late denial of the first card is read while the payment is denied; before it locks the wallet,
/// the second card's settlement is booked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_that_waited_for_the_settlement() {
    let Some(till) = Till::open(Engine::Postgres).await else {
        return;
    };
    let customer = till.shop.customer("tunggu@example.com").await;
    let user_id = id_of(&customer).await;
    let top_up = till.top_up(&customer, 30_000, "CREDIT_CARD").await;
    till.act(&top_up, Action::Choose);
    till.act(&top_up, Action::Deny);
    let mut denied = till.notice(&top_up);
    till.send(denied.clone()).await.data(200);
    till.act(&top_up, Action::Pay);
    denied["copy"] = 2.into();
    let mut conn = till.shop.state().db.begin().await.unwrap();
    wallet::lock(&mut conn, user_id).await.unwrap();
    let sql = "UPDATE payments SET state = 'CAPTURED', credited = amount";
    let late = async { till.send(denied).await };
    let booking = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        dermaga_shop::execute!(conn, sql).unwrap();
        conn.commit().await.unwrap();
    };
    let (late, ()) = futures::future::join(late, booking).await;
    late.data(200);
    let seen = till.seen(&top_up).await;
    assert_eq!(
        (&seen["payment"]["state"], &seen["payment"]["reversed"]),
        (&json!("CAPTURED"), &json!(0))
    );
}
