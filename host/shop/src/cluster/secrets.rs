//! Looks at the Secrets of instances, which are not watched.

use std::collections::HashMap;

use dermaga_runtime::gate::INSTANCE_LABEL;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde_json::Value;

use super::{Cluster, ClusterError};

impl Cluster {
    /// Looks at the Secrets of an instance from time to time.
    ///
    /// # Errors
    /// When the cluster is away or denies reading.
    pub async fn look_at_secrets(
        &self,
        namespace: &str,
        instance: &str,
    ) -> Result<(), ClusterError> {
        self.look_at_secrets_of(namespace, &[instance]).await
    }

    /// Looks at the Secrets of instances of one namespace, as [`look_at_secrets`](Self::look_at_secrets)
    /// does, by one request for all of them.
    ///
    /// # Errors
    /// As [`look_at_secrets`](Self::look_at_secrets).
    pub async fn look_at_secrets_of(
        &self,
        namespace: &str,
        instances: &[&str],
    ) -> Result<(), ClusterError> {
        let mut wanted = instances.to_vec();
        wanted.retain(|instance| self.known.needs_secrets(namespace, instance));
        let selector = match wanted.as_slice() {
            [] => return Ok(()),
            [instance] => format!("{INSTANCE_LABEL}={instance}"),
            _ => INSTANCE_LABEL.to_owned(),
        };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let selector = ListParams::default().labels(&selector);
        let found = self
            .call("Secret objects", secrets.list_metadata(&selector))
            .await?;
        let mut of_instances: HashMap<String, Vec<DynamicObject>> = HashMap::new();
        for secret in found {
            let secret = DynamicObject {
                types: None,
                metadata: secret.metadata,
                data: Value::Null,
            };
            if let Some(instance) = secret.labels().get(INSTANCE_LABEL).cloned() {
                of_instances.entry(instance).or_default().push(secret);
            }
        }
        for instance in wanted {
            let all = of_instances.remove(instance).unwrap_or_default();
            self.known.secrets(namespace, instance, all);
        }
        Ok(())
    }
}
