//! Findings of one pass over an instance.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Cause, Desired, Instance, Status};
use crate::{
    cluster::{ClaimRef, ObjectRef, Rollout},
    plugins::Decision,
    provisioning::{contest::Contest, finality::Refusal, health::Finding},
};

/// A failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provisioning) struct Failure {
    pub cause: Cause,
    /// Failures in a row of this cause, this one included.
    pub times: i64,
}

impl Failure {
    /// Counts one more failure; another cause begins at one.
    pub(in crate::provisioning) fn again(seen: &Instance, cause: Cause) -> Self {
        let earlier = match seen.failure_cause {
            Some(earlier) if earlier == cause => seen.failures,
            _ => 0,
        };
        Self {
            cause,
            times: earlier.saturating_add(1),
        }
    }
}

/// State of an instance that restarts did not mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provisioning) enum GivenUp {
    No,
    Lasts,
    /// It is well again.
    Over,
}

/// Findings of one pass over an instance.
#[derive(Debug, Clone)]
pub(in crate::provisioning) struct NewStatus {
    pub status: Status,
    pub message: String,
    /// Objects that may exist in the cluster for this instance.
    pub applied: Vec<ObjectRef>,
    /// Claims that hold its data.
    pub claims: Vec<ClaimRef>,
    /// Description of the claim that is lost, for administrators.
    pub lost: Option<String>,
    /// A rendering that differs from the last one recorded.
    pub decision: Option<Decision>,
    /// True when its desired state has been applied in full.
    pub is_applied: bool,
    /// Present when the attempt failed; it is tried again later and later.
    pub failure: Option<Failure>,
    /// The refusals in a row, this one included.
    pub refusal: Option<Refusal>,
    /// Progress of its workloads.
    pub rollout: Rollout,
    /// Reason that a change is given up, for its owner.
    pub unproven: Option<String>,
    pub contest: Contest,
    /// Fault in words for administrators; absent when nothing is wrong, and when a status of the
    /// whole server says it.
    pub trouble: Option<String>,
    /// The message in words for administrators, where they differ and nothing is wrong.
    pub detail: Option<String>,
    /// Fields that another controller changed, in words for administrators.
    pub contested: Option<String>,
    /// Health as the live objects show it; absent when they were not looked at.
    pub finding: Option<Finding>,
    pub given_up: GivenUp,
    /// True when everything was applied and nothing of earlier releases is left to take back.
    pub is_complete: bool,
    /// True when only the clock asks for the next look.
    pub rests: bool,
    /// Time until the next look.
    pub after: Duration,
}

/// Time of a change that is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::provisioning) struct RolloutTime {
    /// Moment from which its time counts.
    pub(in crate::provisioning) since: Option<DateTime<Utc>>,
    /// Begin of the time that does not count, while that lasts.
    pub(in crate::provisioning) held_since: Option<DateTime<Utc>>,
    /// Moment at which it began, which no hold moves on.
    pub(in crate::provisioning) begun_at: Option<DateTime<Utc>>,
}

impl NewStatus {
    /// Returns true when nothing is under way, so that the same objects lead to the same status.
    pub(in crate::provisioning) const fn is_settled(&self) -> bool {
        let is_at_rest = matches!(self.status, Status::Running | Status::Stopped);
        let is_rolling = matches!(self.rollout, Rollout::UnderWay(_) | Rollout::Stalled(_));
        is_at_rest
            && !is_rolling
            && self.is_applied
            && self.failure.is_none()
            && self.trouble.is_none()
    }

    /// Returns true when nothing of an instance is left to be done or to be awaited.
    pub(in crate::provisioning) fn is_at_rest(&self, seen: &Instance) -> bool {
        let is_as_desired = match seen.desired {
            Desired::Running => self.status == Status::Running,
            Desired::Stopped => self.status == Status::Stopped,
            Desired::Terminated => false,
        };
        is_as_desired
            && self.is_settled()
            && self.is_complete
            && self.contest == Contest::default()
            && seen.unproven_generation.is_none()
    }

    /// Returns true when its workloads are as applied and it is well.
    pub(in crate::provisioning) fn is_proven(&self) -> bool {
        let is_well = match self.status {
            Status::Running => self.rollout == Rollout::Complete,
            status => status == Status::Written,
        };
        is_well && self.is_applied
    }

    /// Returns the time of a change that is not proven. Time in which the cluster or the host is away
    /// does not count, and none does while the instance is stopped.
    pub(in crate::provisioning) fn rollout_time(
        &self,
        seen: &Instance,
        now: DateTime<Utc>,
    ) -> RolloutTime {
        let cause = self.failure.map(|failure| failure.cause);
        let is_on_hold = matches!(cause, Some(Cause::Away | Cause::Host | Cause::DataLost));
        let is_under_way = seen.unproven_generation.is_some()
            && seen.desired == Desired::Running
            && !self.is_proven();
        let held_since = seen.rollout_held_since.map(|since| since.min(now));
        match (is_under_way, is_on_hold) {
            (false, _) => RolloutTime::default(),
            (true, true) => RolloutTime {
                since: seen.rollout_since,
                held_since: Some(held_since.unwrap_or(now)),
                begun_at: seen.rollout_begun_at,
            },
            (true, false) => {
                let held = held_since.map_or(TimeDelta::zero(), |since| now - since);
                let since = seen.rollout_since.map_or(now, |since| since + held);
                // A begin without a time is of an earlier change: a server of the release before cleared the time alone.
                let begun_at = seen
                    .rollout_since
                    .map_or(now, |since| seen.rollout_begun_at.unwrap_or(since).min(now));
                RolloutTime {
                    since: Some(since.min(now)),
                    held_since: None,
                    begun_at: Some(begun_at),
                }
            }
        }
    }

    /// Returns true when the generation that was seen will never be set up.
    pub(in crate::provisioning) fn is_final(&self, now: DateTime<Utc>) -> bool {
        let refusal = self.refusal.as_ref();
        self.unproven.is_some() || refusal.is_some_and(|refusal| refusal.is_final(now))
    }
}
