//! A shop of up to a million customers, simulated by costs that were measured.
//!
//! `cargo run --release --package dermaga-tests --bin scale -- --help`

#![allow(
    clippy::float_arithmetic,
    reason = "costs, rates and shares are numbers"
)]

mod args;
#[cfg(test)]
mod document;
mod measure;
mod model;
mod split;

use std::{fs, path::Path, process::ExitCode};

use clap::Parser as _;
use dermaga_tests::program::{self, Outcome};
use serde_json::{Value, json};

use args::{Cli, Command, Options};
use model::{Basis, Costs, Figure, Inputs, Profile};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::Measure(measurement)) => Box::pin(measure::run(measurement)).await,
        None => run(&cli.options),
    };
    program::end(done)
}

fn run(options: &Options) -> Outcome<()> {
    let inputs = inputs(options)?;
    let seed = inputs.seed;
    println!("A shop simulated by seed {seed}; nothing of it is measured but what says so.");
    println!("\nCosts (with their origin)");
    for line in inputs.costs.lines() {
        println!("  {line}");
    }
    println!("\nProfile (assumed; for a thousand customers and a month unless it says otherwise)");
    for line in inputs.profile.lines() {
        println!("  {line}");
    }
    println!("\n{}", model::places());
    let mut runs = Vec::new();
    for customers in &options.customers {
        let run = model::simulate(&inputs, *customers)?;
        println!("{}", model::lines(&run));
        runs.push(model::json(&run));
    }
    let results = json!({
        "seed": seed,
        "costs": inputs.costs.json(),
        "profile": inputs.profile.json(),
        "runs": runs,
    });
    program::write_results(options.json.as_deref(), &results)
}

/// Takes defaults, then what was measured, then what is given.
fn inputs(options: &Options) -> Outcome<Inputs> {
    let (mut costs, mut profile) = (Costs::default(), Profile::default());
    if let Some(file) = &options.measured {
        costs.read_measured(&read(file)?)?;
    }
    if let Some(file) = &options.load {
        costs.read_load(&read(file)?)?;
    }
    for (name, value) in &options.costs {
        costs.set(name, Figure::new(*value, Basis::Given, "--cost"))?;
    }
    for (name, value) in &options.profile {
        profile.set(name, *value)?;
    }
    Ok(Inputs {
        costs,
        profile,
        seed: options.seed,
        partitions: options.partitions(),
    })
}

fn read(file: &Path) -> Outcome<Value> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(serde_json::from_str(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs_of(arguments: &[&str]) -> Outcome<Inputs> {
        let all = std::iter::once("scale").chain(arguments.iter().copied());
        inputs(&Cli::try_parse_from(all)?.options)
    }

    #[test]
    fn arguments_come_before_measurements_and_these_before_defaults() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let measured =
            json!({ "acts": [{ "name": "renew", "count": 9, "micros": 6.0, "bytes": 5_432 }] });
        fs::write(file.path(), measured.to_string()).unwrap();
        let file = file.path().to_str().unwrap();
        let inputs = inputs_of(&[
            "--measured",
            file,
            "--cost",
            "renew.time=7",
            "--profile",
            "visits=9",
            "--seed",
            "4",
        ]);
        let inputs = inputs.unwrap();
        assert_eq!((inputs.profile.customers.visits, inputs.seed), (9, 4));
        assert_eq!(inputs.costs.rates.renewal_time.basis, Basis::Given);
        let lines = inputs.costs.lines();
        let bytes = lines.iter().find(|line| line.starts_with("renew.bytes"));
        assert!(
            bytes.unwrap().contains("5432.0 bytes    measured"),
            "{bytes:?}"
        );
        let other = lines.iter().find(|line| line.starts_with("topUp.bytes"));
        assert!(other.unwrap().contains("assumed"), "{other:?}");
    }

    #[test]
    fn wrong_names_and_files_are_refused() {
        for (wrong, why) in [
            (["--cost", "renew=7"], "renew"),
            (["--profile", "visitors=7"], "visitors"),
            (["--load", "/nowhere.json"], "/nowhere.json"),
            (["--measured", "/nowhere.json"], "/nowhere.json"),
        ] {
            let error = inputs_of(&wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
