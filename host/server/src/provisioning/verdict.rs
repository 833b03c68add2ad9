//! From what a pass met to what the instance is, in words for its owner.

use std::{path::Path, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::contract::{Health, HealthState};
use serde_json::Value;

use super::{
    model::{Desired, Instance, Status, Verdict},
    provisioner::ProvisionError,
    retry::{back_off, slowly},
};
use crate::{
    Code, Error,
    cluster::{ClusterError, ObjectRef, diagnose},
};

/// Something is under way: the watch tells most changes, this finds the rest.
const SOON: Duration = Duration::from_secs(3);
/// What has been under way for long is looked at less often.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);
const LATER: Duration = Duration::from_secs(30);
/// A removal that takes longer says what is left.
const REMOVAL_IS_SLOW: TimeDelta = TimeDelta::minutes(1);

/// What was learned about `seen` in a pass that began at `now`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) seen: &'a Instance,
    pub(super) now: DateTime<Utc>,
    pub(super) resync: Duration,
}

impl Judge<'_> {
    fn verdict(&self, status: Status, message: impl Into<String>, after: Duration) -> Verdict {
        Verdict {
            status,
            message: message.into(),
            applied: self.seen.applied.0.clone(),
            decision: None,
            is_applied: false,
            is_failure: false,
            after,
        }
    }

    fn applied(&self, status: Status, message: impl Into<String>, after: Duration) -> Verdict {
        Verdict {
            is_applied: true,
            ..self.verdict(status, message, after)
        }
    }

    fn soon(&self) -> Duration {
        if self.now - self.seen.updated_at > PATIENCE {
            LATER
        } else {
            SOON
        }
    }

    /// What the plugin says of the observed objects; while it waits, what the cluster says of them.
    pub(super) fn healthy(
        &self,
        health: &Health,
        observed: &[Value],
        left_out: &[ObjectRef],
    ) -> Verdict {
        let message = || health.message.clone();
        let mut verdict = match health.state {
            HealthState::Starting => self.applied(
                Status::Provisioning,
                diagnose(observed).unwrap_or_else(message),
                self.soon(),
            ),
            HealthState::Ready => self.applied(Status::Running, message(), self.resync),
            HealthState::Degraded => self.applied(Status::Degraded, message(), self.soon()),
            HealthState::Failed => self.applied(Status::Failed, message(), self.soon()),
        };
        if !left_out.is_empty() {
            let names: Vec<_> = left_out.iter().map(ToString::to_string).collect();
            verdict.message += &format!(
                " This cluster does not know some kinds, so left out: {}.",
                names.join(", ")
            );
        }
        verdict
    }

    pub(super) fn written(&self, folder: &Path) -> Verdict {
        let status = if self.seen.desired == Desired::Stopped {
            Status::Stopped
        } else {
            Status::Running
        };
        self.applied(
            status,
            format!("Manifests written to {}.", folder.display()),
            self.resync,
        )
    }

    pub(super) fn stopped(&self, has_pods: bool) -> Verdict {
        if has_pods {
            return self.applied(
                self.seen.status,
                "Stopping: waiting for its pods to end.",
                SOON,
            );
        }
        self.applied(Status::Stopped, "Stopped. Its data is kept.", self.resync)
    }

    pub(super) fn leaving(&self, remaining: &[String]) -> Verdict {
        let is_slow = self.now - self.seen.updated_at > REMOVAL_IS_SLOW;
        let message = if is_slow {
            format!(
                "Its removal takes long. Still there: {}.",
                remaining.join(", ")
            )
        } else {
            self.seen.message.clone()
        };
        self.verdict(
            Status::Terminating,
            message,
            if is_slow { LATER } else { SOON },
        )
    }

    pub(super) fn gone(&self) -> Verdict {
        let verdict = self.applied(
            Status::Terminated,
            "Removed, with everything it had.",
            self.resync,
        );
        Verdict {
            applied: Vec::new(),
            ..verdict
        }
    }

    /// The plugin or the gate says no: only another version or configuration mends that.
    pub(super) fn refused(&self, message: String) -> Verdict {
        let verdict = self.verdict(
            Status::Failed,
            message,
            slowly(self.seen.id, self.seen.failures),
        );
        Verdict {
            is_failure: true,
            ..verdict
        }
    }

    /// The host could not do its part.
    pub(super) fn host_failed(&self, error: &Error) -> Verdict {
        match error.code {
            Code::PluginFailed | Code::PluginUnavailable | Code::NotFound => {
                self.refused(error.message.clone())
            }
            Code::PluginBusy
            | Code::PluginSuspended
            | Code::Unavailable
            | Code::ClusterUnavailable => self.retry(error.message.clone()),
            _ => {
                tracing::error!(instance.id = %self.seen.id, %error, cause = ?error.source, "instance.pass_failed");
                self.retry("Something went wrong on our side. We keep trying.".to_owned())
            }
        }
    }

    pub(super) fn provisioning_failed(&self, error: &ProvisionError) -> Verdict {
        let ProvisionError::Cluster(cluster) = error else {
            return self.broken(sentence(&error.to_string()));
        };
        match cluster {
            ClusterError::Unreachable(_) | ClusterError::NotConfigured(_) => {
                tracing::debug!(instance.id = %self.seen.id, %error, "instance.cluster_away");
                self.retry(self.while_away().to_owned())
            }
            ClusterError::NotYet(reason) => self.retry(sentence(reason)),
            ClusterError::Denied(_)
            | ClusterError::NotOurs { .. }
            | ClusterError::Refused { .. } => self.broken(sentence(&cluster.to_string())),
        }
    }

    /// What a cluster that does not answer means for this instance.
    fn while_away(&self) -> &'static str {
        match (self.seen.desired, self.seen.ready_at) {
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

    pub(super) fn took_too_long(&self, limit: Duration) -> Verdict {
        self.retry(format!(
            "The cluster took more than {} s. We keep trying.",
            limit.as_secs()
        ))
    }

    /// Nothing is wrong with the instance: it stays what it is.
    fn retry(&self, message: String) -> Verdict {
        let failures = self.seen.failures.saturating_add(1);
        let verdict = self.verdict(self.seen.status, message, back_off(self.seen.id, failures));
        Verdict {
            is_failure: true,
            ..verdict
        }
    }

    /// Something is wrong with it: what ran before may still run.
    fn broken(&self, message: String) -> Verdict {
        let status = match (self.seen.desired, self.seen.ready_at) {
            (Desired::Terminated, _) => Status::Terminating,
            (_, Some(_)) => Status::Degraded,
            (_, None) => Status::Failed,
        };
        Verdict {
            status,
            ..self.retry(message)
        }
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let rest = letters.as_str().trim_end_matches('.');
    first.chain(rest.chars()).chain(['.']).collect()
}
