//! Additions by hand to objects in a real cluster: with a disposable one that
//! `DERMAGA_TEST_KUBECONFIG` names.

use dermaga_runtime::contract;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, PodSpec, Service},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    healing_tests::{leave, shop, soon},
    model::Status,
    test_service::objects,
};

/// The usual objects, and a Service.
fn with_service(instance: &contract::Instance) -> Vec<Value> {
    let name = &instance.name;
    let labels = json!({"app.kubernetes.io/name": name});
    let mut all = objects(instance);
    all.push(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"name": "app", "port": 8080}]},
    }));
    all
}

fn pod(deployment: Deployment) -> PodSpec {
    deployment.spec.unwrap().template.spec.unwrap()
}

fn app(pod: &PodSpec) -> &Container {
    let mut containers = pod.containers.iter();
    containers.find(|one| one.name == "app").unwrap()
}

/// Removes a container, a port and the secret of a registry that were added to a workload by hand.
#[tokio::test]
async fn a_container_added_by_hand_is_removed() {
    let Some((shop, server, client)) = shop().await else {
        return;
    };
    let instance = shop.buy().await;
    server.handle.wake();
    shop.is(&instance, Status::Running).await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &instance.namespace);
    let added = json!({"spec": {"template": {"spec": {
        "containers": [
            {"name": "added", "image": "docker.io/library/added:1.0"},
            {"name": "app", "ports": [{"containerPort": 9999}]},
        ],
        "imagePullSecrets": [{"name": "added"}],
    }}}});
    let params = PatchParams::default();
    let patch = Patch::Strategic(added);
    let changed = deployments.patch(&instance.name, &params, &patch).await;
    let changed = pod(changed.unwrap());
    assert_eq!(changed.containers.len(), 2);
    assert_eq!(app(&changed).ports.as_ref().map(Vec::len), Some(1));
    assert_eq!(changed.image_pull_secrets.as_ref().map(Vec::len), Some(1));
    soon("its own pod", async || {
        let live = pod(deployments.get(&instance.name).await.ok()?);
        let is_own = live.containers.len() == 1
            && app(&live).ports.as_ref().is_none_or(Vec::is_empty)
            && live.image_pull_secrets.as_ref().is_none_or(Vec::is_empty);
        is_own.then_some(())
    })
    .await;
    leave(shop, server, &[&instance]).await;
}

/// Removes a port that was added to a Service by hand, through which pods would be reached.
#[tokio::test]
async fn a_port_added_to_a_service_by_hand_is_removed() {
    let Some((shop, server, client)) = shop().await else {
        return;
    };
    shop.services.script().render = Some(with_service);
    let instance = shop.buy().await;
    server.handle.wake();
    shop.is(&instance, Status::Running).await;
    let services: Api<Service> = Api::namespaced(client, &instance.namespace);
    let added = json!({"spec": {"ports": [{"name": "added", "port": 9999}]}});
    let params = PatchParams::default();
    let patch = Patch::Strategic(added);
    let changed = services.patch(&instance.name, &params, &patch).await;
    let ports = |service: Service| {
        let ports = service.spec.unwrap().ports.unwrap().into_iter();
        ports.map(|port| port.port).collect::<Vec<_>>()
    };
    assert_eq!(ports(changed.unwrap()).len(), 2);
    soon("its own ports", async || {
        let live = services.get(&instance.name).await.ok()?;
        (ports(live) == [8080]).then_some(())
    })
    .await;
    leave(shop, server, &[&instance]).await;
}
