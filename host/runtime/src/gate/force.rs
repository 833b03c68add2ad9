//! Values that the host writes into checked objects, replacing the plugin's own.

use serde_json::{Map, Value};

use super::{
    kinds::Kind,
    policy::{INSTANCE_LABEL, Policy},
    scratch,
};

/// Writes the host's values into an object that has passed all checks, so that every place for a
/// map holds a map or nothing.
pub(super) fn apply(kind: &Kind, mut object: Value, policy: &Policy) -> Value {
    set(&mut object, &["metadata"], "namespace", &policy.namespace);
    label(&mut object, policy);
    if let Some(runs) = kind.runs {
        if let Some(template) = at(&mut object, runs.template) {
            label(template, policy);
            insert(
                template,
                &["spec"],
                "automountServiceAccountToken",
                Value::Bool(false),
            );
            if let Some(pod) = template.get_mut("spec") {
                scratch::force(pod);
            }
        }
        if let Some(jobs) = at(&mut object, &["spec", "jobTemplate"]) {
            label(jobs, policy);
        }
    }
    match kind.name {
        "Deployment" | "StatefulSet" | "PodDisruptionBudget" => {
            narrow(&mut object, &["spec", "selector", "matchLabels"], policy);
        }
        "Service" => narrow(&mut object, &["spec", "selector"], policy),
        "NetworkPolicy" => narrow_policy(&mut object, policy),
        "ServiceAccount" => {
            insert(
                &mut object,
                &[],
                "automountServiceAccountToken",
                Value::Bool(false),
            );
        }
        "PersistentVolumeClaim" => set_storage_class(&mut object, policy),
        "Ingress" => {
            if let Some(class) = &policy.ingress_class {
                set(&mut object, &["spec"], "ingressClassName", class);
            }
        }
        _ => {}
    }
    for claim in elements(&mut object, &["spec", "volumeClaimTemplates"]) {
        // Claim templates can never change again, so they get no label that a plan may change.
        set(
            claim,
            &["metadata", "labels"],
            INSTANCE_LABEL,
            &policy.instance,
        );
        set_storage_class(claim, policy);
    }
    object
}

fn set_storage_class(claim: &mut Value, policy: &Policy) {
    if let Some(class) = &policy.storage_class {
        set(claim, &["spec"], "storageClassName", class);
    }
}

/// Writes the owner labels and the instance's.
fn label(owner: &mut Value, policy: &Policy) {
    for (key, value) in &policy.labels {
        set(owner, &["metadata", "labels"], key, value);
    }
    set(
        owner,
        &["metadata", "labels"],
        INSTANCE_LABEL,
        &policy.instance,
    );
}

/// Restricts a selector to the instance, and to the labels that were forced on its pods.
fn narrow(object: &mut Value, selector: &[&str], policy: &Policy) {
    set(object, selector, INSTANCE_LABEL, &policy.instance);
    let Some(Value::Object(labels)) = at(object, selector) else {
        return;
    };
    for (key, value) in labels {
        if let Some(forced) = policy.labels.get(key) {
            *value = Value::from(forced.as_str());
        }
    }
}

fn narrow_policy(object: &mut Value, policy: &Policy) {
    narrow(object, &["spec", "podSelector", "matchLabels"], policy);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in elements(object, &["spec", rules]) {
            for peer in elements(rule, &[peers]) {
                if peer.get("podSelector").is_some() {
                    narrow(peer, &["podSelector", "matchLabels"], policy);
                }
            }
        }
    }
}

fn at<'v>(value: &'v mut Value, keys: &[&str]) -> Option<&'v mut Value> {
    keys.iter()
        .try_fold(value, |value, key| value.get_mut(*key))
}

pub(super) fn elements<'v>(
    value: &'v mut Value,
    keys: &[&str],
) -> impl Iterator<Item = &'v mut Value> {
    at(value, keys)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn set(value: &mut Value, path: &[&str], key: &str, text: &str) {
    insert(value, path, key, Value::from(text));
}

/// Sets a member of the map at `path`, and creates the maps on the way.
pub(super) fn insert(value: &mut Value, path: &[&str], key: &str, member: Value) {
    let mut place = value;
    for step in path {
        let Some(map) = as_map(place) else { return };
        place = map.entry(*step).or_insert(Value::Null);
    }
    if let Some(map) = as_map(place) {
        map.insert(key.to_owned(), member);
    }
}

/// Returns the map at a place, created if there is nothing yet.
fn as_map(place: &mut Value) -> Option<&mut Map<String, Value>> {
    if place.is_null() {
        *place = Value::Object(Map::new());
    }
    place.as_object_mut()
}
