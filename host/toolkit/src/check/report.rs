//! What a conformance check found.

use std::fmt;

use dermaga_runtime::{
    Digest, Plugin, SizeClass,
    contract::{About, Kind},
};
use serde::{Deserialize, Serialize};

/// Details shown to a person; all of them are in the JSON.
const SHOWN_DETAILS: usize = 5;

/// Everything that was checked about one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `None` when the component could not even be loaded.
    pub subject: Option<Subject>,
    pub checks: Vec<Check>,
    /// The call that came nearest to each limit.
    pub shares: Vec<Share>,
}

/// The component that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    pub about: About,
    pub kind: Kind,
    /// Version of the contract it was built against.
    pub contract: String,
    /// Whose limits it was called under.
    pub class: SizeClass,
    pub digest: Digest,
}

/// One rule and whether it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// For example `gate`.
    pub name: String,
    pub outcome: Outcome,
    /// A sentence.
    pub message: String,
    /// Every single thing that is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Pass,
    Fail,
    /// Could not be checked; the message says why.
    Skip,
}

/// How near the calls came to a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// `component`, `fuel`, `memory` or `output`.
    pub limit: String,
    pub used: u64,
    pub allowed: u64,
    /// Rounded up.
    pub percent: u32,
    /// The call that used it; for `component`, the file.
    pub call: String,
}

impl Report {
    /// Whether nothing failed. What was skipped does not count.
    pub fn passed(&self) -> bool {
        self.first_failure().is_none()
    }

    pub fn first_failure(&self) -> Option<&Check> {
        self.checks
            .iter()
            .find(|check| check.outcome == Outcome::Fail)
    }

    /// The report of a component that is refused before it can be called.
    pub fn refused(why: &dermaga_runtime::LoadError) -> Self {
        let check = Check {
            name: "load".to_owned(),
            outcome: Outcome::Fail,
            message: format!("{why} ({})", why.code()),
            details: Vec::new(),
            fix: None,
        };
        Self {
            subject: None,
            checks: vec![check],
            shares: Vec::new(),
        }
    }
}

/// `name: message: first detail; fix`, for places with room for one line.
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

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Subject {
            about,
            kind,
            contract,
            class,
            digest,
        }) = &self.subject
        {
            let digest: String = digest.to_string().chars().take(12).collect();
            writeln!(
                f,
                "{} {}: {kind} plugin, contract {contract}, {class} class, sha256 {digest}\n",
                about.id, about.version
            )?;
        }
        let widest = self
            .checks
            .iter()
            .map(|check| check.name.len())
            .max()
            .unwrap_or(0);
        for check in &self.checks {
            check.rows(f, widest)?;
        }
        self.shares(f)?;
        self.verdict(f)
    }
}

impl Report {
    fn shares(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shares.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n  share of the limits, at the call that came nearest")?;
        let numbers: Vec<_> = self
            .shares
            .iter()
            .map(|share| (grouped(share.used), grouped(share.allowed)))
            .collect();
        let used = numbers
            .iter()
            .map(|(used, _)| used.len())
            .max()
            .unwrap_or(0);
        let allowed = numbers
            .iter()
            .map(|(_, allowed)| allowed.len())
            .max()
            .unwrap_or(0);
        for (share, (of, limit)) in self.shares.iter().zip(&numbers) {
            let Share {
                limit: name,
                percent,
                call,
                ..
            } = share;
            let unit = if name == "fuel" { "units" } else { "bytes" };
            writeln!(
                f,
                "    {name:9}  {percent:3} %  {of:>used$} of {limit:>allowed$} {unit}  {call}"
            )?;
        }
        Ok(())
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |outcome| {
            self.checks
                .iter()
                .filter(|check| check.outcome == outcome)
                .count()
        };
        let (passed, failed, skipped) = (of(Outcome::Pass), of(Outcome::Fail), of(Outcome::Skip));
        let skips = if skipped > 0 {
            format!(", {skipped} skipped")
        } else {
            String::new()
        };
        match self.first_failure() {
            None => writeln!(f, "\nconforms: {passed} checks passed{skips}"),
            Some(first) => writeln!(
                f,
                "\ndoes not conform: {failed} failed, {passed} passed{skips}. First, {first}"
            ),
        }
    }
}

impl Check {
    fn rows(&self, f: &mut fmt::Formatter<'_>, widest: usize) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Pass => "pass",
            Outcome::Fail => "FAIL",
            Outcome::Skip => "skip",
        };
        writeln!(f, "  {outcome}  {:widest$}  {}", self.name, self.message)?;
        let indent = " ".repeat(widest + 10);
        for detail in self.details.iter().take(SHOWN_DETAILS) {
            writeln!(f, "{indent}- {detail}")?;
        }
        let more = self.details.len().saturating_sub(SHOWN_DETAILS);
        if more > 0 {
            writeln!(f, "{indent}- and {more} more (all with --json)")?;
        }
        match &self.fix {
            Some(fix) => writeln!(f, "{indent}fix: {fix}"),
            None => Ok(()),
        }
    }
}

/// `1 234 567`.
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

/// How much of what its class allows the file takes.
fn component_share(plugin: &Plugin) -> Share {
    let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let (used, allowed) = (
        wide(plugin.component_bytes()),
        wide(plugin.component_limit()),
    );
    let percent = (u128::from(used) * 100).div_ceil(u128::from(allowed.max(1)));
    Share {
        limit: "component".to_owned(),
        used,
        allowed,
        percent: u32::try_from(percent).unwrap_or(u32::MAX),
        call: "the file".to_owned(),
    }
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

    /// Passes with the message when nothing is wrong; fails with all that is, and the fix.
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

    pub(super) fn done(self, shares: Vec<Share>) -> Report {
        let mut report = self.0;
        report.shares.extend(shares);
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

    #[test]
    fn a_person_reads_the_first_failure_and_its_fix() {
        let check = |name: &str, outcome, details: Vec<String>, fix| Check {
            name: name.into(),
            outcome,
            message: "said".into(),
            details,
            fix,
        };
        let details: Vec<_> = (1..=7).map(|number| format!("problem {number}")).collect();
        let report = Report {
            subject: None,
            checks: vec![
                check("load", Outcome::Pass, vec![], None),
                check("gate", Outcome::Fail, details, Some("ask for less".into())),
            ],
            shares: vec![Share {
                limit: "fuel".into(),
                used: 12_345,
                allowed: 10_000_000,
                percent: 1,
                call: "price".into(),
            }],
        };
        assert!(!report.passed());
        let text = report.to_string();
        assert_eq!(
            text,
            "  pass  load  said\n  FAIL  gate  said\n              - problem 1\n              - problem 2\n              - problem 3\n              - problem 4\n              - problem 5\n              - and 2 more (all with --json)\n              fix: ask for less\n\n  share of the limits, at the call that came nearest\n    fuel         1 %  12 345 of 10 000 000 units  price\n\ndoes not conform: 1 failed, 1 passed. First, gate: said: problem 1; ask for less\n"
        );
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
