//! Installed plugin versions: what is active, how a new one comes in, and what each one decided.
//!
//! The database is the truth; [`Registry`] is this process's picture of it, swapped whole so that
//! a call in flight ends on the version it began with.

pub mod backtest;
mod breaker;
mod classes;
pub mod decisions;
mod describe;
mod difference;
mod explain;
mod follow;
mod installation;
mod life;
pub mod model;
mod registry;
pub mod signatures;
pub mod store;
pub mod uploads;
mod vetting;

pub use breaker::BreakerRules;
pub use classes::grant_class;
pub use decisions::{Asking, Decided, Decision, Subject, decide, refuse, repeats, replay};
pub use describe::describe;
pub use explain::{ExplainedDecision, explain};
pub use installation::{Upload, install_folder, stage};
pub use life::{activate, delete, refuse_retired, reset, retire, retire_plugin, roll_back};
pub use model::{
    Activation, GrantedClass, PluginClass, PluginView, Replay, Reset, Retirement, VersionState,
    VersionView,
};
pub use registry::{Policy, Registry};
pub use uploads::{PluginUpload, UploadFailure, UploadState};
pub use vetting::faults_now;
