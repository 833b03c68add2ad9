//! Additions of others to the pods of a workload and to the ports of a Service, inside lists that are
//! ours: a server-side apply leaves them, since each item of such a list has an owner of its own.

use kube::api::{DynamicObject, ObjectMeta};
use serde_json::{Map, Value, json};

use super::FIELD_MANAGER;

/// A list, and the fields that name an item together.
type List = (&'static str, &'static [&'static str]);

/// Lists of a pod.
const OF_POD: &[List] = &[
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("volumes", &["name"]),
    ("imagePullSecrets", &["name"]),
];
/// Lists of a container.
const OF_CONTAINER: &[List] = &[
    ("env", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("ports", &["containerPort", PROTOCOL]),
];
/// Lists of a Service.
const OF_SERVICE: &[List] = &[("ports", &["port", PROTOCOL])];
const PROTOCOL: &str = "protocol";
/// Protocol of a port that names none.
const USUAL_PROTOCOL: &str = "TCP";

/// JSON pointer to the place of our lists, and the lists there; nothing for kinds without any.
fn lists(kind: &str) -> Option<(&'static str, &'static [List])> {
    match kind {
        "Deployment" | "StatefulSet" => Some(("/spec/template/spec", OF_POD)),
        "CronJob" => Some(("/spec/jobTemplate/spec/template/spec", OF_POD)),
        "Service" => Some(("/spec", OF_SERVICE)),
        _ => None,
    }
}

fn has_containers(list: &str) -> bool {
    list == "containers" || list == "initContainers"
}

/// Tells who else has fields in the desired state of a workload or a Service, with these fields.
pub(super) fn others<'a>(
    kind: &str,
    metadata: &'a ObjectMeta,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let entries = metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(move |_| lists(kind).is_some());
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
    let (pointer, names) = lists(kind)?;
    let (ours, theirs) = (manifest.pointer(pointer)?, live.data.pointer(pointer)?);
    let mut touched = Vec::new();
    let mut lists = Map::new();
    for &(list, keys) in names {
        let mut items = kept(ours, theirs, (list, keys), &mut touched);
        if has_containers(list) {
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
    list == touched || (has_containers(list) && OF_CONTAINER.iter().any(|(one, _)| *one == touched))
}

/// Returns the items of a list that the manifest has too, when there are others.
fn kept(
    ours: &Value,
    theirs: &Value,
    (list, keys): List,
    touched: &mut Vec<&'static str>,
) -> Option<Vec<Value>> {
    let all = theirs.get(list)?.as_array()?;
    let ours = ours.get(list).and_then(Value::as_array);
    let is_ours = |item: &Value| {
        let mut names = ours.into_iter().flatten();
        names.any(|one| is_same(one, item, keys))
    };
    let kept: Vec<_> = all.iter().filter(|item| is_ours(item)).cloned().collect();
    if kept.len() == all.len() {
        return None;
    }
    touched.push(list);
    Some(kept)
}

/// Compares two items of a list by the fields that name them.
fn is_same(one: &Value, other: &Value, keys: &[&str]) -> bool {
    keys.iter().all(|key| {
        if *key == PROTOCOL {
            protocol(one) == protocol(other)
        } else {
            one.get(key) == other.get(key)
        }
    })
}

fn protocol(port: &Value) -> &str {
    let named = port.get(PROTOCOL).and_then(Value::as_str);
    named.unwrap_or(USUAL_PROTOCOL)
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
        for &list in OF_CONTAINER {
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
        assert_eq!(without("ConfigMap", &ours, &theirs), None);
    }

    #[test]
    fn ports_and_secrets_of_registries_that_others_add_are_taken_away() {
        let container = |ports: Value| json!({"containers": [{"name": "app", "ports": ports}]});
        // One that names no protocol is the same as the live one, which has it.
        let ours = object(&container(json!([{"containerPort": 80}])));
        let kept = json!({"containerPort": 80, "protocol": "TCP"});
        let live = |ports: Value, secrets: Value| -> DynamicObject {
            let mut spec = container(ports);
            spec["imagePullSecrets"] = secrets;
            serde_json::from_value(object(&spec)).unwrap()
        };
        let untouched = live(json!([kept]), json!([]));
        assert_eq!(without("StatefulSet", &ours, &untouched), None);
        let theirs = live(
            json!([
                kept,
                {"containerPort": 80, "protocol": "UDP"},
                {"containerPort": 81, "protocol": "TCP"},
            ]),
            json!([{"name": "theirs"}]),
        );
        let (patch, touched) = without("StatefulSet", &ours, &theirs).unwrap();
        let left = json!({
            "containers": [{"name": "app", "ports": [kept]}],
            "imagePullSecrets": [],
        });
        assert_eq!(patch.pointer("/spec/template/spec"), Some(&left));
        assert_eq!(touched, ["ports", "imagePullSecrets"]);
    }

    #[test]
    fn ports_that_others_add_to_a_service_are_taken_away() {
        let service = |ports: Value| json!({"metadata": {"name": "a"}, "spec": {"ports": ports}});
        let ours = service(
            json!([{"name": "app", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]),
        );
        let kept = json!([
            {"name": "app", "port": 80, "protocol": "TCP", "targetPort": 80},
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        ]);
        let live: DynamicObject = serde_json::from_value(service(kept.clone())).unwrap();
        assert_eq!(without("Service", &ours, &live), None);
        let mut more = kept.clone();
        let added = json!({"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53});
        more.as_array_mut().unwrap().push(added);
        let live: DynamicObject = serde_json::from_value(service(more)).unwrap();
        let (patch, touched) = without("Service", &ours, &live).unwrap();
        assert_eq!(patch, json!({"spec": {"ports": kept}}));
        assert_eq!(touched, ["ports"]);
    }
}
