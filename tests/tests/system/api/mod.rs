//! Routes, a file for each group of them.

pub(crate) mod accounts;
pub(crate) mod alerts;
pub(crate) mod backtest;
pub(crate) mod bodies;
pub(crate) mod catalogue;
pub(crate) mod clock;
pub(crate) mod coupons;
pub(crate) mod data_loss;
pub(crate) mod idempotency;
pub(crate) mod jobs;
pub(crate) mod metrics;
pub(crate) mod pasted;
pub(crate) mod payment_gateway;
pub(crate) mod payment_refunds;
pub(crate) mod payments;
pub(crate) mod plugin_classes;
pub(crate) mod plugin_lifecycle;
pub(crate) mod plugin_versions;
pub(crate) mod plugins;
pub(crate) mod provisioning;
pub(crate) mod quotes;
pub(crate) mod refunds;
pub(crate) mod refusals;
pub(crate) mod statements;
pub(crate) mod version_moves;
pub(crate) mod wallet;
