//! Handlers for administrators.

pub(super) mod alerts;
pub(super) mod audit;
pub(super) mod backtest;
pub(super) mod billing;
pub(super) mod catalog;
pub(super) mod categories;
pub(super) mod clock;
pub(super) mod coupons;
pub(super) mod decisions;
pub(super) mod drift;
pub(super) mod health;
pub(super) mod instances;
pub(super) mod jobs;
pub(super) mod k8s;
pub(super) mod notifications;
pub(super) mod payments;
mod plan_inputs;
pub(super) mod plugins;
pub(super) mod prices;
pub(super) mod quota;
pub(super) mod services;
pub(super) mod subscriptions;
pub(super) mod tickets;
pub(super) mod users;
pub(super) mod version_moves;
pub(super) mod wallet;
pub(super) mod webhooks;
