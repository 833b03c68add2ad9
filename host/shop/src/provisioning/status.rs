//! Status of an instance from the findings of a pass, in words for its owner.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::contract::{Health, HealthState};
use serde_json::Value;

use super::{
    contest::Contest,
    finality::{Refusal, RefusedBy},
    health::Finding,
    model::{Cause, Desired, Failure, GivenUp, Instance, NewStatus, Status},
    provisioner::ProvisionError,
    retry::{after_refusal, back_off, slowly},
};
use crate::{
    Code, Error,
    cluster::{ClusterError, Contested, ObjectRef, Obstacle, Rollout, diagnose},
    plugins,
    text::counted,
};

/// Time to the next look while a change is under way, for changes that the watch misses.
const SOON: Duration = Duration::from_secs(3);
/// Time after which a change under way is looked at less often.
const SLOW_AFTER: TimeDelta = TimeDelta::minutes(10);
const LATER: Duration = Duration::from_secs(30);
/// Duration of a removal after which the message says so, and administrators read the remaining objects.
const REMOVAL_IS_SLOW: TimeDelta = TimeDelta::minutes(1);

/// Attempts without room that are no fault yet: about a minute of them.
const ROOM_TRIES: i64 = 6;

// Texts for customers. Paths, and sentences of Kubernetes, are for administrators.
const WRITTEN: &str = "Your service is prepared and waits to be put into operation.";
pub(super) const WRITTEN_STOPPED: &str =
    "Its stop is prepared and waits to be carried out. Its data is kept.";
const NOT_WRITTEN: &str =
    "Your service could not be prepared. We keep trying, and an administrator knows.";
const REFUSED: &str =
    "The cluster does not accept your service. We keep trying, and an administrator knows.";
const NO_ROOM: &str =
    "The cluster has no room for your service yet. We keep trying, and an administrator knows.";
const DATA_LOST: &str =
    "The data of your service is missing. It is not started without it; an administrator knows.";
const NOT_YET: &str = "Something is still under way in the cluster. We try again in a moment.";
const REMOVAL_TAKES_LONG: &str = "Its removal takes long. We keep at it until everything is gone.";

/// Decides the status of `seen` in a pass that began at `now`.
#[derive(Debug, Clone, Copy)]
pub(super) struct StatusDecider<'a> {
    pub(super) seen: &'a Instance,
    pub(super) now: DateTime<Utc>,
    pub(super) resync: Duration,
}

impl StatusDecider<'_> {
    fn new_status(&self, status: Status, message: impl Into<String>, after: Duration) -> NewStatus {
        // An earlier generation may have been refused for what this one mends.
        let generation = self.seen.generation;
        let refusal = self.seen.refusal.as_deref();
        let refusal = refusal.filter(|one| one.is_of(generation)).cloned();
        NewStatus {
            status,
            message: message.into(),
            applied: self.seen.applied.0.clone(),
            claims: self.seen.claims.0.clone(),
            lost: None,
            decision: None,
            is_applied: false,
            failure: None,
            refusal,
            rollout: Rollout::Unknown,
            unproven: None,
            contest: Contest::of(self.seen),
            trouble: None,
            detail: None,
            contested: None,
            finding: None,
            given_up: GivenUp::No,
            is_complete: false,
            rests: false,
            after,
        }
    }

    fn applied(&self, status: Status, message: impl Into<String>, after: Duration) -> NewStatus {
        NewStatus {
            is_applied: true,
            refusal: None,
            ..self.new_status(status, message, after)
        }
    }

    fn soon(&self) -> Duration {
        // The time of an outage says nothing about the change that continues after it.
        let is_after_failure = self.seen.failure_cause.is_some();
        if !is_after_failure && self.now - self.seen.updated_at > SLOW_AFTER {
            LATER
        } else {
            SOON
        }
    }

    /// Takes the status from the plugin's answer; while that one waits, the cause from the cluster.
    pub(super) fn healthy(
        &self,
        health: &Health,
        observed: &[Value],
        (manifests, left_out): (&[Value], &[ObjectRef]),
    ) -> NewStatus {
        let rollout = Rollout::of(observed, manifests);
        let message = || health.message.clone();
        let mut new_status = match health.state {
            HealthState::Starting => self.starting(diagnose(observed), message()),
            HealthState::Ready => self.applied(Status::Running, message(), self.resync),
            HealthState::Degraded => self.applied(Status::Degraded, message(), self.soon()),
            HealthState::Failed => NewStatus {
                trouble: Some(health.message.clone()),
                ..self.applied(Status::Failed, message(), self.soon())
            },
        };
        let mut finding = Finding::examine(health, observed);
        if !left_out.is_empty() {
            let names: Vec<_> = left_out.iter().map(ToString::to_string).collect();
            finding.note(&format!(
                "This cluster does not know some kinds, so left out: {}.",
                names.join(", ")
            ));
        }
        new_status.finding = Some(finding);
        self.rolled_out(new_status, rollout)
    }

    /// Adds the progress of a change that is not proven to work yet.
    fn rolled_out(&self, new_status: NewStatus, rollout: Rollout) -> NewStatus {
        if self.seen.unproven_generation.is_none() {
            // An instance that was proven may lose a pod, which is no progress to wait for.
            let is_complete = rollout == Rollout::Complete;
            let rollout = if is_complete {
                rollout
            } else {
                Rollout::Unknown
            };
            return NewStatus {
                rollout,
                ..new_status
            };
        }
        let message = match &rollout {
            Rollout::UnderWay(progress) if new_status.status == Status::Running => {
                format!("The change is being rolled out: {progress}")
            }
            _ => new_status.message.clone(),
        };
        let is_proven = rollout == Rollout::Complete && new_status.status == Status::Running;
        let after = if is_proven {
            new_status.after
        } else {
            new_status.after.min(self.soon())
        };
        NewStatus {
            rollout,
            message,
            after,
            ..new_status
        }
    }

    /// Abandons a change that was not proven to work in time.
    /// Only an instance that was delivered before has something to go back to.
    pub(super) fn within(&self, limit: Duration, new_status: NewStatus) -> NewStatus {
        let is_judged = self.seen.unproven_generation.is_some()
            && self.seen.desired == Desired::Running
            && self.seen.delivered_at.is_some()
            && !new_status.is_proven();
        if !is_judged {
            return new_status;
        }
        // The cluster has a clock of its own, by which outages and pulls of images count.
        if !self.is_too_late(limit, &new_status) {
            return new_status;
        }
        let reason = match &new_status.rollout {
            Rollout::Stalled(reason) => reason.clone(),
            _ => format!(
                "It was not ready within {}. {}",
                counted(limit.as_secs() / 60, "minute"),
                new_status.message
            ),
        };
        NewStatus {
            unproven: Some(reason),
            ..new_status
        }
    }

    fn is_too_late(&self, limit: Duration, new_status: &NewStatus) -> bool {
        let limit = TimeDelta::from_std(limit).unwrap_or(TimeDelta::MAX);
        let time = new_status.rollout_time(self.seen, self.now);
        let is_counted = time.held_since.is_none();
        is_counted && time.since.is_some_and(|since| self.now - since >= limit)
    }

    /// Status while not ready yet. A first start that takes long is a fault, whatever keeps it.
    fn starting(&self, obstacle: Option<Obstacle>, message: String) -> NewStatus {
        let is_late =
            self.seen.delivered_at.is_none() && self.now - self.seen.created_at > SLOW_AFTER;
        let (message, detail) = match obstacle {
            Some(Obstacle {
                message, detail, ..
            }) => (message, detail),
            None => (message.clone(), message),
        };
        NewStatus {
            trouble: is_late.then_some(detail),
            ..self.applied(Status::Provisioning, message, self.soon())
        }
    }

    /// Counts the corrected fields, and looks again later and later.
    pub(super) fn contested(&self, new_status: NewStatus, fields: &[Contested]) -> NewStatus {
        let contest = Contest::of(self.seen).after(!fields.is_empty(), self.now);
        let after = contest
            .wait(self.now)
            .map_or(new_status.after, |wait| new_status.after.min(wait));
        let contested = fields.first().map(ToString::to_string);
        NewStatus {
            contest,
            contested: contested.filter(|_| contest.is_fight()),
            after,
            ..new_status
        }
    }

    /// Status when nothing changed since it was decided.
    pub(super) fn unchanged(&self) -> NewStatus {
        self.applied(self.seen.status, self.seen.message.clone(), self.resync)
    }

    /// Status of an instance in a folder, where values of secrets are never written: the Secret is made by
    /// hand, or from a store.
    pub(super) fn written(&self, secrets: &[String], store: Option<String>) -> NewStatus {
        if self.seen.desired == Desired::Stopped {
            let detail = "Stopped in its manifests, which wait to be applied.";
            return NewStatus {
                detail: Some(detail.to_owned()),
                ..self.applied(Status::Stopped, WRITTEN_STOPPED, self.resync)
            };
        }
        let secret = self.seen.secret_object();
        let detail = match store {
            _ if secrets.is_empty() => {
                "Its manifests are written and wait to be applied.".to_owned()
            }
            None => format!(
                "Its manifests are written and wait to be applied. The Secret {secret} has to be made by hand."
            ),
            Some(store) => format!(
                "Its manifests are written and wait to be applied. The secret store {store} has to hold {secret}."
            ),
        };
        NewStatus {
            detail: Some(detail),
            ..self.applied(Status::Written, WRITTEN, self.resync)
        }
    }

    pub(super) fn stopped(&self, has_pods: bool) -> NewStatus {
        if has_pods {
            return self.applied(self.seen.status, "Stopping: waiting for it to end.", SOON);
        }
        self.applied(Status::Stopped, "Stopped. Its data is kept.", self.resync)
    }

    /// Status of a removal under way; what remains is for administrators, and becomes a fault once it takes very long.
    pub(super) fn leaving(&self, remaining: &[String]) -> NewStatus {
        let time = self.now - self.seen.updated_at;
        // These words are news, which begins the time again.
        let is_slow = time > REMOVAL_IS_SLOW || self.seen.message == REMOVAL_TAKES_LONG;
        if !is_slow {
            let message = self.seen.message.clone();
            return self.new_status(Status::Terminating, message, SOON);
        }
        let detail = format!(
            "Its removal takes long. Still there: {}.",
            remaining.join(", ")
        );
        NewStatus {
            trouble: (time > SLOW_AFTER).then(|| detail.clone()),
            detail: Some(detail),
            ..self.new_status(Status::Terminating, REMOVAL_TAKES_LONG, LATER)
        }
    }

    pub(super) fn gone(&self) -> NewStatus {
        let new_status = self.applied(
            Status::Terminated,
            "Removed, with everything it had.",
            self.resync,
        );
        NewStatus {
            applied: Vec::new(),
            ..new_status
        }
    }

    /// Status after a refusal by the plugin or the gate: only another version or configuration
    /// mends that. `detail` is for administrators.
    pub(super) fn refused(&self, message: String, detail: String, input: String) -> NewStatus {
        let refusal = self.once_more(RefusedBy::Rendering(input));
        let failure = Failure::again(self.seen, Cause::Refused);
        let after = after_refusal(self.seen.id, failure.times, refusal.is_first());
        NewStatus {
            failure: Some(failure),
            refusal: Some(refusal),
            trouble: Some(detail),
            ..self.new_status(Status::Failed, message, after)
        }
    }

    fn once_more(&self, by: RefusedBy) -> Refusal {
        let earlier = self.seen.refusal.as_deref();
        Refusal::again(earlier, self.seen.generation, by, self.now)
    }

    /// Status when the version cannot be asked here: it is not installed, or does not load.
    fn unavailable(&self, message: String) -> NewStatus {
        let failure = Failure::again(self.seen, Cause::Host);
        let after = slowly(self.seen.id, failure.times);
        NewStatus {
            failure: Some(failure),
            trouble: Some(message.clone()),
            ..self.new_status(Status::Failed, message, after)
        }
    }

    /// Status when the plugin fails to judge what runs. A version that fails in the same way again is
    /// a fault of the change that brought it, not of the host.
    pub(super) fn not_judged(&self, error: &Error) -> NewStatus {
        let new_status = self.host_failed(error);
        if !plugins::repeats(error) {
            return new_status;
        }
        NewStatus {
            failure: Some(Failure::again(self.seen, Cause::Refused)),
            ..new_status
        }
    }

    /// Status after a failure of the host.
    pub(super) fn host_failed(&self, error: &Error) -> NewStatus {
        match error.code {
            Code::PluginFailed | Code::PluginUnavailable | Code::NotFound => {
                self.unavailable(error.message.clone())
            }
            Code::PluginBusy
            | Code::PluginSuspended
            | Code::Unavailable
            | Code::ClusterUnavailable => self.retry(Cause::Host, error.message.clone()),
            _ => {
                tracing::error!(instance.id = %self.seen.id, %error, cause = ?error.source, "instance.pass_failed");
                NewStatus {
                    trouble: Some(format!(
                        "{} Its code is {}. The log has the cause.",
                        error.message, error.code
                    )),
                    ..self.retry(
                        Cause::Host,
                        "Something went wrong on our side. We keep trying.".to_owned(),
                    )
                }
            }
        }
    }

    pub(super) fn provisioning_failed(&self, error: &ProvisionError) -> NewStatus {
        let detail = sentence(&error.to_string());
        let ProvisionError::Cluster(cluster) = error else {
            return self.broken(Cause::Host, NOT_WRITTEN, detail);
        };
        match cluster {
            ClusterError::Unreachable(_) | ClusterError::NotConfigured(_) => {
                tracing::debug!(instance.id = %self.seen.id, %error, "instance.cluster_away");
                self.retry(Cause::Away, self.while_away().to_owned())
            }
            ClusterError::NotYet(reason) => {
                tracing::debug!(instance.id = %self.seen.id, reason, "instance.not_yet");
                self.retry(Cause::NotYet, NOT_YET.to_owned())
            }
            ClusterError::OverQuota { .. } => self.no_room(detail),
            ClusterError::DataLost { .. } => self.data_lost(detail),
            ClusterError::Denied(_) | ClusterError::NotOurs { .. } => {
                self.broken(Cause::Refused, REFUSED, detail)
            }
            ClusterError::Refused { .. } => NewStatus {
                refusal: Some(self.once_more(RefusedBy::Cluster)),
                ..self.broken(Cause::Refused, REFUSED, detail)
            },
        }
    }

    /// Status while a volume claim is not the one that held the data. Looking again mends nothing.
    fn data_lost(&self, detail: String) -> NewStatus {
        let failure = Failure::again(self.seen, Cause::DataLost);
        let after = slowly(self.seen.id, failure.times);
        NewStatus {
            failure: Some(failure),
            lost: Some(detail),
            ..self.new_status(Status::Failed, DATA_LOST, after)
        }
    }

    /// Status while the customer's quota is used up. Purchases at the same moment raise it one after
    /// the other: only a lasting lack of room is a fault.
    fn no_room(&self, detail: String) -> NewStatus {
        let failure = Failure::again(self.seen, Cause::NoRoom);
        if failure.times < ROOM_TRIES {
            tracing::debug!(instance.id = %self.seen.id, detail, "instance.no_room_yet");
            return self.retry(Cause::NoRoom, NOT_YET.to_owned());
        }
        self.broken(Cause::NoRoom, NO_ROOM, detail)
    }

    /// Explains to a customer the effect of a cluster that does not answer.
    fn while_away(&self) -> &'static str {
        match (self.seen.desired, self.seen.delivered_at) {
            (Desired::Terminated, _) => {
                "The cluster does not answer. Your service is removed as soon as it is back."
            }
            (_, None) => {
                "The cluster does not answer. Your service is set up as soon as it is back."
            }
            (_, Some(_)) => {
                "The cluster does not answer. We look at your service again as soon as it is back."
            }
        }
    }

    pub(super) fn took_too_long(&self, limit: Duration) -> NewStatus {
        let message = format!(
            "The cluster took more than {} s. We keep trying.",
            limit.as_secs()
        );
        self.retry(Cause::Away, message)
    }

    /// Keeps the status, as nothing is wrong with the instance.
    fn retry(&self, cause: Cause, message: String) -> NewStatus {
        let failure = Failure::again(self.seen, cause);
        let after = back_off(self.seen.id, failure.times);
        let new_status = self.new_status(self.seen.status, message, after);
        NewStatus {
            failure: Some(failure),
            ..new_status
        }
    }

    /// Status of a fault, while earlier objects may still run. `detail` is for administrators.
    fn broken(&self, cause: Cause, message: &str, detail: String) -> NewStatus {
        let status = match (self.seen.desired, self.seen.delivered_at) {
            (Desired::Terminated, _) => Status::Terminating,
            (_, Some(_)) => Status::Degraded,
            (_, None) => Status::Failed,
        };
        NewStatus {
            status,
            trouble: Some(detail),
            ..self.retry(cause, message.to_owned())
        }
    }
}

/// Makes a sentence of a text that is a part of one.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let rest = letters.as_str().trim_end_matches('.');
    first.chain(rest.chars()).chain(['.']).collect()
}
