//! Knowledge of objects, as watches and our own writes change it.

use kube::runtime::watcher::{self, Event};
use serde_json::json;

use super::*;

const KIND: (&str, &str) = ("apps/v1", "Deployment");

fn deployment(version: u32, fields: &str) -> DynamicObject {
    let object = json!({
        "metadata": {
            "name": "web", "namespace": "user-1", "uid": "u", "resourceVersion": version.to_string(),
            "labels": {MANAGED_BY_LABEL: FIELD_MANAGER, INSTANCE_LABEL: "a"},
            "managedFields": [
                {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
                 "fieldsV1": {"f:status": {"at": version}}},
                {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {fields: {}}},
            ],
        },
    });
    serde_json::from_value(object).unwrap()
}

fn object() -> ObjectRef {
    ObjectRef::new(KIND.0, KIND.1, "web")
}

/// Records of a cluster in which one Deployment was applied at version 5.
fn applied() -> Known {
    let known = Known::default();
    known.begin([KIND.1].into_iter());
    known.list_begins(KIND.1);
    known.list_ends(KIND.1);
    known.applied(&object(), deployment(5, "f:spec"), 7);
    known
}

fn agrees(known: &Known) -> bool {
    known.agrees("user-1", "a", &object(), 7)
}

#[test]
fn an_object_agrees_until_a_field_of_ours_is_changed() {
    let known = applied();
    assert!(agrees(&known));
    assert!(
        !known.agrees("user-1", "a", &object(), 8),
        "another manifest"
    );
    // Our own apply and what came before it are no news, a later status is.
    assert_eq!(known.seen(KIND, deployment(5, "f:spec")), None);
    assert_eq!(known.seen(KIND, deployment(4, "f:other")), None);
    assert_eq!(
        known.seen(KIND, deployment(6, "f:spec")).as_deref(),
        Some("a")
    );
    assert!(agrees(&known));
    known.seen(KIND, deployment(8, "f:spec-without-replicas"));
    assert!(!agrees(&known));
    known.applied(&object(), deployment(9, "f:spec"), 7);
    assert!(agrees(&known));
    known.gone(KIND, &deployment(10, "f:spec"));
    assert!(!agrees(&known));
}

#[test]
fn nothing_is_trusted_before_the_watches_have_listed() {
    let known = applied();
    known.begin([KIND.1, POD].into_iter());
    assert!(!agrees(&known));
    assert!(known.look("user-1", "a").is_none());
    known.list_begins(POD);
    known.list_ends(POD);
    known.list_begins(KIND.1);
    known.seen(KIND, deployment(5, "f:spec"));
    assert_eq!(known.list_ends(KIND.1), [""; 0]);
    assert!(agrees(&known));
    known.list_begins(KIND.1);
    assert_eq!(known.list_ends(KIND.1), ["a"]);
    assert!(!agrees(&known));
}

#[test]
fn nothing_is_trusted_while_a_watch_cannot_be_started() {
    let known = applied();
    let now = Instant::now();
    let failed = Err(watcher::Error::NoResourceVersion);
    for ago in [150, 100, 50] {
        let before = now.checked_sub(Duration::from_secs(ago)).unwrap();
        known.hears(KIND.1, &failed, before);
    }
    assert!(agrees(&known), "for less than two minutes");
    assert!(known.hears(KIND.1, &failed, now));
    assert!(!agrees(&known) && known.look("user-1", "a").is_none());
    known.hears(KIND.1, &Ok(Event::InitDone), now);
    assert!(agrees(&known));
}

#[test]
fn a_settled_instance_is_unchanged_until_one_of_its_objects_is() {
    let known = applied();
    let look = known.look("user-1", "a").unwrap();
    assert!(look.found.iter().all(|(_, whole)| whole.is_some()));
    known.settle("user-1", "a", look.digest, 1);
    assert!(known.is_settled("user-1", "a", 1));
    assert!(!known.is_settled("user-1", "a", 2), "another status");
    known.seen(KIND, deployment(6, "f:spec"));
    assert!(!known.is_settled("user-1", "a", 1));
    // Whole objects are not kept of an instance at rest.
    assert!(
        known
            .state()
            .groups
            .values()
            .all(|group| group.records[0].whole.is_none())
    );
    assert_eq!(known.state().close, 0);
}
