//! Tests of the comparison with made-up surveys.

use sqlx::types::Json;

use super::{
    compare::{Book, compare, is_left},
    findings::Finding,
    store::Entry,
    view::{DriftKind, RepairAction},
};
use crate::{
    cluster::{ClaimRef, NAMESPACE, ObjectRef, Sighting, Survey, VOLUME_CLAIM},
    db::Clock,
    ids::{InstanceId, SubscriptionId, UserId},
    provisioning::model::Desired,
};

const HOME: &str = "user-1";
const OWNER: UserId = UserId::from_u128(1);

/// The instance `a` with a ConfigMap and a claim that holds its data.
fn entry() -> Entry {
    let object = |kind, name| ObjectRef::new("v1", kind, name);
    Entry {
        id: InstanceId::from_u128(2),
        subscription_id: SubscriptionId::from_u128(3),
        user_id: OWNER,
        name: "a".to_owned(),
        namespace: HOME.to_owned(),
        desired: Desired::Running,
        observed_generation: 1,
        applied: Json(vec![
            object("ConfigMap", "a"),
            object(VOLUME_CLAIM, "a-data"),
        ]),
        claims: Json(vec![ClaimRef {
            name: "a-data".to_owned(),
            uid: "PersistentVolumeClaim/a-data".to_owned(),
            volume: None,
        }]),
        updated_at: Clock::system().now(),
    }
}

/// An object as Dermaga applies it for the instance `a`.
fn applied(kind: &str, name: &str) -> Sighting {
    Sighting {
        object: ObjectRef::new("v1", kind, name),
        namespace: HOME.to_owned(),
        uid: format!("{kind}/{name}"),
        created_at: None,
        is_leaving: false,
        is_managed: true,
        owner: Some(OWNER),
        instance: Some("a".to_owned()),
        was_applied: true,
        other_manager: None,
        controller: None,
        version: None,
    }
}

fn home() -> Sighting {
    Sighting {
        instance: None,
        ..applied(NAMESPACE, HOME)
    }
}

/// An object without any label of ours.
fn of_others(kind: &str, name: &str) -> Sighting {
    Sighting {
        is_managed: false,
        owner: None,
        instance: None,
        was_applied: false,
        other_manager: Some("kubectl".to_owned()),
        ..applied(kind, name)
    }
}

fn whole() -> Vec<Sighting> {
    let objects = [("ConfigMap", "a"), (VOLUME_CLAIM, "a-data")];
    let mut all = vec![home()];
    all.extend(objects.map(|(kind, name)| applied(kind, name)));
    all
}

fn found_by(entries: &[Entry], sightings: Vec<Sighting>) -> Vec<Finding> {
    let book = Book::new(entries.to_vec(), entries.to_vec(), None);
    compare(&Survey::of(sightings), &book)
}

fn found(sightings: Vec<Sighting>) -> Vec<(DriftKind, String, Option<RepairAction>, bool)> {
    let found = found_by(&[entry()], sightings).into_iter();
    let found = found.map(|one| {
        let remedy = one.remedy;
        (
            one.drift,
            one.object.to_string(),
            remedy.action,
            remedy.by_name_only,
        )
    });
    found.collect()
}

#[test]
fn what_agrees_and_what_kubernetes_makes_is_no_difference() {
    let mut all = whole();
    let of_kubernetes = [
        ("ConfigMap", "kube-root-ca.crt"),
        ("ServiceAccount", "default"),
    ];
    all.extend(of_kubernetes.map(|(kind, name)| of_others(kind, name)));
    all.push(Sighting {
        instance: None,
        ..applied("ResourceQuota", "dermaga")
    });
    // A wall without labels comes back by itself.
    all.push(Sighting {
        was_applied: true,
        ..of_others("LimitRange", "dermaga")
    });
    all.push(Sighting {
        controller: Some(("ConfigMap/a".to_owned(), "ConfigMap/a".to_owned())),
        ..of_others("Pod", "a-0")
    });
    // Asked for by a StatefulSet.
    all.push(Sighting {
        is_managed: false,
        was_applied: false,
        other_manager: Some("kube-controller-manager".to_owned()),
        ..applied(VOLUME_CLAIM, "set-a-0")
    });
    let elsewhere = Sighting {
        namespace: "kube-system".to_owned(),
        ..of_others("ConfigMap", "other")
    };
    all.push(elsewhere);
    assert_eq!(found(all), []);
}

#[test]
fn an_object_whose_labels_were_removed_is_adopted_and_never_deleted() {
    let stripped = |kind, name| Sighting {
        was_applied: true,
        ..of_others(kind, name)
    };
    let relabelled = Sighting {
        instance: Some("unknown".to_owned()),
        was_applied: false,
        ..applied(VOLUME_CLAIM, "a-data")
    };
    let all = vec![
        stripped(NAMESPACE, HOME),
        stripped("ConfigMap", "a"),
        relabelled,
    ];
    let adopted = |object: &str| {
        let action = Some(RepairAction::Adopt);
        (DriftKind::Unlabelled, object.to_owned(), action, false)
    };
    let expected = [
        "Namespace/user-1",
        "ConfigMap/a",
        "PersistentVolumeClaim/a-data",
    ];
    assert_eq!(found(all), expected.map(adopted));
}

#[test]
fn no_claim_is_deleted_where_an_instance_lives() {
    let restored = |name: &str| Sighting {
        uid: "another".to_owned(),
        was_applied: false,
        other_manager: Some("velero-server".to_owned()),
        ..applied(VOLUME_CLAIM, name)
    };
    let in_its_place = Sighting {
        uid: "another".to_owned(),
        ..of_others(VOLUME_CLAIM, "a-data")
    };
    for claim in [
        restored("set-a-0"),
        of_others(VOLUME_CLAIM, "b"),
        in_its_place,
    ] {
        let name = claim.object.name.clone();
        let found = found_by(&[entry()], vec![home(), applied("ConfigMap", "a"), claim]);
        let of_claim = found.iter().filter(|one| one.object.name == name);
        let actions: Vec<_> = of_claim.map(|one| one.remedy.action).collect();
        assert!(!actions.contains(&Some(RepairAction::Delete)), "{name}");
        assert!(!actions.is_empty(), "{name}");
    }
}

#[test]
fn objects_of_others_are_deleted_by_name_only() {
    let mut all = whole();
    let in_the_way = of_others("ConfigMap", "a");
    all[1] = in_the_way;
    all.push(of_others("Deployment", "miner"));
    all.push(Sighting {
        was_applied: false,
        other_manager: Some("kubectl".to_owned()),
        ..applied("ConfigMap", "smuggled")
    });
    let expected = ["ConfigMap/a", "Deployment/miner", "ConfigMap/smuggled"].map(|object| {
        let action = Some(RepairAction::Delete);
        (DriftKind::Foreign, object.to_owned(), action, true)
    });
    assert_eq!(found(all), expected);
}

#[test]
fn a_policy_in_disguise_is_foreign_by_its_name() {
    let policy = |name: &str| Sighting {
        instance: None,
        was_applied: false,
        other_manager: Some("kubectl".to_owned()),
        ..applied("NetworkPolicy", name)
    };
    let named = Sighting {
        is_managed: false,
        owner: None,
        was_applied: true,
        ..policy("dermaga-open")
    };
    let borrowed = Sighting {
        is_managed: false,
        instance: Some("a".to_owned()),
        was_applied: true,
        ..policy("borrowed")
    };
    let mut all = whole();
    all.extend([named, policy("labelled"), borrowed]);
    // Labels of an instance do not make a wall its object.
    all.push(Sighting {
        instance: Some("unknown".to_owned()),
        was_applied: true,
        ..policy("dermaga-allow-dns")
    });
    let expected = ["dermaga-open", "labelled", "borrowed"].map(|name| {
        let action = Some(RepairAction::Delete);
        let object = format!("NetworkPolicy/{name}");
        (DriftKind::Foreign, object, action, true)
    });
    assert_eq!(found(all), expected);
}

#[test]
fn a_namespace_goes_with_its_walls_and_with_nothing_in_their_disguise() {
    let wall = |kind: &str, name: &str| Sighting {
        instance: None,
        ..applied(kind, name)
    };
    for (kind, name) in [
        ("ResourceQuota", "dermaga"),
        ("LimitRange", "dermaga"),
        ("RoleBinding", "dermaga"),
        ("NetworkPolicy", "dermaga-default-deny"),
    ] {
        assert!(!is_left(&wall(kind, name), None), "{kind}/{name}");
        let unlabelled = Sighting {
            was_applied: true,
            ..of_others(kind, name)
        };
        assert!(!is_left(&unlabelled, None), "{kind}/{name} without labels");
        assert!(
            is_left(&of_others(kind, name), None),
            "{kind}/{name} of others"
        );
    }
    assert!(!is_left(&home(), None));
    assert!(!is_left(&of_others("ServiceAccount", "default"), None));
    for (kind, name) in [
        ("NetworkPolicy", "dermaga-open"),
        ("RoleBinding", "administrators"),
        ("ConfigMap", "dermaga"),
    ] {
        assert!(is_left(&wall(kind, name), None), "{kind}/{name}");
    }
}

#[test]
fn the_certificate_of_the_operator_is_no_difference_and_keeps_no_namespace() {
    let mut book = Book::new(vec![entry()], vec![entry()], None);
    book.certificate = Some("wildcard".to_owned());
    let copy = of_others("Secret", "wildcard");
    let mut all = whole();
    all.extend([copy.clone(), of_others("ConfigMap", "wildcard")]);
    let found = compare(&Survey::of(all), &book);
    let names: Vec<_> = found.iter().map(|one| one.object.to_string()).collect();
    assert_eq!(names, ["ConfigMap/wildcard"]);
    assert!(!is_left(&copy, book.certificate.as_deref()));
    assert!(is_left(&copy, None));
}

#[test]
fn orphans_of_unknown_instances_are_deleted_by_name_and_none_outside_of_tenants_namespaces() {
    let named = |namespace: &str, name: &str| Sighting {
        namespace: namespace.to_owned(),
        instance: Some(name.to_owned()),
        ..applied("ConfigMap", name)
    };
    let mut all = whole();
    all.extend([
        named(HOME, "ended"),
        named(HOME, "unknown"),
        named("default", "far"),
    ]);
    let mut book = Book::new(vec![entry()], vec![entry()], None);
    book.ended.push(Entry {
        name: "ended".to_owned(),
        ..entry()
    });
    let found = compare(&Survey::of(all), &book);
    let found = found
        .iter()
        .map(|one| (one.remedy.action, one.remedy.by_name_only));
    let delete = Some(RepairAction::Delete);
    let expected = [(delete, false), (delete, true), (None, true)];
    assert!(found.eq(expected));
}

#[test]
fn what_is_missing_is_applied_again_unless_its_data_is_lost_with_it() {
    let ghost = |object: &str, action: Option<RepairAction>| {
        (
            DriftKind::Ghost,
            object.to_owned(),
            action,
            action.is_none(),
        )
    };
    let mut all = whole();
    all.remove(1);
    let again = Some(RepairAction::Reapply);
    assert_eq!(found(all.clone()), [ghost("ConfigMap/a", again)]);
    all.pop();
    let lost = ["ConfigMap/a", "PersistentVolumeClaim/a-data"];
    assert_eq!(found(all), lost.map(|object| ghost(object, None)));
    assert_eq!(found(Vec::new()), [ghost("Namespace/user-1", None)]);
    // One that is on its way out is no ghost.
    let ending = Entry {
        desired: Desired::Terminated,
        ..entry()
    };
    assert!(found_by(&[ending], Vec::new()).is_empty());
}

#[test]
fn an_instance_bought_while_the_cluster_was_read_is_no_difference() {
    let before = Book::new(Vec::new(), vec![entry()], None);
    assert!(compare(&Survey::of(whole()), &before).is_empty());
    assert!(compare(&Survey::of(Vec::new()), &before).is_empty());
}
