//! Settings of what listens for requests.

use std::{net::SocketAddr, time::Duration};

use super::{ConnectionLimits, Origins};

/// Settings of connections and requests.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    pub connections: ConnectionLimits,
    /// Longest time that a request may take.
    pub request_timeout: Duration,
    /// Time from the end of readiness until the door is closed.
    pub drain_time: Duration,
    /// Reverse proxies in front of this server that append to `X-Forwarded-For`.
    pub trusted_proxies: usize,
    /// Sites of other addresses whose pages may call the API.
    pub origins: Origins,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            connections: ConnectionLimits::default(),
            request_timeout: Duration::ZERO,
            drain_time: Duration::ZERO,
            trusted_proxies: 0,
            origins: Origins::default(),
        }
    }
}
