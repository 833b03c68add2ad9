//! Three servers on one PostgreSQL, and clients whose requests reach them in turns.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use dermaga_runtime::Digest;
use dermaga_shop::{crypto::random_hex, db::Db};
use dermaga_tests::at_most;
use futures::future::join_all;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::{
    decisions::giving,
    site::{Patient, Server, Site},
};

const SERVERS: usize = 3;
const PASSWORD: &str = "kata sandi yang panjang";
/// Longest wait of a test for what takes a moment on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time that is promised until an activation has reached all servers, and the one that a busy machine may need,
/// which keeps a server waiting for a processor.
const ACTIVATION: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(30)];
/// Time that missed jobs and renewals may take once all servers have started.
const CATCHING_UP: Duration = Duration::from_secs(180);
const READ: &str = "/api/catalog/categories";
/// Requests of one network in a minute.
const LIMIT: usize = 100;
/// Pays for months.
const RICH: i64 = 9_000_000;

/// Servers of one shop, each with a data folder of its own.
pub(super) struct Servers {
    pub(super) sites: Vec<Site>,
    pub(super) running: Vec<Server>,
}

impl Servers {
    /// Starts all at once on an empty database; `None` when there is no PostgreSQL here.
    pub(super) async fn open(settings: &[(&'static str, &str)]) -> Option<Self> {
        let mut first = Site::new(true).await?;
        for (name, value) in settings {
            first.set(name, value);
        }
        Some(Self::of(first))
    }

    /// Starts all at once on the database of a site.
    pub(super) fn of(mut first: Site) -> Self {
        // Requests that take their time on a busy machine are not cut off.
        first.set("DERMAGA_REQUEST_TIMEOUT", "30s");
        first.set("JWT_SECRET", &random_hex(32));
        first.set("DERMAGA_MASTER_KEY", &random_hex(32));
        let manifests = first.path().join("manifests").display().to_string();
        first.set("DERMAGA_MANIFESTS_DIR", &manifests);
        let mut sites = vec![first];
        while sites.len() < SERVERS {
            let another = sites[0].elsewhere();
            another.lend_compiled();
            sites.push(another);
        }
        let running = start_all(&sites);
        Self { sites, running }
    }

    /// The same person at each server.
    pub(super) fn each(&self, patient: &Patient) -> Vec<Patient> {
        let sites = self.sites.iter();
        sites.map(|site| patient.at(site.listen())).collect()
    }

    /// The same person behind a proxy.
    pub(super) fn turns(&self, patient: &Patient) -> Turns {
        Turns::of(self.each(patient))
    }

    /// A person without an account.
    pub(super) fn stranger(&self) -> Patient {
        Patient::new(&self.sites[0])
    }

    /// Stops all; those that are started next have another setting.
    pub(super) fn stop_and_set(&mut self, name: &'static str, value: &str) {
        self.running.clear();
        for site in &mut self.sites {
            site.set(name, value);
        }
    }
}

/// Starts a server for each site, all at the same moment.
pub(super) fn start_all(sites: &[Site]) -> Vec<Server> {
    thread::scope(|scope| {
        let starting: Vec<_> = sites
            .iter()
            .map(|site| scope.spawn(move || Server::start(site)))
            .collect();
        starting
            .into_iter()
            .map(|started| started.join().unwrap())
            .collect()
    })
}

/// Client whose requests reach one server after the other, as behind a plain proxy.
pub(super) struct Turns {
    servers: Vec<Patient>,
    next: AtomicUsize,
}

impl Turns {
    pub(super) fn of(servers: Vec<Patient>) -> Self {
        let next = AtomicUsize::new(0);
        Self { servers, next }
    }

    pub(super) fn turn(&self) -> &Patient {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.servers[turn % self.servers.len()]
    }
}

/// Waits until something holds, at most for this time; returns the time that it took.
pub(super) async fn within(
    most: Duration,
    what: &str,
    mut holds: impl AsyncFnMut() -> bool,
) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < most, "not in {most:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

/// Registers a customer, by one request.
pub(super) async fn register(patient: &Patient, email: &str) -> Value {
    let person = json!({ "email": email, "password": PASSWORD, "name": "Pelanggan" });
    patient.post("/api/auth/register", email, &person).await
}

/// Makes a coupon that adds an amount to a wallet.
pub(super) async fn make_coupon(admin: &Patient, code: &str, amount: i64) {
    let coupon = json!({
        "code": code, "plugin": "coupon-credit-topup", "parameters": { "amount": amount },
    });
    admin.post("/api/admin/coupons", code, &coupon).await;
}

/// A subscription that was bought and delivered.
pub(super) struct Bought {
    pub(super) price: i64,
    /// Paths of the subscription and of its instance.
    pub(super) subscription: String,
    pub(super) instance: String,
}

/// Redeems a coupon that pays for months, buys, and waits for the delivery; each request reaches another server.
pub(super) async fn buy(admin: &Turns, customer: &Turns) -> Bought {
    make_coupon(admin.turn(), "RICH", RICH).await;
    let code = json!({ "couponCode": "RICH" });
    let redeem = "/api/wallet/redeem-coupon";
    customer.turn().post(redeem, "rich", &code).await;
    let plans = "/api/catalog/services/postgresql/plans";
    let plans = customer.turn().get(plans).await;
    let mut plans = plans.as_array().unwrap().iter();
    let plan = plans.find(|plan| plan["slug"] == "basic").unwrap();
    let order = json!({ "planId": plan["id"] });
    let bought = customer
        .turn()
        .post("/api/subscriptions", "buy", &order)
        .await;
    let id = |value: &Value| value.as_str().unwrap().to_owned();
    let subscription = id(&bought["subscription"]["id"]);
    let instance = id(&bought["instanceId"]);
    let bought = Bought {
        price: bought["paidBonus"].as_i64().unwrap(),
        subscription: format!("/api/subscriptions/{subscription}"),
        instance: format!("/api/instances/{instance}"),
    };
    // Nothing is charged for what never ran.
    within(PATIENCE, "the delivery", async || {
        let subscription = customer.turn().get(&bought.subscription).await;
        let instance = customer.turn().get(&bought.instance).await;
        subscription["status"] == "ACTIVE" && instance["status"] == "WRITTEN"
    })
    .await;
    bought
}

pub(super) async fn periods(db: &Db) -> i64 {
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT count(*) FROM subscription_periods";
    let (periods,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    periods
}

/// Checks the ledger: one purchase and one renewal, each charged once.
pub(super) fn two_periods_were_paid(site: &Site, price: i64) {
    let books = site.books();
    let account = |name: &str| books["accounts"][name].as_i64().unwrap();
    assert_eq!(account("REVENUE"), 2 * price, "{books:#}");
}

/// A session is good, ends and is renewed at whichever server.
async fn sessions_are_everywhere(servers: &Servers) {
    let each = servers.each(&servers.stranger());
    let session = register(&each[0], "sesi@example.com").await;
    for server in &each {
        server.signed_in(&session).get("/api/auth/profile").await;
    }
    let refresh = json!({ "refreshToken": session["refreshToken"] });
    let path = "/api/auth/refresh-token";
    let renewed = each[1].post(path, "refresh", &refresh).await;
    let there = each[2].signed_in(&renewed);
    there.get("/api/auth/profile").await;
    there.post("/api/auth/logout", "logout", &json!({})).await;
    let took = within(PATIENCE, "the session ends everywhere", async || {
        let mut statuses = Vec::new();
        for server in &each {
            let ended = server.signed_in(&renewed);
            let asked = ended.send(Method::GET, "/api/auth/profile", ("ended", None));
            statuses.push(asked.await.0);
        }
        statuses.iter().all(|status| *status == 401)
    })
    .await;
    println!("a session ended everywhere after {took:?}");
    let spent = Some(json!({ "refreshToken": renewed["refreshToken"] }).to_string());
    let (status, _) = each[0].send(Method::POST, path, ("spent", spent)).await;
    assert_eq!(status, 401, "its refresh token is spent everywhere");
}

/// One key, sent to all servers at the same moment, acts once and is answered alike.
async fn a_key_acts_once(admin: &Patient, customer: &[Patient]) {
    make_coupon(admin, "ONCE", 1_000).await;
    let body = json!({ "couponCode": "ONCE" });
    let sent = customer
        .iter()
        .map(|server| server.post("/api/wallet/redeem-coupon", "once", &body));
    let answers = join_all(sent).await;
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    let entries = customer[1].get("/api/wallet/transactions").await;
    assert_eq!(entries.as_array().unwrap().len(), 1, "{entries:#}");
}

/// Versions that are activated at one server after the other run at all of them soon.
async fn activations_reach_all(admins: &[Patient]) {
    let path = "/api/admin/plugins/coupon-gift";
    for (number, admin) in admins.iter().enumerate() {
        let component = giving(1_000, &format!("{}.0.0", number + 1));
        let digest = Digest::of(&component).to_string();
        let staged = admin.upload(component, "handling=strict").await.unwrap();
        assert_eq!(staged.status().as_u16(), 201);
        let activate = format!("{path}/activate");
        let body = json!({ "digest": digest });
        admin.post(&activate, &digest, &body).await;
        let began = Instant::now();
        for other in admins {
            within(PATIENCE, "the version runs", async || {
                other.get(path).await["running"] == digest.as_str()
            })
            .await;
        }
        let took = began.elapsed();
        println!("a version runs on all servers {took:?} after its activation");
        let [promised, when_busy] = ACTIVATION;
        assert!(took < at_most(promised, when_busy), "{took:?}");
    }
}

/// Reads a stream until its text has this part.
async fn read_until(stream: &mut Response, text: &mut String, part: &str) {
    let reading = async {
        while !text.contains(part) {
            let chunk = stream.chunk().await.unwrap();
            let chunk = chunk.unwrap_or_else(|| panic!("it ended without `{part}`: {text}"));
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    let read = tokio::time::timeout(PATIENCE, reading).await;
    assert!(read.is_ok(), "`{part}` does not come");
}

/// Shows that a change at one server arrives on a stream of another.
async fn events_arrive_from_elsewhere(admin: &Patient, customer: &[Patient]) {
    make_coupon(admin, "NEWS", 2_000).await;
    let mut stream = customer[2].stream("/api/events").await;
    let mut text = String::new();
    read_until(&mut stream, &mut text, "event: ready").await;
    let began = Instant::now();
    let body = json!({ "couponCode": "NEWS" });
    customer[0]
        .post("/api/wallet/redeem-coupon", "news", &body)
        .await;
    read_until(&mut stream, &mut text, "event: wallet").await;
    println!(
        "an event of another server came after {:?}",
        began.elapsed()
    );
}

/// A month later, all servers find the same jobs missed: each runs once, and one of them renews.
async fn jobs_run_once(servers: &mut Servers, admin: &Patient, bought: &Bought) {
    let jobs = admin.get("/api/admin/jobs").await;
    let jobs = jobs.as_array().unwrap().len();
    assert!(jobs > 5, "{jobs}");
    let db = servers.sites[0].database().await;
    // Nothing that comes due before a job is known was missed.
    within(PATIENCE, "all jobs are known", async || {
        let mut conn = db.read().await.unwrap();
        let known = "SELECT count(*) FROM jobs";
        let (known,) = dermaga_shop::fetch_one!(conn, (i64,), known).unwrap();
        usize::try_from(known).unwrap() == jobs
    })
    .await;
    servers.stop_and_set("DERMAGA_CLOCK", "+32d");
    servers.running = start_all(&servers.sites);
    let runs = async |more: &str| {
        let mut conn = db.read().await.unwrap();
        // Without those that the servers had begun before they were stopped.
        let sql = format!(
            "SELECT count(DISTINCT job), count(*) FROM job_runs \
             WHERE trigger = 'SCHEDULE' AND scheduled_for > now() + interval '2 days' {more}"
        );
        let sql = sqlx::AssertSqlSafe(sql);
        dermaga_shop::fetch_one!(conn, (i64, i64), sql).unwrap()
    };
    let mut seen = None;
    let took = within(CATCHING_UP, "all jobs and the renewal", async || {
        let (ended, _) = runs("AND finished_at IS NOT NULL").await;
        let (_, open) = runs("AND finished_at IS NULL").await;
        let now = (ended, open, periods(&db).await);
        if seen.replace(now) != Some(now) {
            println!(
                "{ended} of {jobs} jobs ended, {open} runs open, {} periods",
                now.2
            );
        }
        usize::try_from(ended).unwrap() == jobs && open == 0 && now.2 == 2
    })
    .await;
    let (_, all) = runs("").await;
    println!("{all} runs of {jobs} jobs on {SERVERS} servers in {took:?}");
    let (_, repeated) = runs("AND attempts > 1").await;
    assert_eq!(repeated, 0, "a run was begun twice");
    assert_eq!(periods(&db).await, 2);
    db.close().await;
    two_periods_were_paid(&servers.sites[0], bought.price);
}

/// Shows that servers are one shop.
pub(super) async fn are_one_shop(mut servers: Servers) {
    let admin = servers.stranger().administrator(&servers.sites[0]).await;
    let admins = servers.each(&admin);
    sessions_are_everywhere(&servers).await;
    let stranger = servers.stranger();
    let session = register(&stranger, "c@example.com").await;
    let customer = servers.each(&stranger.signed_in(&session));
    a_key_acts_once(&admins[2], &customer).await;
    activations_reach_all(&admins).await;
    events_arrive_from_elsewhere(&admins[1], &customer).await;
    let turns = (servers.turns(&admin), servers.turns(&customer[0]));
    let bought = buy(&turns.0, &turns.1).await;
    jobs_run_once(&mut servers, &admin, &bought).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_are_one_shop() {
    if let Some(servers) = Servers::open(&[]).await {
        Box::pin(are_one_shop(servers)).await;
    }
}

/// Servers that look once in an hour know of an activation because the database tells it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activation_is_told_to_servers_that_do_not_look() {
    let Some(servers) = Servers::open(&[("DERMAGA_PLUGIN_POLL", "1h")]).await else {
        return;
    };
    let admin = servers.stranger().administrator(&servers.sites[0]).await;
    let db = servers.sites[0].database().await;
    // A server that does not listen yet would miss the message.
    within(PATIENCE, "all servers listen", async || {
        let mut conn = db.read().await.unwrap();
        let sql = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND query LIKE 'LISTEN %dermaga_plugins%'";
        let (listening,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
        usize::try_from(listening).unwrap() == SERVERS
    })
    .await;
    db.close().await;
    activations_reach_all(&servers.each(&admin)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_hold_one_limit() {
    let limit = LIMIT.to_string();
    let settings = [("DERMAGA_CATALOGUE_REQUESTS_PER_MINUTE", limit.as_str())];
    let Some(servers) = Servers::open(&settings).await else {
        return;
    };
    let turns = servers.turns(&servers.stranger());
    let began = Instant::now();
    let mut admitted = 0_usize;
    for _ in 0..LIMIT + 50 {
        let sent = turns.turn().send(Method::GET, READ, ("limit", None));
        match sent.await.0 {
            200 => admitted += 1,
            429 => {}
            other => panic!("answered {other}"),
        }
    }
    let took = began.elapsed();
    println!("{admitted} of {} requests in {took:?}", LIMIT + 50);
    // Slower than that, the window has ended and its limit is there again.
    assert!(took < Duration::from_secs(60), "the machine is too slow");
    assert!((LIMIT..=LIMIT + LIMIT / 10).contains(&admitted));
}
