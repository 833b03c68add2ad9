//! Flows through several areas, and what holds over time.

pub(crate) mod calendar;
pub(crate) mod deliverable;
pub(crate) mod delivery;
pub(crate) mod ended;
pub(crate) mod freezing;
pub(crate) mod ledger;
pub(crate) mod model;
pub(crate) mod overdue;
pub(crate) mod pending;
pub(crate) mod proofs;
pub(crate) mod purchase;
pub(crate) mod reduced_renewals;
pub(crate) mod refund;
pub(crate) mod renewal;
pub(crate) mod second_upgrades;
pub(crate) mod term_changes;
pub(crate) mod terms;
pub(crate) mod thawing;
pub(crate) mod unpaid;
pub(crate) mod unused;
pub(crate) mod upgrade;
pub(crate) mod waiting;
pub(crate) mod year;
