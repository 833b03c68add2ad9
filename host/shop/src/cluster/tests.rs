//! Against a real API server: any disposable cluster named by `DERMAGA_TEST_KUBECONFIG`.

use std::time::Duration;

use dermaga_runtime::{contract::Resources, gate::INSTANCE_LABEL};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::*;
use crate::{
    db::{Clock, new_id},
    ids::UserId,
    test_cluster::named_by,
};

/// A customer's namespace in the test cluster; `None`, with a line that says so, without one.
async fn namespace() -> Option<(Cluster, Tenant)> {
    let kubeconfig = named_by("DERMAGA_TEST_KUBECONFIG")?;
    let cluster = Cluster::connect(Some(&kubeconfig)).await.unwrap();
    let user_id: UserId = new_id(&Clock::system());
    let tenant = Tenant {
        namespace: format!("user-{}", &Uuid::from(user_id).simple().to_string()[20..]),
        user_id,
        instances: vec!["a".to_owned()],
        budget: Resources {
            cpu_millis: 500,
            memory_mib: 512,
            storage_gib: 2,
            replicas: 1,
        },
        surge: Resources {
            cpu_millis: 500,
            memory_mib: 512,
            storage_gib: 2,
            replicas: 1,
        },
        pod_security: PodSecurity::Restricted,
        ingress_namespace: "ingress-nginx".to_owned(),
    };
    Some((cluster, tenant))
}

pub(super) async fn prepared() -> Option<(Cluster, Tenant)> {
    let (cluster, tenant) = namespace().await?;
    cluster.prepare_namespace(&tenant).await.unwrap();
    Some((cluster, tenant))
}

pub(super) async fn clean_up(cluster: &Cluster, tenant: &Tenant) {
    if let NamespaceState::Present(version) = cluster
        .namespace_state(&tenant.namespace, tenant.user_id)
        .await
        .unwrap()
    {
        cluster
            .delete_namespace(&tenant.namespace, version)
            .await
            .unwrap();
    }
}

pub(super) fn manifest(
    tenant: &Tenant,
    api_version: &str,
    kind: &str,
    name: &str,
    rest: Value,
) -> Value {
    let mut labels = owner_labels(tenant.user_id);
    labels.insert(INSTANCE_LABEL.to_owned(), "a".to_owned());
    let metadata = json!({"name": name, "namespace": tenant.namespace, "labels": labels});
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
    let Value::Object(rest) = rest else {
        panic!("{rest}")
    };
    object.as_object_mut().unwrap().extend(rest);
    object
}

pub(super) fn config_map(tenant: &Tenant, name: &str, value: &str) -> Value {
    manifest(
        tenant,
        "v1",
        "ConfigMap",
        name,
        json!({"data": {"key": value}}),
    )
}

pub(super) fn volume(tenant: &Tenant, name: &str) -> Value {
    let spec =
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    manifest(
        tenant,
        "v1",
        "PersistentVolumeClaim",
        name,
        json!({"spec": spec}),
    )
}

async fn removed_within(cluster: &Cluster, tenant: &Tenant, limit: Duration) -> Vec<String> {
    let deadline = Instant::now() + limit;
    loop {
        let remaining = cluster.remove(&tenant.namespace, "a", &[]).await.unwrap();
        if remaining.is_empty() || Instant::now() > deadline {
            return remaining;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_namespace_is_ready_with_its_quota_in_force_and_grows_with_the_budget() {
    let Some((cluster, mut tenant)) = prepared().await else {
        return;
    };
    let quotas: Api<ResourceQuota> = Api::namespaced(cluster.client.clone(), &tenant.namespace);
    let hard = quotas
        .get("dermaga")
        .await
        .unwrap()
        .status
        .unwrap()
        .hard
        .unwrap();
    assert_eq!(
        (hard["pods"].0.as_str(), hard["requests.storage"].0.as_str()),
        ("2", "2Gi")
    );
    tenant.budget.storage_gib = 7;
    cluster.prepare_namespace(&tenant).await.unwrap();
    let hard = quotas
        .get("dermaga")
        .await
        .unwrap()
        .status
        .unwrap()
        .hard
        .unwrap();
    assert_eq!(hard["requests.storage"].0, "7Gi");
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let labels = namespaces
        .get(&tenant.namespace)
        .await
        .unwrap()
        .metadata
        .labels
        .unwrap();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    clean_up(&cluster, &tenant).await;
}

#[tokio::test]
async fn somebody_elses_namespace_is_left_alone() {
    let Some((cluster, tenant)) = prepared().await else {
        return;
    };
    let intruder = Tenant {
        user_id: UserId::from_u128(1),
        ..tenant.clone()
    };
    let error = cluster.prepare_namespace(&intruder).await.unwrap_err();
    assert!(matches!(error, ClusterError::NotOurs { .. }), "{error:?}");
    let system = Tenant {
        namespace: "kube-system".to_owned(),
        ..tenant.clone()
    };
    let error = cluster.prepare_namespace(&system).await.unwrap_err();
    assert!(matches!(error, ClusterError::NotOurs { .. }), "{error:?}");
    clean_up(&cluster, &tenant).await;
}

#[tokio::test]
async fn drift_is_repaired_and_what_is_no_longer_rendered_goes_but_volumes_stay() {
    let Some((cluster, tenant)) = prepared().await else {
        return;
    };
    let namespace = tenant.namespace.as_str();
    for object in [
        config_map(&tenant, "kept", "1"),
        config_map(&tenant, "dropped", "1"),
        volume(&tenant, "data"),
    ] {
        cluster.apply(namespace, "a", &object).await.unwrap();
    }
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let by_hand = json!({"data": {"key": "changed by hand"}});
    maps.patch("kept", &PatchParams::default(), &Patch::Merge(&by_hand))
        .await
        .unwrap();
    let rendered = config_map(&tenant, "kept", "1");
    cluster.apply(namespace, "a", &rendered).await.unwrap();
    assert_eq!(maps.get("kept").await.unwrap().data.unwrap()["key"], "1");

    let mut sweep = cluster.sweep(namespace, "a").await.unwrap();
    let keep = [ObjectRef::of(&rendered)];
    let removed = cluster
        .prune(namespace, "a", &mut sweep, &keep, &[])
        .await
        .unwrap();
    assert_eq!(removed, [ObjectRef::new("v1", "ConfigMap", "dropped")]);
    let mut left = cluster.sweep(namespace, "a").await.unwrap().names();
    left.sort();
    assert_eq!(left, ["ConfigMap/kept", "PersistentVolumeClaim/data"]);
    clean_up(&cluster, &tenant).await;
}

#[tokio::test]
async fn an_object_that_was_not_made_here_is_neither_changed_nor_removed() {
    let Some((cluster, tenant)) = prepared().await else {
        return;
    };
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &tenant.namespace);
    let mut foreign = ConfigMap::default();
    foreign.metadata.name = Some("taken".to_owned());
    maps.create(&PostParams::default(), &foreign).await.unwrap();
    let error = cluster
        .apply(&tenant.namespace, "a", &config_map(&tenant, "taken", "1"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::NotOurs { .. }), "{error:?}");
    let inventory = [ObjectRef::new("v1", "ConfigMap", "taken")];
    assert!(
        cluster
            .remove(&tenant.namespace, "a", &inventory)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(maps.get("taken").await.unwrap().data.is_none());
    clean_up(&cluster, &tenant).await;
}

/// Watches may be behind, and are relied on for nothing here.
#[tokio::test]
async fn an_object_that_no_watch_shows_is_made_at_once_and_left_alone_when_it_is_anothers() {
    let Some((cluster, tenant)) = prepared().await else {
        return;
    };
    let namespace = tenant.namespace.as_str();
    let kinds = known::watched_kinds().map(|(_, kind)| kind);
    cluster.known.begin(kinds);
    for (_, kind) in known::watched_kinds() {
        cluster.known.list_begins(kind);
        cluster.known.list_ends(kind);
    }
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let mut foreign = ConfigMap::default();
    foreign.metadata.name = Some("taken".to_owned());
    maps.create(&PostParams::default(), &foreign).await.unwrap();
    let taken = config_map(&tenant, "taken", "1");
    let error = cluster.apply(namespace, "a", &taken).await.unwrap_err();
    assert!(matches!(error, ClusterError::NotOurs { .. }), "{error:?}");
    assert!(maps.get("taken").await.unwrap().data.is_none());

    let new = config_map(&tenant, "new", "1");
    let applied = cluster.apply(namespace, "a", &new).await;
    assert_eq!(applied, Ok(Applied::Yes));
    assert!(cluster.agrees(namespace, "a", &[new]));
    assert!(
        cluster.creations.have_worked(),
        "this cluster makes nothing by a manifest that names a version"
    );
    clean_up(&cluster, &tenant).await;
}

#[tokio::test]
async fn the_api_servers_objections_name_the_object() {
    let Some((cluster, tenant)) = prepared().await else {
        return;
    };
    let unknown = manifest(&tenant, "v1", "ConfigMap", "odd", json!({"colour": "blue"}));
    let error = cluster
        .apply(&tenant.namespace, "a", &unknown)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ClusterError::Refused { object, .. } if object == "ConfigMap/odd"),
        "{error:?}"
    );
    let too_large = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Ti"}}}});
    let too_large = manifest(&tenant, "v1", "PersistentVolumeClaim", "big", too_large);
    let error = cluster
        .apply(&tenant.namespace, "a", &too_large)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("exceeded quota"), "{error}");
    let unserved = manifest(&tenant, "example.org/v1", "Dream", "a", json!({}));
    assert_eq!(
        cluster
            .apply(&tenant.namespace, "a", &unserved)
            .await
            .unwrap(),
        Applied::NotServed
    );
    clean_up(&cluster, &tenant).await;
}

#[tokio::test]
async fn removal_is_over_only_when_volumes_and_finalizers_are_gone() {
    let Some((cluster, tenant)) = prepared().await else {
        return;
    };
    let mut held = config_map(&tenant, "held", "1");
    held["metadata"]["finalizers"] = json!(["dermaga.dev/test"]);
    for object in [held, volume(&tenant, "data")] {
        cluster
            .apply(&tenant.namespace, "a", &object)
            .await
            .unwrap();
    }
    let remaining = removed_within(&cluster, &tenant, Duration::from_secs(5)).await;
    assert_eq!(remaining, ["ConfigMap/held"]);
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &tenant.namespace);
    let release = json!({"metadata": {"finalizers": null}});
    maps.patch("held", &PatchParams::default(), &Patch::Merge(&release))
        .await
        .unwrap();
    assert!(
        removed_within(&cluster, &tenant, Duration::from_secs(5))
            .await
            .is_empty()
    );
    clean_up(&cluster, &tenant).await;
}

#[tokio::test]
async fn a_namespace_that_changed_since_it_was_looked_at_is_not_removed() {
    let Some((cluster, mut tenant)) = prepared().await else {
        return;
    };
    let state = cluster
        .namespace_state(&tenant.namespace, tenant.user_id)
        .await
        .unwrap();
    let NamespaceState::Present(seen) = state else {
        panic!("{state:?}")
    };
    tenant.instances.push("moved-in-meanwhile".to_owned());
    cluster.prepare_namespace(&tenant).await.unwrap();
    let error = cluster
        .delete_namespace(&tenant.namespace, seen)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    clean_up(&cluster, &tenant).await;
    let error = cluster.prepare_namespace(&tenant).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn a_cluster_that_is_away_is_said_to_be_within_the_limit() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let address = silent.local_addr().unwrap();
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
         users: [{{name: a, user: {{token: t}}}}], clusters: [{{name: a, cluster: {{server: 'https://{address}'}}}}]}}"
    );
    std::fs::write(&path, text).unwrap();
    let cluster = Cluster::connect(Some(&path)).await.unwrap();
    let asked = Instant::now();
    let error = cluster.probe().await.unwrap_err();
    assert!(matches!(error, ClusterError::Unreachable(_)), "{error:?}");
    assert!(asked.elapsed() < PROBE_TIMEOUT + Duration::from_secs(1));
    drop(silent);
    let error = cluster.probe().await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}
