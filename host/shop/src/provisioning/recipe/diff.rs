//! Differences between two renderings, for people and for programs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;
use utoipa::ToSchema;

use crate::{Error, Result, cluster::ObjectRef, text_enum};

text_enum! {
    pub enum ObjectChangeKind {
        Added = "ADDED",
        Removed = "REMOVED",
        Changed = "CHANGED",
    }
}

/// Object that was added, removed or changed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// For example `Deployment/n8n-k3v9x2ab`.
    pub object: String,
    pub change: ObjectChangeKind,
    /// JSON pointers of the changes; empty for an object that is added or removed.
    pub paths: Vec<String>,
}

/// Everything that differs between two renderings.
#[derive(Debug, Clone, Default)]
pub(in crate::provisioning) struct Difference {
    pub(in crate::provisioning) changes: Vec<ObjectChange>,
    /// A unified diff of the objects as YAML.
    pub(in crate::provisioning) text: String,
    /// Pods are replaced or go: the template of a workload changed, or the workload is no more.
    pub(in crate::provisioning) restarts: bool,
}

/// Compares two renderings whose secrets are masked.
///
/// # Errors
/// When an object cannot be written as YAML.
pub(in crate::provisioning) fn compare(before: &[Value], after: &[Value]) -> Result<Difference> {
    let (before, after) = (by_name(before), by_name(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut difference = Difference::default();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old == new {
            continue;
        }
        let mut paths = Vec::new();
        let change = match (old, new) {
            (None, _) => ObjectChangeKind::Added,
            (_, None) => ObjectChangeKind::Removed,
            (Some(old), Some(new)) => {
                collect(old, new, String::new(), &mut paths);
                ObjectChangeKind::Changed
            }
        };
        difference.restarts |= paths.iter().any(|path| path.starts_with("/spec/template"));
        difference.restarts |= change == ObjectChangeKind::Removed && has_pods(old.copied());
        difference
            .text
            .push_str(&unified(name, old.copied(), new.copied())?);
        difference.changes.push(ObjectChange {
            object: name.clone(),
            change,
            paths,
        });
    }
    Ok(difference)
}

/// Returns true for a workload.
fn has_pods(object: Option<&Value>) -> bool {
    object.is_some_and(|object| object.pointer("/spec/template").is_some())
}

fn by_name(objects: &[Value]) -> BTreeMap<String, &Value> {
    let named = |object| (ObjectRef::of(object).to_string(), object);
    objects.iter().map(named).collect()
}

/// Collects the paths at which two values differ; a list is compared as a whole.
fn collect(old: &Value, new: &Value, at: String, paths: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        paths.push(at);
        return;
    };
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => collect(old, new, path, paths),
            _ => paths.push(path),
        }
    }
}

fn unified(name: &str, old: Option<&Value>, new: Option<&Value>) -> Result<String> {
    let (old, new) = (yaml(old)?, yaml(new)?);
    let diff = TextDiff::from_lines(&old, &new);
    let text = diff
        .unified_diff()
        .context_radius(3)
        .header(name, name)
        .to_string();
    Ok(text)
}

fn yaml(object: Option<&Value>) -> Result<String> {
    object.map_or_else(
        || Ok(String::new()),
        |object| serde_norway::to_string(object).map_err(Error::internal),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, image: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": "a" },
            "spec": { "template": { "image": image }, "replicas": 1 },
        })
    }

    #[test]
    fn tells_what_is_added_removed_and_changed() {
        let before = [object("Deployment", "app:1"), object("Service", "x")];
        let after = [object("Deployment", "app:2"), object("Ingress", "x")];
        let found = compare(&before, &after).unwrap();
        let told: Vec<_> = found
            .changes
            .iter()
            .map(|change| {
                (
                    change.object.as_str(),
                    change.change,
                    change.paths.join(" "),
                )
            })
            .collect();
        let expected = [
            (
                "Deployment/a",
                ObjectChangeKind::Changed,
                "/spec/template/image".to_owned(),
            ),
            ("Ingress/a", ObjectChangeKind::Added, String::new()),
            ("Service/a", ObjectChangeKind::Removed, String::new()),
        ];
        assert_eq!(told, expected);
        assert!(found.restarts);
        assert!(
            found
                .text
                .contains("-    image: app:1\n+    image: app:2\n"),
            "{}",
            found.text
        );
    }

    #[test]
    fn the_same_differs_in_nothing() {
        let objects = [object("Deployment", "app:1")];
        let found = compare(&objects, &objects).unwrap();
        assert!(found.changes.is_empty() && found.text.is_empty() && !found.restarts);
    }

    #[test]
    fn a_workload_that_goes_takes_its_pods_and_one_that_comes_takes_none() {
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" }, "spec": {} });
        let (with, without) = ([object("Deployment", "app:1"), service.clone()], [service]);
        assert!(compare(&with, &without).unwrap().restarts);
        assert!(!compare(&without, &with).unwrap().restarts);
        assert!(!compare(&without, &[]).unwrap().restarts);
    }
}
