//! Cost of the runtime: a coupon decision with a fresh instance and all limits on, beside bare
//! wasmtime doing the same, and loading a component from the cache.
//!
//! Both sides use the same pool settings; the bare side has no fuel, no epochs, no memory limiter,
//! no semaphore, no conversion and no checks. The component is a fixture that answers at once, so
//! that the figures measure the runtime and not the plugin; with
//! `DERMAGA_BENCH_COMPONENT=file.wasm` a real coupon plugin is measured as well.

#![allow(clippy::unwrap_used, reason = "what cannot go on must stop")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use dermaga_runtime::{
    Runtime, RuntimeConfig,
    contract::{self, Evaluation, Facts, Place, Plan, PriceLine, Purchase, Resources, Term, Tier},
    fixtures::CouponFixture,
};
use serde_json::json;

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

fn plugin_call(criterion: &mut Criterion) {
    let fixture = CouponFixture::default().component();
    decide(criterion, "fixture", &fixture);
    load(criterion, "fixture", &fixture);
    if let Some(path) = std::env::var_os("DERMAGA_BENCH_COMPONENT") {
        let component = std::fs::read(path).unwrap();
        decide(criterion, "given", &component);
        load(criterion, "given", &component);
    }
}

criterion_group!(benches, plugin_call);
criterion_main!(benches);
