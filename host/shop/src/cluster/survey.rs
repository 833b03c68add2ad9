//! Survey of the cluster by the bookkeeping of its objects alone, and the two ways to put one right:
//! its labels again, or its removal.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dermaga_runtime::gate::INSTANCE_LABEL;
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions},
    core::ObjectMeta,
};
use serde_json::json;

use super::{
    Cluster, ClusterError, FIELD_MANAGER, ObjectRef, USER_LABEL,
    access::ROLE_BINDING,
    discovery::{DEPENDENT_KINDS, INSTANCE_KINDS, Served},
    known::SECRET,
    object::{MANAGED_BY_LABEL, label},
    reading::promptly,
};
use crate::{Result, ids::UserId};

/// The kind that holds all others.
pub const NAMESPACE: &str = "Namespace";
const NAMESPACES: (&str, &str) = ("v1", NAMESPACE);
/// Kinds of a customer's namespace besides those of its instances.
const WALL_KINDS: [(&str, &str); 3] = [("v1", "ResourceQuota"), ("v1", "LimitRange"), ROLE_BINDING];
const PARALLEL_LISTS: usize = 8;

/// An object of the cluster, without its content.
#[derive(Debug, Clone)]
pub struct Sighting {
    pub object: ObjectRef,
    /// For a namespace, its own name.
    pub namespace: String,
    pub uid: String,
    pub created_at: Option<DateTime<Utc>>,
    /// Its removal is under way.
    pub is_leaving: bool,
    /// The label says that Dermaga manages it.
    pub is_managed: bool,
    /// Customer by its label.
    pub owner: Option<UserId>,
    /// Name of an instance by its label.
    pub instance: Option<String>,
    /// Dermaga applied it, by the API server's own record of who wrote which field.
    pub was_applied: bool,
    /// Another party that wrote fields of it.
    pub other_manager: Option<String>,
    /// Object that it was made for, as `Kind/name`, with its uid.
    pub controller: Option<(String, String)>,
    pub version: Option<String>,
}

/// All objects that were found, and the kinds that were looked for.
#[derive(Debug, Default)]
pub struct Survey {
    pub found: Vec<Sighting>,
    kinds: Vec<&'static str>,
}

impl Survey {
    /// Returns a survey that looked for every kind, for tests.
    #[cfg(test)]
    pub fn of(found: Vec<Sighting>) -> Self {
        let all = INSTANCE_KINDS.iter().chain(&WALL_KINDS);
        let kinds = all.chain(&DEPENDENT_KINDS).chain([&NAMESPACES]);
        let kinds = kinds.map(|(_, kind)| *kind).collect();
        Self { found, kinds }
    }

    /// Returns true for a kind whose objects would have been found.
    pub fn has_looked_for(&self, kind: &str) -> bool {
        self.kinds.contains(&kind)
    }
}

impl Sighting {
    fn of(kind: (&str, &str), metadata: ObjectMeta) -> Self {
        let ObjectMeta {
            name,
            namespace,
            uid,
            labels,
            managed_fields,
            owner_references,
            ..
        } = metadata;
        let name = name.unwrap_or_default();
        let labels = labels.as_ref();
        let entries = managed_fields.unwrap_or_default();
        let was_applied = entries.iter().any(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER)
                && entry.operation.as_deref() == Some("Apply")
        });
        let mut managers = entries.into_iter().filter(|one| one.subresource.is_none());
        let other_manager = managers.find_map(|entry| {
            let manager = entry.manager?;
            (manager != FIELD_MANAGER).then_some(manager)
        });
        let owners = owner_references.unwrap_or_default();
        let controller = owners.into_iter().find(|one| one.controller == Some(true));
        let owner = label(labels, USER_LABEL);
        Self {
            namespace: namespace.unwrap_or_else(|| name.clone()),
            object: ObjectRef::new(kind.0, kind.1, &name),
            uid: uid.unwrap_or_default(),
            created_at: metadata
                .creation_timestamp
                .and_then(|at| at.0.to_string().parse().ok()),
            is_leaving: metadata.deletion_timestamp.is_some(),
            is_managed: label(labels, MANAGED_BY_LABEL) == Some(FIELD_MANAGER),
            owner: owner.and_then(|owner| owner.parse().ok()),
            instance: label(labels, INSTANCE_LABEL).map(str::to_owned),
            was_applied,
            other_manager,
            controller: controller.map(|one| (format!("{}/{}", one.kind, one.name), one.uid)),
            version: metadata.resource_version,
        }
    }
}

impl Cluster {
    /// Finds the objects of all kinds that instances and their namespaces are made of, in one
    /// namespace or in all of them. Secrets are looked for in one namespace only, since their list
    /// across the cluster would need the right to read every one.
    ///
    /// # Errors
    /// `CLUSTER_UNAVAILABLE`, within seconds.
    pub async fn survey(&self, namespace: Option<&str>) -> Result<Survey> {
        promptly(async {
            let served = self.served().await?;
            let all = INSTANCE_KINDS.iter().chain(&WALL_KINDS);
            let kinds = all.chain(&DEPENDENT_KINDS).copied();
            let kinds = kinds.filter(|(_, kind)| namespace.is_some() || *kind != SECRET);
            let lists = kinds.chain([NAMESPACES]).filter_map(|kind| {
                let api = self.api_of(&served, namespace, kind)?;
                Some(self.sightings(api, namespace, kind))
            });
            // Collected first: the lists borrow what the stream would have to own.
            let lists: Vec<_> = lists.collect();
            let found: Vec<_> = stream::iter(lists)
                .buffered(PARALLEL_LISTS)
                .try_collect()
                .await?;
            let mut survey = Survey::default();
            for (kind, sightings) in found.into_iter().flatten() {
                survey.kinds.push(kind);
                survey.found.extend(sightings);
            }
            Ok(survey)
        })
        .await
    }

    fn api_of(
        &self,
        served: &Served,
        namespace: Option<&str>,
        (api_version, kind): (&str, &str),
    ) -> Option<Api<DynamicObject>> {
        let resource = served.resource(api_version, kind)?;
        Some(match namespace {
            Some(namespace) if kind != NAMESPACE => {
                Api::namespaced_with(self.client.clone(), namespace, resource)
            }
            _ => Api::all_with(self.client.clone(), resource),
        })
    }

    /// Lists the objects of one kind; nothing where only Secrets are denied.
    async fn sightings(
        &self,
        api: Api<DynamicObject>,
        namespace: Option<&str>,
        kind: (&'static str, &'static str),
    ) -> Result<Option<(&'static str, Vec<Sighting>)>, ClusterError> {
        let mut params = ListParams::default();
        if let Some(name) = namespace.filter(|_| kind.1 == NAMESPACE) {
            params = params.fields(&format!("metadata.name={name}"));
        }
        let listed = self.call(format!("{} objects", kind.1), api.list_metadata(&params));
        match listed.await {
            Ok(list) => {
                let found = list.into_iter().map(|one| Sighting::of(kind, one.metadata));
                Ok(Some((kind.1, found.collect())))
            }
            Err(ClusterError::Denied(_)) if kind.1 == SECRET => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts labels on an object that was seen, and on no other in its place.
    ///
    /// # Errors
    /// When it is gone or another one, and when the cluster is away or refuses.
    pub async fn put_labels(
        &self,
        seen: &Sighting,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), ClusterError> {
        let Some(api) = self.api_of_sighting(seen).await? else {
            return Ok(());
        };
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"metadata": {"uid": seen.uid, "labels": labels}}));
        let patched = api.patch_metadata(&seen.object.name, &params, &patch);
        self.call(&seen.object, patched).await?;
        Ok(())
    }

    /// Asks for the removal of an object that was seen, and of no other in its place; of a namespace
    /// only as it was seen. Does nothing when it is gone.
    ///
    /// # Errors
    /// When another one is in its place, and when the cluster is away or refuses.
    pub async fn discard(&self, seen: &Sighting) -> Result<(), ClusterError> {
        let Some(api) = self.api_of_sighting(seen).await? else {
            return Ok(());
        };
        let is_namespace = seen.object.kind == NAMESPACE;
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: Some(seen.uid.clone()),
            resource_version: seen.version.clone().filter(|_| is_namespace),
        });
        self.delete_by(&api, &seen.object, &params).await?;
        Ok(())
    }

    async fn api_of_sighting(
        &self,
        seen: &Sighting,
    ) -> Result<Option<Api<DynamicObject>>, ClusterError> {
        let kind = (seen.object.api_version.as_str(), seen.object.kind.as_str());
        let served = self.served().await?;
        Ok(self.api_of(&served, Some(&seen.namespace), kind))
    }

    /// Forgets what an instance's objects were applied by, so that the next pass applies all of them.
    pub fn forget(&self, namespace: &str, instance: &str) {
        self.known.forget(namespace, instance);
    }
}
