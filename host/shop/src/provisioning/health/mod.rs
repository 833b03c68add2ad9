//! Health of instances: its history, and self-healing within limits.
//!
//! Each pass has a finding. A plan follows it through time: what it means for the spans of
//! the history, for the attempts to mend the instance, and for its status once these are used up.

mod check;
mod finding;
mod limits;
mod model;
mod plan;
mod reading;
mod record;
mod stats;
mod store;

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod record_tests;
#[cfg(test)]
mod tests;

pub use check::{MOST_AT_ONCE, Requested, check};
pub use limits::Act;
pub use model::{CheckSource, HealthSpanView, InstanceHealth, State};
pub use reading::{HealthStatistics, HealthSummary, Unwell, history, statistics, summary};
pub use record::purge;
pub use stats::{Percent, TimeRange};

pub(super) use finding::{Finding, Ground};
pub(super) use model::Span;
pub(super) use plan::Plan;
pub(super) use reading::shown;
pub(super) use record::{load, record};
