//! `kill -9` at any instant: nothing that was answered is lost, nothing happens twice.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dermaga::{config::Secret, db::Clock, payments::sandbox::Sandbox};
use dermaga_tests::{postgres, skip};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{command, dermaga, stderr, stdout};

const CUSTOMERS: usize = 4;
const DEATHS: usize = 30;
/// The longest that a server lives after it was ready, in milliseconds.
const LONGEST_LIFE: u64 = 600;
const KEY: &str = "SB-Mid-server-crash";
const REDEEMED: i64 = 1_000;
const TOPPED_UP: i64 = 30_000;

/// One database and data folder, and how servers on them are started.
struct Site {
    folder: TempDir,
    listen: String,
    environment: Vec<(&'static str, String)>,
}

impl Site {
    /// `None` when its database cannot be had here.
    async fn new(on_postgres: bool) -> Option<Self> {
        let mut environment = vec![
            ("MIDTRANS_SERVER_KEY", KEY.to_owned()),
            ("MIDTRANS_BASE_URL", gateway().await),
            // A key whose holder died is free again soon after a request could have ended.
            ("DERMAGA_REQUEST_TIMEOUT", "1s".to_owned()),
        ];
        if on_postgres {
            match postgres::shared() {
                Ok(server) => environment.push(("DATABASE_URL", server.new_database().await)),
                Err(why) => {
                    skip("PostgreSQL", why);
                    return None;
                }
            }
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = port.local_addr().unwrap().to_string();
        let hook = format!("http://{listen}/api/wallet/webhook/midtrans");
        environment.push(("MIDTRANS_NOTIFICATION_URL", hook));
        let folder = TempDir::new().unwrap();
        Some(Self {
            folder,
            listen,
            environment,
        })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let environment = self.environment.iter();
        let environment: Vec<(&str, &str)> = environment
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        dermaga(self.path(), arguments, &environment)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What `ledger verify` says; it must hold.
    fn books(&self) -> Value {
        let verified = self.run(&["ledger", "verify", "--json"]);
        assert!(
            verified.status.success(),
            "{}{}",
            stdout(&verified),
            stderr(&verified)
        );
        serde_json::from_str(&stdout(&verified)).unwrap()
    }
}

/// The payment gateway outlives the servers.
async fn gateway() -> String {
    let gateway = Sandbox::new(Secret::new(KEY), Clock::system());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    gateway.found_at(&base);
    let router: axum::Router = gateway.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

/// A server process that dies with the test.
struct Server(Child);

impl Server {
    /// Starts and waits for the ready line.
    fn start(site: &Site) -> Self {
        let mut process = command(site.path())
            .args(["serve", "--provisioner", "directory"])
            .args(["--listen", &site.listen])
            .envs(site.environment.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        assert!(ready.contains("http://"), "not ready: `{ready}`");
        Self(process)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A client that does not give up before it has an answer.
#[derive(Clone)]
struct Patient {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Patient {
    /// The answer's data, however often the server dies meanwhile. The same key each time.
    async fn post(&self, path: &str, key: &str, body: &Value) -> Value {
        self.ask(path, |http, url| {
            http.post(url).header("Idempotency-Key", key).json(body)
        })
        .await
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(path, |http, url| http.get(url)).await
    }

    async fn ask(
        &self,
        path: &str,
        request: impl Fn(&reqwest::Client, String) -> reqwest::RequestBuilder,
    ) -> Value {
        for _ in 0..1200 {
            let request = request(&self.http, format!("{}{path}", self.base));
            if let Ok(response) = request.bearer_auth(&self.token).send().await {
                let status = response.status().as_u16();
                match (status, response.json::<Value>().await) {
                    (200 | 201, Ok(answer)) => return answer["data"].clone(),
                    // Being answered, or not able to at the moment.
                    (408 | 409 | 500.., _) | (_, Err(_)) => {}
                    (status, Ok(answer)) => panic!("{path} answered {status}: {answer:#}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} was never answered");
    }

    fn signed_in(&self, session: &Value) -> Self {
        Self {
            token: session["accessToken"].as_str().unwrap().to_owned(),
            ..self.clone()
        }
    }
}

/// What one customer did, and what was answered, by key.
struct Customer {
    patient: Patient,
    plan: String,
    answers: BTreeMap<String, (&'static str, Value, Value)>,
    redemptions: i64,
    top_ups: i64,
    purchases: i64,
}

impl Customer {
    /// Redeems, tops up and buys, one after another, until it is told to stop.
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
        let body = json!({ "code": "GIFT" });
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
        for _ in 0..600 {
            if self.patient.get(&path).await["transaction"]["status"] == "COMPLETED" {
                self.top_ups += 1;
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("a paid top-up is never completed");
    }

    /// Every key gives the very answer it gave.
    async fn asks_again(&self) {
        for (key, (path, body, answer)) in &self.answers {
            assert_eq!(&self.patient.post(path, key, body).await, answer, "{key}");
        }
    }
}

async fn open_shop(site: &Site, patient: &Patient) -> Vec<Customer> {
    let create = [
        "admin",
        "create",
        "--email",
        "a@example.com",
        "--name",
        "Admin",
    ];
    let made = site.run(&create);
    let password = stdout(&made);
    let password = password.split_whitespace().last().unwrap_or_default();
    let login = json!({ "email": "a@example.com", "password": password });
    let admin = patient.signed_in(&patient.post("/api/auth/login", "login", &login).await);
    let coupon = json!({ "code": "GIFT", "plugin": "coupon-credit-topup", "parameters": { "amount": REDEEMED } });
    admin.post("/api/admin/coupons", "coupon", &coupon).await;
    let plans = patient.get("/api/catalog/services/postgresql/plans").await;
    let mut plans = plans.as_array().unwrap().iter();
    let plan = plans.find(|plan| plan["slug"] == "basic").unwrap();
    let mut customers = Vec::new();
    for number in 0..CUSTOMERS {
        let body = json!({
            "email": format!("c{number}@example.com"), "password": "kata sandi yang panjang", "name": "Pelanggan",
        });
        let session = patient.post("/api/auth/register", "register", &body).await;
        customers.push(Customer {
            patient: patient.signed_in(&session),
            plan: plan["id"].as_str().unwrap().to_owned(),
            answers: BTreeMap::new(),
            redemptions: 0,
            top_ups: 0,
            purchases: 0,
        });
    }
    customers
}

async fn killed_again_and_again(on_postgres: bool) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(site) = Site::new(on_postgres).await else {
        return;
    };
    let given = std::env::var("DERMAGA_TEST_SEED").ok();
    let seed = given.map_or_else(|| rand::rng().random(), |seed| seed.parse().unwrap());
    println!("DERMAGA_TEST_SEED={seed} repeats these deaths");
    let mut random = StdRng::seed_from_u64(seed);

    let mut server = Server::start(&site);
    let patient = Patient {
        http: reqwest::Client::new(),
        base: format!("http://{}", site.listen),
        token: String::new(),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let customers = open_shop(&site, &patient).await;
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
