//! Finding of a pass about the health of an instance, from the plugin's answer and the cluster.

use dermaga_runtime::contract::{Health, HealthState};
use serde_json::Value;

use super::InstanceHealth;
use crate::{
    cluster::{Obstacle, ObstacleKind, SilentWorkload, diagnose, hangs},
    provisioning::model::{Cause, Desired, Instance, NewStatus, Status},
};

/// Meaning of a finding for the attempts to mend the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provisioning) enum Ground {
    Well,
    /// A restart may mend it.
    Ailing,
    /// It comes up, or changes between two faults.
    ComingUp,
    /// Not well, and no restart mends that: no image, no room, no answer from the cluster.
    NoUse,
    /// Not wanted to run.
    Halted,
}

/// Health as one pass found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::provisioning) struct Finding {
    pub(super) state: InstanceHealth,
    pub(super) ground: Ground,
    /// Reason in words for its owner.
    pub(super) reason: String,
    /// Reason in words for administrators.
    pub(super) detail: String,
    /// Workloads that may be made again.
    pub(super) silent: Vec<SilentWorkload>,
}

impl Finding {
    /// Examines the live objects beside the plugin's answer.
    pub(in crate::provisioning) fn examine(health: &Health, observed: &[Value]) -> Self {
        let obstacle = match health.state {
            HealthState::Ready => None,
            _ => diagnose(observed),
        };
        let kind = obstacle.as_ref().map(|obstacle| obstacle.kind);
        let ground = ground(health.state, kind, observed);
        let reason = match (&obstacle, health.state) {
            // The plugin knows its service better.
            (Some(obstacle), HealthState::Starting) => obstacle.message.clone(),
            _ => health.message.clone(),
        };
        let detail = obstacle.map_or_else(|| reason.clone(), |Obstacle { detail, .. }| detail);
        Self {
            state: state(health.state, kind),
            ground,
            reason,
            detail,
            silent: SilentWorkload::among(observed),
        }
    }

    /// Adds a sentence for administrators.
    pub(in crate::provisioning) fn note(&mut self, sentence: &str) {
        self.detail = format!("{} {sentence}", self.detail)
            .trim_start()
            .to_owned();
    }

    /// Returns the finding of a pass, also of one that saw nothing new or failed.
    pub(in crate::provisioning) fn of(seen: &Instance, new_status: &NewStatus) -> Self {
        if let Some(finding) = &new_status.finding {
            return finding.clone();
        }
        let is_away = new_status.failure.map(|failure| failure.cause) == Some(Cause::Away);
        let (state, ground) = match new_status.status {
            _ if seen.desired != Desired::Running => (InstanceHealth::Stopped, Ground::Halted),
            _ if is_away => (InstanceHealth::Unknown, Ground::NoUse),
            Status::Running => (InstanceHealth::Healthy, Ground::Well),
            Status::Written => (InstanceHealth::Unknown, Ground::Halted),
            Status::Pending | Status::Provisioning => (InstanceHealth::Starting, Ground::NoUse),
            Status::Degraded => (InstanceHealth::Degraded, Ground::NoUse),
            Status::Failed => (InstanceHealth::Failed, Ground::NoUse),
            Status::Stopped | Status::Terminating | Status::Terminated => {
                (InstanceHealth::Stopped, Ground::Halted)
            }
        };
        let NewStatus {
            trouble,
            lost,
            detail,
            ..
        } = new_status;
        let words = trouble.as_ref().or(lost.as_ref()).or(detail.as_ref());
        Self {
            state,
            ground,
            reason: new_status.message.clone(),
            detail: words.unwrap_or(&new_status.message).clone(),
            silent: Vec::new(),
        }
    }
}

fn ground(health: HealthState, obstacle: Option<ObstacleKind>, observed: &[Value]) -> Ground {
    match (health, obstacle) {
        (HealthState::Ready, _) => Ground::Well,
        (_, Some(ObstacleKind::Image | ObstacleKind::NoRoom)) => Ground::NoUse,
        _ if observed.iter().any(is_lost_claim) => Ground::NoUse,
        (_, Some(ObstacleKind::CrashLoop | ObstacleKind::NotStarted))
        | (HealthState::Failed, None) => Ground::Ailing,
        (HealthState::Starting | HealthState::Degraded, None) if hangs(observed) => Ground::Ailing,
        (HealthState::Starting, None) => Ground::ComingUp,
        (HealthState::Degraded, None) if SilentWorkload::among(observed).is_empty() => {
            Ground::NoUse
        }
        (HealthState::Degraded, None) => Ground::ComingUp,
    }
}

fn state(health: HealthState, obstacle: Option<ObstacleKind>) -> InstanceHealth {
    match (health, obstacle) {
        (HealthState::Ready, _) => InstanceHealth::Healthy,
        (HealthState::Failed, _)
        | (_, Some(ObstacleKind::Image | ObstacleKind::CrashLoop | ObstacleKind::NotStarted)) => {
            InstanceHealth::Failed
        }
        (HealthState::Degraded, _) => InstanceHealth::Degraded,
        (HealthState::Starting, _) => InstanceHealth::Starting,
    }
}

fn is_lost_claim(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("PersistentVolumeClaim")
        && object.pointer("/status/phase").and_then(Value::as_str) == Some("Lost")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn examined(state: HealthState, observed: &[Value]) -> Finding {
        let message = "It does not answer.".to_owned();
        Finding::examine(&Health { state, message }, observed)
    }

    fn workload(ready: i64) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "uid": "u", "generation": 1},
            "spec": {"replicas": 1}, "status": {"observedGeneration": 1, "readyReplicas": ready},
        })
    }

    fn waiting(reason: &str) -> Value {
        json!({"kind": "Pod", "metadata": {"name": "a"}, "status": {"containerStatuses": [
            {"name": "app", "image": "a:1", "state": {"waiting": {"reason": reason}}},
        ]}})
    }

    #[test]
    fn a_crash_loop_and_a_silent_process_ail_and_a_missing_image_or_room_does_not() {
        let unscheduled = json!({"kind": "Pod", "status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes fit"},
        ]}});
        let silent = json!({"kind": "Pod", "metadata": {"name": "a"}, "status": {
            "containerStatuses": [{"name": "app", "state": {"running": {}}, "started": true}],
            "conditions": [{"type": "Ready", "status": "False"}],
        }});
        let lost = json!({"kind": "PersistentVolumeClaim", "status": {"phase": "Lost"}});
        for state in [
            HealthState::Starting,
            HealthState::Degraded,
            HealthState::Failed,
        ] {
            for (pod, ground) in [
                (waiting("CrashLoopBackOff"), Ground::Ailing),
                (waiting("CreateContainerError"), Ground::Ailing),
                (silent.clone(), Ground::Ailing),
                (waiting("ImagePullBackOff"), Ground::NoUse),
                (unscheduled.clone(), Ground::NoUse),
                (lost.clone(), Ground::NoUse),
            ] {
                let finding = examined(state, &[workload(0), pod.clone()]);
                assert_eq!(finding.ground, ground, "{state:?} {pod}");
            }
        }
        let creating = waiting("ContainerCreating");
        let finding = examined(HealthState::Starting, &[workload(0), creating]);
        assert_eq!(finding.ground, Ground::ComingUp);
        // One of two replicas still answers.
        let finding = examined(HealthState::Degraded, &[workload(1), silent]);
        assert_eq!(finding.ground, Ground::NoUse);
    }

    #[test]
    fn a_crash_loop_is_failed_with_its_reason_whatever_the_plugin_calls_it() {
        let finding = examined(HealthState::Starting, &[waiting("CrashLoopBackOff")]);
        assert_eq!(finding.state, InstanceHealth::Failed);
        assert!(
            finding.reason.contains("stops again and again"),
            "{finding:?}"
        );
        let finding = examined(HealthState::Ready, &[]);
        assert_eq!(
            (finding.state, finding.ground),
            (InstanceHealth::Healthy, Ground::Well)
        );
    }
}
