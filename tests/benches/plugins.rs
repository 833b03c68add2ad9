//! Measures plugins on this machine: two threads against one, a guest that never ends, an upload
//! until its first decision, a start with many plugins.
//!
//! `cargo bench --package dermaga-tests --bench plugins`. `cargo bench --package dermaga-runtime`
//! compares one call to bare wasmtime.

#![allow(
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    reason = "what cannot go on must stop, and ratios are numbers"
)]

use std::{
    fs,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use dermaga_runtime::{
    Plugin, Runtime, RuntimeConfig,
    contract::{self, Decision, Effect, Evaluation, Facts, Grant, Place},
    fixtures::{CouponFixture, Misdeed},
};
use dermaga_tests::{
    Engine, Shop,
    bench::{self, verdict},
    plugins_folder,
};
use serde_json::json;

const CALLS: usize = 20_000;
const ROUNDS: usize = 9;
const THREADS_TARGET: f64 = 1.7;

const DEADLINE: Duration = Duration::from_millis(100);
const LATE_TARGET: Duration = Duration::from_millis(20);

const UPLOADS: u8 = 15;
const UPLOAD_TARGET: Duration = Duration::from_millis(300);

const PLUGINS: usize = 50;
const START_TARGET: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    two_threads();
    a_runaway();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        uploads().await;
        Box::pin(starts()).await;
    });
    bench::end()
}

fn coupon(id: &str, version: &str) -> CouponFixture {
    let mut fixture = CouponFixture::deciding(Decision::Grant(Grant {
        effect: Effect::Credit(1_000),
        reason: "A gift.".to_owned(),
    }));
    fixture.about.id = id.to_owned();
    fixture.about.version = version.to_owned();
    fixture
}

fn input() -> Evaluation {
    Evaluation {
        parameters: json!({ "amount": 1_000 }),
        moment: 1_795_000_000,
        place: Place::Wallet,
        purchase: None,
        facts: Facts::default(),
    }
}

fn evaluate(plugin: &Plugin, input: &Evaluation) {
    plugin.call::<contract::coupon::Evaluate>(input).unwrap();
}

fn median<T: Copy>(mut values: Vec<T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> T {
    values.sort_by(order);
    values[values.len() / 2]
}

/// Returns the time of this many threads for [`CALLS`] calls each.
fn timed(plugin: &Plugin, threads: usize) -> Duration {
    let input = input();
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..CALLS).for_each(|_| evaluate(plugin, &input)));
        }
    });
    started.elapsed()
}

/// Measures one and two threads in turns, so that load on the machine slows both. Uses a real rule,
/// and a fixture that answers at once, which only measures the state that threads share.
fn two_threads() {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let sold = fs::read(plugins_folder().join("coupon-credit-topup.wasm")).unwrap();
    let fixture = coupon("coupon-gift", "1.0.0").component();
    for (name, component, has_target) in [
        ("coupon-credit-topup", sold, true),
        ("a fixture", fixture, false),
    ] {
        let plugin = runtime.load(&component).unwrap();
        timed(&plugin, 2);
        let ratios = (0..ROUNDS).map(|_| {
            let one = timed(&plugin, 1).as_secs_f64();
            2.0 * one / timed(&plugin, 2).as_secs_f64()
        });
        let ratio = median(ratios.collect(), f64::total_cmp);
        let each = timed(&plugin, 1) / u32::try_from(CALLS).unwrap();
        let target = if has_target {
            format!(
                " (target: >= {THREADS_TARGET}, {})",
                verdict(ratio >= THREADS_TARGET)
            )
        } else {
            String::new()
        };
        println!(
            "two threads against one, {name} ({each:.1?} a call): {ratio:.2} x the calls{target}"
        );
    }
}

/// Measures a plugin that answers at once, beside one that never ends and has fuel for hours.
fn a_runaway() {
    let mut config = RuntimeConfig::default();
    config.limits.quick.fuel = u64::MAX / 2;
    config.limits.quick.deadline = DEADLINE;
    let runtime = Runtime::new(config).unwrap();
    let good = runtime
        .load(&coupon("coupon-good", "1.0.0").component())
        .unwrap();
    let endless = CouponFixture {
        misdeed: Some(("evaluate".to_owned(), Misdeed::LoopForever)),
        ..coupon("coupon-endless", "1.0.0")
    };
    let endless = runtime.load(&endless.component()).unwrap();
    let alone = latency(&good, || true, 3_000);
    let done = AtomicBool::new(false);
    let (late, beside) = thread::scope(|scope| {
        let beside = scope.spawn(|| latency(&good, || !done.load(Ordering::Relaxed), usize::MAX));
        let input = input();
        let late: Vec<Duration> = (0..20)
            .map(|_| {
                let started = Instant::now();
                let stopped = endless.call::<contract::coupon::Evaluate>(&input);
                assert_eq!(stopped.unwrap_err().code(), "PLUGIN_DEADLINE_EXCEEDED");
                started.elapsed().saturating_sub(DEADLINE)
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        (late, beside.join().unwrap())
    });
    let latest = late.into_iter().max().unwrap();
    println!(
        "a runaway guest stops {latest:.1?} after its deadline at the latest (target: <= {LATE_TARGET:?}, {}); the p50 of another plugin is {alone:.1?} alone and {beside:.1?} beside it",
        verdict(latest <= LATE_TARGET)
    );
}

fn latency(plugin: &Plugin, goes_on: impl Fn() -> bool, most: usize) -> Duration {
    let input = input();
    let mut latencies = Vec::new();
    while goes_on() && latencies.len() < most {
        let started = Instant::now();
        evaluate(plugin, &input);
        latencies.push(started.elapsed());
    }
    median(latencies, Ord::cmp)
}

/// Measures from sending a component to its first decision, over HTTP: a bundled coupon type, each
/// time with another custom section, so that it is compiled again.
async fn uploads() {
    let shop = Shop::open_with(Engine::Sqlite, |config| config.runtime.cache_dir = None)
        .await
        .unwrap();
    let admin = shop.admin().await;
    let original = fs::read(plugins_folder().join("coupon-credit-topup.wasm")).unwrap();
    let mut taken = Vec::new();
    for number in 0..UPLOADS {
        // Custom section: id 0, three bytes, a name of one letter, one byte.
        let section = [0, 3, 1, b'n', number];
        let component = [original.as_slice(), &section].concat();
        let started = Instant::now();
        let staged = admin.upload(component).await.data(201);
        let body = json!({ "digest": staged["digest"] });
        admin
            .post("/api/admin/plugins/coupon-credit-topup/activate", body)
            .await
            .data(200);
        taken.push(started.elapsed());
    }
    let middle = median(taken, Ord::cmp);
    println!(
        "upload of {} kB to active: p50 {middle:.1?} (target: <= {UPLOAD_TARGET:?}, {})",
        original.len() / 1000,
        verdict(middle <= UPLOAD_TARGET)
    );
    shop.close().await;
}

/// Measures a server's start with [`PLUGINS`] plugins in its folder, compiled before.
async fn starts() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..PLUGINS {
        let id = format!("coupon-number-{number}");
        let component = coupon(&id, "1.0.0").component();
        fs::write(folder.path().join(format!("{id}.wasm")), component).unwrap();
    }
    let plugins = folder.path().to_owned();
    let mut shop = Shop::open_with(Engine::Sqlite, |config| {
        config.plugins_dir = Some(plugins);
        config.runtime.cache_dir = None;
    })
    .await
    .unwrap();
    let mut taken = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        shop = shop.restart().await;
        taken.push(started.elapsed());
    }
    let middle = median(taken, Ord::cmp);
    println!(
        "start with {PLUGINS} plugins, warm: p50 {middle:.1?}, the stop before it included (target: <= {START_TARGET:?}, {})",
        verdict(middle <= START_TARGET)
    );
    shop.close().await;
}
