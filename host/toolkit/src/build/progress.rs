//! Progress reports of a build.

use std::fmt;

use super::output::Built;

/// A step of a build. Its text is a line for a person.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Something outside the ordinary course, such as packages being installed.
    Note(&'a str),
    /// The compiler has been chosen and starts.
    Compiling { plugins: usize, toolchain: &'a str },
    /// One more crate is compiled; their total is not known.
    Crate { name: &'a str, done: usize },
    /// A component is written, or found unchanged.
    Built {
        built: &'a Built,
        done: usize,
        total: usize,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(text) => f.write_str(text),
            Self::Compiling {
                plugins: 1,
                toolchain,
            } => write!(f, "building 1 plugin with {toolchain}"),
            Self::Compiling { plugins, toolchain } => {
                write!(f, "building {plugins} plugins with {toolchain}")
            }
            Self::Crate { name, done } => write!(f, "compiled {name} (crate {done})"),
            Self::Built { built, done, total } => write!(f, "[{done}/{total}] {built}"),
        }
    }
}

/// Answer to the question whether system packages may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    Given,
    Refused,
    /// No person could be asked.
    NotAsked,
}

/// Receiver that shows events, for example a progress bar.
pub trait Progress: Send + Sync {
    fn report(&self, event: &Event<'_>);

    /// Asks for leave to install system packages: `why`, and the command that would run.
    fn may_install(&self, _why: &str, _command: &str) -> Leave {
        Leave::NotAsked
    }
}

impl<F: Fn(&Event<'_>) + Send + Sync> Progress for F {
    fn report(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Receiver of tests: shows nothing, and lets their machine get what it lacks.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _event: &Event<'_>) {}

    fn may_install(&self, _why: &str, _command: &str) -> Leave {
        Leave::Given
    }
}
