//! Errors of building plugins.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A failed build. Components of earlier builds stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{} is not a plugin: {why}", .path.display())]
    NotAPlugin { path: PathBuf, why: String },
    #[error("there is no plugin in {}: `dermaga plugin new` makes one", .path.display())]
    NoPlugins { path: PathBuf },
    #[error("two plugins are named `{name}`: {} and {}; components are files of that name, so rename one", .first.display(), .second.display())]
    SameName {
        name: String,
        first: PathBuf,
        second: PathBuf,
    },
    /// No usable compiler; `advice` is the command that installs one.
    #[error(
        "no compiler here can build plugins: {why}. Run this once, then try again:\n\n    {advice}\n"
    )]
    NoToolchain { why: String, advice: String },
    /// No usable compiler, and no leave to install one; `advice` is the command that does.
    #[error(
        "no compiler here can build plugins: {why}. There is no terminal to ask on whether it may be installed. Run this, or add --yes to have it run:\n\n    {advice}\n"
    )]
    NotAsked { why: String, advice: String },
    /// Texts in another language that are not of their form.
    #[error("{}: {why}", .path.display())]
    Texts { path: PathBuf, why: String },
    #[error("{command} failed:\n{output}")]
    Command { command: String, output: String },
    #[error("{plugins} did not compile:\n{output}")]
    Compile { plugins: String, output: String },
    #[error(
        "cargo built no module for {plugin}: does its Cargo.toml have `crate-type = [\"cdylib\"]`?"
    )]
    NoModule { plugin: String },
    #[error("{plugin} compiled, but the result is not a plugin: {why}")]
    NoComponent { plugin: String, why: String },
    #[error("{} cannot be {verb}: {error}", .path.display())]
    Io {
        path: PathBuf,
        /// `read` or `written`.
        verb: &'static str,
        #[source]
        error: io::Error,
    },
    #[error("{command} cannot be started: {error}")]
    Start {
        command: String,
        #[source]
        error: io::Error,
    },
}

impl BuildError {
    pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io {
            path,
            verb: "read",
            error,
        }
    }

    pub(super) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io {
            path,
            verb: "written",
            error,
        }
    }
}
