//! Nodes of a real cluster that pods of others fill, on a control plane that no other test of this program uses.

use std::path::PathBuf;

use dermaga_runtime::gate::cpu_millis;
use dermaga_shop::provisioning::{Choice, capacity::Settings};
use dermaga_tests::{Engine, Shop, skip, unique};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

use super::{becomes, buy, validate};
use crate::api::provisioning::client;

/// Percent of each node that is not sold.
const HEADROOM: u64 = 10;
/// Percent of a node's processor that a pod asks for: all that is sold, and not all that is there.
const FILLED: u128 = 91;

fn control_plane() -> Option<PathBuf> {
    let folder = std::env::var_os("DERMAGA_TEST_CONTROL_PLANE").map(PathBuf::from);
    if folder.is_none() {
        skip("Kubernetes", "DERMAGA_TEST_CONTROL_PLANE names none");
    }
    folder.map(|folder| folder.join("admin.kubeconfig"))
}

/// Returns a pod that asks for nearly all of a node.
fn filler(node: &Node) -> Pod {
    let status = node.status.as_ref().unwrap();
    let cpu = &status.allocatable.as_ref().unwrap()["cpu"];
    let cpu = cpu_millis(&json!(cpu.0)).unwrap() * FILLED / 100;
    let amounts = json!({ "cpu": format!("{cpu}m"), "memory": "1Mi" });
    let resources = json!({ "requests": amounts, "limits": amounts });
    let container =
        json!({ "name": "app", "image": "registry.k8s.io/pause:3.10", "resources": resources });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("filler-{}", unique()) },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [container] },
    });
    serde_json::from_value(pod).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_not_sold_while_a_pod_fills_the_node() {
    let Some(path) = control_plane() else { return };
    let cluster = client(&path).await;
    let shop = Shop::open_with(Engine::Sqlite, |config| {
        config.provisioning.provisioner = Choice::Kubernetes;
        config.provisioning.kubeconfig = Some(path);
        config.provisioning.capacity = Settings {
            check: true,
            headroom: HEADROOM,
        };
    })
    .await
    .unwrap();
    let customer = shop.customer_with_credit("simpul@example.com", 50_000);
    let customer = customer.await;
    let plan = shop.plan("valkey", "basic").await;
    becomes(&shop, "basic", &Value::Null).await;
    validate(&customer, &plan).await.data(200);

    let nodes: Api<Node> = Api::all(cluster.clone());
    let pods: Api<Pod> = Api::namespaced(cluster, "default");
    let mut fillers = Vec::new();
    for node in nodes.list(&ListParams::default()).await.unwrap() {
        let made = pods.create(&PostParams::default(), &filler(&node)).await;
        fillers.push(made.unwrap().metadata.name.unwrap());
    }
    becomes(&shop, "basic", &json!("CLUSTER_FULL")).await;
    validate(&customer, &plan).await.fails(409, "CLUSTER_FULL");
    buy(&customer, &plan).await.fails(409, "CLUSTER_FULL");
    let wallet = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(wallet["bonusBalance"], 50_000, "{wallet:#}");

    for name in &fillers {
        let now = DeleteParams::default().grace_period(0);
        pods.delete(name, &now).await.unwrap();
    }
    becomes(&shop, "basic", &Value::Null).await;
    validate(&customer, &plan).await.data(200);
    shop.close().await;
}
