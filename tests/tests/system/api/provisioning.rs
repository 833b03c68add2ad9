//! Tests of provisioning on a real Kubernetes API server.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dermaga_shop::provisioning::Choice;
use dermaga_tests::{Engine, Shop, skip};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

/// Kubeconfig of a disposable cluster for these tests.
pub(crate) fn kubeconfig() -> Option<PathBuf> {
    match std::env::var_os("DERMAGA_TEST_KUBECONFIG") {
        Some(path) => Some(path.into()),
        None => {
            skip("Kubernetes", "DERMAGA_TEST_KUBECONFIG names no cluster");
            None
        }
    }
}

/// Writes the kubeconfig of an API server that a test pretends, or that is none.
pub(crate) fn kubeconfig_of(folder: &Path, address: &str) -> PathBuf {
    let path = folder.join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
        "users": [{ "name": "a", "user": { "token": "t" } }],
        "clusters": [{ "name": "a", "cluster": { "server": format!("http://{address}") } }],
    });
    std::fs::write(&path, text.to_string()).unwrap();
    path
}

pub(crate) async fn client(path: &Path) -> Client {
    let config = Kubeconfig::read_from(path).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

/// Returns the access of a server to a cluster, with no more rights there than it needs where
/// `DERMAGA_TEST_SERVER_KUBECONFIG` names such an account.
pub(crate) fn access_of_server(path: &Path) -> PathBuf {
    let of_server = std::env::var_os("DERMAGA_TEST_SERVER_KUBECONFIG").map(PathBuf::from);
    let is_test_cluster = std::env::var_os("DERMAGA_TEST_KUBECONFIG").is_some_and(|it| it == path);
    let of_server = of_server.filter(|_| is_test_cluster);
    of_server.unwrap_or_else(|| path.to_owned())
}

/// Opens a shop on a cluster.
pub(crate) async fn shop_on(path: &Path) -> Option<Shop> {
    let path = access_of_server(path);
    Shop::open_with(Engine::Sqlite, |config| {
        config.provisioning.provisioner = Choice::Kubernetes;
        config.provisioning.kubeconfig = Some(path);
    })
    .await
}

/// Longest time until deleted pods are replaced, or a namespace is gone.
const SOON: Duration = Duration::from_secs(90);

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one.type_ == "Ready" && one.status == "True")
}

/// Deletes every pod, and waits until as many others are ready.
async fn delete_all_and_wait(pods: &Api<Pod>) {
    let every = ListParams::default();
    let ready = async || -> BTreeSet<String> {
        let found = pods.list(&every).await.unwrap().items;
        let found = found.into_iter().filter(is_ready);
        found.filter_map(|pod| pod.metadata.uid).collect()
    };
    let before = ready().await;
    assert!(!before.is_empty());
    for pod in pods.list(&every).await.unwrap().items {
        let name = pod.metadata.name.unwrap();
        pods.delete(&name, &DeleteParams::default()).await.unwrap();
    }
    let deadline = Instant::now() + SOON;
    loop {
        let now = ready().await;
        if now.len() == before.len() && now.is_disjoint(&before) {
            return;
        }
        assert!(Instant::now() < deadline, "{before:?}, and now {now:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every service of the templates is bought, becomes ready, survives the deletion of its pods, and is
/// removed after the cancellation: objects, volumes and namespace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_service_becomes_ready_and_goes_away() {
    let Some(path) = kubeconfig() else { return };
    let shop = shop_on(&path).await.unwrap();
    let cluster = client(&path).await;
    let customer = shop
        .customer_with_credit("kubernetes@example.com", 500_000)
        .await;
    let mut bought = Vec::new();
    for (service, plan) in [
        ("n8n", "basic"),
        ("ghost", "basic"),
        ("postgresql", "basic"),
        ("uptime-kuma", "basic"),
        ("valkey", "basic"),
        ("wordpress", "basic"),
    ] {
        let plan = shop.plan(service, plan).await;
        let data = customer
            .post("/api/subscriptions", json!({ "planId": plan }))
            .await
            .data(201);
        bought.push((service, data));
    }
    let mut namespace = String::new();
    for (service, data) in &bought {
        let instance = shop
            .instance_becomes(&customer, data["instanceId"].as_str().unwrap(), "RUNNING")
            .await;
        assert_eq!(instance["health"], "READY", "{service}: {instance:#}");
        namespace = instance["namespace"].as_str().unwrap().to_owned();
        let name = instance["name"].as_str().unwrap();
        let pods: Api<Pod> = Api::namespaced(cluster.clone(), &namespace);
        let ready = pods
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .into_iter()
            .filter(|pod| {
                pod.metadata
                    .name
                    .as_deref()
                    .is_some_and(|pod| pod.starts_with(name))
            });
        assert_eq!(
            ready.count(),
            if matches!(*service, "ghost" | "wordpress") {
                2
            } else {
                1
            },
            "{service}"
        );
        let secrets: Api<Secret> = Api::namespaced(cluster.clone(), &namespace);
        secrets.get(&format!("{name}-secrets")).await.unwrap();
        let path = format!(
            "/api/instances/{}/credentials",
            data["instanceId"].as_str().unwrap()
        );
        let credentials = customer.get(&path).await.data(200);
        assert!(
            credentials["fields"].as_array().is_some(),
            "{credentials:#}"
        );
    }
    delete_all_and_wait(&Api::namespaced(cluster.clone(), &namespace)).await;
    for (service, data) in &bought {
        let id = data["instanceId"].as_str().unwrap();
        let instance = shop.instance_becomes(&customer, id, "RUNNING").await;
        assert_eq!(instance["desired"], "RUNNING", "{service}: {instance:#}");
    }
    for (_, data) in &bought {
        let path = format!(
            "/api/subscriptions/{}",
            data["subscription"]["id"].as_str().unwrap()
        );
        customer.delete(&path).await.data(200);
    }
    for (_, data) in &bought {
        shop.instance_becomes(
            &customer,
            data["instanceId"].as_str().unwrap(),
            "TERMINATED",
        )
        .await;
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.clone(), &namespace);
    assert!(
        claims
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let namespaces: Api<Namespace> = Api::all(cluster);
    let deadline = Instant::now() + SOON;
    while namespaces.get_opt(&namespace).await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "{namespace} stays");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    shop.books_balance().await;
}

/// Without a cluster everything but provisioning works, and the instance has the reason for
/// waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_cluster_the_shop_still_sells() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, NOBODY_HOME).unwrap();
    let shop = shop_on(&path).await.unwrap();
    let customer = shop
        .customer_with_credit("tanpa@example.com", 100_000)
        .await;
    let plan = shop.plan("n8n", "basic").await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    let id = bought["instanceId"].as_str().unwrap();
    let mut message = String::new();
    for _ in 0..100 {
        let instance = customer
            .get(&format!("/api/instances/{id}"))
            .await
            .data(200);
        assert_eq!(instance["status"], "PENDING");
        message = instance["message"].as_str().unwrap().to_owned();
        if message.contains("cluster") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(message.contains("cluster"), "{message}");
    let path = format!(
        "/api/subscriptions/{}",
        bought["subscription"]["id"].as_str().unwrap()
    );
    customer.delete(&path).await.data(200);
    shop.books_balance().await;
}

const NOBODY_HOME: &str = r#"
apiVersion: v1
kind: Config
clusters: [{ name: none, cluster: { server: "http://127.0.0.1:9" } }]
users: [{ name: nobody, user: {} }]
contexts: [{ name: none, context: { cluster: none, user: nobody } }]
current-context: none
"#;
