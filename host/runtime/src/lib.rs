//! Runs Dermaga plugins: compiles components, calls them under limits, and gates what they render.
//!
//! The way through this crate: a [`Runtime`] turns the bytes of a component into a [`Plugin`]
//! ([`Runtime::load`]); [`Plugin::call`] runs one function of the contract in a fresh instance and
//! returns the value, the resources used and the log lines. Kubernetes objects that a service
//! plugin renders go through [`gate::admit`] before anything else sees them.
//!
//! This is the only crate that knows wasmtime. It knows no HTTP and no SQL.

mod cache;
mod call;
mod call_permits;
mod canonical;
mod check_output;
mod compiler;
mod complexity;
pub mod contract;
mod digest;
mod engine;
mod error;
mod exports;
#[cfg(feature = "fixtures")]
pub mod fixtures;
pub mod gate;
mod guest;
mod image;
mod inspect;
mod limits;
mod load;
mod log;
mod metadata;
mod per_core;
mod plugin;
mod runtime;
mod sniff;
mod store;
mod texts;
mod ticker;
mod v0_1;
mod v0_2;

pub use call::{Called, LogLevel, LogLine, Shares, Usage};
pub use canonical::canonical_json;
pub use compiler::{Compiler, GiveUp, GiveUpGuard, compile_stdin};
pub use contract::Description;
pub use digest::{Digest, ParseDigestError};
pub use error::{CallError, Failure, LoadError, Reason, RuntimeError};
pub use image::is_pinned as is_pinned_image;
pub use limits::{CallLimits, LargeLimits, Limits, SizeClass};
pub use plugin::Plugin;
pub use runtime::{Runtime, RuntimeConfig};
pub use texts::Texts;
