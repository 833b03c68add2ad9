//! `backtest`: a candidate coupon version over recorded decisions.

use std::{io::IsTerminal as _, path::PathBuf};

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use clap::Args;
use dermaga_runtime::SizeClass;

use super::{CliError, plugin::answer_json, print};
use crate::{
    app, calendar,
    config::Loaded,
    db::Clock,
    plugins::backtest::{self, Backtest, Extreme, Window},
};

#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// The candidate: a component (*.wasm) of the coupon type.
    #[arg(long, value_name = "FILE")]
    plugin: PathBuf,
    /// Decisions made from here on: a date where the shop is (BILLING_TIMEZONE), or a moment such
    /// as 2026-11-01T09:00:00Z.
    #[arg(long, value_name = "DATE", value_parser = bound)]
    since: Bound,
    /// And before here [default: now]
    #[arg(long, value_name = "DATE", value_parser = bound)]
    until: Option<Bound>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// End of the window.
#[derive(Debug, Clone, Copy)]
enum Bound {
    Date(NaiveDate),
    Moment(DateTime<Utc>),
}

impl Bound {
    fn at(self, zone: Tz) -> DateTime<Utc> {
        match self {
            Self::Date(date) => calendar::start_of_day(zone, date),
            Self::Moment(moment) => moment,
        }
    }
}

fn bound(text: &str) -> Result<Bound, String> {
    let date = text.parse().map(Bound::Date);
    date.or_else(|_| text.parse().map(Bound::Moment))
        .map_err(|_| "must be a date such as 2026-11-01, or 2026-11-01T09:00:00Z".to_owned())
}

pub(super) async fn backtest(loaded: Loaded, args: BacktestArgs) -> Result<(), CliError> {
    let clock = Clock::system().in_zone(loaded.config.billing_timezone);
    let until = args.until.map(|until| until.at(clock.zone()));
    let window = Window {
        since: args.since.at(clock.zone()),
        until: until.unwrap_or_else(|| clock.now()),
    };
    if window.since >= window.until {
        return Err(CliError::Usage("--since must be before --until".to_owned()));
    }
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
    print(&describe(&found, &clock))
}

fn describe(found: &Backtest, clock: &Clock) -> String {
    let mut text = format!(
        "{} {} over {} decision(s), {} to {}\n",
        found.plugin_id,
        found.version,
        found.decisions,
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
    use super::*;

    #[test]
    fn a_date_begins_at_midnight_where_the_shop_is() {
        let at = |text| bound(text).map(|bound| bound.at(chrono_tz::Asia::Jakarta));
        let midnight = "2026-10-31T17:00:00Z".parse::<DateTime<Utc>>().unwrap();
        assert_eq!(at("2026-11-01"), Ok(midnight));
        assert_eq!(at("2026-11-01T00:00:00+07:00"), Ok(midnight));
        for wrong in ["", "yesterday", "2026-13-01", "2026-11-01 09:00"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }
}
