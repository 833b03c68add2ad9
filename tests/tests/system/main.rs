//! Whole-system tests: one server each, over HTTP, on SQLite and on PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should stop where it fails"
)]

mod accounts;
mod alerts;
mod backtest;
mod bodies;
mod bundled_plugins;
mod calendar;
mod catalogue;
mod checkouts;
mod clock;
mod contracts;
mod coupons;
mod database_files;
mod deliverable;
mod delivery;
mod example_plugins;
mod failing_plugins;
mod hostile;
mod idempotency;
mod jobs;
mod ledger;
mod metrics;
mod midtrans_client;
mod model;
mod moves;
mod overdue;
mod papers;
mod pasted;
mod payment_claims;
mod payments;
mod plugin_classes;
mod plugin_life;
mod plugin_versions;
mod plugins;
mod proofs;
mod provisioning;
mod purchase;
mod quotes;
mod races;
mod readings;
mod refunds;
mod refusals;
mod refused_templates;
mod renewals;
mod second_upgrades;
mod settings;
mod shared_rows;
mod statements;
mod strangers;
mod upgrades;
mod wallet;
