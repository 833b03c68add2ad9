//! Settings of what listens for requests.

use std::time::Duration;

use super::ConnectionLimits;

/// Settings of connections and requests.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub connections: ConnectionLimits,
    /// Longest time that a request may take.
    pub request_timeout: Duration,
    /// Reverse proxies in front of this server that append to `X-Forwarded-For`.
    pub trusted_proxies: usize,
}
