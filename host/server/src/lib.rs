//! Dermaga: a self-hosted shop for managed services on Kubernetes.

pub mod accounts;
pub mod alerts;
pub mod api;
pub mod app;
pub mod audit;
pub mod calendar;
pub mod catalog;
pub mod cli;
mod client;
pub mod cluster;
pub mod config;
pub mod coupons;
pub mod crypto;
pub mod db;
pub mod demo;
pub mod error;
pub mod http;
pub mod idempotency;
pub mod money;
pub mod payments;
pub mod plugins;
mod private_file;
pub mod provisioning;
pub mod scheduler;
pub mod schema;
mod spreadsheet;
pub mod subscriptions;
pub mod telemetry;
mod terminal;
#[cfg(test)]
mod test_cluster;
pub mod text;
mod throttle;
pub mod timekeeping;
pub mod wallet;

pub use error::{Code, Error, Result};

/// Requests make many small allocations on one thread that another thread frees.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;
