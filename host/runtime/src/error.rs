//! Errors: an engine that cannot start, a refused component, a failed call.

use crate::{
    call::{LogLine, Usage},
    contract::Version,
    limits::SizeClass,
};

/// Failure to build the engine.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The limits or the machine do not allow such an engine.
    #[error("the plugin engine cannot start: {0}")]
    Engine(String),
    #[error("the plugin engine cannot start its timer thread: {0}")]
    Timer(#[source] std::io::Error),
    #[error("the folder {} for compiled plugins cannot be used: {error}", folder.display())]
    Cache {
        folder: std::path::PathBuf,
        #[source]
        error: std::io::Error,
    },
}

/// The words of a library about bytes that it cannot read, for logs and authors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Reason(String);

/// Reason why a component was refused. Nothing of a refused component is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error(
        "the component has {bytes} bytes and the limit is {limit}: build it in release mode and strip it"
    )]
    TooLarge { bytes: usize, limit: usize },
    #[error(
        "the component has {bytes} bytes and the {class} class allows {limit}: build it in release mode and strip it, or have an administrator grant this plugin the {sufficient} class"
    )]
    AboveClass {
        bytes: usize,
        limit: usize,
        class: SizeClass,
        /// The smallest class that is large enough.
        sufficient: SizeClass,
    },
    #[error(
        "the component wants more than the {limit} bytes of memory that the {class} class allows it to start with: it must hold less at once, or have an administrator grant this plugin the {sufficient} class"
    )]
    MemoryAboveClass {
        limit: usize,
        class: SizeClass,
        /// The class that has the most memory.
        sufficient: SizeClass,
    },
    #[error(
        "this is compiled machine code, which is never accepted: upload the WebAssembly component it was made from"
    )]
    Precompiled,
    #[error(
        "this is a core WebAssembly module, not a component: wrap it with `dermaga plugin build` or wit-component"
    )]
    CoreModule,
    #[error("there are no bytes: send the component itself")]
    Empty,
    #[error("this is a {0} file, not a component: unpack it first")]
    Compressed(&'static str),
    #[error(
        "this is text, not a component: send the binary file (`*.wasm`) that `dermaga plugin build` makes"
    )]
    Text,
    #[error(
        "the component has {found} {what} and the limit is {limit}: no compiler emits so much for a plugin"
    )]
    TooComplex {
        what: &'static str,
        found: u64,
        limit: u64,
    },
    #[error(
        "compiling the component takes more than {cpu_seconds} s of processor time or {} MiB of memory: split its largest functions",
        memory_bytes >> 20
    )]
    TooCostly { memory_bytes: u64, cpu_seconds: u32 },
    #[error("the request for the component was given up before it was compiled")]
    GivenUp,
    #[error("{message}")]
    Malformed {
        message: &'static str,
        #[source]
        reason: Reason,
    },
    #[error(
        "the component imports `{0}`: a plugin is pure and may import nothing but `dermaga:plugin/log`; remove what needs it (for Rust, build for wasm32-unknown-unknown, not WASI)"
    )]
    ForbiddenImport(String),
    #[error(
        "the component is not a plugin of this server: {0}; a plugin exports `dermaga:plugin/metadata` and either `dermaga:plugin/service` or `dermaga:plugin/coupon`"
    )]
    WrongWorld(String),
    #[error(
        "the component was built against dermaga:plugin@{found} and this server speaks {}: rebuild it with the dermaga-plugin-sdk that comes with this server, or run a server that speaks {found}",
        spoken()
    )]
    WrongContract { found: String },
    #[error("the component's description is not acceptable{at}: {message}", at = at(field))]
    BadMetadata { field: String, message: String },
    #[error("the component could not say what it is: {0}")]
    Describe(#[source] Box<CallError>),
    #[error("the component cannot be run here: {0}")]
    Unsupported(String),
}

/// Returns the supported versions as in `0.1.0 and 0.2.0`.
fn spoken() -> String {
    Version::ALL.map(Version::as_str).join(" and ")
}

impl LoadError {
    /// Returns the refusal of bytes that a library cannot read, in plain words.
    pub fn malformed(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let message = if reason.contains("magic header") {
            "this file is not a WebAssembly component"
        } else if reason.contains("unexpected end") {
            "the WebAssembly component is cut off: its file ends too early"
        } else {
            "the WebAssembly component is damaged, or was not built correctly"
        };
        let reason = Reason(reason);
        Self::Malformed { message, reason }
    }

    /// Returns the stable, machine-readable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "COMPONENT_TOO_LARGE",
            Self::AboveClass { .. } | Self::MemoryAboveClass { .. } => "COMPONENT_ABOVE_CLASS",
            Self::Empty => "COMPONENT_EMPTY",
            Self::Compressed(_) => "COMPONENT_COMPRESSED",
            Self::Text => "COMPONENT_IS_TEXT",
            Self::TooComplex { .. } => "COMPONENT_TOO_COMPLEX",
            Self::TooCostly { .. } => "COMPONENT_TOO_COSTLY",
            Self::GivenUp => "COMPONENT_GIVEN_UP",
            Self::Precompiled => "COMPONENT_PRECOMPILED",
            Self::CoreModule => "COMPONENT_IS_CORE_MODULE",
            Self::Malformed { .. } => "COMPONENT_MALFORMED",
            Self::ForbiddenImport(_) => "COMPONENT_FORBIDDEN_IMPORT",
            Self::WrongWorld(_) => "COMPONENT_WRONG_WORLD",
            Self::WrongContract { .. } => "COMPONENT_WRONG_CONTRACT",
            Self::BadMetadata { .. } => "COMPONENT_BAD_METADATA",
            Self::Describe(_) => "COMPONENT_DESCRIBE_FAILED",
            Self::Unsupported(_) => "COMPONENT_UNSUPPORTED",
        }
    }
}

/// A call without a usable answer: plugin, version, function and failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plugin {plugin} {version}, {function}: {failure}")]
pub struct CallError {
    pub plugin: Box<str>,
    pub version: Box<str>,
    pub function: Box<str>,
    pub failure: Failure,
    /// Resources used until the call ended; `None` when it never started.
    pub usage: Option<Box<Usage>>,
    /// Log lines until then.
    pub logs: Box<[LogLine]>,
}

impl CallError {
    /// Returns the stable, machine-readable code.
    pub const fn code(&self) -> &'static str {
        self.failure.code()
    }
}

/// Reason why a call ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error(
        "it used all of its {limit} units of work (fuel): it loops for ever, or does too much in one call"
    )]
    FuelExhausted { limit: u64 },
    #[error(
        "it did not finish within {limit_ms} ms although its work was within bounds: the machine is overloaded, try again"
    )]
    DeadlineExceeded { limit_ms: u64 },
    #[error("it wanted more than its {limit} bytes of memory: it must hold less at once")]
    MemoryExceeded { limit: usize },
    #[error("it returned more than {limit} bytes: it must answer more briefly")]
    OutputTooLarge { limit: usize },
    #[error("it used all of its {limit} bytes of stack: its recursion is too deep")]
    StackOverflow { limit: usize },
    #[error("it stopped on its own error: {0}")]
    Trapped(String),
    #[error("its answer breaks the contract{at}: {message}", at = at(field))]
    MalformedOutput { field: String, message: String },
    #[error("the input is not what this function takes: {0}")]
    BadInput(String),
    #[error("it has no such function; it has {known}")]
    UnknownFunction { known: String },
    #[error(
        "as many plugin calls as may run at once ({limit}) are running already and none ended within {waited_ms} ms: try again shortly"
    )]
    Busy { limit: usize, waited_ms: u64 },
    #[error("the engine failed: {0}")]
    Engine(String),
}

/// Returns the place of a value for use in a sentence; empty when it is the whole.
fn at(field: &str) -> String {
    if field.is_empty() {
        String::new()
    } else {
        format!(" at `{field}`")
    }
}

impl Failure {
    /// Returns the stable, machine-readable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::FuelExhausted { .. } => "PLUGIN_FUEL_EXHAUSTED",
            Self::DeadlineExceeded { .. } => "PLUGIN_DEADLINE_EXCEEDED",
            Self::MemoryExceeded { .. } => "PLUGIN_MEMORY_EXCEEDED",
            Self::OutputTooLarge { .. } => "PLUGIN_OUTPUT_TOO_LARGE",
            Self::StackOverflow { .. } => "PLUGIN_STACK_OVERFLOW",
            Self::Trapped(_) => "PLUGIN_TRAPPED",
            Self::MalformedOutput { .. } => "PLUGIN_MALFORMED_OUTPUT",
            Self::BadInput(_) => "PLUGIN_BAD_INPUT",
            Self::UnknownFunction { .. } => "PLUGIN_UNKNOWN_FUNCTION",
            Self::Busy { .. } => "PLUGIN_BUSY",
            Self::Engine(_) => "PLUGIN_ENGINE_FAILED",
        }
    }

    /// Reports that the same call may succeed later, as plugin and input are not at fault.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::DeadlineExceeded { .. } | Self::Engine(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_parser_are_for_the_log() {
        for (reason, message) in [
            (
                "magic header not detected: bad magic number - expected=[\n 0x0",
                "this file is not a WebAssembly component",
            ),
            (
                "unexpected end-of-file (at offset 0x9)",
                "the WebAssembly component is cut off: its file ends too early",
            ),
            (
                "type mismatch (at offset 0x9)",
                "the WebAssembly component is damaged, or was not built correctly",
            ),
        ] {
            let error = LoadError::malformed(reason);
            assert_eq!(error.to_string(), message);
            let source = std::error::Error::source(&error).map(ToString::to_string);
            assert_eq!(source.as_deref(), Some(reason));
        }
    }

    #[test]
    fn a_place_is_named_when_there_is_one() {
        let said = |field: &str| {
            let (field, message) = (field.to_owned(), "it is odd".to_owned());
            Failure::MalformedOutput { field, message }.to_string()
        };
        assert_eq!(said(""), "its answer breaks the contract: it is odd");
        assert_eq!(
            said("/total"),
            "its answer breaks the contract at `/total`: it is odd"
        );
    }
}
