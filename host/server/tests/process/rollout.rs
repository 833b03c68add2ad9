//! Servers that end by SIGTERM: under load no request that was accepted fails, and no lease is left to wait for.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use dermaga::sandbox::Sandbox;
use dermaga_shop::{
    crypto::Secret,
    db::{Clock, Db},
    outbox::{self, Topic},
};
use dermaga_tests::{MailServer, at_most};
use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::site::{KEY, Patient, Server, Site, free_address};

const SERVERS: usize = 3;
/// Customers who buy at the same time.
const LANES: usize = 3;
/// Pays for the first month.
const RICH: i64 = 9_000_000;
/// Interval between two questions of the balancer.
const PROBE: Duration = Duration::from_millis(200);
/// Instances that are made due again and again.
const WATCHED: i64 = 10;
/// Longest wait of an instance that is promised, and the one that a busy machine may need. A lease that was left makes
/// it an hour here.
const LONGEST_WAIT: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(45)];
/// Time after which nothing is waited for any more.
const NEVER: Duration = Duration::from_secs(180);

/// A plain balancer: one server after the other, without those that are not ready. What was accepted is not sent
/// again.
struct Balancer {
    http: reqwest::Client,
    /// Addresses of servers; `true` for those that are ready.
    servers: Mutex<Vec<(String, bool)>>,
    turn: AtomicUsize,
    /// Requests that were refused before they were sent.
    refused: AtomicUsize,
    is_over: AtomicBool,
}

impl Balancer {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            http: reqwest::Client::new(),
            servers: Mutex::default(),
            turn: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    fn add(&self, address: &str) {
        self.servers
            .lock()
            .unwrap()
            .push((address.to_owned(), false));
    }

    fn remove(&self, address: &str) {
        let mut servers = self.servers.lock().unwrap();
        servers.retain(|(known, _)| known != address);
    }

    fn ready(&self) -> Vec<String> {
        let servers = self.servers.lock().unwrap();
        let ready = servers.iter().filter(|(_, is_ready)| *is_ready);
        ready.map(|(address, _)| address.clone()).collect()
    }

    async fn until_ready(&self, count: usize) {
        for _ in 0..600 {
            if self.ready().len() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?} are ready, and {count} are wanted", self.ready());
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Asks every server if it is ready, again and again.
    async fn watch(self: Arc<Self>) {
        let probe = reqwest::Client::new();
        while !self.is_over() {
            let known = self.servers.lock().unwrap().clone();
            for (address, _) in known {
                let asked = probe.get(format!("http://{address}/readyz"));
                let answer = asked.timeout(Duration::from_secs(2)).send().await;
                let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
                let mut servers = self.servers.lock().unwrap();
                for (server, state) in servers.iter_mut() {
                    if *server == address {
                        *state = is_ready;
                    }
                }
            }
            tokio::time::sleep(PROBE).await;
        }
    }

    /// Sends a request to the next ready server. Only one that was refused before it was sent is sent to another.
    async fn send(
        &self,
        path: &str,
        request: impl Fn(&reqwest::Client, String) -> reqwest::RequestBuilder,
    ) -> Value {
        let asked = Instant::now();
        loop {
            assert!(asked.elapsed() < NEVER, "{path} reaches no server");
            let ready = self.ready();
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            if ready.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            let address = &ready[turn % ready.len()];
            let request = request(&self.http, format!("http://{address}{path}"));
            match request.send().await {
                Ok(response) => {
                    let status = response.status();
                    let answer = response.json::<Value>().await;
                    let answer = answer.unwrap_or_else(|error| panic!("{path} broke: {error:?}"));
                    assert!(status.is_success(), "{path}: {status} {answer:#}");
                    return answer["data"].clone();
                }
                Err(error) if error.is_connect() => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("{path} was accepted and failed: {error:?}"),
            }
        }
    }

    async fn post(&self, token: &str, path: &str, key: &str, body: &Value) -> Value {
        let request = |http: &reqwest::Client, url: String| {
            let request = http.post(url).header("Idempotency-Key", key).json(body);
            match token {
                "" => request,
                token => request.bearer_auth(token),
            }
        };
        self.send(path, request).await
    }

    async fn get(&self, token: &str, path: &str) -> Value {
        let request = |http: &reqwest::Client, url: String| http.get(url).bearer_auth(token);
        self.send(path, request).await
    }
}

/// Lets customers come, buy, and look at what they bought, until the rollout is over; returns their number.
async fn customers(balancer: Arc<Balancer>, lane: usize, plan: String) -> i64 {
    let mut bought = 0;
    while !balancer.is_over() {
        let account = json!({
            "email": format!("c{lane}-{bought}@example.com"), "password": "kata sandi yang panjang", "name": "Pelanggan",
        });
        let session = balancer
            .post("", "/api/auth/register", "register", &account)
            .await;
        let token = session["accessToken"].as_str().unwrap();
        let code = json!({ "couponCode": "RICH" });
        balancer
            .post(token, "/api/wallet/redeem-coupon", "rich", &code)
            .await;
        let order = json!({ "planId": plan });
        let made = balancer
            .post(token, "/api/subscriptions", "buy", &order)
            .await;
        let id = made["subscription"]["id"].as_str().unwrap();
        let seen = balancer
            .get(token, &format!("/api/subscriptions/{id}"))
            .await;
        assert!(seen["status"].is_string(), "{seen:#}");
        bought += 1;
    }
    bought
}

/// Makes the oldest instances due again and again; returns the longest time until each had its pass.
async fn longest_round(db: Db, balancer: Arc<Balancer>) -> Duration {
    let oldest = "(SELECT id FROM instances WHERE delivered_at IS NOT NULL ORDER BY created_at, id LIMIT $2)";
    let due = format!(
        "UPDATE instances SET next_attempt_at = $1 WHERE lease_until IS NULL AND id IN {oldest}"
    );
    let waiting = format!(
        "SELECT count(*) FROM instances WHERE id IN {oldest} AND (next_attempt_at <= $1 OR lease_until IS NOT NULL)"
    );
    let mut longest = Duration::ZERO;
    while !balancer.is_over() {
        let (now, asked) = (Clock::system().now(), Instant::now());
        let mut conn = db.begin().await.unwrap();
        let sql = sqlx::AssertSqlSafe(due.clone());
        dermaga_shop::execute!(conn, sql, now, WATCHED).unwrap();
        conn.commit().await.unwrap();
        loop {
            let mut conn = db.read().await.unwrap();
            let sql = sqlx::AssertSqlSafe(waiting.clone());
            let (left,) = dermaga_shop::fetch_one!(conn, (i64,), sql, now, WATCHED).unwrap();
            drop(conn);
            if left == 0 {
                break;
            }
            assert!(asked.elapsed() < NEVER, "{left} instances have no pass");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    longest
}

/// Returns the longest time from a purchase to the first delivery, once all were delivered.
async fn longest_delivery(db: &Db) -> Duration {
    for _ in 0..600 {
        let mut conn = db.read().await.unwrap();
        let sql = "SELECT created_at, delivered_at FROM instances";
        let seen = dermaga_shop::fetch_all!(conn, (DateTime<Utc>, Option<DateTime<Utc>>), sql);
        let waits: Option<Vec<TimeDelta>> = seen
            .unwrap()
            .into_iter()
            .map(|(bought, delivered)| delivered.map(|delivered| delivered - bought))
            .collect();
        if let Some(longest) = waits.and_then(|waits| waits.into_iter().max()) {
            return longest.to_std().unwrap();
        }
        drop(conn);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("an instance is never delivered");
}

async fn count(db: &Db, sql: &'static str) -> i64 {
    let mut conn = db.read().await.unwrap();
    let (count,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    count
}

/// Leases of all tables that have some.
async fn leases(db: &Db) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM instances WHERE lease_until IS NOT NULL)
                 + (SELECT count(*) FROM job_runs WHERE lease_until IS NOT NULL)
                 + (SELECT count(*) FROM payments WHERE lease_until IS NOT NULL)
                 + (SELECT count(*) FROM notification_deliveries WHERE lease_until IS NOT NULL)
                 + (SELECT count(*) FROM webhook_deliveries WHERE lease_until IS NOT NULL)";
    count(db, sql).await
}

/// Makes every lease of an instance an hour longer than its server thinks, so that no machine is slow enough to make a
/// lease that was left look like one that was given back.
async fn lengthen_leases(db: &Db) {
    let mut conn = db.begin().await.unwrap();
    let function = "CREATE FUNCTION lengthen_lease() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN NEW.lease_until := NEW.lease_until + interval '1 hour'; RETURN NEW; END $$";
    dermaga_shop::execute!(conn, function).unwrap();
    let trigger = "CREATE TRIGGER lengthen_lease BEFORE UPDATE OF lease_until ON instances \
         FOR EACH ROW EXECUTE FUNCTION lengthen_lease()";
    dermaga_shop::execute!(conn, trigger).unwrap();
    conn.commit().await.unwrap();
}

fn start(site: &Site, balancer: &Balancer) -> (String, Server) {
    let address = free_address();
    let server = Server::start_at(site, &address);
    balancer.add(&address);
    (address, server)
}

/// Ends a server as an orchestrator does.
async fn end(mut server: Server) -> Duration {
    let asked = Instant::now();
    server.send(Signal::TERM);
    let status = server.ended().await;
    assert!(status.success(), "{status}");
    asked.elapsed()
}

/// Makes what is sold, without a limit; returns the plan that customers buy.
async fn open_shop(site: &Site, address: &str, db: &Db) -> String {
    let patient = Patient::new(site).at(address);
    let admin = patient.administrator(site).await;
    let rich = json!({ "code": "RICH", "plugin": "coupon-credit-topup", "parameters": { "amount": RICH } });
    admin.post("/api/admin/coupons", "rich", &rich).await;
    let mut conn = db.begin().await.unwrap();
    let sql = "UPDATE service_plans SET total_quota = 1000000";
    dermaga_shop::execute!(conn, sql).unwrap();
    conn.commit().await.unwrap();
    let plans = patient.get("/api/catalog/services/postgresql/plans").await;
    let mut plans = plans.as_array().unwrap().iter();
    let plan = plans.find(|plan| plan["slug"] == "basic").unwrap();
    plan["id"].as_str().unwrap().to_owned()
}

/// Each of three servers ends and is replaced while customers buy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_under_load_loses_nothing() {
    let Some(mut site) = Site::new(true).await else {
        return;
    };
    site.set("DERMAGA_REQUEST_TIMEOUT", "30s");
    site.set("DERMAGA_REGISTRATIONS_PER_HOUR", "1000000");
    site.set("DERMAGA_DRAIN_TIME", "4s");
    // All servers of all tests have one PostgreSQL.
    site.set("DERMAGA_DATABASE_CONNECTIONS", "8");
    let balancer = Balancer::new();
    let mut servers: Vec<_> = (0..SERVERS).map(|_| start(&site, &balancer)).collect();
    let db = site.database().await;
    lengthen_leases(&db).await;
    let plan = open_shop(&site, &servers[0].0, &db).await;
    let watching = tokio::spawn(Arc::clone(&balancer).watch());
    balancer.until_ready(SERVERS).await;
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| tokio::spawn(customers(Arc::clone(&balancer), lane, plan.clone())))
        .collect();
    let rounds = tokio::spawn(longest_round(db.clone(), Arc::clone(&balancer)));
    let first: HashSet<String> = servers.iter().map(|(address, _)| address.clone()).collect();
    for _ in 0..SERVERS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (address, server) = servers.remove(0);
        let took = end(server).await;
        println!("{address} ended after {took:?}");
        balancer.remove(&address);
        servers.push(start(&site, &balancer));
        balancer.until_ready(SERVERS).await;
    }
    assert!(servers.iter().all(|(address, _)| !first.contains(address)));
    balancer.is_over.store(true, Ordering::Relaxed);
    let mut bought = 0;
    for lane in lanes {
        bought += lane.await.unwrap();
    }
    let (round, delivery) = (rounds.await.unwrap(), longest_delivery(&db).await);
    watching.await.unwrap();
    let refused = balancer.refused.load(Ordering::Relaxed);
    println!(
        "{bought} purchases, {refused} connections refused before anything was sent; longest wait of an instance \
         {round:?}, of a purchase for its delivery {delivery:?}"
    );
    for (_, server) in servers {
        end(server).await;
    }
    assert!(bought >= 10, "only {bought} bought");
    assert_eq!(leases(&db).await, 0, "a lease is left");
    let subscriptions = "SELECT count(*) FROM subscriptions";
    assert_eq!(count(&db, subscriptions).await, bought, "one for each");
    let instances = "SELECT count(*) FROM instances";
    assert_eq!(count(&db, instances).await, bought, "one for each");
    db.close().await;
    let books = site.books();
    assert_eq!(books["entries"], 2 * bought, "{books:#}");
    let [promised, when_busy] = LONGEST_WAIT;
    let longest = at_most(promised, when_busy);
    assert!(round < longest, "an instance waited for {round:?}");
    assert!(delivery < longest, "a purchase waited for {delivery:?}");
}

/// Starts a gateway that answers nothing while it is silent.
async fn gateway(is_silent: Arc<AtomicBool>) -> String {
    let gateway = Sandbox::new(Secret::new(KEY), Clock::system());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    gateway.found_at(&base);
    let router: axum::Router = gateway.router();
    let silence = move |request: axum::extract::Request, next: axum::middleware::Next| {
        let is_silent = Arc::clone(&is_silent);
        async move {
            if is_silent.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            next.run(request).await
        }
    };
    let router = router.layer(axum::middleware::from_fn(silence));
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

async fn write_messages(db: &Db, reader: Uuid) {
    let clock = Clock::system();
    let mut conn = db.begin().await.unwrap();
    for number in 0..12 {
        let payload = json!({ "amount": 10_000, "number": format!("TX-{number}") });
        let what = (Topic::TopUpReceived, reader);
        outbox::put_once(&mut conn, &clock, what, &number.to_string(), payload)
            .await
            .unwrap();
    }
    conn.commit().await.unwrap();
}

async fn until(db: &Db, sql: &'static str, least: i64) {
    for _ in 0..3_000 {
        if count(db, sql).await >= least {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never {least}: {sql}");
}

async fn ended_amid_work(on_postgres: bool) {
    let Some(mut site) = Site::new(on_postgres).await else {
        return;
    };
    let (mails, is_silent) = (MailServer::start().await, Arc::new(AtomicBool::new(false)));
    site.set("MIDTRANS_BASE_URL", &gateway(Arc::clone(&is_silent)).await);
    site.set("DERMAGA_REQUEST_TIMEOUT", "30s");
    site.set("SMTP_URL", &mails.url());
    site.set("MAIL_FROM", "Toko <toko@example.com>");
    site.set("SMTP_CONNECTIONS", "1");
    let server = Server::start(&site);
    let body = json!({ "email": "c@example.com", "password": "kata sandi yang panjang", "name": "Pelanggan" });
    let patient = Patient::new(&site);
    let account = patient.post("/api/auth/register", "register", &body).await;
    let reader = account["user"]["id"].as_str().unwrap().parse().unwrap();
    let top_up = json!({ "amount": 30_000, "paymentMethod": "QRIS" });
    let patient = patient.signed_in(&account);
    patient.post("/api/wallet/topup", "top-up", &top_up).await;
    let db = site.database().await;
    mails.wait_for(1).await;
    mails.pause(Duration::from_secs(2));
    is_silent.store(true, Ordering::Relaxed);
    write_messages(&db, reader).await;
    let mut conn = db.begin().await.unwrap();
    let now = Clock::system().now();
    dermaga_shop::execute!(conn, "UPDATE payments SET next_check_at = $1", now).unwrap();
    conn.commit().await.unwrap();
    let asked = "SELECT count(*) FROM payments WHERE lease_until IS NOT NULL";
    until(&db, asked, 1).await;
    let sending = "SELECT count(*) FROM notification_deliveries WHERE lease_until IS NOT NULL";
    until(&db, sending, 3).await;
    let taken = mails.taken();
    let took = end(server).await;
    println!("ended after {took:?}");
    assert_eq!(leases(&db).await, 0, "a lease is left");
    // The one in flight, and one that may have begun beside the count.
    assert!(mails.taken() <= taken + 2, "mails were begun at the end");
    let now = Clock::system().now();
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT (SELECT count(*) FROM payments WHERE next_check_at <= $1),
                 (SELECT count(*) FROM notification_deliveries WHERE state = 'PENDING' AND next_try_at > $1)";
    let (due, put_off) = dermaga_shop::fetch_one!(conn, (i64, i64), sql, now).unwrap();
    assert_eq!((due, put_off), (1, 0), "all is due for another server");
    drop(conn);
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_sqlite_that_ends_gives_back_what_it_holds() {
    ended_amid_work(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_postgresql_that_ends_gives_back_what_it_holds() {
    ended_amid_work(true).await;
}
