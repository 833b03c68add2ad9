//! Findings of `doctor`, and how they are printed.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum State {
    Ok,
    /// Nothing was tried, since that is done only when it is wanted.
    Skipped,
    /// The shop works, and something is missing or doubtful.
    Warning,
    /// Something does not work.
    Failed,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Skipped => "SKIPPED",
            Self::Warning => "WARNING",
            Self::Failed => "FAILED",
        }
    }
}

/// Outcome of a check of one part, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) part: Part,
    pub(super) state: State,
    pub(super) message: String,
    /// Advice; absent when everything is well.
    pub(super) todo: Option<String>,
}

/// Part of a shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part {
    Configuration,
    Database,
    Keys,
    Clock,
    Plugins,
    Templates,
    Cluster,
    Domains,
    Gateway,
    Mail,
    Attachments,
    Traces,
}

impl Part {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Database => "database",
            Self::Keys => "keys",
            Self::Clock => "clock",
            Self::Plugins => "plugins",
            Self::Templates => "templates",
            Self::Cluster => "cluster",
            Self::Domains => "domains",
            Self::Gateway => "gateway",
            Self::Mail => "mail",
            Self::Attachments => "attachments",
            Self::Traces => "traces",
        }
    }

    pub(super) fn ok(self, message: impl Into<String>) -> Finding {
        Finding {
            part: self,
            state: State::Ok,
            message: message.into(),
            todo: None,
        }
    }

    pub(super) fn skipped(self, message: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding {
            part: self,
            state: State::Skipped,
            message: message.into(),
            todo: Some(todo.into()),
        }
    }

    pub(super) fn warning(self, message: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding {
            part: self,
            state: State::Warning,
            message: message.into(),
            todo: Some(todo.into()),
        }
    }

    pub(super) fn failed(self, message: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding {
            part: self,
            state: State::Failed,
            message: message.into(),
            todo: Some(todo.into()),
        }
    }
}

/// All findings.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) warnings: usize,
    pub(super) failures: usize,
}

impl Report {
    pub(super) fn of(findings: Vec<Finding>) -> Self {
        let count = |state| findings.iter().filter(|one| one.state == state).count();
        Self {
            warnings: count(State::Warning),
            failures: count(State::Failed),
            findings,
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let (state, part) = (finding.state.as_str(), finding.part.as_str());
            writeln!(f, "{state:<8} {part:<14} {}", indented(&finding.message))?;
            if let Some(todo) = &finding.todo {
                writeln!(f, "{:<23} -> {}", "", indented(todo))?;
            }
        }
        Ok(())
    }
}

/// Moves the further lines of a text below its first.
fn indented(text: &str) -> String {
    text.replace('\n', &format!("\n{:<27}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_state_a_part_and_advice() {
        let report = Report::of(vec![
            Part::Database.ok("sqlite, up to date"),
            Part::Mail.failed("no answer", "Check SMTP_URL."),
            Part::Gateway.skipped("not asked", "Add --ask-gateway."),
            Part::Templates.warning("none", "Write one."),
        ]);
        assert_eq!((report.warnings, report.failures), (1, 1));
        assert_eq!(
            report.to_string(),
            "\
OK       database       sqlite, up to date
FAILED   mail           no answer
                        -> Check SMTP_URL.
SKIPPED  gateway        not asked
                        -> Add --ask-gateway.
WARNING  templates      none
                        -> Write one.
"
        );
        let json = serde_json::to_value(&report.findings).unwrap();
        assert_eq!(
            (&json[1]["state"], &json[1]["part"]),
            (&"FAILED".into(), &"mail".into())
        );
    }
}
