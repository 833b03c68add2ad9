//! Room of a cluster: what its nodes have left for further pods, kept up to date by watches.
//!
//! Of a pod only its node, its instance and its requests are kept; the sums of a node change with each
//! event. So a cluster at rest costs nothing, and a purchase no more with many pods than with few.

mod layout;
mod nodes;
mod requests;
mod watches;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dermaga_runtime::gate::INSTANCE_LABEL;
use kube::{ResourceExt as _, api::DynamicObject};
use tokio::{sync::Notify, time::Instant};

pub use self::{layout::Layout, nodes::NodeRule, requests::pods_of, watches::ROOM_LAG};
use self::{
    layout::{Claims, Node},
    nodes::Shape,
    requests::requests_of,
};
use super::{Load, reading::text, usage::has_ended};

/// Time for which a watch may be broken before nothing is known any more.
const BROKEN_WATCH: Duration = Duration::from_secs(10);

/// Room of a cluster, as far as its watches know. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Capacity {
    state: Arc<Mutex<State>>,
    /// Wakes the one who waits for the first lists.
    has_listed: Arc<Notify>,
}

/// Kind of object that says something about room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Node,
    Pod,
}

impl Capacity {
    /// Returns the room of a cluster that no watch has seen yet.
    pub fn new(rule: NodeRule) -> Self {
        let state = State {
            rule,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            has_listed: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all nodes and pods have been listed.
    pub async fn listed(&self) {
        loop {
            let is_listed = self.state().is_listed();
            if is_listed {
                return;
            }
            self.has_listed.notified().await;
        }
    }

    /// Returns a number that changes with the room.
    ///
    /// # Errors
    /// The reason for which the room is not known.
    pub fn revision(&self) -> Result<u64, String> {
        let state = self.state();
        state.check(Instant::now())?;
        Ok(state.revision)
    }

    /// Returns the room without the pods of some instances, by their names; `None` while it is not known.
    /// Pods of all others that wait for a node have one.
    pub fn without(&self, instances: &HashSet<&str>) -> Option<Layout> {
        let state = self.state();
        state.check(Instant::now()).ok()?;
        let (mut layout, waiting) = state.without(instances);
        drop(state);
        // One by one, so that a pod that fits nowhere keeps no other from its room.
        for pod in waiting {
            layout.place(&[pod]);
        }
        Some(layout)
    }

    fn list_begins(&self, kind: Kind) {
        let mut state = self.state();
        let watch = state.watch_mut(kind);
        watch.list = watch.list.wrapping_add(1);
    }

    /// Notes an object that a list or a watch shows.
    fn seen(&self, kind: Kind, object: &DynamicObject) {
        let mut state = self.state();
        match kind {
            Kind::Node => state.note_node(object),
            Kind::Pod => state.note_pod(object),
        }
    }

    fn gone(&self, kind: Kind, object: &DynamicObject) {
        let mut state = self.state();
        match kind {
            Kind::Node => state.drop_node(&object.name_any()),
            Kind::Pod => state.drop_pod(&key(object)),
        }
    }

    /// Forgets what the list did not have.
    fn list_ends(&self, kind: Kind) {
        let mut state = self.state();
        match kind {
            Kind::Node => state.keep_listed_nodes(),
            Kind::Pod => state.keep_listed_pods(),
        }
        let watch = state.watch_mut(kind);
        watch.is_listed = true;
        watch.broken = None;
        if state.is_listed() {
            self.has_listed.notify_one();
        }
    }

    /// Notes that a watch follows all changes since it was broken.
    fn works(&self, kind: Kind) {
        self.state().watch_mut(kind).broken = None;
    }

    /// Notes that a watch is broken. Returns false when it has been for so long that it must list again.
    fn breaks(&self, kind: Kind, reason: String) -> bool {
        let mut state = self.state();
        let watch = state.watch_mut(kind);
        let since = watch.broken.take().map(|(since, _)| since);
        let since = since.unwrap_or_else(Instant::now);
        watch.broken = Some((since, reason));
        if since.elapsed() >= BROKEN_WATCH {
            watch.is_listed = false;
        }
        watch.is_listed
    }
}

/// The watch of one kind.
#[derive(Debug, Default)]
struct Watch {
    list: u32,
    is_listed: bool,
    /// Time since when nothing is heard, and the reason.
    broken: Option<(Instant, String)>,
}

impl Watch {
    fn check(&self, now: Instant) -> Result<(), String> {
        match &self.broken {
            Some((since, reason))
                if !self.is_listed || now.saturating_duration_since(*since) >= BROKEN_WATCH =>
            {
                Err(reason.clone())
            }
            None if !self.is_listed => Err("nodes and pods are not listed yet".to_owned()),
            _ => Ok(()),
        }
    }
}

/// A node that is there, or that pods name.
#[derive(Debug, Default)]
struct Held {
    /// The list that it was seen in or after; `None` while only pods name it.
    list: Option<u32>,
    /// Empty while the scheduler puts no pods of customers on it.
    shape: Option<Shape>,
    claims: Claims,
}

impl Held {
    const fn is_needed(&self) -> bool {
        self.list.is_some() || !self.claims.is_nothing()
    }
}

/// Everything that is kept of a pod.
#[derive(Debug, PartialEq, Eq)]
struct Pod {
    /// `None` while it waits for a node.
    node: Option<Arc<str>>,
    instance: Option<Arc<str>>,
    requests: Load,
}

#[derive(Debug, Default)]
struct State {
    rule: NodeRule,
    node_watch: Watch,
    pod_watch: Watch,
    nodes: BTreeMap<Arc<str>, Held>,
    /// Pods that have not ended, by namespace and name, each with the list that it was seen in or after.
    pods: HashMap<Box<str>, (Pod, u32)>,
    /// Node and requests of the pods of each instance that have a node.
    placed: BTreeMap<Arc<str>, Vec<(Arc<str>, Load)>>,
    /// Requests of the pods of each instance that wait for a node.
    waiting: BTreeMap<Arc<str>, Vec<Load>>,
    revision: u64,
}

impl State {
    const fn watch_mut(&mut self, kind: Kind) -> &mut Watch {
        match kind {
            Kind::Node => &mut self.node_watch,
            Kind::Pod => &mut self.pod_watch,
        }
    }

    const fn is_listed(&self) -> bool {
        self.node_watch.is_listed && self.pod_watch.is_listed
    }

    /// Checks that the room is known; a cluster that shows no node at all says nothing of it.
    fn check(&self, now: Instant) -> Result<(), String> {
        self.node_watch.check(now)?;
        self.pod_watch.check(now)?;
        if self.nodes.values().all(|node| node.list.is_none()) {
            return Err("the cluster shows no nodes".to_owned());
        }
        Ok(())
    }

    /// Returns the room without the pods of some instances, and the pods of all others that wait.
    fn without(&self, instances: &HashSet<&str>) -> (Layout, Vec<Load>) {
        let open = self.nodes.iter().filter_map(|(name, held)| {
            let (shape, claims) = (held.shape?, held.claims);
            Some((&**name, Node { shape, claims }))
        });
        let mut nodes: BTreeMap<&str, Node> = open.collect();
        let left_out = instances.iter().filter_map(|name| self.placed.get(*name));
        for (node, requests) in left_out.flatten() {
            if let Some(node) = nodes.get_mut(&**node) {
                node.claims.remove(*requests);
            }
        }
        let mut waiting = Vec::new();
        for (name, pods) in &self.waiting {
            if !instances.contains(&**name) {
                waiting.extend_from_slice(pods);
            }
        }
        let nodes = nodes.into_values().collect();
        (Layout { nodes }, waiting)
    }

    const fn note_change(&mut self) {
        self.revision = self.revision.wrapping_add(1);
    }

    fn note_node(&mut self, object: &DynamicObject) {
        let (shape, list) = (self.rule.shape(object), Some(self.node_watch.list));
        let name = self.node_name(&object.name_any());
        let held = self.nodes.entry(name).or_default();
        // A list that begins is no news of the nodes in it, nor is the pulse of a node.
        let is_news = held.list.is_none() || held.shape != shape;
        held.list = list;
        held.shape = shape;
        if is_news {
            self.note_change();
        }
    }

    fn drop_node(&mut self, name: &str) {
        if let Some(held) = self.nodes.get_mut(name) {
            held.list = None;
            held.shape = None;
            if !held.is_needed() {
                self.nodes.remove(name);
            }
            self.note_change();
        }
    }

    fn keep_listed_nodes(&mut self) {
        let list = self.node_watch.list;
        let is_gone = |held: &Held| held.list.is_some_and(|of| of != list);
        let gone = self.nodes.iter().filter(|(_, held)| is_gone(held));
        let gone: Vec<_> = gone.map(|(name, _)| Arc::clone(name)).collect();
        for name in gone {
            self.drop_node(&name);
        }
    }

    /// Returns the name of a node, shared by all that have it.
    fn node_name(&self, name: &str) -> Arc<str> {
        match self.nodes.get_key_value(name) {
            Some((known, _)) => Arc::clone(known),
            None => name.into(),
        }
    }

    fn note_pod(&mut self, object: &DynamicObject) {
        let (key, list) = (key(object), self.pod_watch.list);
        if has_ended(&object.data) {
            return self.drop_pod(&key);
        }
        let node = text(&object.data, "/spec/nodeName").filter(|name| !name.is_empty());
        let instance = object.metadata.labels.as_ref();
        let instance = instance.and_then(|labels| labels.get(INSTANCE_LABEL));
        let pod = Pod {
            node: node.map(|name| self.node_name(&name)),
            instance: instance.map(|name| name.as_str().into()),
            requests: object.data.get("spec").map(requests_of).unwrap_or_default(),
        };
        if let Some((known, of)) = self.pods.get_mut(&key)
            && *known == pod
        {
            *of = list;
            return;
        }
        self.drop_pod(&key);
        self.add(&pod);
        self.pods.insert(key, (pod, list));
    }

    fn drop_pod(&mut self, key: &str) {
        if let Some((pod, _)) = self.pods.remove(key) {
            self.remove(&pod);
        }
    }

    fn keep_listed_pods(&mut self) {
        let list = self.pod_watch.list;
        let gone = self.pods.iter().filter(|(_, (_, of))| *of != list);
        let gone: Vec<_> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.drop_pod(&key);
        }
    }

    /// Adds a pod to the sums. One that waits and is of no instance takes nothing: it may go elsewhere.
    fn add(&mut self, pod: &Pod) {
        let Pod {
            node,
            instance,
            requests,
        } = pod;
        if let Some(name) = node {
            let held = self.nodes.entry(Arc::clone(name)).or_default();
            held.claims.add(*requests);
        }
        match (instance, node) {
            (Some(instance), Some(node)) => {
                let pods = self.placed.entry(Arc::clone(instance)).or_default();
                pods.push((Arc::clone(node), *requests));
            }
            (Some(instance), None) => {
                let pods = self.waiting.entry(Arc::clone(instance)).or_default();
                pods.push(*requests);
            }
            (None, _) => {}
        }
        self.note_change();
    }

    fn remove(&mut self, pod: &Pod) {
        let Pod {
            node,
            instance,
            requests,
        } = pod;
        if let Some(name) = node
            && let Some(held) = self.nodes.get_mut(name)
        {
            held.claims.remove(*requests);
            if !held.is_needed() {
                self.nodes.remove(name);
            }
        }
        match (instance, node) {
            (Some(instance), Some(node)) => {
                take_one(&mut self.placed, instance, &(Arc::clone(node), *requests));
            }
            (Some(instance), None) => take_one(&mut self.waiting, instance, requests),
            (None, _) => {}
        }
        self.note_change();
    }
}

/// Removes one of equal pods of an instance.
fn take_one<T: PartialEq>(pods: &mut BTreeMap<Arc<str>, Vec<T>>, instance: &str, pod: &T) {
    if let Some(own) = pods.get_mut(instance) {
        if let Some(at) = own.iter().position(|one| one == pod) {
            // Equal pods are alike, and their order has no meaning.
            own.swap_remove(at);
        }
        if own.is_empty() {
            pods.remove(instance);
        }
    }
}

/// Returns the namespace and the name of a pod.
fn key(pod: &DynamicObject) -> Box<str> {
    let namespace = pod.namespace().unwrap_or_default();
    format!("{namespace}/{}", pod.name_any()).into()
}
