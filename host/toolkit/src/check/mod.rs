//! Conformance: proves that a component keeps the contract, by calling it.
//!
//! [`conformance`] needs no files: the server runs it at every upload. [`check`] is the same for an
//! author, with the golden cases and templates of the folder. [`faults`] is the part about one
//! template, which a server runs before it sells the service.

mod command;
mod coupon;
mod finding;
pub(crate) mod offers;
mod proposals;
pub(crate) mod report;
mod sale;
pub(crate) mod sample;
mod service;
mod session;
mod stack;
mod text_report;
mod trial;

use dermaga_runtime::{Description, Plugin};

pub use command::{CheckError, Options, check};
pub use report::{Check, Outcome, Report, Share, Subject, Timing};
pub use sale::{Busy, faults};

use self::{report::ReportBuilder, session::Session};
use crate::{
    case::{Case, Difference},
    template::Template,
};

/// Calls every function of a plugin with samples and golden cases, everything twice, and puts what a
/// service renders through the gate for every plan of every template that sells it.
pub fn conformance(plugin: &Plugin, templates: &[Template], cases: &[Case]) -> Report {
    let mut report = ReportBuilder::of(plugin);
    let mut session = Session::new(plugin);
    match plugin.description() {
        Description::Service(_) => {
            service::run(plugin, templates, cases, &mut session, &mut report);
        }
        Description::Coupon(description) => {
            session.describe(description);
            coupon::run(description, cases, &mut session, &mut report);
        }
    }
    golden(cases, &mut session, &mut report);
    session.finish(report)
}

/// Checks that golden cases answer as they did when they were blessed.
fn golden(cases: &[Case], session: &mut Session<'_>, report: &mut ReportBuilder) {
    if cases.is_empty() {
        report.skip("cases", "there are no golden cases");
        return;
    }
    let different: Vec<String> = cases
        .iter()
        .filter_map(|case| differs(case, session))
        .collect();
    let count = count(cases.len(), "golden case");
    report.verdict("cases", &format!("{count} answered as blessed"), different, || {
        "if the new answer is right, run `dermaga plugin check --bless` and read what it changes".to_owned()
    });
}

fn differs(case: &Case, session: &mut Session<'_>) -> Option<String> {
    let Case {
        name, description, ..
    } = case;
    let call = format!("case {name}");
    let difference = match (
        session.call(&call, &case.function, &case.input),
        &case.output,
    ) {
        (Err(error), _) => error,
        (Ok(_), None) => "it has no output yet".to_owned(),
        (Ok(answered), Some(expected)) => Difference::between(expected, &answered)?.to_string(),
    };
    Some(format!("{name} ({description}): {difference}"))
}

/// Returns a number with its noun: `1 plan`, `3 plans`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests;
