//! Progress of workloads towards what was applied, by their conditions.

use std::collections::HashMap;

use dermaga_runtime::gate::storage_bytes;
use serde_json::Value;

use super::{diagnosis::condition, growth::wanted_sizes, object::VOLUME_CLAIM, reading::number};

/// Progress of the workloads and volumes of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rollout {
    /// It was not looked at.
    #[default]
    Unknown,
    /// Something is not yet as applied, in words for its owner.
    UnderWay(String),
    /// Everything is as applied.
    Complete,
    /// The cluster gave up, in words for its owner.
    Stalled(String),
}

impl Rollout {
    /// Judges the progress of observed objects towards what was applied.
    pub fn of(observed: &[Value], manifests: &[Value]) -> Self {
        let sizes = wanted_sizes(manifests);
        let mut under_way = None;
        for object in observed {
            match Self::of_object(object, &sizes) {
                stalled @ Self::Stalled(_) => return stalled,
                waiting @ Self::UnderWay(_) => {
                    under_way.get_or_insert(waiting);
                }
                Self::Complete | Self::Unknown => {}
            }
        }
        under_way.unwrap_or(Self::Complete)
    }

    fn of_object(object: &Value, sizes: &HashMap<String, u128>) -> Self {
        match object.get("kind").and_then(Value::as_str) {
            Some("Deployment") => of_deployment(object),
            Some("StatefulSet") => of_stateful_set(object),
            Some(VOLUME_CLAIM) => of_claim(object, sizes),
            _ => Self::Complete,
        }
    }
}

/// Number of pods that are wanted: one, where nothing is said.
fn wanted(workload: &Value) -> i64 {
    let replicas = workload.pointer("/spec/replicas");
    replicas.and_then(Value::as_i64).unwrap_or(1)
}

fn is_seen(workload: &Value) -> bool {
    number(workload, "/status/observedGeneration") >= number(workload, "/metadata/generation")
}

fn waiting(have: i64, want: i64) -> Rollout {
    Rollout::UnderWay(match want {
        1 => format!("{have} of 1 copy is new and ready."),
        _ => format!("{have} of {want} copies are new and ready."),
    })
}

fn of_deployment(workload: &Value) -> Rollout {
    let want = wanted(workload);
    let [updated, available, all] = ["updatedReplicas", "availableReplicas", "replicas"]
        .map(|field| number(workload, &format!("/status/{field}")));
    if !is_seen(workload) {
        return waiting(0, want);
    }
    let gave_up = condition(workload, "Progressing", "False");
    let reason = gave_up.and_then(|condition| condition.get("reason")?.as_str());
    if reason == Some("ProgressDeadlineExceeded") {
        let message = "It did not become ready in time.";
        return Rollout::Stalled(message.to_owned());
    }
    // More pods than updated ones: some of the old template still run.
    if updated < want || available < want || all > updated {
        return waiting(updated.min(available), want);
    }
    Rollout::Complete
}

fn of_stateful_set(workload: &Value) -> Rollout {
    let want = wanted(workload);
    let [updated, ready] = ["updatedReplicas", "readyReplicas"]
        .map(|field| number(workload, &format!("/status/{field}")));
    let revision = |field: &str| workload.pointer(&format!("/status/{field}"));
    let is_new = revision("updateRevision") == revision("currentRevision") || updated >= want;
    if is_seen(workload) && is_new && ready >= want {
        return Rollout::Complete;
    }
    let have = if is_new { ready } else { updated.min(ready) };
    waiting(have, want)
}

/// A claim that is bound and smaller than the manifests want is still growing. One that was asked to
/// grow for a change that is undone asks for more than that, and may never have it.
fn of_claim(claim: &Value, sizes: &HashMap<String, u128>) -> Rollout {
    let capacity = claim.pointer("/status/capacity/storage");
    let name = claim.pointer("/metadata/name").and_then(Value::as_str);
    let is_bound = claim.pointer("/status/phase").and_then(Value::as_str) == Some("Bound");
    let wanted = name.and_then(|name| sizes.get(name));
    match (wanted, capacity.and_then(storage_bytes)) {
        (Some(wanted), Some(has)) if is_bound && has < *wanted => {
            Rollout::UnderWay("Its volume is still growing.".to_owned())
        }
        _ => Rollout::Complete,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(status: &Value) -> Value {
        json!({"kind": "Deployment", "metadata": {"generation": 3}, "spec": {"replicas": 2}, "status": status})
    }

    #[test]
    fn one_copy_is_told_as_one() {
        for (want, told) in [
            (1, "0 of 1 copy is new and ready."),
            (2, "0 of 2 copies are new and ready."),
        ] {
            assert_eq!(waiting(0, want), Rollout::UnderWay(told.to_owned()));
        }
    }

    #[test]
    fn a_deployment_is_complete_when_every_pod_is_new_and_available() {
        let seen = |generation, updated, available, all| {
            Rollout::of(
                &[deployment(&json!({
                    "observedGeneration": generation, "updatedReplicas": updated,
                    "availableReplicas": available, "replicas": all,
                }))],
                &[],
            )
        };
        assert_eq!(seen(3, 2, 2, 2), Rollout::Complete);
        for waiting in [
            seen(2, 2, 2, 2),
            seen(3, 1, 2, 3),
            seen(3, 2, 1, 2),
            seen(3, 2, 2, 3),
        ] {
            assert!(matches!(waiting, Rollout::UnderWay(_)), "{waiting:?}");
        }
        let late = json!({"observedGeneration": 3, "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
        ]});
        assert!(matches!(
            Rollout::of(&[deployment(&late)], &[]),
            Rollout::Stalled(_)
        ));
    }

    #[test]
    fn a_stateful_set_is_complete_when_it_is_at_its_new_revision() {
        let seen = |current: &str, updated, ready| {
            Rollout::of(
                &[
                    json!({"kind": "StatefulSet", "metadata": {"generation": 1}, "spec": {"replicas": 2}, "status": {
                        "observedGeneration": 1, "currentRevision": current, "updateRevision": "b",
                        "updatedReplicas": updated, "readyReplicas": ready,
                    }}),
                ],
                &[],
            )
        };
        assert_eq!(seen("b", 0, 2), Rollout::Complete);
        assert_eq!(seen("a", 2, 2), Rollout::Complete);
        for waiting in [seen("a", 1, 2), seen("b", 2, 1)] {
            assert!(matches!(waiting, Rollout::UnderWay(_)), "{waiting:?}");
        }
    }

    #[test]
    fn a_bound_claim_grows_until_it_has_what_was_asked() {
        let asking = |size: &str| {
            json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
                "spec": {"resources": {"requests": {"storage": size}}}})
        };
        let with = |wanted: &str, phase: &str, has: &str| {
            let mut live = asking("2Gi");
            live["status"] = json!({"phase": phase, "capacity": {"storage": has}});
            Rollout::of(&[live], &[asking(wanted)])
        };
        let claim = |phase: &str, has: &str| with("2Gi", phase, has);
        assert!(matches!(claim("Bound", "1Gi"), Rollout::UnderWay(_)));
        assert_eq!(claim("Bound", "2048Mi"), Rollout::Complete);
        assert_eq!(claim("Pending", "1Gi"), Rollout::Complete);
        // The growth for an undone change is not waited for.
        assert_eq!(with("1Gi", "Bound", "1Gi"), Rollout::Complete);
    }
}
