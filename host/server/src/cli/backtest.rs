//! `backtest`: a candidate coupon version over recorded decisions.

use std::{io::IsTerminal as _, path::PathBuf};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;
use dermaga_runtime::SizeClass;

use super::{CliError, plugin::answer_json, print};
use crate::{
    app,
    config::Loaded,
    db::Clock,
    plugins::backtest::{self, Backtest, Extreme, Window},
};

#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// The candidate: a component (*.wasm) of the coupon type.
    #[arg(long, value_name = "FILE")]
    plugin: PathBuf,
    /// Decisions made from here on: a date (UTC), or a moment such as 2026-11-01T09:00:00Z.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    since: DateTime<Utc>,
    /// And before here [default: now]
    #[arg(long, value_name = "DATE", value_parser = moment)]
    until: Option<DateTime<Utc>>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    text.parse()
        .map_err(|_| "must be a date such as 2026-11-01, or 2026-11-01T09:00:00Z".to_owned())
}

pub(super) async fn backtest(loaded: Loaded, args: BacktestArgs) -> Result<(), CliError> {
    let window = Window {
        since: args.since,
        until: args.until.unwrap_or_else(|| Clock::system().now()),
    };
    if window.since >= window.until {
        return Err(CliError::Usage("--since must be before --until".to_owned()));
    }
    let component = std::fs::read(&args.plugin)
        .map_err(|error| CliError::Usage(format!("{}: {error}", args.plugin.display())))?;
    let registry = app::open_registry(&loaded.config, Clock::system()).await?;
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
            eprint!("\r{done} of {total} decisions");
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
    print(&describe(&found))
}

fn describe(found: &Backtest) -> String {
    let mut text = format!(
        "{} {} over {} decision(s), {} to {}\n",
        found.plugin_id,
        found.version,
        found.decisions,
        found.since.format("%Y-%m-%d %H:%M"),
        found.until.format("%Y-%m-%d %H:%M"),
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
    use super::*;

    #[test]
    fn a_date_begins_at_midnight() {
        let expected = "2026-11-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
        assert_eq!(moment("2026-11-01"), Ok(expected));
        assert_eq!(moment("2026-11-01T07:00:00+07:00"), Ok(expected));
        for wrong in ["", "yesterday", "2026-13-01", "2026-11-01 09:00"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
