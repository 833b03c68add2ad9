//! Tests of the watch for changes of walls, without a cluster.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn object(manifest: Value) -> DynamicObject {
    serde_json::from_value(manifest).unwrap()
}

fn watch(kind: &'static str) -> WallWatch {
    WallWatch {
        kind,
        walls: Walls::default(),
        foreign: Vec::new(),
    }
}

#[test]
fn a_wall_that_is_as_it_was_applied_is_no_news() {
    let quota = |pods: u32, used: u32| {
        object(json!({
            "metadata": {"name": "dermaga", "namespace": "user-1"},
            "spec": {"hard": {"pods": pods}}, "status": {"used": {"pods": used}},
        }))
    };
    let mut quotas = watch("ResourceQuota");
    quotas.walls.applied(QUOTA, &quota(2, 0), 7);
    assert_eq!(quotas.changes(Ok(Event::Apply(quota(2, 1)))), []);
    let [appeared, changed] = [false, true].map(|was_there| {
        [WallChange::Ours {
            namespace: "user-1".to_owned(),
            was_there,
        }]
    });
    assert_eq!(quotas.changes(Ok(Event::Apply(quota(9, 1)))), changed);
    assert_eq!(quotas.changes(Ok(Event::Apply(quota(9, 2)))), []);
    // It was mended: the watch tells so before the answer of the API server is here.
    assert_eq!(quotas.changes(Ok(Event::Apply(quota(2, 2)))), []);
    assert_eq!(quotas.changes(Ok(Event::Delete(quota(2, 2)))), changed);
    assert_eq!(quotas.changes(Ok(Event::Apply(quota(2, 2)))), appeared);
}

#[test]
fn policies_of_others_are_told_apart() {
    let named =
        |name: &str| object(json!({"metadata": {"name": name, "namespace": "user-1"}, "spec": {}}));
    let open = PolicyRef {
        namespace: "user-1".to_owned(),
        name: "open".to_owned(),
    };
    let mut policies = watch(POLICY);
    assert_eq!(policies.changes(Ok(Event::Init)), []);
    let foreign = |policy: &PolicyRef, instance: Option<&str>| WallChange::Foreign {
        policy: policy.clone(),
        instance: instance.map(str::to_owned),
    };
    assert_eq!(
        policies.changes(Ok(Event::InitApply(named("open")))),
        [foreign(&open, None)]
    );
    let ours = policies.changes(Ok(Event::InitApply(named("dermaga-default-deny"))));
    assert!(matches!(ours[..], [WallChange::Ours { .. }]), "{ours:?}");
    assert_eq!(
        policies.changes(Ok(Event::InitDone)),
        [WallChange::AllForeign(vec![open.clone()])]
    );
    assert_eq!(
        policies.changes(Ok(Event::Delete(named("open")))),
        [WallChange::ForeignGone(open)]
    );
    for (name, labels, instance) in [
        ("dermaga-open", json!({}), None),
        (
            "a",
            json!({MANAGED_BY_LABEL: FIELD_MANAGER, USER_LABEL: "1"}),
            None,
        ),
        ("b", json!({INSTANCE_LABEL: "app"}), None),
        (
            "c",
            json!({MANAGED_BY_LABEL: FIELD_MANAGER, INSTANCE_LABEL: "app"}),
            Some("app"),
        ),
    ] {
        let disguised = object(json!({
            "metadata": {"name": name, "namespace": "user-1", "labels": labels}, "spec": {},
        }));
        let policy = policy(&disguised);
        let changes = policies.changes(Ok(Event::Apply(disguised)));
        assert_eq!(changes, [foreign(&policy, instance)], "{name}");
    }
}

#[test]
fn walls_are_not_seen_while_a_watch_cannot_be_started() {
    let walls = Walls::default();
    walls.list_begins(QUOTA);
    walls.list_ends(QUOTA);
    let now = Instant::now();
    for (ago, is_current) in [(150, true), (80, true), (10, false)] {
        let before = now.checked_sub(Duration::from_secs(ago)).unwrap();
        let failed = Err(watcher::Error::NoResourceVersion);
        assert_eq!(walls.hears(QUOTA, &failed, before), !is_current);
        assert_eq!(walls.is_current(), is_current, "{ago} seconds ago");
    }
    walls.begin([QUOTA].into_iter());
    walls.list_begins(QUOTA);
    walls.list_ends(QUOTA);
    assert!(walls.is_current());
}

#[test]
fn a_wall_that_a_new_list_does_not_have_is_gone() {
    let of =
        |namespace: &str| object(json!({"metadata": {"name": "dermaga", "namespace": namespace}}));
    let mut limits = watch("LimitRange");
    limits.changes(Ok(Event::Init));
    limits.changes(Ok(Event::InitApply(of("user-1"))));
    limits.changes(Ok(Event::InitApply(of("user-2"))));
    assert_eq!(limits.changes(Ok(Event::InitDone)), []);
    limits.changes(Ok(Event::Init));
    limits.changes(Ok(Event::InitApply(of("user-2"))));
    let gone = [WallChange::Ours {
        namespace: "user-1".to_owned(),
        was_there: true,
    }];
    assert_eq!(limits.changes(Ok(Event::InitDone)), gone);
}
