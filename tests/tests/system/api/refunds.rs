//! Tests of refunds that the gateway does not answer.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dermaga::sandbox::Fault;
use dermaga_tests::{Engine, both_engines};
use serde_json::json;

use crate::api::payments::{Till, TopUp, eventually};

/// Answer of a gateway that always refuses for the moment.
const LATER: Fault = Fault::TooMany(5);

/// Starts a refund that the gateway does not answer; returns the path of its payment.
async fn unanswered(till: &Till, top_up: &TopUp, amount: i64) -> String {
    let id = till.seen(top_up).await["payment"]["id"].clone();
    let path = format!("/api/admin/payments/{}", id.as_str().unwrap());
    till.gateway.fail_next([LATER]);
    let body = json!({ "amount": amount, "reason": "Pelanggan salah kirim" });
    let refund = till.admin.post(&format!("{path}/refund"), body).await;
    refund.fails(503, "GATEWAY_UNAVAILABLE");
    path
}

/// Returns the number of questions that the clock has asked, and the moment of the next one.
async fn checks(till: &Till, top_up: &TopUp) -> (i64, Option<DateTime<Utc>>) {
    let mut conn = till.shop.state().db.read().await.unwrap();
    let sql = "SELECT checks, next_check_at FROM payments WHERE order_id = $1";
    type Row = (i64, Option<DateTime<Utc>>);
    dermaga_shop::fetch_one!(conn, Row, sql, top_up.order.as_str()).unwrap()
}

/// Moves the clock and waits until the payment was asked about; returns the moment of the next
/// question.
async fn asked_after(till: &Till, top_up: &TopUp, by: TimeDelta) -> DateTime<Utc> {
    let (before, _) = checks(till, top_up).await;
    till.shop.clock().advance(by);
    let is_asked = async || checks(till, top_up).await.0 > before;
    eventually("it is asked again", is_asked).await;
    let (after, next) = checks(till, top_up).await;
    assert_eq!(after, before + 1);
    next.unwrap_or(DateTime::UNIX_EPOCH)
}

/// Returns the states of the alerts about refunds, the newest first.
async fn alerts(till: &Till) -> Vec<String> {
    let mut conn = till.shop.state().db.read().await.unwrap();
    let sql = "SELECT CASE WHEN resolved_at IS NULL THEN 'OPEN' ELSE 'RESOLVED' END FROM alerts
               WHERE kind = 'REFUND_NOT_ANSWERED' ORDER BY raised_at DESC";
    let rows = dermaga_shop::fetch_all!(conn, (String,), sql).unwrap();
    rows.into_iter().map(|(state,)| state).collect()
}

both_engines!(
    Till,
    [
        a_refund_without_an_answer_is_noticed,
        a_refused_refund_is_noticed_no_more,
        a_review_does_not_stop_a_refund
    ]
);

/// A refund without an answer is sent on later and later; after a day administrators are told,
/// until the gateway has paid or refused it.
async fn a_refund_without_an_answer_is_noticed(till: Till) {
    let customer = till.shop.customer("sunyi@example.com").await;
    let top_up = till.paid(&customer, 100_000).await;
    let begun = till.shop.clock().now();
    unanswered(&till, &top_up, 30_000).await;
    till.gateway.fail_next([LATER; 5]);
    for (by, next) in [(31, 90), (60, 210), (120, 450)] {
        let at = asked_after(&till, &top_up, TimeDelta::seconds(by)).await - begun;
        assert!((next..next + 20).contains(&at.num_seconds()), "{by}: {at}");
    }
    let next = asked_after(&till, &top_up, TimeDelta::hours(3)).await;
    let wait = next - till.shop.clock().now();
    assert!(wait <= TimeDelta::hours(1), "{wait}");
    assert!(alerts(&till).await.is_empty(), "a day is not over");
    asked_after(&till, &top_up, TimeDelta::hours(22)).await;
    assert_eq!(alerts(&till).await, ["OPEN"]);
    let admin = till.shop.admin().await;
    let told = admin
        .get("/api/admin/alerts?kind=REFUND_NOT_ANSWERED&state=OPEN")
        .await
        .data(200);
    assert!(
        told[0]["message"].as_str().unwrap().contains(&top_up.order),
        "{told:#}"
    );
    asked_after(&till, &top_up, TimeDelta::hours(1)).await;
    assert_eq!(alerts(&till).await, ["RESOLVED"]);
    let mut conn = till.shop.state().db.read().await.unwrap();
    let sql = "SELECT reversed, next_check_at FROM payments";
    let paid_back = dermaga_shop::fetch_one!(conn, (i64, Option<DateTime<Utc>>), sql).unwrap();
    assert_eq!(paid_back, (30_000, None));
    till.shop.books_balance().await;
}

/// A refusal ends the alert, as a payment does.
async fn a_refused_refund_is_noticed_no_more(till: Till) {
    let customer = till.shop.customer("akhirnya@example.com").await;
    let top_up = till.paid(&customer, 100_000).await;
    unanswered(&till, &top_up, 30_000).await;
    till.gateway.fail_next([LATER]);
    asked_after(&till, &top_up, TimeDelta::hours(25)).await;
    assert_eq!(alerts(&till).await, ["OPEN"]);
    till.gateway.fail_next([Fault::Refused]);
    asked_after(&till, &top_up, TimeDelta::hours(1)).await;
    assert_eq!(alerts(&till).await, ["RESOLVED"]);
    let customer = till.shop.sign_in("akhirnya@example.com").await;
    assert_eq!(till.paid_balance(&customer).await, 100_000);
    till.shop.books_balance().await;
}

/// A payment that a person has settled is asked about no more, but its refund is sent on.
async fn a_review_does_not_stop_a_refund(till: Till) {
    let customer = till.shop.customer("tinjau@example.com").await;
    let top_up = till.paid(&customer, 100_000).await;
    let path = unanswered(&till, &top_up, 30_000).await;
    till.gateway
        .tell(&top_up.order, &json!({ "gross_amount": "1.00" }));
    till.notify(&top_up).await.fails(409, "NOTICE_MISMATCH");
    let reason = json!({ "reason": "The amount was a mistake." });
    let closed = till
        .admin
        .post(&format!("{path}/review"), reason)
        .await
        .data(200);
    assert!(closed["nextCheckAt"].is_string(), "{closed:#}");
    till.gateway.tell(&top_up.order, &json!({}));
    asked_after(&till, &top_up, TimeDelta::seconds(91)).await;
    let mut conn = till.shop.state().db.read().await.unwrap();
    let sql = "SELECT state FROM payment_refunds";
    assert_eq!(
        dermaga_shop::fetch_one!(conn, (String,), sql).unwrap().0,
        "DONE"
    );
    till.shop.books_balance().await;
}

/// A refund that another server ends while this one is about to raise the alert leaves no alert.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_another_server_ends_leaves_no_alert() {
    let Some(till) = Till::open(Engine::Postgres).await else {
        return;
    };
    let customer = till.shop.customer("bersama@example.com").await;
    let top_up = till.paid(&customer, 100_000).await;
    unanswered(&till, &top_up, 30_000).await;
    till.gateway.fail_next([LATER]);
    let mut other = till.shop.state().db.begin().await.unwrap();
    let lock = "SELECT CAST(paid_balance AS BIGINT) FROM wallets FOR NO KEY UPDATE";
    dermaga_shop::fetch_all!(other, (i64,), lock).unwrap();
    let asked = till.gateway.asked();
    till.shop.clock().advance(TimeDelta::hours(25));
    eventually("it is asked", async || till.gateway.asked() > asked).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let end = "UPDATE payment_refunds SET state = 'DONE', finished_at = $1";
    dermaga_shop::execute!(other, end, till.shop.clock().now()).unwrap();
    other.commit().await.unwrap();
    let is_over = async || checks(&till, &top_up).await.0 == 1;
    eventually("the check is over", is_over).await;
    assert!(alerts(&till).await.is_empty());
}
