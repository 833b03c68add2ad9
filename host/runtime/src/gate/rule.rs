//! The rules of the gate and how a broken one is reported.

use std::fmt;

use serde::{Serialize, Serializer};

/// One broken rule: which object, where in it, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// Kind and name, for example `Deployment/shop-web`.
    pub object: String,
    /// JSON pointer into the object; empty for the whole.
    pub path: String,
    pub rule: Rule,
    pub message: String,
    /// What the plugin's author should do about it.
    pub fix: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            object,
            path,
            rule,
            message,
            fix,
        } = self;
        write!(f, "{object} {path}: {message} ({rule}); {fix}")
    }
}

/// The closed list of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    KindNotAllowed,
}

impl Rule {
    /// Stable and machine-readable.
    pub const fn code(self) -> &'static str {
        match self {
            Self::KindNotAllowed => "GATE_KIND_NOT_ALLOWED",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.code())
    }
}
