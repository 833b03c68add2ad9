//! Lines for the operator, kept with the call's decision. They never influence anything.

use std::sync::Once;

use crate::bindings::metadata::dermaga::plugin::log as host;
pub use host::Level;

/// Writes one line; the host keeps 64 lines of at most 1 kB a call.
///
/// On any target but WebAssembly there is no host, and the line goes to standard error.
pub fn line(level: Level, message: &str) {
    if cfg!(target_arch = "wasm32") {
        host::log(level, message);
    } else {
        eprintln!("{level:?}: {message}");
    }
}

/// Makes a panic say why before the instance traps. Every exported function starts with it.
pub(crate) fn report_panics() {
    static ONCE: Once = Once::new();
    // A test's own hook knows more than ours.
    if cfg!(target_arch = "wasm32") {
        ONCE.call_once(|| {
            std::panic::set_hook(Box::new(|panic| line(Level::Error, &panic.to_string())));
        });
    }
}
