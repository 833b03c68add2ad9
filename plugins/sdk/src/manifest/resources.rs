//! CPU and memory.

use serde_json::{Value, json};

use crate::service::Resources;

/// CPU and memory of a container. Request and limit are equal, so that a neighbour's peak cannot
/// take what was bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compute {
    pub cpu_millis: u32,
    pub memory_mib: u32,
}

impl Compute {
    /// Takes all of a plan.
    pub const fn of(resources: Resources) -> Self {
        Self {
            cpu_millis: resources.cpu_millis,
            memory_mib: resources.memory_mib,
        }
    }

    /// Splits off this percentage, rounded down; returns it and the rest.
    #[must_use]
    pub fn split(self, percent: u8) -> (Self, Self) {
        let part = Self {
            cpu_millis: share(self.cpu_millis, percent),
            memory_mib: share(self.memory_mib, percent),
        };
        let rest = Self {
            cpu_millis: self.cpu_millis.saturating_sub(part.cpu_millis),
            memory_mib: self.memory_mib.saturating_sub(part.memory_mib),
        };
        (part, rest)
    }

    /// Subtracts memory, for example that of a directory in memory.
    #[must_use]
    pub const fn less_memory(self, mib: u32) -> Self {
        Self {
            memory_mib: self.memory_mib.saturating_sub(mib),
            ..self
        }
    }

    pub(super) fn to_json(self) -> Value {
        let amount =
            json!({"cpu": format!("{}m", self.cpu_millis), "memory": mebibytes(self.memory_mib)});
        json!({"requests": amount, "limits": amount})
    }
}

/// Returns this percentage of a number, rounded down; at most the number itself.
pub(crate) fn share(number: u32, percent: u8) -> u32 {
    let exact = u64::from(number) * u64::from(percent) / 100;
    u32::try_from(exact).map_or(number, |part| part.min(number))
}

pub(super) fn mebibytes(mib: u32) -> String {
    format!("{mib}Mi")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_neither_loses_nor_adds() {
        let whole = Compute {
            cpu_millis: 333,
            memory_mib: u32::MAX,
        };
        for percent in [0, 1, 45, 99, 100, 200] {
            let (part, rest) = whole.split(percent);
            assert_eq!(part.cpu_millis + rest.cpu_millis, whole.cpu_millis);
            assert_eq!(part.memory_mib + rest.memory_mib, whole.memory_mib);
        }
        assert_eq!(whole.split(45).0.cpu_millis, 149);
    }
}
