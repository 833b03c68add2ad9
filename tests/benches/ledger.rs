//! Measures the proof of the ledger on this machine.
//!
//! `cargo bench --package dermaga-tests --bench ledger`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    reason = "what cannot go on must stop, and ratios are numbers"
)]

use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use dermaga_shop::{ids::UserId, wallet::ledger};
use dermaga_tests::{
    Engine, Shop,
    bench::{self, on_both_engines, verdict},
    entries,
};
use serde_json::json;

const WALLETS: usize = 300;
const ENTRIES: usize = 300_000;
const TARGET: Duration = Duration::from_secs(10);
/// Memory that the proof adds, however many entries there are. To keep all of them, with their postings, would take
/// more than a hundred.
const MEMORY_TARGET_MIB: u64 = 32;

fn main() -> ExitCode {
    on_both_engines(async |engine| tokio::spawn(measure(engine)).await.unwrap());
    bench::end()
}

async fn measure(engine: Engine) {
    let Some(shop) = Shop::open(engine).await else {
        return;
    };
    let name = shop.state().db.engine_name();
    let mut users: Vec<UserId> = Vec::with_capacity(WALLETS);
    for client in shop.many_customers(WALLETS).await {
        let profile = client.get("/api/user/profile").await.data(200);
        users.push(profile["id"].as_str().unwrap().parse().unwrap());
    }
    for (round, share) in [("first", ENTRIES / 10), ("second", ENTRIES - ENTRIES / 10)] {
        let each = share / WALLETS;
        entries::post(&shop.state().db, shop.clock(), &users, round, each).await;
        seal(&shop).await;
        // The planner's statistics are those of the night before, or none.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let before = peak_kib();
        let started = Instant::now();
        let found = ledger::verify(&shop.state().db, shop.clock())
            .await
            .unwrap();
        let took = started.elapsed();
        assert!(found.holds(), "{:#?}", found.faults);
        let grown = peak_kib().saturating_sub(before) / 1024;
        println!(
            "{name:9} ledger verify, {} entries, {} postings: {took:.1?} (target: <= {TARGET:?} for {ENTRIES}, {}), {grown} MiB more memory (target: flat, <= {MEMORY_TARGET_MIB} MiB, {})",
            found.entries,
            found.postings,
            verdict(took <= TARGET),
            verdict(grown <= MEMORY_TARGET_MIB)
        );
    }
    shop.close().await;
}

/// Peak memory of this process in KiB since the last reset.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let digits = line.map(|line| line.trim().trim_end_matches(" kB"));
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

async fn seal(shop: &Shop) {
    let run = "/api/admin/jobs/ledger-seal/run";
    shop.admin().await.post(run, json!({})).await.data(200);
}
