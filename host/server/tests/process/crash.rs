//! `kill -9` at any instant: nothing that was answered is lost, nothing happens twice.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{Months, TimeDelta};
use dermaga_shop::db::{Clock, Db};
use rand::RngExt as _;
use serde_json::{Value, json};

use super::site::{Patient, Server, Site, seeded};

const CUSTOMERS: usize = 4;
const DEATHS: usize = 30;
/// The longest that a server lives after it was ready, in milliseconds.
const LONGEST_LIFE: u64 = 600;
const REDEEMED: i64 = 1_000;
const TOPPED_UP: i64 = 30_000;
/// Months that are renewed.
const PERIODS: u32 = 24;
/// The longest that a server lives while it renews, in milliseconds.
const LONGEST_RUN: u64 = 80;
/// Longest time until a server that lives has charged all periods.
const LAST_RUNS: Duration = Duration::from_secs(180);
/// Pays for more than [`PERIODS`].
const RICH: i64 = 9_000_000;

/// Counts of one customer's requests, and their answers by key.
struct Customer {
    patient: Patient,
    plan: String,
    answers: BTreeMap<String, (&'static str, Value, Value)>,
    redemptions: i64,
    top_ups: i64,
    purchases: i64,
}

impl Customer {
    /// Redeems, tops up and buys, one after another, until `stop` is set.
    async fn act_until(mut self, stop: Arc<AtomicBool>) -> Self {
        for number in 0.. {
            match number % 3 {
                0 => self.top_up(number).await,
                _ => self.redeem(number).await,
            }
            if matches!(number, 3 | 6 | 12) {
                self.buy(number).await;
            }
            if number > 3 && stop.load(Ordering::Relaxed) {
                break;
            }
        }
        self
    }

    async fn post(&mut self, path: &'static str, key: String, body: Value) -> Value {
        let answer = self.patient.post(path, &key, &body).await;
        self.answers.insert(key, (path, body, answer.clone()));
        answer
    }

    async fn redeem(&mut self, number: usize) {
        let body = json!({ "couponCode": "GIFT" });
        self.post(
            "/api/wallet/redeem-coupon",
            format!("redeem-{number}"),
            body,
        )
        .await;
        self.redemptions += 1;
    }

    async fn buy(&mut self, number: usize) {
        let body = json!({ "planId": self.plan });
        self.post("/api/subscriptions", format!("buy-{number}"), body)
            .await;
        self.purchases += 1;
    }

    /// Pays on the gateway's page; its notice or our question brings the money.
    async fn top_up(&mut self, number: usize) {
        let body = json!({ "amount": TOPPED_UP, "paymentMethod": "QRIS" });
        let open = self
            .post("/api/wallet/topup", format!("top-up-{number}"), body)
            .await;
        let page = open["redirectUrl"].as_str().unwrap();
        let paid = self.patient.http.post(page).body("action=pay").send().await;
        assert!(paid.unwrap().status().is_success());
        let path = format!(
            "/api/wallet/transactions/{}/status",
            open["transactionId"].as_str().unwrap()
        );
        self.patient
            .until(&path, "/transaction/status", "COMPLETED")
            .await;
        self.top_ups += 1;
    }

    /// Every key returns the very same answer again.
    async fn asks_again(&self) {
        for (key, (path, body, answer)) in &self.answers {
            assert_eq!(&self.patient.post(path, key, body).await, answer, "{key}");
        }
    }
}

async fn open_shop(site: &Site) -> (Vec<Customer>, Patient) {
    let patient = Patient::new(site);
    let admin = patient.administrator(site).await;
    let coupon = json!({ "code": "GIFT", "plugin": "coupon-credit-topup", "parameters": { "amount": REDEEMED } });
    admin.post("/api/admin/coupons", "coupon", &coupon).await;
    let plans = patient.get("/api/catalog/services/postgresql/plans").await;
    let mut plans = plans.as_array().unwrap().iter();
    let plan = plans.find(|plan| plan["slug"] == "basic").unwrap();
    let mut customers = Vec::new();
    for number in 0..CUSTOMERS {
        let session = patient.registered(&format!("c{number}@example.com")).await;
        customers.push(Customer {
            patient: patient.signed_in(&session),
            plan: plan["id"].as_str().unwrap().to_owned(),
            answers: BTreeMap::new(),
            redemptions: 0,
            top_ups: 0,
            purchases: 0,
        });
    }
    (customers, admin)
}

async fn killed_again_and_again(on_postgres: bool) {
    let Some(mut site) = Site::new(on_postgres).await else {
        return;
    };
    let mut random = seeded();

    let (customers, _) = Box::pin(site.opened(open_shop)).await;
    let mut server = Server::start(&site);
    let stop = Arc::new(AtomicBool::new(false));
    let customers: Vec<_> = customers
        .into_iter()
        .map(|customer| tokio::spawn(customer.act_until(Arc::clone(&stop))))
        .collect();
    for _ in 0..DEATHS {
        let life = random.random_range(0..LONGEST_LIFE);
        tokio::time::sleep(Duration::from_millis(life)).await;
        drop(server);
        site.books();
        server = Server::start(&site);
    }
    stop.store(true, Ordering::Relaxed);
    let (mut redemptions, mut top_ups, mut purchases) = (0, 0, 0);
    for customer in customers {
        let customer = customer.await.unwrap();
        customer.asks_again().await;
        redemptions += customer.redemptions;
        top_ups += customer.top_ups;
        purchases += customer.purchases;
    }
    drop(server);
    let books = site.books();
    println!("{redemptions} redemptions, {top_ups} top-ups, {purchases} purchases: {books:#}");
    assert_eq!(
        books["entries"],
        redemptions + top_ups + purchases,
        "each key acted once, none twice"
    );
    let account = |name: &str| books["accounts"][name].as_i64().unwrap();
    assert_eq!(account("PROMOTIONS"), -redemptions * REDEEMED);
    assert_eq!(account("GATEWAY"), -top_ups * TOPPED_UP);
    assert_eq!(
        account("WALLET_PAID") + account("WALLET_BONUS") + account("REVENUE"),
        redemptions * REDEEMED + top_ups * TOPPED_UP
    );
}

/// Thirty deaths under load, on the embedded database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_sqlite_that_is_killed_keeps_exact_books() {
    killed_again_and_again(false).await;
}

/// Thirty deaths under load, on PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_postgresql_that_is_killed_keeps_exact_books() {
    killed_again_and_again(true).await;
}

/// Makes every subscription as old as [`PERIODS`] months and a day, not charged since.
async fn let_time_pass(db: &Db) {
    let anchor = Clock::system().now() - Months::new(PERIODS) - TimeDelta::days(1);
    let mut conn = db.begin().await.unwrap();
    let sql = "UPDATE subscriptions SET anchor_at = $1, period_start = $1, period_end = $2, delivered_at = $1";
    dermaga_shop::execute!(conn, sql, anchor, anchor + Months::new(1)).unwrap();
    conn.commit().await.unwrap();
}

/// Ends the run of a server that died, so that no test waits until its lease is over. Returns the
/// number of periods.
async fn give_up_the_run(db: &Db) -> i64 {
    let mut conn = db.begin().await.unwrap();
    let sql = "UPDATE job_runs SET status = 'FAILED', finished_at = $1 WHERE finished_at IS NULL";
    dermaga_shop::execute!(conn, sql, Clock::system().now()).unwrap();
    conn.commit().await.unwrap();
    periods(db).await
}

async fn periods(db: &Db) -> i64 {
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT count(*) FROM subscription_periods";
    let (periods,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    periods
}

async fn killed_while_it_renews(on_postgres: bool) {
    let Some(mut site) = Site::new(on_postgres).await else {
        return;
    };
    let mut random = seeded();
    let (customers, admin) = Box::pin(site.opened(open_shop)).await;
    let mut server = Server::start(&site);
    let rich = json!({ "code": "RICH", "plugin": "coupon-credit-topup", "parameters": { "amount": RICH } });
    admin.post("/api/admin/coupons", "rich", &rich).await;
    let mut price = 0;
    for customer in &customers {
        let patient = &customer.patient;
        let code = json!({ "couponCode": "RICH" });
        patient
            .post("/api/wallet/redeem-coupon", "rich", &code)
            .await;
        let plan = json!({ "planId": customer.plan });
        let bought = patient.post("/api/subscriptions", "buy", &plan).await;
        price = bought["paidBonus"].as_i64().unwrap();
        let path = format!(
            "/api/subscriptions/{}",
            bought["subscription"]["id"].as_str().unwrap()
        );
        patient.until(&path, "/status", "ACTIVE").await;
        // Nothing is charged for what never ran.
        let path = format!("/api/instances/{}", bought["instanceId"].as_str().unwrap());
        patient.until(&path, "/status", "WRITTEN").await;
    }
    let bought = i64::try_from(customers.len()).unwrap();
    let all = bought * i64::from(PERIODS + 1);
    let db = site.database().await;
    let_time_pass(&db).await;
    let (run, counted) = (admin.clone(), db.clone());
    // A run charges one period of each.
    let asked = tokio::spawn(async move {
        let path = "/api/admin/billing/process-renewals";
        while periods(&counted).await < all {
            // None may be answered before the last death: the servers live shorter than a run.
            if !run.attempt(path, "run", &json!({})).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let mut seen = Vec::new();
    loop {
        let life = random.random_range(0..LONGEST_RUN);
        tokio::time::sleep(Duration::from_millis(life)).await;
        drop(server);
        seen.push(give_up_the_run(&db).await);
        site.books();
        server = Server::start(&site);
        if seen.last() == Some(&all) || seen.len() == DEATHS {
            break;
        }
    }
    // The last server charges what is left.
    let asked = tokio::time::timeout(LAST_RUNS, asked).await;
    asked.unwrap().unwrap();
    println!("periods after each death: {seen:?}");
    drop(server);
    let periods = give_up_the_run(&db).await;
    db.close().await;
    let books = site.books();
    assert_eq!(periods, all, "every period is there, once");
    assert_eq!(
        books["entries"],
        bought + all,
        "each was charged once: {books:#}"
    );
    let account = |name: &str| books["accounts"][name].as_i64().unwrap();
    assert_eq!(account("REVENUE"), all * price);
    assert_eq!(account("WALLET_BONUS"), bought * RICH - all * price);
}

/// Renewals of two years, by servers that die, on the embedded database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_on_sqlite_survive_deaths() {
    killed_while_it_renews(false).await;
}

/// Renewals of two years, by servers that die, on PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_on_postgresql_survive_deaths() {
    killed_while_it_renews(true).await;
}
