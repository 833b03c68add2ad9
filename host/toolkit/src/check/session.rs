//! Calls a plugin for the check: everything twice, keeping the highest use of each limit.

use std::time::Duration;

use dermaga_runtime::{
    Called, Failure, Plugin, Usage, canonical_json,
    contract::{CouponDescription, Function},
};
use serde_json::Value;

use super::{
    count,
    report::{Report, ReportBuilder, Share, Timing},
    stack,
};

/// A call that was answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// Name of the call for a person.
    pub(super) call: String,
    pub(super) function: String,
    pub(super) input: Value,
}

/// The calls made so far and their results.
#[derive(Debug)]
pub(super) struct Session<'p> {
    plugin: &'p Plugin,
    calls: usize,
    /// Calls whose second answer differed from the first.
    unstable: Vec<String>,
    /// Every single call with its wall time.
    taken: Vec<(Duration, String)>,
    /// The highest use of each limit, with its call.
    shares: Vec<Share>,
    /// Answered calls, repeated later to measure their stack.
    answered: Vec<Answered>,
    /// True when a call found no free slot to run in.
    busy: bool,
}

impl<'p> Session<'p> {
    pub(super) const fn new(plugin: &'p Plugin) -> Self {
        Self {
            plugin,
            calls: 0,
            unstable: Vec::new(),
            taken: Vec::new(),
            shares: Vec::new(),
            answered: Vec::new(),
            busy: false,
        }
    }

    /// Asks a coupon plugin once more for the description it had when loaded, and compares them.
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
        self.answered.push(Answered {
            call: call.to_owned(),
            function: function.to_owned(),
            input: input.clone(),
        });
        if let Some(how) = unlike(&first, &second) {
            self.unstable.push(format!("{call}: {how}"));
        }
        Ok(first.value)
    }

    /// Calls a function like [`Self::call`], with typed input and output.
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
        if let Ok(called) = &result {
            self.measure_logs(call, called);
        }
        if let Err(error) = &result {
            self.busy |= matches!(error.failure, Failure::Busy { .. });
        }
        result.map_err(|error| format!("{call}: {} ({})", error.failure, error.code()))
    }

    fn measure(&mut self, call: &str, usage: &Usage) {
        self.taken.push((usage.duration, call.to_owned()));
        let limits = &usage.limits;
        self.keep("fuel", usage.fuel, limits.fuel, call);
        let time = (micros(usage.duration), micros(limits.deadline));
        self.keep("time", time.0, time.1, call);
        let memory = (wide(usage.memory_bytes), wide(limits.memory_bytes));
        self.keep("memory", memory.0, memory.1, call);
        let output = (wide(usage.output_bytes), wide(limits.output_bytes));
        self.keep("output", output.0, output.1, call);
    }

    fn measure_logs(&mut self, call: &str, called: &Called<Value>) {
        let limits = self.plugin.limits();
        let lines = (wide(called.logs.len()), wide(limits.log_lines));
        self.keep("log lines", lines.0, lines.1, call);
        let longest = called.logs.iter().map(|line| line.message.len()).max();
        let bytes = (wide(longest.unwrap_or(0)), wide(limits.log_line_bytes));
        self.keep("log line", bytes.0, bytes.1, call);
    }

    fn keep(&mut self, limit: &str, used: u64, allowed: u64, call: &str) {
        let share = Share::new(limit, used, allowed, call);
        match self.shares.iter_mut().find(|known| known.limit == limit) {
            Some(known) if known.is_at_least(&share) => {}
            Some(known) => *known = share,
            None => self.shares.push(share),
        }
    }

    /// Notes that a call outside of the session found no free slot to run in.
    pub(super) const fn note_busy(&mut self, busy: bool) {
        self.busy |= busy;
    }

    /// Returns the calls that did not answer the same twice, and true when one found no free slot.
    pub(super) fn into_doubts(self) -> (Vec<String>, bool) {
        (self.unstable, self.busy)
    }

    /// Adds the checks that need all calls: same answers, limits, stack and times.
    pub(super) fn finish(self, mut report: ReportBuilder) -> Report {
        let good = format!(
            "{}, each made twice: the same bytes and the same work",
            count(self.calls, "call")
        );
        report.verdict("determinism", &good, self.unstable, || {
            "an answer may depend on the input alone: look for addresses, hash maps and uninitialised values".to_owned()
        });
        let mut shares = self.shares;
        shares.extend(stack::share(self.plugin, &self.answered));
        Report {
            busy: self.busy,
            ..report.done(shares, timing(self.taken))
        }
    }
}

pub(super) fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn timing(mut taken: Vec<(Duration, String)>) -> Option<Timing> {
    taken.sort();
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

/// Describes the difference between two answers to one call; `None` when there is none.
fn unlike(first: &Called<Value>, second: &Called<Value>) -> Option<String> {
    if canonical_json(&first.value) != canonical_json(&second.value) {
        let difference = crate::case::Difference::between(&first.value, &second.value)?;
        return Some(format!("the second answer differs, at {difference}"));
    }
    if first.logs != second.logs {
        return Some("the second call logged other lines".to_owned());
    }
    let (a, b) = (first.usage.fuel, second.usage.fuel);
    (a != b).then(|| format!("the first call used {a} units of fuel and the second {b}"))
}
