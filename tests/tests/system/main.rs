//! Whole-system tests: one server each, over HTTP, on SQLite and on PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should stop where it fails"
)]

mod api;
mod apps;
mod bucket;
mod bundled_plugins;
mod by_hand;
mod certificates;
mod collections;
mod example_plugins;
mod faults;
mod hostile;
mod journeys;
mod mail;
mod midtrans_client;
mod name_server;
mod pictures;
mod races;
mod receiver;
mod settings;
mod smtp_server;
mod standard_webhooks;
mod statements;
