//! The wasmtime engines of the process: settings, pool and clock.

use std::{sync::Arc, time::Duration};

use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig,
};

use crate::{
    call_permits::CallPermits,
    compiler,
    error::RuntimeError,
    limits::Limits,
    per_core::{self, PerCore},
    ticker::Ticker,
};

/// Maximum of core instances of one component: the guest itself and the small adapters that
/// wit-component adds.
const CORE_INSTANCES: u32 = 8;
/// Maximum of tables of one component: the guest's own and one of an adapter, and room for as many
/// again.
const TABLES: u32 = 4;
/// Maximum of elements of one table: functions whose address is taken. A large Rust plugin has
/// hundreds.
const TABLE_ELEMENTS: usize = 20_000;
/// Pool places beyond the calls that may run, for calls that are just being torn down.
const SPARE_PLACES: usize = 4;
/// Bytes of a used memory that are wiped in place instead of being returned to the kernel. A small
/// plugin touches less than this in a call, and then needs no page fault in the next.
const KEEP_RESIDENT: usize = 256 * 1024;
/// Unused places of an engine beyond which a plugin takes the place that was used the longest ago, not a
/// new one. Each keeps up to [`KEEP_RESIDENT`] bytes for its last plugin, so that all of them would hold
/// memory at rest after a busy minute. A purchase asks two plugins at most, and each finds its own.
const WARM_PLACES: u32 = 4;

/// One engine, and the parts that all plugins of the runtime share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) engine: Engine,
    pub(crate) limits: Arc<Limits>,
    pub(crate) permits: Arc<CallPermits>,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) queue_wait: Duration,
}

/// Builds the engines, reserves address space for their pools and starts their clock.
pub(crate) fn cores(
    limits: Limits,
    concurrency: usize,
    queue_wait: Duration,
) -> Result<PerCore<Arc<Core>>, RuntimeError> {
    let config = engine_config(&limits, concurrency)?;
    let (limits, permits) = (Arc::new(limits), Arc::new(CallPermits::new(concurrency)));
    let build = || Engine::new(&config).map_err(|error| RuntimeError::Engine(format!("{error:#}")));
    let others = (0..per_core::others()).map(|_| build());
    let others = others.collect::<Result<Vec<_>, RuntimeError>>()?;
    let engines = PerCore::new(build()?, others);
    let ticker = start_ticking(&engines, &permits).map_err(RuntimeError::Timer)?;
    let ticker = Arc::new(ticker);
    Ok(engines.map(|engine| {
        Arc::new(Core {
            engine: engine.clone(),
            limits: Arc::clone(&limits),
            permits: Arc::clone(&permits),
            ticker: Arc::clone(&ticker),
            queue_wait,
        })
    }))
}

fn engine_config(limits: &Limits, concurrency: usize) -> Result<Config, RuntimeError> {
    let mut config = compiler::config();
    config
        // Compilation in this process must not wait for all other components that are compiled in it: they
        // would share one pool of threads, which takes up new work last. The compiler's own process has it for itself.
        .parallel_compilation(false)
        .max_wasm_stack(limits.stack_bytes)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(
            limits,
            concurrency,
        )?));
    Ok(config)
}

fn pool(limits: &Limits, concurrency: usize) -> Result<PoolingAllocationConfig, RuntimeError> {
    let places = u32::try_from(concurrency.saturating_add(SPARE_PLACES))
        .ok()
        .filter(|places| concurrency > 0 && *places <= 2_000)
        .ok_or_else(|| {
            RuntimeError::Engine(format!(
                "concurrency is {concurrency}; it must be 1 to 1996"
            ))
        })?;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(places)
        .total_core_instances(places.saturating_mul(CORE_INSTANCES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .total_memories(places)
        .max_memories_per_component(1)
        .max_memories_per_module(1)
        .max_memory_size(limits.most_memory_bytes())
        .total_tables(places.saturating_mul(TABLES))
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .max_unused_warm_slots(WARM_PLACES);
    // Without the scan, wiping in place would touch all of the kept bytes instead of the dirty
    // ones, which is slower than returning the pages.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(KEEP_RESIDENT)
            .table_keep_resident(KEEP_RESIDENT);
    }
    Ok(pool)
}

/// Starts advancing the epoch of all engines while any call holds a permit.
fn start_ticking(engines: &PerCore<Engine>, permits: &Arc<CallPermits>) -> std::io::Result<Ticker> {
    let engines = engines.map(Engine::weak);
    let permits = Arc::clone(permits);
    let tick = move || {
        let all = std::iter::once(engines.first()).chain(engines.others());
        let alive = all.filter_map(EngineWeak::upgrade);
        alive.for_each(|engine| engine.increment_epoch());
    };
    Ticker::start(move || permits.are_all_free(), tick)
}

#[cfg(all(test, feature = "fixtures"))]
mod tests {
    use wasmtime::{
        Store,
        component::{Component, Linker},
    };

    use super::*;

    #[test]
    fn few_places_hold_memory_for_plugins_that_were_called_once() {
        let cores = cores(Limits::default(), 32, Duration::ZERO).unwrap();
        let engine = &cores.first().engine;
        let plugins = (0..3 * WARM_PLACES).map(|number| {
            let module = format!(r#"(memory 1) (data (i32.const 0) "{number}")"#);
            let text = format!(
                "(component (core module $guest {module}) (core instance (instantiate $guest)))"
            );
            Component::new(engine, wat::parse_str(text).unwrap()).unwrap()
        });
        // All stay loaded, as those of a shop do.
        let plugins: Vec<_> = plugins.collect();
        for plugin in &plugins {
            let mut store = Store::new(engine, ());
            let linker = Linker::new(engine);
            linker.instantiate(&mut store, plugin).unwrap();
        }
        let metrics = engine.pooling_allocator_metrics().unwrap();
        assert_eq!(metrics.unused_warm_memories(), WARM_PLACES);
    }
}
