//! The loader on arbitrary bytes: it refuses them, or the plugin runs within its limits. `cargo
//! fuzz run load` in `host/runtime`; good seeds for the corpus are the components of `dermaga
//! plugin build`.

#![no_main]

use std::sync::LazyLock;

use dermaga_runtime::fixtures::Anything;
use libfuzzer_sys::fuzz_target;

static ANYTHING: LazyLock<Anything> = LazyLock::new(Anything::default);

fuzz_target!(|bytes: &[u8]| {
    ANYTHING.outcome_of(bytes);
});
