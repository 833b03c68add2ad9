//! How the kubelet asks whether a container is well.

use serde_json::{Value, json};

/// A check the kubelet repeats: by default every 10 seconds, 5 seconds to answer, 3 failures.
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

    /// GET of a path at a named port; any status from 200 to 399 is well.
    pub fn http(port: &str, path: &str) -> Self {
        Self::new("httpGet", json!({"port": port, "path": path}))
    }

    /// As [`Probe::http`], for software behind a proxy that insists on HTTPS.
    pub fn http_as_https(port: &str, path: &str) -> Self {
        let forwarded = json!([{"name": "X-Forwarded-Proto", "value": "https"}]);
        Self::new(
            "httpGet",
            json!({"port": port, "path": path, "httpHeaders": forwarded}),
        )
    }

    /// A connection to a named port.
    pub fn tcp(port: &str) -> Self {
        Self::new("tcpSocket", json!({"port": port}))
    }

    /// A command inside the container; exit status 0 is well.
    pub fn command(command: &[&str]) -> Self {
        Self::new("exec", json!({"command": command}))
    }

    /// How often.
    #[must_use]
    pub const fn every(mut self, seconds: u32) -> Self {
        self.period_seconds = seconds;
        self
    }

    /// How many failures in a row until it counts.
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
