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
    Cluster, ClusterError, FIELD_MANAGER, ObjectRef, USER_LABEL,
    access::ROLE_BINDING,
    known::{hash, version},
    namespace::{NAME, is_wall},
    object::{MANAGED_BY_LABEL, label},
    watch::{Failures, WatchEvent, tell_failing},
};

const POLICY: &str = "NetworkPolicy";
const QUOTA: &str = "ResourceQuota";
const WALL_KINDS: [(&str, &str); 5] = [
    ("v1", "Namespace"),
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
    /// Something of ours is not as it was applied, or is gone.
    Ours {
        namespace: String,
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

    /// Remembers an object; returns true when it differs from what was remembered.
    fn note(&self, kind: &'static str, object: &DynamicObject) -> bool {
        let content = hash(&(
            object.labels(),
            object.data.get("spec").map(ToString::to_string),
            object.data.get("subjects").map(ToString::to_string),
            object.metadata.deletion_timestamp.is_some(),
        ));
        let version = version(&object.metadata);
        let mut seen = self.seen();
        let list = seen.lists.get(kind).map_or(0, |(list, _)| *list);
        let wall = seen.walls.entry(place(kind, object)).or_default();
        wall.list = list;
        // An event of a version before that of our own apply is no news.
        if version < wall.version {
            return false;
        }
        wall.version = version;
        let part = |pointer: &str| object.data.pointer(pointer);
        wall.is_in_force = part("/spec/hard") == part("/status/hard");
        std::mem::replace(&mut wall.content, content) != content
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
                    ours(&object)
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
            .map(|namespace| WallChange::Ours { namespace })
            .collect();
        if self.kind == POLICY {
            changes.push(WallChange::AllForeign(mem::take(&mut self.foreign)));
        }
        changes
    }

    fn seen(&self, object: &DynamicObject) -> Vec<WallChange> {
        if !self.walls.note(self.kind, object) {
            return Vec::new();
        }
        vec![if self.is_foreign(object) {
            WallChange::Foreign {
                policy: policy(object),
                instance: instance(object),
            }
        } else {
            ours(object)
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

fn ours(object: &DynamicObject) -> WallChange {
    let namespace = object.namespace().unwrap_or_else(|| object.name_any());
    WallChange::Ours { namespace }
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
mod tests {
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
        let changed = [WallChange::Ours {
            namespace: "user-1".to_owned(),
        }];
        assert_eq!(quotas.changes(Ok(Event::Apply(quota(9, 1)))), changed);
        assert_eq!(quotas.changes(Ok(Event::Apply(quota(9, 2)))), []);
        assert_eq!(quotas.changes(Ok(Event::Delete(quota(9, 2)))), changed);
        assert_eq!(quotas.changes(Ok(Event::Apply(quota(9, 2)))), changed);
    }

    #[test]
    fn policies_of_others_are_told_apart() {
        let named = |name: &str| {
            object(json!({"metadata": {"name": name, "namespace": "user-1"}, "spec": {}}))
        };
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
        let of = |namespace: &str| {
            object(json!({"metadata": {"name": "dermaga", "namespace": namespace}}))
        };
        let mut limits = watch("LimitRange");
        limits.changes(Ok(Event::Init));
        limits.changes(Ok(Event::InitApply(of("user-1"))));
        limits.changes(Ok(Event::InitApply(of("user-2"))));
        assert_eq!(limits.changes(Ok(Event::InitDone)), []);
        limits.changes(Ok(Event::Init));
        limits.changes(Ok(Event::InitApply(of("user-2"))));
        let gone = [WallChange::Ours {
            namespace: "user-1".to_owned(),
        }];
        assert_eq!(limits.changes(Ok(Event::InitDone)), gone);
    }
}
