//! `plugin build` and `plugin check`: the toolkit for people who write plugins.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use dermaga_runtime::{Runtime, RuntimeConfig};
use dermaga_toolkit::{
    build::{self, BuildReport, Event},
    check::{self, Report},
};

use super::{CliError, print};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Build plugin crates to components.
    ///
    /// Uses the installed wasm32-unknown-unknown target, or builds the standard library from source
    /// when the target is not there.
    Build(BuildArgs),
    /// Check a component as the server does when it is uploaded; exits with 1 when it fails.
    ///
    /// Exports and imports, describe, golden cases, determinism by two runs, the manifest gate on
    /// every plan, and how near the calls come to the limits.
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// Plugin crates, or folders of them [default: the current folder, or `plugins` in it]
    #[arg(value_name = "FOLDER")]
    crates: Vec<PathBuf>,
    /// Where the components go, each as NAME.wasm.
    #[arg(long, value_name = "FOLDER", default_value = "target/components")]
    out: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// A component (`*.wasm`), or the folder of a plugin crate, which is built first.
    #[arg(value_name = "PLUGIN")]
    target: PathBuf,
    /// Folder of service templates; a service is checked on the plans of those that sell it.
    #[arg(long, value_name = "FOLDER")]
    templates: Option<PathBuf>,
    /// Folder of golden cases [default: `cases` in the crate]
    #[arg(long, value_name = "FOLDER")]
    cases: Option<PathBuf>,
    /// Where a crate's component goes.
    #[arg(long, value_name = "FOLDER", default_value = "target/components")]
    out: PathBuf,
    /// Write what the plugin answers now into the cases, then check.
    #[arg(long)]
    bless: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: PluginCommand) -> Result<(), CliError> {
    let work = move || match command {
        PluginCommand::Build(args) => build(&args),
        PluginCommand::Check(args) => check(args),
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CliError::Failed(error.to_string()))?
}

fn build(args: &BuildArgs) -> Result<(), CliError> {
    let failed = |error: build::BuildError| CliError::Failed(error.to_string());
    let crates = build::find(&args.crates).map_err(failed)?;
    let options = build::Options {
        out: args.out.clone(),
        target: None,
    };
    let report: BuildReport = build::build(&crates, &options, &show).map_err(failed)?;
    answer(&report, args.json)
}

fn check(args: CheckArgs) -> Result<(), CliError> {
    let CheckArgs {
        target,
        templates,
        cases,
        out,
        bless,
        json,
    } = args;
    let beside = || Some(PathBuf::from("service-templates")).filter(|folder| folder.is_dir());
    let options = check::Options {
        target,
        templates: templates.or_else(beside),
        cases,
        out,
        bless,
    };
    let runtime = Runtime::new(RuntimeConfig::default())
        .map_err(|error| CliError::Failed(error.to_string()))?;
    let report: Report = check::check(&runtime, &options, &show)
        .map_err(|error| CliError::Failed(error.to_string()))?;
    answer(&report, json)?;
    match report.first_failure() {
        None => Ok(()),
        Some(first) => Err(CliError::Check(format!(
            "the plugin does not pass: {first}"
        ))),
    }
}

/// Progress goes to stderr, so that stdout is the report alone.
fn show(event: &Event<'_>) {
    eprintln!("{event}");
}

fn answer<T: serde::Serialize + std::fmt::Display>(report: &T, json: bool) -> Result<(), CliError> {
    if json {
        let text = serde_json::to_string_pretty(report).map_err(crate::Error::from)?;
        return print(&format!("{text}\n"));
    }
    print(&format!("{report}\n"))
}
