//! Events and marks in a real cluster: with a disposable one that `DERMAGA_TEST_KUBECONFIG` names.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Event, Secret},
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::time::{Instant, sleep};

use super::{
    Act,
    cluster_events::events,
    model::{Instance, Status},
    status::StatusDecider,
    test_shop::{GOOD_IMAGE, Shop, in_cluster},
};
use crate::test_cluster::named_by;

/// Reasons of the events that Dermaga wrote about an instance, oldest first, with their messages.
async fn told(client: &Client, instance: &Instance) -> Vec<(String, String)> {
    let events: Api<Event> = Api::namespaced(client.clone(), &instance.namespace);
    let mut found = events.list(&ListParams::default()).await.unwrap().items;
    found.retain(|event| {
        let component = event
            .source
            .as_ref()
            .and_then(|source| source.component.as_deref());
        component == Some("dermaga") && event.name_any().starts_with(&instance.name)
    });
    found.sort_by_key(ResourceExt::name_any);
    let found = found.into_iter();
    found
        .map(|event| (event.reason.unwrap(), event.message.unwrap()))
        .collect()
}

/// A restart that mends is no restart by the owner, and no new generation of theirs.
#[tokio::test]
async fn a_restart_that_heals_is_told_as_one() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let bought = shop.buy().await;
    let seen = Instance {
        generation: 2,
        observed_generation: 1,
        status: Status::Degraded,
        restarted_at: Some(bought.updated_at + TimeDelta::minutes(1)),
        ..bought
    };
    let decider = StatusDecider {
        seen: &seen,
        now: shop.clock.now(),
        resync: Duration::from_secs(300),
    };
    let told = events(&seen, &decider.unchanged());
    let told: Vec<_> = told
        .iter()
        .map(|one| (one.reason, one.message.as_str()))
        .collect();
    assert_eq!(told, [("Restarted", "Restarted, since it was not well.")]);
}

async fn change(shop: &Shop, instance: &Instance, act: Act) {
    let mut conn = shop.db.begin().await.unwrap();
    let id = instance.subscription_id;
    super::change(&mut conn, &shop.clock, id, act, "Changed.")
        .await
        .unwrap();
    conn.commit().await.unwrap();
}

/// Waits until something was told this often.
async fn heard(client: &Client, instance: &Instance, reason: &str, times: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let all = told(client, instance).await;
        if all.iter().filter(|(one, _)| one == reason).count() >= times {
            return;
        }
        assert!(Instant::now() < deadline, "no {reason}: {all:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn is_marked(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    decision: &str,
) {
    let label = |key: &str| {
        labels
            .get(&format!("app.kubernetes.io/{key}"))
            .map(String::as_str)
    };
    assert_eq!(label("part-of"), Some("dermaga"));
    assert_eq!(label("managed-by"), Some("dermaga"));
    assert_eq!(label("version"), Some("1.0.0"));
    assert!(label("name").is_some() && label("instance").is_some());
    assert_eq!(annotations["dermaga.dev/decision"], decision);
    assert_eq!(annotations["dermaga.dev/plugin"], "service-test 1.0.0");
    assert_eq!(annotations["dermaga.dev/plugin-digest"].len(), 64);
}

#[tokio::test]
async fn a_life_is_told_in_events_and_its_objects_say_where_they_come_from() {
    let Some(kubeconfig) = named_by("DERMAGA_TEST_KUBECONFIG") else {
        return;
    };
    let (provisioner, client) = in_cluster(&kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(provisioner);
    // Another one keeps the namespace, so that the end can be told in it.
    let (instance, other) = (shop.buy().await, shop.buy().await);
    server.handle.wake();
    let running = shop.is(&instance, Status::Running).await;
    heard(&client, &instance, "Started", 1).await;

    let decision = running.manifests_decision_id.unwrap().to_string();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &instance.namespace);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &instance.namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &instance.namespace);
    let live = deployments.get(&instance.name).await.unwrap();
    is_marked(live.labels(), live.annotations(), &decision);
    let template = live.spec.unwrap().template.metadata.unwrap();
    assert_eq!(
        template.annotations, None,
        "pods are not replaced for a mark"
    );
    let map = maps.get(&instance.name).await.unwrap();
    is_marked(map.labels(), map.annotations(), &decision);
    let secret = secrets.get(&instance.secret_object()).await.unwrap();
    is_marked(secret.labels(), secret.annotations(), &decision);

    for (act, status, reason, times) in [
        (Act::Stop, Status::Stopped, "Stopped", 1),
        (Act::Start, Status::Running, "Started", 2),
        (Act::Suspend, Status::Stopped, "Suspended", 1),
        (Act::Resume, Status::Running, "Started", 3),
    ] {
        change(&shop, &instance, act).await;
        server.handle.wake();
        shop.is(&instance, status).await;
        heard(&client, &instance, reason, times).await;
    }
    change(&shop, &instance, Act::Restart).await;
    server.handle.wake();
    heard(&client, &instance, "Restarted", 1).await;
    let reasons: Vec<_> = told(&client, &instance).await;
    let said = |reason: &str| reasons.iter().filter(|(one, _)| one == reason).count();
    assert!(said("Applied") >= 1, "{reasons:?}");
    assert!(reasons.len() < 20, "{reasons:?}");
    // No value of a Secret is in any of them.
    let password = secret.data.unwrap().remove("password").unwrap();
    let password = String::from_utf8(password.0).unwrap();
    assert!(
        reasons
            .iter()
            .all(|(_, message)| !message.contains(&password))
    );

    shop.cancel(&instance).await;
    server.handle.wake();
    shop.is(&instance, Status::Terminated).await;
    heard(&client, &instance, "Terminated", 1).await;
    shop.cancel(&other).await;
    server.handle.wake();
    shop.is(&other, Status::Terminated).await;
    server.stop().await;
}
