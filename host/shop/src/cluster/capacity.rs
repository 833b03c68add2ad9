//! Room of a cluster: what its nodes have left for further pods.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use dermaga_runtime::gate::{INSTANCE_LABEL, storage_bytes};
use futures::future::try_join;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Cluster, ClusterError,
    reading::{all, text},
    usage::{Load, has_ended},
};

/// Time to list all nodes and pods, beyond which the cluster counts as away.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// A node that takes pods of customers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    /// Amounts that pods may claim: what is allocatable, less the share that is kept free.
    allocatable: Load,
    most_pods: u64,
    claimed: Load,
    pods: u64,
}

impl Node {
    /// Reads a node; `None` when the scheduler puts no pods of customers on it.
    fn of(node: &Value, headroom: u64) -> Option<Self> {
        let is =
            |object: &Value, field: &str, word: &str| text(object, field).as_deref() == Some(word);
        let is_ready = all(node, "/status/conditions")
            .any(|one| is(one, "/type", "Ready") && is(one, "/status", "True"));
        let is_cordoned = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
        // The gate admits no tolerations, so that every such taint keeps customers' pods away.
        let is_tainted = all(node, "/spec/taints")
            .any(|taint| is(taint, "/effect", "NoSchedule") || is(taint, "/effect", "NoExecute"));
        if !is_ready || is_cordoned || is_tainted {
            return None;
        }
        let whole = Load::of(node.pointer("/status/allocatable"));
        let usable = 100_u64.saturating_sub(headroom);
        let part = |amount: u64| {
            let part = u128::from(amount).saturating_mul(usable.into()) / 100;
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        let pods = node.pointer("/status/allocatable/pods");
        let pods = pods.and_then(storage_bytes).unwrap_or_default();
        Some(Self {
            allocatable: Load {
                cpu_millis: part(whole.cpu_millis),
                memory_bytes: part(whole.memory_bytes),
            },
            most_pods: u64::try_from(pods).unwrap_or(u64::MAX),
            ..Self::default()
        })
    }

    /// Returns true when a pod fits; what it does not ask for may be used up.
    fn takes(&self, pod: Load) -> bool {
        let after = self.claimed + pod;
        let fits = |asked: u64, after: u64, most: u64| asked == 0 || after <= most;
        self.pods < self.most_pods
            && fits(
                pod.cpu_millis,
                after.cpu_millis,
                self.allocatable.cpu_millis,
            )
            && fits(
                pod.memory_bytes,
                after.memory_bytes,
                self.allocatable.memory_bytes,
            )
    }

    fn add(&mut self, pod: Load) {
        self.claimed = self.claimed + pod;
        self.pods = self.pods.saturating_add(1);
    }

    const fn remove(&mut self, pod: Load) {
        let Load {
            cpu_millis,
            memory_bytes,
        } = self.claimed;
        self.claimed = Load {
            cpu_millis: cpu_millis.saturating_sub(pod.cpu_millis),
            memory_bytes: memory_bytes.saturating_sub(pod.memory_bytes),
        };
        self.pods = self.pods.saturating_sub(1);
    }

    /// Returns the thousandths of its processor and of its memory that are left, added up.
    fn left(&self) -> u128 {
        let part = |claimed: u64, whole: u64| {
            let left = u128::from(whole.saturating_sub(claimed)).saturating_mul(1000);
            left.checked_div(whole.into()).unwrap_or_default()
        };
        let Self {
            allocatable,
            claimed,
            ..
        } = self;
        part(claimed.cpu_millis, allocatable.cpu_millis)
            .saturating_add(part(claimed.memory_bytes, allocatable.memory_bytes))
    }
}

/// A pod of an instance: the number of its node, unless it waits for one, and its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Placed {
    node: Option<usize>,
    requests: Load,
}

/// Room of a cluster at one moment.
#[derive(Debug, Clone, Default)]
pub struct Capacity {
    nodes: Vec<Node>,
    /// Pods of each instance, by its name, but those on nodes that take no more.
    pods: BTreeMap<String, Vec<Placed>>,
}

impl Capacity {
    /// Adds up nodes and pods, and keeps `headroom` percent of each node free. Volumes, ports and
    /// affinities are the scheduler's: pods of customers ask for no particular node.
    pub(super) fn of(nodes: &[Value], pods: &[Value], headroom: u64) -> Self {
        let (mut room, mut numbers) = (Self::default(), HashMap::new());
        for object in nodes {
            let name = text(object, "/metadata/name");
            if let (Some(name), Some(node)) = (name, Node::of(object, headroom)) {
                numbers.insert(name, room.nodes.len());
                room.nodes.push(node);
            }
        }
        for pod in pods.iter().filter(|pod| !has_ended(pod)) {
            room.add(pod, &numbers);
        }
        room
    }

    fn add(&mut self, pod: &Value, numbers: &HashMap<String, usize>) {
        let requests = pod.get("spec").map(requests_of).unwrap_or_default();
        let name = text(pod, "/spec/nodeName").filter(|name| !name.is_empty());
        let node = name.as_ref().and_then(|name| numbers.get(name).copied());
        if let Some(taken) = node.and_then(|number| self.nodes.get_mut(number)) {
            taken.add(requests);
        }
        let labels = pod.pointer("/metadata/labels");
        let instance = labels.and_then(|labels| labels.get(INSTANCE_LABEL));
        let instance = instance.and_then(Value::as_str);
        if let Some(instance) = instance.filter(|_| name.is_none() || node.is_some()) {
            let pods = self.pods.entry(instance.to_owned()).or_default();
            pods.push(Placed { node, requests });
        }
    }

    /// Returns the room without the pods of some instances, by their names. Pods of all others that wait
    /// for a node have one.
    pub fn without(&self, instances: &HashSet<&str>) -> Layout {
        let mut layout = Layout {
            nodes: self.nodes.clone(),
        };
        let mut waiting = Vec::new();
        for (name, pods) in &self.pods {
            let is_left_out = instances.contains(name.as_str());
            for Placed { node, requests } in pods {
                match node.and_then(|number| layout.nodes.get_mut(number)) {
                    Some(node) if is_left_out => node.remove(*requests),
                    None if !is_left_out => waiting.push(*requests),
                    _ => {}
                }
            }
        }
        // One by one, so that a pod that fits nowhere keeps no other from its room.
        for pod in waiting {
            layout.place(&[pod]);
        }
        layout
    }
}

/// Room into which further pods are put, as the scheduler probably will.
#[derive(Debug, Clone)]
pub struct Layout {
    nodes: Vec<Node>,
}

impl Layout {
    /// Puts pods where the scheduler does by default: the largest first, each on the node with the most
    /// left. Returns false, and puts none anywhere, when one of them fits nowhere.
    pub fn place(&mut self, pods: &[Load]) -> bool {
        let mut pods = pods.to_vec();
        pods.sort_by_key(|pod| Reverse((pod.memory_bytes, pod.cpu_millis)));
        let mut placed = Vec::with_capacity(pods.len());
        for pod in pods {
            let fitting = self.nodes.iter().enumerate();
            let fitting = fitting.filter(|(_, node)| node.takes(pod));
            let Some((number, _)) = fitting.max_by_key(|(_, node)| node.left()) else {
                self.undo(placed);
                return false;
            };
            if let Some(node) = self.nodes.get_mut(number) {
                node.add(pod);
            }
            placed.push((number, pod));
        }
        true
    }

    fn undo(&mut self, placed: Vec<(usize, Load)>) {
        for (number, pod) in placed {
            if let Some(node) = self.nodes.get_mut(number) {
                node.remove(pod);
            }
        }
    }

    /// Returns how many times these pods fit, `most` at most.
    pub fn count(&self, pods: &[Load], most: u64) -> u64 {
        let mut layout = self.clone();
        let mut count = 0;
        while count < most && layout.place(pods) {
            count += 1;
        }
        count
    }
}

/// Returns the requests of every pod of an instance's objects.
pub fn pods_of(objects: &[Value]) -> Vec<Load> {
    objects.iter().flat_map(pods_of_one).collect()
}

fn pods_of_one(object: &Value) -> Vec<Load> {
    let (copies, pod) = match object.get("kind").and_then(Value::as_str) {
        Some("Deployment" | "StatefulSet") => ("/spec/replicas", "/spec/template/spec"),
        Some("Job") => ("/spec/parallelism", "/spec/template/spec"),
        Some("CronJob") => (
            "/spec/jobTemplate/spec/parallelism",
            "/spec/jobTemplate/spec/template/spec",
        ),
        _ => return Vec::new(),
    };
    let copies = object.pointer(copies).and_then(Value::as_u64).unwrap_or(1);
    let requests = object.pointer(pod).map(requests_of).unwrap_or_default();
    vec![requests; usize::try_from(copies).unwrap_or_default()]
}

/// Returns the requests of a pod: its containers together, or one init container before them, and all
/// sidecars in either case.
fn requests_of(spec: &Value) -> Load {
    let is_sidecar =
        |container: &&Value| text(container, "/restartPolicy").as_deref() == Some("Always");
    let (sidecars, init): (Vec<&Value>, Vec<&Value>) =
        all(spec, "/initContainers").partition(is_sidecar);
    let main: Load = all(spec, "/containers").map(requests).sum();
    let sidecars: Load = sidecars.into_iter().map(requests).sum();
    let peak = init.into_iter().map(requests).fold(main, larger);
    peak + sidecars + Load::of(spec.get("overhead"))
}

/// Returns the requests of a container. The API server takes a limit for a request that is not stated.
fn requests(container: &Value) -> Load {
    let stated = |resource: &str| {
        let at = |side: &str| container.pointer(&format!("/resources/{side}/{resource}"));
        at("requests").or_else(|| at("limits"))
    };
    let (cpu, memory) = (stated("cpu"), stated("memory"));
    Load::of(Some(&json!({ "cpu": cpu, "memory": memory })))
}

fn larger(one: Load, other: Load) -> Load {
    Load {
        cpu_millis: one.cpu_millis.max(other.cpu_millis),
        memory_bytes: one.memory_bytes.max(other.memory_bytes),
    }
}

impl Cluster {
    /// Looks at all nodes and pods; `None` when the cluster shows no node at all, which says nothing of
    /// its room.
    ///
    /// # Errors
    /// When the cluster is away, or does not let the server read them.
    pub async fn capacity(&self, headroom: u64) -> Result<Option<Capacity>, ClusterError> {
        let every = ListParams::default();
        let nodes = self.known("/api/v1/nodes", &every);
        let pods = self.known("/api/v1/pods", &every);
        let looked = timeout(LOOK_TIMEOUT, try_join(nodes, pods)).await;
        let (nodes, pods) = looked.map_err(|_| {
            let limit = LOOK_TIMEOUT.as_secs();
            ClusterError::Unreachable(format!("no answer within {limit} s"))
        })??;
        Ok((!nodes.is_empty()).then(|| Capacity::of(&nodes, &pods, headroom)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn load(cpu_millis: u64, memory_mib: u64) -> Load {
        Load {
            cpu_millis,
            memory_bytes: memory_mib * MIB,
        }
    }

    /// A node of two processors and 4 GiB that is ready.
    fn node(name: &str) -> Value {
        json!({
            "metadata": {"name": name},
            "spec": {},
            "status": {
                "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"},
                "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
            },
        })
    }

    fn container(cpu: &str, memory: &str) -> Value {
        let amounts = json!({"cpu": cpu, "memory": memory});
        json!({"resources": {"requests": amounts, "limits": amounts}})
    }

    fn pod(instance: Option<&str>, node: Option<&str>, (cpu, memory): (&str, &str)) -> Value {
        let mut labels = json!({});
        if let Some(instance) = instance {
            labels[INSTANCE_LABEL] = instance.into();
        }
        json!({
            "metadata": {"labels": labels},
            "spec": {"nodeName": node, "containers": [container(cpu, memory)]},
            "status": {"phase": "Running"},
        })
    }

    fn room(nodes: &[Value], pods: &[Value]) -> Layout {
        Capacity::of(nodes, pods, 0).without(&HashSet::new())
    }

    #[test]
    fn a_pod_fits_on_one_node_and_not_on_the_rests_of_two() {
        let nodes = [node("a"), node("b")];
        let pods = [
            pod(None, Some("a"), ("1500m", "1Gi")),
            pod(None, Some("b"), ("1", "3Gi")),
        ];
        let left = room(&nodes, &pods);
        for (wanted, fits) in [
            (vec![load(1000, 1024)], true),
            (vec![load(500, 3072)], true),
            // As much is left of both together, and of neither.
            (vec![load(1000, 1025)], false),
            (vec![load(1500, 64)], false),
            (vec![load(500, 64), load(1000, 64)], true),
            (vec![load(1000, 64), load(1000, 64)], false),
            (vec![load(500, 1024); 2], true),
            (vec![load(500, 1024); 3], false),
        ] {
            assert_eq!(left.clone().place(&wanted), fits, "{wanted:?}");
        }
    }

    #[test]
    fn what_does_not_fit_as_a_whole_takes_nothing() {
        let mut left = room(&[node("a")], &[]);
        assert!(!left.place(&[load(1500, 64), load(1500, 64)]));
        assert!(left.place(&[load(2000, 4096)]));
        assert!(!left.place(&[load(1, 1)]));
        assert_eq!(room(&[node("a")], &[]).count(&[load(600, 64)], 9), 3);
        assert_eq!(room(&[node("a")], &[]).count(&[load(1, 1)], 9), 9);
        assert_eq!(room(&[node("a")], &[]).count(&[load(1, 1)], 20), 10, "pods");
    }

    #[test]
    fn nodes_that_take_no_pods_have_no_room() {
        let mut cordoned = node("cordoned");
        cordoned["spec"]["unschedulable"] = true.into();
        let mut away = node("away");
        away["status"]["conditions"][1]["status"] = "Unknown".into();
        let mut silent = node("silent");
        silent["status"]["conditions"] = json!([]);
        let tainted = |effect: &str| {
            let mut tainted = node("tainted");
            tainted["spec"]["taints"] = json!([{"key": "gpu", "effect": effect}]);
            tainted
        };
        let closed = [
            cordoned,
            away,
            silent,
            tainted("NoSchedule"),
            tainted("NoExecute"),
        ];
        for node in closed {
            assert!(
                !room(std::slice::from_ref(&node), &[]).place(&[load(1, 1)]),
                "{node}"
            );
        }
        assert!(room(&[tainted("PreferNoSchedule")], &[]).place(&[load(1, 1)]));
    }

    #[test]
    fn a_share_of_each_node_is_kept_free() {
        let kept = |headroom| Capacity::of(&[node("a")], &[], headroom).without(&HashSet::new());
        for (headroom, fits) in [(0, 2000), (10, 1800), (100, 0)] {
            assert!(kept(headroom).place(&[load(fits, 0)]), "{headroom}");
            assert!(!kept(headroom).place(&[load(fits + 1, 0)]), "{headroom}");
        }
    }

    #[test]
    fn pods_that_ended_or_are_elsewhere_take_nothing_and_waiting_ones_do() {
        let big = ("2", "4Gi");
        let mut ended = pod(Some("n8n-a"), Some("a"), big);
        ended["status"]["phase"] = "Succeeded".into();
        let others = [
            ended,
            pod(Some("n8n-b"), Some("gone"), big),
            pod(None, None, big),
        ];
        assert!(room(&[node("a")], &others).place(&[load(2000, 4096)]));
        let waiting = pod(Some("n8n-c"), None, ("1500m", "1Gi"));
        assert!(!room(&[node("a")], &[waiting]).place(&[load(1000, 64)]));
    }

    #[test]
    fn an_instance_that_changes_is_left_out_wherever_its_pods_are() {
        let pods = [
            pod(Some("n8n-a"), Some("a"), ("1", "1Gi")),
            pod(Some("n8n-a"), None, ("1", "1Gi")),
            pod(Some("n8n-b"), Some("a"), ("500m", "1Gi")),
        ];
        let capacity = Capacity::of(&[node("a")], &pods, 0);
        let mut left = capacity.without(&HashSet::from(["n8n-a"]));
        assert!(left.place(&[load(1500, 3072)]));
        assert!(!left.place(&[load(1, 0)]));
    }

    #[test]
    fn a_pod_asks_for_its_containers_or_its_largest_first_step() {
        let mut sidecar = container("100m", "64Mi");
        sidecar["restartPolicy"] = "Always".into();
        let spec = json!({
            "initContainers": [container("900m", "32Mi"), sidecar],
            "containers": [container("200m", "128Mi"), {"resources": {"limits": {"cpu": "300m", "memory": "64Mi"}}}],
            "overhead": {"cpu": "10m", "memory": "1Mi"},
        });
        assert_eq!(requests_of(&spec), load(900 + 100 + 10, 192 + 64 + 1));
        let objects = [
            json!({"kind": "Deployment", "spec": {"replicas": 2, "template": {"spec": &spec}}}),
            json!({"kind": "StatefulSet", "spec": {"template": {"spec": &spec}}}),
            json!({"kind": "StatefulSet", "spec": {"replicas": 0, "template": {"spec": &spec}}}),
            json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": &spec}}}}}),
            json!({"kind": "Service", "spec": {}}),
        ];
        assert_eq!(pods_of(&objects), vec![load(1010, 257); 4]);
    }
}
