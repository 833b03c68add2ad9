//! Probes, with which the kubelet checks containers.

use serde_json::{Value, json};

/// A repeated check by the kubelet: by default every 10 seconds, with 5 seconds to answer and 3
/// failures allowed in a row.
#[derive(Debug, Clone)]
pub struct Probe {
    handler: &'static str,
    action: Value,
    period_seconds: u32,
    failures: u32,
}

impl Probe {
    fn new(handler: &'static str, action: Value) -> Self {
        Self {
            handler,
            action,
            period_seconds: 10,
            failures: 3,
        }
    }

    /// Sends a GET for a path to a named port; any status from 200 to 399 is a success.
    pub fn http(port: &str, path: &str) -> Self {
        Self::new("httpGet", json!({"port": port, "path": path}))
    }

    /// Probes like [`Probe::http`], for software behind a proxy that insists on HTTPS.
    pub fn http_as_https(port: &str, path: &str) -> Self {
        let forwarded = json!([{"name": "X-Forwarded-Proto", "value": "https"}]);
        Self::new(
            "httpGet",
            json!({"port": port, "path": path, "httpHeaders": forwarded}),
        )
    }

    /// Connects to a named port.
    pub fn tcp(port: &str) -> Self {
        Self::new("tcpSocket", json!({"port": port}))
    }

    /// Runs a command inside the container; exit status 0 is a success.
    pub fn command(command: &[&str]) -> Self {
        Self::new("exec", json!({"command": command}))
    }

    /// Sets the interval in seconds.
    #[must_use]
    pub const fn every(mut self, seconds: u32) -> Self {
        self.period_seconds = seconds;
        self
    }

    /// Sets the failures in a row until the probe fails.
    #[must_use]
    pub const fn failures(mut self, count: u32) -> Self {
        self.failures = count;
        self
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            self.handler: self.action,
            "periodSeconds": self.period_seconds,
            "timeoutSeconds": 5,
            "failureThreshold": self.failures,
        })
    }
}
