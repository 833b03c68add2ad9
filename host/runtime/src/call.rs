//! The result of a call: value, resource usage and log lines.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::CallLimits;

/// The answer of a plugin, what it cost and what it logged.
#[derive(Debug, Clone, PartialEq)]
pub struct Called<T> {
    pub value: T,
    pub usage: Usage,
    pub logs: Vec<LogLine>,
}

/// Resources that a call used, next to its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Units of work; equal for equal input on every machine.
    pub fuel: u64,
    /// Largest linear memory the guest had.
    pub memory_bytes: usize,
    /// Size of the result as the host copied it out of the guest.
    pub output_bytes: usize,
    #[serde(rename = "durationMicros", serialize_with = "microseconds")]
    pub duration: Duration,
    pub limits: CallLimits,
}

/// Use as a percentage of the limit, rounded up: 100 means that nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shares {
    pub fuel_percent: u32,
    pub memory_percent: u32,
    pub output_percent: u32,
}

impl Usage {
    /// Returns the share of each limit that the call used.
    pub fn shares(&self) -> Shares {
        Shares {
            fuel_percent: percent(self.fuel.into(), self.limits.fuel.into()),
            memory_percent: percent(self.memory_bytes as u128, self.limits.memory_bytes as u128),
            output_percent: percent(self.output_bytes as u128, self.limits.output_bytes as u128),
        }
    }
}

fn percent(used: u128, limit: u128) -> u32 {
    let share = (used * 100).div_ceil(limit.max(1));
    u32::try_from(share).unwrap_or(u32::MAX)
}

fn microseconds<S: serde::Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(value.as_micros()).unwrap_or(u64::MAX))
}

/// Importance of a log line, as judged by the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// One line a plugin wrote during a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    pub level: LogLevel,
    pub message: String,
}
