//! Watch for changes of what separates customers: namespaces, quotas, limits, network policies.

use std::{
    collections::{BTreeMap, HashMap},
    future::ready,
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    sync::{Arc, Mutex, PoisonError},
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

use super::{
    Cluster, ClusterError, FIELD_MANAGER, USER_LABEL,
    namespace::NAME,
    object::{MANAGED_BY_LABEL, label},
};

const POLICY: &str = "NetworkPolicy";
const WALL_KINDS: [(&str, &str); 4] = [
    ("v1", "Namespace"),
    ("v1", "ResourceQuota"),
    ("v1", "LimitRange"),
    ("networking.k8s.io/v1", POLICY),
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
    /// A network policy that Dermaga did not make appeared or changed. Policies add up, so that it
    /// may open what ours close.
    Foreign(PolicyRef),
    ForeignGone(PolicyRef),
    /// All network policies that Dermaga did not make, at the start of the watch.
    AllForeign(Vec<PolicyRef>),
}

/// Walls as they were applied or seen last: the hash of each one's content by that of its place.
#[derive(Debug, Default, Clone)]
pub(super) struct Walls(Arc<Mutex<HashMap<u64, u64>>>);

impl Walls {
    /// Remembers an object; returns true when it differs from what was remembered.
    pub(super) fn note(&self, kind: &str, object: &DynamicObject) -> bool {
        let content = hash(&(
            object.labels(),
            object.data.get("spec").map(ToString::to_string),
            object.metadata.deletion_timestamp.is_some(),
        ));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(place(kind, object), content) != Some(content)
    }

    fn forget(&self, kind: &str, object: &DynamicObject) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&place(kind, object));
    }
}

fn place(kind: &str, object: &DynamicObject) -> u64 {
    hash(&(kind, object.namespace(), object.name_any()))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Watch of one kind of walls.
struct WallWatch {
    kind: &'static str,
    walls: Walls,
    /// Foreign policies of the list that is being read.
    foreign: Vec<PolicyRef>,
}

impl WallWatch {
    fn change(
        &mut self,
        event: Result<Event<DynamicObject>, watcher::Error>,
    ) -> Option<WallChange> {
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
                Some(if self.is_foreign(&object) {
                    WallChange::ForeignGone(policy(&object))
                } else {
                    ours(&object)
                })
            }
            Ok(Event::Init) => {
                self.foreign.clear();
                None
            }
            Ok(Event::InitDone) => {
                (self.kind == POLICY).then(|| WallChange::AllForeign(mem::take(&mut self.foreign)))
            }
            Err(error) => {
                tracing::debug!(%error, "cluster.watch_interrupted");
                None
            }
        }
    }

    fn seen(&self, object: &DynamicObject) -> Option<WallChange> {
        let is_news = self.walls.note(self.kind, object);
        is_news.then(|| {
            if self.is_foreign(object) {
                WallChange::Foreign(policy(object))
            } else {
                ours(object)
            }
        })
    }

    fn is_foreign(&self, object: &DynamicObject) -> bool {
        self.kind == POLICY && !is_ours(object.labels(), &object.name_any())
    }
}

/// Returns true for our policies, also when somebody removed their labels.
fn is_ours(labels: &BTreeMap<String, String>, name: &str) -> bool {
    let has_prefix = name
        .strip_prefix(NAME)
        .is_some_and(|rest| rest.starts_with('-'));
    has_prefix || label(Some(labels), MANAGED_BY_LABEL) == Some(FIELD_MANAGER)
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
    /// Streams changes of what separates customers. Starts with everything there is; reconnects by
    /// itself after the API server was away.
    ///
    /// # Errors
    /// When the cluster cannot say what it serves.
    pub async fn wall_changes(
        &self,
    ) -> Result<impl Stream<Item = WallChange> + Send + Unpin + use<>, ClusterError> {
        let served = self.served().await?;
        let watches = WALL_KINDS.iter().filter_map(|(api_version, kind)| {
            let resource = served.resource(api_version, kind)?;
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), resource);
            // Policies of instances are watched with their instances.
            let selector = if *kind == POLICY {
                format!("!{INSTANCE_LABEL}")
            } else {
                format!("{MANAGED_BY_LABEL}={FIELD_MANAGER},{USER_LABEL}")
            };
            let config = watcher::Config::default().labels(&selector);
            let mut watch = WallWatch {
                kind,
                walls: self.walls.clone(),
                foreign: Vec::new(),
            };
            let changes = watcher(api, config).default_backoff();
            Some(
                changes
                    .filter_map(move |event| ready(watch.change(event)))
                    .boxed(),
            )
        });
        Ok(stream::select_all(watches.collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
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
        quotas.walls.note("ResourceQuota", &quota(2, 0));
        assert_eq!(quotas.change(Ok(Event::Apply(quota(2, 1)))), None);
        let changed = WallChange::Ours {
            namespace: "user-1".to_owned(),
        };
        assert_eq!(
            quotas.change(Ok(Event::Apply(quota(9, 1)))),
            Some(changed.clone())
        );
        assert_eq!(quotas.change(Ok(Event::Apply(quota(9, 2)))), None);
        assert_eq!(
            quotas.change(Ok(Event::Delete(quota(9, 2)))),
            Some(changed.clone())
        );
        assert_eq!(quotas.change(Ok(Event::Apply(quota(9, 2)))), Some(changed));
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
        assert_eq!(policies.change(Ok(Event::Init)), None);
        assert_eq!(
            policies.change(Ok(Event::InitApply(named("open")))),
            Some(WallChange::Foreign(open.clone()))
        );
        let ours = policies.change(Ok(Event::InitApply(named("dermaga-default-deny"))));
        assert!(matches!(ours, Some(WallChange::Ours { .. })), "{ours:?}");
        assert_eq!(
            policies.change(Ok(Event::InitDone)),
            Some(WallChange::AllForeign(vec![open.clone()]))
        );
        assert_eq!(
            policies.change(Ok(Event::Delete(named("open")))),
            Some(WallChange::ForeignGone(open))
        );
    }
}
