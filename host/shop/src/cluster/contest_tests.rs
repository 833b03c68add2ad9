//! Against a real API server: other controllers, refused objects, volumes that shrink.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PersistentVolumeClaim},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::tests::{clean_up, config_map, manifest, prepared, volume};
use super::*;

fn deployment(tenant: &Tenant, replicas: u32) -> Value {
    let labels = json!({"app": "a"});
    let size = json!({"cpu": "100m", "memory": "64Mi"});
    let spec = json!({
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [
            {"name": "app", "image": "docker.io/library/app:1.0", "resources": {"requests": size, "limits": size}},
        ]}},
    });
    manifest(
        tenant,
        "apps/v1",
        "Deployment",
        "a",
        json!({ "spec": spec }),
    )
}

async fn replicas(cluster: &Cluster, tenant: &Tenant) -> Option<i32> {
    let live: Api<Deployment> = Api::namespaced(cluster.client.clone(), &tenant.namespace);
    live.get("a").await.unwrap().spec.unwrap().replicas
}

#[tokio::test]
async fn what_another_controller_changes_is_changed_back_and_named() {
    let Some((cluster, tenant)) = prepared().await else {
        return;
    };
    let wanted = config_map(&tenant, "contested", "ours");
    let apply = async || {
        cluster
            .apply(&tenant.namespace, "a", &wanted)
            .await
            .unwrap()
    };
    assert_eq!(apply().await, Applied::Yes);
    assert_eq!(apply().await, Applied::Yes);
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &tenant.namespace);
    let other = PatchParams {
        field_manager: Some("pengganggu".to_owned()),
        ..PatchParams::default()
    };
    let theirs = Patch::Merge(json!({"data": {"key": "theirs"}}));
    maps.patch("contested", &other, &theirs).await.unwrap();
    let Applied::Corrected(fields) = apply().await else {
        panic!("nothing was corrected");
    };
    assert_eq!(
        fields[0].to_string(),
        "pengganggu changes .data.key of ConfigMap/contested"
    );
    let live = maps.get("contested").await.unwrap();
    assert_eq!(live.data.unwrap()["key"], "ours");
    assert_eq!(apply().await, Applied::Yes);
    clean_up(&cluster, &tenant).await;
}

#[tokio::test]
async fn a_claim_is_never_applied_smaller_than_the_live_one() {
    let Some((cluster, mut tenant)) = prepared().await else {
        return;
    };
    tenant.budget.storage_gib = 9;
    cluster.prepare_namespace(&tenant).await.unwrap();
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(cluster.client.clone(), &tenant.namespace);
    let mut claim = volume(&tenant, "data");
    cluster.apply(&tenant.namespace, "a", &claim).await.unwrap();
    let size = async || {
        let live = claims.get("data").await.unwrap();
        live.spec.unwrap().resources.unwrap().requests.unwrap()["storage"]
            .0
            .clone()
    };
    // Only a bound claim may grow, and nothing binds it before a pod wants it.
    let bound = async || claims.get("data").await.unwrap().status.unwrap().phase;
    for _ in 0..100 {
        if bound().await.as_deref() == Some("Bound") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    *claim
        .pointer_mut("/spec/resources/requests/storage")
        .unwrap() = json!("3Gi");
    cluster.apply(&tenant.namespace, "a", &claim).await.unwrap();
    assert_eq!(size().await, "3Gi");
    let smaller = volume(&tenant, "data");
    let applied = cluster.apply(&tenant.namespace, "a", &smaller).await;
    assert_eq!(applied.unwrap(), Applied::Yes);
    assert_eq!(size().await, "3Gi");
    clean_up(&cluster, &tenant).await;
}

#[tokio::test]
async fn what_cannot_be_rendered_is_stopped_as_it_is() {
    let Some((cluster, tenant)) = prepared().await else {
        return;
    };
    let running = deployment(&tenant, 1);
    let apply = async || {
        cluster
            .apply(&tenant.namespace, "a", &running)
            .await
            .unwrap()
    };
    apply().await;
    assert_eq!(replicas(&cluster, &tenant).await, Some(1));
    for _ in 0..2 {
        cluster.scale_to_zero(&tenant.namespace, "a").await.unwrap();
        assert_eq!(replicas(&cluster, &tenant).await, Some(0));
    }
    cluster.scale_to_zero(&tenant.namespace, "b").await.unwrap();
    // Our own stopping is no other controller.
    assert_eq!(apply().await, Applied::Yes);
    assert_eq!(replicas(&cluster, &tenant).await, Some(1));
    clean_up(&cluster, &tenant).await;
}
