//! Tests of a gateway that is slow, fails, lies, or is played by the shop itself.

use chrono::TimeDelta;
use dermaga::sandbox::{Action, Fault};
use dermaga_tests::{Answer, Engine, Shop, both_engines};
use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::api::payments::{KEY, Till, WEBHOOK, eventually};

both_engines!(
    Till,
    [
        bad_notices_are_refused,
        a_status_that_the_gateway_does_not_confirm,
        a_notice_that_fails_is_applied_when_it_comes_again,
        a_gateway_that_fails,
        the_breaker_opens_and_closes,
        bad_and_repeated_top_ups
    ]
);

/// Notices that are not from the gateway, or not about a known payment, are refused and write
/// nothing.
async fn bad_notices_are_refused(till: Till) {
    let customer = till.shop.customer("palsu@example.com").await;
    let top_up = till.top_up(&customer, 40_000, "QRIS").await;
    till.act(&top_up, Action::Pay);
    let good = till.notice(&top_up);
    let signed = |key: &str, changes: Value| {
        let mut notice = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            notice[name] = value.clone();
        }
        let text = |name: &str| notice[name].as_str().unwrap().to_owned();
        let input = format!(
            "{}{}{}{key}",
            text("order_id"),
            text("status_code"),
            text("gross_amount")
        );
        notice["signature_key"] = hex::encode(Sha512::digest(input)).into();
        notice
    };
    let mut unsigned = good.clone();
    unsigned.as_object_mut().unwrap().remove("signature_key");
    let mut altered = good.clone();
    altered["gross_amount"] = "4000000.00".into();
    for forged in [
        unsigned,
        altered,
        signed("SB-Mid-server-another", json!({})),
    ] {
        till.send(forged).await.fails(401, "SIGNATURE_INVALID");
    }
    till.send(signed(KEY, json!({ "order_id": "TXMP-1-nobody" })))
        .await
        .fails(404, "NOT_FOUND");
    for (field, value) in [
        ("gross_amount", "4000000.00"),
        ("gross_amount", "40000.50"),
        ("gross_amount", "4e4"),
        ("gross_amount", "-40000.00"),
        ("gross_amount", "99999999999999999999.00"),
        ("currency", "USD"),
        ("transaction_status", "paid"),
    ] {
        till.send(signed(KEY, json!({ field: value })))
            .await
            .fails(409, "NOTICE_MISMATCH");
    }
    for wrong in [
        json!({}),
        json!([]),
        json!("settlement"),
        json!({ "order_id": 5 }),
    ] {
        till.send(wrong).await.fails(400, "MALFORMED_REQUEST");
    }
    let utf16: Vec<u8> = good
        .to_string()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let form = b"order_id=1&status_code=200".to_vec();
    for body in [utf16, form, Vec::new(), vec![0xff; 10]] {
        let client = till.shop.client();
        client
            .send(client.request(Method::POST, WEBHOOK).body(body))
            .await
            .fails(400, "MALFORMED_REQUEST");
    }
    assert_eq!(till.paid_balance(&customer).await, 0);
    let seen = till.seen(&top_up).await;
    assert_eq!(seen["payment"]["state"], "PENDING");
    let outcomes: Vec<_> = seen["notices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["outcome"].clone())
        .collect();
    assert_eq!(
        outcomes,
        vec![json!("REFUSED"); 7],
        "authentic ones are kept for an administrator"
    );
    till.send(good).await.data(200);
    assert_eq!(till.paid_balance(&customer).await, 40_000);
    till.shop.books_balance().await;
}

/// The signature does not cover the status: a notice with a forged status changes nothing.
async fn a_status_that_the_gateway_does_not_confirm(till: Till) {
    let customer = till.shop.customer("ubah@example.com").await;
    let waiting = till.top_up(&customer, 15_000, "QRIS").await;
    till.act(&waiting, Action::Choose);
    let mut notice = till.notice(&waiting);
    notice["transaction_status"] = "settlement".into();
    till.send(notice).await.fails(503, "GATEWAY_UNAVAILABLE");
    assert_eq!(till.paid_balance(&customer).await, 0);
    let paid = till.paid(&customer, 25_000).await;
    let mut notice = till.notice(&paid);
    notice["transaction_status"] = "refund".into();
    till.send(notice).await.fails(503, "GATEWAY_UNAVAILABLE");
    assert_eq!(till.paid_balance(&customer).await, 25_000);
    till.shop.books_balance().await;
}

/// A notice that cannot be confirmed is answered 5xx, and applied when it is repeated.
async fn a_notice_that_fails_is_applied_when_it_comes_again(till: Till) {
    let customer = till.shop.customer("ulang@example.com").await;
    let top_up = till.top_up(&customer, 60_000, "QRIS").await;
    till.act(&top_up, Action::Pay);
    till.gateway.fail_next([Fault::ServerError; 3]);
    till.notify(&top_up).await.fails(503, "GATEWAY_UNAVAILABLE");
    assert_eq!(till.paid_balance(&customer).await, 0);
    let seen = till.seen(&top_up).await;
    assert_eq!(seen["notices"][0]["outcome"], "RECEIVED");
    till.gateway.fail_next([Fault::Garbage]);
    till.notify(&top_up).await.fails(503, "GATEWAY_UNAVAILABLE");
    till.notify(&top_up).await.data(200);
    assert_eq!(till.paid_balance(&customer).await, 60_000);
    till.shop.books_balance().await;
}

/// Without a key, a failing gateway leaves no waiting top-up behind; a lost answer is requested again.
async fn a_gateway_that_fails(till: Till) {
    let customer = till.shop.customer("gagal@example.com").await;
    let body = json!({ "amount": 10_000, "paymentMethod": "QRIS" });
    till.gateway
        .fail_next([Fault::AnswerLost, Fault::ServerError]);
    customer
        .post("/api/wallet/topup", body.clone())
        .await
        .data(201);
    for faults in [
        vec![Fault::ServerError; 3],
        vec![Fault::Garbage],
        vec![Fault::Silence],
    ] {
        till.gateway.fail_next(faults);
        let refused = customer.post("/api/wallet/topup", body.clone()).await;
        refused.fails(503, "GATEWAY_UNAVAILABLE");
        assert!(refused.headers.contains_key("retry-after"));
    }
    let failed = customer
        .get("/api/wallet/transactions?type=TOP_UP&status=FAILED")
        .await
        .data(200);
    assert_eq!(failed.as_array().unwrap().len(), 3);
    let waiting = customer
        .get("/api/wallet/transactions?type=TOP_UP&status=PENDING")
        .await
        .data(200);
    assert_eq!(waiting.as_array().unwrap().len(), 1);
    // The fifth failure in a row has opened the breaker; the same key can retry after its
    // pause, and is one top-up.
    let keyed = customer.with_key("satu");
    let left_alone = keyed.post("/api/wallet/topup", body.clone()).await;
    left_alone.fails(503, "GATEWAY_UNAVAILABLE");
    till.shop.clock().advance(TimeDelta::seconds(31));
    eventually("it is tried again", async || {
        let again = keyed.post("/api/wallet/topup", body.clone()).await;
        again.status == 201
    })
    .await;
    let all = customer
        .get("/api/wallet/transactions?type=TOP_UP")
        .await
        .data(200);
    assert_eq!(all.as_array().unwrap().len(), 5, "{all:#}");
    till.shop.books_balance().await;
}

/// After failures in a row the gateway is not called for a while, administrators have an alert,
/// and it is tried again.
async fn the_breaker_opens_and_closes(till: Till) {
    let customer = till.shop.customer("putus@example.com").await;
    let admin = &till.admin;
    let body = json!({ "amount": 10_000, "paymentMethod": "QRIS" });
    till.gateway.fail_next([Fault::ServerError; 5]);
    for _ in 0..2 {
        customer
            .post("/api/wallet/topup", body.clone())
            .await
            .fails(503, "GATEWAY_UNAVAILABLE");
    }
    let asked = till.gateway.asked();
    customer
        .post("/api/wallet/topup", body.clone())
        .await
        .fails(503, "GATEWAY_UNAVAILABLE");
    assert_eq!(till.gateway.asked(), asked, "it is left alone");
    let view = admin.get("/api/admin/payments/gateway").await.data(200);
    assert!(!view["leftAloneUntil"].is_null(), "{view}");
    let is_told = async |open: bool| {
        let alerts = admin.get("/api/admin/alerts?state=OPEN").await.data(200);
        alerts
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["kind"] == "GATEWAY_AWAY")
            == open
    };
    eventually("administrators are told", async || is_told(true).await).await;
    till.shop.clock().advance(TimeDelta::seconds(31));
    customer.post("/api/wallet/topup", body).await.data(201);
    eventually("and that it is over", async || is_told(false).await).await;
}

/// Invalid top-ups are refused, and repetitions with the same key start one.
async fn bad_and_repeated_top_ups(till: Till) {
    let customer = till.shop.customer("isi@example.com").await;
    let top_up = |amount: Value, method: Value| {
        customer.post(
            "/api/wallet/topup",
            json!({ "amount": amount, "paymentMethod": method }),
        )
    };
    for amount in [
        json!(0),
        json!(-10_000),
        json!(9_999),
        json!(10_000_001),
        json!(i64::MAX),
        json!(10_000.5),
        json!(1e30),
        json!("10000"),
        json!(null),
    ] {
        top_up(amount, json!("QRIS"))
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    for method in [json!("CASH"), json!("qris"), json!("Q".repeat(10_000))] {
        top_up(json!(10_000), method)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    till.shop
        .client()
        .post(
            "/api/wallet/topup",
            json!({ "amount": 10_000, "paymentMethod": "QRIS" }),
        )
        .await
        .fails(401, "UNAUTHENTICATED");
    assert!(
        customer
            .get("/api/wallet/transactions")
            .await
            .data(200)
            .as_array()
            .unwrap()
            .is_empty(),
        "nothing is written"
    );
    let keyed = customer.with_key("sekali");
    let body = json!({ "amount": 10_000, "paymentMethod": "QRIS" });
    let answers: Vec<Answer> = stream::iter(0..10)
        .map(|_| keyed.post("/api/wallet/topup", body.clone()))
        .buffer_unordered(10)
        .collect()
        .await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 201 && answer.text == answers[0].text)
    );
    let list = customer.get("/api/wallet/transactions").await.data(200);
    assert_eq!(
        (
            list.as_array().unwrap().len(),
            &list[0]["status"],
            &list[0]["amount"]
        ),
        (1, &json!("PENDING"), &json!(10_000))
    );
    let methods = customer.get("/api/wallet/payment-methods").await.data(200);
    let names: Vec<_> = methods
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["BANK_TRANSFER", "E_WALLET", "CREDIT_CARD", "QRIS"]);
    for (method, offered) in [
        ("BANK_TRANSFER", "bca_va"),
        ("E_WALLET", "gopay"),
        ("CREDIT_CARD", "credit_card"),
        ("QRIS", "other_qris"),
    ] {
        let page = till.top_up(&customer, 10_000, method).await.page;
        let html = reqwest::get(&page).await.unwrap().text().await.unwrap();
        assert!(html.contains(offered), "{html}");
    }
}

/// A development server emulates the gateway itself: pressing Pay on its page credits the money.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_pays_on_the_sandbox_page() {
    let shop = Shop::open_with(Engine::Sqlite, |config| config.payments.sandbox = true)
        .await
        .unwrap();
    let customer = shop.customer("tekan@example.com").await;
    let body = json!({ "amount": 125_000, "paymentMethod": "QRIS" });
    let open = customer.post("/api/wallet/topup", body).await.data(201);
    let page = open["redirectUrl"].as_str().unwrap();
    let browser = reqwest::Client::new();
    let html = browser
        .get(page)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        html.contains("Rp125.000") && html.contains("value=\"pay\""),
        "{html}"
    );
    let press = async |action: &str| {
        let form = browser.post(page).body(format!("action={action}"));
        form.send().await.unwrap()
    };
    assert_eq!(press("steal").await.status(), 409);
    let after = press("pay").await;
    assert!(after.status().is_success());
    let html = after.text().await.unwrap();
    assert!(
        html.contains("settlement") && !html.contains("value=\"pay\""),
        "{html}"
    );
    let balance = async || customer.get("/api/wallet/info").await.data(200)["paidBalance"].clone();
    eventually("the notice arrives", async || balance().await == 125_000).await;
    press("refund").await;
    eventually("and the refund's", async || balance().await == 0).await;
    shop.books_balance().await;
    let unknown = page.replace(open["token"].as_str().unwrap(), "nothing");
    assert_eq!(browser.get(unknown).send().await.unwrap().status(), 404);
}

/// Without a gateway top-ups are refused, and everything else works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_without_a_gateway_says_so() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let customer = shop.customer("tunai@example.com").await;
    let body = json!({ "amount": 10_000, "paymentMethod": "QRIS" });
    let refused = customer.post("/api/wallet/topup", body).await;
    refused.fails(503, "PAYMENTS_NOT_CONFIGURED");
    shop.client()
        .post(WEBHOOK, json!({}))
        .await
        .fails(503, "PAYMENTS_NOT_CONFIGURED");
    assert!(
        customer
            .get("/api/wallet/transactions")
            .await
            .data(200)
            .as_array()
            .unwrap()
            .is_empty()
    );
    let methods = customer.get("/api/wallet/payment-methods").await.data(200);
    assert_eq!(methods[0]["isAvailable"], false);
    assert_eq!(
        shop.client()
            .get("/sandbox/midtrans/snap/v2/vtweb/x")
            .await
            .status,
        404
    );
}
