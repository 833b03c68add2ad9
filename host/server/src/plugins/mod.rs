//! Installed plugin versions: what is active, how a new one comes in, and what each one decided.
//!
//! The database is the truth; [`Registry`] is this process's picture of it, swapped whole so that
//! a call in flight ends on the version it began with.

pub mod backtest;
mod classes;
mod decisions;
mod describe;
mod installation;
mod model;
mod registry;
mod routes;
mod store;

pub use classes::grant_class;
pub use decisions::{Decided, Decision, decide, replay};
pub use describe::describe;
pub use installation::{Upload, activate, delete, install_folder, roll_back, stage};
pub use model::{
    Activation, GrantedClass, PluginClass, PluginView, Replay, VersionState, VersionView,
};
pub use registry::Registry;
pub use routes::router;
