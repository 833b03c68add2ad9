//! Installed plugin versions: what is active, how a new one comes in, and what each one decided.
//!
//! The database is the truth; [`Registry`] is this process's picture of it, swapped whole so that
//! a call in flight ends on the version it began with.

pub mod backtest;
mod breaker;
pub mod decisions;
mod describe;
mod erasure;
mod explain;
mod findings;
mod json_diff;
mod keeping;
mod lifecycle;
mod model;
mod reading;
mod registry;
mod retirements;
mod sale;
pub mod signatures;
mod size_class;
mod staging;
mod store;
mod sync;
pub mod uploads;
mod vetting;

pub use breaker::BreakerRules;
pub use decisions::{Asking, Decided, Decision, Subject, decide, refuse, repeats, replay};
pub use describe::describe;
pub use erasure::{Look, assign_look, forget, looks_without_account};
pub use explain::{ExplainedDecision, explain, walk_explained};
pub use findings::Findings;
pub use keeping::{
    Inactive, Remedy, active, active_now, active_versions, keep_active, keep_all_active,
    keep_asked, keep_unretired, refuse_inactive, refuse_retired,
};
pub use lifecycle::{activate, delete, reset, retire, retire_plugin, roll_back};
pub use model::{
    Activation, DecisionFilter, DecisionView, GrantedClass, Outcome, PluginClass, PluginView,
    Replay, Reset, Retirement, VersionState, VersionView,
};
pub use reading::{decision, list, recorded, version, with_versions};
pub use registry::{Policy, Registry};
pub use size_class::grant_class;
pub use staging::{Upload, install_folder, stage};
pub use uploads::{PluginUpload, UploadFailure, UploadState};
pub use vetting::{TemplateChecks, Verdict, faults, faults_now};
