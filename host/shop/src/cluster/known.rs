//! Records of the objects of instances, fed by the watches and by our own writes: an object that is
//! as it was applied last needs no request.
//!
//! Its fields of ours are as applied as long as the API server's bookkeeping says so: a field that
//! anything else changes leaves the entry of our field manager. Records are small; whole objects are
//! kept only for instances that are under way.

mod records;
#[cfg(test)]
mod tests;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dermaga_runtime::gate::INSTANCE_LABEL;
use kube::{ResourceExt, api::DynamicObject, core::ObjectMeta};
use serde_json::Value;
use tokio::time::Instant;

use self::records::{Group, LastApply, Owner, Record, State, others_of, ours, owner, owner_of};
use super::{
    FIELD_MANAGER, ObjectRef,
    discovery::{DEPENDENT_KINDS, INSTANCE_KINDS},
    object::MANAGED_BY_LABEL,
    watch::{Failures, WatchEvent},
};

/// The only watched kind of the cluster's own objects: pods say more than their owners' status.
const POD: &str = "Pod";
/// The only kind that is not watched, since that would need the right to read every Secret.
pub(super) const SECRET: &str = "Secret";
/// Kinds that events of an instance are about.
const WORKLOADS: [&str; 2] = ["Deployment", "StatefulSet"];
/// Age of a look at an instance's Secrets after which a pass looks again.
const SECRETS_AGE: Duration = Duration::from_secs(60);

/// Kinds that are watched, in the order of [`INSTANCE_KINDS`].
pub(super) fn watched_kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    let pods = DEPENDENT_KINDS.into_iter().filter(|(_, kind)| *kind == POD);
    let own = INSTANCE_KINDS.into_iter();
    own.filter(|(_, kind)| *kind != SECRET).chain(pods)
}

/// Hash of a manifest, or of anything else within this process.
pub(super) fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Version of an object; versions of one kind can be compared.
pub(super) fn version(metadata: &ObjectMeta) -> u64 {
    let text = metadata.resource_version.as_deref();
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The records of a cluster.
#[derive(Debug, Default, Clone)]
pub(super) struct Known(Arc<Mutex<State>>);

/// The objects of an instance, as far as they are known without a request.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) digest: u64,
    pub(super) found: Vec<(ObjectRef, Option<Arc<DynamicObject>>)>,
}

/// Knowledge about the owner of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    Ours,
    Foreign,
    /// Only the API server knows.
    Unknown,
}

impl Known {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins watches of these kinds; nothing is trusted until all of them have listed.
    pub(super) fn begin(&self, kinds: impl Iterator<Item = &'static str>) {
        let mut state = self.state();
        for kind in kinds {
            let watch = state.watches.entry(kind).or_default();
            watch.is_current = false;
            watch.failures = Failures::default();
        }
    }

    /// Notes an event of a watch; returns true when the watch is not relied on from here on.
    pub(super) fn hears(&self, kind: &str, event: &WatchEvent, now: Instant) -> bool {
        let mut state = self.state();
        let watch = state.watches.get_mut(kind);
        watch.is_some_and(|watch| watch.failures.see(event, now))
    }

    pub(super) fn list_begins(&self, kind: &str) {
        if let Some(watch) = self.state().watches.get_mut(kind) {
            watch.list = watch.list.wrapping_add(1);
        }
    }

    /// Forgets what the list did not have; returns the names of the instances that lost something.
    pub(super) fn list_ends(&self, kind: &str) -> Vec<String> {
        let mut state = self.state();
        let Some(watch) = state.watches.get_mut(kind) else {
            return Vec::new();
        };
        watch.is_current = true;
        let list = watch.list;
        let mut losers = Vec::new();
        for (of, group) in &mut state.groups {
            let before = group.records.len();
            let is_gone = |one: &Record| one.object.kind == kind && one.list != list;
            group.records.retain(|one| !is_gone(one));
            if group.records.len() < before {
                losers.push(of.clone());
            }
        }
        for of in &losers {
            state.drop_if_empty(of);
        }
        losers.into_iter().map(|(_, name)| name.into()).collect()
    }

    /// Notes an object that a watch shows; returns the instance when that is news.
    pub(super) fn seen(&self, kind: (&str, &str), live: DynamicObject) -> Option<String> {
        let instance = live.labels().get(INSTANCE_LABEL).cloned()?;
        let is_news = self.state().note(kind, live).is_none_or(|(_, news)| news);
        is_news.then_some(instance)
    }

    pub(super) fn gone(&self, kind: (&str, &str), live: &DynamicObject) -> Option<String> {
        let of = owner_of(live)?;
        let mut state = self.state();
        if let Some(group) = state.groups.get_mut(&of) {
            let object = ObjectRef::new(kind.0, kind.1, &live.name_any());
            let uid = live.uid().unwrap_or_default();
            // Another one of that name may be there already.
            group
                .records
                .retain(|one| one.object != object || *one.uid != *uid);
        }
        state.drop_if_empty(&of);
        Some(of.1.into())
    }

    /// Notes the answer to our own apply.
    pub(super) fn applied(&self, object: &ObjectRef, live: DynamicObject, manifest: u64) {
        let Some(of) = owner_of(&live) else { return };
        let mut state = self.state();
        // The rest of the pass looks at what it applied.
        state.come_close(of.clone());
        let ours = ours(&live.metadata);
        let others = others_of(&object.kind, &live.metadata);
        let kind = (object.api_version.as_str(), object.kind.as_str());
        if let Some((record, _)) = state.note(kind, live) {
            record.applied = Some(LastApply {
                manifest,
                ours,
                others,
            });
        }
        if object.kind == SECRET
            && let Some(group) = state.groups.get_mut(&of)
        {
            group.secrets_seen.get_or_insert_with(Instant::now);
        }
    }

    /// Returns true when an object is as it was applied, by this very manifest.
    pub(super) fn agrees(
        &self,
        namespace: &str,
        instance: &str,
        object: &ObjectRef,
        manifest: u64,
    ) -> bool {
        let state = self.state();
        let group = state.group(namespace, instance);
        state.is_current()
            && group.is_some_and(|group| {
                let mut records = group.records.iter();
                let is_fresh = match object.kind.as_str() {
                    SECRET => has_fresh_secrets(group),
                    kind => state.watches.contains_key(kind),
                };
                is_fresh && records.any(|one| one.object == *object && one.agrees(manifest))
            })
    }

    /// Tells the owner of an object, as far as the watches know.
    pub(super) fn ownership(
        &self,
        namespace: &str,
        instance: &str,
        object: &ObjectRef,
    ) -> Ownership {
        let state = self.state();
        let group = state.group(namespace, instance);
        let record = group.and_then(|group| group.records.iter().find(|one| one.object == *object));
        match record {
            Some(record) if state.is_current() && object.kind != SECRET => {
                if record.has_labels {
                    Ownership::Ours
                } else {
                    Ownership::Foreign
                }
            }
            _ => Ownership::Unknown,
        }
    }

    /// Returns true when an object is still the one with this uid.
    pub(super) fn is_still(
        &self,
        namespace: &str,
        instance: &str,
        (kind, name): (&str, &str),
        uid: &str,
    ) -> bool {
        let state = self.state();
        let group = state.group(namespace, instance);
        state.is_current()
            && group.is_some_and(|group| {
                group.records.iter().any(|one| {
                    one.object.kind == kind
                        && one.object.name == name
                        && *one.uid == *uid
                        && !one.is_leaving
                })
            })
    }

    /// Returns true when the watches show that an instance has no object of this kind and name.
    pub(super) fn lacks(
        &self,
        namespace: &str,
        instance: &str,
        (kind, name): (&str, &str),
    ) -> bool {
        let state = self.state();
        let is_it = |one: &Record| one.object.kind == kind && one.object.name == name;
        let group = state.group(namespace, instance);
        state.is_current() && group.is_none_or(|group| !group.records.iter().any(is_it))
    }

    /// Returns the objects of an instance when the watches are current, and begins to keep them.
    pub(super) fn look(&self, namespace: &str, instance: &str) -> Option<Look> {
        let mut state = self.state();
        if !state.is_current() {
            return None;
        }
        let of = owner(namespace, instance);
        state.come_close(of.clone());
        let group = state.groups.get_mut(&of)?;
        group.settled = None;
        let is_shown = |one: &&Record| one.object.kind != SECRET || !one.has_controller;
        let found = group
            .records
            .iter()
            .filter(is_shown)
            .map(|one| {
                let is_secret = one.object.kind == SECRET;
                let secret = is_secret.then(|| Arc::new(stand_in(one, &of)));
                (one.object.clone(), secret.or_else(|| one.whole.clone()))
            })
            .collect();
        Some(Look {
            digest: group.digest(),
            found,
        })
    }

    /// Notes an object that was read.
    pub(super) fn read(&self, object: &ObjectRef, live: DynamicObject) {
        let kind = (object.api_version.as_str(), object.kind.as_str());
        let mut state = self.state();
        let _ = state.note(kind, live);
    }

    pub(super) fn needs_secrets(&self, namespace: &str, instance: &str) -> bool {
        let state = self.state();
        let group = state.group(namespace, instance);
        let has_some = |group: &Group| group.records.iter().any(|one| one.object.kind == SECRET);
        state.is_current()
            && group.is_some_and(|group| has_some(group) && !has_fresh_secrets(group))
    }

    /// Notes all Secrets of an instance.
    pub(super) fn secrets(&self, namespace: &str, instance: &str, all: Vec<DynamicObject>) {
        let mut state = self.state();
        let of = owner(namespace, instance);
        let names: Vec<_> = all.iter().map(ResourceExt::name_any).collect();
        for live in all {
            let _ = state.note(("v1", SECRET), live);
        }
        if let Some(group) = state.groups.get_mut(&of) {
            group
                .records
                .retain(|one| one.object.kind != SECRET || names.contains(&one.object.name));
            group.secrets_seen = Some(Instant::now());
        }
    }

    /// Notes that nothing is under way: with the objects of this digest, the status is this one.
    pub(super) fn settle(&self, namespace: &str, instance: &str, digest: u64, status: u64) {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(group) = state.groups.get_mut(&owner(namespace, instance)) else {
            return;
        };
        group.settled = Some((digest, status));
        if group.is_close {
            group.is_close = false;
            state.close = state.close.saturating_sub(1);
        }
        for record in &mut group.records {
            record.whole = None;
        }
    }

    /// Returns a workload of an instance with its uid, if one is known.
    pub(super) fn workload(&self, namespace: &str, instance: &str) -> Option<(ObjectRef, String)> {
        let state = self.state();
        let mut records = state.group(namespace, instance)?.records.iter();
        let found = records.find(|one| WORKLOADS.contains(&one.object.kind.as_str()))?;
        Some((found.object.clone(), found.uid.to_string()))
    }

    /// Forgets what the objects of an instance were applied by.
    pub(super) fn forget(&self, namespace: &str, instance: &str) {
        let mut state = self.state();
        if let Some(group) = state.groups.get_mut(&owner(namespace, instance)) {
            group.settled = None;
            group.secrets_seen = None;
            for record in &mut group.records {
                record.applied = None;
            }
        }
    }

    /// Returns true when nothing changed since an instance had this status.
    pub(super) fn is_settled(&self, namespace: &str, instance: &str, status: u64) -> bool {
        let state = self.state();
        let group = state.group(namespace, instance);
        state.is_current()
            && group.is_some_and(|group| group.settled == Some((group.digest(), status)))
    }
}

fn has_fresh_secrets(group: &Group) -> bool {
    let seen = group.secrets_seen;
    seen.is_some_and(|seen| seen.elapsed() < SECRETS_AGE)
}

/// A Secret without what it holds.
fn stand_in(record: &Record, (_, instance): &Owner) -> DynamicObject {
    let mut labels = std::collections::BTreeMap::new();
    if record.has_labels {
        labels.insert(MANAGED_BY_LABEL.to_owned(), FIELD_MANAGER.to_owned());
        labels.insert(INSTANCE_LABEL.to_owned(), instance.clone().into());
    }
    let metadata = ObjectMeta {
        name: Some(record.object.name.clone()),
        labels: Some(labels),
        ..ObjectMeta::default()
    };
    DynamicObject {
        types: None,
        metadata,
        data: Value::Null,
    }
}
