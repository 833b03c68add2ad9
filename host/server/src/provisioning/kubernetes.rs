//! The provisioner that makes a cluster agree.

use uuid::Uuid;

use super::provisioner::{Observed, Outcome, Release};
use crate::cluster::{Applied, Cluster, ClusterError, NamespaceState, NamespaceVersion, ObjectRef};

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

    /// Namespace first, then the objects in their order, then what is no longer rendered.
    pub(super) async fn apply(&self, release: &Release<'_>) -> Result<Outcome, ClusterError> {
        let Release {
            tenant,
            instance,
            objects,
            previous,
        } = release;
        self.cluster.prepare_namespace(tenant).await?;
        let mut left_out = Vec::new();
        for manifest in *objects {
            if self
                .cluster
                .apply(&tenant.namespace, instance, manifest)
                .await?
                == Applied::NotServed
            {
                left_out.push(ObjectRef::of(manifest));
            }
        }
        let rendered: Vec<_> = objects.iter().map(ObjectRef::of).collect();
        let mut sweep = self.cluster.sweep(&tenant.namespace, instance).await?;
        let pruned = self
            .cluster
            .prune(&tenant.namespace, instance, &mut sweep, &rendered, previous)
            .await?;
        for object in &pruned {
            tracing::info!(instance.name = instance, object = %object, "instance.pruned");
        }
        Ok(Outcome {
            observed: Observed::Live(sweep),
            left_out,
        })
    }

    /// What is still there of an instance after asking for its removal.
    pub(super) async fn remove(
        &self,
        namespace: &str,
        instance: &str,
        previous: &[ObjectRef],
    ) -> Result<Vec<String>, ClusterError> {
        self.cluster.remove(namespace, instance, previous).await
    }

    pub(super) async fn namespace_state(
        &self,
        name: &str,
        user_id: Uuid,
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
