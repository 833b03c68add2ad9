//! Growth of volume claims: asked of each claim, and only where its storage class allows it.

use std::{borrow::Cow, collections::HashMap};

use dermaga_runtime::gate::storage_bytes;
use k8s_openapi::api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    Cluster, ClusterError, FIELD_MANAGER, ObjectRef,
    object::{CLAIMED, VOLUME_CLAIM, as_large},
    reading::number,
};

const STATEFUL_SET: &str = "StatefulSet";
const TEMPLATES: &str = "/spec/volumeClaimTemplates";

/// A claim with the size that a manifest asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: String,
    size: Value,
}

/// Returns the claims that manifests ask for: their own, and those of a StatefulSet's pods.
fn wanted(manifests: &[Value]) -> Vec<Wanted> {
    manifests.iter().flat_map(wanted_by).collect()
}

/// Returns the sizes in bytes of the claims that manifests ask for, by name.
pub(super) fn wanted_sizes(manifests: &[Value]) -> HashMap<String, u128> {
    let sized = wanted(manifests).into_iter();
    sized
        .filter_map(|Wanted { name, size }| Some((name, storage_bytes(&size)?)))
        .collect()
}

fn wanted_by(manifest: &Value) -> Vec<Wanted> {
    let ObjectRef { kind, name, .. } = ObjectRef::of(manifest);
    let size = |claim: &Value| claim.pointer(CLAIMED).cloned();
    if kind == VOLUME_CLAIM {
        let size = size(manifest).into_iter();
        return size
            .map(|size| Wanted {
                name: name.clone(),
                size,
            })
            .collect();
    }
    let replicas = replicas(manifest);
    let sized = templates(manifest).filter_map(|one| Some((template_name(one)?, size(one)?)));
    sized
        .flat_map(|(template, size)| {
            let name = &name;
            (0..replicas).map(move |ordinal| Wanted {
                name: format!("{template}-{name}-{ordinal}"),
                size: size.clone(),
            })
        })
        .collect()
}

/// Returns true for the claim of a replica that a StatefulSet among the manifests does not have any
/// more: the cluster keeps it, and nothing runs on it.
pub(super) fn is_left_over(manifests: &[Value], claim: &str) -> bool {
    let is_beyond = |manifest: &Value| {
        let ObjectRef { kind, name, .. } = ObjectRef::of(manifest);
        let replicas = replicas(manifest);
        let mut names = templates(manifest).filter_map(template_name);
        kind == STATEFUL_SET
            && names.any(|template| {
                let ordinal = claim.strip_prefix(format!("{template}-{name}-").as_str());
                let ordinal = ordinal.and_then(|ordinal| ordinal.parse::<i64>().ok());
                ordinal.is_some_and(|ordinal| ordinal >= replicas)
            })
    };
    manifests.iter().any(is_beyond) && wanted(manifests).iter().all(|one| one.name != claim)
}

fn replicas(workload: &Value) -> i64 {
    workload
        .pointer("/spec/replicas")
        .map_or(1, |_| number(workload, "/spec/replicas"))
}

fn templates(manifest: &Value) -> impl Iterator<Item = &Value> {
    let templates = manifest.pointer(TEMPLATES).and_then(Value::as_array);
    templates.into_iter().flatten()
}

fn template_name(template: &Value) -> Option<&str> {
    template.pointer("/metadata/name")?.as_str()
}

/// Returns a StatefulSet with the sizes of its live templates, which a cluster never lets change.
fn with_sizes_of<'a>(manifest: &'a Value, live: &DynamicObject) -> Cow<'a, Value> {
    let mut kept = manifest.clone();
    let ours = kept.pointer_mut(TEMPLATES).and_then(Value::as_array_mut);
    for template in ours.into_iter().flatten() {
        let name = template_name(template).unwrap_or_default();
        let live = live
            .data
            .pointer(TEMPLATES)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find(|one| template_name(one) == Some(name))
            .and_then(|one| one.pointer(CLAIMED))
            .cloned();
        if let (Some(live), Some(size)) = (live, template.pointer_mut(CLAIMED)) {
            *size = live;
        }
    }
    if kept == *manifest {
        Cow::Borrowed(manifest)
    } else {
        Cow::Owned(kept)
    }
}

/// Returns true for a manifest with sizes of claims that its live object may keep.
pub(super) fn has_lasting_sizes(manifest: &Value) -> bool {
    match ObjectRef::of(manifest).kind.as_str() {
        VOLUME_CLAIM => true,
        STATEFUL_SET => templates(manifest).next().is_some(),
        _ => false,
    }
}

/// Returns a manifest as it can be applied over its live object: a claim never shrinks, and the claims
/// of a StatefulSet grow one by one.
pub(super) fn with_lasting_sizes<'a>(manifest: &'a Value, live: &DynamicObject) -> Cow<'a, Value> {
    if ObjectRef::of(manifest).kind != VOLUME_CLAIM {
        return with_sizes_of(manifest, live);
    }
    let has = live.data.pointer(CLAIMED);
    let grown = has.and_then(|has| as_large(manifest, has));
    grown.map_or(Cow::Borrowed(manifest), Cow::Owned)
}

fn size_of(claim: &PersistentVolumeClaim) -> Option<Value> {
    let resources = claim.spec.as_ref()?.resources.as_ref()?;
    let storage = resources.requests.as_ref()?.get("storage")?;
    Some(json!(storage.0))
}

fn is_larger(size: &Value, than: Option<&Value>) -> bool {
    let than = than.and_then(storage_bytes);
    matches!((storage_bytes(size), than), (Some(size), Some(than)) if size > than)
}

impl Cluster {
    /// Returns the first claim that manifests ask to be larger than it is, and whose storage class
    /// does not let it grow.
    ///
    /// # Errors
    /// When the cluster is away or does not let the server read classes.
    pub async fn cannot_grow(
        &self,
        namespace: &str,
        manifests: &[Value],
    ) -> Result<Option<String>, ClusterError> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        for Wanted { name, size } in wanted(manifests) {
            let object = format!("{VOLUME_CLAIM}/{name}");
            let Some(live) = self.call(&object, claims.get_opt(&name)).await? else {
                continue;
            };
            if is_larger(&size, size_of(&live).as_ref()) && !self.may_grow(&live).await? {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    async fn may_grow(&self, claim: &PersistentVolumeClaim) -> Result<bool, ClusterError> {
        let spec = claim.spec.as_ref();
        let Some(name) = spec.and_then(|spec| spec.storage_class_name.as_deref()) else {
            return Ok(false);
        };
        let classes: Api<StorageClass> = Api::all(self.client.clone());
        let object = format!("StorageClass/{name}");
        let class = self.call(&object, classes.get_opt(name)).await?;
        Ok(class.is_some_and(|class| class.allow_volume_expansion == Some(true)))
    }

    /// Lets the claims of a StatefulSet's pods grow to the sizes of its templates. Those of a new one have
    /// that size, but for claims that an earlier one left.
    pub(super) async fn grow_claims(
        &self,
        (namespace, instance): (&str, &str),
        manifest: &Value,
        is_new: bool,
    ) -> Result<(), ClusterError> {
        if ObjectRef::of(manifest).kind != STATEFUL_SET {
            return Ok(());
        }
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        for Wanted { name, size } in wanted_by(manifest) {
            // A claim that was left is older than this set, so that the watch shows it.
            if is_new && self.known.lacks(namespace, instance, (VOLUME_CLAIM, &name)) {
                continue;
            }
            let object = format!("{VOLUME_CLAIM}/{name}");
            let Some(live) = self.call(&object, claims.get_opt(&name)).await? else {
                continue;
            };
            if is_larger(&size, size_of(&live).as_ref()) {
                let larger = json!({"spec": {"resources": {"requests": {"storage": size}}}});
                let params = PatchParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                let patch = Patch::Merge(&larger);
                self.call(&object, claims.patch(&name, &params, &patch))
                    .await?;
                tracing::info!(namespace, claim = name, "claim.grows");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(size: &str) -> Value {
        json!({"kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {"replicas": 2, "volumeClaimTemplates": [
            {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}},
        ]}})
    }

    #[test]
    fn claims_are_those_of_manifests_and_of_the_pods_of_a_stateful_set() {
        let claim = json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "own"},
            "spec": {"resources": {"requests": {"storage": "3Gi"}}}});
        let found = wanted(&[claim, set("2Gi"), json!({"kind": "Service"})]);
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.name.as_str(), one.size.as_str().unwrap()))
            .collect();
        let expected = [("own", "3Gi"), ("data-db-0", "2Gi"), ("data-db-1", "2Gi")];
        assert_eq!(found, expected);
    }

    #[test]
    fn claims_of_replicas_beyond_the_last_are_left_over() {
        let manifests = [set("2Gi")];
        let is_left_over = |claim: &str| is_left_over(&manifests, claim);
        assert!(is_left_over("data-db-2") && is_left_over("data-db-10"));
        for claim in [
            "data-db-1",
            "data-db",
            "data-db-",
            "logs-db-2",
            "data-web-2",
        ] {
            assert!(!is_left_over(claim), "{claim}");
        }
    }

    #[test]
    fn a_stateful_set_is_applied_with_the_sizes_it_has() {
        let live: DynamicObject = serde_json::from_value(set("1Gi")).unwrap();
        assert_eq!(*with_sizes_of(&set("2Gi"), &live), set("1Gi"));
        assert!(matches!(
            with_sizes_of(&set("1Gi"), &live),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn only_a_larger_size_is_growth() {
        let one = json!("1Gi");
        assert!(is_larger(&json!("2Gi"), Some(&one)));
        assert!(!is_larger(&json!("1024Mi"), Some(&one)));
        assert!(!is_larger(&json!("2Gi"), None));
    }
}
