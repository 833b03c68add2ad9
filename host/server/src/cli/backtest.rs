//! `backtest`: a candidate coupon version over recorded decisions.

use std::{io::IsTerminal as _, path::PathBuf};

use clap::Args;
use dermaga_runtime::SizeClass;
use dermaga_shop::{
    db::Clock,
    plugins::backtest::{self, Backtest, Extreme, Window},
    text::counted,
};

use super::{CliError, plugin::answer_json, print};
use crate::{app, config::Loaded, http::When};

#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// The candidate: a component (*.wasm) of the coupon type.
    #[arg(long, value_name = "FILE")]
    plugin: PathBuf,
    /// Decisions made from here on: a date where the shop is (BILLING_TIMEZONE), or a moment such
    /// as 2026-11-01T09:00:00Z.
    #[arg(long, value_name = "DATE")]
    since: When,
    /// And before this moment, or until the end of this date [default: now]
    #[arg(long, value_name = "DATE")]
    until: Option<When>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

impl BacktestArgs {
    fn window(&self, clock: &Clock) -> Result<Window, CliError> {
        let until = self.until.map(|until| until.end(clock.zone()));
        let window = Window {
            since: self.since.start(clock.zone()),
            until: until.unwrap_or_else(|| clock.now()),
        };
        if window.since >= window.until {
            return Err(CliError::Usage("--since must be before --until".to_owned()));
        }
        Ok(window)
    }
}

pub(super) async fn backtest(loaded: Loaded, args: BacktestArgs) -> Result<(), CliError> {
    let clock = Clock::system().in_zone(loaded.config.billing_timezone);
    let window = args.window(&clock)?;
    let component = std::fs::read(&args.plugin)
        .map_err(|error| CliError::Usage(format!("{}: {error}", args.plugin.display())))?;
    let registry = app::open_registry(&loaded.config, clock.clone()).await?;
    let runtime = registry.runtime().clone();
    let load =
        tokio::task::spawn_blocking(move || runtime.load_as(&component, SizeClass::Large)).await;
    let candidate = load
        .map_err(super::plugin::failed)?
        .map_err(|error| CliError::Check(format!("{error} ({})", error.code())))?;
    let db = registry.db();
    let total = backtest::count(db, &candidate.about().id, window).await?;
    let is_watched = std::io::stderr().is_terminal();
    let found = backtest::backtest(db, &candidate, window, None, |done| {
        if is_watched {
            eprint!("\r{done} of {}", counted(total, "decision"));
        }
    })
    .await?;
    if is_watched {
        eprintln!();
    }
    db.close().await;
    if args.json {
        return answer_json(&found);
    }
    print(&describe(&found, &clock))
}

fn describe(found: &Backtest, clock: &Clock) -> String {
    let mut text = format!(
        "{} {} over {}, {} to {}\n",
        found.plugin_id,
        found.version,
        counted(found.decisions, "decision"),
        clock.written(found.since),
        clock.written(found.until),
    );
    for (what, count) in [
        ("same, byte for byte", found.same),
        ("customer gets more", found.won),
        ("customer gets less", found.lost),
        ("worth the same, told otherwise", found.changed),
        ("no answer", found.errors),
    ] {
        text.push_str(&format!("  {what:<32} {count:>10}\n"));
    }
    for (what, amount) in [
        ("cost as decided", found.recorded_cost),
        ("cost with the candidate", found.candidate_cost),
        ("difference", found.difference),
    ] {
        text.push_str(&format!("  {what:<32} {:>18}\n", amount.to_string()));
    }
    text.push_str(&extreme("slowest call", "us", found.slowest));
    text.push_str(&extreme("hungriest call", "fuel", found.hungriest));
    if !found.other_contracts.is_empty() {
        let versions = found.other_contracts.join(", ");
        text.push_str(&format!(
            "  decided under contract {versions}; the candidate speaks {}\n",
            found.contract
        ));
    }
    for difference in &found.differences {
        text.push_str(&format!(
            "  {}  {} -> {}\n    was: {}\n    now: {}\n",
            difference.decision_id,
            difference.recorded_cost,
            difference.candidate_cost,
            difference.recorded,
            difference.candidate
        ));
    }
    for failed in &found.failures {
        let (id, code) = (failed.decision_id, &failed.code);
        text.push_str(&format!("  {id}  {code}: {}\n", failed.message));
    }
    text
}

fn extreme(what: &str, unit: &str, found: Option<Extreme>) -> String {
    found.map_or_else(String::new, |found| {
        let (id, candidate, recorded) = (found.decision_id, found.candidate, found.recorded);
        format!("  {what:<32} {candidate:>10} {unit} (was {recorded}), decision {id}\n")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: BacktestArgs,
    }

    fn line(dates: &[&str]) -> Result<BacktestArgs, String> {
        let words = ["backtest", "--plugin", "a.wasm"].iter().chain(dates);
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(line.args)
    }

    #[test]
    fn a_date_is_a_day_where_the_shop_is() {
        let clock = Clock::system().in_zone(chrono_tz::Asia::Jakarta);
        let (first, last) = ("2026-10-31T17:00:00+00:00", "2026-11-01T17:00:00+00:00");
        for dates in [
            ["--since=2026-11-01", "--until=2026-11-01"],
            [
                "--since=2026-11-01T00:00:00+07:00",
                "--until=2026-11-01T17:00:00Z",
            ],
        ] {
            let window = line(&dates).unwrap().window(&clock).unwrap();
            let written = (window.since.to_rfc3339(), window.until.to_rfc3339());
            assert_eq!(written, (first.to_owned(), last.to_owned()), "{dates:?}");
        }
        let early = line(&["--since=2026-11-02", "--until=2026-11-01"]).unwrap();
        early.window(&clock).unwrap_err();
    }

    #[test]
    fn dates_are_those_of_http() {
        for wrong in ["", "yesterday", "2026-13-01", "2026-11-01 09:00"] {
            let refused = line(&[&format!("--since={wrong}")]).unwrap_err();
            assert!(refused.contains("must be a date"), "{wrong}: {refused}");
        }
        for wrong in ["1969-12-31", "-9999-12-31", "+10000-01-01T00:00:00Z"] {
            for dates in [[wrong, "2026-11-01"], ["2026-11-01", wrong]] {
                let [since, until] = dates;
                let (since, until) = (format!("--since={since}"), format!("--until={until}"));
                let refused = line(&[&since, &until]).unwrap_err();
                let bounds = "must be between 1970-01-01 and 9999-12-31";
                assert!(refused.contains(bounds), "{dates:?}: {refused}");
            }
        }
    }
}
