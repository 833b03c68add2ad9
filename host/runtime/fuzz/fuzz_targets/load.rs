//! The loader on arbitrary bytes: it refuses them, or the plugin runs within its limits. `cargo
//! fuzz run load` in `host/runtime`; good seeds for the corpus are the components of `dermaga
//! plugin build`.

#![no_main]

use std::sync::LazyLock;

use dermaga_runtime::{Runtime, RuntimeConfig};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut config = RuntimeConfig {
        concurrency: 1,
        ..RuntimeConfig::default()
    };
    config.limits.quick.fuel = 100_000;
    Runtime::new(config).expect("the engine starts")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(plugin) = RUNTIME.load(bytes) {
        let input = json!({
            "parameters": {}, "moment": 0, "place": "wallet", "purchase": null, "facts": {}
        });
        let _ = plugin.call_json("evaluate", &input);
    }
});
