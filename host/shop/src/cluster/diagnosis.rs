//! Obstacles that keep an instance from starting, in words for its owner.

use serde_json::Value;

// Texts for owners. Names of containers, and sentences of Kubernetes, are for administrators.
const IMAGE: &str = "The image of one of its programs cannot be fetched. We keep trying.";
const OUT_OF_MEMORY: &str =
    "One of its programs uses more memory than its plan has, and stops again and again.";
const CRASHES: &str = "One of its programs stops again and again right after it starts.";
const NOT_STARTED: &str = "One of its programs cannot be started.";

/// Kind of an obstacle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObstacleKind {
    /// Its image cannot be fetched.
    Image,
    /// A container ends again and again.
    CrashLoop,
    /// A container cannot be started.
    NotStarted,
    /// No node has room, or a quota refuses its pods.
    NoRoom,
}

/// Reason that keeps an instance from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    pub kind: ObstacleKind,
    /// Text for its owner.
    pub message: String,
    /// Text for administrators, with the sentence of Kubernetes.
    pub detail: String,
}

impl Obstacle {
    fn with(kind: ObstacleKind, message: &str, reason: &str) -> Self {
        Self {
            kind,
            message: message.to_owned(),
            detail: format!("{message} {reason}"),
        }
    }
}

/// Returns the first well-known obstacle among the observed objects, if any.
pub fn diagnose(observed: &[Value]) -> Option<Obstacle> {
    let kind =
        |object: &&Value, wanted: &str| object.get("kind").and_then(Value::as_str) == Some(wanted);
    let pods = observed
        .iter()
        .filter(|object| kind(object, "Pod"))
        .find_map(diagnose_pod);
    pods.or_else(|| {
        observed
            .iter()
            .filter(|object| !kind(object, "Pod"))
            .find_map(diagnose_workload)
    })
}

fn diagnose_pod(pod: &Value) -> Option<Obstacle> {
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let containers = statuses
        .iter()
        .filter_map(|pointer| pod.pointer(pointer)?.as_array())
        .flatten();
    containers
        .into_iter()
        .find_map(diagnose_container)
        .or_else(|| unschedulable(pod))
}

fn diagnose_container(container: &Value) -> Option<Obstacle> {
    let text = |pointer: &str| {
        container
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let name = text("/name");
    let program = format!("It is the container `{name}`.");
    match text("/state/waiting/reason") {
        // The first two take turns, and are one obstacle.
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" => Some(Obstacle {
            kind: ObstacleKind::Image,
            message: IMAGE.to_owned(),
            detail: format!(
                "{IMAGE} Container `{name}`, image `{}`: {}",
                text("/image"),
                text("/state/waiting/message")
            ),
        }),
        "CrashLoopBackOff" => {
            let end = container.pointer("/lastState/terminated");
            let message = if end.is_some_and(is_for_memory) {
                OUT_OF_MEMORY
            } else {
                CRASHES
            };
            let reason = match end.and_then(last_end) {
                Some(end) => format!("{program} {end}"),
                None => program,
            };
            Some(Obstacle::with(ObstacleKind::CrashLoop, message, &reason))
        }
        reason @ ("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
            Some(Obstacle::with(
                ObstacleKind::NotStarted,
                NOT_STARTED,
                &format!("{program} {reason}: {}", text("/state/waiting/message")),
            ))
        }
        _ => None,
    }
}

fn is_for_memory(end: &Value) -> bool {
    end.get("reason").and_then(Value::as_str) == Some("OOMKilled")
}

/// Says for administrators how a container ended last.
fn last_end(end: &Value) -> Option<String> {
    let reason = end.get("reason")?.as_str()?;
    let code = end.get("exitCode").and_then(Value::as_i64);
    Some(match code {
        Some(code) => format!("It ended with {reason}, exit code {code}."),
        None => format!("It ended with {reason}."),
    })
}

fn unschedulable(pod: &Value) -> Option<Obstacle> {
    let condition = condition(pod, "PodScheduled", "False")?;
    let message = condition
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or("no node fits");
    Some(Obstacle::with(
        ObstacleKind::NoRoom,
        "The cluster has no room at the moment.",
        message,
    ))
}

/// Finds the obstacle of a controller that may not make its pods: it is on the workload.
fn diagnose_workload(workload: &Value) -> Option<Obstacle> {
    let condition = condition(workload, "ReplicaFailure", "True")?;
    let message = condition
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or("the reason is unknown");
    Some(Obstacle::with(
        ObstacleKind::NoRoom,
        "The cluster does not let it be started.",
        message,
    ))
}

/// Finds the condition of this type and status.
pub(super) fn condition<'a>(object: &'a Value, kind: &str, status: &str) -> Option<&'a Value> {
    let is = |condition: &Value, key: &str, wanted: &str| {
        condition.get(key).and_then(Value::as_str) == Some(wanted)
    };
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|condition| is(condition, "type", kind) && is(condition, "status", status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: &Value) -> Value {
        json!({"kind": "Pod", "metadata": {"name": "a"}, "status": status})
    }

    #[test]
    fn a_container_that_ends_for_lack_of_memory_says_so() {
        let crashed = pod(&json!({"containerStatuses": [{
            "name": "app", "image": "a:1", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
        }]}));
        let said = diagnose(&[crashed]).unwrap();
        assert!(
            said.message.contains("more memory than its plan has"),
            "{said:?}"
        );
    }

    /// Reasons of the kubelet and of runtimes for a container that waits.
    const WAITING: [&str; 20] = [
        "ConfigPodSandboxError",
        "ContainerCreating",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "CreatePodSandboxError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "KillContainerError",
        "KillPodSandboxError",
        "PodInitializing",
        "PostStartHookError",
        "PreCreateHookError",
        "PreStartHookError",
        "RegistryUnavailable",
        "RunContainerError",
        "SignatureValidationFailed",
    ];
    /// Reasons for a container that ended.
    const ENDED: [&str; 8] = [
        "Completed",
        "ContainerCannotRun",
        "ContainerStatusUnknown",
        "DeadlineExceeded",
        "Error",
        "Evicted",
        "OOMKilled",
        "StartError",
    ];

    /// Returns true for words of several, as Kubernetes writes its reasons.
    fn has_camel_case(text: &str) -> bool {
        let mut words = text.split(|letter: char| !letter.is_alphanumeric());
        words.any(|word| word.chars().skip(1).any(char::is_uppercase))
    }

    #[test]
    fn reasons_of_kubernetes_are_for_administrators_alone() {
        assert!(has_camel_case("it ended with OOMKilled."));
        for (waiting, ended) in WAITING
            .iter()
            .flat_map(|waiting| ENDED.map(|ended| (*waiting, ended)))
        {
            let stuck = pod(&json!({"containerStatuses": [{
                "name": "app", "image": "a:1",
                "state": {"waiting": {"reason": waiting, "message": format!("words about {waiting}")}},
                "lastState": {"terminated": {"reason": ended, "exitCode": 7}},
            }]}));
            let Some(said) = diagnose(&[stuck]) else {
                continue;
            };
            let Obstacle {
                kind,
                message,
                detail,
            } = &said;
            let is_plain = !has_camel_case(message)
                && !message.contains(ended)
                && !message.contains("exit code");
            assert!(is_plain, "{message}");
            assert!(detail.starts_with(message.as_str()), "{detail}");
            let told = match kind {
                ObstacleKind::CrashLoop => format!("It ended with {ended}, exit code 7."),
                _ => format!("words about {waiting}"),
            };
            assert!(detail.ends_with(&told), "{detail}");
        }
        let unknown = pod(&json!({"containerStatuses": [{
            "name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        }]}));
        let said = diagnose(&[unknown]).unwrap();
        let named = format!("{} It is the container `app`.", said.message);
        assert_eq!(said.detail, named);
        assert!(!said.message.contains("app"), "{said:?}");
    }

    #[test]
    fn a_quota_that_stops_the_controller_is_found_on_the_workload() {
        let blocked = json!({"kind": "Deployment", "status": {"conditions": [
            {"type": "Progressing", "status": "True"},
            {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: dermaga"},
        ]}});
        let said = diagnose(&[blocked]).unwrap();
        assert!(said.detail.contains("exceeded quota"), "{said:?}");
        assert!(!said.message.contains("exceeded quota"), "{said:?}");
    }

    #[test]
    fn both_words_for_an_image_that_cannot_be_fetched_are_one_sentence_for_its_owner() {
        let said = ["ErrImagePull", "ImagePullBackOff"].map(|reason| {
            let waiting = json!({ "reason": reason, "message": "manifest unknown" });
            let waiting = json!({ "name": "app", "image": "a:1", "state": { "waiting": waiting } });
            diagnose(&[pod(&json!({ "containerStatuses": [waiting] }))]).unwrap()
        });
        let [first, second] = &said;
        assert_eq!(first.message, second.message);
        assert!(!first.message.contains("a:1"), "{first:?}");
        assert!(
            first.detail.contains("`a:1`: manifest unknown"),
            "{first:?}"
        );
    }

    #[test]
    fn an_image_being_fetched_is_no_obstacle() {
        let fetching = pod(
            &json!({"containerStatuses": [{"name": "app", "state": {"waiting": {"reason": "ContainerCreating"}}}]}),
        );
        assert_eq!(diagnose(&[fetching]), None);
    }
}
