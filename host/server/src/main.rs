//! The `dermaga` command.

use std::process::ExitCode;

use clap::Parser;
use dermaga::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await
}
