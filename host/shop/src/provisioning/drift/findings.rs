//! Differences that a comparison has found, and their repairs.

use chrono::{DateTime, Utc};

use super::{
    store::Entry,
    view::{DriftKind, RepairAction},
};
use crate::{
    cluster::{NAMESPACE, ObjectRef, Sighting, VOLUME_CLAIM},
    ids::UserId,
};

/// Manager of the claims that a StatefulSet asks for.
const CONTROLLERS: &str = "kube-controller-manager";
/// Manager of fields that the API server writes for clients without a name of their own.
const NAMELESS: &str = "unknown";
const POLICY: &str = "NetworkPolicy";

/// Repair of a difference, or the reason that there is none.
#[derive(Debug, Clone)]
pub(super) struct Remedy {
    pub(super) action: Option<RepairAction>,
    pub(super) by_name_only: bool,
    pub(super) words: String,
}

/// A difference.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) drift: DriftKind,
    pub(super) object: ObjectRef,
    pub(super) namespace: String,
    /// Absent for an object that is missing.
    pub(super) seen: Option<Sighting>,
    pub(super) instance: Option<String>,
    pub(super) of: Option<Entry>,
    pub(super) owner: Option<UserId>,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) reason: String,
    pub(super) remedy: Remedy,
}

impl Finding {
    /// Place in a list; namespaces after what is in them.
    pub(super) fn place(&self) -> (DriftKind, bool, &str, &str, &str) {
        let ObjectRef { kind, name, .. } = &self.object;
        let is_namespace = kind == NAMESPACE;
        (self.drift, is_namespace, &self.namespace, kind, name)
    }
}

pub(super) fn finding(
    drift: DriftKind,
    seen: &Sighting,
    reason: String,
    remedy: Remedy,
) -> Finding {
    Finding {
        drift,
        object: seen.object.clone(),
        namespace: seen.namespace.clone(),
        instance: seen.instance.clone(),
        of: None,
        owner: seen.owner,
        since: seen.created_at,
        reason,
        remedy,
        seen: Some(seen.clone()),
    }
}

pub(super) fn none(words: &str) -> Remedy {
    Remedy {
        action: None,
        by_name_only: true,
        words: words.to_owned(),
    }
}

/// Repair of an object that Dermaga did not make, in a namespace that instances live in.
pub(super) fn by_name(seen: &Sighting) -> Remedy {
    if seen.object.kind == VOLUME_CLAIM {
        return none(
            "It may hold an instance's data, such as a backup that was restored. Remove it by hand, if it is not needed.",
        );
    }
    Remedy {
        action: Some(RepairAction::Delete),
        by_name_only: true,
        words: "Deletes it, when it is named.".to_owned(),
    }
}

/// An object with the label of a live instance that was not applied for it; nothing for what the
/// cluster makes out of its objects.
pub(super) fn stray(seen: &Sighting, entry: &Entry) -> Option<Finding> {
    let is_of_set = seen.object.kind == VOLUME_CLAIM
        && seen
            .other_manager
            .as_deref()
            .is_none_or(|one| one == CONTROLLERS);
    // An object of ours carries our label, and goes with the next pass; a field manager's name may be borrowed.
    let was_applied = seen.was_applied && (seen.is_managed || seen.object.kind != POLICY);
    if was_applied || seen.controller.is_some() || is_of_set {
        return None;
    }
    let reason = format!(
        "It carries the label of the instance {}, and was made by {}.",
        entry.name,
        maker(seen)
    );
    Some(Finding {
        of: Some(entry.clone()),
        owner: Some(entry.user_id),
        ..finding(DriftKind::Foreign, seen, reason, by_name(seen))
    })
}

pub(super) fn foreign(seen: &Sighting, owner: Option<&UserId>) -> Finding {
    let reason = format!(
        "It is in a customer's namespace, and was made by {}.",
        maker(seen)
    );
    Finding {
        owner: owner.copied(),
        ..finding(DriftKind::Foreign, seen, reason, by_name(seen))
    }
}

/// Names the party that made an object.
fn maker(seen: &Sighting) -> String {
    let controller = seen.controller.as_ref().map(|(name, _)| name);
    let manager = controller.or(seen.other_manager.as_ref());
    let manager = manager.filter(|manager| *manager != NAMELESS);
    manager.map_or_else(|| "another party".to_owned(), Clone::clone)
}

pub(super) fn unlabelled(seen: &Sighting, of: Option<&Entry>) -> Finding {
    let whose = of.map_or("the customer's instances".to_owned(), |entry| {
        format!("the instance {}", entry.name)
    });
    let reason = format!(
        "Dermaga applied it for {whose}, and its labels were removed or changed. Dermaga leaves it alone \
         until they are back."
    );
    let remedy = Remedy {
        action: Some(RepairAction::Adopt),
        by_name_only: false,
        words: "Puts the labels back; the next pass, at once, applies it as it should be."
            .to_owned(),
    };
    Finding {
        instance: of.map(|entry| entry.name.clone()),
        of: of.cloned(),
        owner: of.map(|entry| entry.user_id),
        ..finding(DriftKind::Unlabelled, seen, reason, remedy)
    }
}

pub(super) fn ghost(entry: &Entry, object: ObjectRef, is_data_lost: bool) -> Finding {
    let what = if object.kind == NAMESPACE {
        "namespace is"
    } else {
        "object is"
    };
    let remedy = if is_data_lost {
        none(
            "A volume claim with its data is gone too, and it would start empty: \
             `POST /api/admin/instances/{id}/accept-data-loss` decides that.",
        )
    } else {
        Remedy {
            action: Some(RepairAction::Reapply),
            by_name_only: false,
            words: "Applies the whole instance again, at once.".to_owned(),
        }
    };
    Finding {
        drift: DriftKind::Ghost,
        object,
        namespace: entry.namespace.clone(),
        seen: None,
        instance: Some(entry.name.clone()),
        owner: Some(entry.user_id),
        since: Some(entry.updated_at),
        reason: format!(
            "The instance {} was applied, and its {what} not in the cluster.",
            entry.name
        ),
        of: Some(entry.clone()),
        remedy,
    }
}
