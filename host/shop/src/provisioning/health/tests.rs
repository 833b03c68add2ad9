//! Tests of health in a real cluster: with a disposable one that `DERMAGA_TEST_KUBECONFIG` names.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{PersistentVolumeClaim, Pod, Secret},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{Act, InstanceHealth, Span, store};
use crate::{
    alerts::{self, AlertKind},
    fetch_all,
    provisioning::{
        Instance, Status,
        test_shop::{GOOD_IMAGE, Server, Shop, in_cluster},
    },
    test_cluster::named_by,
};

/// A shop with two servers on the test cluster, which wait so long before they mend an instance.
async fn shop(patience: Duration) -> Option<(Shop, [Server; 2], Client)> {
    let kubeconfig = named_by("DERMAGA_TEST_KUBECONFIG")?;
    let mut shop = Shop::open(GOOD_IMAGE).await;
    shop.patience = patience;
    let (one, client) = in_cluster(&kubeconfig).await;
    let (two, _) = in_cluster(&kubeconfig).await;
    let servers = [shop.server(one), shop.server(two)];
    Some((shop, servers, client))
}

async fn leave(shop: Shop, servers: [Server; 2], instance: &Instance) {
    shop.cancel(instance).await;
    shop.is(instance, Status::Terminated).await;
    for server in servers {
        server.stop().await;
    }
}

/// Breaks every pod of an instance by an annotation, also those that are made later.
fn break_pods(client: Client, instance: &Instance, broken: Value) -> JoinHandle<()> {
    let (namespace, name) = (instance.namespace.clone(), instance.name.clone());
    tokio::spawn(async move {
        loop {
            annotate(&client, &namespace, &name, &broken).await;
            sleep(Duration::from_millis(50)).await;
        }
    })
}

async fn annotate(client: &Client, namespace: &str, instance: &str, annotations: &Value) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let Ok(found) = pods.list(&ListParams::default()).await else {
        return;
    };
    for pod in found {
        let name = pod.name_any();
        let has = |key: &String, value: &Value| {
            pod.annotations().get(key).map(String::as_str) == value.as_str()
        };
        let mut wanted = annotations.as_object().unwrap().iter();
        if name.starts_with(instance) && !wanted.all(|(key, value)| has(key, value)) {
            let patch = json!({"metadata": {"annotations": annotations}});
            let params = PatchParams::default();
            let _ = pods.patch(&name, &params, &Patch::Merge(&patch)).await;
        }
    }
}

async fn open_span(shop: &Shop, instance: &Instance) -> Span {
    let mut conn = shop.db.read().await.unwrap();
    let span = store::open_span(&mut conn, instance.id).await.unwrap();
    span.unwrap()
}

async fn becomes(shop: &Shop, instance: &Instance, health: InstanceHealth) -> Span {
    for _ in 0..600 {
        let span = open_span(shop, instance).await;
        if span.state == health {
            return span;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?}", open_span(shop, instance).await);
}

async fn alerts_told(shop: &Shop) -> (i64, Vec<String>) {
    let all = "SELECT count(*) FROM alerts WHERE kind = 'INSTANCE_FAILED'";
    let all = shop.count(all).await;
    let mut conn = shop.db.read().await.unwrap();
    let open = alerts::open_subjects(&mut conn, AlertKind::InstanceFailed).await;
    (all, open.unwrap())
}

/// A process that hangs is restarted three times, made again once with its data, and then left:
/// one alert and one outbox row, whatever the number of servers. It is well again by itself.
#[tokio::test]
async fn a_hanging_instance_is_mended_within_limits_and_told_once() {
    let Some((shop, servers, client)) = shop(Duration::from_secs(2)).await else {
        return;
    };
    let instance = shop.buy().await;
    shop.is(&instance, Status::Running).await;
    becomes(&shop, &instance, InstanceHealth::Healthy).await;
    let namespace = instance.namespace.as_str();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let deployment = async || deployments.get(&instance.name).await.unwrap().uid();
    let data = async || {
        let claim = claims.get(&format!("{}-data", instance.name)).await;
        let secret = secrets.get(&instance.secret_object()).await;
        (claim.unwrap().uid(), secret.unwrap().uid())
    };
    let (made, kept) = (deployment().await, data().await);

    let hangs = json!({"lab.test/fail-probe": "all"});
    let breaking = break_pods(client.clone(), &instance, hangs);
    let given_up = shop
        .until(&instance, |now| {
            now.status == Status::Failed && now.message.contains("did not help")
        })
        .await;
    assert_eq!(given_up.generation, 1 + 3, "three restarts");
    let mut conn = shop.db.read().await.unwrap();
    let acts = "SELECT act FROM healing_acts ORDER BY at";
    let acts = fetch_all!(conn, (Act,), acts).unwrap();
    drop(conn);
    let acts: Vec<_> = acts.into_iter().map(|(act,)| act).collect();
    assert_eq!(
        acts,
        [Act::Restart, Act::Restart, Act::Restart, Act::Recreation]
    );
    assert_ne!(deployment().await, made);
    // There is no further act and no second message.
    sleep(Duration::from_secs(5)).await;
    let outbox = "SELECT count(*) FROM outbox WHERE topic = 'INSTANCE_FAILED'";
    let told = (1, vec![instance.name.clone()]);
    assert_eq!(
        (alerts_told(&shop).await, shop.count(outbox).await),
        (told, 1)
    );
    assert_eq!(shop.count("SELECT count(*) FROM healing_acts").await, 4);
    let events =
        "SELECT count(*) FROM instance_events WHERE message LIKE '%we restart it (attempt%'";
    assert_eq!(shop.count(events).await, 3);
    let span = open_span(&shop, &instance).await;
    assert!(span.given_up_at.is_some(), "{span:?}");

    breaking.abort();
    let _ = breaking.await;
    let mended = json!({"lab.test/fail-probe": null});
    annotate(&client, namespace, &instance.name, &mended).await;
    shop.is(&instance, Status::Running).await;
    for _ in 0..200 {
        if alerts_told(&shop).await.1.is_empty() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        (alerts_told(&shop).await, shop.count(outbox).await),
        ((1, vec![]), 1)
    );
    let span = becomes(&shop, &instance, InstanceHealth::Healthy).await;
    assert!(
        span.given_up_at.is_none() && span.unwell_since.is_some(),
        "{span:?}"
    );
    assert_eq!(data().await, kept);
    leave(shop, servers, &instance).await;
}

/// Waits until no pass has come for a second.
async fn rests(shop: &Shop, instance: &Instance) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut planned, mut since) = (None, Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        let held = "SELECT count(*) FROM instances WHERE lease_until IS NOT NULL";
        let next = Some(shop.now(instance).await.next_attempt_at);
        if shop.count(held).await > 0 || next != planned {
            (planned, since) = (next, Instant::now());
        }
        assert!(Instant::now() < deadline, "passes do not end");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A crash loop is shown with its reason, and over when its cause is gone.
#[tokio::test]
async fn a_crash_loop_is_shown_with_its_reason_and_heals_when_its_cause_is_gone() {
    let Some((shop, servers, client)) = shop(Duration::from_secs(600)).await else {
        return;
    };
    let instance = shop.buy().await;
    shop.is(&instance, Status::Running).await;
    // A pass that is under way for another reason must not be the one that sees the crash.
    becomes(&shop, &instance, InstanceHealth::Healthy).await;
    rests(&shop, &instance).await;
    let crashes = json!({
        "lab.test/waiting": "CrashLoopBackOff", "lab.test/exit-code": "1", "lab.test/exit-reason": "Error",
    });
    annotate(&client, &instance.namespace, &instance.name, &crashes).await;
    let span = becomes(&shop, &instance, InstanceHealth::Failed).await;
    assert!(span.reason.contains("stops again and again"), "{span:?}");
    assert_eq!(span.source, super::CheckSource::Event);
    assert!(
        span.detail.ends_with("It ended with Error, exit code 1."),
        "{span:?}"
    );
    let failing = shop.now(&instance).await;
    assert!(
        failing.message.contains("stops again and again") && !failing.message.contains("Error"),
        "{}",
        failing.message
    );

    let mended =
        json!({"lab.test/waiting": null, "lab.test/exit-code": null, "lab.test/exit-reason": null});
    annotate(&client, &instance.namespace, &instance.name, &mended).await;
    becomes(&shop, &instance, InstanceHealth::Healthy).await;
    shop.is(&instance, Status::Running).await;
    assert_eq!(shop.count("SELECT count(*) FROM healing_acts").await, 0);
    assert_eq!(alerts_told(&shop).await.0, 0);
    leave(shop, servers, &instance).await;
}
