//! One call: a fresh store and instance, its limits and its failure.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use wasmtime::{
    Store, Trap,
    component::{Instance, InstancePre},
};

use crate::{
    call::{Called, LogLevel, Usage},
    call_permits::CallPermit,
    check_output::Malformed,
    contract::LimitClass,
    engine::Core,
    error::{CallError, Failure},
    limits::{CallLimits, SizeClass},
    log::LogBuffer,
    store::{Host, Meter},
    ticker::TICK,
};

/// A component ready to be instantiated, its identity and its size class. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) core: Arc<Core>,
    pub(crate) pre: InstancePre<Host>,
    pub(crate) identity: Identity,
    pub(crate) size: SizeClass,
    pub(crate) component_bytes: usize,
}

/// Plugin and version for error messages.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) plugin: String,
    pub(crate) version: String,
}

/// Reason why a call stopped without an answer.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Stop of the guest by wasmtime.
    Guest(wasmtime::Error),
    /// Answer that breaks the contract.
    Malformed(Malformed),
}

/// A function of the contract on an instance: from the host's input to the host's output.
pub(crate) type Invoke<I, O> =
    dyn Fn(&mut Store<Host>, &Instance, &I) -> Result<O, Stop> + Send + Sync;

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Self::Guest(error)
    }
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Guest {
    /// Runs `body` on a fresh instance under the limits of `class`.
    pub(crate) fn run<T: Serialize>(
        &self,
        function: &str,
        class: LimitClass,
        body: impl FnOnce(&mut Store<Host>, &Instance) -> Result<T, Stop>,
    ) -> Result<Called<T>, CallError> {
        let limits = self.core.limits.of(class, self.size);
        let _permit = self.permit(function)?;
        let started = Instant::now();
        let mut store = self.store(&limits);
        let result = self
            .pre
            .instantiate(&mut store)
            .map_err(Stop::from)
            .and_then(|instance| body(&mut store, &instance));
        let mut usage = Usage {
            fuel: limits.fuel.saturating_sub(store.get_fuel().unwrap_or(0)),
            memory_bytes: store.data().meter.peak(),
            output_bytes: 0,
            duration: started.elapsed(),
            limits,
        };
        match result {
            Ok(value) => {
                usage.output_bytes = json_size(&value);
                let logs = store.into_data().logs.into_lines();
                Ok(Called { value, usage, logs })
            }
            Err(stop) => {
                let host = store.into_data();
                let failure = self.explain(stop, &host, &limits);
                let error = self.failed(function, failure);
                Err(CallError {
                    usage: Some(Box::new(usage)),
                    logs: host.logs.into_lines().into(),
                    ..error
                })
            }
        }
    }

    /// Creates an instance outside any call, to look at its exports, and its permit.
    pub(crate) fn instantiate(
        &self,
        purpose: &str,
        class: LimitClass,
    ) -> Result<(CallPermit<'_>, Store<Host>, Instance), CallError> {
        let permit = self.permit(purpose)?;
        let limits = self.core.limits.of(class, self.size);
        let mut store = self.store(&limits);
        match self.pre.instantiate(&mut store) {
            Ok(instance) => Ok((permit, store, instance)),
            Err(error) => {
                let host = store.into_data();
                Err(self.failed(purpose, self.explain(Stop::Guest(error), &host, &limits)))
            }
        }
    }

    fn permit(&self, function: &str) -> Result<CallPermit<'_>, CallError> {
        let Core {
            permits,
            queue_wait,
            ticker,
            ..
        } = &*self.core;
        let permit = permits.take(*queue_wait).ok_or_else(|| {
            let waited_ms = milliseconds(*queue_wait);
            self.failed(
                function,
                Failure::Busy {
                    limit: permits.total(),
                    waited_ms,
                },
            )
        })?;
        ticker.wake();
        Ok(permit)
    }

    /// Returns the error of a call that never started.
    pub(crate) fn failed(&self, function: &str, failure: Failure) -> CallError {
        CallError {
            plugin: self.identity.plugin.as_str().into(),
            version: self.identity.version.as_str().into(),
            function: function.into(),
            failure,
            usage: None,
            logs: Box::default(),
        }
    }

    fn store(&self, limits: &CallLimits) -> Store<Host> {
        let Core {
            engine,
            limits: all,
            ..
        } = &*self.core;
        let host = Host {
            logs: LogBuffer::new(all.log_lines, all.log_line_bytes),
            meter: Meter::new(limits.memory_bytes),
        };
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.meter);
        // Cannot fail: the engine counts fuel. If it did, the store would refuse to run anything.
        let _ = store.set_fuel(limits.fuel);
        // The current epoch has already begun; one more makes the wait at least the deadline.
        let ticks = limits.deadline.as_nanos().div_ceil(TICK.as_nanos());
        store.set_epoch_deadline(
            u64::try_from(ticks)
                .unwrap_or(u64::MAX / 2)
                .saturating_add(1),
        );
        store.set_hostcall_fuel(limits.output_bytes);
        store
    }

    fn explain(&self, stop: Stop, host: &Host, limits: &CallLimits) -> Failure {
        let error = match stop {
            Stop::Malformed(Malformed { field, message }) => {
                return Failure::MalformedOutput { field, message };
            }
            Stop::Guest(error) => error,
        };
        // First: without its memory a guest traps in some way that says nothing of the cause.
        if host.meter.refused() {
            return Failure::MemoryExceeded {
                limit: limits.memory_bytes,
            };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => Failure::FuelExhausted { limit: limits.fuel },
            Some(Trap::Interrupt) => Failure::DeadlineExceeded {
                limit_ms: milliseconds(limits.deadline),
            },
            Some(Trap::StackOverflow) => Failure::StackOverflow {
                limit: self.core.limits.stack_bytes,
            },
            Some(trap) => Failure::Trapped(with_last_words(trap, host)),
            None if copied_too_much(&error) => Failure::OutputTooLarge {
                limit: limits.output_bytes,
            },
            None => Failure::MalformedOutput {
                field: String::new(),
                message: format!("{:#}", error.root_cause()),
            },
        }
    }
}

/// Returns the trap with the guest's last error line: a panicking guest logs its reason first.
fn with_last_words(trap: &Trap, host: &Host) -> String {
    match host.logs.last(LogLevel::Error) {
        Some(message) => format!("{trap}; it last said: {message}"),
        None => trap.to_string(),
    }
}

// wasmtime keeps this error's type private; a test with an output bomb notices a change of the
// text.
fn copied_too_much(error: &wasmtime::Error) -> bool {
    error
        .root_cause()
        .to_string()
        .contains("fuel allocated for hostcalls has been exhausted")
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the size of a value as JSON, in bytes.
fn json_size<T: Serialize>(value: &T) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Neither counting nor the contract's types can fail to serialise.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Reports compare the figure with the limit of an answer, which is counted in bytes.
    #[test]
    fn an_answer_is_measured_in_bytes_of_json() {
        for value in [
            json!(null),
            json!("é\n\u{1f4b0}"),
            json!({ "a": [1, -2.5, true] }),
        ] {
            assert_eq!(json_size(&value), value.to_string().len(), "{value}");
        }
        assert_eq!(json_size(&()), 4);
    }
}
