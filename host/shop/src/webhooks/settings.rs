//! Settings of webhooks.

use std::time::Duration;

use chrono::TimeDelta;

use super::address::Lookup;
use crate::crypto::Authorities;

/// Settings of webhooks.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Endpoints that one customer may have.
    pub per_customer: i64,
    /// Time of nothing but failures after which an endpoint is disabled.
    pub disable_after: TimeDelta,
    /// Longest attempt, from the question for the address to the end of the answer.
    pub timeout: Duration,
    /// Authorities of receivers' certificates, beside those of the system.
    pub authorities: Option<Authorities>,
    /// Permits `http://` beside `https://`, for development.
    pub allow_http: bool,
    /// Permits endpoints on this machine, for development.
    pub permit_loopback: bool,
    /// Source of addresses.
    pub lookup: Lookup,
}
