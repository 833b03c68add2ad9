//! Names of objects, and the labels of their owners.

use std::{collections::BTreeMap, fmt};

use dermaga_runtime::gate::{INSTANCE_LABEL, storage_bytes};
use kube::core::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ids::UserId;

/// Name that the API server records as the owner of the fields we apply.
pub const FIELD_MANAGER: &str = "dermaga";
/// Label that marks an object as ours, with the value [`FIELD_MANAGER`].
pub(super) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
pub const VOLUME_CLAIM: &str = "PersistentVolumeClaim";
/// JSON pointer to the storage that a claim requests.
pub const CLAIMED: &str = "/spec/resources/requests/storage";
/// Label of the customer that an object belongs to.
pub const USER_LABEL: &str = "dermaga.dev/user";

/// The labels that every object of a customer carries.
pub fn owner_labels(user_id: UserId) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY_LABEL.to_owned(), FIELD_MANAGER.to_owned()),
        (USER_LABEL.to_owned(), user_id.to_string()),
    ])
}

/// An object within a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    pub api_version: String,
    pub kind: String,
    pub name: String,
}

impl ObjectRef {
    pub fn new(api_version: &str, kind: &str, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Reads a manifest's reference; missing parts are empty, and the API server refuses those.
    pub fn of(manifest: &Value) -> Self {
        let text = |pointer: &str| {
            manifest
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        Self::new(text("/apiVersion"), text("/kind"), text("/metadata/name"))
    }

    /// Compares kind and name, in any version of the API.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let group = |version: &str| version.rsplit_once('/').map(|(group, _)| group.to_owned());
        self.kind == other.kind
            && self.name == other.name
            && group(&self.api_version) == group(&other.api_version)
    }
}

/// Kind and name, as in `Deployment/shop-web`.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// The value of a label of a live object.
pub(super) fn label<'a>(
    labels: Option<&'a BTreeMap<String, String>>,
    key: &str,
) -> Option<&'a str> {
    labels?.get(key).map(String::as_str)
}

/// Returns true when the labels say that Dermaga made the object for this instance.
pub(super) fn is_of_instance(labels: Option<&BTreeMap<String, String>>, instance: &str) -> bool {
    label(labels, MANAGED_BY_LABEL) == Some(FIELD_MANAGER)
        && label(labels, INSTANCE_LABEL) == Some(instance)
}

/// A live object as JSON, without the bookkeeping of field managers.
pub(super) fn to_json(mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    serde_json::to_value(object).unwrap_or_default()
}

/// Returns a claim that asks for its present size, when its manifest asks for less: volumes never
/// shrink, and a cluster refuses the attempt for ever.
pub fn as_large(manifest: &Value, has: &Value) -> Option<Value> {
    let wanted = manifest.pointer(CLAIMED)?;
    if storage_bytes(has)? <= storage_bytes(wanted)? {
        return None;
    }
    let mut grown = manifest.clone();
    *grown.pointer_mut(CLAIMED)? = has.clone();
    Some(grown)
}

/// Returns a manifest that can be shown: the values of Secret objects are replaced.
pub fn masked(mut manifest: Value) -> Value {
    if manifest.get("kind").and_then(Value::as_str) == Some("Secret") {
        for field in ["data", "stringData"] {
            if let Some(values) = manifest.get_mut(field).and_then(Value::as_object_mut) {
                values.values_mut().for_each(|value| *value = json!("***"));
            }
        }
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_object_may_be_spelled_in_another_version_but_not_in_another_group() {
        let new = ObjectRef::new("batch/v1", "CronJob", "a");
        assert!(new.is_same(&ObjectRef::new("batch/v1beta1", "CronJob", "a")));
        assert!(!new.is_same(&ObjectRef::new("example.org/v1", "CronJob", "a")));
        assert!(!new.is_same(&ObjectRef::new("v1", "CronJob", "a")));
    }

    #[test]
    fn a_claim_keeps_what_it_has() {
        let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
        let kept = |wanted: &str, has: &str| as_large(&claim(wanted), &json!(has));
        assert_eq!(kept("1Gi", "2Gi"), Some(claim("2Gi")));
        assert_eq!(kept("1024Mi", "1Gi"), None);
        assert_eq!(kept("3Gi", "2Gi"), None);
        assert_eq!(as_large(&json!({}), &json!("2Gi")), None);
    }

    #[test]
    fn only_secrets_are_masked() {
        let secret = masked(json!({"kind": "Secret", "data": {"password": "aHVudGVyMg=="}}));
        assert_eq!(
            secret,
            json!({"kind": "Secret", "data": {"password": "***"}})
        );
        let config = json!({"kind": "ConfigMap", "data": {"a": "b"}});
        assert_eq!(masked(config.clone()), config);
    }
}
