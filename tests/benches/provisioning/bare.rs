//! The same objects without a shop: copied from the namespaces of customers, and applied by a loop.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use dermaga_shop::ids::UserId;
use dermaga_tests::{Client as Person, Shop};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Namespace};
use kube::{
    Api, Client, Resource as _,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    },
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

/// Group, version and kind of what the shop applies for a customer and an instance.
const KINDS: [(&str, &str, &str); 11] = [
    ("", "v1", "ResourceQuota"),
    ("", "v1", "LimitRange"),
    ("", "v1", "ServiceAccount"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("", "v1", "Secret"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "Service"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
];
/// Objects around the instances of a customer, but for the namespace.
const AROUND: usize = 7;
/// Prefix of the labels by which the shop's watches find its objects, and that of the copies: copies that these
/// watches showed would make the instances due that they were copied from.
const PREFIXES: (&str, &str) = ("dermaga.dev/", "tiruan.test/");
const MANAGED: &str = "app.kubernetes.io/managed-by=dermaga";

/// Objects of one round, by the namespace they were copied from.
pub(crate) struct Copies {
    namespaces: Vec<(String, Value)>,
    objects: Vec<(String, ApiResource, Value)>,
}

impl Copies {
    /// Returns the names of the customers' namespaces and of their copies.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = String> {
        self.namespaces.iter().flat_map(|(name, _)| {
            let copies = ["bare", "beside"].map(|word| format!("{word}-{name}"));
            copies.into_iter().chain([name.clone()])
        })
    }
}

pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let config = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

/// Returns the namespace of a customer.
pub(crate) async fn namespace(shop: &Shop, user: UserId) -> String {
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT namespace FROM instances WHERE user_id = $1 LIMIT 1";
    let (name,) = dermaga_shop::fetch_one!(conn, (String,), sql, user).unwrap();
    name
}

/// Returns the number of objects that were applied for a customer's instances.
async fn applied(shop: &Shop, user: UserId) -> usize {
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT applied FROM instances WHERE user_id = $1";
    let found = dermaga_shop::fetch_all!(conn, (String,), sql, user).unwrap();
    let objects = found.iter().map(|(text,)| {
        let objects: Vec<Value> = serde_json::from_str(text).unwrap();
        objects.len()
    });
    objects.sum()
}

/// Reads what these customers' purchases became.
pub(crate) async fn copies(client: &Client, shop: &Shop, customers: &[(Person, UserId)]) -> Copies {
    let all = Api::<Namespace>::all(client.clone());
    let (mut namespaces, mut objects) = (Vec::new(), Vec::new());
    for (_, user) in customers {
        let name = namespace(shop, *user).await;
        let labels = all.get(&name).await.unwrap().metadata.labels;
        let before = objects.len();
        for (group, version, kind) in KINDS {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &name, &resource);
            let found = api.list(&ListParams::default().labels(MANAGED)).await;
            for object in found.unwrap().items {
                objects.push((name.clone(), resource.clone(), plain(&resource, object)));
            }
        }
        let applied = AROUND + applied(shop, *user).await;
        assert!(
            objects.len() - before >= applied,
            "{applied} were applied in {name}, and fewer are copied"
        );
        namespaces.push((name, json!(labels)));
    }
    Copies {
        namespaces,
        objects,
    }
}

/// Removes what the cluster adds, adds what it leaves out of lists, the kind, and gives labels another prefix.
fn plain(resource: &ApiResource, object: DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    let fields = value.as_object_mut().unwrap();
    fields.insert("apiVersion".to_owned(), json!(resource.api_version));
    fields.insert("kind".to_owned(), json!(resource.kind));
    fields.remove("status");
    let (ours, theirs) = PREFIXES;
    let metadata = &fields["metadata"];
    let (labels, name) = (metadata["labels"].clone(), metadata["name"].clone());
    let annotations = metadata["annotations"].as_object();
    let annotations = annotations.into_iter().flatten();
    // The cluster has some of its own.
    let annotations: Map<String, Value> = annotations
        .filter(|(key, _)| key.starts_with(ours))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    fields["metadata"] = json!({ "name": name, "labels": labels, "annotations": annotations });
    if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
        for given in ["clusterIP", "clusterIPs", "volumeName"] {
            if spec
                .get(given)
                .is_some_and(|it| it != "None" && it != &json!(["None"]))
            {
                spec.remove(given);
            }
        }
    }
    serde_json::from_str(&value.to_string().replace(ours, theirs)).unwrap()
}

/// Applies the copies into namespaces of their own, this many at once; returns the time it took.
pub(crate) async fn apply(
    client: &Client,
    copies: &Copies,
    word: &str,
    at_once: usize,
) -> Duration {
    let params = PatchParams::apply("bare").force();
    let began = Instant::now();
    let all = Api::<Namespace>::all(client.clone());
    for (name, labels) in &copies.namespaces {
        let name = format!("{word}-{name}");
        let mut labels = labels.clone();
        // The cluster sets this one, and copies need no watching.
        let fields = labels.as_object_mut().unwrap();
        fields.retain(|key, _| key.starts_with("pod-security"));
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        all.patch(&name, &params, &Patch::Apply(&namespace))
            .await
            .unwrap();
    }
    stream::iter(&copies.objects)
        .map(|(namespace, resource, object)| {
            let namespace = format!("{word}-{namespace}");
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), &namespace, resource);
            let params = &params;
            async move {
                let name = object["metadata"]["name"].as_str().unwrap();
                api.patch(name, params, &Patch::Apply(object)).await
            }
        })
        .buffer_unordered(at_once)
        .try_for_each(async |_| Ok(()))
        .await
        .unwrap();
    began.elapsed()
}

/// Applies a small StatefulSet; returns the time until its pod is ready.
pub(crate) async fn until_ready(client: &Client, number: usize) -> Duration {
    let name = format!("bare-{number}");
    let labels = json!({ "app": name });
    let container = json!({ "name": "app", "image": "docker.io/library/nginx:1.29.3" });
    let set = json!({
        "apiVersion": StatefulSet::api_version(&()), "kind": StatefulSet::kind(&()), "metadata": { "name": name },
        "spec": { "serviceName": name, "replicas": 1, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } } },
    });
    let api: Api<StatefulSet> = Api::namespaced(client.clone(), "default");
    let began = Instant::now();
    let params = PatchParams::apply("bare").force();
    api.patch(&name, &params, &Patch::Apply(&set))
        .await
        .unwrap();
    loop {
        let status = api.get(&name).await.unwrap().status.unwrap_or_default();
        if status.ready_replicas == Some(1) {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(90),
            "{name} is not ready"
        );
        sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    took
}

/// Asks the cluster to delete namespaces; it may end after the benchmark.
pub(crate) async fn delete(client: &Client, namespaces: &[String]) {
    let all = Api::<Namespace>::all(client.clone());
    for name in namespaces {
        // Left behind in a disposable cluster.
        let _ = all.delete(name, &DeleteParams::background()).await;
    }
}
