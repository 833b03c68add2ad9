//! Tests of the gateway's answers when they are booked: late answers, fees on top, unusable
//! answers, and the rate of requests.

use chrono::TimeDelta;
use dermaga::sandbox::{Action, Fault};
use dermaga_shop::{money::Rupiah, payments::check_due};
use dermaga_tests::{Client, Engine, both_engines};
use futures::{StreamExt, future::join, stream};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::api::payments::{KEY, Till, TopUp, eventually};

const WEBHOOK: &str = "/api/wallet/webhook/midtrans";

/// Builds the gateway's record of an amount with a fee.
fn fee_account([original, gross, fee]: [Value; 3]) -> Value {
    json!({ "extra_info": { "gross_amount_info": {
        "original_amount": original, "gross_amount": gross, "customer_imposed_payment_fee": fee,
    } } })
}

/// Returns the number of alerts about unclear payments in this state.
async fn unclear(till: &Till, state: &str) -> usize {
    let path = format!("/api/admin/alerts?kind=PAYMENT_UNCLEAR&state={state}");
    let alerts = till.admin.get(&path).await.data(200);
    alerts.as_array().unwrap().len()
}

async fn cancel(customer: &Client, top_up: &TopUp) -> dermaga_tests::Answer {
    let path = format!("/api/wallet/transactions/{}/cancel", top_up.id);
    customer.post(&path, json!({})).await
}

both_engines!(
    Till,
    [
        a_late_denial_beside_the_settlement,
        a_fee_on_top_is_no_mismatch,
        numbers_and_null_are_read,
        what_cannot_be_used_is_told,
        odd_answers_and_unpaid_orders,
        an_unclear_payment_is_closed_by_hand,
        one_question_in_some_seconds,
        a_pause_slows_the_asker_alone,
        the_clock_rests_too
    ]
);

/// The first card is refused and the second pays; the old denial and the settlement arrive
/// together.
async fn a_late_denial_beside_the_settlement(till: Till) {
    let customer = till.shop.customer("dua-kartu@example.com").await;
    let mut expected = 0;
    for _ in 0..8 {
        let top_up = till.top_up(&customer, 10_000, "CREDIT_CARD").await;
        expected += 10_000;
        till.act(&top_up, Action::Choose);
        till.act(&top_up, Action::Deny);
        let denied = till.notice(&top_up);
        till.send(denied.clone()).await.data(200);
        till.act(&top_up, Action::Pay);
        let paid = till.notice(&top_up);
        let mut denials = denied;
        let late: Vec<Value> = (0..3)
            .map(|copy| {
                denials["copy"] = copy.into();
                denials.clone()
            })
            .collect();
        let late = stream::iter(late)
            .map(|notice| till.send(notice))
            .buffer_unordered(3)
            .collect::<Vec<_>>();
        let (late, settled) = join(late, till.send(paid)).await;
        assert!(late.iter().all(|answer| answer.status == 200));
        settled.data(200);
        assert_eq!(till.paid_balance(&customer).await, expected);
    }
    let found = till.shop.books_balance().await;
    assert_eq!(found.entries, 8, "credited once each, never taken back");
}

/// A fee that the payer bears: the order's amount is credited, in every form of naming the fee,
/// in the notice or only in the status.
async fn a_fee_on_top_is_no_mismatch(till: Till) {
    let customer = till.shop.customer("biaya@example.com").await;
    let texts = fee_account([json!("200000"), json!("203500"), json!("3500")]);
    let numbers = fee_account([json!(200_000), json!(203_500), json!(3_500)]);
    let fee_alone = fee_account([Value::Null, Value::Null, json!("3500.00")]);
    let mut expected = 0;
    for account in [
        json!({ "metadata": texts }),
        numbers.clone(),
        json!({ "metadata": fee_alone }),
    ] {
        for is_in_notice in [true, false] {
            let top_up = till.top_up(&customer, 200_000, "QRIS").await;
            let mut told = account.clone();
            told["gross_amount"] = "203500.00".into();
            till.gateway.tell(&top_up.order, &told);
            till.act(&top_up, Action::Pay);
            let mut notice = till.notice(&top_up);
            if !is_in_notice {
                for key in ["metadata", "extra_info"] {
                    notice.as_object_mut().unwrap().remove(key);
                }
            }
            till.send(notice.clone()).await.data(200);
            expected += 200_000;
            assert_eq!(till.paid_balance(&customer).await, expected, "{account}");
            till.send(notice).await.data(200);
            let status = till.status(&customer, &top_up).await;
            assert_eq!(
                (&status["payment"], &status["fee"], &status["notice"]),
                (&json!("SETTLED"), &json!(3_500), &Value::Null)
            );
            let seen = till.seen(&top_up).await;
            assert_eq!(
                (&seen["payment"]["credited"], &seen["payment"]["fee"]),
                (&json!(200_000), &json!(3_500))
            );
        }
    }
    assert_eq!(
        (
            unclear(&till, "OPEN").await,
            unclear(&till, "RESOLVED").await
        ),
        (0, 0)
    );
    let top_up = till.top_up(&customer, 200_000, "QRIS").await;
    let mut told = numbers;
    told["gross_amount"] = "203500.00".into();
    till.gateway.tell(&top_up.order, &told);
    till.act(&top_up, Action::Pay);
    till.notify(&top_up).await.data(200);
    told["transaction_status"] = "refund".into();
    till.gateway.tell(&top_up.order, &told);
    till.notify(&top_up).await.data(200);
    assert_eq!(
        till.paid_balance(&customer).await,
        expected,
        "with the fee given back, the amount is"
    );
    till.shop.books_balance().await;
}

/// Numbers and null are accepted for texts; the signature covers the original spelling.
async fn numbers_and_null_are_read(till: Till) {
    let customer = till.shop.customer("angka@example.com").await;
    let top_up = till.top_up(&customer, 50_000, "QRIS").await;
    till.gateway.tell(&top_up.order, &json!({
        "gross_amount": 50_000, "status_code": 200, "fraud_status": null, "currency": null, "refunds": null,
        "refund_amount": null, "payment_type": null, "metadata": null,
    }));
    till.act(&top_up, Action::Pay);
    till.notify(&top_up).await.data(200);
    assert_eq!(till.paid_balance(&customer).await, 50_000);
    // With a byte order mark, and an amount whose spelling a number type would lose.
    let top_up = till.top_up(&customer, 50_000, "QRIS").await;
    till.act(&top_up, Action::Pay);
    let order = &top_up.order;
    let signature = hex::encode(Sha512::digest(format!("{order}20050000.00{KEY}")));
    let text = format!(
        "\u{feff}{{\"order_id\":\"{order}\",\"status_code\":200,\"gross_amount\":50000.00,\"transaction_status\":\"settlement\",\"fraud_status\":null,\"signature_key\":\"{signature}\"}}"
    );
    let client = till.shop.client();
    client
        .send(client.request(Method::POST, WEBHOOK).body(text))
        .await
        .data(200);
    assert_eq!(till.paid_balance(&customer).await, 100_000);
    till.shop.books_balance().await;
}

/// A wrong amount without a fee: nothing is credited, and customer and administrators are
/// informed, by a notice or by a status request.
async fn what_cannot_be_used_is_told(till: Till) {
    let customer = till.shop.customer("beda@example.com").await;
    let by_notice = till.top_up(&customer, 200_000, "QRIS").await;
    let by_clock = till.top_up(&customer, 200_000, "QRIS").await;
    let by_asking = till.top_up(&customer, 200_000, "QRIS").await;
    let more = json!({ "gross_amount": "203500.00", "metadata": { "promo": "x" } });
    let other = fee_account([json!("150000"), json!("203500"), json!("3500")]);
    let other = json!({ "gross_amount": "203500.00", "metadata": other });
    for (top_up, told) in [
        (&by_notice, more),
        (&by_clock, other),
        (&by_asking, json!({ "gross_amount": "195000.00" })),
    ] {
        till.gateway.tell(&top_up.order, &told);
        till.act(top_up, Action::Pay);
    }
    till.notify(&by_notice).await.fails(409, "NOTICE_MISMATCH");
    assert_eq!(unclear(&till, "OPEN").await, 1);
    till.notify(&by_notice).await.fails(409, "NOTICE_MISMATCH");
    till.status(&customer, &by_asking).await;
    assert_eq!(unclear(&till, "OPEN").await, 2);
    till.shop.clock().advance(TimeDelta::seconds(31));
    eventually("the clock finds the third", async || {
        unclear(&till, "OPEN").await == 3
    })
    .await;
    for top_up in [&by_notice, &by_clock, &by_asking] {
        let status = till.status(&customer, top_up).await;
        assert_eq!(status["payment"], "PENDING");
        assert!(
            status["notice"]
                .as_str()
                .unwrap()
                .contains("do not pay again"),
            "{status}"
        );
        cancel(&customer, top_up).await.fails(409, "INVALID_STATE");
        assert!(
            till.seen(top_up).await["payment"]["problem"]
                .as_str()
                .unwrap()
                .contains("was asked for")
        );
    }
    assert_eq!(till.paid_balance(&customer).await, 0);
    let alerts = till
        .admin
        .get("/api/admin/alerts?kind=PAYMENT_UNCLEAR")
        .await
        .data(200);
    assert!(
        alerts[0]["message"].as_str().unwrap().contains("/review"),
        "{alerts:#}"
    );
    // A corrected answer of the gateway is credited and ends the alert.
    till.gateway.tell(&by_asking.order, &json!({}));
    till.status(&customer, &by_asking).await;
    till.shop.clock().advance(TimeDelta::seconds(6));
    assert_eq!(
        till.status(&customer, &by_asking).await["notice"],
        Value::Null
    );
    assert_eq!(till.paid_balance(&customer).await, 200_000);
    assert_eq!(
        (
            unclear(&till, "OPEN").await,
            unclear(&till, "RESOLVED").await
        ),
        (2, 1)
    );
    till.shop.books_balance().await;
}

/// An answer that is not from Midtrans, and a refused request, raise alerts too; orders that
/// end without money need no amount.
async fn odd_answers_and_unpaid_orders(till: Till) {
    let customer = till.shop.customer("aneh@example.com").await;
    let odd = till.top_up(&customer, 10_000, "QRIS").await;
    till.act(&odd, Action::Choose);
    for told in [
        json!({ "transaction_status": "teleported" }),
        json!({ "gross_amount": [1] }),
        json!({ "order_id": "another" }),
        json!({ "status_code": 402 }),
    ] {
        till.gateway.tell(&odd.order, &told);
        till.shop.clock().advance(TimeDelta::seconds(6));
        assert!(
            till.status(&customer, &odd).await["notice"].is_string(),
            "{told}"
        );
        assert_eq!(unclear(&till, "OPEN").await, 1, "{told}");
        till.gateway.tell(&odd.order, &json!({}));
        till.shop.clock().advance(TimeDelta::seconds(6));
        assert!(
            till.status(&customer, &odd).await["notice"].is_null(),
            "{told}"
        );
        assert_eq!(unclear(&till, "OPEN").await, 0, "{told}");
    }
    till.gateway.tell(
        &odd.order,
        &json!({ "gross_amount": "1.00", "currency": "USD" }),
    );
    till.act(&odd, Action::Deny);
    till.notify(&odd).await.data(200);
    assert_eq!(till.status(&customer, &odd).await["payment"], "DENIED");
    assert_eq!(unclear(&till, "OPEN").await, 0);
    till.shop.books_balance().await;
}

/// An administrator settles by hand and closes the payment.
async fn an_unclear_payment_is_closed_by_hand(till: Till) {
    let customer = till.shop.customer("tutup@example.com").await;
    let top_up = till.top_up(&customer, 200_000, "QRIS").await;
    till.gateway
        .tell(&top_up.order, &json!({ "gross_amount": "100000.00" }));
    till.act(&top_up, Action::Pay);
    let id = till.seen(&top_up).await["payment"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/admin/payments/{id}/review");
    let reason = json!({ "reason": "Refunded at the gateway." });
    till.admin
        .post(&path, reason.clone())
        .await
        .fails(409, "INVALID_STATE");
    till.notify(&top_up).await.fails(409, "NOTICE_MISMATCH");
    customer
        .post(&path, reason.clone())
        .await
        .fails(403, "FORBIDDEN");
    till.admin
        .post(&path, json!({ "reason": "short" }))
        .await
        .fails(400, "VALIDATION_FAILED");
    let keyed = till.admin.with_key("close-1");
    let closed = keyed.post(&path, reason.clone()).await.data(200);
    assert_eq!(
        (&closed["state"], &closed["problem"], &closed["nextCheckAt"]),
        (&json!("FAILED"), &Value::Null, &Value::Null)
    );
    assert!(keyed.post(&path, reason).await.is_replayed());
    assert_eq!(
        (
            unclear(&till, "OPEN").await,
            unclear(&till, "RESOLVED").await
        ),
        (0, 1)
    );
    till.shop.clock().advance(TimeDelta::minutes(90));
    assert_eq!(check_due(&till.shop.state().payments).await.unwrap(), 0);
    assert_eq!(
        till.status(&customer, &top_up).await["transaction"]["status"],
        "FAILED"
    );
    till.shop.books_balance().await;
}

/// Repeated requests of a customer reach the gateway once in five seconds.
async fn one_question_in_some_seconds(till: Till) {
    let customer = till.shop.customer("sering@example.com").await;
    let top_up = till.top_up(&customer, 20_000, "QRIS").await;
    let before = till.gateway.asked();
    let all: Vec<Value> = stream::iter(0..30)
        .map(|_| till.status(&customer, &top_up))
        .buffer_unordered(10)
        .collect()
        .await;
    assert!(
        all.iter()
            .all(|status| status["isConfirmed"] == true && status["payment"] == "PENDING")
    );
    assert_eq!(till.gateway.asked() - before, 1);
    till.act(&top_up, Action::Pay);
    assert_eq!(till.status(&customer, &top_up).await["payment"], "PENDING");
    till.shop.clock().advance(TimeDelta::seconds(6));
    assert_eq!(till.status(&customer, &top_up).await["payment"], "SETTLED");
    assert_eq!(till.gateway.asked() - before, 2);
}

/// When the gateway demands a pause, status requests wait, and other payments work as before.
async fn a_pause_slows_the_asker_alone(till: Till) {
    let greedy = till.shop.customer("rakus@example.com").await;
    let modest = till.shop.customer("sederhana@example.com").await;
    let mut top_ups = Vec::new();
    for _ in 0..7 {
        top_ups.push(till.top_up(&greedy, 10_000, "CREDIT_CARD").await);
    }
    till.gateway.fail_next([Fault::TooMany(40); 7]);
    for top_up in &top_ups {
        assert_eq!(till.status(&greedy, top_up).await["isConfirmed"], false);
    }
    let view = till
        .admin
        .get("/api/admin/payments/gateway")
        .await
        .data(200);
    assert!(view["leftAloneUntil"].is_null(), "{view}");
    till.top_up(&modest, 10_000, "QRIS").await;
    let asked = till.gateway.asked();
    till.shop.clock().advance(TimeDelta::seconds(20));
    till.status(&greedy, &top_ups[0]).await;
    assert_eq!(till.gateway.asked(), asked, "40 seconds are not over");
    till.gateway.fail_next([Fault::TooMany(25)]);
    let refused = modest
        .post(
            "/api/wallet/topup",
            json!({ "amount": 10_000, "paymentMethod": "QRIS" }),
        )
        .await;
    refused.fails(503, "GATEWAY_UNAVAILABLE");
    assert_eq!(refused.headers["retry-after"], "25");

    // Repeated cancellations are stopped by the shop, not by the gateway.
    till.gateway.fail_next([Fault::TooMany(5); 53]);
    let mut stopped = Vec::new();
    for _ in 0..60 {
        let answer = cancel(&greedy, &top_ups[0]).await;
        if answer.status == 429 {
            stopped.push(answer);
        }
    }
    assert!(!stopped.is_empty());
    stopped[0].fails(429, "TOO_MANY_REQUESTS");
    assert!(stopped[0].headers.contains_key("retry-after"));
    till.gateway.forgive();
    till.top_up(&modest, 10_000, "QRIS").await;
}

/// The scheduled job also pauses as long as the gateway demands, with all payments that are
/// due.
async fn the_clock_rests_too(till: Till) {
    for email in ["istirahat@example.com", "tidur@example.com"] {
        let customer = till.shop.customer(email).await;
        for _ in 0..6 {
            till.top_up(&customer, 10_000, "QRIS").await;
        }
    }
    let before = till.gateway.asked();
    till.gateway.fail_next([Fault::TooMany(50); 8]);
    till.shop.clock().advance(TimeDelta::seconds(31));
    eventually("a batch is asked about", async || {
        till.gateway.asked() == before + 8
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(
        (
            check_due(&till.shop.state().payments).await.unwrap(),
            till.gateway.asked()
        ),
        (0, before + 8)
    );
    till.shop.clock().advance(TimeDelta::seconds(65));
    eventually("then all are", async || till.gateway.asked() >= before + 20).await;
    let view = till
        .admin
        .get("/api/admin/payments/gateway")
        .await
        .data(200);
    assert!(view["leftAloneUntil"].is_null(), "{view}");
}

/// An answer that is older than the payment, as another server booked a later one meanwhile, is
/// requested again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_older_than_the_payment() {
    let Some(till) = Till::open(Engine::Postgres).await else {
        return;
    };
    let customer = till.shop.customer("basi@example.com").await;
    let second = till.shop.second_server().await;
    for stale in [Action::Deny, Action::Cancel] {
        let before = till.paid_balance(&customer).await;
        let top_up = till.top_up(&customer, 10_000, "CREDIT_CARD").await;
        till.act(&top_up, Action::Choose);
        till.act(&top_up, stale);
        till.gateway.fail_next([Fault::Late]);
        let asking = till.status(&customer, &top_up);
        let booking = async {
            eventually("the old answer is under way", async || {
                till.gateway.held() == 1
            })
            .await;
            till.gateway.tell(&top_up.order, &json!({ "transaction_status": "capture", "fraud_status": "accept", "status_code": "200" }));
            let notice = till.notice(&top_up);
            second.client().post(WEBHOOK, notice).await.data(200);
            till.gateway.let_go();
        };
        let (status, ()) = join(asking, booking).await;
        assert_eq!(status["payment"], "CAPTURED", "{stale:?}");
        assert_eq!(till.paid_balance(&customer).await, before + 10_000);
    }
    let found = till.shop.books_balance().await;
    assert_eq!(found.entries, 2);
}

/// An unclear payment does not count against the most that a wallet may hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unclear_payment_leaves_room_below_the_cap() {
    let cap = |config: &mut dermaga::config::Config| {
        config.wallet.balance_cap = Some(Rupiah::new(250_000));
    };
    let till = Till::open_with(Engine::Sqlite, cap).await.unwrap();
    let customer = till.shop.customer("batas@example.com").await;
    let top_up = till.top_up(&customer, 200_000, "QRIS").await;
    let next = json!({ "amount": 200_000, "paymentMethod": "QRIS" });
    let again = async || customer.post("/api/wallet/topup", next.clone()).await;
    again().await.fails(409, "BALANCE_CAP_EXCEEDED");
    till.gateway
        .tell(&top_up.order, &json!({ "gross_amount": "190000.00" }));
    till.act(&top_up, Action::Pay);
    till.notify(&top_up).await.fails(409, "NOTICE_MISMATCH");
    again().await.data(201);
}
