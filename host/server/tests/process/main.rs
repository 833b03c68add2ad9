//! The `dermaga` command as a process: what it says, how it ends, and what survives its death.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails should stop where it fails"
)]

mod attachments;
mod backup;
mod cli;
mod cluster_crash;
mod cluster_outage;
mod compiling;
mod configuration;
mod crash;
mod database;
mod decisions;
mod doctor;
mod frozen;
mod log;
mod mails;
mod manage;
mod market;
mod payments;
mod pooler;
mod push;
mod refused_memory;
mod rollout;
mod servers;
mod site;
mod top_ups;
mod traces;
mod transfer;
mod two_releases;
mod webhooks;

use std::{
    path::Path,
    process::{Command, Output},
};

/// `dermaga` in a folder, with nothing of this process's settings in its environment.
fn command(folder: &Path) -> Command {
    command_of(Path::new(env!("CARGO_BIN_EXE_dermaga")), folder)
}

/// The same for another build of it.
fn command_of(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let is_setting = ["DERMAGA_", "OTEL_"]
            .iter()
            .any(|family| name.starts_with(family));
        if is_setting || name == "DATABASE_URL" || name == "KUBECONFIG" {
            command.env_remove(name);
        }
    }
    command.current_dir(folder);
    command
}

/// Runs `dermaga` to its end.
fn dermaga(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    command(folder)
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
