//! Pods that a StatefulSet waits for in vain.

use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

use super::{Cluster, ClusterError, LiveObjects, ObjectRef, diagnosis::condition, object::label};

/// Label in which a pod of a StatefulSet names the template it was made from.
const REVISION_LABEL: &str = "controller-revision-hash";

impl Cluster {
    /// Deletes the pods that a StatefulSet waits for in vain, and returns their names. With ordered
    /// pods it replaces none that is not ready (kubernetes#67250), so that a broken pod would keep
    /// a mended template from ever running.
    ///
    /// # Errors
    /// When the cluster is away or denies the deletion.
    pub async fn replace_stuck_pods(
        &self,
        namespace: &str,
        instance: &str,
        live: &LiveObjects,
    ) -> Result<Vec<String>, ClusterError> {
        let mut replaced = Vec::new();
        for pod in stuck_pods(live) {
            if self.delete(namespace, instance, pod).await? {
                replaced.push(pod.name.clone());
            }
        }
        Ok(replaced)
    }
}

fn stuck_pods(live: &LiveObjects) -> impl Iterator<Item = &ObjectRef> {
    let sets = live.of_kind("StatefulSet");
    sets.flat_map(|(_, set)| {
        live.of_kind("Pod")
            .filter(|(_, pod)| is_stuck(set, pod))
            .map(|(object, _)| object)
    })
}

/// Returns true for a pod of this set that is not ready and was made from an earlier template.
fn is_stuck(set: &DynamicObject, pod: &DynamicObject) -> bool {
    let mut owners = pod.owner_references().iter();
    let is_its_own = owners
        .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == set.uid().as_ref());
    let has = label(pod.metadata.labels.as_ref(), REVISION_LABEL);
    is_its_own
        && pod.metadata.deletion_timestamp.is_none()
        && current_revision(set).is_some_and(|wanted| has != Some(wanted))
        && condition(&pod.data, "Ready", "True").is_none()
}

/// Revision of the template that every pod of a set should have; nothing while the controller has
/// not seen the template, and for a set that leaves old pods alone on purpose.
fn current_revision(set: &DynamicObject) -> Option<&str> {
    let number = |pointer: &str| set.data.pointer(pointer).and_then(Value::as_i64);
    let text = |pointer: &str| set.data.pointer(pointer).and_then(Value::as_str);
    let is_on_purpose = text("/spec/updateStrategy/type") == Some("OnDelete")
        || number("/spec/updateStrategy/rollingUpdate/partition") > Some(0);
    let is_seen = number("/status/observedGeneration") == set.metadata.generation;
    text("/status/updateRevision").filter(|_| is_seen && !is_on_purpose)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn set(strategy: &Value, seen: i64) -> DynamicObject {
        object(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "a", "uid": "u", "generation": 2},
            "spec": {"updateStrategy": strategy},
            "status": {"observedGeneration": seen, "updateRevision": "new"},
        }))
    }

    fn pod(revision: &str, ready: &str, owner: &str) -> DynamicObject {
        object(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a-0", "labels": {REVISION_LABEL: revision}, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "a", "uid": owner, "controller": true},
            ]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
    }

    #[test]
    fn only_a_pod_of_an_earlier_template_that_is_not_ready_is_stuck() {
        let rolling = set(&json!({"type": "RollingUpdate"}), 2);
        assert!(is_stuck(&rolling, &pod("old", "False", "u")));
        assert!(!is_stuck(&rolling, &pod("old", "True", "u")));
        assert!(!is_stuck(&rolling, &pod("new", "False", "u")));
        assert!(!is_stuck(&rolling, &pod("old", "False", "another")));
        let unseen = set(&json!({"type": "RollingUpdate"}), 1);
        assert!(!is_stuck(&unseen, &pod("old", "False", "u")));
        let by_hand = set(&json!({"type": "OnDelete"}), 2);
        assert!(!is_stuck(&by_hand, &pod("old", "False", "u")));
        let held = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
        assert!(!is_stuck(&set(&held, 2), &pod("old", "False", "u")));
    }
}
