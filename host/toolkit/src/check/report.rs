//! Report of a conformance check.

use std::fmt;

use dermaga_runtime::{
    Digest, Plugin, SizeClass,
    contract::{About, Kind},
};
use serde::{Deserialize, Serialize};

/// Everything that was checked about one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `None` when the component could not even be loaded.
    pub subject: Option<Subject>,
    pub checks: Vec<Check>,
    /// The call that came nearest to each limit.
    pub shares: Vec<Share>,
    /// Times of the calls; `None` when nothing was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
    /// True when a call found no free slot to run in: failures then say nothing about the
    /// component.
    #[serde(skip)]
    pub busy: bool,
}

/// Wall time on the machine that checked: an estimate, never a reason to refuse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    /// Compiling to machine code and asking for the plugin's identity, once for each version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_micros: Option<u64>,
    pub median_micros: u64,
    pub slowest_micros: u64,
    pub slowest_call: String,
    /// Number of calls made.
    pub calls: usize,
}

/// The component that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    pub about: About,
    pub kind: Kind,
    /// Contract version that it was built against.
    pub contract: String,
    /// Class whose limits applied.
    pub class: SizeClass,
    pub digest: Digest,
}

/// One rule and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Name of the rule, for example `gate`.
    pub name: String,
    pub outcome: Outcome,
    /// Explanation, a sentence.
    pub message: String,
    /// Each fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Advice on repairing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Pass,
    Fail,
    /// Could not be checked; the message has the reason.
    Skip,
}

/// The highest use of one limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// `component`, `fuel`, `time` (in microseconds), `memory`, `stack`, `output`, `log lines` or
    /// `log line`; all but `fuel`, `time` and `log lines` in bytes.
    pub limit: String,
    pub used: u64,
    pub allowed: u64,
    /// Share of the limit in percent, rounded up.
    pub percent: u32,
    /// The call with that use; for `component`, the file.
    pub call: String,
}

impl Share {
    pub(super) fn new(limit: &str, used: u64, allowed: u64, call: &str) -> Self {
        let percent = (u128::from(used) * 100).div_ceil(u128::from(allowed.max(1)));
        Self {
            limit: limit.to_owned(),
            used,
            allowed,
            percent: u32::try_from(percent).unwrap_or(u32::MAX),
            call: call.to_owned(),
        }
    }

    /// Checks that this share of a limit is at least as large as the other.
    pub(super) fn is_at_least(&self, other: &Self) -> bool {
        u128::from(self.used) * u128::from(other.allowed)
            >= u128::from(other.used) * u128::from(self.allowed)
    }
}

impl Report {
    /// True when no check failed; skipped ones do not count.
    pub fn passed(&self) -> bool {
        self.first_failure().is_none()
    }

    pub fn first_failure(&self) -> Option<&Check> {
        self.checks
            .iter()
            .find(|check| check.outcome == Outcome::Fail)
    }

    /// Builds the report of a component that is refused before it can be called.
    pub fn refused(why: &dermaga_runtime::LoadError) -> Self {
        let check = Check {
            name: "load".to_owned(),
            outcome: Outcome::Fail,
            message: format!("{why} ({})", why.code()),
            details: match why {
                dermaga_runtime::LoadError::Malformed { reason, .. } => vec![reason.to_string()],
                _ => Vec::new(),
            },
            fix: None,
        };
        Self {
            subject: None,
            checks: vec![check],
            shares: Vec::new(),
            timing: None,
            busy: false,
        }
    }
}

/// Writes `name: message: first detail; fix`, for places with room for one line.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)?;
        if let Some(first) = self.details.first() {
            write!(f, ": {first}")?;
        }
        if let Some(fix) = &self.fix {
            write!(f, "; {fix}")?;
        }
        Ok(())
    }
}

/// Formats a number in groups of three digits: `1 234 567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Returns the component's size as a share of the largest its class allows.
fn component_share(plugin: &Plugin) -> Share {
    let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let (used, allowed) = (
        wide(plugin.component_bytes()),
        wide(plugin.component_limit()),
    );
    Share::new("component", used, allowed, "the file")
}

/// A report being made.
#[derive(Debug)]
pub(super) struct ReportBuilder(Report);

impl ReportBuilder {
    pub(super) fn of(plugin: &Plugin) -> Self {
        let subject = Subject {
            about: plugin.about().clone(),
            kind: plugin.kind(),
            contract: plugin.contract().to_owned(),
            class: plugin.size_class(),
            digest: plugin.digest(),
        };
        let mut builder = Self(Report {
            subject: Some(subject),
            checks: Vec::new(),
            shares: vec![component_share(plugin)],
            timing: None,
            busy: false,
        });
        let kind = plugin.kind();
        builder.pass(
            "load",
            &format!(
                "it exports metadata and {kind}, imports nothing but the log, and says what it is"
            ),
        );
        builder
    }

    pub(super) fn pass(&mut self, name: &str, message: &str) {
        self.push(name, Outcome::Pass, message, Vec::new(), None);
    }

    pub(super) fn skip(&mut self, name: &str, message: &str) {
        self.push(name, Outcome::Skip, message, Vec::new(), None);
    }

    /// Adds a check that passes with the message when nothing is wrong, and fails with all faults
    /// and the fix otherwise.
    pub(super) fn verdict(
        &mut self,
        name: &str,
        good: &str,
        wrong: Vec<String>,
        fix: impl FnOnce() -> String,
    ) {
        if wrong.is_empty() {
            self.pass(name, good);
        } else {
            let message = super::count(wrong.len(), "problem");
            self.push(name, Outcome::Fail, &message, wrong, Some(fix()));
        }
    }

    pub(super) fn done(self, shares: Vec<Share>, timing: Option<Timing>) -> Report {
        let mut report = self.0;
        report.shares.extend(shares);
        report.timing = timing;
        report
    }

    fn push(
        &mut self,
        name: &str,
        outcome: Outcome,
        message: &str,
        details: Vec<String>,
        fix: Option<String>,
    ) {
        self.0.checks.push(Check {
            name: name.to_owned(),
            outcome,
            message: message.to_owned(),
            details,
            fix,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let all: Vec<_> = [0, 999, 1000, 1_234_567].into_iter().map(grouped).collect();
        assert_eq!(all, ["0", "999", "1 000", "1 234 567"]);
    }
}
