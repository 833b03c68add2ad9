//! Measures provisioning on a disposable cluster that `DERMAGA_TEST_KUBECONFIG` names: how soon what
//! was bought is applied, from the commit of the purchases on, and from their beginning on, compared in
//! the same run to a bare loop that applies the same objects; how soon it is ready; and the memory and
//! processor time of thousands of instances at rest.
//!
//! `cargo bench --package dermaga-tests --bench provisioning [-- [COUNT] [--purchases N] [--rounds N]
//! [--rest SECONDS]]`, with the number of instances at rest (0 unless said, since ten thousand take
//! some minutes and as many objects as six times that), of purchases one after another, of rounds of
//! twice fifty instances beside a bare loop, and the time over which rest is measured.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    reason = "what cannot go on must stop, and ratios are numbers"
)]

mod bare;
mod rates;
mod rest;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use dermaga_shop::{ids::PlanId, provisioning::Choice};
use dermaga_tests::{
    Engine, Shop,
    bench::{self, customers, verdict},
};
use serde_json::json;
use tokio::time::sleep;

const READY_TARGET: Duration = Duration::from_millis(2_500);

/// Sizes of a run.
struct Sizes {
    at_rest: usize,
    purchases: usize,
    rounds: usize,
    /// Time over which memory and processor time at rest are taken.
    rest: Duration,
}

impl Sizes {
    fn of(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut sizes = Self {
            at_rest: 0,
            purchases: 21,
            rounds: 10,
            rest: Duration::from_secs(120),
        };
        while let Some(argument) = arguments.next() {
            let mut number = || -> usize {
                let next = arguments.next().and_then(|text| text.parse().ok());
                next.expect("a number follows")
            };
            match argument.as_str() {
                "--purchases" => sizes.purchases = number().max(1),
                "--rounds" => sizes.rounds = number().max(1),
                "--rest" => sizes.rest = Duration::from_secs(number().max(1) as u64),
                // Cargo says `--bench` besides.
                other => sizes.at_rest = other.parse().unwrap_or(sizes.at_rest),
            }
        }
        sizes
    }
}

fn main() -> ExitCode {
    let Some(kubeconfig) = std::env::var_os("DERMAGA_TEST_KUBECONFIG").map(PathBuf::from) else {
        println!("left out: DERMAGA_TEST_KUBECONFIG names no cluster");
        return ExitCode::SUCCESS;
    };
    let sizes = Sizes::of(std::env::args().skip(1));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure(kubeconfig, sizes));
    bench::end()
}

async fn measure(kubeconfig: PathBuf, sizes: Sizes) {
    let shop = Shop::open_with(Engine::Sqlite, |config| {
        config.provisioning.provisioner = Choice::Kubernetes;
        config.provisioning.kubeconfig = Some(kubeconfig.clone());
    })
    .await
    .unwrap();
    let plan = plan(&shop).await;
    until_ready(&shop, &kubeconfig, (plan, sizes.purchases)).await;
    let rates = rates::measure(&shop, &kubeconfig, (plan, sizes.rounds));
    let mut namespaces = Box::pin(rates).await;
    if sizes.at_rest > 0 {
        let resting = rest::measure(&shop, plan, sizes.at_rest, sizes.rest);
        namespaces.extend(Box::pin(resting).await);
    }
    shop.close().await;
    bare::delete(&bare::client(&kubeconfig).await, &namespaces).await;
}

/// Returns a plan that anybody may buy as often as they like, with the smallest pods that its plugin takes.
async fn plan(shop: &Shop) -> PlanId {
    let plan: PlanId = shop.plan("postgresql", "basic").await.parse().unwrap();
    let mut conn = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE service_plans SET cpu_millis = 10, memory_mib = 256, storage_gib = 1, total_quota = 1000000,
                 max_instances_per_user = 1000000 WHERE id = $1";
    dermaga_shop::execute!(conn, sql, plan).unwrap();
    conn.commit().await.unwrap();
    plan
}

async fn count(shop: &Shop, sql: &'static str) -> i64 {
    let mut conn = shop.state().db.read().await.unwrap();
    let (count,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    count
}

/// Waits until every instance that is known is applied.
async fn all_applied(shop: &Shop) {
    let waiting = "SELECT COUNT(*) FROM instances WHERE observed_generation < generation";
    let deadline = Instant::now() + Duration::from_secs(3_600);
    while count(shop, waiting).await > 0 {
        assert!(Instant::now() < deadline, "instances are not applied");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Measures purchases one after another over HTTP until the instance answers that it runs, and the time
/// that the cluster needs for the pod of a bare StatefulSet.
async fn until_ready(shop: &Shop, kubeconfig: &Path, (plan, purchases): (PlanId, usize)) {
    let client = bare::client(kubeconfig).await;
    let (customer, _) = customers(shop, "siap", 1).await.remove(0);
    let (mut times, mut alone) = (Vec::new(), Vec::new());
    for number in 0..purchases {
        let began = Instant::now();
        let order = json!({ "planId": plan });
        let bought = customer.post("/api/subscriptions", order).await.data(201);
        let id = bought["instanceId"].as_str().unwrap();
        shop.instance_becomes(&customer, id, "RUNNING").await;
        times.push(began.elapsed().as_secs_f64());
        alone.push(bare::until_ready(&client, number).await.as_secs_f64());
    }
    let (ready, bare) = (median(times), median(alone));
    println!(
        "purchase to RUNNING, one after another: p50 {ready:.2} s; a bare StatefulSet's pod {bare:.2} s, so {:.2} x that (target: <= {READY_TARGET:?}, {})",
        ready / bare,
        verdict(ready <= READY_TARGET.as_secs_f64())
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
