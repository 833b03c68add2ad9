//! Calling a plugin for the check: everything twice, keeping the highest use of each limit.

use std::time::Duration;

use dermaga_runtime::{
    Called, Failure, Plugin, Usage, canonical_json,
    contract::{CouponDescription, Function},
};
use serde_json::Value;

use super::{
    count,
    report::{Report, ReportBuilder, Share, Timing},
};

/// The calls made so far and what they showed.
#[derive(Debug)]
pub(super) struct Session<'p> {
    plugin: &'p Plugin,
    calls: usize,
    /// Calls whose second answer was not the first.
    unstable: Vec<String>,
    /// Every single call with its wall time.
    taken: Vec<(Duration, String)>,
    fuel: Option<Share>,
    memory: Option<Share>,
    output: Option<Share>,
    /// Whether a call found no place to run.
    busy: bool,
}

impl<'p> Session<'p> {
    pub(super) const fn new(plugin: &'p Plugin) -> Self {
        Self {
            plugin,
            calls: 0,
            unstable: Vec::new(),
            taken: Vec::new(),
            fuel: None,
            memory: None,
            output: None,
            busy: false,
        }
    }

    /// Asks once more what a coupon plugin said when it was loaded.
    pub(super) fn describe(&mut self, loaded: &CouponDescription) {
        let answered = self.call("describe", "describe", &Value::Null);
        if serde_json::to_value(loaded).ok() != answered.ok() {
            self.unstable.push(
                "describe: it does not answer as it did when the plugin was loaded".to_owned(),
            );
        }
    }

    /// Calls a function, twice. `call` names the call to a person; the error is a sentence.
    pub(super) fn call(
        &mut self,
        call: &str,
        function: &str,
        input: &Value,
    ) -> Result<Value, String> {
        self.calls += 1;
        let first = self.once(call, function, input)?;
        let second = self.once(call, function, input)?;
        if let Some(how) = unlike(&first, &second) {
            self.unstable.push(format!("{call}: {how}"));
        }
        Ok(first.value)
    }

    /// The same in types.
    pub(super) fn ask<F: Function>(
        &mut self,
        call: &str,
        input: &F::Input,
    ) -> Result<F::Output, String> {
        let named = |error: serde_json::Error| format!("{call}: {error}");
        let input = serde_json::to_value(input).map_err(named)?;
        let answer = self.call(call, F::NAME, &input)?;
        serde_json::from_value(answer).map_err(named)
    }

    fn once(&mut self, call: &str, function: &str, input: &Value) -> Result<Called<Value>, String> {
        let result = self.plugin.call_json(function, input);
        let usage = match &result {
            Ok(called) => Some(&called.usage),
            Err(error) => error.usage.as_deref(),
        };
        if let Some(usage) = usage {
            self.measure(call, usage);
        }
        if let Err(error) = &result {
            self.busy |= matches!(error.failure, Failure::Busy { .. });
        }
        result.map_err(|error| format!("{call}: {} ({})", error.failure, error.code()))
    }

    fn measure(&mut self, call: &str, usage: &Usage) {
        self.taken.push((usage.duration, call.to_owned()));
        let shares = usage.shares();
        let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let keep = |kept: &mut Option<Share>, limit: &str, used, allowed, percent| {
            let higher = |old: &Share| {
                u128::from(old.used) * u128::from(allowed)
                    >= u128::from(used) * u128::from(old.allowed)
            };
            if !kept.as_ref().is_some_and(higher) {
                *kept = Some(Share {
                    limit: limit.to_owned(),
                    used,
                    allowed,
                    percent,
                    call: call.to_owned(),
                });
            }
        };
        keep(
            &mut self.fuel,
            "fuel",
            usage.fuel,
            usage.limits.fuel,
            shares.fuel_percent,
        );
        let memory = (wide(usage.memory_bytes), wide(usage.limits.memory_bytes));
        keep(
            &mut self.memory,
            "memory",
            memory.0,
            memory.1,
            shares.memory_percent,
        );
        let output = (wide(usage.output_bytes), wide(usage.limits.output_bytes));
        keep(
            &mut self.output,
            "output",
            output.0,
            output.1,
            shares.output_percent,
        );
    }

    /// Adds what only all calls together show.
    pub(super) fn finish(self, mut report: ReportBuilder) -> Report {
        let good = format!(
            "{}, each made twice: the same bytes and the same work",
            count(self.calls, "call")
        );
        report.verdict("determinism", &good, self.unstable, || {
            "an answer may depend on the input alone: look for addresses, hash maps and uninitialised values".to_owned()
        });
        let shares = [self.fuel, self.memory, self.output];
        let shares = shares.into_iter().flatten().collect();
        Report {
            busy: self.busy,
            ..report.done(shares, timing(self.taken))
        }
    }
}

fn timing(mut taken: Vec<(Duration, String)>) -> Option<Timing> {
    taken.sort();
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let (median, _) = taken.get(taken.len() / 2)?;
    let (slowest, call) = taken.last()?;
    Some(Timing {
        load_micros: None,
        median_micros: micros(*median),
        slowest_micros: micros(*slowest),
        slowest_call: call.clone(),
        calls: taken.len(),
    })
}

/// How two answers to one question differ, if they do.
fn unlike(first: &Called<Value>, second: &Called<Value>) -> Option<String> {
    if canonical_json(&first.value) != canonical_json(&second.value) {
        let difference = crate::case::Difference::between(&first.value, &second.value)?;
        return Some(format!("the second answer is another, at {difference}"));
    }
    if first.logs != second.logs {
        return Some("the second call logged other lines".to_owned());
    }
    let (a, b) = (first.usage.fuel, second.usage.fuel);
    (a != b).then(|| format!("the first call used {a} units of fuel and the second {b}"))
}
