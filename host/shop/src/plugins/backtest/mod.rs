//! A candidate version of a coupon type over the decisions that were made: who would have won, who
//! lost, and what it would have cost. Reads only.

mod model;
mod store;

use std::{
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use dermaga_runtime::{
    CallError, Plugin, Usage, canonical_json,
    contract::{Decision, Evaluation, Kind},
};
use serde_json::Value;

use self::{
    model::{cost, in_words},
    store::Recorded,
};
use crate::{Code, Error, Result, db::Db, ids::DecisionId, money::Rupiah};

pub use model::{Backtest, Difference, Extreme, Failed};

/// Decisions read at once.
const PAGE: i64 = 500;
/// Time a call waits for its turn beside customers' calls.
const LONGEST_QUEUE_WAIT: Duration = Duration::from_secs(10);

/// Window of the decisions to ask again.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub since: DateTime<Utc>,
    /// Exclusive.
    pub until: DateTime<Utc>,
}

/// Counts the decisions of a coupon type in a window.
///
/// # Errors
/// When the database does not answer.
pub async fn count(db: &Db, plugin_id: &str, window: Window) -> Result<u64> {
    let count = store::count(&mut db.read().await?, plugin_id, window.since, window.until).await?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Asks a candidate again what its coupon type decided in a window, oldest first. `progress` hears
/// how many decisions are done. After `time` it stops and says how far it came; what was found is
/// right for those. Decisions never change but for those that are erased with their account, which are left out, so that
/// reading them page by page sees the same as one moment.
///
/// # Errors
/// `VALIDATION_FAILED` when the candidate is no coupon plugin; when the database does not answer.
pub async fn backtest(
    db: &Db,
    candidate: &Plugin,
    window: Window,
    time: Option<Duration>,
    mut progress: impl FnMut(u64),
) -> Result<Backtest> {
    if candidate.kind() != Kind::Coupon {
        let id = &candidate.about().id;
        let message = format!("must be of a coupon type, and {id} is none");
        return Err(Error::invalid("digest", message));
    }
    let end = time.map(|time| Instant::now() + time);
    let mut found = empty(candidate, window);
    let mut from = (window.since, DecisionId::MIN);
    loop {
        let plugin_id = &candidate.about().id;
        let mut conn = db.read().await?;
        let page = store::page(&mut conn, plugin_id, from, window.until, PAGE).await?;
        drop(conn);
        let Some(last) = page.last() else {
            return Ok(found);
        };
        from = (last.created_at, last.id);
        let candidate = candidate.clone();
        let work = move || ask_again(&candidate, page, found, end);
        found = tokio::task::spawn_blocking(work)
            .await
            .map_err(Error::internal)??;
        progress(found.decisions);
        if found.stopped_at.is_some() {
            return Ok(found);
        }
    }
}

fn empty(candidate: &Plugin, window: Window) -> Backtest {
    let about = candidate.about();
    Backtest {
        plugin_id: about.id.clone(),
        version: about.version.clone(),
        digest: candidate.digest().to_string(),
        contract: candidate.contract().to_owned(),
        since: window.since,
        until: window.until,
        stopped_at: None,
        decisions: 0,
        same: 0,
        won: 0,
        lost: 0,
        changed: 0,
        errors: 0,
        recorded_cost: Rupiah::ZERO,
        candidate_cost: Rupiah::ZERO,
        difference: Rupiah::ZERO,
        slowest: None,
        hungriest: None,
        other_contracts: Vec::new(),
        differences: Vec::new(),
        failures: Vec::new(),
    }
}

fn ask_again(
    candidate: &Plugin,
    page: Vec<Recorded>,
    mut found: Backtest,
    end: Option<Instant>,
) -> Result<Backtest> {
    for recorded in page {
        if end.is_some_and(|end| Instant::now() >= end) {
            found.stopped_at = Some(recorded.created_at);
            break;
        }
        found.decisions = found.decisions.saturating_add(1);
        if recorded.contract != found.contract
            && !found.other_contracts.contains(&recorded.contract)
        {
            found.other_contracts.push(recorded.contract.clone());
        }
        let asked: Value = serde_json::from_str(&recorded.input)?;
        let input: Evaluation = serde_json::from_str(&recorded.input)?;
        let old: Decision = serde_json::from_str(&recorded.output)?;
        found.recorded_cost = found.recorded_cost.plus(cost(&old, &input))?;
        match call(candidate, &asked) {
            Ok((output, usage)) => {
                compare(&mut found, &recorded, (&input, &old), output, &usage)?;
            }
            Err(error) => found.note_failure(Failed {
                decision_id: recorded.id,
                code: error.code().to_owned(),
                message: error.to_string(),
            }),
        }
    }
    found.difference = found.candidate_cost.minus(found.recorded_cost)?;
    Ok(found)
}

/// Customers come first: a call that finds no place waits.
fn call(candidate: &Plugin, input: &Value) -> Result<(Value, Usage), CallError> {
    let deadline = Instant::now() + LONGEST_QUEUE_WAIT;
    loop {
        match candidate.call_json("evaluate", input) {
            Ok(called) => return Ok((called.value, called.usage)),
            Err(error) if error.code() == "PLUGIN_BUSY" && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error),
        }
    }
}

fn compare(
    found: &mut Backtest,
    recorded: &Recorded,
    (input, old): (&Evaluation, &Decision),
    output: Value,
    usage: &Usage,
) -> Result<()> {
    let same = canonical_json(&output) == recorded.output;
    let new: Decision = serde_json::from_value(output)?;
    let (old_cost, new_cost) = (cost(old, input), cost(&new, input));
    // A candidate may answer any number; a sum that does not fit is no cost that anybody has.
    let Ok(candidate_cost) = found.candidate_cost.plus(new_cost) else {
        found.note_failure(Failed {
            decision_id: recorded.id,
            code: "AMOUNT_TOO_LARGE".to_owned(),
            message: format!("It would have given {new_cost}."),
        });
        return Ok(());
    };
    found.candidate_cost = candidate_cost;
    let extreme = |candidate: u64, was: i64| Extreme {
        decision_id: recorded.id,
        candidate,
        recorded: was,
    };
    let micros = u64::try_from(usage.duration.as_micros()).unwrap_or(u64::MAX);
    found.slowest = Extreme::larger(found.slowest, extreme(micros, recorded.duration_us));
    found.hungriest = Extreme::larger(found.hungriest, extreme(usage.fuel, recorded.fuel));
    let counter = match new_cost.cmp(&old_cost) {
        _ if same => &mut found.same,
        std::cmp::Ordering::Greater => &mut found.won,
        std::cmp::Ordering::Less => &mut found.lost,
        std::cmp::Ordering::Equal => &mut found.changed,
    };
    *counter = counter.saturating_add(1);
    if !same {
        found.note(Difference {
            decision_id: recorded.id,
            user_id: recorded.user_id,
            made_at: recorded.created_at,
            recorded_cost: old_cost,
            candidate_cost: new_cost,
            recorded: in_words(old),
            candidate: in_words(&new),
        });
    }
    Ok(())
}

/// The refusal that a window holds more decisions than one request may ask again.
pub fn too_many(count: u64, most: u64) -> Error {
    let message = format!(
        "There are {count} decisions in this time, and one request asks at most {most} again. \
         Choose a shorter time, or use `dermaga backtest`."
    );
    Error::new(Code::ValidationFailed, message).with("since", "reaches too far back")
}
