//! Measures a run of renewals on this machine: how many there are a second, compared in the same run to their rows
//! written by hand, how long others wait for their wallets meanwhile, and the memory that it takes.
//!
//! `cargo bench --package dermaga-tests --bench renewals [-- COUNT]`, with the number of subscriptions that are
//! renewed: 10,000 unless said.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "what cannot go on must stop, and ratios are numbers"
)]

use std::{
    ops::Range,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use dermaga_shop::{
    billing,
    ids::{SubscriptionId, UserId},
    wallet::ledger,
};
use dermaga_tests::{
    Engine, Shop,
    bench::{self, durable_shop, on_both_engines, resident_kib, verdict},
    by_hand::{Model, Renewer},
    past::{self, Kind},
    postgres::Postgres,
    processes::Watched,
    wire::{Request, Wire},
};
use futures::future::join_all;
use tempfile::TempDir;
use tokio::time::{interval, sleep};

const RENEWALS: u32 = 10_000;
/// Runs, each of which renews as many; the first one warms up.
const RUNS: u32 = 10;
/// Renewals that are under way at once in a run, and by hand.
const AT_ONCE: u32 = 8;
const TARGET: f64 = 0.5;
/// Customers who look at their wallets meanwhile, each after this pause.
const READERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);
const READ_TARGET: Duration = Duration::from_millis(50);
/// Memory at any moment after the first run against that after it.
const GROWTH: f64 = 1.2;
/// Longest wait for the notifications of a run.
const LONGEST_TELLING: Duration = Duration::from_secs(3_600);

fn main() -> ExitCode {
    // Cargo says `--bench` besides.
    let mut arguments = std::env::args().skip(1);
    let count: Option<u32> = arguments.find_map(|text| text.parse().ok());
    let count = count.unwrap_or(RENEWALS).max(1);
    let each = count.div_ceil(RUNS * AT_ONCE) * AT_ONCE;
    on_both_engines(async |engine| tokio::spawn(measure(engine, each)).await.unwrap());
    bench::end()
}

/// Lets runs and rows by hand take turns; `each` is a multiple of those that are under way at once.
async fn measure(engine: Engine, each: u32) {
    // The first customer's is the model of those that are written by hand.
    let customers = 1 + RUNS * each;
    let Some((shop, _database)) = opened(engine).await else {
        return;
    };
    let Some(mut floor) = Box::pin(Floor::open(engine, customers)).await else {
        return;
    };
    fill(&shop, customers).await;
    let readers = readers(&shop).await;
    let watched = Watched {
        server: Some(std::process::id()),
        database: None,
    };
    let (mut turns, mut first_kib) = (Vec::new(), 0);
    for run in 0..RUNS {
        let first = 2 + run * each;
        let turn = turn(&shop, &mut floor, &readers, first..first + each);
        turns.push(Box::pin(turn).await);
        if run == 0 {
            first_kib = resident_kib();
            watched.forget_peak();
        }
    }
    let last_kib = resident_kib();
    let most_kib = watched.server_peak().unwrap_or(last_kib);
    let name = shop.state().db.engine_name();
    print_rates(name, each, &turns[1..]);
    print_memory(name, [first_kib, last_kib, most_kib]);
    let periods = "SELECT count(*) FROM subscription_periods WHERE number = 2";
    assert_eq!(number(&shop, periods).await, i64::from(RUNS * each), "once");
    let books = ledger::verify(&shop.state().db, shop.clock()).await;
    let books = books.unwrap();
    assert!(books.holds(), "{:#?}", books.faults);
    shop.close().await;
}

/// Times of one turn of each side.
struct Turn {
    renewed: Duration,
    /// Time until all of their customers were told, after that.
    told: Duration,
    by_hand: Duration,
    /// Latencies of others' wallets while subscriptions were renewed, and while rows were written by hand.
    reads: Vec<Duration>,
    reads_by_hand: Vec<Duration>,
}

async fn turn(shop: &Shop, floor: &mut Floor, readers: &[String], numbers: Range<u32>) -> Turn {
    let callers = callers(shop, readers).await;
    make_due(shop, &numbers).await;
    let count = numbers.end - numbers.start;
    let (renewed, reads) = beside_readers(&callers, renew(shop, count)).await;
    // Work that a run leaves behind is not to slow the rows by hand.
    let told = until_told(shop).await;
    let (by_hand, reads_by_hand) = beside_readers(&callers, floor.renew(numbers)).await;
    Turn {
        renewed,
        told,
        by_hand,
        reads,
        reads_by_hand,
    }
}

// ---- the shop ----

/// Opens a shop that renews by hand alone.
async fn opened(engine: Engine) -> Option<(Shop, Option<Postgres>)> {
    durable_shop(engine, |config| {
        config.schedules.daily_renewals = "off".parse().unwrap();
    })
    .await
}

async fn fill(shop: &Shop, customers: u32) {
    shop.admin().await;
    past::subscribers(&shop.state().db, customers).await;
}

const fn subscription(number: u32) -> SubscriptionId {
    SubscriptionId::from_u128(Kind::Subscription.id(number))
}

const fn customer(number: u32) -> UserId {
    UserId::from_u128(Kind::User.id(number))
}

/// Lets the periods of these subscriptions be over.
async fn make_due(shop: &Shop, numbers: &Range<u32>) {
    let count = numbers.end - numbers.start;
    let (first, end) = (subscription(numbers.start), subscription(numbers.end));
    let over = shop.clock().now() - TimeDelta::seconds(1);
    let sql = "UPDATE subscriptions SET period_end = $1 WHERE id >= $2 AND id < $3";
    let mut conn = shop.state().db.begin().await.unwrap();
    let changed = dermaga_shop::execute!(conn, sql, over, first, end).unwrap();
    conn.commit().await.unwrap();
    assert_eq!(changed, u64::from(count));
}

/// Runs the job of a night.
async fn renew(shop: &Shop, count: u32) {
    let done = Box::pin(billing::renew_due(&shop.state().subscriptions)).await;
    let done = done.unwrap();
    assert_eq!((done.items, done.errors), (u64::from(count), Vec::new()));
}

/// Waits until the customers are told, which nothing does by hand; returns the time.
async fn until_told(shop: &Shop) -> Duration {
    let started = Instant::now();
    let waiting = "SELECT count(*) FROM outbox WHERE handled_at IS NULL";
    while number(shop, waiting).await > 0 {
        assert!(started.elapsed() < LONGEST_TELLING, "it stopped");
        sleep(Duration::from_millis(100)).await;
    }
    started.elapsed()
}

async fn number(shop: &Shop, sql: &'static str) -> i64 {
    let mut conn = shop.state().db.read().await.unwrap();
    let (number,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    number
}

// ---- rows by hand ----

/// A database with the same customers, without a server.
struct Floor {
    renewers: Vec<Renewer>,
    _data: TempDir,
    _database: Option<Postgres>,
}

impl Floor {
    /// Renews one subscription with a shop, as a model, and closes it.
    async fn open(engine: Engine, customers: u32) -> Option<Self> {
        let (shop, database) = opened(engine).await?;
        fill(&shop, customers).await;
        make_due(&shop, &(1..2)).await;
        renew(&shop, 1).await;
        let model = Model::of(&shop.state().db, subscription(1)).await;
        let url = shop.state().config.database_url();
        let clock = shop.clock().clone();
        let data = shop.close().await;
        // On SQLite renewals that are under way at once share a commit; on PostgreSQL each has a connection.
        let (connections, together) = match engine {
            Engine::Sqlite => (1, AT_ONCE),
            Engine::Postgres => (AT_ONCE, 1),
        };
        let mut renewers = Vec::new();
        for _ in 0..connections {
            renewers.push(Renewer::connect(&url, &clock, model, together as usize).await);
        }
        Some(Self {
            renewers,
            _data: data,
            _database: database,
        })
    }

    async fn renew(&mut self, numbers: Range<u32>) {
        let all: Vec<_> = numbers
            .map(|number| (subscription(number), customer(number)))
            .collect();
        let share = all.len() / self.renewers.len();
        let mut work = Vec::new();
        for (renewer, share) in self.renewers.iter_mut().zip(all.chunks(share)) {
            work.push(renewer.renew(share));
        }
        join_all(work).await;
    }
}

// ---- others ----

/// Registers those who look at their wallets; returns their e-mail addresses.
async fn readers(shop: &Shop) -> Vec<String> {
    let mut readers = Vec::with_capacity(READERS);
    for number in 0..READERS {
        let email = format!("baca-{number}@example.com");
        shop.customer_with_credit(&email, 50_000).await;
        readers.push(email);
    }
    readers
}

/// Signs them in, since a token is good for minutes; returns their addresses of the server, and requests.
async fn callers(shop: &Shop, readers: &[String]) -> Vec<(String, String)> {
    let mut callers = Vec::with_capacity(readers.len());
    for email in readers {
        let reader = shop.sign_in(email).await;
        let (host, token) = reader.address_and_token();
        let request = Request {
            method: "GET",
            path: "/api/wallet/info",
            token: Some(token),
            ..Request::default()
        };
        callers.push((host.to_owned(), request.to_text(host)));
    }
    callers
}

/// Lets others look at their wallets until the work is done; returns its time, and their latencies.
async fn beside_readers(
    callers: &[(String, String)],
    work: impl Future<Output = ()> + Send,
) -> (Duration, Vec<Duration>) {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::with_capacity(callers.len());
    for (host, request) in callers.iter().cloned() {
        readers.push(tokio::spawn(look(host, request, Arc::clone(&is_over))));
    }
    let started = Instant::now();
    work.await;
    let took = started.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for reader in join_all(readers).await {
        latencies.extend(reader.unwrap());
    }
    (took, latencies)
}

/// Asks for a wallet at each tick until it is over. A latency begins with its tick, so that one that waits for the
/// answer before counts the wait.
async fn look(host: String, request: String, is_over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut wire = Wire::connect(&host).await.unwrap();
    let mut ticks = interval(PAUSE);
    let mut latencies = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let tick = ticks.tick().await;
        let answered = wire.ask(&request).await.unwrap();
        assert_eq!(answered.status, 200);
        latencies.push(tick.elapsed());
    }
    latencies
}

// ---- results ----

fn print_rates(name: &str, each: u32, turns: &[Turn]) {
    let mut ratios: Vec<f64> = turns
        .iter()
        .map(|turn| turn.by_hand.as_secs_f64() / turn.renewed.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    let count = each as usize * turns.len();
    let rate = |time: fn(&Turn) -> Duration| {
        count as f64 / turns.iter().map(time).sum::<Duration>().as_secs_f64()
    };
    println!(
        "{name:9} renewals, durable, {count} in runs of {each}: {:.0}/s; their rows by hand, {AT_ONCE} at once: {:.0}/s; ratio {ratio:.2} (target: >= {TARGET}, {})",
        rate(|turn| turn.renewed),
        rate(|turn| turn.by_hand),
        verdict(ratio >= TARGET)
    );
    let told: Duration = turns.iter().map(|turn| turn.told).sum();
    println!("{name:9} notifications of them, after the runs: {told:.1?} until the last");
    let (p50, p99) = quantiles(turns, |turn| &turn.reads);
    let (_, by_hand) = quantiles(turns, |turn| &turn.reads_by_hand);
    println!(
        "{name:9} wallet reads of {READERS} others meanwhile: p50 {p50:.1?}, p99 {p99:.1?} (target: p99 <= {READ_TARGET:?}, {}); beside rows by hand: p99 {by_hand:.1?}",
        verdict(p99 <= READ_TARGET)
    );
}

/// Returns median and 99th percentile of all latencies.
fn quantiles(turns: &[Turn], of: fn(&Turn) -> &Vec<Duration>) -> (Duration, Duration) {
    let mut all: Vec<Duration> = turns.iter().flat_map(of).copied().collect();
    all.sort();
    (all[all.len() / 2], all[all.len() * 99 / 100])
}

fn print_memory(name: &str, [first, last, most]: [u64; 3]) {
    let growth = most as f64 / first.max(1) as f64;
    println!(
        "{name:9} memory: {} MiB after the first run, {} MiB after the last, {} MiB at most: {growth:.2} x (target: <= {GROWTH}, {})",
        first / 1024,
        last / 1024,
        most / 1024,
        verdict(growth <= GROWTH)
    );
}
