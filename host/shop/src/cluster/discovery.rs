//! Discovery of the kinds that this cluster serves.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::{
    Api, Discovery,
    api::DynamicObject,
    discovery::{ApiResource, verbs},
};
use tokio::time::Instant;

use super::{Cluster, ClusterError, ObjectRef};

/// Age at which the served kinds are asked again, since a cluster may be upgraded meanwhile.
const MAX_AGE: Duration = Duration::from_secs(600);

const GROUPS: [&str; 7] = [
    "",
    "apps",
    "batch",
    "gateway.networking.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
];

/// Kinds of an instance's objects, in the order in which they are removed: workloads before what
/// they use, volumes last.
pub(super) const INSTANCE_KINDS: [(&str, &str); 13] = [
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("networking.k8s.io/v1", "Ingress"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("policy/v1", "PodDisruptionBudget"),
    ("v1", "Service"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "PersistentVolumeClaim"),
];

/// Kinds that the cluster itself creates for an instance, as (API version, kind).
pub(super) const DEPENDENT_KINDS: [(&str, &str); 2] = [("apps/v1", "ReplicaSet"), ("v1", "Pod")];

/// Kinds that a cluster served at one moment.
#[derive(Debug)]
pub(super) struct Served {
    /// Resources by `apiVersion` and kind.
    resources: BTreeMap<(String, String), ApiResource>,
    asked_at: Instant,
}

impl Served {
    pub(super) fn resource(&self, api_version: &str, kind: &str) -> Option<&ApiResource> {
        self.resources
            .get(&(api_version.to_owned(), kind.to_owned()))
    }
}

impl Cluster {
    /// Returns the kinds that this cluster serves, cached for [`MAX_AGE`].
    pub(super) async fn served(&self) -> Result<Arc<Served>, ClusterError> {
        if let Some(served) = self
            .served
            .load_full()
            .filter(|served| served.asked_at.elapsed() < MAX_AGE)
        {
            return Ok(served);
        }
        // The aggregated form, which needs two requests, came with 1.26.
        let discovery = self
            .call(
                "its kinds",
                Discovery::new(self.client.clone()).filter(&GROUPS).run(),
            )
            .await?;
        let mut resources = BTreeMap::new();
        for group in discovery.groups() {
            for version in group.versions() {
                for (resource, capabilities) in group.versioned_resources(version) {
                    if capabilities.supports_operation(verbs::PATCH) {
                        resources.insert(
                            (resource.api_version.clone(), resource.kind.clone()),
                            resource,
                        );
                    }
                }
            }
        }
        let served = Arc::new(Served {
            resources,
            asked_at: Instant::now(),
        });
        self.served.store(Some(Arc::clone(&served)));
        Ok(served)
    }

    /// Returns the API of an object's kind in a namespace; `None` when the cluster lacks it.
    pub(super) fn api(
        &self,
        served: &Served,
        namespace: &str,
        object: &ObjectRef,
    ) -> Option<Api<DynamicObject>> {
        let resource = served.resource(&object.api_version, &object.kind)?;
        Some(Api::namespaced_with(
            self.client.clone(),
            namespace,
            resource,
        ))
    }
}
