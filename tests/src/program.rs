//! Parts that programs which measure have in common: their arguments, their end and the file of their results.

use std::{error::Error, fs, path::Path, process::ExitCode};

use serde_json::Value;

pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Ends a program; a failure is said and ends it with 1.
pub fn end(done: Outcome<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes results into the file that was asked for.
///
/// # Errors
/// When the file cannot be written.
pub fn write_results(file: Option<&Path>, results: &Value) -> Outcome<()> {
    if let Some(file) = file {
        fs::write(file, format!("{results:#}\n"))?;
    }
    Ok(())
}

/// Makes the arguments of a program, `Cli`, from its name and its description: its `Options`, or a `Command` in the
/// place of them.
#[macro_export]
macro_rules! arguments {
    ($name:tt, $(#[$about:meta])+) => {
        $(#[$about])+
        #[derive(Debug, clap::Parser)]
        #[command(name = $name, max_term_width = 100, args_conflicts_with_subcommands = true)]
        pub(crate) struct Cli {
            #[command(flatten)]
            pub(crate) options: Options,
            #[command(subcommand)]
            pub(crate) command: Option<Command>,
        }
    };
}
