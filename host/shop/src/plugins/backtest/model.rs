//! Findings of a backtest.

use chrono::{DateTime, Utc};
use dermaga_runtime::contract::{Decision, Effect, Evaluation, Grant};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ids::{DecisionId, UserId},
    money::Rupiah,
};

/// Differences that are shown one by one.
const SHOWN: usize = 20;

/// Decisions of a candidate version, next to the recorded ones.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backtest {
    pub plugin_id: String,
    /// The candidate.
    pub version: String,
    pub digest: String,
    pub contract: String,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub since: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub until: DateTime<Utc>,
    /// Moment of the first decision not asked again when the time ran out; pass it as `since` to
    /// continue.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub stopped_at: Option<DateTime<Utc>>,
    /// Recorded decisions that were asked again.
    pub decisions: u64,
    /// Answered the same, byte for byte.
    pub same: u64,
    /// The customer would have got more.
    pub won: u64,
    /// The customer would have got less.
    pub lost: u64,
    /// Worth the same, with another answer.
    pub changed: u64,
    /// Decisions that the candidate did not answer.
    pub errors: u64,
    /// Cost of the recorded decisions.
    pub recorded_cost: Rupiah,
    /// Cost of the candidate's decisions; those it did not answer cost nothing here.
    pub candidate_cost: Rupiah,
    pub difference: Rupiah,
    /// The candidate's slowest call, in microseconds.
    pub slowest: Option<Extreme>,
    /// The candidate's hungriest call, in fuel.
    pub hungriest: Option<Extreme>,
    /// Contract versions that recorded decisions were made under and the candidate does not speak.
    pub other_contracts: Vec<String>,
    /// Differences, the largest in rupiah first, twenty at most.
    pub differences: Vec<Difference>,
    /// The first twenty that it did not answer.
    pub failures: Vec<Failed>,
}

/// The call that took most of something.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extreme {
    pub decision_id: DecisionId,
    pub candidate: u64,
    /// The same measure of the recorded call.
    pub recorded: i64,
}

/// Decision that would have been another.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub decision_id: DecisionId,
    pub user_id: Option<UserId>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub made_at: DateTime<Utc>,
    pub recorded_cost: Rupiah,
    pub candidate_cost: Rupiah,
    /// The reason given, or why it was refused.
    pub recorded: String,
    pub candidate: String,
}

/// Decision that the candidate could not make.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    pub decision_id: DecisionId,
    pub code: String,
    #[serde(serialize_with = "crate::language::in_words")]
    pub message: String,
}

impl Backtest {
    /// Notes a decision that would have been another; the largest are kept.
    pub(super) fn note(&mut self, difference: Difference) {
        let weight = |difference: &Difference| {
            let (candidate, recorded) = (difference.candidate_cost, difference.recorded_cost);
            candidate.get().abs_diff(recorded.get())
        };
        let at = self
            .differences
            .partition_point(|known| weight(known) >= weight(&difference));
        if at < SHOWN {
            self.differences.insert(at, difference);
            self.differences.truncate(SHOWN);
        }
    }

    pub(super) fn note_failure(&mut self, failed: Failed) {
        self.errors = self.errors.saturating_add(1);
        if self.failures.len() < SHOWN {
            self.failures.push(failed);
        }
    }
}

impl Extreme {
    /// The larger of two.
    pub(super) fn larger(known: Option<Self>, next: Self) -> Option<Self> {
        match known {
            Some(known) if known.candidate >= next.candidate => Some(known),
            _ => Some(next),
        }
    }
}

/// Value of a decision for the customer, in rupiah, as the host applies it: never more than the
/// price. Of free months only those of the first period are known.
pub(super) fn cost(decision: &Decision, input: &Evaluation) -> Rupiah {
    let Decision::Grant(Grant { effect, .. }) = decision else {
        return Rupiah::ZERO;
    };
    let price = input.purchase.as_ref();
    let total = price.map_or(0, |purchase| purchase.total);
    let months = price.map_or(1, |purchase| purchase.term.months);
    match effect {
        Effect::Credit(amount) => Rupiah::new(*amount),
        Effect::Discount(amount) => Rupiah::new((*amount).min(total)),
        Effect::FreePeriods(free) => {
            let free = i64::from(months.min(*free));
            let share = Rupiah::new(total).share(free, months.into());
            share.unwrap_or(Rupiah::ZERO)
        }
    }
}

/// The reason, or why it was refused.
pub(super) fn in_words(decision: &Decision) -> String {
    match decision {
        Decision::Grant(grant) => grant.reason.clone(),
        Decision::Refuse(refusal) => format!("{}: {}", refusal.code, refusal.message),
    }
}
