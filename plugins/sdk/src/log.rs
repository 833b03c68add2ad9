//! Log lines for the operator, kept with the call's decision. They never influence anything.

use std::sync::Once;

use crate::bindings::metadata::dermaga::plugin::log as host;
pub use host::Level;

/// Writes one line; the host keeps 64 lines of at most 1 kB for each call.
///
/// On targets other than WebAssembly there is no host, and the line goes to standard error.
pub fn line(level: Level, message: &str) {
    if cfg!(target_arch = "wasm32") {
        host::log(level, message);
    } else {
        eprintln!("{level:?}: {message}");
    }
}

/// Logs the message of a panic before the instance traps. Every exported function calls it first.
pub(crate) fn report_panics() {
    static ONCE: Once = Once::new();
    // The hook of the test harness prints more than this one would.
    if cfg!(target_arch = "wasm32") {
        ONCE.call_once(|| {
            std::panic::set_hook(Box::new(|panic| line(Level::Error, &panic.to_string())));
        });
    }
}
