//! Pruning, removing and deleting the objects of one instance.

use dermaga_runtime::gate::INSTANCE_LABEL;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, Preconditions},
    core::ObjectMeta,
};

use super::{
    Cluster, ClusterError, LiveObjects, ObjectRef,
    discovery::INSTANCE_KINDS,
    object::{VOLUME_CLAIM, is_of_instance, label},
};

/// Annotation of a Secret that cert-manager made, with the name of its certificate, which is the Secret's own for
/// one that an Ingress asked for.
const CERTIFICATE: &str = "cert-manager.io/certificate-name";

impl Cluster {
    /// Removes objects that are no longer rendered, and returns them: found by label, and in
    /// `previous` for kinds that a later version of the list of kinds does not know. Volumes stay
    /// until the instance ends, because a mistake in rendering must not cost data.
    ///
    /// # Errors
    /// When the cluster is away or denies the deletion.
    pub async fn prune(
        &self,
        namespace: &str,
        instance: &str,
        sweep: &mut LiveObjects,
        rendered: &[ObjectRef],
        previous: &[ObjectRef],
    ) -> Result<Vec<ObjectRef>, ClusterError> {
        let is_wanted = |object: &ObjectRef| rendered.iter().any(|kept| kept.is_same(object));
        let (surplus, kept) =
            std::mem::take(&mut sweep.objects)
                .into_iter()
                .partition(|(object, live)| {
                    let has_owner = live
                        .owner_references()
                        .iter()
                        .any(|owner| owner.controller == Some(true));
                    object.kind != VOLUME_CLAIM
                        && !has_owner
                        && !is_wanted(object)
                        && is_of_instance(live.metadata.labels.as_ref(), instance)
                });
        sweep.objects = kept;
        let surplus: Vec<(ObjectRef, DynamicObject)> = surplus;
        let mut removed: Vec<ObjectRef> = surplus.into_iter().map(|(object, _)| object).collect();
        for object in previous {
            let is_listed = INSTANCE_KINDS.iter().any(|(_, kind)| *kind == object.kind);
            if !is_listed && !is_wanted(object) {
                removed.push(object.clone());
            }
        }
        for object in &removed {
            self.delete(namespace, instance, object).await?;
        }
        Ok(removed)
    }

    /// Asks for the removal of everything of the instance, volumes included, and returns what is
    /// still there: an empty list proves that it is gone. Call it again until then.
    ///
    /// # Errors
    /// When the cluster is away or denies the deletion.
    pub async fn remove(
        &self,
        namespace: &str,
        instance: &str,
        previous: &[ObjectRef],
    ) -> Result<Vec<String>, ClusterError> {
        let sweep = self.sweep(namespace, instance).await?;
        let leaving = |live: &DynamicObject| live.metadata.deletion_timestamp.is_some();
        for (object, _) in sweep.objects.iter().filter(|(_, live)| !leaving(live)) {
            self.delete(namespace, instance, object).await?;
        }
        let mut remaining = sweep.names();
        for object in previous {
            let name = object.to_string();
            if !remaining.contains(&name) && self.delete(namespace, instance, object).await? {
                remaining.push(name);
            }
        }
        Ok(remaining)
    }

    /// Deletes one object if it is the instance's; its dependents follow. Returns false when it is
    /// not there, or is not the instance's.
    pub(super) async fn delete(
        &self,
        namespace: &str,
        instance: &str,
        object: &ObjectRef,
    ) -> Result<bool, ClusterError> {
        let served = self.served().await?;
        let Some(api) = self.api(&served, namespace, object) else {
            return Ok(false);
        };
        let live = self
            .call(object, api.get_metadata_opt(&object.name))
            .await?;
        let Some(live) = live
            .filter(|live| label(live.metadata.labels.as_ref(), INSTANCE_LABEL) == Some(instance))
        else {
            return Ok(false);
        };
        self.delete_read(&api, object, live.metadata).await
    }

    /// Deletes the Secret of a certificate that an Ingress of ours asked cert-manager for, if it is one. Returns
    /// false when it is not there, or is something else.
    ///
    /// # Errors
    /// When the cluster is away or denies the deletion.
    pub async fn remove_certificate(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<bool, ClusterError> {
        let object = ObjectRef::new("v1", "Secret", name);
        let served = self.served().await?;
        let Some(api) = self.api(&served, namespace, &object) else {
            return Ok(false);
        };
        let live = self.call(&object, api.get_metadata_opt(name)).await?;
        let Some(live) = live
            .filter(|live| label(live.metadata.annotations.as_ref(), CERTIFICATE) == Some(name))
        else {
            return Ok(false);
        };
        self.delete_read(&api, &object, live.metadata).await
    }

    /// Deletes an object that was read, and none that was created since under the same name.
    async fn delete_read(
        &self,
        api: &Api<DynamicObject>,
        object: &ObjectRef,
        live: ObjectMeta,
    ) -> Result<bool, ClusterError> {
        if live.deletion_timestamp.is_some() {
            return Ok(true);
        }
        let same = Preconditions {
            uid: live.uid,
            resource_version: None,
        };
        let params = DeleteParams::background().preconditions(same);
        self.delete_by(api, object, &params).await
    }

    /// Deletes an object by these parameters; returns false when it is not there.
    pub(super) async fn delete_by(
        &self,
        api: &Api<DynamicObject>,
        object: &ObjectRef,
        params: &DeleteParams,
    ) -> Result<bool, ClusterError> {
        let deleted = api.delete(&object.name, params);
        let deleted = self.call(object, async { Ok(deleted.await) });
        match deleted.await? {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(ClusterError::of(error, &object.to_string())),
        }
    }
}
