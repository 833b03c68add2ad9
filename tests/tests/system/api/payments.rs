//! Tests of top-ups, against a gateway emulator that speaks the same HTTP and can be made to fail.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Timelike as _};
use dermaga::{
    config::Config,
    sandbox::{Action, Sandbox},
};
use dermaga_shop::{calendar, crypto::Secret, db::Clock};
use dermaga_tests::{Answer, Client, Engine, Shop, both_engines};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

pub(crate) const KEY: &str = "SB-Mid-server-tests";

pub(crate) const WEBHOOK: &str = "/api/wallet/webhook/midtrans";

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
    pub(crate) page: String,
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

    /// Returns the path of refunds of a top-up by administrators.
    pub(crate) async fn refunds_of(&self, top_up: &TopUp) -> String {
        let seen = self.seen(top_up).await;
        let id = seen["payment"]["id"].as_str().unwrap();
        format!("/api/admin/payments/{id}/refund")
    }
}

both_engines!(
    Till,
    [
        papers_of_a_top_up,
        a_top_up_counts_in_the_month_of_its_payment,
        one_settlement_fifty_times,
        capture_then_settlement_credits_once,
        notices_out_of_order,
        a_payment_after_a_denial_is_credited
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

/// It is begun in the last minutes of a month, and paid in the first ones of the next.
async fn a_top_up_counts_in_the_month_of_its_payment(mut till: Till) {
    let clock = till.shop.clock().clone();
    let month = calendar::start_of_month(clock.zone(), clock.now());
    let next = calendar::start_of_month(clock.zone(), month + TimeDelta::days(32));
    clock.advance(next - clock.now() - TimeDelta::minutes(5));
    till.admin = till.shop.admin().await;
    let customer = till.shop.customer("bulan@example.com").await;
    let top_up = till.top_up(&customer, 75_000, "BANK_TRANSFER").await;
    clock.advance(TimeDelta::minutes(10));
    let this_month = async || {
        let path = "/api/admin/wallets/statistics";
        till.admin.get(path).await.data(200)["thisMonth"].clone()
    };
    assert_eq!(this_month().await, json!([]));
    till.act(&top_up, Action::Pay);
    till.notify(&top_up).await.data(200);
    let paid = json!([{ "type": "TOP_UP", "status": "COMPLETED", "count": 1, "amount": 75_000 }]);
    assert_eq!(this_month().await, paid);
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

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
