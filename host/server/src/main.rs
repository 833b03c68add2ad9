//! The `dermaga` command.

use std::process::ExitCode;

use clap::Parser;
use dermaga::cli::{Cli, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The process that compiles has limited memory, and needs none of the threads started below.
    if let Some(code) = cli.compile_component() {
        return code;
    }
    run_on_threads(cli)
}

#[tokio::main]
async fn run_on_threads(cli: Cli) -> ExitCode {
    run(cli).await
}
