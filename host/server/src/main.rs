//! The `dermaga` command.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use dermaga::{
    cli::{Cli, run},
    telemetry,
};
use tokio::runtime::Runtime;

/// Longest wait for threads that are still at work when the command has ended.
const LAST_THREADS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The process that compiles has limited memory, and needs none of the threads started below.
    if let Some(code) = cli.compile_component() {
        return code;
    }
    run_on_threads(cli)
}

/// Runs the command, and waits a moment for the threads of what was cut off, such as a long computation.
fn run_on_threads(cli: Cli) -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("dermaga: the threads cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(cli));
    runtime.shutdown_timeout(LAST_THREADS);
    telemetry::write_log();
    code
}
