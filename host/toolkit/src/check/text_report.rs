//! Text of a report for a person.

use std::fmt;

use dermaga_runtime::contract::About;

use super::report::{Check, Outcome, Report, Share, Subject, Timing, grouped};
use crate::colour::{Coloured, Painted, Palette};

/// Most details shown to a person; the JSON has all of them.
const SHOWN_DETAILS: usize = 5;
/// Cells of the bar that draws a share.
const BAR: u32 = 20;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Page(self, Palette::default()).fmt(f)
    }
}

impl Coloured for Report {
    fn coloured(&self) -> String {
        Page(self, Palette::COLOURS).to_string()
    }
}

struct Page<'r>(&'r Report, Palette);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subject(f)?;
        let checks = &self.0.checks;
        let widest = checks.iter().map(|check| check.name.len()).max();
        for check in checks {
            self.check(f, check, widest.unwrap_or(0))?;
        }
        self.shares(f)?;
        self.timing(f)?;
        self.verdict(f)
    }
}

impl Page<'_> {
    fn subject(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Subject {
            about,
            kind,
            contract,
            class,
            digest,
        }) = &self.0.subject
        else {
            return Ok(());
        };
        let About { id, version, .. } = about;
        let digest: String = digest.to_string().chars().take(12).collect();
        writeln!(
            f,
            "{}: {kind} plugin, contract {contract}, {class} class, sha256 {digest}\n",
            Painted(self.1.strong, format_args!("{id} {version}"))
        )
    }

    fn check(&self, f: &mut fmt::Formatter<'_>, check: &Check, widest: usize) -> fmt::Result {
        let colours = &self.1;
        let (style, outcome) = match check.outcome {
            Outcome::Pass => (colours.good, "pass"),
            Outcome::Fail => (colours.bad, "FAIL"),
            Outcome::Skip => (colours.care, "skip"),
        };
        let outcome = Painted(style, outcome);
        writeln!(f, "  {outcome}  {:widest$}  {}", check.name, check.message)?;
        let indent = " ".repeat(widest + 10);
        for detail in check.details.iter().take(SHOWN_DETAILS) {
            writeln!(f, "{indent}- {detail}")?;
        }
        let more = check.details.len().saturating_sub(SHOWN_DETAILS);
        if more > 0 {
            writeln!(f, "{indent}- and {more} more (all with --json)")?;
        }
        match &check.fix {
            Some(fix) => writeln!(f, "{indent}{} {fix}", Painted(colours.advice, "fix:")),
            None => Ok(()),
        }
    }

    fn shares(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = &self.0.shares;
        if shares.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n  share of the limits, at the call that came nearest")?;
        let width =
            |of: fn(&Share) -> u64| shares.iter().map(|share| grouped(of(share)).len()).max();
        let used = width(|share| share.used).unwrap_or(0);
        let allowed = width(|share| share.allowed).unwrap_or(0);
        for share in shares {
            let unit = match share.limit.as_str() {
                "fuel" => "units",
                "time" => "µs   ",
                "log lines" => "lines",
                _ => "bytes",
            };
            writeln!(
                f,
                "    {:9}  {} {:3} %  {:>used$} of {:>allowed$} {unit}  {}",
                share.limit,
                self.bar(share.percent),
                share.percent,
                grouped(share.used),
                grouped(share.allowed),
                Painted(self.1.quiet, &share.call)
            )?;
        }
        Ok(())
    }

    fn bar(&self, percent: u32) -> String {
        let full = percent.min(100).div_ceil(100 / BAR);
        let cells = |cell: &str, count: u32| (0..count).map(|_| cell).collect::<String>();
        format!(
            "{}{}",
            Painted(self.1.of_share(percent), cells("█", full)),
            Painted(self.1.quiet, cells("░", BAR - full))
        )
    }

    fn timing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(timing) = &self.0.timing else {
            return Ok(());
        };
        let Timing {
            load_micros,
            median_micros,
            slowest_micros,
            slowest_call,
            calls,
        } = timing;
        writeln!(f, "\n  time on this machine, which decides nothing")?;
        if let Some(load) = load_micros {
            writeln!(
                f,
                "    {:9}  {}, once for a version",
                "to load",
                time(*load)
            )?;
        }
        writeln!(
            f,
            "    {:9}  {} (median of {calls}), at most {}  {}",
            "a call",
            time(*median_micros),
            time(*slowest_micros),
            Painted(self.1.quiet, slowest_call)
        )
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = &self.0.checks;
        let of = |outcome| {
            checks
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
        let Some(first) = self.0.first_failure() else {
            let conforms = Painted(self.1.good, "conforms");
            let passed = super::count(passed, "check");
            return writeln!(f, "\n{conforms}: {passed} passed{skips}");
        };
        let not = Painted(self.1.bad, "does not conform");
        writeln!(f, "\n{not}: {failed} failed, {passed} passed{skips}")?;
        let why = first.details.first().unwrap_or(&first.message);
        writeln!(f, "  first, {}: {why}", Painted(self.1.strong, &first.name))?;
        match &first.fix {
            Some(fix) => writeln!(f, "  {} {fix}", Painted(self.1.advice, "fix:")),
            None => Ok(()),
        }
    }
}

/// Formats a duration: `85 µs`, `1.25 ms`, `4.93 s`.
fn time(micros: u64) -> String {
    let of = |unit: u64, name: &str| {
        let hundredths = micros / (unit / 100);
        format!("{}.{:02} {name}", hundredths / 100, hundredths % 100)
    };
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => of(1_000, "ms"),
        _ => of(1_000_000, "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, outcome: Outcome, details: Vec<String>, fix: Option<&str>) -> Check {
        Check {
            name: name.into(),
            outcome,
            message: "said".into(),
            details,
            fix: fix.map(Into::into),
        }
    }

    fn failing() -> Report {
        let details = (1..=7).map(|number| format!("problem {number}")).collect();
        Report {
            subject: None,
            checks: vec![
                check("load", Outcome::Pass, vec![], None),
                check("gate", Outcome::Fail, details, Some("ask for less")),
            ],
            shares: vec![Share {
                limit: "fuel".into(),
                used: 4_512_345,
                allowed: 10_000_000,
                percent: 46,
                call: "price".into(),
            }],
            busy: false,
            timing: Some(Timing {
                load_micros: Some(4_931_000),
                median_micros: 85,
                slowest_micros: 1_250,
                slowest_call: "price".into(),
                calls: 12,
            }),
        }
    }

    #[test]
    fn a_person_reads_shares_times_and_the_first_failure_with_its_fix() {
        let text = failing().to_string();
        let expected = "  \
  pass  load  said
  FAIL  gate  said
              - problem 1
              - problem 2
              - problem 3
              - problem 4
              - problem 5
              - and 2 more (all with --json)
              fix: ask for less

  share of the limits, at the call that came nearest
    fuel       ██████████░░░░░░░░░░  46 %  4 512 345 of 10 000 000 units  price

  time on this machine, which decides nothing
    to load    4.93 s, once for a version
    a call     85 µs (median of 12), at most 1.25 ms  price

does not conform: 1 failed, 1 passed
  first, gate: problem 1
  fix: ask for less
";
        assert_eq!(text, expected);
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let report = failing();
        let coloured = report.coloured();
        assert!(
            coloured.contains("\u{1b}[1m\u{1b}[31mFAIL\u{1b}[0m"),
            "{coloured:?}"
        );
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            plain.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_eq!(plain, report.to_string());
    }
}
