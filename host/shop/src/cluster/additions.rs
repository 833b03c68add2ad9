//! Additions of others to the pods of a workload, inside lists that are ours: a server-side apply
//! leaves them, since each item of such a list has an owner of its own.

use kube::api::{DynamicObject, ObjectMeta};
use serde_json::{Map, Value, json};

use super::FIELD_MANAGER;

/// Lists of a pod, and the field that names an item.
const OF_POD: [(&str, &str); 3] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("volumes", "name"),
];
/// Lists of a container.
const OF_CONTAINER: [(&str, &str); 2] = [("env", "name"), ("volumeMounts", "mountPath")];

/// JSON pointer to the pods of a workload; nothing for other kinds.
fn pods(kind: &str) -> Option<&'static str> {
    match kind {
        "Deployment" | "StatefulSet" => Some("/spec/template/spec"),
        "CronJob" => Some("/spec/jobTemplate/spec/template/spec"),
        _ => None,
    }
}

/// Tells who else has fields in the desired state of a workload, with these fields.
pub(super) fn others<'a>(
    kind: &str,
    metadata: &'a ObjectMeta,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let entries = metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(move |_| pods(kind).is_some());
    entries.filter_map(|entry| {
        let fields = &entry.fields_v1.as_ref()?.0;
        let manager = entry.manager.as_deref().unwrap_or("a client without name");
        let is_other = manager != FIELD_MANAGER && entry.subresource.is_none();
        (is_other && fields.get("f:spec").is_some()).then_some((manager, fields))
    })
}

/// Returns a merge patch that takes the additions of others away, with the names of the lists;
/// nothing when there are none.
pub(super) fn without(
    kind: &str,
    manifest: &Value,
    live: &DynamicObject,
) -> Option<(Value, Vec<&'static str>)> {
    let pointer = pods(kind)?;
    let (ours, theirs) = (manifest.pointer(pointer)?, live.data.pointer(pointer)?);
    let mut touched = Vec::new();
    let mut lists = Map::new();
    for (list, key) in OF_POD {
        let mut items = kept(ours, theirs, (list, key), &mut touched);
        if list != "volumes" {
            let theirs = items
                .take()
                .or_else(|| theirs.get(list)?.as_array().cloned());
            items = theirs.and_then(|theirs| containers(ours.get(list)?, theirs, &mut touched));
        }
        if let Some(items) = items.filter(|_| touched.iter().any(|one| belongs(list, one))) {
            lists.insert(list.to_owned(), json!(items));
        } else if touched.contains(&list) {
            lists.insert(list.to_owned(), Value::Null);
        }
    }
    if touched.is_empty() {
        return None;
    }
    let mut patch = Value::Object(lists);
    for part in pointer.rsplit('/').filter(|part| !part.is_empty()) {
        patch = json!({ part: patch });
    }
    if let Some(version) = &live.metadata.resource_version {
        *patch
            .as_object_mut()?
            .entry("metadata")
            .or_insert(Value::Null) = json!({ "resourceVersion": version });
    }
    Some((patch, touched))
}

/// Returns true when a touched list is this one, or is one of a container of it.
fn belongs(list: &str, touched: &str) -> bool {
    list == touched || (list != "volumes" && OF_CONTAINER.iter().any(|(one, _)| *one == touched))
}

/// Returns the items of a list that the manifest has too, when there are others.
fn kept(
    ours: &Value,
    theirs: &Value,
    (list, key): (&'static str, &str),
    touched: &mut Vec<&'static str>,
) -> Option<Vec<Value>> {
    let all = theirs.get(list)?.as_array()?;
    let ours = ours.get(list).and_then(Value::as_array);
    let is_ours = |item: &Value| {
        let mut names = ours.into_iter().flatten();
        names.any(|one| one.get(key) == item.get(key))
    };
    let kept: Vec<_> = all.iter().filter(|item| is_ours(item)).cloned().collect();
    if kept.len() == all.len() {
        return None;
    }
    touched.push(list);
    Some(kept)
}

/// Takes additions out of containers.
fn containers(
    ours: &Value,
    mut theirs: Vec<Value>,
    touched: &mut Vec<&'static str>,
) -> Option<Vec<Value>> {
    for container in &mut theirs {
        let mut names = ours.as_array()?.iter();
        let same = names.find(|one| one.get("name") == container.get("name"));
        for list in OF_CONTAINER {
            if let Some(kept) = same.and_then(|same| kept(same, container, list, touched)) {
                container
                    .as_object_mut()?
                    .insert(list.0.to_owned(), json!(kept));
            }
        }
    }
    Some(theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: &Value) -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": spec}}})
    }

    #[test]
    fn what_others_add_to_our_lists_is_taken_away_and_the_rest_stays() {
        let ours =
            object(&json!({"containers": [{"name": "app", "env": [{"name": "A", "value": "1"}]}]}));
        let as_ours: DynamicObject = serde_json::from_value(ours.clone()).unwrap();
        assert_eq!(without("Deployment", &ours, &as_ours), None);
        let theirs = object(&json!({
            "containers": [
                {"name": "miner", "image": "evil:1"},
                {"name": "app", "image": "app:1", "env": [
                    {"name": "A", "value": "1"}, {"name": "B", "value": "2"},
                ]},
            ],
            "initContainers": [{"name": "first"}],
        }));
        let theirs: DynamicObject = serde_json::from_value(theirs).unwrap();
        let (patch, touched) = without("Deployment", &ours, &theirs).unwrap();
        let left = json!({
            "containers": [{"name": "app", "image": "app:1", "env": [{"name": "A", "value": "1"}]}],
            "initContainers": null,
        });
        assert_eq!(patch.pointer("/spec/template/spec"), Some(&left));
        assert_eq!(touched, ["containers", "env", "initContainers"]);
        assert_eq!(without("Service", &ours, &theirs), None);
    }
}
