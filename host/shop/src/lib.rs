//! The domains of the shop and their database: accounts, catalogue, wallet, payments, coupons,
//! subscriptions and provisioning. HTTP and the command line are `dermaga`'s.

pub mod accounts;
pub mod alerts;
pub mod audit;
pub mod billing;
mod bodies;
pub mod calendar;
pub mod catalog;
pub mod cluster;
pub mod coupons;
pub mod crypto;
pub mod csv;
pub mod db;
pub mod error;
pub mod events;
pub mod files;
pub mod idempotency;
pub mod identity;
pub mod ids;
pub mod input;
pub mod language;
pub mod money;
pub mod notifications;
pub mod outbox;
pub mod owners;
pub mod payments;
pub mod pictures;
pub mod plugins;
pub mod private_file;
pub mod provisioning;
pub mod rates;
pub mod replies;
pub mod scheduler;
pub mod schema;
pub mod subscriptions;
#[cfg(any(test, feature = "fixtures"))]
pub mod test_cluster;
#[cfg(test)]
mod test_database;
pub mod text;
pub mod throttle;
pub mod tickets;
pub mod time_budget;
pub mod timekeeping;
pub mod tls;
pub mod traces;
pub mod users;
pub mod wallet;
pub mod webhooks;
pub mod workers;

pub use error::{Code, Error, Result};
