//! Judges the health of an instance by its workloads, pods and volumes in the cluster.
//!
//! The worst finding decides for the whole instance, and every finding is a sentence that a
//! customer understands.

mod pod;

use serde_json::Value;

use crate::service::{HealthReport, HealthState};

/// Judges observed objects: the applied ones with their status, and the pods they own.
pub fn judge(observed: &[Value]) -> HealthReport {
    let of_kind = |kind: &'static str| {
        observed
            .iter()
            .filter(move |object| text(object, "/kind") == Some(kind))
    };
    let pods: Vec<&Value> = of_kind("Pod").filter(|pod| !is_leaving(pod)).collect();
    let workloads: Vec<&Value> = of_kind("Deployment")
        .chain(of_kind("StatefulSet"))
        .collect();
    if workloads.is_empty() {
        return report(
            HealthState::Starting,
            "Waiting for the cluster to create it.",
        );
    }
    if workloads.iter().all(|workload| wanted(workload) == 0) {
        return report(HealthState::Starting, "It is stopped.");
    }
    let found = pods
        .iter()
        .filter_map(|pod| pod::finding(pod))
        .chain(of_kind("PersistentVolumeClaim").filter_map(unbound))
        .chain(
            workloads
                .iter()
                .filter_map(|workload| unready(workload, &pods)),
        )
        .min_by_key(|report| urgency(report.state));
    found.unwrap_or_else(|| report(HealthState::Ready, "It is running."))
}

/// Builds a report with a sentence for the customer.
pub fn report(state: HealthState, message: impl Into<String>) -> HealthReport {
    HealthReport {
        state,
        message: message.into(),
    }
}

/// Rank of a state: of several findings, the lowest is reported; of equals, the first.
const fn urgency(state: HealthState) -> u8 {
    match state {
        HealthState::Failed => 0,
        HealthState::Degraded => 1,
        HealthState::Starting => 2,
        HealthState::Ready => 3,
    }
}

/// Returns the reason why a Deployment or StatefulSet is not ready.
fn unready(workload: &Value, pods: &[&Value]) -> Option<HealthReport> {
    let component = component(workload);
    let wanted = wanted(workload);
    let generation = number(workload, "/metadata/generation").unwrap_or(0);
    let observed = number(workload, "/status/observedGeneration").unwrap_or(0);
    let updated = number(workload, "/status/updatedReplicas").unwrap_or(0);
    let ready = number(workload, "/status/readyReplicas").unwrap_or(0);
    if observed < generation || updated < wanted {
        return Some(report(
            HealthState::Starting,
            format!("The {component} is being set up."),
        ));
    }
    if ready >= wanted {
        return None;
    }
    if has_run_before(workload)
        || pods
            .iter()
            .any(|pod| belongs(pod, workload) && pod::was_restarted(pod))
    {
        let message = format!("The {component} was running and does not answer at the moment.");
        return Some(report(HealthState::Degraded, message));
    }
    Some(report(
        HealthState::Starting,
        format!("Waiting for the {component} to answer."),
    ))
}

/// Returns the wanted replicas; Kubernetes defaults to 1.
fn wanted(workload: &Value) -> i64 {
    number(workload, "/spec/replicas").unwrap_or(1)
}

/// Checks for a completed rollout, which a Deployment keeps recording when its pods are lost.
fn has_run_before(workload: &Value) -> bool {
    conditions(workload).any(|condition| {
        text(condition, "/type") == Some("Progressing")
            && text(condition, "/reason") == Some("NewReplicaSetAvailable")
    })
}

fn unbound(claim: &Value) -> Option<HealthReport> {
    match text(claim, "/status/phase") {
        Some("Bound") => None,
        Some("Lost") => Some(report(
            HealthState::Failed,
            "Its storage is lost; please contact support.",
        )),
        _ => Some(report(HealthState::Starting, "Waiting for storage.")),
    }
}

fn is_leaving(pod: &Value) -> bool {
    pod.pointer("/metadata/deletionTimestamp").is_some()
}

/// Returns the component of an object, for example `database`; `service` without a label.
fn component(object: &Value) -> &str {
    label(object, crate::manifest::COMPONENT_LABEL).unwrap_or("service")
}

fn belongs(pod: &Value, workload: &Value) -> bool {
    let name = |object| label(object, crate::manifest::COMPONENT_LABEL);
    name(pod).is_some() && name(pod) == name(workload)
}

fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(key)?.as_str()
}

fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    items(object, "/status/conditions")
}

fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer)?.as_str()
}

fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer)?.as_i64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(status: &Value) -> Value {
        json!({
            "kind": "Deployment",
            "metadata": {"generation": 2, "labels": {"app.kubernetes.io/component": "app"}},
            "spec": {"replicas": 1},
            "status": status,
        })
    }

    fn running(ready: i64) -> Value {
        deployment(&json!({"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": ready}))
    }

    fn pod(container: &Value) -> Value {
        json!({
            "kind": "Pod",
            "metadata": {"labels": {"app.kubernetes.io/component": "app"}},
            "status": {"containerStatuses": [container]},
        })
    }

    fn state(observed: &[Value]) -> HealthState {
        judge(observed).state
    }

    #[test]
    fn nothing_observed_is_not_ready() {
        assert_eq!(state(&[]), HealthState::Starting);
        assert_eq!(state(&[json!({"kind": "Service"})]), HealthState::Starting);
    }

    #[test]
    fn ready_only_when_every_workload_and_volume_is() {
        let bound = json!({"kind": "PersistentVolumeClaim", "status": {"phase": "Bound"}});
        let pending = json!({"kind": "PersistentVolumeClaim", "status": {"phase": "Pending"}});
        assert_eq!(state(&[running(1), bound]), HealthState::Ready);
        assert_eq!(state(&[running(1), running(0)]), HealthState::Starting);
        assert_eq!(
            judge(&[running(1), pending]).message,
            "Waiting for storage."
        );
    }

    #[test]
    fn stopped_is_not_ready() {
        let mut stopped = running(0);
        stopped["spec"]["replicas"] = json!(0);
        assert_eq!(judge(&[stopped]).message, "It is stopped.");
    }

    #[test]
    fn an_update_in_progress_is_starting() {
        let outdated = json!({"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": 1});
        assert_eq!(
            judge(&[deployment(&outdated)]).message,
            "The app is being set up."
        );
    }

    #[test]
    fn once_available_and_now_not_is_degraded() {
        let lost = json!({
            "observedGeneration": 2,
            "updatedReplicas": 1,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
        });
        assert_eq!(state(&[deployment(&lost)]), HealthState::Degraded);
        let restarted = pod(&json!({"name": "web", "restartCount": 1, "state": {"running": {}}}));
        assert_eq!(state(&[running(0), restarted]), HealthState::Degraded);
    }

    #[test]
    fn reasons_of_pods_become_sentences() {
        let waiting = |reason: &str| {
            let container = json!({"name": "web", "image": "example.org/web:1", "state": {"waiting": {"reason": reason}}});
            judge(&[running(0), pod(&container)])
        };
        let crash = waiting("CrashLoopBackOff");
        assert_eq!(crash.state, HealthState::Failed);
        assert_eq!(
            crash.message,
            "The app stops again and again right after it starts."
        );
        let pull = waiting("ImagePullBackOff");
        assert_eq!(pull.state, HealthState::Failed);
        assert_eq!(
            pull.message,
            "The image example.org/web:1 cannot be pulled."
        );
        let misconfigured = waiting("CreateContainerConfigError");
        assert_eq!(misconfigured.state, HealthState::Failed);
        assert_eq!(misconfigured.message, "The app cannot be started.");
        assert_eq!(
            waiting("ContainerCreating").message,
            "Waiting for the app to answer."
        );
    }

    #[test]
    fn running_out_of_memory_is_named() {
        let container = json!({
            "name": "web",
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
        });
        let killed = judge(&[running(0), pod(&container)]);
        assert_eq!(killed.state, HealthState::Failed);
        assert!(
            killed
                .message
                .starts_with("The app needs more memory than its plan has")
        );
    }

    #[test]
    fn a_pod_without_a_node_waits() {
        let unscheduled = json!({
            "kind": "Pod",
            "status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
        });
        assert_eq!(
            judge(&[running(0), unscheduled]).message,
            "Waiting for room in the cluster."
        );
    }

    #[test]
    fn pods_on_their_way_out_do_not_count() {
        let mut leaving =
            pod(&json!({"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}));
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(state(&[running(1), leaving]), HealthState::Ready);
    }
}
