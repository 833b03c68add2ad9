//! Faults of a service, each with its place in the template.

use std::collections::BTreeMap;

use super::report::ReportBuilder;
use crate::template::{Spot, Template, TemplateError};

/// One fault.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    /// Name of the check that found it.
    pub(super) check: &'static str,
    pub(super) spot: Spot,
    /// A sentence that also names the service, and the plan if it is about one.
    pub(super) message: String,
    /// Advice on repairing it.
    pub(super) fix: String,
}

impl Finding {
    /// Converts the finding to an error of the template.
    pub(super) fn in_template(&self, template: &Template) -> TemplateError {
        let Self {
            spot, message, fix, ..
        } = self;
        let message = if fix.is_empty() {
            message.clone()
        } else {
            format!("{message}; {fix}")
        };
        template.problem_at(spot, &message)
    }
}

/// Groups findings by check, for a report.
pub(super) fn by_check(findings: Vec<Finding>) -> BTreeMap<&'static str, Vec<Finding>> {
    let mut grouped: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for finding in findings {
        grouped.entry(finding.check).or_default().push(finding);
    }
    grouped
}

/// Adds a check that passes with the message when nothing was found, and fails with all findings
/// and the first fix otherwise.
pub(super) fn verdict(
    report: &mut ReportBuilder,
    check: &'static str,
    good: &str,
    findings: Vec<Finding>,
) {
    let fix = findings.first().map(|finding| finding.fix.clone());
    let wrong = findings.into_iter().map(|finding| finding.message);
    report.verdict(check, good, wrong.collect(), || fix.unwrap_or_default());
}
