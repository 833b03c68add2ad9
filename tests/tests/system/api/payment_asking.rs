//! Tests of top-ups whose notice does not come: asked about, given up and cancelled.

use chrono::TimeDelta;
use dermaga::sandbox::{Action, Fault};
use dermaga_shop::payments::check_due;
use dermaga_tests::{Engine, both_engines};
use futures::{StreamExt, stream};
use serde_json::json;

use crate::api::payments::{Till, TopUp, eventually};

both_engines!(
    Till,
    [
        a_lost_notice_is_found,
        the_abandoned_expire,
        a_top_up_without_a_page_is_given_up,
        asking_for_the_status_finds_the_payment,
        a_top_up_is_cancelled,
        a_payment_after_a_cancellation_is_credited
    ]
);

/// Without a notice, the scheduled job asks, at growing intervals, and finds the payment.
async fn a_lost_notice_is_found(till: Till) {
    let customer = till.shop.customer("hilang@example.com").await;
    let top_up = till.top_up(&customer, 35_000, "BANK_TRANSFER").await;
    till.act(&top_up, Action::Choose);
    till.shop.clock().advance(TimeDelta::seconds(31));
    eventually("it is asked about", async || {
        till.seen(&top_up).await["payment"]["checks"] == 1
    })
    .await;
    assert_eq!(till.paid_balance(&customer).await, 0);
    till.act(&top_up, Action::Pay);
    till.shop.clock().advance(TimeDelta::seconds(31));
    assert_eq!(
        check_due(&till.shop.state().payments).await.unwrap(),
        0,
        "the second question comes later"
    );
    till.shop.clock().advance(TimeDelta::seconds(31));
    eventually("the payment is found", async || {
        till.paid_balance(&customer).await == 35_000
    })
    .await;
    assert!(
        till.seen(&top_up).await["notices"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    till.shop.books_balance().await;
}

/// Abandoned payment pages, with or without a chosen method, expire after an hour.
async fn the_abandoned_expire(till: Till) {
    let customer = till.shop.customer("lupa@example.com").await;
    let untouched = till.top_up(&customer, 10_000, "QRIS").await;
    let chosen = till.top_up(&customer, 10_000, "BANK_TRANSFER").await;
    till.act(&chosen, Action::Choose);
    till.shop.clock().advance(TimeDelta::minutes(63));
    for top_up in [&untouched, &chosen] {
        eventually("it is expired", async || {
            till.seen(top_up).await["payment"]["state"] == "EXPIRED"
        })
        .await;
        assert_eq!(
            till.status(&customer, top_up).await["transaction"]["status"],
            "FAILED"
        );
    }
    assert_eq!(
        till.notice(&chosen)["transaction_status"],
        "expire",
        "at the gateway too"
    );
    till.shop.clock().advance(TimeDelta::hours(3));
    eventually("nobody asks any more", async || {
        till.seen(&untouched).await["payment"]["nextCheckAt"].is_null()
    })
    .await;
}

/// A top-up whose server crashed while the gateway created the page cannot be paid and is
/// cleaned up.
async fn a_top_up_without_a_page_is_given_up(till: Till) {
    let customer = till.shop.customer("mati@example.com").await;
    let top_up = till.top_up(&customer, 10_000, "QRIS").await;
    till.shop
        .sql("UPDATE payments SET state = 'STARTING', token = NULL, redirect_url = NULL")
        .await
        .unwrap();
    till.shop.clock().advance(TimeDelta::minutes(6));
    eventually("it is given up", async || {
        till.seen(&top_up).await["payment"]["state"] == "FAILED"
    })
    .await;
    assert_eq!(
        till.status(&customer, &top_up).await["transaction"]["status"],
        "FAILED"
    );
    till.shop.books_balance().await;
}

/// A customer's status request makes the shop ask the gateway.
async fn asking_for_the_status_finds_the_payment(till: Till) {
    let customer = till.shop.customer("tanya@example.com").await;
    let top_up = till.top_up(&customer, 45_000, "QRIS").await;
    let status = till.status(&customer, &top_up).await;
    assert_eq!(
        (&status["payment"], &status["isConfirmed"]),
        (&json!("PENDING"), &json!(true))
    );
    assert_eq!(status["redirectUrl"], top_up.page.as_str());
    till.act(&top_up, Action::Pay);
    till.gateway.fail_next([Fault::ServerError; 3]);
    till.shop.clock().advance(TimeDelta::seconds(6));
    let status = till.status(&customer, &top_up).await;
    assert_eq!(
        (&status["payment"], &status["isConfirmed"]),
        (&json!("PENDING"), &json!(false))
    );
    till.shop.clock().advance(TimeDelta::seconds(6));
    let asked: Vec<_> = stream::iter(0..10)
        .map(|_| till.status(&customer, &top_up))
        .buffer_unordered(10)
        .collect()
        .await;
    assert!(
        asked.iter().all(|status| status["payment"] == "SETTLED"),
        "{asked:?}"
    );
    assert_eq!(till.paid_balance(&customer).await, 45_000);
    let thief = till.shop.customer("pencuri@example.com").await;
    for id in [&top_up.number, &top_up.id] {
        thief
            .get(&format!("/api/wallet/transactions/{id}/status"))
            .await
            .fails(404, "NOT_FOUND");
        thief
            .post(&format!("/api/wallet/transactions/{id}/cancel"), json!({}))
            .await
            .fails(404, "NOT_FOUND");
    }
    till.shop.books_balance().await;
}

/// A cancellation is passed to the gateway; a payment in spite of it is credited.
async fn a_top_up_is_cancelled(till: Till) {
    let customer = till.shop.customer("batal@example.com").await;
    let cancel = async |top_up: &TopUp| {
        customer
            .post(
                &format!("/api/wallet/transactions/{}/cancel", top_up.id),
                json!({}),
            )
            .await
    };
    let chosen = till.top_up(&customer, 10_000, "BANK_TRANSFER").await;
    till.act(&chosen, Action::Choose);
    let view = cancel(&chosen).await.data(200);
    assert_eq!(
        (&view["payment"], &view["transaction"]["status"]),
        (&json!("CANCELLED"), &json!("CANCELLED"))
    );
    assert_eq!(till.notice(&chosen)["transaction_status"], "cancel");
    cancel(&chosen).await.fails(409, "INVALID_STATE");

    let untouched = till.top_up(&customer, 20_000, "QRIS").await;
    cancel(&untouched).await.data(200);
    assert!(
        till.gateway.act(&untouched.order, Action::Pay).is_err(),
        "its page is closed"
    );

    let paid = till.top_up(&customer, 30_000, "QRIS").await;
    till.act(&paid, Action::Pay);
    cancel(&paid).await.fails(409, "INVALID_STATE");
    assert_eq!(
        till.paid_balance(&customer).await,
        30_000,
        "it was paid in the same moment"
    );

    let away = till.top_up(&customer, 40_000, "QRIS").await;
    till.gateway.fail_next([Fault::ServerError; 3]);
    cancel(&away).await.fails(503, "GATEWAY_UNAVAILABLE");
    assert_eq!(till.status(&customer, &away).await["payment"], "PENDING");
    till.shop.books_balance().await;
}

/// A payment that the gateway takes during the cancellation is credited.
async fn a_payment_after_a_cancellation_is_credited(till: Till) {
    let customer = till.shop.customer("tetap@example.com").await;
    let top_up = till.top_up(&customer, 10_000, "QRIS").await;
    till.shop
        .sql("UPDATE payments SET state = 'CANCELLED'")
        .await
        .unwrap();
    till.shop
        .sql("UPDATE transactions SET status = 'CANCELLED'")
        .await
        .unwrap();
    till.act(&top_up, Action::Pay);
    till.notify(&top_up).await.data(200);
    assert_eq!(till.paid_balance(&customer).await, 10_000);
    assert_eq!(
        till.status(&customer, &top_up).await["transaction"]["status"],
        "COMPLETED"
    );
    till.shop.books_balance().await;
}

/// Of two servers on one database, one asks about each payment that is due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_share_the_asking() {
    let Some(till) = Till::open(Engine::Postgres).await else {
        return;
    };
    let customer = till.shop.customer("berdua@example.com").await;
    let mut top_ups = Vec::new();
    for _ in 0..6 {
        top_ups.push(till.top_up(&customer, 10_000, "QRIS").await);
    }
    let second = till.shop.second_server().await;
    second.clock().advance(TimeDelta::seconds(35));
    till.shop.clock().advance(TimeDelta::seconds(35));
    for top_up in &top_ups {
        eventually("each is asked about", async || {
            till.seen(top_up).await["payment"]["checks"] != 0
        })
        .await;
        assert_eq!(till.seen(top_up).await["payment"]["checks"], 1);
    }
}
