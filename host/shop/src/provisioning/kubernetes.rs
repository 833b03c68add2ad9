//! The provisioner that makes a cluster agree.

use serde_json::Value;

use super::{
    model::Instance,
    provisioner::{Observed, Outcome, Release},
};
use crate::{
    cluster::{Applied, Cluster, ClusterError, NamespaceState, NamespaceVersion, ObjectRef},
    ids::UserId,
};

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

    /// Applies the objects in their order, then prunes. A refused object does not keep the others
    /// from being applied; the first refusal is returned.
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
        let mut refused = None;
        let (mut left_out, mut contested) = (Vec::new(), Vec::new());
        for manifest in *objects {
            let applied = self.cluster.apply(namespace, instance, manifest);
            match applied.await {
                Ok(Applied::Yes) => {}
                Ok(Applied::Corrected(fields)) => contested.extend(fields),
                Ok(Applied::NotServed) => left_out.push(ObjectRef::of(manifest)),
                Err(error) if error.is_about_object() => {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
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
