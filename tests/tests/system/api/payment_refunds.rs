//! Tests of money taken back: chargebacks, refunds by the gateway and by administrators, and debts.

use chrono::TimeDelta;
use dermaga::sandbox::{Action, Fault};
use dermaga_tests::both_engines;
use futures::{StreamExt, stream};
use serde_json::json;

use crate::api::payments::{Till, eventually};

both_engines!(
    Till,
    [
        a_chargeback_of_spent_money_is_owed,
        cash_given_back_pays_a_debt_first,
        refunds_take_back_what_was_paid,
        a_payment_that_was_refunded_before_it_was_known,
        a_capture_can_be_voided,
        an_administrator_refunds,
        a_refund_is_paid_once_however_often_it_is_asked_for,
        a_refund_and_a_purchase_never_spend_the_same_credit,
        a_refused_refund_goes_back_into_the_wallet,
        a_capture_that_the_gateway_does_not_know_is_not_paid_back,
        a_refusal_that_proves_nothing_leaves_the_refund_open
    ]
);

/// A chargeback of spent money leaves a debt; the next top-ups pay it first.
async fn a_chargeback_of_spent_money_is_owed(till: Till) {
    let customer = till.shop.customer("utang@example.com").await;
    let top_up = till.paid(&customer, 60_000).await;
    let plan = till.shop.plan("n8n", "basic").await;
    customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    assert_eq!(till.paid_balance(&customer).await, 10_000);
    till.act(&top_up, Action::Chargeback);
    let statuses: Vec<u16> = stream::iter(0..10)
        .map(|_| async { till.notify(&top_up).await.status })
        .buffer_unordered(10)
        .collect()
        .await;
    assert_eq!(statuses, vec![200; 10]);
    assert_eq!(till.paid_balance(&customer).await, 0);
    let found = till.shop.books_balance().await;
    assert_eq!(
        (
            found.accounts["RECEIVABLES"].get(),
            found.accounts["GATEWAY"].get()
        ),
        (-50_000, 0)
    );
    let debts = customer.get("/api/wallet/debts").await.data(200);
    assert_eq!(
        (
            &debts[0]["amount"],
            &debts[0]["paid"],
            debts.as_array().unwrap().len()
        ),
        (&json!(50_000), &json!(0), 1)
    );
    assert_eq!(
        till.status(&customer, &top_up).await["transaction"]["status"],
        "REFUNDED"
    );
    let admin = &till.admin;
    let alerts = admin.get("/api/admin/alerts").await.data(200);
    assert!(
        alerts
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["kind"] == "CUSTOMER_DEBT"),
        "{alerts:#}"
    );

    till.paid(&customer, 20_000).await;
    assert_eq!(till.paid_balance(&customer).await, 0);
    assert_eq!(
        admin.get("/api/admin/debts?open=true").await.data(200)[0]["paid"],
        20_000
    );
    till.paid(&customer, 45_000).await;
    assert_eq!(till.paid_balance(&customer).await, 15_000);
    assert!(
        admin
            .get("/api/admin/debts?open=true")
            .await
            .data(200)
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert!(!customer.get("/api/wallet/debts").await.data(200)[0]["settledAt"].is_null());
    let found = till.shop.books_balance().await;
    assert_eq!(found.accounts["RECEIVABLES"].get(), 0);
    customer
        .get("/api/admin/debts")
        .await
        .fails(403, "FORBIDDEN");
}

/// Cash from a refund of a subscription pays an open debt before it reaches the wallet.
async fn cash_given_back_pays_a_debt_first(till: Till) {
    let customer = till.shop.customer("lunas@example.com").await;
    let top_up = till.paid(&customer, 50_000).await;
    let plan = till.shop.plan("n8n", "basic").await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    till.act(&top_up, Action::Chargeback);
    assert_eq!(till.notify(&top_up).await.status, 200);
    let id = bought["subscription"]["id"].as_str().unwrap();
    let path = format!("/api/admin/subscriptions/{id}/refund");
    for (amount, paid) in [(20_000, 20_000), (30_000, 50_000)] {
        let refund = json!({ "amount": amount, "reason": "Outage of a day" });
        till.admin.post(&path, refund).await.data(201);
        assert_eq!(till.paid_balance(&customer).await, 0);
        let debts = customer.get("/api/wallet/debts").await.data(200);
        assert_eq!(debts[0]["paid"], paid);
    }
    let open = till
        .admin
        .get("/api/admin/alerts?kind=CUSTOMER_DEBT&state=OPEN");
    assert_eq!(open.await.data(200), json!([]));
    let found = till.shop.books_balance().await;
    assert_eq!(found.accounts["RECEIVABLES"].get(), 0);
}

/// Partial refunds, notified twice and in the wrong order, never exceed the payment.
async fn refunds_take_back_what_was_paid(till: Till) {
    let customer = till.shop.customer("kembali@example.com").await;
    let top_up = till.paid(&customer, 50_000).await;
    till.act(&top_up, Action::Refund(10_000));
    let first = till.notice(&top_up);
    till.act(&top_up, Action::Refund(15_000));
    let second = till.notice(&top_up);
    for notice in [&second, &first, &second] {
        till.send(notice.clone()).await.data(200);
        assert_eq!(till.paid_balance(&customer).await, 25_000);
    }
    assert_eq!(
        till.status(&customer, &top_up).await["transaction"]["status"],
        "COMPLETED"
    );
    till.act(&top_up, Action::Chargeback);
    till.notify(&top_up).await.data(200);
    assert_eq!(
        till.paid_balance(&customer).await,
        0,
        "what was refunded is not charged back again"
    );
    let seen = till.seen(&top_up).await;
    assert_eq!(
        (&seen["payment"]["state"], &seen["payment"]["reversed"]),
        (&json!("REVERSED"), &json!(50_000))
    );
    assert_eq!(
        till.status(&customer, &top_up).await["transaction"]["status"],
        "REFUNDED"
    );
    assert!(
        customer
            .get("/api/wallet/debts")
            .await
            .data(200)
            .as_array()
            .unwrap()
            .is_empty()
    );
    till.shop.books_balance().await;
}

/// A payment that was refunded before the first notice is booked together with its refund.
async fn a_payment_that_was_refunded_before_it_was_known(till: Till) {
    let customer = till.shop.customer("terlambat@example.com").await;
    let top_up = till.top_up(&customer, 50_000, "QRIS").await;
    till.act(&top_up, Action::Pay);
    till.act(&top_up, Action::Refund(20_000));
    till.notify(&top_up).await.data(200);
    assert_eq!(till.paid_balance(&customer).await, 30_000);
    assert_eq!(till.shop.books_balance().await.entries, 2);
}

/// A captured card payment that the gateway cancels is reversed.
async fn a_capture_can_be_voided(till: Till) {
    let customer = till.shop.customer("void@example.com").await;
    let top_up = till.top_up(&customer, 50_000, "CREDIT_CARD").await;
    till.act(&top_up, Action::Pay);
    till.notify(&top_up).await.data(200);
    assert_eq!(till.paid_balance(&customer).await, 50_000);
    till.act(&top_up, Action::Cancel);
    till.shop.clock().advance(TimeDelta::hours(25));
    let customer = till.shop.sign_in("void@example.com").await;
    eventually("the void is found", async || {
        till.paid_balance(&customer).await == 0
    })
    .await;
    let transactions = customer.get("/api/wallet/transactions").await.data(200);
    assert_eq!(
        (&transactions[0]["type"], &transactions[1]["status"]),
        (&json!("TOP_UP_REFUND"), &json!("REFUNDED"))
    );
    till.shop.books_balance().await;
}

/// An administrator refunds through the gateway: once, never more than the balance.
async fn an_administrator_refunds(till: Till) {
    let customer = till.shop.customer("refund@example.com").await;
    let top_up = till.paid(&customer, 60_000).await;
    let admin = &till.admin;
    let path = till.refunds_of(&top_up).await;
    let body = |amount: i64| json!({ "amount": amount, "reason": "Pelanggan salah kirim" });
    for amount in [0, -1, 20_000_000] {
        admin
            .post(&path, body(amount))
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    admin
        .post(&path, json!({ "amount": 1_000, "reason": "pendek" }))
        .await
        .fails(400, "VALIDATION_FAILED");
    admin
        .post(&path, body(60_001))
        .await
        .fails(409, "REFUND_TOO_LARGE");
    customer
        .post(&path, body(1_000))
        .await
        .fails(403, "FORBIDDEN");
    let keyed = admin.with_key("refund-1");
    let first = keyed.post(&path, body(20_000)).await;
    assert!(keyed.post(&path, body(20_000)).await.is_replayed());
    assert_eq!(first.data(200)["reversed"], 20_000);
    assert_eq!(till.paid_balance(&customer).await, 40_000);
    // The answer to a successful refund is lost: the gateway is asked again with the same key.
    till.gateway.fail_next([Fault::AnswerLost]);
    assert_eq!(
        admin.post(&path, body(5_000)).await.data(200)["reversed"],
        25_000
    );
    assert_eq!(till.paid_balance(&customer).await, 35_000);
    let plan = till.shop.plan("postgresql", "basic").await;
    customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    admin
        .post(&path, body(35_000))
        .await
        .fails(402, "INSUFFICIENT_CREDIT");
    let waiting = till.top_up(&customer, 10_000, "QRIS").await;
    admin
        .post(&till.refunds_of(&waiting).await, body(10_000))
        .await
        .fails(409, "INVALID_STATE");
    till.shop.books_balance().await;
}

/// The gateway pays, and its answer is lost for longer than one request: the same key asks for the same
/// refund, another one waits, and the clock sends on a refund that is not asked for again.
async fn a_refund_is_paid_once_however_often_it_is_asked_for(till: Till) {
    let customer = till.shop.customer("sekali@example.com").await;
    let top_up = till.paid(&customer, 100_000).await;
    let path = till.refunds_of(&top_up).await;
    let body = json!({ "amount": 30_000, "reason": "Pelanggan salah kirim" });
    let away = [Fault::AnswerLost, Fault::ServerError, Fault::ServerError];
    till.gateway.fail_next(away);
    let keyed = till.admin.with_key("sekali");
    keyed
        .post(&path, body.clone())
        .await
        .fails(503, "GATEWAY_UNAVAILABLE");
    assert_eq!(
        till.paid_balance(&customer).await,
        70_000,
        "the wallet pays first"
    );
    till.admin
        .with_key("lain")
        .post(&path, body.clone())
        .await
        .fails(409, "CONFLICT");
    assert_eq!(
        keyed.post(&path, body.clone()).await.data(200)["reversed"],
        30_000
    );
    assert!(keyed.post(&path, body.clone()).await.is_replayed());

    till.gateway.fail_next(away);
    let later = till.admin.with_key("nanti");
    later
        .post(&path, body.clone())
        .await
        .fails(503, "GATEWAY_UNAVAILABLE");
    let ended = async || {
        till.shop.clock().advance(TimeDelta::seconds(31));
        let mut conn = till.shop.state().db.read().await.unwrap();
        let sql = "SELECT count(*) FROM payment_refunds WHERE state = 'PENDING'";
        dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap().0 == 0
    };
    eventually("the clock sends it on", ended).await;
    assert_eq!(later.post(&path, body).await.data(200)["reversed"], 60_000);
    assert_eq!(till.paid_balance(&customer).await, 40_000);
    till.shop.books_balance().await;
}

/// Refunds of two top-ups and a purchase want the same paid credit at once: it is spent once.
async fn a_refund_and_a_purchase_never_spend_the_same_credit(till: Till) {
    let customer = till.shop.customer("rebut@example.com").await;
    let mut paths = Vec::new();
    for _ in 0..2 {
        let top_up = till.paid(&customer, 50_000).await;
        paths.push(till.refunds_of(&top_up).await);
    }
    let plan = till.shop.plan("postgresql", "basic").await;
    let body = json!({ "amount": 50_000, "reason": "Pelanggan salah kirim" });
    let (first, second, bought) = tokio::join!(
        till.admin.post(&paths[0], body.clone()),
        till.admin.post(&paths[1], body.clone()),
        customer.post("/api/subscriptions", json!({ "planId": plan })),
    );
    let refunded = [first.status, second.status];
    let paid_out =
        50_000 * i64::try_from(refunded.iter().filter(|status| **status == 200).count()).unwrap();
    assert!(
        refunded
            .iter()
            .all(|status| [200, 402, 409].contains(status)),
        "{refunded:?}"
    );
    let price = till.shop.plan_view("postgresql", "basic").await["monthlyPrice"]
        .as_i64()
        .unwrap();
    let spent = if bought.status == 201 { price } else { 0 };
    assert!(
        paid_out + spent <= 100_000,
        "{refunded:?} {}",
        bought.status
    );
    assert_eq!(
        till.paid_balance(&customer).await,
        100_000 - paid_out - spent
    );
    let debts = till.admin.get("/api/admin/debts").await.data(200);
    assert_eq!(debts, json!([]));
    till.shop.books_balance().await;
}

/// The gateway refuses a refund: the wallet has the money again, and another one may be asked for.
async fn a_refused_refund_goes_back_into_the_wallet(till: Till) {
    let customer = till.shop.customer("tolak@example.com").await;
    let top_up = till.paid(&customer, 20_000).await;
    let path = till.refunds_of(&top_up).await;
    let body = json!({ "amount": 20_000, "reason": "Pelanggan salah kirim" });
    till.gateway.fail_next([Fault::Refused]);
    let keyed = till.admin.with_key("tolak");
    keyed
        .post(&path, body.clone())
        .await
        .fails(502, "GATEWAY_REFUSED");
    assert_eq!(till.paid_balance(&customer).await, 20_000);
    keyed
        .post(&path, body.clone())
        .await
        .fails(502, "GATEWAY_REFUSED");
    assert_eq!(
        till.admin.post(&path, body).await.data(200)["state"],
        "REVERSED"
    );
    assert_eq!(till.paid_balance(&customer).await, 0);
    let top_up = customer
        .get("/api/wallet/transactions?type=TOP_UP")
        .await
        .data(200);
    assert_eq!(top_up[0]["status"], "REFUNDED");
    till.shop.books_balance().await;
}

/// The gateway does not know a captured payment: nothing was voided, and the wallet has the money again.
async fn a_capture_that_the_gateway_does_not_know_is_not_paid_back(till: Till) {
    let customer = till.shop.customer("asing@example.com").await;
    let top_up = till.top_up(&customer, 20_000, "CREDIT_CARD").await;
    till.act(&top_up, Action::Pay);
    till.notify(&top_up).await.data(200);
    let path = till.refunds_of(&top_up).await;
    let body = json!({ "amount": 20_000, "reason": "Pelanggan salah kirim" });
    // Voided, refunded, asked for: each time it is unknown.
    till.gateway.fail_next([Fault::Unknown; 3]);
    till.admin
        .post(&path, body)
        .await
        .fails(502, "GATEWAY_REFUSED");
    assert_eq!(till.paid_balance(&customer).await, 20_000);
    assert_eq!(till.seen(&top_up).await["payment"]["state"], "CAPTURED");
    till.shop.books_balance().await;
}

/// The gateway refuses a refund and says of the payment what cannot be used: its payer may have the money, so that
/// the wallet does not get it back, and the refund is asked for again.
async fn a_refusal_that_proves_nothing_leaves_the_refund_open(till: Till) {
    let customer = till.shop.customer("kabur@example.com").await;
    let top_up = till.paid(&customer, 20_000).await;
    let path = till.refunds_of(&top_up).await;
    let body = json!({ "amount": 20_000, "reason": "Pelanggan salah kirim" });
    let unclear = json!({ "transaction_status": "somewhere" });
    till.gateway.tell(&top_up.order, &unclear);
    till.gateway.fail_next([Fault::Refused]);
    let keyed = till.admin.with_key("kabur");
    keyed
        .post(&path, body.clone())
        .await
        .fails(503, "GATEWAY_UNAVAILABLE");
    assert_eq!(till.paid_balance(&customer).await, 0);
    till.gateway.tell(&top_up.order, &json!({}));
    assert_eq!(keyed.post(&path, body).await.data(200)["state"], "REVERSED");
    assert_eq!(till.paid_balance(&customer).await, 0);
    till.shop.books_balance().await;
}
