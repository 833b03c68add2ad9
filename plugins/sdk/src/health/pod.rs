//! Finds the reason in a pod's status why it does not run.

use serde_json::Value;

use super::{conditions, items, number, report, text};
use crate::service::{HealthReport, HealthState};

/// Reasons for which the kubelet cannot pull an image.
const PULL_FAILURES: [&str; 4] = [
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
];

/// Reasons for which a container cannot be created from its manifest.
const CONFIG_FAILURES: [&str; 3] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// Returns the reason why this pod does not run, if its status has one.
pub(super) fn finding(pod: &Value) -> Option<HealthReport> {
    containers(pod)
        .find_map(|container| waiting(pod, container))
        .or_else(|| {
            unschedulable(pod)
                .then(|| report(HealthState::Starting, "Waiting for room in the cluster."))
        })
}

/// Checks that one of its containers was restarted.
pub(super) fn was_restarted(pod: &Value) -> bool {
    containers(pod).any(|container| number(container, "/restartCount").unwrap_or(0) > 0)
}

fn waiting(pod: &Value, container: &Value) -> Option<HealthReport> {
    let component = super::component(pod);
    let reason = text(container, "/state/waiting/reason");
    let message = match reason {
        _ if out_of_memory(container) => {
            format!(
                "The {component} needs more memory than its plan has and was stopped; a larger plan helps."
            )
        }
        Some("CrashLoopBackOff") => {
            format!("The {component} stops again and again right after it starts.")
        }
        Some(reason) if PULL_FAILURES.contains(&reason) => {
            format!(
                "The image {} cannot be pulled.",
                text(container, "/image").unwrap_or("of the service")
            )
        }
        Some(reason) if CONFIG_FAILURES.contains(&reason) => {
            format!("The {component} cannot be started.")
        }
        _ => return None,
    };
    Some(report(HealthState::Failed, message))
}

/// Checks that the kernel stopped the container, and that it is not running again.
fn out_of_memory(container: &Value) -> bool {
    let killed = |pointer| text(container, pointer) == Some("OOMKilled");
    killed("/state/terminated/reason")
        || (killed("/lastState/terminated/reason") && container.pointer("/state/waiting").is_some())
}

/// Checks that no node has room for the pod. A missing volume is reported by its claim instead.
fn unschedulable(pod: &Value) -> bool {
    conditions(pod).any(|condition| {
        text(condition, "/type") == Some("PodScheduled")
            && text(condition, "/status") == Some("False")
            && text(condition, "/reason") == Some("Unschedulable")
            && !text(condition, "/message")
                .is_some_and(|message| message.contains("PersistentVolumeClaim"))
    })
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    items(pod, "/status/initContainerStatuses").chain(items(pod, "/status/containerStatuses"))
}
