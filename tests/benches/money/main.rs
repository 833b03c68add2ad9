//! Measures money on this machine: reading a wallet over HTTP, redeeming a coupon, compared in the same
//! run to the smallest durable commit of the same database and to its own rows written by hand, and
//! buying.
//!
//! `cargo bench --package dermaga-tests --bench money`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    reason = "what cannot go on must stop, and ratios are numbers"
)]

mod buys;
mod over_http;

use std::{
    collections::HashMap,
    fmt,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use dermaga::api::AppState;
use dermaga_runtime::contract::Place;
use dermaga_shop::{
    coupons::{self, CouponCode},
    ids::UserId,
    wallet::ledger,
};
use dermaga_tests::{
    Engine, Shop,
    bench::{self, durable_shop, on_both_engines, verdict},
    by_hand::Copyist,
    wire::{Request, Wire},
};
use futures::future::join_all;
use serde_json::json;
use tokio::sync::Mutex;

use buys::buys;
use over_http::Caller;

/// Concurrent clients; each repeats its request as soon as it is answered.
const CONNECTIONS: usize = 64;
const READS: usize = 300;
const WARM_UP: usize = 30;
const READ_TARGET: Duration = Duration::from_millis(10);

/// Operations of each kind in one round; the kinds take turns, so that load on the machine slows
/// both.
const ACTS: usize = 160;
/// Customers who redeem one coupon at once.
const AT_ONCE: usize = 16;
const ROUNDS: usize = 15;
const REDEEM_TARGET: f64 = 0.5;

fn main() -> ExitCode {
    // On a worker, where handlers run.
    on_both_engines(async |engine| tokio::spawn(measure(engine)).await.unwrap());
    bench::end()
}

async fn measure(engine: Engine) {
    let Some((shop, _database)) = durable_shop(engine, |_| {}).await else {
        return;
    };
    let name = shop.state().db.engine_name();
    reads(name, &shop).await;
    shop.sql("CREATE TABLE bench_rows (value BIGINT NOT NULL)")
        .await
        .unwrap();
    let alone = redeems(name, &shop, "SATU", 1).await;
    over_http(name, &shop, "SATU", &alone).await;
    let at_once = redeems(name, &shop, "RAMAI", AT_ONCE).await;
    over_http(name, &shop, "RAMAI", &at_once).await;
    buys(name, &shop).await;
    let (alone, at_once) = (ids(alone), ids(at_once));
    let books = ledger::verify(&shop.state().db, shop.clock())
        .await
        .unwrap();
    assert!(books.holds(), "{:#?}", books.faults);
    // Rows written by hand are in no chain, so the proof comes first.
    by_hand(name, &shop, &alone).await;
    if engine == Engine::Postgres {
        by_hand(name, &shop, &at_once).await;
    }
    shop.close().await;
}

/// `GET /wallet/info` of wallets with a history, with [`CONNECTIONS`] open connections.
async fn reads(name: &str, shop: &Shop) {
    let customer = shop
        .customer_with_credit("baca@example.com", 1_000_000)
        .await;
    let plan = shop.plan("postgresql", "basic").await;
    customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    let started = Instant::now();
    let mut latencies: Vec<Duration> = join_all((0..CONNECTIONS).map(|_| {
        let (address, token) = customer.address_and_token();
        tokio::spawn(read_again(
            address.to_owned(),
            wallet_request(address, token),
        ))
    }))
    .await
    .into_iter()
    .flat_map(Result::unwrap)
    .collect();
    let rate = (CONNECTIONS * (READS + WARM_UP)) as f64 / started.elapsed().as_secs_f64();
    latencies.sort();
    let (median, p99) = (
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 99 / 100],
    );
    println!(
        "{name:9} wallet read, {CONNECTIONS} connections: p50 {median:.1?}, p99 {p99:.1?}, {rate:.0}/s (target: p99 <= {READ_TARGET:?}, {})",
        verdict(p99 <= READ_TARGET)
    );
}

fn wallet_request(host: &str, token: &str) -> String {
    let request = Request {
        method: "GET",
        path: "/api/wallet/info",
        token: Some(token),
        ..Request::default()
    };
    request.to_text(host)
}

/// Repeats a request on one connection.
async fn read_again(address: String, request: String) -> Vec<Duration> {
    let mut latencies = Vec::with_capacity(READS);
    let mut wire = Wire::connect(&address).await.unwrap();
    for number in 0..READS + WARM_UP {
        let started = Instant::now();
        let answered = wire.ask(&request).await.unwrap();
        assert_eq!(answered.status, 200);
        if number >= WARM_UP {
            latencies.push(started.elapsed());
        }
    }
    latencies
}

/// Compares redeeming one coupon (plugin call and ledger transaction) to inserting one row, each in
/// its own commit, by as many customers at once. Returns the customers and their tokens.
async fn redeems(name: &str, shop: &Shop, code: &str, customers: usize) -> Vec<(UserId, String)> {
    let state = shop.state();
    let body =
        json!({ "code": code, "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 } });
    shop.admin()
        .await
        .post("/api/admin/coupons", body)
        .await
        .data(201);
    let mut users = Vec::with_capacity(customers);
    for number in 0..customers {
        let user = shop.register(&format!("{code}-{number}@example.com")).await;
        let id: UserId = user["user"]["id"].as_str().unwrap().parse().unwrap();
        users.push((id, user["accessToken"].as_str().unwrap().to_owned()));
    }
    let code: CouponCode = code.parse().unwrap();
    let own = (state.clone(), code);
    let measured = beside_bare(state, &ids(users.clone()), move |user| {
        let (state, code) = own.clone();
        async move { redeem(&state, user, &code).await }
    })
    .await;
    println!(
        "{name:9} redeem, durable, {customers} at once: {measured} (target: >= {REDEEM_TARGET}, {})",
        verdict(measured.ratio >= REDEEM_TARGET)
    );
    users
}

fn ids(users: Vec<(UserId, String)>) -> Vec<UserId> {
    users.into_iter().map(|(id, _)| id).collect()
}

/// Compares the same over HTTP, with a token and an idempotency key, whose answer is kept in the
/// same commit.
async fn over_http(name: &str, shop: &Shop, code: &str, users: &[(UserId, String)]) {
    let mut callers = HashMap::new();
    for (user, token) in users {
        let (host, _) = shop.client().address_and_token();
        let caller = Caller::connect(host, token, code).await;
        callers.insert(*user, Mutex::new(caller));
    }
    let callers = Arc::new(callers);
    let measured = beside_bare(shop.state(), &ids(users.to_vec()), move |user| {
        let callers = Arc::clone(&callers);
        async move { callers[&user].lock().await.redeem().await }
    })
    .await;
    let at_once = users.len();
    println!("{name:9} redeem over HTTP with token and key, {at_once} at once: {measured}");
}

/// Compares the rows of a redemption, written by the engine alone, to one row: an upper bound for
/// redeeming.
async fn by_hand(name: &str, shop: &Shop, users: &[UserId]) {
    let mut copyists = HashMap::new();
    for user in users {
        let url = shop.state().config.database_url();
        let copyist = Copyist::of(&shop.state().db, shop.clock(), &url, *user).await;
        copyists.insert(*user, Mutex::new(copyist));
    }
    let copyists = Arc::new(copyists);
    let measured = beside_bare(shop.state(), users, move |user| {
        let copyists = Arc::clone(&copyists);
        async move { copyists[&user].lock().await.copy().await }
    })
    .await;
    let at_once = users.len();
    println!("{name:9} its rows by hand, durable, {at_once} at once: {measured}");
}

/// Returns the time of [`ACTS`] operations when each customer does one after another.
async fn together<F: Future<Output = ()> + Send + 'static>(
    users: &[UserId],
    act: impl Fn(UserId) -> F + Clone + Send + Sync + 'static,
) -> Duration {
    let started = Instant::now();
    let each = ACTS / users.len();
    let customers = users.iter().map(|user| {
        let (user, act) = (*user, act.clone());
        tokio::spawn(async move {
            for _ in 0..each {
                act(user).await;
            }
        })
    });
    for customer in join_all(customers).await {
        customer.unwrap();
    }
    started.elapsed()
}

/// Operations a second, and bare rows a second, each in their own commit.
struct Measured {
    rate: f64,
    bare: f64,
    /// Median of the rounds.
    ratio: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, bare, ratio } = self;
        write!(f, "{rate:.0}/s; bare rows: {bare:.0}/s; ratio {ratio:.2}")
    }
}

/// Measures an operation and bare rows by as many customers, in turns.
async fn beside_bare<F: Future<Output = ()> + Send + 'static>(
    state: &AppState,
    users: &[UserId],
    act: impl Fn(UserId) -> F + Clone + Send + Sync + 'static,
) -> Measured {
    let (mut ratios, mut bare_total, mut act_total) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let own = state.clone();
        let bare = together(users, move |_| {
            let state = own.clone();
            async move { commit_a_row(&state).await }
        })
        .await;
        let acts = together(users, act.clone()).await;
        ratios.push(bare.as_secs_f64() / acts.as_secs_f64());
        bare_total += bare;
        act_total += acts;
    }
    ratios.sort_by(f64::total_cmp);
    let rate = |total: Duration| (ROUNDS * ACTS) as f64 / total.as_secs_f64();
    Measured {
        rate: rate(act_total),
        bare: rate(bare_total),
        ratio: ratios[ROUNDS / 2],
    }
}

async fn commit_a_row(state: &AppState) {
    let mut conn = state.db.begin().await.unwrap();
    dermaga_shop::execute!(conn, "INSERT INTO bench_rows (value) VALUES ($1)", 1_i64).unwrap();
    conn.commit().await.unwrap();
}

async fn redeem(state: &AppState, user: UserId, code: &CouponCode) {
    let redeemed = coupons::redeem(&state.coupons, user, code, Place::Wallet)
        .await
        .unwrap();
    redeemed.commit().await.unwrap();
}
