//! One setting, and the form of the table of all of them.

use std::time::Duration;

use super::Config;

pub(super) const DAY: u64 = 86_400;
pub(super) const KIB: usize = 1024;
pub(super) const MIB: usize = 1024 * KIB;

pub(super) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Setting: its names, its default, its meaning, and the parser of its value.
pub struct Setting {
    /// Name in the environment.
    pub env: &'static str,
    /// Name in `dermaga.toml`; dots are tables.
    pub key: &'static str,
    pub default: Option<&'static str>,
    pub doc: &'static str,
    /// Masked wherever it is shown.
    pub secret: bool,
    /// Address of the web, shown without user, password and values of its query.
    pub address: bool,
    /// Read and checked for a later version, without an effect in this one.
    pub pending: bool,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting")
            .field("env", &self.env)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Builds the table from rows of name, key, default, document and parser.
macro_rules! settings {
    ($($env:literal $key:literal ($default:expr $(, $mark:ident)?): $doc:literal => |$config:ident, $text:ident| $set:expr;)*) => {
        &[$(Setting {
            env: $env,
            key: $key,
            default: $default,
            doc: $doc,
            secret: settings!(@secret $($mark)?),
            address: settings!(@address $($mark)?),
            pending: settings!(@pending $($mark)?),
            set: |$config, $text| { $set; Ok(()) },
        },)*]
    };
    (@secret secret) => { true };
    (@secret $($other:ident)?) => { false };
    (@address address) => { true };
    (@address $($other:ident)?) => { false };
    (@pending pending) => { true };
    (@pending $($other:ident)?) => { false };
}

pub(super) use settings;
