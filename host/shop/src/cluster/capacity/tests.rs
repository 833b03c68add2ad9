//! Tests of the room of a cluster, by the events of its watches.

use serde_json::{Value, json};

use super::*;
use crate::cluster::Toleration;

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

fn pod(instance: Option<&str>, node: Option<&str>, (cpu, memory): (&str, &str)) -> Value {
    let mut labels = json!({});
    if let Some(instance) = instance {
        labels[INSTANCE_LABEL] = instance.into();
    }
    let amounts = json!({"cpu": cpu, "memory": memory});
    json!({
        "metadata": {"labels": labels},
        "spec": {"nodeName": node, "containers": [{"resources": {"requests": amounts}}]},
        "status": {"phase": "Running"},
    })
}

/// Reads an object, named by its number unless it has a name.
fn object((number, object): (usize, &Value)) -> DynamicObject {
    let mut object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let name = object.metadata.name.take();
    object.metadata.name = name.or_else(|| Some(number.to_string()));
    object
}

fn list(capacity: &Capacity, kind: Kind, objects: &[Value]) {
    capacity.list_begins(kind);
    for one in objects.iter().enumerate().map(object) {
        capacity.seen(kind, &one);
    }
    capacity.list_ends(kind);
}

fn capacity(rule: NodeRule, nodes: &[Value], pods: &[Value]) -> Capacity {
    let capacity = Capacity::new(rule);
    list(&capacity, Kind::Node, nodes);
    list(&capacity, Kind::Pod, pods);
    capacity
}

fn left(capacity: &Capacity) -> Layout {
    capacity.without(&HashSet::new()).unwrap()
}

fn room(nodes: &[Value], pods: &[Value]) -> Layout {
    left(&capacity(NodeRule::default(), nodes, pods))
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
    let kept = |headroom| {
        let rule = NodeRule {
            headroom,
            ..NodeRule::default()
        };
        left(&capacity(rule, &[node("a")], &[]))
    };
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
    let capacity = capacity(NodeRule::default(), &[node("a")], &pods);
    let mut left = capacity.without(&HashSet::from(["n8n-a"])).unwrap();
    assert!(left.place(&[load(1500, 3072)]));
    assert!(!left.place(&[load(1, 0)]));
}

#[test]
fn only_nodes_that_the_operator_selects_have_room() {
    let rule = NodeRule {
        selector: [("pool".to_owned(), "customers".to_owned())].into(),
        ..NodeRule::default()
    };
    let labelled = |labels: Value| {
        let mut node = node("a");
        node["metadata"]["labels"] = labels;
        left(&capacity(rule.clone(), &[node], &[]))
    };
    for (labels, has_room) in [
        (json!({"pool": "customers", "zone": "a"}), true),
        (json!({"pool": "system"}), false),
        (json!({"zone": "customers"}), false),
        (Value::Null, false),
    ] {
        let mut left = labelled(labels.clone());
        assert_eq!(left.place(&[load(1, 1)]), has_room, "{labels}");
    }
}

#[test]
fn a_taint_that_is_tolerated_takes_no_room() {
    let tolerated = Toleration {
        key: "pool".to_owned(),
        value: Some("customers".to_owned()),
        effect: None,
    };
    let rule = NodeRule {
        tolerations: vec![tolerated],
        ..NodeRule::default()
    };
    let ours = json!({"key": "pool", "value": "customers", "effect": "NoSchedule"});
    let evicting = json!({"key": "pool", "value": "customers", "effect": "NoExecute"});
    let other = json!({"key": "gpu", "effect": "NoSchedule"});
    for (taints, has_room) in [
        (json!([ours, evicting]), true),
        (json!([ours, other]), false),
        (json!([other]), false),
    ] {
        let mut node = node("a");
        node["spec"]["taints"] = taints.clone();
        let mut left = left(&capacity(rule.clone(), &[node], &[]));
        assert_eq!(left.place(&[load(1, 1)]), has_room, "{taints}");
    }
}

#[test]
fn sums_follow_each_event() {
    let capacity = capacity(NodeRule::default(), &[node("a")], &[]);
    let fits = |cpu_millis| left(&capacity).place(&[load(cpu_millis, 0)]);
    let seen = |pod: &Value| capacity.seen(Kind::Pod, &object((0, pod)));
    seen(&pod(Some("n8n-a"), None, ("1500m", "1Gi")));
    assert!(fits(500) && !fits(501), "it waits");
    seen(&pod(Some("n8n-a"), Some("a"), ("1500m", "1Gi")));
    assert!(fits(500) && !fits(501), "it has a node");
    seen(&pod(Some("n8n-a"), Some("a"), ("250m", "1Gi")));
    assert!(fits(1750) && !fits(1751), "it became smaller");
    let mut ended = pod(Some("n8n-a"), Some("a"), ("250m", "1Gi"));
    ended["status"]["phase"] = "Failed".into();
    seen(&ended);
    assert!(fits(2000), "it ended");
    let other = pod(None, Some("a"), ("2", "1Gi"));
    seen(&other);
    assert!(!fits(1));
    capacity.gone(Kind::Pod, &object((0, &other)));
    assert!(fits(2000), "it is gone");
    assert!(capacity.state().placed.is_empty());
    assert!(capacity.state().waiting.is_empty());
    capacity.gone(Kind::Node, &object((0, &node("a"))));
    assert!(
        capacity.without(&HashSet::new()).is_none(),
        "no node at all"
    );
}

#[test]
fn pods_that_are_seen_before_their_node_count_on_it() {
    let capacity = Capacity::new(NodeRule::default());
    let pods = [pod(None, Some("a"), ("1500m", "1Gi"))];
    list(&capacity, Kind::Pod, &pods);
    list(&capacity, Kind::Node, &[node("a")]);
    assert!(left(&capacity).place(&[load(500, 0)]));
    assert!(!left(&capacity).place(&[load(501, 0)]));
}

#[test]
fn what_changes_no_room_is_no_news() {
    let one = pod(Some("n8n-a"), Some("a"), ("1", "1Gi"));
    let capacity = capacity(
        NodeRule::default(),
        &[node("a")],
        std::slice::from_ref(&one),
    );
    let before = capacity.revision();
    assert!(before.is_ok());
    let mut alive = node("a");
    alive["status"]["conditions"][1]["lastHeartbeatTime"] = "2026-01-01T00:00:00Z".into();
    capacity.seen(Kind::Node, &object((0, &alive)));
    let mut ready = one.clone();
    ready["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    capacity.seen(Kind::Pod, &object((0, &ready)));
    list(&capacity, Kind::Node, &[node("a")]);
    list(&capacity, Kind::Pod, &[one]);
    assert_eq!(capacity.revision(), before);
    alive["spec"]["unschedulable"] = true.into();
    capacity.seen(Kind::Node, &object((0, &alive)));
    assert_ne!(capacity.revision(), before);
}

#[test]
fn what_a_later_list_lacks_is_gone() {
    let pods = [
        pod(Some("n8n-a"), Some("a"), ("1", "1Gi")),
        pod(Some("n8n-b"), None, ("1", "1Gi")),
    ];
    let capacity = capacity(NodeRule::default(), &[node("a"), node("b")], &pods);
    list(&capacity, Kind::Pod, &[]);
    list(&capacity, Kind::Node, &[node("b")]);
    assert_eq!(left(&capacity).count(&[load(2000, 4096)], 9), 1);
    assert_eq!(capacity.state().nodes.len(), 1);
}

#[test]
fn nothing_is_known_before_both_lists_and_while_a_watch_is_broken() {
    let capacity = Capacity::new(NodeRule::default());
    assert!(capacity.revision().is_err());
    list(&capacity, Kind::Node, &[node("a")]);
    assert!(capacity.revision().is_err(), "pods are unknown");
    list(&capacity, Kind::Pod, &[]);
    assert!(capacity.revision().is_ok());

    let later = Instant::now() + BROKEN_WATCH + BROKEN_WATCH;
    assert!(capacity.breaks(Kind::Pod, "gone away".to_owned()));
    assert!(capacity.revision().is_ok(), "a moment");
    let reason = capacity.state().check(later);
    assert_eq!(reason, Err("gone away".to_owned()));
    capacity.works(Kind::Pod);
    assert_eq!(capacity.state().check(later), Ok(()));

    let long_ago = Instant::now().checked_sub(BROKEN_WATCH).unwrap();
    capacity.state().node_watch.broken = Some((long_ago, "before".to_owned()));
    assert!(!capacity.breaks(Kind::Node, "still away".to_owned()));
    capacity.works(Kind::Node);
    assert!(capacity.revision().is_err(), "it must list again");
    list(&capacity, Kind::Node, &[node("a")]);
    assert!(capacity.revision().is_ok());
}

#[tokio::test]
async fn the_first_lists_can_be_waited_for() {
    let capacity = Capacity::new(NodeRule::default());
    let waiting = tokio::spawn({
        let capacity = capacity.clone();
        async move { capacity.listed().await }
    });
    tokio::task::yield_now().await;
    list(&capacity, Kind::Pod, &[]);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    list(&capacity, Kind::Node, &[node("a")]);
    waiting.await.unwrap();
    capacity.listed().await;
}
