//! The provisioner that makes a cluster agree.

use futures::{StreamExt, stream};
use serde_json::Value;

use super::{
    model::Instance,
    provisioner::{Observed, Outcome, Release},
};
use crate::{
    cluster::{
        Applied, Cluster, ClusterError, Contested, NamespaceState, NamespaceVersion, ObjectRef,
    },
    ids::UserId,
};

/// Objects of an instance that are applied side by side: enough to hide latency, few enough for API priority and
/// fairness.
const SIDE_BY_SIDE: usize = 4;
/// Kinds whose pods may start at once, and read what the other kinds hold.
const WORKLOADS: [&str; 4] = ["Deployment", "StatefulSet", "Job", "CronJob"];

/// Returns what pods use, and then the workloads, each in the order of the manifests.
fn in_steps(objects: &[Value]) -> [(Vec<&Value>, usize); 2] {
    let is_workload = |manifest: &&Value| {
        let kind = manifest.get("kind").and_then(Value::as_str);
        kind.is_some_and(|kind| WORKLOADS.contains(&kind))
    };
    let (workloads, used) = objects.iter().partition(is_workload);
    [(used, SIDE_BY_SIDE), (workloads, 1)]
}

/// Results of applying the objects of an instance.
#[derive(Debug, Default)]
struct Results {
    /// The first refusal.
    refused: Option<ClusterError>,
    left_out: Vec<ObjectRef>,
    contested: Vec<Contested>,
}

impl Results {
    /// Notes the result of one object.
    ///
    /// # Errors
    /// When it is about more than this object, so that others need not be tried.
    fn note(
        &mut self,
        manifest: &Value,
        applied: Result<Applied, ClusterError>,
    ) -> Result<(), ClusterError> {
        match applied {
            Ok(Applied::Yes) => {}
            Ok(Applied::Corrected(fields)) => self.contested.extend(fields),
            Ok(Applied::NotServed) => self.left_out.push(ObjectRef::of(manifest)),
            Err(error) if error.is_about_object() => {
                self.refused.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Puts instances into a cluster and takes them out again.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    cluster: Cluster,
}

impl Kubernetes {
    pub const fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Checks that the data is there, since an instance must not start on an empty volume unnoticed.
    pub(super) async fn check_claims(
        &self,
        seen: &Instance,
        manifests: &[Value],
    ) -> Result<(), ClusterError> {
        self.cluster
            .check_claims(&seen.namespace, &seen.name, &seen.claims, manifests)
            .await
    }

    /// Returns true when an instance is as it was applied, and nothing changed since it had the
    /// status that it has.
    async fn is_unchanged(&self, release: &Release<'_>) -> Result<bool, ClusterError> {
        let Release {
            tenant,
            instance,
            objects,
            status,
            ..
        } = release;
        let namespace = tenant.namespace.as_str();
        self.cluster.look_at_secrets(namespace, instance).await?;
        Ok(self.cluster.is_settled(namespace, instance, *status)
            && self.cluster.agrees(namespace, instance, objects))
    }

    /// Applies the objects: what pods use side by side, then the workloads one after another. A refused
    /// object does not keep the others from being applied.
    ///
    /// # Errors
    /// When the cluster is away.
    async fn apply_all(
        &self,
        namespace: &str,
        instance: &str,
        objects: &[Value],
    ) -> Result<Results, ClusterError> {
        let mut results = Results::default();
        for (step, at_once) in in_steps(objects) {
            let applying: Vec<_> = step
                .into_iter()
                .map(|manifest| async move {
                    let applied = self.cluster.apply(namespace, instance, manifest).await;
                    (manifest, applied)
                })
                .collect();
            let mut applied = stream::iter(applying).buffered(at_once);
            while let Some((manifest, applied)) = applied.next().await {
                results.note(manifest, applied)?;
            }
        }
        Ok(results)
    }

    /// Applies the objects, then prunes; the first refusal is returned.
    pub(super) async fn apply(&self, release: &Release<'_>) -> Result<Outcome, ClusterError> {
        let Release {
            tenant,
            instance,
            objects,
            previous,
            ..
        } = release;
        let namespace = tenant.namespace.as_str();
        if self.is_unchanged(release).await? {
            return Ok(Outcome::of(Observed::Unchanged));
        }
        let Results {
            refused,
            left_out,
            contested,
        } = self.apply_all(namespace, instance, objects).await?;
        if let Some(error) = refused {
            return Err(error);
        }
        let rendered: Vec<_> = objects.iter().map(ObjectRef::of).collect();
        let mut sweep = self.cluster.look(namespace, instance).await?;
        let pruned = self
            .cluster
            .prune(namespace, instance, &mut sweep, &rendered, previous)
            .await?;
        for object in &pruned {
            tracing::info!(instance.name = instance, object = %object, "instance.pruned");
        }
        let replaced = self
            .cluster
            .replace_stuck_pods(namespace, instance, &sweep)
            .await?;
        for pod in &replaced {
            tracing::info!(instance.name = instance, pod, "instance.stuck_pod_replaced");
        }
        Ok(Outcome {
            observed: Observed::Live(sweep),
            left_out,
            contested,
        })
    }

    /// Asks for the removal of an instance and returns the objects that are still there.
    pub(super) async fn remove(&self, seen: &Instance) -> Result<Vec<String>, ClusterError> {
        let Instance {
            namespace,
            name,
            applied,
            ..
        } = seen;
        match self.cluster.remove(namespace, name, applied).await {
            Err(ClusterError::Denied(_)) => {
                self.cluster.bind(namespace, seen.user_id).await?;
                self.cluster.remove(namespace, name, applied).await
            }
            removed => removed,
        }
    }

    pub(super) async fn namespace_state(
        &self,
        name: &str,
        user_id: UserId,
    ) -> Result<NamespaceState, ClusterError> {
        self.cluster.namespace_state(name, user_id).await
    }

    pub(super) async fn remove_namespace(
        &self,
        name: &str,
        version: NamespaceVersion,
    ) -> Result<(), ClusterError> {
        self.cluster.delete_namespace(name, version).await
    }
}

#[cfg(test)]
mod tests {
    use dermaga_runtime::{contract::Resources, gate::INSTANCE_LABEL};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        cluster::{PodSecurity, Tenant, owner_labels},
        db::{Clock, new_id},
        test_cluster::named_by,
    };

    fn tenant() -> Tenant {
        let user_id: UserId = new_id(&Clock::system());
        let size = Resources {
            cpu_millis: 500,
            memory_mib: 512,
            storage_gib: 2,
            replicas: 1,
        };
        Tenant {
            namespace: format!("user-{}", &Uuid::from(user_id).simple().to_string()[20..]),
            user_id,
            instances: vec!["a".to_owned()],
            budget: size,
            surge: size,
            pod_security: PodSecurity::Restricted,
            ingress_namespace: "ingress-nginx".to_owned(),
        }
    }

    fn object(tenant: &Tenant, name: &str, fields: &Value) -> Value {
        let mut labels = owner_labels(tenant.user_id);
        labels.insert(INSTANCE_LABEL.to_owned(), "a".to_owned());
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": tenant.namespace, "labels": labels},
        });
        let fields = fields.as_object().unwrap().clone();
        object.as_object_mut().unwrap().extend(fields);
        object
    }

    #[test]
    fn workloads_come_one_after_another_once_what_their_pods_use_is_there() {
        let objects = ["StatefulSet", "Secret", "Job", "Service", "Deployment"]
            .map(|kind| json!({"kind": kind}));
        let steps = in_steps(&objects).map(|(step, at_once)| {
            let kinds = step.into_iter().map(|one| one["kind"].as_str().unwrap());
            (kinds.collect::<Vec<_>>(), at_once)
        });
        let used = (vec!["Secret", "Service"], SIDE_BY_SIDE);
        let workloads = (vec!["StatefulSet", "Job", "Deployment"], 1);
        assert_eq!(steps, [used, workloads]);
    }

    #[tokio::test]
    async fn a_refused_object_keeps_none_of_the_others_from_being_applied() {
        let Some(kubeconfig) = named_by("DERMAGA_TEST_KUBECONFIG") else {
            return;
        };
        let kubernetes = Kubernetes::new(Cluster::connect(Some(&kubeconfig)).await.unwrap());
        let tenant = tenant();
        let objects = [
            object(&tenant, "odd", &json!({"colour": "blue"})),
            object(&tenant, "good", &json!({"data": {"key": "value"}})),
        ];
        let release = Release {
            tenant: &tenant,
            instance: "a",
            objects: &objects,
            previous: &[],
            status: 0,
        };
        let cluster = kubernetes.cluster();
        cluster.prepare_namespace(&tenant).await.unwrap();
        let refused = kubernetes.apply(&release).await.unwrap_err();
        assert!(
            matches!(&refused, ClusterError::Refused { object, .. } if object == "ConfigMap/odd"),
            "{refused:?}"
        );
        let sweep = kubernetes.cluster().sweep(&tenant.namespace, "a").await;
        assert_eq!(sweep.unwrap().names(), ["ConfigMap/good"]);
        let removed = cluster.remove(&tenant.namespace, "a", &[]);
        removed.await.unwrap();
        let state = kubernetes.namespace_state(&tenant.namespace, tenant.user_id);
        if let NamespaceState::Present(version) = state.await.unwrap() {
            let removed = kubernetes.remove_namespace(&tenant.namespace, version);
            removed.await.unwrap();
        }
    }
}
