//! What a call may use, by kind of call.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contract::LimitClass;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Every limit of the runtime. The defaults are those of the design document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Pricing and coupon decisions.
    pub quick: CallLimits,
    /// Rendering and judging Kubernetes objects.
    pub heavy: CallLimits,
    /// Stack of the guest's WebAssembly frames.
    pub stack_bytes: usize,
    /// Size of an uploaded component.
    pub component_bytes: usize,
    /// Log lines kept of one call; further ones are dropped and counted.
    pub log_lines: usize,
    /// Bytes kept of one log line; the rest is cut at a character boundary.
    pub log_line_bytes: usize,
}

/// The limits of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallLimits {
    /// Units of work, about one a WebAssembly instruction. Decides, because it counts the same on
    /// every machine.
    pub fuel: u64,
    /// Wall time. Only the second fence: ample, so that a busy machine never changes an answer.
    #[serde(rename = "deadlineMs", with = "milliseconds")]
    pub deadline: Duration,
    /// Linear memory of the guest.
    pub memory_bytes: usize,
    /// Bytes the host copies out of the guest for the result, and for any one log line.
    pub output_bytes: usize,
}

impl Limits {
    /// The row that applies to calls of this class.
    pub const fn of(&self, class: LimitClass) -> &CallLimits {
        match class {
            LimitClass::Quick => &self.quick,
            LimitClass::Heavy => &self.heavy,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            quick: CallLimits {
                fuel: 10_000_000,
                deadline: Duration::from_millis(500),
                memory_bytes: 16 * MIB,
                output_bytes: 20_000,
            },
            heavy: CallLimits {
                fuel: 200_000_000,
                deadline: Duration::from_secs(5),
                memory_bytes: 32 * MIB,
                output_bytes: 512_000,
            },
            stack_bytes: 512 * KIB,
            component_bytes: 4 * MIB,
            log_lines: 64,
            log_line_bytes: 1000,
        }
    }
}

/// A duration as whole milliseconds.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
