//! Arguments of the command.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};
use dermaga_tests::arguments;

arguments! {
    "scale",
    /// Simulates a shop of up to a million customers: a month of them, what it needs of servers, PostgreSQL and clusters,
    /// where it first ends, and the same month with its wallets in partitions.
    ///
    /// The month is simulated, by a seed. Its costs come from files of measurements, from arguments, or from
    /// defaults; each line that is printed says which. Exits with 1 when the books of a partition do not hold.
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure what acts cost a private PostgreSQL, one after another, and split the books of that shop.
    Measure(Measurement),
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Customers to simulate, a run for each number
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000", value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(0..=2_000_000))]
    pub(crate) customers: Vec<u32>,
    /// Partitions [default: as many as the limits of a run ask for]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    partitions: Option<u16>,
    /// Number that the simulated customers follow from
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) seed: u64,
    /// Results of `load --json`, for the processor time of requests
    #[arg(long, value_name = "FILE")]
    pub(crate) load: Option<PathBuf>,
    /// Results of `scale measure --json`, for bytes and renewals
    #[arg(long, value_name = "FILE")]
    pub(crate) measured: Option<PathBuf>,
    /// Cost to take in the place of another one, such as look.server=450
    #[arg(long = "cost", value_name = "NAME=NUMBER", value_parser = named::<f64>)]
    pub(crate) costs: Vec<(String, f64)>,
    /// Number of the profile to take in the place of the default, such as subscriptions=1500
    #[arg(long = "profile", value_name = "NAME=NUMBER", value_parser = named::<u64>)]
    pub(crate) profile: Vec<(String, u64)>,
    /// File for the results as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Measurement {
    /// Times that each act is done; a quarter of it for sign-ups
    #[arg(long, default_value_t = 2_000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(4..=100_000))]
    pub(crate) acts: u32,
    /// Partitions that the books are split into
    #[arg(long, default_value_t = 8, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    partitions: u16,
    /// File for the results as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    pub(crate) fn partitions(&self) -> Option<usize> {
        self.partitions.map(usize::from)
    }
}

impl Measurement {
    pub(crate) fn partitions(&self) -> usize {
        usize::from(self.partitions)
    }
}

/// Reads `NAME=NUMBER`.
fn named<T: FromStr>(text: &str) -> Result<(String, T), String> {
    let wrong = || format!("`{text}` is no NAME=NUMBER");
    let (name, number) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), number.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn cli(arguments: &[&str]) -> Result<Cli, clap::Error> {
        let all = std::iter::once("scale").chain(arguments.iter().copied());
        Cli::try_parse_from(all)
    }

    #[test]
    fn up_to_a_million_are_simulated_unless_said_otherwise() {
        let all = cli(&[]).unwrap().options;
        assert_eq!(all.customers, [10_000, 100_000, 1_000_000]);
        assert_eq!((all.seed, all.partitions()), (1, None));
        let some = cli(&[
            "--customers",
            "7,8",
            "--partitions",
            "3",
            "--cost",
            "look.server=450.5",
            "--profile",
            "visits=9",
        ]);
        let some = some.unwrap().options;
        assert_eq!((some.customers, some.partitions), (vec![7, 8], Some(3)));
        assert_eq!(some.costs, [("look.server".to_owned(), 450.5)]);
        assert_eq!(some.profile, [("visits".to_owned(), 9)]);
    }

    #[test]
    fn measuring_has_arguments_of_its_own() {
        let command = cli(&["measure", "--acts", "8"]).unwrap().command;
        let Some(Command::Measure(measurement)) = command else {
            panic!("no measurement");
        };
        assert_eq!((measurement.acts, measurement.partitions()), (8, 8));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for wrong in [
            ["--customers", "2000001"],
            ["--partitions", "0"],
            ["--cost", "look.server"],
            ["--cost", "look.server=much"],
            ["--profile", "visits=-1"],
        ] {
            assert!(cli(&wrong).is_err(), "{wrong:?}");
        }
    }
}
