//! Kubernetes' events about the objects of one instance, and plain words for them.

use chrono::{DateTime, Utc};
use kube::api::ListParams;
use serde_json::Value;
use uuid::Uuid;

use super::{
    Cluster,
    reading::{Scope, moment, number, promptly, text},
    telling::is_our_own,
};
use crate::Result;

/// An event about an object of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterEvent {
    /// Id that the cluster gave it; nil where it gave none.
    pub id: Uuid,
    pub at: Option<DateTime<Utc>>,
    /// For example `Pod/n8n-k3v9x2ab-0`.
    pub object: String,
    /// Kubernetes' word, such as `FailedScheduling`.
    pub reason: String,
    /// Kubernetes' sentence.
    pub message: String,
    pub count: i64,
}

impl ClusterEvent {
    fn of(event: &Value) -> Self {
        let part = |pointer: &str| text(event, pointer).unwrap_or_default();
        Self {
            id: part("/metadata/uid").parse().unwrap_or_default(),
            at: moment(event, "/lastTimestamp")
                .or_else(|| moment(event, "/series/lastObservedTime"))
                .or_else(|| moment(event, "/eventTime"))
                .or_else(|| moment(event, "/metadata/creationTimestamp")),
            object: format!(
                "{}/{}",
                part("/involvedObject/kind"),
                part("/involvedObject/name")
            ),
            reason: part("/reason"),
            message: part("/message"),
            count: number(event, "/count").max(1),
        }
    }

    /// Says the event in a sentence for a customer; `None` for bookkeeping that says nothing.
    pub fn plain_words(&self) -> Option<&'static str> {
        Some(match self.reason.as_str() {
            "Scheduled" => "A place to run was found.",
            "FailedScheduling" => "The cluster has no room for it yet.",
            "Pulling" => "Its software is being fetched.",
            "Pulled" => "Its software was fetched.",
            "ErrImagePull" | "ImagePullBackOff" | "InspectFailed" => {
                "Its software could not be fetched yet."
            }
            "Created" => "It was prepared to start.",
            "Started" => "It started.",
            "Killing" => "It is being stopped.",
            "BackOff" if self.message.contains("image") => "Its software could not be fetched yet.",
            "BackOff" => "It stopped again after its start, and is started again later.",
            "Failed" if self.message.contains("mage") => "Its software could not be fetched yet.",
            "Failed" => "It could not start.",
            "Unhealthy" => "It did not answer when it was asked if it is well.",
            "OOMKilling" => "It used more memory than its plan has.",
            "Evicted" | "Preempted" => "It had to leave its place, and looks for another one.",
            "NodeNotReady" => "The machine that it runs on does not answer.",
            "FailedMount" | "FailedAttachVolume" => "Its volume is not attached yet.",
            "SuccessfulAttachVolume" => "Its volume was attached.",
            "ProvisioningSucceeded" => "Its volume was made.",
            "ProvisioningFailed" => "Its volume could not be made yet.",
            "FileSystemResizeSuccessful" | "VolumeResizeSuccessful" => "Its volume has grown.",
            "VolumeResizeFailed" => "Its volume could not grow yet.",
            "FailedCreate" => "The cluster did not let it start yet.",
            _ => return None,
        })
    }
}

impl Cluster {
    /// Returns the events about an instance's objects that the cluster still keeps, newest first.
    ///
    /// # Errors
    /// `CLUSTER_UNAVAILABLE`, within seconds.
    pub async fn instance_events(
        &self,
        namespace: &str,
        instance: &str,
    ) -> Result<Vec<ClusterEvent>> {
        promptly(async {
            let path = Scope::of_namespace(namespace).path("/api/v1", "events");
            let events = self.known(&path, &ListParams::default()).await?;
            let mut events: Vec<_> = events
                .iter()
                // The shop tells its own events itself.
                .filter(|event| is_about(event, instance) && !is_our_own(event))
                .map(ClusterEvent::of)
                .collect();
            events.sort_by_key(|event| std::cmp::Reverse(event.at));
            Ok(events)
        })
        .await
    }
}

/// Names of instances end with letters of their own, so that none begins with another one's.
fn is_about(event: &Value, instance: &str) -> bool {
    let name = text(event, "/involvedObject/name").unwrap_or_default();
    let rest = name.strip_prefix(instance);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_of_the_instance_alone_and_plainly_worded() {
        let event = |name: &str, reason: &str| {
            json!({
                "involvedObject": {"kind": "Pod", "name": name}, "reason": reason,
                "message": "Back-off restarting failed container app in pod a_b(uid)",
                "lastTimestamp": "2026-01-01T00:00:00Z", "count": 3,
            })
        };
        for (name, mine) in [
            ("a-b", true),
            ("a-b-0", true),
            ("a-b.17f", true),
            ("a-bc", false),
            ("a", false),
        ] {
            assert_eq!(is_about(&event(name, "BackOff"), "a-b"), mine, "{name}");
        }
        let found = ClusterEvent::of(&event("a-b-0", "BackOff"));
        assert_eq!((found.object.as_str(), found.count), ("Pod/a-b-0", 3));
        assert!(found.at.is_some());
        assert!(!found.plain_words().unwrap().contains("Back-off"));
        let bookkeeping = ClusterEvent::of(&event("a-b", "ScalingReplicaSet"));
        assert_eq!(bookkeeping.plain_words(), None);
    }
}
