//! Limits of a call, by kind of call and by the class of the plugin.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::contract::LimitClass;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Size class of a plugin. Every plugin is [`SizeClass::Standard`] until an administrator grants it
/// more.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum SizeClass {
    /// For plugins in a compiled language.
    #[default]
    Standard,
    /// For plugins that bring an interpreter with them.
    Large,
}

impl SizeClass {
    /// All classes, from the smallest to the largest.
    pub const ALL: [Self; 2] = [Self::Standard, Self::Large];

    /// Returns `standard` or `large`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Large => "large",
        }
    }
}

impl fmt::Display for SizeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SizeClass {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of: standard, large"))
    }
}

/// All limits of the runtime. The defaults are those of the design document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Pricing and coupon decisions.
    pub quick: CallLimits,
    /// Rendering and judging Kubernetes objects.
    pub heavy: CallLimits,
    /// Stack of the guest's WebAssembly frames.
    pub stack_bytes: usize,
    /// Size of an uploaded component of the standard class.
    pub component_bytes: usize,
    /// Limits of the large class that differ from these.
    pub large: LargeLimits,
    /// Log lines kept of one call; further ones are dropped and counted.
    pub log_lines: usize,
    /// Bytes kept of one log line; the rest is cut at a character boundary.
    pub log_line_bytes: usize,
}

/// Limits of the large class that differ from those of the standard one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeLimits {
    /// Size of an uploaded component.
    pub component_bytes: usize,
    /// Linear memory of the guest, whatever the kind of call.
    pub memory_bytes: usize,
}

/// The limits of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallLimits {
    /// Units of work, about one per WebAssembly instruction. The deciding limit, as it counts the
    /// same on every machine.
    pub fuel: u64,
    /// Wall time. A second, ample fence, so that a busy machine never changes an answer.
    #[serde(rename = "deadlineMs", with = "milliseconds")]
    pub deadline: Duration,
    /// Linear memory of the guest.
    pub memory_bytes: usize,
    /// Bytes copied out of the guest for the result, and for any one log line.
    pub output_bytes: usize,
}

impl Limits {
    /// Returns the limits of a call of this kind to a plugin of this class.
    pub fn of(&self, call: LimitClass, size: SizeClass) -> CallLimits {
        let limits = match call {
            LimitClass::Quick => self.quick,
            LimitClass::Heavy => self.heavy,
        };
        match size {
            SizeClass::Standard => limits,
            SizeClass::Large => CallLimits {
                memory_bytes: self.large.memory_bytes.max(limits.memory_bytes),
                ..limits
            },
        }
    }

    /// Returns the largest size of a component of this class, in bytes.
    pub fn component_bytes_of(&self, size: SizeClass) -> usize {
        match size {
            SizeClass::Standard => self.component_bytes,
            SizeClass::Large => self.large.component_bytes.max(self.component_bytes),
        }
    }

    /// Returns the largest memory that any call may have, in bytes.
    pub(crate) fn most_memory_bytes(&self) -> usize {
        let calls = [LimitClass::Quick, LimitClass::Heavy];
        calls
            .map(|call| self.of(call, SizeClass::Large).memory_bytes)
            .into_iter()
            .fold(0, usize::max)
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
            large: LargeLimits {
                component_bytes: 16 * MIB,
                memory_bytes: 64 * MIB,
            },
            log_lines: 64,
            log_line_bytes: 1000,
        }
    }
}

/// Serialization of a duration as whole milliseconds.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A grant must never take anything away, whatever an operator set.
    #[test]
    fn a_larger_class_has_no_less_of_anything() {
        let mut limits = Limits::default();
        for (component_bytes, memory_bytes) in [
            (limits.large.component_bytes, limits.large.memory_bytes),
            (1, 1),
        ] {
            limits.large = LargeLimits {
                component_bytes,
                memory_bytes,
            };
            let [standard, large] = SizeClass::ALL.map(|size| limits.component_bytes_of(size));
            assert!(large >= standard);
            for call in [LimitClass::Quick, LimitClass::Heavy] {
                let [standard, large] = SizeClass::ALL.map(|size| limits.of(call, size));
                assert!(large.memory_bytes >= standard.memory_bytes);
                assert!(large.memory_bytes <= limits.most_memory_bytes());
                let same = CallLimits {
                    memory_bytes: standard.memory_bytes,
                    ..large
                };
                assert_eq!(same, standard, "memory alone is larger");
            }
        }
    }

    #[test]
    fn a_class_is_read_as_it_is_written() {
        for class in SizeClass::ALL {
            assert_eq!(class.to_string().parse(), Ok(class));
        }
        for wrong in ["", "Large", "huge"] {
            assert!(wrong.parse::<SizeClass>().is_err(), "{wrong}");
        }
        assert!(
            SizeClass::Standard < SizeClass::Large,
            "grants are compared"
        );
    }
}
