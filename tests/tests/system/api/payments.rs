//! Tests of top-ups, against a gateway emulator that speaks the same HTTP and can be made to fail.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Timelike as _};
use dermaga::{
    config::Config,
    sandbox::{Action, Fault, Sandbox},
};
use dermaga_shop::{crypto::Secret, db::Clock, payments::check_due};
use dermaga_tests::{Answer, Client, Engine, Shop, both_engines};
use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

pub(crate) const KEY: &str = "SB-Mid-server-tests";
const WEBHOOK: &str = "/api/wallet/webhook/midtrans";

/// Starts a gateway emulator for one test; returns it and its URL.
pub(crate) async fn gateway(clock: Clock) -> (Sandbox, String) {
    let sandbox = Sandbox::new(Secret::new(KEY), clock);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    sandbox.found_at(&base);
    let router: axum::Router = sandbox.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (sandbox, base)
}

/// A shop with its own gateway emulator. The test sends the notices.
pub(crate) struct Till {
    pub(crate) shop: Shop,
    pub(crate) gateway: Sandbox,
    pub(crate) admin: Client,
}

/// A started top-up.
pub(crate) struct TopUp {
    pub(crate) id: String,
    pub(crate) number: String,
    pub(crate) order: String,
    page: String,
}

impl Till {
    pub(crate) async fn open(engine: Engine) -> Option<Self> {
        Self::open_with(engine, |_| ()).await
    }

    pub(crate) async fn open_with(
        engine: Engine,
        change: impl FnOnce(&mut Config),
    ) -> Option<Self> {
        // Shop and gateway share a clock, so that payments expire in both.
        let clock = Clock::movable();
        let (gateway, base) = gateway(clock.clone()).await;
        let shop = Shop::open_at(engine, clock, |config| {
            config.payments.midtrans.server_key = Some(Secret::new(KEY));
            config.payments.midtrans.base_url = Some(base);
            config.payments.midtrans.timeout = Duration::from_secs(2);
            change(config);
        })
        .await?;
        let admin = shop.admin().await;
        Some(Self {
            shop,
            gateway,
            admin,
        })
    }

    pub(crate) async fn top_up(&self, customer: &Client, amount: i64, method: &str) -> TopUp {
        let body = json!({ "amount": amount, "paymentMethod": method });
        let open = customer.post("/api/wallet/topup", body).await.data(201);
        let id = open["transactionId"].as_str().unwrap().to_owned();
        let payments = self
            .admin
            .get("/api/admin/payments?limit=100")
            .await
            .data(200);
        let found = payments.as_array().unwrap().iter();
        let payment = found
            .clone()
            .find(|one| one["transactionId"] == id.as_str());
        TopUp {
            order: payment.unwrap()["orderId"].as_str().unwrap().to_owned(),
            number: open["number"].as_str().unwrap().to_owned(),
            page: open["redirectUrl"].as_str().unwrap().to_owned(),
            id,
        }
    }

    /// Starts a top-up that is paid and credited.
    pub(crate) async fn paid(&self, customer: &Client, amount: i64) -> TopUp {
        let top_up = self.top_up(customer, amount, "QRIS").await;
        self.act(&top_up, Action::Pay);
        self.notify(&top_up).await.data(200);
        top_up
    }

    pub(crate) fn act(&self, top_up: &TopUp, action: Action) {
        self.gateway.act(&top_up.order, action).unwrap();
    }

    pub(crate) fn notice(&self, top_up: &TopUp) -> Value {
        self.gateway.notice(&top_up.order).unwrap()
    }

    /// Sends the notice of the order's present status.
    pub(crate) async fn notify(&self, top_up: &TopUp) -> Answer {
        self.send(self.notice(top_up)).await
    }

    pub(crate) async fn send(&self, notice: Value) -> Answer {
        self.shop.client().post(WEBHOOK, notice).await
    }

    pub(crate) async fn paid_balance(&self, customer: &Client) -> i64 {
        let wallet = customer.get("/api/wallet/info").await.data(200);
        wallet["paidBalance"].as_i64().unwrap()
    }

    pub(crate) async fn status(&self, customer: &Client, top_up: &TopUp) -> Value {
        let path = format!("/api/wallet/transactions/{}/status", top_up.number);
        customer.get(&path).await.data(200)
    }

    /// Returns the payment as an administrator sees it, with its notices.
    pub(crate) async fn seen(&self, top_up: &TopUp) -> Value {
        let list = self
            .admin
            .get("/api/admin/payments?limit=100")
            .await
            .data(200);
        let mut payments = list.as_array().unwrap().iter();
        let id = payments
            .find(|one| one["orderId"] == top_up.order.as_str())
            .unwrap()["id"]
            .clone();
        let path = format!("/api/admin/payments/{}", id.as_str().unwrap());
        self.admin.get(&path).await.data(200)
    }
}

both_engines!(
    Till,
    [
        papers_of_a_top_up,
        one_settlement_fifty_times,
        capture_then_settlement_credits_once,
        notices_out_of_order,
        a_payment_after_a_denial_is_credited,
        bad_notices_are_refused,
        a_status_that_the_gateway_does_not_confirm,
        a_notice_that_fails_is_applied_when_it_comes_again,
        a_lost_notice_is_found,
        the_abandoned_expire,
        a_top_up_without_a_page_is_given_up,
        asking_for_the_status_finds_the_payment,
        a_top_up_is_cancelled,
        a_payment_after_a_cancellation_is_credited,
        a_chargeback_of_spent_money_is_owed,
        cash_given_back_pays_a_debt_first,
        refunds_take_back_what_was_paid,
        a_payment_that_was_refunded_before_it_was_known,
        a_capture_can_be_voided,
        an_administrator_refunds,
        a_refund_is_paid_once_however_often_it_is_asked_for,
        a_refund_and_a_purchase_never_spend_the_same_credit,
        a_refused_refund_goes_back_into_the_wallet,
        a_gateway_that_fails,
        the_breaker_opens_and_closes,
        bad_and_repeated_top_ups
    ]
);

/// A statement dates a top-up by its settlement, not by its request; only settled top-ups have
/// a receipt.
async fn papers_of_a_top_up(till: Till) {
    let here = || {
        till.shop
            .clock()
            .now()
            .with_timezone(&chrono_tz::Asia::Jakarta)
    };
    // Five minutes before midnight.
    let today = TimeDelta::seconds(here().num_seconds_from_midnight().into());
    till.shop
        .clock()
        .advance(TimeDelta::days(1) - today - TimeDelta::minutes(5));
    let customer = till.shop.customer("kertas@example.com").await;
    let asked_on = here().date_naive();
    let top_up = till.top_up(&customer, 75_000, "QRIS").await;
    let receipt = format!("/api/wallet/transactions/{}/receipt", top_up.number);
    customer.get(&receipt).await.fails(409, "INVALID_STATE");
    till.shop.clock().advance(TimeDelta::minutes(10));
    let paid_on = here().date_naive();
    assert_ne!(asked_on, paid_on);
    till.act(&top_up, Action::Pay);
    till.notify(&top_up).await.data(200);
    assert!(customer.get(&receipt).await.text.starts_with("%PDF-1."));
    let statement = async |day| {
        let path = format!("/api/wallet/statement?from={day}&to={day}");
        customer.get(&path).await.text
    };
    assert!(!statement(asked_on).await.contains(&top_up.number));
    let shown = statement(paid_on).await;
    let line = shown
        .lines()
        .find(|line| line.contains(&top_up.number))
        .unwrap();
    assert!(line.contains("75000"), "{shown}");
}

/// Fifty concurrent notices of one settlement credit once.
async fn one_settlement_fifty_times(till: Till) {
    let customer = till.shop.customer("lima-puluh@example.com").await;
    let top_up = till.top_up(&customer, 50_000, "BANK_TRANSFER").await;
    assert_eq!(till.paid_balance(&customer).await, 0);
    till.act(&top_up, Action::Pay);
    let statuses: Vec<u16> = stream::iter(0..50)
        .map(|_| async { till.notify(&top_up).await.status })
        .buffer_unordered(50)
        .collect()
        .await;
    assert_eq!(statuses, vec![200; 50]);
    assert_eq!(till.paid_balance(&customer).await, 50_000);
    let seen = till.seen(&top_up).await;
    assert_eq!(seen["payment"]["state"], "SETTLED");
    assert_eq!(seen["notices"].as_array().unwrap().len(), 1);
    assert_eq!(
        (
            &seen["notices"][0]["timesReceived"],
            &seen["notices"][0]["outcome"]
        ),
        (&json!(50), &json!("APPLIED"))
    );
    let found = till.shop.books_balance().await;
    assert_eq!(
        (found.entries, found.accounts["GATEWAY"].get()),
        (1, -50_000)
    );
}

/// A card payment is captured and settled the next day; late notices change nothing.
async fn capture_then_settlement_credits_once(till: Till) {
    let customer = till.shop.customer("kartu@example.com").await;
    let top_up = till.top_up(&customer, 75_000, "CREDIT_CARD").await;
    till.act(&top_up, Action::Choose);
    let pending = till.notice(&top_up);
    till.act(&top_up, Action::Challenge);
    let challenged = till.notice(&top_up);
    till.send(challenged.clone()).await.data(200);
    assert_eq!(
        till.paid_balance(&customer).await,
        0,
        "a suspicious payment waits"
    );
    till.act(&top_up, Action::Accept);
    let captured = till.notice(&top_up);
    till.send(captured.clone()).await.data(200);
    assert_eq!(till.paid_balance(&customer).await, 75_000);
    assert_eq!(till.seen(&top_up).await["payment"]["state"], "CAPTURED");
    till.act(&top_up, Action::Settle);
    let settled = till.notice(&top_up);
    till.send(settled.clone()).await.data(200);
    for late in [pending, challenged, captured, settled] {
        till.send(late).await.data(200);
    }
    assert_eq!(till.paid_balance(&customer).await, 75_000);
    assert_eq!(till.seen(&top_up).await["payment"]["state"], "SETTLED");
    assert_eq!(till.shop.books_balance().await.entries, 1);
}

/// Notices out of order, settlement first: no status goes backwards.
async fn notices_out_of_order(till: Till) {
    let customer = till.shop.customer("terbalik@example.com").await;
    let top_up = till.top_up(&customer, 20_000, "E_WALLET").await;
    till.act(&top_up, Action::Choose);
    let pending = till.notice(&top_up);
    till.act(&top_up, Action::Deny);
    let denied = till.notice(&top_up);
    till.act(&top_up, Action::Pay);
    let settled = till.notice(&top_up);
    for notice in [settled, denied, pending] {
        till.send(notice).await.data(200);
        assert_eq!(till.paid_balance(&customer).await, 20_000);
    }
    let status = till.status(&customer, &top_up).await;
    assert_eq!(
        (&status["payment"], &status["transaction"]["status"]),
        (&json!("SETTLED"), &json!("COMPLETED"))
    );
    till.shop.books_balance().await;
}

/// A payment by another card after a denial is credited.
async fn a_payment_after_a_denial_is_credited(till: Till) {
    let customer = till.shop.customer("kedua@example.com").await;
    let top_up = till.top_up(&customer, 30_000, "CREDIT_CARD").await;
    till.act(&top_up, Action::Choose);
    till.act(&top_up, Action::Deny);
    till.notify(&top_up).await.data(200);
    let status = till.status(&customer, &top_up).await;
    assert_eq!(
        (&status["payment"], &status["transaction"]["status"]),
        (&json!("DENIED"), &json!("FAILED"))
    );
    till.act(&top_up, Action::Pay);
    till.notify(&top_up).await.data(200);
    let status = till.status(&customer, &top_up).await;
    assert_eq!(status["transaction"]["status"], "COMPLETED");
    assert_eq!(status["transaction"]["balanceAfter"], 30_000);
    assert_eq!(till.paid_balance(&customer).await, 30_000);
    till.shop.books_balance().await;
}

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

/// Cash that a subscription gives back pays an open debt before it reaches the wallet.
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
    let id = till.seen(&top_up).await["payment"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/admin/payments/{id}/refund");
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
    let id = till.seen(&waiting).await["payment"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    admin
        .post(&format!("/api/admin/payments/{id}/refund"), body(10_000))
        .await
        .fails(409, "INVALID_STATE");
    till.shop.books_balance().await;
}

/// The gateway pays, and its answer is lost for longer than one request: the same key asks for the same
/// refund, another one waits, and the clock sends on a refund that is not asked for again.
async fn a_refund_is_paid_once_however_often_it_is_asked_for(till: Till) {
    let customer = till.shop.customer("sekali@example.com").await;
    let top_up = till.paid(&customer, 100_000).await;
    let id = till.seen(&top_up).await["payment"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/admin/payments/{id}/refund");
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
        let id = till.seen(&top_up).await["payment"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        paths.push(format!("/api/admin/payments/{id}/refund"));
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
    let id = till.seen(&top_up).await["payment"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/admin/payments/{id}/refund");
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

/// A failing gateway leaves no waiting top-up behind; a lost answer is requested again.
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
        let refused = customer
            .with_key("satu")
            .post("/api/wallet/topup", body.clone())
            .await;
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
    // pause.
    till.shop.clock().advance(TimeDelta::seconds(31));
    eventually("it is tried again", async || {
        customer
            .with_key("satu")
            .post("/api/wallet/topup", body.clone())
            .await
            .status
            == 201
    })
    .await;
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

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
