//! Watch for changes of what separates customers: namespaces, quotas, limits, network policies.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dermaga_runtime::gate::INSTANCE_LABEL;
use futures::{Stream, StreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::time::Instant;

use super::{
    Cluster, ClusterError, FIELD_MANAGER, NAMESPACE, ObjectRef, USER_LABEL,
    access::ROLE_BINDING,
    known::{hash, version},
    namespace::{NAME, is_wall},
    object::{MANAGED_BY_LABEL, label},
    watch::{Failures, WatchEvent, tell_failing},
};
use crate::ids::UserId;

const POLICY: &str = "NetworkPolicy";
const QUOTA: &str = "ResourceQuota";
const WALL_KINDS: [(&str, &str); 5] = [
    ("v1", NAMESPACE),
    ("v1", QUOTA),
    ("v1", "LimitRange"),
    ("networking.k8s.io/v1", POLICY),
    ROLE_BINDING,
];

/// A network policy by its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyRef {
    pub namespace: String,
    pub name: String,
}

/// Change of what separates customers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WallChange {
    /// Something of ours appeared, is not as it was applied, or is gone.
    Ours {
        namespace: String,
        /// It was there before: something changed or removed it.
        was_there: bool,
    },
    /// A network policy that is none of every customer's namespace appeared or changed. Policies add
    /// up, so that it may open what ours close, unless an instance's manifests have it.
    Foreign {
        policy: PolicyRef,
        /// Name of the instance whose labels it carries.
        instance: Option<String>,
    },
    ForeignGone(PolicyRef),
    /// All network policies that are none of every customer's namespace, at the start of the watch.
    AllForeign(Vec<PolicyRef>),
}

/// News that an object is, by what was remembered of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// It is as it was seen or applied last.
    Nothing,
    Appeared,
    Changed,
}

/// One wall as it was seen last.
#[derive(Debug, Default)]
struct Wall {
    version: u64,
    content: u64,
    /// The list that it was seen in or after.
    list: u32,
    /// Our last apply, as the hashes of its manifest and of the answer.
    applied: Option<(u64, u64)>,
    /// The controller of a quota keeps to it.
    is_in_force: bool,
    /// Customer of a namespace that is ours and is not being removed.
    customer: Option<Box<str>>,
}

/// Kind, namespace and name; the namespace of a Namespace is itself.
type Place = (&'static str, Box<str>, Box<str>);

#[derive(Debug, Default)]
struct Seen {
    walls: HashMap<Place, Wall>,
    /// For each watched kind, the number of its list, and if that one is complete.
    lists: HashMap<&'static str, (u32, bool)>,
    failures: HashMap<&'static str, Failures>,
}

/// Walls as they were applied or seen last.
#[derive(Debug, Default, Clone)]
pub(super) struct Walls(Arc<Mutex<Seen>>);

impl Walls {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an object, and returns the news that it is.
    fn note(&self, kind: &'static str, object: &DynamicObject) -> News {
        let content = hash(&(
            object.labels(),
            object.data.get("spec").map(ToString::to_string),
            object.data.get("subjects").map(ToString::to_string),
            object.metadata.deletion_timestamp.is_some(),
        ));
        let version = version(&object.metadata);
        let mut seen = self.seen();
        let list = seen.lists.get(kind).map_or(0, |(list, _)| *list);
        let place = place(kind, object);
        let is_known = seen.walls.contains_key(&place);
        let wall = seen.walls.entry(place).or_default();
        wall.list = list;
        // An event of a version before that of our own apply is no news.
        if version < wall.version {
            return News::Nothing;
        }
        wall.version = version;
        let part = |pointer: &str| object.data.pointer(pointer);
        wall.customer = customer(kind, object);
        wall.is_in_force = part("/spec/hard") == part("/status/hard");
        let before = mem::replace(&mut wall.content, content);
        // The event of our own apply may come before its answer.
        let is_mended = wall.applied.is_some_and(|(_, applied)| applied == content);
        match (is_known, before == content || is_mended) {
            (false, _) => News::Appeared,
            (true, true) => News::Nothing,
            (true, false) => News::Changed,
        }
    }

    /// Remembers the answer to our own apply.
    pub(super) fn applied(&self, kind: &str, object: &DynamicObject, manifest: u64) {
        let Some((_, kind)) = WALL_KINDS.iter().find(|(_, one)| *one == kind) else {
            return;
        };
        let _ = self.note(kind, object);
        if let Some(wall) = self.seen().walls.get_mut(&place(kind, object)) {
            wall.applied = Some((manifest, wall.content));
        }
    }

    /// Returns true when a wall is as it was applied, by this very manifest.
    pub(super) fn agrees(&self, namespace: &str, object: &ObjectRef, manifest: u64) -> bool {
        let Some((_, kind)) = WALL_KINDS.iter().find(|(_, one)| *one == object.kind) else {
            return false;
        };
        let place = (*kind, namespace.into(), object.name.as_str().into());
        let seen = self.seen();
        let wall = seen.walls.get(&place);
        seen.is_current() && wall.is_some_and(|wall| wall.applied == Some((manifest, wall.content)))
    }

    /// Returns true when all watches have listed what there is.
    pub(super) fn is_current(&self) -> bool {
        self.seen().is_current()
    }

    /// Returns true when the watch has shown that the quota, as applied last, is in force.
    pub(super) fn is_in_force(&self, namespace: &str) -> bool {
        let seen = self.seen();
        let wall = seen.walls.get(&(QUOTA, namespace.into(), NAME.into()));
        seen.is_current() && wall.is_some_and(|wall| wall.is_in_force)
    }

    /// Returns true when the watch shows the namespace of this customer, and that it stays.
    pub(super) fn has_namespace(&self, name: &str, user_id: UserId) -> bool {
        let seen = self.seen();
        let wall = seen.walls.get(&(NAMESPACE, name.into(), name.into()));
        let customer = wall.and_then(|wall| wall.customer.as_deref());
        seen.is_current() && customer == Some(user_id.to_string().as_str())
    }

    fn forget(&self, kind: &'static str, object: &DynamicObject) {
        self.seen().walls.remove(&place(kind, object));
    }

    /// Begins watches of these kinds; nothing is trusted until all of them have listed.
    pub(super) fn begin(&self, kinds: impl Iterator<Item = &'static str>) {
        let mut seen = self.seen();
        for kind in kinds {
            seen.lists.entry(kind).or_default().1 = false;
            seen.failures.remove(kind);
        }
    }

    /// Notes an event of a watch; returns true when the watch is not relied on from here on.
    fn hears(&self, kind: &'static str, event: &WatchEvent, now: Instant) -> bool {
        self.seen()
            .failures
            .entry(kind)
            .or_default()
            .see(event, now)
    }

    pub(super) fn list_begins(&self, kind: &'static str) {
        let mut seen = self.seen();
        let (list, is_complete) = seen.lists.entry(kind).or_default();
        *list = list.wrapping_add(1);
        *is_complete = false;
    }

    /// Forgets what the list did not have, and returns the namespaces of that.
    pub(super) fn list_ends(&self, kind: &'static str) -> Vec<String> {
        let mut seen = self.seen();
        let (list, is_complete) = seen.lists.entry(kind).or_default();
        *is_complete = true;
        let list = *list;
        let mut losers = Vec::new();
        seen.walls.retain(|(of, namespace, _), wall| {
            let is_gone = *of == kind && wall.list != list;
            if is_gone {
                losers.push(namespace.to_string());
            }
            !is_gone
        });
        losers
    }
}

impl Seen {
    fn is_current(&self) -> bool {
        let now = Instant::now();
        let are_lasting = |failures: &Failures| failures.are_lasting(now);
        !self.lists.is_empty()
            && self.lists.values().all(|(_, is_complete)| *is_complete)
            && !self.failures.values().any(are_lasting)
    }
}

/// Returns the customer of a namespace that is ours and is not being removed.
fn customer(kind: &str, object: &DynamicObject) -> Option<Box<str>> {
    let labels = Some(object.labels());
    let is_kept = kind == NAMESPACE
        && object.metadata.deletion_timestamp.is_none()
        && label(labels, MANAGED_BY_LABEL) == Some(FIELD_MANAGER);
    label(labels, USER_LABEL)
        .filter(|_| is_kept)
        .map(Into::into)
}

fn place(kind: &'static str, object: &DynamicObject) -> Place {
    let name = object.name_any();
    let namespace = object.namespace().unwrap_or_else(|| name.clone());
    (kind, namespace.into(), name.into())
}

/// Watch of one kind of walls.
struct WallWatch {
    kind: &'static str,
    walls: Walls,
    /// Foreign policies of the list that is being read.
    foreign: Vec<PolicyRef>,
}

impl WallWatch {
    fn changes(&mut self, event: WatchEvent) -> Vec<WallChange> {
        if self.walls.hears(self.kind, &event, Instant::now()) {
            tell_failing(self.kind, &event);
        }
        match event {
            Ok(Event::Apply(object)) => self.seen(&object),
            Ok(Event::InitApply(object)) => {
                if self.is_foreign(&object) {
                    self.foreign.push(policy(&object));
                }
                self.seen(&object)
            }
            Ok(Event::Delete(object)) => {
                self.walls.forget(self.kind, &object);
                vec![if self.is_foreign(&object) {
                    WallChange::ForeignGone(policy(&object))
                } else {
                    ours(&object, true)
                }]
            }
            Ok(Event::Init) => {
                self.foreign.clear();
                self.walls.list_begins(self.kind);
                Vec::new()
            }
            Ok(Event::InitDone) => self.listed(),
            Err(error) => {
                tracing::debug!(%error, "cluster.watch_interrupted");
                Vec::new()
            }
        }
    }

    fn listed(&mut self) -> Vec<WallChange> {
        let losers = self.walls.list_ends(self.kind).into_iter();
        let mut changes: Vec<_> = losers
            .map(|namespace| WallChange::Ours {
                namespace,
                was_there: true,
            })
            .collect();
        if self.kind == POLICY {
            changes.push(WallChange::AllForeign(mem::take(&mut self.foreign)));
        }
        changes
    }

    fn seen(&self, object: &DynamicObject) -> Vec<WallChange> {
        let news = self.walls.note(self.kind, object);
        if news == News::Nothing {
            return Vec::new();
        }
        vec![if self.is_foreign(object) {
            WallChange::Foreign {
                policy: policy(object),
                instance: instance(object),
            }
        } else {
            ours(object, news == News::Changed)
        }]
    }

    fn is_foreign(&self, object: &DynamicObject) -> bool {
        self.kind == POLICY && !is_wall(POLICY, &object.name_any())
    }
}

/// Returns the name of the instance whose labels an object carries, as we apply them.
fn instance(object: &DynamicObject) -> Option<String> {
    let labels = Some(object.labels());
    let is_managed = label(labels, MANAGED_BY_LABEL) == Some(FIELD_MANAGER);
    let name = label(labels, INSTANCE_LABEL).filter(|_| is_managed);
    name.map(str::to_owned)
}

fn policy(object: &DynamicObject) -> PolicyRef {
    PolicyRef {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

fn ours(object: &DynamicObject, was_there: bool) -> WallChange {
    WallChange::Ours {
        namespace: object.namespace().unwrap_or_else(|| object.name_any()),
        was_there,
    }
}

impl Cluster {
    /// Returns true while changes of what separates customers are seen.
    pub fn sees_walls(&self) -> bool {
        self.walls.is_current()
    }

    /// Streams changes of what separates customers. Starts with everything there is; reconnects by
    /// itself after the API server was away.
    ///
    /// # Errors
    /// When the cluster cannot say what it serves.
    pub async fn wall_changes(
        &self,
    ) -> Result<impl Stream<Item = WallChange> + Send + Unpin + use<>, ClusterError> {
        let (served, has_bindings) = (self.served().await?, self.subject().await?.is_some());
        let kinds: Vec<_> = WALL_KINDS
            .iter()
            .filter(|kind| **kind != ROLE_BINDING || has_bindings)
            .filter_map(|(api_version, kind)| Some((kind, served.resource(api_version, kind)?)))
            .collect();
        self.walls.begin(kinds.iter().map(|(kind, _)| **kind));
        let watches = kinds.into_iter().map(|(kind, resource)| {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), resource);
            let config = watcher::Config::default();
            // A policy opens what ours close whatever its labels say.
            let config = if *kind == POLICY {
                config
            } else {
                config.labels(&format!("{MANAGED_BY_LABEL}={FIELD_MANAGER},{USER_LABEL}"))
            };
            let mut watch = WallWatch {
                kind,
                walls: self.walls.clone(),
                foreign: Vec::new(),
            };
            let changes = watcher(api, config).default_backoff();
            changes
                .map(move |event| stream::iter(watch.changes(event)))
                .flatten()
                .boxed()
        });
        Ok(stream::select_all(watches.collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests;
