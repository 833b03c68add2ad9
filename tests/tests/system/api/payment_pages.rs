//! Tests of top-ups whose request ends without an answer: the same key, or the transaction, leads to the page of
//! one top-up.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga::sandbox::{Action, Fault};
use dermaga_tests::{Answer, Client, both_engines};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::api::payments::{Till, TopUp, eventually};

const TOP_UP: &str = "/api/wallet/topup";
const AMOUNT: i64 = 30_000;
/// Time within which a server notices that a client has hung up.
const NOTICED: Duration = Duration::from_millis(500);

both_engines!(
    Till,
    [
        a_client_that_hangs_up_finds_the_page_under_its_key,
        a_client_without_a_key_finds_the_page_by_its_transaction,
        requests_that_time_out_are_one_top_up,
        a_gateway_that_fails_is_asked_again_for_the_same_order,
        eight_requests_at_once_are_one_top_up,
        an_order_whose_page_was_lost_is_replaced,
        an_order_that_was_begun_at_the_gateway_is_closed_there,
        a_page_that_never_arrived_is_asked_for_again,
        a_key_without_an_answer_leads_to_the_paid_top_up,
        top_ups_without_a_page_take_no_place,
        a_cancellation_is_carried_through,
        a_top_up_that_is_cancelled_before_its_page_is_refused,
        a_page_that_arrives_while_its_top_up_is_cancelled_is_closed_too
    ]
);

fn body() -> Value {
    json!({ "amount": AMOUNT, "paymentMethod": "QRIS" })
}

async fn ask(customer: &Client, key: &str) -> Answer {
    customer.with_key(key).post(TOP_UP, body()).await
}

/// Sends the same request with the same key until it is answered with a page.
async fn answered(customer: &Client, key: &str) -> Value {
    for _ in 0..100 {
        let answer = ask(customer, key).await;
        match answer.status {
            201 => return answer.data(201),
            408 | 409 | 503 => tokio::time::sleep(Duration::from_millis(300)).await,
            _ => panic!("{}", answer.text),
        }
    }
    panic!("{key} is never answered");
}

/// Sends a request and hangs up while the gateway's answer to it is on its way.
async fn hang_up(till: &Till, client: &Client, path: &str, body: Value) {
    till.gateway.fail_next([Fault::Late]);
    let (client, path) = (client.clone(), path.to_owned());
    let request = tokio::spawn(async move { client.post(&path, body).await });
    eventually("the gateway is asked", async || till.gateway.held() == 1).await;
    request.abort();
    tokio::time::sleep(NOTICED).await;
    till.gateway.let_go();
}

/// Returns a customer's top-ups, newest first.
async fn top_ups(customer: &Client) -> Value {
    customer
        .get("/api/wallet/transactions?type=TOP_UP")
        .await
        .data(200)
}

async fn states(customer: &Client) -> Vec<Value> {
    let all = top_ups(customer).await;
    let all = all.as_array().unwrap().iter();
    all.map(|one| one["status"].clone()).collect()
}

/// Returns the top-up with the id of a transaction.
async fn find(till: &Till, id: &Value, page: &Value) -> TopUp {
    let payments = till
        .admin
        .get("/api/admin/payments?limit=100")
        .await
        .data(200);
    let mut payments = payments.as_array().unwrap().iter();
    let payment = payments.find(|one| one["transactionId"] == *id).unwrap();
    let order = payment["orderId"].as_str().unwrap().to_owned();
    TopUp {
        id: id.as_str().unwrap().to_owned(),
        number: order.rsplit_once('-').unwrap().0.to_owned(),
        page: page.as_str().unwrap_or_default().to_owned(),
        order,
    }
}

/// Returns the newest top-up of a customer.
async fn newest(till: &Till, customer: &Client) -> TopUp {
    find(till, &top_ups(customer).await[0]["id"], &Value::Null).await
}

/// Pays on the page of a top-up; its notice, which comes twice, credits it once.
async fn pays_once(till: &Till, customer: &Client, top_up: &TopUp) {
    let before = till.paid_balance(customer).await;
    let browser = reqwest::Client::new();
    let paid = browser.post(&top_up.page).body("action=pay").send().await;
    assert!(paid.unwrap().status().is_success(), "{}", top_up.page);
    for _ in 0..2 {
        till.notify(top_up).await.data(200);
    }
    assert_eq!(till.paid_balance(customer).await, before + AMOUNT);
    till.shop.books_balance().await;
}

/// The same for the page of an answer.
async fn pays_answer(till: &Till, customer: &Client, open: &Value) {
    let top_up = find(till, &open["transactionId"], &open["redirectUrl"]).await;
    pays_once(till, customer, &top_up).await;
}

/// A client hangs up while the gateway makes the page: the same key finds it.
async fn a_client_that_hangs_up_finds_the_page_under_its_key(till: Till) {
    let customer = till.shop.customer("putus@example.com").await;
    hang_up(&till, &customer.with_key("putus"), TOP_UP, body()).await;
    let open = answered(&customer, "putus").await;
    assert_eq!(states(&customer).await, ["PENDING"]);
    let again = ask(&customer, "putus").await;
    assert!(again.is_replayed());
    assert_eq!(again.data(201), open);
    pays_answer(&till, &customer, &open).await;
}

/// Without a key, too, the page is kept, and its transaction leads to it.
async fn a_client_without_a_key_finds_the_page_by_its_transaction(till: Till) {
    let customer = till.shop.customer("tanpa@example.com").await;
    hang_up(&till, &customer, TOP_UP, body()).await;
    assert_eq!(states(&customer).await, ["PENDING"]);
    let mut top_up = newest(&till, &customer).await;
    eventually("its page is there", async || {
        till.status(&customer, &top_up).await["redirectUrl"].is_string()
    })
    .await;
    let status = till.status(&customer, &top_up).await;
    top_up.page = status["redirectUrl"].as_str().unwrap().to_owned();
    assert!(top_up.page.ends_with(status["token"].as_str().unwrap()));
    pays_once(&till, &customer, &top_up).await;
    let status = till.status(&customer, &top_up).await;
    assert_eq!(
        (&status["redirectUrl"], &status["token"]),
        (&Value::Null, &Value::Null)
    );
}

/// The gateway takes longer than a request may: the requests with one key are one top-up.
async fn requests_that_time_out_are_one_top_up(till: Till) {
    let customer = till.shop.customer("lama@example.com").await;
    let Till {
        shop,
        gateway,
        admin,
    } = till;
    let hurried = shop.restart_with(|config| {
        config.http.request_timeout = Duration::from_secs(2);
        config.payments.midtrans.timeout = Duration::from_millis(900);
    });
    let shop = hurried.await.unwrap();
    let (customer, admin) = (
        customer.moved_to(shop.client()),
        admin.moved_to(shop.client()),
    );
    let till = Till {
        shop,
        gateway,
        admin,
    };
    till.gateway.fail_next([Fault::Silence; 3]);
    ask(&customer, "lama").await.fails(408, "REQUEST_TIMEOUT");
    let open = answered(&customer, "lama").await;
    assert_eq!(states(&customer).await, ["PENDING"]);
    pays_answer(&till, &customer, &open).await;
}

/// The gateway fails, with or without having made the page: the same key asks again for the same order.
async fn a_gateway_that_fails_is_asked_again_for_the_same_order(till: Till) {
    let customer = till.shop.customer("gagal@example.com").await;
    for (key, fault) in [("gagal", Fault::ServerError), ("hilang", Fault::AnswerLost)] {
        till.gateway.fail_next([fault; 3]);
        let refused = ask(&customer, key).await;
        refused.fails(503, "GATEWAY_UNAVAILABLE");
        assert!(refused.headers.contains_key("retry-after"));
        let begun = newest(&till, &customer).await;
        let open = ask(&customer, key).await.data(201);
        assert_eq!(open["transactionId"], begun.id.as_str());
        pays_answer(&till, &customer, &open).await;
        assert!(ask(&customer, key).await.is_replayed());
    }
    assert_eq!(states(&customer).await, ["COMPLETED", "COMPLETED"]);
}

/// Of eight requests at once with one key, the first of which the gateway fails, comes one top-up.
async fn eight_requests_at_once_are_one_top_up(till: Till) {
    let customer = till.shop.customer("serentak@example.com").await;
    till.gateway.fail_next([Fault::ServerError; 3]);
    let answers: Vec<Answer> = stream::iter(0..8)
        .map(|_| ask(&customer, "serentak"))
        .buffer_unordered(8)
        .collect()
        .await;
    let open = answered(&customer, "serentak").await;
    for answer in answers {
        match answer.status {
            201 => assert_eq!(answer.body["data"], open),
            409 => {
                answer.fails(409, "IN_PROGRESS");
            }
            _ => assert_eq!(answer.status, 503, "{}", answer.text),
        }
    }
    assert_eq!(states(&customer).await, ["PENDING"]);
    pays_answer(&till, &customer, &open).await;
}

/// The gateway has made a page whose answer was lost, and makes no second one for the order: another order
/// takes its place in the same request. Money for either is credited once.
async fn an_order_whose_page_was_lost_is_replaced(till: Till) {
    let customer = till.shop.customer("ganti@example.com").await;
    till.gateway
        .fail_next([Fault::AnswerLost, Fault::OrderUsed]);
    let open = ask(&customer, "ganti").await.data(201);
    assert_eq!(states(&customer).await, ["PENDING", "FAILED"]);
    let lost = find(&till, &top_ups(&customer).await[1]["id"], &Value::Null).await;
    pays_answer(&till, &customer, &open).await;
    till.act(&lost, Action::Pay);
    for _ in 0..2 {
        till.notify(&lost).await.data(200);
    }
    assert_eq!(till.paid_balance(&customer).await, 2 * AMOUNT);
    assert_eq!(states(&customer).await, ["COMPLETED", "COMPLETED"]);
    till.shop.books_balance().await;
}

/// An order that a payer has begun to pay, though its page never arrived here, is cancelled at the gateway before
/// another takes its place; one that was paid is credited and has no successor.
async fn an_order_that_was_begun_at_the_gateway_is_closed_there(till: Till) {
    let customer = till.shop.customer("mulai@example.com").await;
    let begin = async |key: &str, action: Action| {
        till.gateway
            .fail_next([Fault::AnswerLost, Fault::ServerError, Fault::ServerError]);
        ask(&customer, key).await.fails(503, "GATEWAY_UNAVAILABLE");
        let begun = newest(&till, &customer).await;
        till.act(&begun, action);
        begun
    };
    let begun = begin("mulai", Action::Choose).await;
    let open = ask(&customer, "mulai").await.data(201);
    assert_ne!(open["transactionId"], begun.id.as_str());
    assert_eq!(till.notice(&begun)["transaction_status"], "cancel");
    assert_eq!(states(&customer).await, ["PENDING", "FAILED"]);
    pays_answer(&till, &customer, &open).await;

    begin("lunas", Action::Pay).await;
    for _ in 0..2 {
        ask(&customer, "lunas").await.fails(409, "INVALID_STATE");
    }
    assert_eq!(till.paid_balance(&customer).await, 2 * AMOUNT);
    assert_eq!(
        states(&customer).await,
        ["COMPLETED", "COMPLETED", "FAILED"]
    );
    till.shop.books_balance().await;
}

/// A page that a server has lost with its life is asked for again when its customer looks.
async fn a_page_that_never_arrived_is_asked_for_again(till: Till) {
    let customer = till.shop.customer("mati@example.com").await;
    let mut top_up = till.top_up(&customer, AMOUNT, "QRIS").await;
    till.shop
        .sql("UPDATE payments SET state = 'STARTING', token = NULL, redirect_url = NULL")
        .await
        .unwrap();
    till.gateway.fail_next([Fault::ServerError; 3]);
    let status = till.status(&customer, &top_up).await;
    assert_eq!(
        (
            &status["payment"],
            &status["isConfirmed"],
            &status["redirectUrl"]
        ),
        (&json!("STARTING"), &json!(false), &Value::Null)
    );
    till.shop.clock().advance(TimeDelta::seconds(6));
    let asked = till.gateway.asked();
    let all: Vec<Value> = stream::iter(0..10)
        .map(|_| till.status(&customer, &top_up))
        .buffer_unordered(10)
        .collect()
        .await;
    assert!(
        all.iter().all(|status| status["payment"] == "PENDING"),
        "{all:?}"
    );
    assert!(till.gateway.asked() - asked <= 2, "a page and a status");
    let page = all[0]["redirectUrl"].as_str().unwrap();
    assert_ne!(page, top_up.page);
    top_up.page = page.to_owned();
    pays_once(&till, &customer, &top_up).await;
}

/// A key that was never answered leads to the top-up that was paid by its transaction, and a day later to another.
async fn a_key_without_an_answer_leads_to_the_paid_top_up(till: Till) {
    let customer = till.shop.customer("nanti@example.com").await;
    till.gateway.fail_next([Fault::ServerError; 3]);
    ask(&customer, "nanti")
        .await
        .fails(503, "GATEWAY_UNAVAILABLE");
    let mut top_up = newest(&till, &customer).await;
    till.shop.clock().advance(TimeDelta::seconds(6));
    let status = till.status(&customer, &top_up).await;
    top_up.page = status["redirectUrl"].as_str().unwrap().to_owned();
    pays_once(&till, &customer, &top_up).await;
    let open = ask(&customer, "nanti").await.data(201);
    assert_eq!(
        (&open["transactionId"], &open["redirectUrl"]),
        (&json!(top_up.id), &json!(top_up.page))
    );
    assert_eq!(states(&customer).await, ["COMPLETED"]);

    till.shop.clock().advance(TimeDelta::hours(25));
    let customer = till.shop.sign_in("nanti@example.com").await;
    let other = ask(&customer, "nanti").await.data(201);
    assert_ne!(other["transactionId"], open["transactionId"]);
    assert_eq!(till.paid_balance(&customer).await, AMOUNT);
}

/// Top-ups that got no page do not count among those that wait; their keys lead to others.
async fn top_ups_without_a_page_take_no_place(till: Till) {
    let customer = till.shop.customer("banyak@example.com").await;
    let Till { shop, gateway, .. } = till;
    let shop = shop
        .restart_with(|config| config.payments.open_top_ups = 2)
        .await
        .unwrap();
    let customer = customer.moved_to(shop.client());
    for key in ["satu", "dua", "tiga"] {
        gateway.fail_next([Fault::Garbage]);
        ask(&customer, key).await.fails(503, "GATEWAY_UNAVAILABLE");
    }
    ask(&customer, "empat").await.data(201);
    let closed = ["PENDING", "FAILED", "FAILED", "FAILED"];
    assert_eq!(states(&customer).await, closed);
    ask(&customer, "satu").await.data(201);
    ask(&customer, "dua")
        .await
        .fails(409, "TOO_MANY_OPEN_TOP_UPS");
    assert_eq!(states(&customer).await.len(), 5);
    shop.books_balance().await;
}

/// A client hangs up while its top-up is cancelled at the gateway: it is cancelled here, too.
async fn a_cancellation_is_carried_through(till: Till) {
    let customer = till.shop.customer("batal@example.com").await;
    let top_up = till.top_up(&customer, AMOUNT, "QRIS").await;
    let path = format!("/api/wallet/transactions/{}/cancel", top_up.id);
    hang_up(&till, &customer, &path, json!({})).await;
    eventually("it is cancelled", async || {
        till.seen(&top_up).await["payment"]["state"] == "CANCELLED"
    })
    .await;
    assert!(
        till.gateway.act(&top_up.order, Action::Pay).is_err(),
        "its page is closed"
    );
}

async fn cancel(customer: &Client, top_up: &TopUp) -> Answer {
    let path = format!("/api/wallet/transactions/{}/cancel", top_up.id);
    customer.post(&path, json!({})).await
}

/// A customer cancels a top-up while its page is made: its request is refused, also when it is sent again, and no
/// page stays open.
async fn a_top_up_that_is_cancelled_before_its_page_is_refused(till: Till) {
    let customer = till.shop.customer("urung@example.com").await;
    for key in [Some("urung"), None] {
        till.gateway.fail_next([Fault::Late]);
        let asking = key.map_or_else(|| customer.clone(), |key| customer.with_key(key));
        let request = tokio::spawn({
            let asking = asking.clone();
            async move { asking.post(TOP_UP, body()).await }
        });
        eventually("the gateway is asked", async || till.gateway.held() == 1).await;
        let top_up = newest(&till, &customer).await;
        let cancelled = cancel(&customer, &top_up).await.data(200);
        assert_eq!(cancelled["payment"], "CANCELLED");
        till.gateway.let_go();
        request.await.unwrap().fails(409, "CONFLICT");
        let paid = till.gateway.act(&top_up.order, Action::Pay);
        assert!(paid.is_err(), "its page is closed");
        if key.is_some() {
            let again = asking.post(TOP_UP, body()).await;
            assert!(again.is_replayed());
            again.fails(409, "CONFLICT");
        }
    }
    // The first request was never answered.
    till.gateway.fail_next([Fault::ServerError; 3]);
    ask(&customer, "sunyi")
        .await
        .fails(503, "GATEWAY_UNAVAILABLE");
    let top_up = newest(&till, &customer).await;
    cancel(&customer, &top_up).await.data(200);
    for _ in 0..2 {
        ask(&customer, "sunyi").await.fails(409, "CONFLICT");
    }
    assert_eq!(states(&customer).await, ["CANCELLED"; 3]);
    assert_eq!(till.paid_balance(&customer).await, 0);
    till.shop.books_balance().await;
}

/// The page of a top-up arrives while the gateway is asked to cancel the order: the page is closed, too.
async fn a_page_that_arrives_while_its_top_up_is_cancelled_is_closed_too(till: Till) {
    let customer = till.shop.customer("silang@example.com").await;
    till.gateway.fail_next([Fault::ServerError; 3]);
    ask(&customer, "silang")
        .await
        .fails(503, "GATEWAY_UNAVAILABLE");
    let top_up = newest(&till, &customer).await;
    till.gateway.fail_next([Fault::Late]);
    let cancelling = tokio::spawn({
        let (customer, id) = (customer.clone(), top_up.id.clone());
        let path = format!("/api/wallet/transactions/{id}/cancel");
        async move { customer.post(&path, json!({})).await }
    });
    eventually("the gateway is asked", async || till.gateway.held() == 1).await;
    ask(&customer, "silang").await.data(201);
    till.gateway.let_go();
    let cancelled = cancelling.await.unwrap().data(200);
    assert_eq!(cancelled["payment"], "CANCELLED");
    let paid = till.gateway.act(&top_up.order, Action::Pay);
    assert!(paid.is_err(), "its page is closed");
    assert_eq!(states(&customer).await, ["CANCELLED"]);
}
