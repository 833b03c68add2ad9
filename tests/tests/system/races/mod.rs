//! Requests and servers at the same moment.

pub(crate) mod administrators;
pub(crate) mod catalogue;
pub(crate) mod checkouts;
pub(crate) mod checks;
pub(crate) mod deletions;
pub(crate) mod ended_sessions;
pub(crate) mod jobs;
pub(crate) mod payment_claims;
pub(crate) mod purges;
pub(crate) mod rates;
pub(crate) mod removals;
pub(crate) mod resources;
pub(crate) mod roles;
pub(crate) mod shared_rows;
pub(crate) mod subscriptions;
pub(crate) mod tickets;
pub(crate) mod waitlist;
