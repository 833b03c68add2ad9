//! Faults in a real cluster, and how they end: with a disposable one that
//! `DERMAGA_TEST_KUBECONFIG` names.

use dermaga_runtime::contract;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    model::{Desired, Instance, Status},
    tests::{GOOD_IMAGE, Server, Shop, in_cluster},
};
use crate::{execute, test_cluster::named_by};

/// A shop whose server works on the test cluster.
async fn shop() -> Option<(Shop, Server, Client)> {
    let kubeconfig = named_by("DERMAGA_TEST_KUBECONFIG")?;
    let (provisioner, client) = in_cluster(&kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(provisioner);
    Some((shop, server, client))
}

async fn leave(shop: Shop, server: Server, instances: &[&Instance]) {
    for instance in instances {
        shop.cancel(instance).await;
    }
    server.handle.wake();
    for instance in instances {
        shop.is(instance, Status::Terminated).await;
    }
    server.stop().await;
}

/// A single StatefulSet, with the memory of its plan.
fn stateful(instance: &contract::Instance) -> Vec<Value> {
    let name = &instance.name;
    let labels = json!({"app.kubernetes.io/name": name});
    let size =
        json!({"cpu": "100m", "memory": format!("{}Mi", instance.plan.resources.memory_mib)});
    let container = json!({
        "name": "app",
        "image": instance.images[0].reference,
        "resources": {"requests": size, "limits": size},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    });
    let pod = json!({
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"name": "app", "port": 8080}]},
    });
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    });
    vec![service, set]
}

/// A StatefulSet keeps a broken pod of an earlier template for ever; the customer who bought more
/// memory for it must get it.
#[tokio::test]
async fn an_upgrade_ends_the_crash_loop_of_a_stateful_pod() {
    let Some((shop, server, client)) = shop().await else {
        return;
    };
    shop.services.script().render = Some(stateful);
    let instance = shop.buy().await;
    server.handle.wake();
    shop.is(&instance, Status::Running).await;
    let pods: Api<Pod> = Api::namespaced(client, &instance.namespace);
    let pod = format!("{}-0", instance.name);
    let crash = json!({"metadata": {"annotations": {
        "lab.test/waiting": "CrashLoopBackOff", "lab.test/exit-code": "137", "lab.test/exit-reason": "OOMKilled",
    }}});
    pods.patch(&pod, &PatchParams::default(), &Patch::Merge(&crash))
        .await
        .unwrap();
    let broken = shop
        .until(&instance, |now| now.message.contains("more memory"))
        .await;
    assert_ne!(broken.status, Status::Running);

    let mut conn = shop.db.begin().await.unwrap();
    let sql = "UPDATE service_plans SET memory_mib = memory_mib * 2";
    execute!(conn, sql).unwrap();
    conn.commit().await.unwrap();
    shop.set_desired(&instance, Desired::Running).await;
    server.handle.wake();
    let mended = shop.is(&instance, Status::Running).await;
    assert_eq!(mended.observed_generation, 2);
    leave(shop, server, &[&instance]).await;
}
