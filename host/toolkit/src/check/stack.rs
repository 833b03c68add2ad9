//! Measures the stack that calls need. wasmtime does not meter it, so the calls are repeated with
//! less and less.

use dermaga_runtime::{Failure, Limits, Plugin, Runtime, RuntimeConfig};

use super::{
    report::Share,
    session::{Answered, wide},
};

/// The limit is halved this often at most.
const HALVINGS: u32 = 6;

/// Returns the smallest of the halved limits with which every call still answers, and the call that
/// needs it; the real use is at most that. Returns `None` when nothing was called, or when the
/// component cannot be loaded with such a limit.
pub(super) fn share(plugin: &Plugin, answered: &[Answered]) -> Option<Share> {
    let mut needs = answered.first()?;
    let limit = plugin.limits().stack_bytes;
    let (mut enough, mut too_little) = (0, HALVINGS + 1);
    while too_little - enough > 1 {
        let halvings = u32::midpoint(enough, too_little);
        let small = with_stack(plugin, limit >> halvings)?;
        match answered.iter().find(|one| overflows(&small, one)) {
            Some(one) => (too_little, needs) = (halvings, one),
            None => enough = halvings,
        }
    }
    let used = wide(limit >> enough);
    Some(Share::new("stack", used, wide(limit), &needs.call))
}

fn with_stack(plugin: &Plugin, stack_bytes: usize) -> Option<Plugin> {
    let config = RuntimeConfig {
        limits: Limits {
            stack_bytes,
            ..plugin.limits().clone()
        },
        concurrency: 1,
        ..RuntimeConfig::default()
    };
    plugin.on(&Runtime::new(config).ok()?).ok()
}

fn overflows(plugin: &Plugin, one: &Answered) -> bool {
    let called = plugin.call_json(&one.function, &one.input);
    called.is_err_and(|error| matches!(error.failure, Failure::StackOverflow { .. }))
}
