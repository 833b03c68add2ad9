//! Arguments of the command.

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use dermaga_tests::{Engine, arguments};

use crate::{Outcome, routes::Route};

/// Rounds and seconds of a turn from which on goals are judged: those of a run that says nothing else.
const ROUNDS: u32 = 5;
const SECONDS: u64 = 3;

arguments! {
    "load",
    /// Measures the shop under load, over HTTP, beside floors that take turns with it.
    ///
    /// Starts the `dermaga` command in a temporary folder, on SQLite or on a private PostgreSQL, and talks to 127.0.0.1
    /// alone. Exits with 1 when a request failed, the books do not hold, or a goal was missed, after all was measured.
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer with the bytes in a file until the input ends; the floor of a measurement.
    #[command(hide = true)]
    Floor { answers: PathBuf },
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The `dermaga` command to measure [default: beside this command]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Database
    #[arg(long, value_enum, default_value = "both")]
    engine: Engines,
    /// Cases to measure [default: all]
    #[arg(long = "case", value_enum, value_delimiter = ',', value_name = "CASE")]
    cases: Vec<Case>,
    /// Connections at the same time, each with a customer and a coupon of its own
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256", value_name = "NUMBER",
        value_parser = clap::value_parser!(u16).range(1..=300))]
    connections: Vec<u16>,
    /// Rounds that count, after one that warms up; in each, every side has a turn
    #[arg(long, default_value_t = ROUNDS, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Length of a turn; whatever has begun by then is finished
    #[arg(long, default_value_t = SECONDS, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Entries that the ledger has before anything is measured; a million takes minutes
    #[arg(long, default_value_t = 0, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub(crate) entries: u32,
    /// Measure lists and statistics instead, after a year of rows: so many hundredths of the size at which they
    /// have their goal, which is a million transactions and takes minutes to fill
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "100",
        value_parser = clap::value_parser!(u32).range(1..=100), conflicts_with_all = ["cases", "connections", "entries"])]
    pub(crate) lists: Option<u32>,
    /// Judge the goals also with fewer rounds or shorter turns than the defaults, which chance may decide
    #[arg(long, conflicts_with = "lists")]
    goals: bool,
    /// Log of the server, which goes into a file, as DERMAGA_LOG
    #[arg(long, default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// File for the results as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Engines {
    Sqlite,
    Postgres,
    Both,
}

/// A single route, or the whole journey of a new customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    Health,
    Catalogue,
    Wallet,
    Redeem,
    Subscribe,
    Journey,
}

impl Options {
    /// Path of the server, which is started in other folders.
    pub(crate) fn server(&self) -> Outcome<PathBuf> {
        let path = match &self.server {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("dermaga"),
        };
        fs::canonicalize(&path).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    pub(crate) const fn engines(&self) -> &'static [Engine] {
        match self.engine {
            Engines::Sqlite => &[Engine::Sqlite],
            Engines::Postgres => &[Engine::Postgres],
            Engines::Both => &[Engine::Sqlite, Engine::Postgres],
        }
    }

    pub(crate) fn cases(&self) -> &[Case] {
        if self.cases.is_empty() {
            Case::value_variants()
        } else {
            &self.cases
        }
    }

    /// Returns true when goals are judged: in a run of the usual length, or when they were asked for.
    pub(crate) const fn has_goals(&self) -> bool {
        self.goals || (self.rounds >= ROUNDS && self.seconds >= SECONDS)
    }

    /// Entries of each customer's wallet before anything is measured.
    pub(crate) fn entries_of_each(&self, customers: usize) -> usize {
        usize::try_from(self.entries).unwrap_or(usize::MAX) / customers.max(1)
    }

    pub(crate) fn connections(&self) -> impl Iterator<Item = usize> {
        self.connections.iter().copied().map(usize::from)
    }
}

impl Case {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Catalogue => "catalogue",
            Self::Wallet => "wallet",
            Self::Redeem => "redeem",
            Self::Subscribe => "subscribe",
            Self::Journey => "journey",
        }
    }

    /// The one route of the case; none for the journey.
    pub(crate) const fn route(self) -> Option<Route> {
        match self {
            Self::Health => Some(Route::Health),
            Self::Catalogue => Some(Route::Catalogue),
            Self::Wallet => Some(Route::Wallet),
            Self::Redeem => Some(Route::Redeem),
            Self::Subscribe => Some(Route::Subscribe),
            Self::Journey => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, clap::Error> {
        let all = std::iter::once("load").chain(arguments.iter().copied());
        Cli::try_parse_from(all).map(|cli| cli.options)
    }

    #[test]
    fn everything_is_measured_unless_said_otherwise() {
        let all = options(&[]).unwrap();
        assert_eq!(all.cases().len(), 6);
        assert_eq!(all.engines(), [Engine::Sqlite, Engine::Postgres]);
        assert_eq!(all.connections().collect::<Vec<_>>(), [1, 16, 64, 256]);
        let some = options(&["--case", "redeem,journey", "--connections", "1,4"]).unwrap();
        assert_eq!(some.cases(), [Case::Redeem, Case::Journey]);
        assert_eq!(some.connections().collect::<Vec<_>>(), [1, 4]);
        assert_eq!(some.entries_of_each(4), 0);
        let full = options(&["--entries", "1000000"]).unwrap();
        assert_eq!(full.entries_of_each(256), 3_906);
    }

    #[test]
    fn goals_are_judged_after_long_turns_or_when_asked_for() {
        assert!(options(&[]).unwrap().has_goals());
        assert!(
            options(&["--case", "redeem", "--connections", "16"])
                .unwrap()
                .has_goals()
        );
        for short in [["--rounds", "4"], ["--seconds", "2"]] {
            assert!(!options(&short).unwrap().has_goals(), "{short:?}");
            let asked = [short[0], short[1], "--goals"];
            assert!(options(&asked).unwrap().has_goals(), "{short:?}");
        }
        assert!(options(&["--lists", "--goals"]).is_err());
    }

    #[test]
    fn lists_are_measured_alone_and_at_full_size_unless_said_otherwise() {
        assert_eq!(options(&[]).unwrap().lists, None);
        assert_eq!(options(&["--lists"]).unwrap().lists, Some(100));
        let small = ["--lists", "1", "--rounds", "1"];
        assert_eq!(options(&small).unwrap().lists, Some(1));
        for other in ["--entries", "--connections"] {
            assert!(options(&["--lists", other, "1"]).is_err(), "{other}");
        }
    }

    #[test]
    fn what_would_not_end_is_refused() {
        for wrong in [
            ["--lists", "0"],
            ["--connections", "0"],
            ["--connections", "301"],
            ["--seconds", "0"],
            ["--rounds", "0"],
            ["--case", "all"],
        ] {
            assert!(options(&wrong).is_err(), "{wrong:?}");
        }
    }
}
