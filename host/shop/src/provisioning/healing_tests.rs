//! Faults in a real cluster, and how they end: with a disposable one that
//! `DERMAGA_TEST_KUBECONFIG` names.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_runtime::{contract, gate::INSTANCE_LABEL};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{LimitRange, Namespace, Pod, ResourceQuota, Secret},
    networking::v1::NetworkPolicy,
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{
    model::{Cause, Desired, Instance, Status},
    store,
    test_shop::{GOOD_IMAGE, Server, Shop, in_cluster},
};
use crate::{
    alerts::{self, AlertKind},
    cluster::owner_labels,
    db::Clock,
    execute,
    ids::UserId,
    test_cluster::{ControlPlane, RECOVERY, named_by},
};

/// A shop whose server works on the test cluster.
pub(super) async fn shop() -> Option<(Shop, Server, Client)> {
    let kubeconfig = named_by("DERMAGA_TEST_KUBECONFIG")?;
    let (provisioner, client) = in_cluster(&kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(provisioner);
    Some((shop, server, client))
}

pub(super) async fn leave(shop: Shop, server: Server, instances: &[&Instance]) {
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
    shop.upgrade(&instance).await;
    server.handle.wake();
    let mended = shop.is(&instance, Status::Running).await;
    assert_eq!(mended.observed_generation, 2);
    leave(shop, server, &[&instance]).await;
}

/// Time within which an object of an instance is back.
const OBJECT_BACK: Duration = Duration::from_secs(2);

/// A change by hand is taken back, also one of a single field.
#[tokio::test]
async fn an_object_edited_by_hand_comes_back_at_once() {
    let Some((shop, server, client)) = shop().await else {
        return;
    };
    let instance = shop.buy().await;
    server.handle.wake();
    shop.is(&instance, Status::Running).await;
    // By now nothing is under way that would look at it anyway.
    sleep(Duration::from_secs(2)).await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &instance.namespace);
    let other = Patch::Merge(json!({"spec": {"replicas": 0}}));
    let params = PatchParams::default();
    let changed = deployments.patch(&instance.name, &params, &other).await;
    changed.unwrap();
    let edited = Instant::now();
    soon("the replicas", async || {
        let spec = deployments.get(&instance.name).await.ok()?.spec?;
        (spec.replicas == Some(1)).then_some(())
    })
    .await;
    assert!(edited.elapsed() < OBJECT_BACK, "{:?}", edited.elapsed());
    shop.is(&instance, Status::Running).await;
    leave(shop, server, &[&instance]).await;
}

/// Purchases of one customer at the same moment raise the quota one after the other, and none of
/// them is ever shown as failed.
#[tokio::test]
async fn purchases_at_once_never_look_failed() {
    let Some((shop, server, _)) = shop().await else {
        return;
    };
    let mut instances = Vec::new();
    for _ in 0..12 {
        instances.push(shop.buy().await);
        server.handle.wake();
    }
    for instance in &instances {
        shop.is(instance, Status::Running).await;
    }
    let failed = "SELECT count(*) FROM instance_events WHERE kind IN ('FAILED', 'DEGRADED')";
    assert_eq!(shop.count(failed).await, 0);
    leave(shop, server, &instances.iter().collect::<Vec<_>>()).await;
}

/// Time within which what separates customers is back.
const WALLS_BACK: Duration = Duration::from_secs(5);

/// Waits until an object is as wanted, for [`WALLS_BACK`] at most.
pub(super) async fn soon<T>(what: &str, found: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + WALLS_BACK;
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: not within {WALLS_BACK:?}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

/// Quota, limits, policies and labels come back in seconds, and a policy added by another is an
/// alert while it is there.
#[tokio::test]
async fn what_separates_customers_comes_back_and_a_foreign_policy_is_reported() {
    let Some((shop, server, client)) = shop().await else {
        return;
    };
    let instance = shop.buy().await;
    server.handle.wake();
    shop.is(&instance, Status::Running).await;
    let namespace = instance.namespace.as_str();
    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), namespace);
    let limits: Api<LimitRange> = Api::namespaced(client.clone(), namespace);
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
    let namespaces: Api<Namespace> = Api::all(client);
    let (params, merge) = (DeleteParams::default(), PatchParams::default());

    let pods = async || quotas.get("dermaga").await.ok()?.spec?.hard?.remove("pods");
    let before = pods().await.unwrap();
    let wider = json!({"spec": {"hard": {"pods": "100"}}});
    quotas
        .patch("dermaga", &merge, &Patch::Merge(&wider))
        .await
        .unwrap();
    soon("the quota", async || {
        pods().await.filter(|now| *now == before)
    })
    .await;
    limits.delete("dermaga", &params).await.unwrap();
    soon("the limits", async || limits.get("dermaga").await.ok()).await;
    policies
        .delete("dermaga-default-deny", &params)
        .await
        .unwrap();
    soon("the policy", async || {
        policies.get("dermaga-default-deny").await.ok()
    })
    .await;
    let name = "dermaga-default-deny";
    let opened = Patch::Merge(json!({"spec": {"ingress": [{}]}}));
    policies.patch(name, &merge, &opened).await.unwrap();
    soon("the closed policy", async || {
        let rules = policies.get(name).await.ok()?.spec?.ingress;
        rules.is_none_or(|rules| rules.is_empty()).then_some(())
    })
    .await;
    let level = "pod-security.kubernetes.io/enforce";
    let open = json!({"metadata": {"labels": {level: "privileged"}}});
    namespaces
        .patch(namespace, &merge, &Patch::Merge(&open))
        .await
        .unwrap();
    soon("the label", async || {
        let labels = namespaces.get(namespace).await.ok()?.metadata.labels?;
        (labels[level] == "restricted").then_some(())
    })
    .await;

    for (name, labels) in disguises(instance.user_id) {
        foreign_policy_is_reported(&shop, &policies, name, &labels).await;
    }
    leave(shop, server, &[&instance]).await;
}

/// Names and labels of policies of others: without a disguise, and with each that looks like ours.
fn disguises(user_id: UserId) -> [(&'static str, Value); 4] {
    let labels = owner_labels(user_id);
    let mut of_unknown = labels.clone();
    of_unknown.insert(INSTANCE_LABEL.to_owned(), "unknown".to_owned());
    [
        ("open", json!({})),
        ("dermaga-open", json!({})),
        ("labelled", json!(labels)),
        ("of-an-instance", json!(of_unknown)),
    ]
}

/// Adds a policy that opens everything, waits for its alert, and for the end of that without it.
async fn foreign_policy_is_reported(
    shop: &Shop,
    policies: &Api<NetworkPolicy>,
    name: &str,
    labels: &Value,
) {
    let foreign = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": labels},
        "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}]},
    });
    let foreign = serde_json::from_value(foreign).unwrap();
    let created = policies.create(&PostParams::default(), &foreign).await;
    let namespace = created.unwrap().metadata.namespace.unwrap();
    let subject = format!("{namespace}/{name}");
    let told = async || {
        let mut conn = shop.db.read().await.unwrap();
        let kind = AlertKind::ForeignNetworkPolicy;
        alerts::open_subjects(&mut conn, kind).await.unwrap()
    };
    soon("the alert", async || {
        told().await.contains(&subject).then_some(())
    })
    .await;
    let params = DeleteParams::default();
    policies.delete(name, &params).await.unwrap();
    soon("its end", async || told().await.is_empty().then_some(())).await;
}

/// The server needs to read Secrets in its customers' namespaces only, and takes its rights there
/// again when they were removed.
#[tokio::test]
async fn the_server_has_rights_in_customers_namespaces_only() {
    let Some(limited) = named_by("DERMAGA_TEST_SERVER_KUBECONFIG") else {
        return;
    };
    let (_, of_server) = in_cluster(&limited).await;
    let Some((shop, server, client)) = shop().await else {
        return;
    };
    let instance = shop.buy().await;
    server.handle.wake();
    shop.is(&instance, Status::Running).await;
    let everywhere: Api<Secret> = Api::all(of_server.clone());
    let elsewhere: Api<Secret> = Api::namespaced(of_server.clone(), "kube-system");
    let here: Api<Secret> = Api::namespaced(of_server, &instance.namespace);
    let params = ListParams::default();
    assert!(everywhere.list(&params).await.is_err());
    assert!(elsewhere.list(&params).await.is_err());
    assert_eq!(here.list(&params).await.unwrap().items.len(), 1);

    let bindings: Api<RoleBinding> = Api::namespaced(client, &instance.namespace);
    let removed = DeleteParams::default();
    bindings.delete("dermaga", &removed).await.unwrap();
    // For a moment the API server still grants what is gone.
    let bound = async || bindings.get_opt("dermaga").await.unwrap();
    soon("the binding", bound).await;
    soon("the rights", async || here.list(&params).await.ok()).await;
    // Without them, nothing of it could be removed.
    bindings.delete("dermaga", &removed).await.unwrap();
    leave(shop, server, &[&instance]).await;
}

/// An instance whose namespace was deleted by hand does not come back empty, until an administrator
/// accepts the loss.
#[tokio::test]
async fn lost_data_is_no_silent_start_on_an_empty_volume() {
    let Some((shop, server, client)) = shop().await else {
        return;
    };
    let instance = shop.buy().await;
    server.handle.wake();
    let running = shop.is(&instance, Status::Running).await;
    assert_eq!(running.claims.len(), 1, "{:?}", running.claims);
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let params = DeleteParams::default();
    namespaces
        .delete(&instance.namespace, &params)
        .await
        .unwrap();
    let failed = shop
        .until(&instance, |now| now.failure_cause == Some(Cause::DataLost))
        .await;
    assert_eq!(failed.status, Status::Failed);
    let told = async || {
        let mut conn = shop.db.read().await.unwrap();
        let kind = AlertKind::InstanceDataLost;
        alerts::open_subjects(&mut conn, kind).await.unwrap()
    };
    assert_eq!(told().await, std::slice::from_ref(&instance.name));
    // Nothing is made again by later passes.
    let gone = async || {
        namespaces
            .get_opt(&instance.namespace)
            .await
            .unwrap()
            .is_none()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !gone().await {
        assert!(Instant::now() < deadline, "the namespace stays");
        sleep(Duration::from_millis(200)).await;
    }
    shop.set_desired(&instance, Desired::Running).await;
    server.handle.wake();
    shop.until(&instance, |now| now.failures > failed.failures)
        .await;
    assert!(gone().await, "an empty instance was made");

    let mut conn = shop.db.begin().await.unwrap();
    let is_accepted = store::forget_claims(&mut conn, instance.id, shop.clock.now()).await;
    assert!(is_accepted.unwrap());
    conn.commit().await.unwrap();
    server.handle.wake();
    shop.is(&instance, Status::Running).await;
    assert!(told().await.is_empty());
    leave(shop, server, &[&instance]).await;
}

/// Waits until something is so; panics after two minutes.
async fn eventually(is_so: impl AsyncFn() -> bool) {
    let wait = async {
        while !is_so().await {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(Duration::from_secs(120), wait).await.unwrap();
}

/// After an outage so long that tries had become rare, instances are ready soon after the cluster is,
/// and changes are noticed again. The outage itself is short, since a node that does not answer for
/// most of a minute counts as lost.
#[tokio::test]
async fn instances_are_ready_soon_after_the_cluster_is_back() {
    let Some(plane) = ControlPlane::take().await else {
        return;
    };
    let (provisioner, client) = in_cluster(&plane.kubeconfig()).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(provisioner);
    let first = shop.buy().await;
    server.handle.wake();
    shop.is(&first, Status::Running).await;
    plane.kill();
    let second = shop.buy().await;
    server.handle.wake();
    shop.until(&second, |now| now.failures > 0).await;
    let rarely = shop.clock.now() + TimeDelta::days(1);
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "UPDATE instances SET failures = failures * 12, next_attempt_at = $1";
    execute!(conn, sql, rarely).unwrap();
    conn.commit().await.unwrap();
    eventually(async || !server.handle.status().is_available).await;
    plane.start();
    let works = Box::pin(plane.works_at()).await;
    shop.is(&second, Status::Running).await;
    let ready = Clock::system().now();
    // The time for which the scheduler lets a pod wait that came too early is the cluster's own.
    let scheduled = plane.scheduled_at(&second.namespace).await;
    let took = ready - scheduled.map_or(works, |at| at.max(works));
    assert!(took.to_std().unwrap_or_default() < RECOVERY, "{took}");

    let of_first: Api<Deployment> = Api::namespaced(client.clone(), &first.namespace);
    let params = DeleteParams::background();
    of_first.delete(&first.name, &params).await.unwrap();
    let deleted = Instant::now();
    eventually(async || {
        let live = of_first.get_opt(&first.name).await.unwrap();
        live.is_some_and(|live| live.metadata.deletion_timestamp.is_none())
    })
    .await;
    assert!(deleted.elapsed() < RECOVERY, "{:?}", deleted.elapsed());
    shop.is(&first, Status::Running).await;
    leave(shop, server, &[&first, &second]).await;
    let namespaces: Api<Namespace> = Api::all(client);
    let left = namespaces.get_opt(&first.namespace).await.unwrap();
    assert!(left.is_none());
}
