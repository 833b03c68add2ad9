//! Workloads that do not answer, and their removal so that they are made again.

use kube::api::DeleteParams;
use serde_json::Value;

use super::{Cluster, ClusterError, ObjectRef, diagnosis::condition};

/// A workload none of whose pods is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentWorkload {
    object: ObjectRef,
    uid: String,
}

impl SilentWorkload {
    /// Returns the workloads of an instance that may be made again: they should have pods, none is
    /// ready, and no volume claim goes with them.
    pub fn among(observed: &[Value]) -> Vec<Self> {
        let silent = observed.iter().filter(|object| is_silent(object));
        let may_go = silent.filter(|object| !takes_claims_along(object));
        may_go.filter_map(Self::of).collect()
    }

    fn of(workload: &Value) -> Option<Self> {
        let uid = workload.pointer("/metadata/uid")?.as_str()?;
        Some(Self {
            object: ObjectRef::of(workload),
            uid: uid.to_owned(),
        })
    }
}

/// Returns true when a workload has none of its pods, and a pod of the instance runs and is not
/// ready: it is past its start and does not answer.
pub fn hangs(observed: &[Value]) -> bool {
    observed.iter().any(is_silent) && observed.iter().any(is_unready_pod)
}

fn is_silent(object: &Value) -> bool {
    let kind = object.get("kind").and_then(Value::as_str);
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    matches!(kind, Some("Deployment" | "StatefulSet"))
        && number("/spec/replicas").unwrap_or(1) > 0
        && number("/status/readyReplicas").unwrap_or(0) == 0
        && number("/status/observedGeneration") >= number("/metadata/generation")
}

fn takes_claims_along(workload: &Value) -> bool {
    let policy = workload.pointer("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted");
    policy.and_then(Value::as_str) == Some("Delete")
}

/// Returns true for a pod all of whose containers run, and which is not ready. One whose startup
/// probe has not succeeded yet is still starting.
fn is_unready_pod(pod: &Value) -> bool {
    let is_pod = pod.get("kind").and_then(Value::as_str) == Some("Pod");
    let leaves = pod.pointer("/metadata/deletionTimestamp").is_some();
    let containers = items(pod, "/status/containerStatuses");
    is_pod
        && !leaves
        && !containers.is_empty()
        && containers.iter().all(|container| runs(pod, container))
        && condition(pod, "Ready", "False").is_some()
}

fn runs(pod: &Value, container: &Value) -> bool {
    let is_same = |spec: &&Value| spec.get("name") == container.get("name");
    let spec = items(pod, "/spec/containers").iter().find(is_same);
    let is_probed = spec.is_some_and(|spec| spec.get("startupProbe").is_some());
    let is_starting = is_probed && container.get("started") != Some(&Value::Bool(true));
    container.pointer("/state/running").is_some() && !is_starting
}

fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    let items = object.pointer(pointer).and_then(Value::as_array);
    items.map_or(&[], Vec::as_slice)
}

impl Cluster {
    /// Deletes workloads with their pods, so that the next pass makes them again. Their claims and
    /// Secrets stay, and so does a workload that was made since under the same name.
    ///
    /// # Errors
    /// When the cluster is away or denies the deletion.
    pub async fn delete_workloads(
        &self,
        namespace: &str,
        workloads: &[SilentWorkload],
    ) -> Result<(), ClusterError> {
        let served = self.served().await?;
        for SilentWorkload { object, uid } in workloads {
            let Some(api) = self.api(&served, namespace, object) else {
                continue;
            };
            let same = kube::api::Preconditions {
                uid: Some(uid.clone()),
                resource_version: None,
            };
            let params = DeleteParams::background().preconditions(same);
            match self.delete_by(&api, object, &params).await {
                // It is gone, or another one by now.
                Ok(_) | Err(ClusterError::NotYet(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(ready: i64, policy: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "a", "uid": "u", "generation": 2},
            "spec": {"replicas": 1, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": policy}},
            "status": {"observedGeneration": 2, "readyReplicas": ready},
        })
    }

    fn pod(container: &Value) -> Value {
        json!({"kind": "Pod", "metadata": {"name": "a-0"}, "status": {
            "containerStatuses": [container], "conditions": [{"type": "Ready", "status": "False"}],
        }})
    }

    #[test]
    fn only_a_workload_without_a_ready_pod_is_made_again_and_never_one_that_takes_its_data_along() {
        assert_eq!(SilentWorkload::among(&[set(0, "Retain")]).len(), 1);
        assert!(SilentWorkload::among(&[set(1, "Retain")]).is_empty());
        assert!(SilentWorkload::among(&[set(0, "Delete")]).is_empty());
        let mut stopped = set(0, "Retain");
        stopped["spec"]["replicas"] = json!(0);
        assert!(SilentWorkload::among(&[stopped]).is_empty());
    }

    #[test]
    fn a_pod_hangs_when_it_runs_and_does_not_answer() {
        let container = json!({"name": "app", "state": {"running": {}}, "started": false});
        let running = pod(&container);
        assert!(hangs(&[set(0, "Retain"), running.clone()]));
        assert!(!hangs(&[set(1, "Retain"), running.clone()]));
        let mut starting = running;
        starting["spec"] = json!({"containers": [{"name": "app", "startupProbe": {}}]});
        assert!(!hangs(&[set(0, "Retain"), starting]));
        let creating =
            json!({"name": "app", "state": {"waiting": {"reason": "ContainerCreating"}}});
        assert!(!hangs(&[set(0, "Retain"), pod(&creating)]));
    }
}
