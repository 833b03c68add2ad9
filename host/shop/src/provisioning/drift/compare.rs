//! Comparison of a survey of the cluster with the database.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    findings::{Finding, Remedy, by_name, finding, foreign, ghost, none, stray, unlabelled},
    store::Entry,
    view::{DriftKind, RepairAction},
};
use crate::{
    cluster::{NAMESPACE, ObjectRef, Sighting, Survey, VOLUME_CLAIM, is_wall},
    ids::UserId,
    provisioning::model::Desired,
};

pub(super) const SECRET: &str = "Secret";
/// Objects that Kubernetes makes in every namespace.
const KUBERNETES_OWN: [(&str, &str); 3] = [
    ("ConfigMap", "kube-root-ca.crt"),
    ("ConfigMap", "openshift-service-ca.crt"),
    ("ServiceAccount", "default"),
];

/// The database's account of the cluster.
#[derive(Debug, Default)]
pub(super) struct Book {
    before: Vec<Entry>,
    live: HashMap<(String, String), Entry>,
    /// Namespaces with instances, and their customers.
    tenants: HashMap<String, UserId>,
    /// Instances that ended and have objects.
    pub(super) ended: Vec<Entry>,
    /// Namespaces that customers of this database had instances in.
    pub(super) left: BTreeSet<String>,
    /// Secret with the operator's certificate, which a replicator keeps in every customer's namespace.
    pub(super) certificate: Option<String>,
}

impl Book {
    /// `before` and `after` were read before and after the cluster.
    pub(super) fn new(before: Vec<Entry>, after: Vec<Entry>, namespace: Option<&str>) -> Self {
        let is_meant = |one: &Entry| namespace.is_none_or(|name| one.namespace == name);
        let tenants = after
            .iter()
            .map(|one| (one.namespace.clone(), one.user_id))
            .collect();
        let live = after
            .into_iter()
            .map(|one| ((one.namespace.clone(), one.name.clone()), one))
            .collect();
        Self {
            before: before.into_iter().filter(is_meant).collect(),
            live,
            tenants,
            ..Self::default()
        }
    }

    pub(super) fn lives(&self, namespace: &str, name: &str) -> bool {
        self.of(namespace, name).is_some()
    }

    /// Returns true when instances are in a namespace.
    pub(super) fn is_lived_in(&self, namespace: &str) -> bool {
        self.tenants.contains_key(namespace)
    }

    fn of(&self, namespace: &str, name: &str) -> Option<&Entry> {
        self.live.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Live instances by the places of what was applied for them, and by the uids of their claims.
    fn places(&self) -> HashMap<(&str, &str, &str), &Entry> {
        let applied = self.live.values().flat_map(|one| {
            let objects = one.applied.iter();
            objects.map(move |object| (place(&one.namespace, object), one))
        });
        applied.collect()
    }
}

fn place<'a>(namespace: &'a str, object: &'a ObjectRef) -> (&'a str, &'a str, &'a str) {
    (namespace, &object.kind, &object.name)
}

/// Lists all differences.
pub(super) fn compare(survey: &Survey, book: &Book) -> Vec<Finding> {
    let comparison = Comparison {
        book,
        survey,
        places: book.places(),
        claims: book
            .live
            .values()
            .flat_map(|one| {
                one.claims
                    .iter()
                    .map(move |claim| (claim.uid.as_str(), one))
            })
            .collect(),
        uids: survey.found.iter().map(|one| one.uid.as_str()).collect(),
        tenants: tenants(survey, book),
    };
    let seen = survey.found.iter();
    let mut found: Vec<_> = seen.filter_map(|seen| comparison.judge(seen)).collect();
    found.extend(comparison.ghosts());
    found
}

/// Returns the namespaces of customers: those that instances are in, and those with our labels.
fn tenants<'a>(survey: &'a Survey, book: &'a Book) -> HashSet<&'a str> {
    let labelled = survey.found.iter().filter(|one| is_labelled_tenant(one));
    let labelled = labelled.map(|one| one.namespace.as_str());
    labelled
        .chain(book.tenants.keys().map(String::as_str))
        .collect()
}

fn is_labelled_tenant(seen: &Sighting) -> bool {
    seen.object.kind == NAMESPACE && seen.is_managed && seen.owner.is_some()
}

struct Comparison<'a> {
    book: &'a Book,
    survey: &'a Survey,
    /// By namespace, kind and name.
    places: HashMap<(&'a str, &'a str, &'a str), &'a Entry>,
    claims: HashMap<&'a str, &'a Entry>,
    uids: HashSet<&'a str>,
    tenants: HashSet<&'a str>,
}

impl Comparison<'_> {
    /// Returns the difference that an object is, if it is one.
    fn judge(&self, seen: &Sighting) -> Option<Finding> {
        if seen.object.kind == NAMESPACE {
            return self.judge_namespace(seen);
        }
        let at = place(&seen.namespace, &seen.object);
        // By its place, whatever its labels say: those may have been removed.
        if let Some(entry) = self.places.get(&at) {
            return self.judge_applied(seen, entry);
        }
        if let Some(entry) = self.claims.get(seen.uid.as_str()) {
            // A claim that a StatefulSet asked for has no more labels than this one.
            let has_label = seen.instance.as_ref() == Some(&entry.name);
            return (!has_label).then(|| unlabelled(seen, Some(entry)));
        }
        let is_tenants = self.tenants.contains(seen.namespace.as_str());
        if is_tenants && is_own_wall(seen) {
            return None;
        }
        if let Some(instance) = &seen.instance {
            return match self.book.of(&seen.namespace, instance) {
                Some(entry) => stray(seen, entry),
                None => self.orphan(seen),
            };
        }
        if !is_tenants && seen.is_managed && seen.owner.is_some() {
            return self.orphan(seen);
        }
        if !is_tenants || self.is_at_home(seen) {
            return None;
        }
        Some(foreign(seen, self.book.tenants.get(&seen.namespace)))
    }

    fn judge_namespace(&self, seen: &Sighting) -> Option<Finding> {
        let Some(owner) = self.book.tenants.get(&seen.namespace) else {
            let is_ours = is_labelled_tenant(seen);
            return if is_ours { self.orphan(seen) } else { None };
        };
        if seen.is_managed && seen.owner == Some(*owner) {
            return None;
        }
        if seen.was_applied {
            return Some(Finding {
                owner: Some(*owner),
                ..unlabelled(seen, None)
            });
        }
        let reason = "It has the name of a customer's namespace, and was not made by Dermaga. No instance of that \
                      customer can be set up.";
        let remedy = none("Remove it by hand, with all that is in it, if it is not needed.");
        Some(Finding {
            owner: Some(*owner),
            ..finding(DriftKind::Foreign, seen, reason.to_owned(), remedy)
        })
    }

    /// Judges an object in the place of one that was applied for an instance.
    fn judge_applied(&self, seen: &Sighting, entry: &Entry) -> Option<Finding> {
        let is_complete = seen.is_managed && seen.instance.as_ref() == Some(&entry.name);
        if is_complete || entry.desired == Desired::Terminated {
            return None;
        }
        if seen.was_applied || self.claims.contains_key(seen.uid.as_str()) {
            return Some(unlabelled(seen, Some(entry)));
        }
        let reason = format!(
            "It has the name of an object of the instance {}, and was not made by Dermaga, so that the \
             instance cannot be applied.",
            entry.name
        );
        Some(Finding {
            of: Some(entry.clone()),
            instance: Some(entry.name.clone()),
            owner: Some(entry.user_id),
            ..finding(DriftKind::Foreign, seen, reason, by_name(seen))
        })
    }

    fn orphan(&self, seen: &Sighting) -> Option<Finding> {
        // It goes with the object that it was made for.
        if self.has_controller(seen) {
            return None;
        }
        let name = seen.instance.as_deref();
        let is_it =
            |one: &&Entry| Some(one.name.as_str()) == name && one.namespace == seen.namespace;
        let of = self.book.ended.iter().find(is_it);
        let is_known = of.is_some() || self.book.left.contains(&seen.namespace);
        let reason = match (name, of) {
            (Some(name), Some(_)) => format!("Its instance {name} has ended."),
            (Some(name), None) => format!(
                "It carries Dermaga's labels, and this database knows no instance {name} here. It may belong \
                 to another shop on this cluster."
            ),
            (None, _) if is_known => "No instance of its customer is left in it.".to_owned(),
            (None, _) => {
                "It carries Dermaga's labels, and this database knows no instance there. It may \
                          belong to another shop on this cluster."
                    .to_owned()
            }
        };
        let is_tenants = self.tenants.contains(seen.namespace.as_str());
        let remedy = match seen.object.kind.as_str() {
            _ if !is_tenants => none(
                "It is outside of the customers' namespaces, where Dermaga removes nothing. Delete it by hand.",
            ),
            NAMESPACE => Remedy {
                action: Some(RepairAction::Delete),
                by_name_only: !is_known,
                words: "Deletes the namespace, once nothing but Dermaga's own limits and policies is left in it."
                    .to_owned(),
            },
            VOLUME_CLAIM => Remedy {
                action: Some(RepairAction::Delete),
                by_name_only: of.is_none(),
                words: "Deletes the claim, and with it the data on its volume.".to_owned(),
            },
            _ => Remedy {
                action: Some(RepairAction::Delete),
                by_name_only: !is_known,
                words: "Deletes it.".to_owned(),
            },
        };
        Some(Finding {
            of: of.cloned(),
            owner: seen.owner.or(of.map(|one| one.user_id)),
            ..finding(DriftKind::Orphan, seen, reason, remedy)
        })
    }

    fn has_controller(&self, seen: &Sighting) -> bool {
        let controller = seen.controller.as_ref();
        controller.is_some_and(|(_, uid)| self.uids.contains(uid.as_str()))
    }

    /// Returns true for what Kubernetes makes by itself, and for what settings ask the operator for.
    fn is_at_home(&self, seen: &Sighting) -> bool {
        self.has_controller(seen)
            || is_of_kubernetes(&seen.object)
            || is_certificate(&seen.object, self.book.certificate.as_deref())
    }

    /// Returns objects that were applied and are not there.
    fn ghosts(&self) -> Vec<Finding> {
        let there: HashSet<_> = self
            .survey
            .found
            .iter()
            .map(|seen| place(&seen.namespace, &seen.object))
            .collect();
        let mut found = Vec::new();
        let mut told = HashSet::new();
        for entry in &self.book.before {
            let Some(now) = self.book.of(&entry.namespace, &entry.name) else {
                continue;
            };
            let is_wanted = now.desired != Desired::Terminated && now.observed_generation > 0;
            if !is_wanted {
                continue;
            }
            let namespace = ObjectRef::new("v1", NAMESPACE, &entry.namespace);
            if !there.contains(&place(&entry.namespace, &namespace)) {
                if told.insert(&entry.namespace) {
                    found.push(ghost(now, namespace, !now.claims.is_empty()));
                }
                continue;
            }
            let is_missing = |object: &&ObjectRef| {
                self.survey.has_looked_for(&object.kind)
                    && now.applied.contains(object)
                    && !there.contains(&place(&entry.namespace, object))
            };
            let missing: Vec<_> = entry.applied.iter().filter(is_missing).collect();
            let held_data = |object: &&&ObjectRef| {
                object.kind == VOLUME_CLAIM
                    && now.claims.iter().any(|claim| claim.name == object.name)
            };
            let is_data_lost = missing.iter().any(|object| held_data(&object));
            let missing = missing.into_iter().cloned();
            found.extend(missing.map(|object| ghost(now, object, is_data_lost)));
        }
        found
    }
}

/// Returns true for one of our walls, also without labels: it comes back by itself. Labels alone make
/// none, since another party may put them on anything.
fn is_own_wall(seen: &Sighting) -> bool {
    let has_labels = seen.is_managed && seen.owner.is_some();
    (seen.was_applied || has_labels) && is_wall(&seen.object.kind, &seen.object.name)
}

/// Returns true for an object that keeps its namespace, since it may hold data or be of another party: neither
/// Kubernetes' own, nor one of our walls, nor the operator's certificate, which would come back again and again.
pub(super) fn is_left(seen: &Sighting, certificate: Option<&str>) -> bool {
    seen.object.kind != NAMESPACE
        && !is_own_wall(seen)
        && !is_of_kubernetes(&seen.object)
        && !is_certificate(&seen.object, certificate)
}

fn is_certificate(object: &ObjectRef, certificate: Option<&str>) -> bool {
    object.kind == SECRET && certificate == Some(object.name.as_str())
}

/// Returns true for what Kubernetes makes in every namespace.
fn is_of_kubernetes(object: &ObjectRef) -> bool {
    let ObjectRef { kind, name, .. } = object;
    KUBERNETES_OWN.contains(&(kind.as_str(), name.as_str()))
        || (kind == "RoleBinding" && name.starts_with("system:"))
        || (kind == "Secret" && name.starts_with("default-token-"))
}
