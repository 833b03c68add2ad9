//! Reasons why a configuration is not accepted.

use std::fmt;

/// Fault of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Place, for example `dermaga.toml:3` or `environment`.
    pub source: String,
    /// The setting as it is named in that source.
    pub name: String,
    /// Completes the name: "must be ...".
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.name, self.message, self.source)
    }
}

/// Everything that is wrong with the configuration; nothing has been started.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not accepted:{}", self.0.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
pub struct ConfigError(pub Vec<Problem>);

impl ConfigError {
    pub(super) fn one(
        source: impl Into<String>,
        name: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self(vec![Problem {
            source: source.into(),
            name: name.into(),
            message: message.into(),
        }])
    }
}
