//! Settings of instances: their place, and how they are kept.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use dermaga::app::App;
use dermaga_shop::db::Clock;
use dermaga_tests::Shop;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{buy, configuration, empty_shop, shop};
use crate::api::provisioning::kubeconfig_of;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_carry_what_the_operator_decided() {
    let folder = TempDir::new().unwrap();
    let manifests = folder.path().join("gitops");
    let shop = shop(&[
        ("DERMAGA_BASE_DOMAIN", "toko.example"),
        ("DERMAGA_MANIFESTS_DIR", manifests.to_str().unwrap()),
        ("DERMAGA_INGRESS_CLASS", "gerbang"),
        ("DERMAGA_INGRESS_NAMESPACE", "pintu-masuk"),
        ("DERMAGA_STORAGE_CLASS", "cepat"),
    ])
    .await;
    let customer = shop.customer("manifes@example.com").await;
    let id = buy(&shop, &customer, "n8n", "free").await;
    let instance = shop.instance_becomes(&customer, &id, "RUNNING").await;
    let (name, namespace) = (
        instance["name"].as_str().unwrap(),
        manifests.join(instance["namespace"].as_str().unwrap()),
    );
    let ingress = of_kind(&namespace.join(name), "-ingress-");
    assert_eq!(
        ingress["spec"]["rules"][0]["host"],
        format!("{name}.toko.example")
    );
    assert_eq!(ingress["spec"]["ingressClassName"], "gerbang");
    let claim = of_kind(&namespace.join(name), "-persistentvolumeclaim-");
    assert_eq!(claim["spec"]["storageClassName"], "cepat");
    let door = of_kind(&namespace, "allow-ingress");
    assert!(door.to_string().contains("pintu-masuk"), "{door:#}");
    assert!(!shop.data_dir().join("manifests").exists());
}

/// Without a store administrators read the name of the Secret that is to be made by hand; with one, the folder asks for
/// it. Their customer reads neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_come_from_the_store_that_is_named() {
    for store in [None, Some("brankas")] {
        let settings: Vec<_> = store
            .map(|store| ("DERMAGA_SECRET_STORE", store))
            .into_iter()
            .collect();
        let shop = shop(&settings).await;
        let customer = shop.customer("rahasia@example.com").await;
        let id = buy(&shop, &customer, "n8n", "free").await;
        let instance = shop.instance_becomes(&customer, &id, "RUNNING").await;
        let (name, namespace) = (
            instance["name"].as_str().unwrap(),
            instance["namespace"].as_str().unwrap(),
        );
        let folder = shop.data_dir().join("manifests").join(namespace).join(name);
        let secret = format!("{name}-secrets");
        let asked = files(&folder)
            .into_iter()
            .find(|file| file.to_string_lossy().contains("-externalsecret-"));
        let plain = "Your service is prepared and waits to be put into operation.";
        assert_eq!(instance["message"], plain, "{instance:#}");
        let path = format!("/api/admin/health/instances/{id}");
        let health = shop.admin().await.get(&path).await.data(200);
        let detail = health[0]["detail"].as_str().unwrap();
        let Some(store) = store else {
            assert!(asked.is_none());
            let expected = format!("The Secret {secret} has to be made by hand.");
            assert!(detail.ends_with(&expected), "{health:#}");
            continue;
        };
        let text = fs::read_to_string(asked.unwrap()).unwrap();
        let object: Value = serde_norway::from_str(&text).unwrap();
        let spec = &object["spec"];
        assert_eq!(spec["secretStoreRef"]["name"], store, "{object:#}");
        assert_eq!(spec["target"]["name"], secret, "{object:#}");
        assert_eq!(spec["data"][0]["remoteRef"]["key"], secret, "{object:#}");
        let expected = format!("The secret store {store} has to hold {secret}.");
        assert!(detail.ends_with(&expected), "{health:#}");
    }
}

/// Returns the object in the only file of a folder whose name has this part.
pub(super) fn of_kind(folder: &Path, kind: &str) -> Value {
    let file = files(folder)
        .into_iter()
        .find(|file| file.to_string_lossy().contains(kind))
        .unwrap_or_else(|| panic!("no {kind} in {}", folder.display()));
    serde_norway::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_repaired_at_the_next_resync() {
    let shop = shop(&[("DERMAGA_RESYNC_SECONDS", "3000")]).await;
    let customer = shop.customer("selaras@example.com").await;
    let id = buy(&shop, &customer, "n8n", "free").await;
    let instance = shop.instance_becomes(&customer, &id, "RUNNING").await;
    let folder = shop
        .data_dir()
        .join("manifests")
        .join(instance["namespace"].as_str().unwrap())
        .join(instance["name"].as_str().unwrap());
    let lost = files(&folder).pop().unwrap();
    fs::remove_file(&lost).unwrap();
    shop.clock().advance(TimeDelta::seconds(2000));
    shop.state().instances.handle.wake();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!lost.exists(), "it is not looked at before its time");
    shop.clock().advance(TimeDelta::seconds(2000));
    shop.state().instances.handle.wake();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !lost.exists() {
        assert!(Instant::now() < deadline, "{} stays away", lost.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The attempts themselves need a cluster; the server says how long it waits before them. Here no cluster answers, so
/// that instances are written into a folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_mended_and_kept_as_the_settings_say() {
    let folder = TempDir::new().unwrap();
    let path = kubeconfig_of(folder.path(), &closed_address());
    let shop = shop(&[
        ("DERMAGA_PROVISIONER", "auto"),
        ("KUBECONFIG", path.to_str().unwrap()),
        ("DERMAGA_HEALING_PATIENCE", "90s"),
        ("DERMAGA_HEALTH_HISTORY_DAYS", "10"),
    ])
    .await;
    let admin = shop.admin().await;
    let summary = admin.get("/api/admin/health/summary").await.data(200);
    assert_eq!(summary["limits"]["patienceSeconds"], 90);
    let customer = shop.customer("terawat@example.com").await;
    let id = buy(&shop, &customer, "n8n", "free").await;
    shop.instance_becomes(&customer, &id, "RUNNING").await;
    for (days, removed) in [(9, 0), (11, 1)] {
        let ended = shop.clock().now() - TimeDelta::days(days);
        let mut conn = shop.state().db.begin().await.unwrap();
        let sql = "UPDATE health_spans SET since = $1, until = $1";
        dermaga_shop::execute!(conn, sql, ended).unwrap();
        conn.commit().await.unwrap();
        let run = admin
            .post("/api/admin/jobs/health-history/run", json!({}))
            .await
            .data(200);
        assert_eq!(run["items"], removed, "{days}");
    }
}

/// Returns the address of a port that was just closed, which has no listener.
fn closed_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn instances_go_where_the_provisioner_says() {
    let folder = TempDir::new().unwrap();
    let path = kubeconfig_of(folder.path(), &closed_address());
    let path = path.to_str().unwrap();
    for (choice, provisioner) in [
        ("kubernetes", "kubernetes"),
        ("directory", "directory"),
        ("auto", "directory"),
    ] {
        let shop = empty_shop(&[("DERMAGA_PROVISIONER", choice), ("KUBECONFIG", path)]).await;
        let status = shop.state().instances.handle.status();
        assert_eq!(status.provisioner, provisioner, "{choice}: {status:?}");
    }
    let nowhere = folder.path().join("nowhere");
    let settings = [
        ("DERMAGA_PROVISIONER", "kubernetes"),
        ("KUBECONFIG", nowhere.to_str().unwrap()),
        ("DERMAGA_PLUGINS_DIR", folder.path().to_str().unwrap()),
        ("DERMAGA_TEMPLATES_DIR", folder.path().to_str().unwrap()),
    ];
    let config = configuration(&folder.path().join("data"), &settings);
    let error = App::from_config(config, Clock::movable())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(nowhere.to_str().unwrap()),
        "{error}"
    );
}

/// On a cluster that accepts requests and never answers, every started pass stays under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_instances_are_worked_on_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = TempDir::new().unwrap();
    let path = kubeconfig_of(folder.path(), &silent.local_addr().unwrap().to_string());
    for places in [2, 3] {
        let shop = shop(&[
            ("DERMAGA_PROVISIONER", "kubernetes"),
            ("KUBECONFIG", path.to_str().unwrap()),
            ("DERMAGA_PROVISIONING_CONCURRENCY", &places.to_string()),
        ])
        .await;
        for customer in shop.many_customers(5).await {
            buy(&shop, &customer, "n8n", "free").await;
        }
        let mut most = 0;
        for _ in 0..15 {
            most = most.max(under_way(&shop).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(most, places);
    }
}

/// Returns the number of leased instances.
async fn under_way(shop: &Shop) -> i64 {
    let sql = "SELECT COUNT(*) FROM instances WHERE lease_until > $1";
    let mut conn = shop.state().db.read().await.unwrap();
    let (count,) = dermaga_shop::fetch_one!(conn, (i64,), sql, shop.clock().now()).unwrap();
    count
}
