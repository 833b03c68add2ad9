//! The host's side of a store: the log of the call and a meter of its memory.

use wasmtime::{
    ResourceLimiter, StoreContextMut,
    component::{ComponentNamedList, Lift, Linker, WasmStr},
};

use crate::{call::LogLevel, log::LogBuffer};

/// Fuel that a log line costs besides the guest's own work, so that a flood of lines is stopped by
/// the fuel, which is the same everywhere, and not by the clock.
const FUEL_PER_LINE: u64 = 500;

/// The host's side of a store.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) logs: LogBuffer,
    pub(crate) meter: Meter,
}

/// Meter of linear memory over the whole store, which remembers a refusal.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: usize,
    now: usize,
    peak: usize,
    refused: bool,
}

/// Connects `log.log` of one contract version; `L` is its `level`.
pub(crate) fn connect_log<L>(linker: &mut Linker<Host>, interface: &str) -> wasmtime::Result<()>
where
    L: Into<LogLevel> + 'static,
    (L, WasmStr): ComponentNamedList + Lift,
{
    linker.instance(interface)?.func_wrap(
        "log",
        |mut store: StoreContextMut<'_, Host>, (level, message): (L, WasmStr)| {
            let fuel = store.get_fuel()?;
            store.set_fuel(fuel.saturating_sub(FUEL_PER_LINE))?;
            if store.data().logs.is_full() {
                store.data_mut().logs.drop_line();
                return Ok(());
            }
            let message = message.to_str(&store)?.into_owned();
            store.data_mut().logs.keep(level.into(), &message);
            Ok(())
        },
    )
}

impl Meter {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            now: 0,
            peak: 0,
            refused: false,
        }
    }

    /// Returns the most memory that the guest had at once, in bytes.
    pub(crate) const fn peak(&self) -> usize {
        self.peak
    }

    /// Reports a growth that the limit did not allow.
    pub(crate) const fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.now.saturating_add(desired.saturating_sub(current));
        if total > self.limit || maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = true;
            // An error traps at once: a guest that handles the failure itself would only run on and
            // end with a less helpful error.
            return Err(wasmtime::Error::msg(
                "the memory limit does not allow this growth",
            ));
        }
        self.now = total;
        self.peak = self.peak.max(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Err(error)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The pool bounds tables; see `TABLE_ELEMENTS` in the engine.
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}
