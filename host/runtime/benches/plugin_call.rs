//! Cost of the runtime: a coupon decision with a fresh instance and all limits on, beside bare
//! wasmtime doing the same, and loading a component from the cache.
//!
//! Both sides use the same pool settings; the bare side has no fuel, no epochs, no memory limiter,
//! no semaphore, no conversion and no checks. The component is a fixture that answers at once, so
//! that the figures measure the runtime and not the plugin; with
//! `DERMAGA_BENCH_COMPONENT=file.wasm` a real coupon plugin is measured as well.
//!
//! After the figures of each, both take turns, and the ratio of their times has a target: missing it ends the
//! benchmark with 1.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::float_arithmetic,
    reason = "what cannot go on must stop, and ratios are numbers"
)]

use std::{
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group};
use dermaga_runtime::{
    Runtime, RuntimeConfig,
    contract::{self, Evaluation, Facts, Place, Plan, PriceLine, Purchase, Resources, Term, Tier},
    fixtures::CouponFixture,
};
use serde_json::json;

/// Calls of a turn.
const CALLS: u32 = 5_000;
/// Turns of each that count, after one that warms up.
const ROUNDS: usize = 15;
const TARGET: f64 = 1.25;

mod bare {
    use wasmtime::{
        Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
        component::{Component, Linker},
    };

    wasmtime::component::bindgen!({ path: "../../wit/0.2.0", world: "coupon-plugin" });

    use exports::dermaga::plugin::coupon as wit;

    pub(super) struct Plugin {
        engine: Engine,
        pre: CouponPluginPre<Silent>,
    }

    pub(super) struct Silent;

    impl dermaga::plugin::log::Host for Silent {
        fn log(&mut self, _level: dermaga::plugin::log::Level, _message: String) {}
    }

    impl dermaga::plugin::types::Host for Silent {}

    impl Plugin {
        pub(super) fn load(component: &[u8]) -> Self {
            let mut pool = PoolingAllocationConfig::new();
            pool.max_memory_size(32 << 20);
            if PoolingAllocationConfig::is_pagemap_scan_available() {
                pool.pagemap_scan(Enabled::Yes)
                    .linear_memory_keep_resident(256 << 10)
                    .table_keep_resident(256 << 10);
            }
            let mut config = Config::new();
            config
                .concurrency_support(false)
                .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            let engine = Engine::new(&config).unwrap();
            let component = Component::from_binary(&engine, component).unwrap();
            let mut linker = Linker::new(&engine);
            CouponPlugin::add_to_linker::<_, wasmtime::component::HasSelf<Silent>>(
                &mut linker,
                |silent| silent,
            )
            .unwrap();
            let pre = CouponPluginPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
            Self { engine, pre }
        }

        pub(super) fn evaluate(&self, request: &wit::Evaluation) -> wit::Decision {
            let mut store = Store::new(&self.engine, Silent);
            let plugin = self.pre.instantiate(&mut store).unwrap();
            plugin
                .dermaga_plugin_coupon()
                .call_evaluate(&mut store, request)
                .unwrap()
        }
    }

    pub(super) fn evaluation(input: &super::Evaluation) -> wit::Evaluation {
        use dermaga::plugin::types;
        let purchase = input.purchase.as_ref().unwrap();
        let resources = purchase.plan.resources;
        wit::Evaluation {
            parameters: input.parameters.to_string(),
            moment: input.moment,
            place: wit::Place::Checkout,
            purchase: Some(wit::Purchase {
                service: purchase.service.clone(),
                plan: types::Plan {
                    slug: purchase.plan.slug.clone(),
                    tier: types::Tier::Basic,
                    monthly_price: purchase.plan.monthly_price,
                    resources: types::Resources {
                        cpu_millis: resources.cpu_millis,
                        memory_mib: resources.memory_mib,
                        storage_gib: resources.storage_gib,
                        replicas: resources.replicas,
                    },
                },
                term: types::Term {
                    months: purchase.term.months,
                },
                lines: purchase
                    .lines
                    .iter()
                    .map(|line| types::PriceLine {
                        code: line.code.clone(),
                        label: line.label.clone(),
                        amount: line.amount,
                        reason: line.reason.clone(),
                    })
                    .collect(),
                total: purchase.total,
            }),
            facts: wit::Facts {
                past_redemptions: input.facts.past_redemptions,
                first_purchase: input.facts.first_purchase,
                account_age_days: input.facts.account_age_days,
            },
        }
    }
}

fn evaluation() -> Evaluation {
    let resources = Resources {
        cpu_millis: 500,
        memory_mib: 512,
        storage_gib: 5,
        replicas: 1,
    };
    let plan = Plan {
        slug: "basic".into(),
        tier: Tier::Basic,
        monthly_price: 50_000,
        resources,
    };
    let line = PriceLine {
        code: "plan".into(),
        label: "N8N Basic, 1 month".into(),
        amount: 50_000,
        reason: "The monthly price of the plan.".into(),
    };
    Evaluation {
        parameters: json!({"percent": 20, "minimum": 10_000}),
        moment: 1_795_000_000,
        place: Place::Checkout,
        purchase: Some(Purchase {
            service: "n8n".into(),
            plan,
            term: Term { months: 1 },
            lines: vec![line],
            total: 50_000,
        }),
        facts: Facts {
            past_redemptions: Some(0),
            ..Facts::default()
        },
    }
}

fn decide(criterion: &mut Criterion, name: &str, component: &[u8]) {
    let mut group = criterion.benchmark_group(format!("plugin_call/{name}"));
    let input = evaluation();
    let bare = bare::Plugin::load(component);
    let lowered = bare::evaluation(&input);
    group.bench_function("bare", |bench| {
        bench.iter(|| bare.evaluate(black_box(&lowered)));
    });
    let plugin = Runtime::new(RuntimeConfig::default())
        .unwrap()
        .load(component)
        .unwrap();
    group.bench_function("runtime", |bench| {
        bench.iter(|| {
            plugin
                .call::<contract::coupon::Evaluate>(black_box(&input))
                .unwrap()
        });
    });
    group.finish();
}

fn load(criterion: &mut Criterion, name: &str, component: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let cache_dir = Some(folder.path().to_owned());
    let runtime = Runtime::new(RuntimeConfig {
        cache_dir,
        ..RuntimeConfig::default()
    })
    .unwrap();
    runtime.load(component).unwrap();
    criterion.bench_function(&format!("cached_load/{name}"), |bench| {
        bench.iter(|| runtime.load(black_box(component)).unwrap());
    });
}

/// Components by the name under which they are measured.
fn components() -> Vec<(&'static str, Vec<u8>)> {
    let mut components = vec![("fixture", CouponFixture::default().component())];
    if let Some(path) = std::env::var_os("DERMAGA_BENCH_COMPONENT") {
        components.push(("given", std::fs::read(path).unwrap()));
    }
    components
}

fn plugin_call(criterion: &mut Criterion) {
    for (name, component) in components() {
        decide(criterion, name, &component);
        load(criterion, name, &component);
    }
}

/// Returns the time of a call.
fn timed(call: impl Fn()) -> Duration {
    let started = Instant::now();
    (0..CALLS).for_each(|_| call());
    started.elapsed() / CALLS
}

/// Lets both call in turns, so that load on the machine slows both, and prints the round in the middle. Returns true
/// when its ratio is within the target.
fn meets_target(name: &str, component: &[u8]) -> bool {
    let input = evaluation();
    let bare = bare::Plugin::load(component);
    let lowered = bare::evaluation(&input);
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let plugin = runtime.load(component).unwrap();
    let turns = (0..=ROUNDS).map(|_| {
        let bare = timed(|| drop(black_box(bare.evaluate(black_box(&lowered)))));
        let own = timed(|| {
            let answer = plugin.call::<contract::coupon::Evaluate>(black_box(&input));
            drop(black_box(answer.unwrap()));
        });
        (own.as_secs_f64() / bare.as_secs_f64(), own, bare)
    });
    let mut turns: Vec<(f64, Duration, Duration)> = turns.skip(1).collect();
    turns.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (ratio, own, bare) = turns[turns.len() / 2];
    let is_met = ratio <= TARGET;
    let word = if is_met { "met" } else { "MISSED" };
    println!(
        "plugin_call/{name}: {own:.1?}, bare wasmtime {bare:.1?}, in turns: {ratio:.2} x (target: <= {TARGET}, {word})"
    );
    is_met
}

criterion_group!(benches, plugin_call);

fn main() -> ExitCode {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // Tests only try the benchmark, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let missed = components()
        .iter()
        .filter(|(name, component)| !meets_target(name, component))
        .count();
    u8::from(missed > 0).into()
}
