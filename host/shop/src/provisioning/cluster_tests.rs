//! The reconciler on a real cluster, where `DERMAGA_TEST_KUBECONFIG` names a disposable one.

use std::{collections::HashSet, time::Duration};

use dermaga_runtime::gate::INSTANCE_LABEL;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret};
use kube::{
    Api, Client, Discovery, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
    discovery::{Scope, verbs},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    Desired, Instance, Status, store,
    test_shop::{GOOD_IMAGE, Shop, in_cluster},
};
use crate::{
    cluster::{Capacity, Load, NodeRule},
    test_cluster::{ControlPlane, named_by},
};

/// Returns true when the namespace of an instance is gone, with all that was in it.
async fn is_gone(client: &Client, instance: &Instance) -> bool {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = namespaces.get_opt(&instance.namespace).await;
    found.unwrap().is_none()
}

#[tokio::test]
async fn an_instance_becomes_ready_is_repaired_and_leaves_nothing() {
    let Some(kubeconfig) = named_by("DERMAGA_TEST_KUBECONFIG") else {
        return;
    };
    let (provisioner, client) = in_cluster(&kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(provisioner);
    let instance = shop.buy().await;
    let running = shop.is(&instance, Status::Running).await;
    assert_eq!(running.message, "Ready.");
    assert!(running.delivered_at.is_some() && running.ready_at.is_some());

    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &instance.namespace);
    maps.delete(&instance.name, &DeleteParams::default())
        .await
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while maps.get_opt(&instance.name).await.unwrap().is_none() {
        assert!(
            Instant::now() < deadline,
            "the deleted object did not come back"
        );
        sleep(Duration::from_millis(50)).await;
    }

    shop.set_desired(&instance, Desired::Stopped).await;
    shop.is(&instance, Status::Stopped).await;
    shop.cancel(&instance).await;
    server.handle.wake();
    shop.is(&instance, Status::Terminated).await;
    assert!(is_gone(&client, &instance).await);
    server.stop().await;
}

/// An instance that was written into a folder is ready, and told to be so, when it runs on a cluster.
#[tokio::test]
async fn what_was_written_becomes_ready_on_a_cluster() {
    let Some(kubeconfig) = named_by("DERMAGA_TEST_KUBECONFIG") else {
        return;
    };
    let (provisioner, _) = in_cluster(&kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let told = "SELECT count(*) FROM outbox WHERE topic = 'INSTANCE_READY'";
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    server.handle.wake();
    shop.is(&instance, Status::Written).await;
    server.stop().await;
    assert_eq!(shop.count(told).await, 0);

    // Its next look in the folder would be an hour later.
    let server = shop.server(provisioner);
    let running = shop.is(&instance, Status::Running).await;
    assert!(running.ready_at.is_some());
    assert_eq!(shop.count(told).await, 1);
    shop.cancel(&instance).await;
    server.handle.wake();
    shop.is(&instance, Status::Terminated).await;
    assert_eq!(shop.count(told).await, 1);
    server.stop().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_fetched_is_said_in_plain_words() {
    let Some(kubeconfig) = named_by("DERMAGA_TEST_KUBECONFIG") else {
        return;
    };
    let (provisioner, _) = in_cluster(&kubeconfig).await;
    let shop = Shop::open("docker.io/library/does-not-exist:1.0").await;
    let server = shop.server(provisioner);
    let instance = shop.buy().await;
    let wanted = "The image of one of its programs cannot be fetched.";
    let waiting = shop
        .until(&instance, |now| now.message.starts_with(wanted))
        .await;
    assert_eq!(waiting.status, Status::Provisioning);
    assert!(!waiting.message.contains("does-not-exist"), "{waiting:?}");
    shop.cancel(&instance).await;
    server.handle.wake();
    shop.is(&instance, Status::Terminated).await;
    server.stop().await;
}

/// Lists what carries the label of an instance in its namespace, of every kind that the cluster has.
async fn labelled(client: &Client, instance: &Instance) -> Vec<String> {
    let discovery = Discovery::new(client.clone()).exclude(&["metrics.k8s.io"]);
    let discovery = discovery.run().await.unwrap();
    let label = format!("{INSTANCE_LABEL}={}", instance.name);
    let params = ListParams::default().labels(&label);
    let mut found = Vec::new();
    for group in discovery.groups() {
        for (resource, can) in group.recommended_resources() {
            if can.scope != Scope::Namespaced || !can.supports_operation(verbs::LIST) {
                continue;
            }
            let namespace = &instance.namespace;
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), namespace, &resource);
            for one in api.list(&params).await.unwrap() {
                found.push(format!("{}/{}", resource.kind, one.name_any()));
            }
        }
    }
    found
}

#[tokio::test]
async fn the_last_instance_takes_the_namespace_with_it_and_another_keeps_it() {
    let Some(kubeconfig) = named_by("DERMAGA_TEST_KUBECONFIG") else {
        return;
    };
    let (provisioner, client) = in_cluster(&kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(provisioner);
    let (first, second) = (shop.buy().await, shop.buy().await);
    shop.is(&first, Status::Running).await;
    shop.is(&second, Status::Running).await;
    assert!(!labelled(&client, &first).await.is_empty());
    shop.cancel(&first).await;
    server.handle.wake();
    shop.is(&first, Status::Terminated).await;
    assert_eq!(labelled(&client, &first).await, Vec::<String>::new());
    assert!(!labelled(&client, &second).await.is_empty());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    assert!(
        namespaces
            .get(&first.namespace)
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_none()
    );
    assert_eq!(shop.now(&second).await.status, Status::Running);
    shop.cancel(&second).await;
    server.handle.wake();
    shop.is(&second, Status::Terminated).await;
    assert!(is_gone(&client, &first).await);
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_api_server_dies_in_the_middle() {
    let Some(plane) = ControlPlane::take().await else {
        return;
    };
    let (provisioner, client) = in_cluster(&plane.kubeconfig()).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    // The plugin is still being asked when the API server dies, and nothing can be applied then.
    shop.services.script().delay = Duration::from_secs(3);
    let server = shop.server(provisioner);
    let instance = shop.buy().await;
    server.handle.wake();
    sleep(Duration::from_secs(1)).await;
    plane.kill();
    let waiting = shop.until(&instance, |now| now.failures > 0).await;
    shop.services.script().delay = Duration::ZERO;
    assert!(
        matches!(waiting.status, Status::Pending | Status::Provisioning),
        "{}",
        waiting.status
    );
    assert!(
        waiting.message.starts_with("The cluster does not answer."),
        "{}",
        waiting.message
    );
    plane.start();
    let applied = shop
        .until(&instance, |now| {
            now.observed_generation == 1 && now.failures == 0
        })
        .await;
    assert!(
        matches!(applied.status, Status::Provisioning | Status::Running),
        "{}",
        applied.status
    );

    plane.kill();
    shop.cancel(&instance).await;
    server.handle.wake();
    let leaving = shop.until(&instance, |now| now.failures > 0).await;
    assert_eq!(leaving.status, Status::Terminating);
    assert_eq!(
        leaving.message,
        "The cluster does not answer. Your service is removed as soon as it is back."
    );
    plane.start();
    shop.is(&instance, Status::Terminated).await;
    assert!(is_gone(&client, &instance).await);
    server.stop().await;
}

/// A wish to apply everything again is written by the server that was asked, and granted by the one
/// that works on the instance and believes that its Secret is still there.
#[tokio::test]
async fn a_wish_to_apply_again_reaches_the_server_that_works() {
    let Some(kubeconfig) = named_by("DERMAGA_TEST_KUBECONFIG") else {
        return;
    };
    let (provisioner, client) = in_cluster(&kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(provisioner);
    let instance = shop.buy().await;
    server.handle.wake();
    shop.is(&instance, Status::Running).await;
    // No event tells of it: Secrets are not watched.
    let secrets: Api<Secret> = Api::namespaced(client, &instance.namespace);
    let name = instance.secret_object();
    secrets
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();

    let asked_at = shop.clock.now();
    let mut conn = shop.db.begin().await.unwrap();
    let asked = store::ask_to_reapply(&mut conn, instance.id, asked_at).await;
    assert_eq!(asked.unwrap(), 1);
    conn.commit().await.unwrap();
    shop.until(&instance, |now| {
        now.checked_at.is_some_and(|at| at >= asked_at) && now.reapply_asked_at.is_none()
    })
    .await;
    assert!(secrets.get_opt(&name).await.unwrap().is_some());
    shop.cancel(&instance).await;
    server.handle.wake();
    shop.is(&instance, Status::Terminated).await;
    server.stop().await;
}

/// Returns the processors that are left, as many pods of one each.
fn free_processors(capacity: &Capacity) -> u64 {
    let one = Load {
        cpu_millis: 1000,
        memory_bytes: 1 << 20,
    };
    let layout = capacity.without(&HashSet::new());
    layout.expect("the room is known").count(&[one], 1000)
}

/// Waits until this many processors are left.
async fn until_free(capacity: &Capacity, is_expected: impl Fn(u64) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let free = free_processors(capacity);
        if is_expected(free) {
            return;
        }
        assert!(Instant::now() < deadline, "{free} are left");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The node is filled, on a control plane that no other test uses meanwhile.
#[tokio::test]
async fn the_room_of_a_real_node_goes_with_its_pods_and_comes_back() {
    let Some(plane) = ControlPlane::take().await else {
        return;
    };
    let (provisioner, client) = in_cluster(&plane.kubeconfig()).await;
    let (cluster, capacity) = (
        provisioner.cluster().unwrap().clone(),
        Capacity::new(NodeRule::default()),
    );
    let seen = capacity.clone();
    let following = tokio::spawn(async move { cluster.follow_room(&seen).await });
    capacity.listed().await;
    let free = free_processors(&capacity);
    assert!(free > 1, "the control plane has a node that is ready");

    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let amounts = json!({"cpu": free.to_string(), "memory": "1Mi"});
    let resources = json!({"requests": amounts, "limits": amounts});
    let container = json!({"name": "app", "image": GOOD_IMAGE, "resources": resources});
    let name = "capacity-filler";
    let filler = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    });
    let filler = serde_json::from_value(filler).unwrap();
    pods.create(&PostParams::default(), &filler).await.unwrap();
    // Pods of an earlier test may still be ending.
    until_free(&capacity, |left| left <= free / 2).await;
    pods.delete(name, &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    until_free(&capacity, |left| left >= free).await;

    let nodes: Api<Node> = Api::all(client);
    let found = nodes.list(&ListParams::default()).await.unwrap();
    for node in &found.items {
        nodes.cordon(&node.name_any()).await.unwrap();
    }
    until_free(&capacity, |left| left == 0).await;
    for node in &found.items {
        nodes.uncordon(&node.name_any()).await.unwrap();
    }
    until_free(&capacity, |left| left >= free).await;
    following.abort();
}
