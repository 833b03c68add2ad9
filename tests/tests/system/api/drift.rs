//! Tests of the differences between the database and the cluster, and of their repair.

use std::time::{Duration, Instant};

use dermaga_shop::{cluster::ObjectRef, execute, fetch_one};
use dermaga_tests::{Answer, Client, Shop, both_engines};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Service};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use sqlx::types::Json;
use tokio::time::sleep;

use super::provisioning::{client, kubeconfig, kubeconfig_of, shop_on};

both_engines!(Shop, [a_folder_has_no_drift_and_an_order_is_checked]);

const DRIFT: &str = "/api/admin/instances/drift";
const REPAIR: &str = "/api/admin/instances/drift/repair";
const REASON: &str = "Found by the weekly look at the cluster.";

async fn a_folder_has_no_drift_and_an_order_is_checked(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("hanyut@example.com").await;
    let order = json!({ "action": "REAPPLY", "drift": ["GHOST"], "reason": REASON });
    admin.get(DRIFT).await.fails(409, "NO_CLUSTER");
    admin
        .post(REPAIR, order.clone())
        .await
        .fails(409, "NO_CLUSTER");
    customer.get(DRIFT).await.fails(403, "FORBIDDEN");
    customer.post(REPAIR, order).await.fails(403, "FORBIDDEN");
    shop.client().get(DRIFT).await.fails(401, "UNAUTHENTICATED");
    for query in ["drift=LOST", "namespace=A/../b", "colour=blue"] {
        let answer = admin.get(&format!("{DRIFT}?{query}")).await;
        answer.fails(400, "VALIDATION_FAILED");
    }
    let nothing = json!({ "action": "DELETE", "reason": REASON });
    let refused = admin.post(REPAIR, nothing).await;
    let refused = refused.fails(400, "VALIDATION_FAILED").detail("items");
    assert!(refused.unwrap().contains("one of the two is needed"));
    let item = json!({ "kind": "ConfigMap", "namespace": "user-1", "name": "a" });
    for wrong in [
        json!({ "action": "DELETE", "reason": REASON, "items": [item], "drift": ["ORPHAN"] }),
        json!({ "action": "DELETE", "reason": REASON, "items": vec![item.clone(); 101] }),
        json!({ "action": "DELETE", "reason": REASON, "items": [{ "kind": "Pod", "namespace": "/", "name": "a" }] }),
        json!({ "action": "BURN", "reason": REASON, "drift": ["ORPHAN"] }),
        json!({ "action": "DELETE", "reason": "short", "drift": ["ORPHAN"] }),
    ] {
        admin
            .post(REPAIR, wrong)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
}

/// A cluster that is away is said to be so in time, and nothing is audited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_away_is_not_compared() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = kubeconfig_of(folder.path(), &address.to_string());
    let shop = shop_on(&path).await.unwrap();
    let admin = shop.admin().await;
    let began = Instant::now();
    admin.get(DRIFT).await.fails(503, "CLUSTER_UNAVAILABLE");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    let order = json!({ "action": "REAPPLY", "drift": ["GHOST"], "reason": REASON });
    let began = Instant::now();
    admin
        .post(REPAIR, order)
        .await
        .fails(503, "CLUSTER_UNAVAILABLE");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(audited(&shop).await, 0);
}

async fn audited(shop: &Shop) -> i64 {
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM audit_events WHERE act = 'cluster.drift_repaired'";
    fetch_one!(conn, (i64,), sql).unwrap().0
}

/// A customer's instance in the test cluster.
struct Scene {
    shop: Shop,
    admin: Client,
    customer: Client,
    subscription: String,
    id: String,
    name: String,
    namespace: String,
    cluster: kube::Client,
}

impl Scene {
    async fn open(email: &str) -> Option<Self> {
        let path = kubeconfig()?;
        let shop = shop_on(&path).await.unwrap();
        let admin = shop.admin().await;
        let customer = shop.customer_with_credit(email, 200_000).await;
        let order = json!({ "planId": shop.plan("uptime-kuma", "basic").await });
        let bought = customer.post("/api/subscriptions", order).await.data(201);
        let id = bought["instanceId"].as_str().unwrap().to_owned();
        let instance = shop.instance_becomes(&customer, &id, "RUNNING").await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Some(Self {
            admin,
            customer,
            subscription: text(&bought["subscription"]["id"]),
            id,
            name: text(&instance["name"]),
            namespace: text(&instance["namespace"]),
            cluster: client(&path).await,
            shop,
        })
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.cluster.clone(), &self.namespace)
    }

    async fn drift(&self) -> Vec<Value> {
        let path = format!("{DRIFT}?namespace={}", self.namespace);
        let found = self.admin.get(&path).await.data(200);
        found.as_array().unwrap().clone()
    }

    /// Waits for one difference.
    async fn one(&self, drift: &str, kind: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let all = self.drift().await;
            let found = all
                .iter()
                .find(|one| one["drift"] == drift && one["kind"] == kind);
            if let Some(found) = found {
                return found.clone();
            }
            assert!(Instant::now() < deadline, "no {drift} {kind}: {all:#?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn none(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let all = self.drift().await;
            if all.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "still {all:#?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn repair(&self, action: &str, found: &Value) -> (String, String) {
        let item =
            ["kind", "namespace", "name", "uid"].map(|key| (key.to_owned(), found[key].clone()));
        let item: serde_json::Map<_, _> = item
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect();
        let order = json!({ "action": action, "items": [item], "reason": REASON });
        only(self.admin.post(REPAIR, order).await)
    }

    async fn repair_all(&self, action: &str, drift: &str) -> Vec<(String, String)> {
        let order = json!({
            "action": action, "drift": [drift], "namespace": self.namespace, "reason": REASON,
        });
        outcomes(self.admin.post(REPAIR, order).await)
    }

    async fn leave(&self) {
        let path = format!("/api/subscriptions/{}", self.subscription);
        self.customer.delete(&path).await.data(200);
        self.shop
            .instance_becomes(&self.customer, &self.id, "TERMINATED")
            .await;
    }
}

fn outcomes(answer: Answer) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = answer.data(200);
    let all = all.as_array().unwrap().iter();
    all.map(|one| (text(&one["outcome"]), text(&one["message"])))
        .collect()
}

fn only(answer: Answer) -> (String, String) {
    let mut all = outcomes(answer);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn is_done(outcome: &(String, String)) -> bool {
    outcome.0 == "DONE"
}

/// Takes the labels of ownership away, as `kubectl label KIND NAME LABEL-` does.
fn bare() -> Patch<Value> {
    Patch::Merge(json!({"metadata": {"labels": {
        "dermaga.dev/instance": null, "dermaga.dev/user": null, "app.kubernetes.io/managed-by": null,
    }}}))
}

/// Objects whose labels were removed are listed, adopted and owned by the reconciler again; a claim
/// with data is never deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_without_its_labels_is_adopted() {
    let Some(scene) = Scene::open("yatim@example.com").await else {
        return;
    };
    assert_eq!(scene.drift().await, Vec::<Value>::new());
    let services: Api<Service> = scene.api();
    let claims: Api<PersistentVolumeClaim> = scene.api();
    let params = PatchParams::default();
    let service = services.list(&ListParams::default()).await.unwrap();
    let service = service.items[0].name_any();
    let stripped = services.patch(&service, &params, &bare()).await.unwrap();
    assert!(!stripped.labels().contains_key("dermaga.dev/instance"));

    let found = scene.one("UNLABELLED", "Service").await;
    assert_eq!(found["action"], "ADOPT");
    assert_eq!(found["instanceId"], json!(scene.id));
    assert_eq!(found["subscriptionId"], json!(scene.subscription));
    assert!(found["owner"].is_string() && found["ageSeconds"].as_i64().unwrap() < 600);
    assert!(found["reason"].as_str().unwrap().contains(&scene.name));
    assert_eq!(scene.repair("DELETE", &found).await.0, "REFUSED");
    let other =
        json!({ "kind": "Service", "namespace": scene.namespace, "name": service, "uid": "1" });
    assert_eq!(scene.repair("ADOPT", &other).await.0, "REFUSED");
    assert_eq!(audited(&scene.shop).await, 0, "nothing was done");
    let (one, two) = tokio::join!(scene.repair("ADOPT", &found), scene.repair("ADOPT", &found));
    assert!(is_done(&one) && is_done(&two), "{one:?} {two:?}");
    assert!(is_done(&scene.repair("ADOPT", &found).await));
    scene.none().await;
    // The reconciler's own entry has the label again: it was applied since.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !owns_label(&services.get(&service).await.unwrap()) {
        assert!(Instant::now() < deadline, "not applied again");
        sleep(Duration::from_millis(200)).await;
    }
    let running = scene
        .shop
        .instance_becomes(&scene.customer, &scene.id, "RUNNING")
        .await;
    assert_eq!(running["lastError"], Value::Null);

    let claim = claims
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .remove(0);
    let named = json!({
        "kind": "PersistentVolumeClaim", "namespace": scene.namespace, "name": claim.name_any(),
        "uid": claim.uid().unwrap(),
    });
    assert_eq!(
        scene.repair("DELETE", &named).await.0,
        "REFUSED",
        "it is in use"
    );
    claims
        .patch(&claim.name_any(), &params, &bare())
        .await
        .unwrap();
    scene.one("UNLABELLED", "PersistentVolumeClaim").await;
    assert_eq!(
        scene.repair("DELETE", &named).await.0,
        "REFUSED",
        "it holds data"
    );
    let adopted = scene.repair_all("ADOPT", "UNLABELLED").await;
    assert!(adopted.len() == 1 && is_done(&adopted[0]), "{adopted:?}");
    scene.none().await;
    scene.leave().await;
}

fn owns_label(live: &Service) -> bool {
    live.managed_fields().iter().any(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        let labels = fields.and_then(|fields| fields.pointer("/f:metadata/f:labels"));
        entry.operation.as_deref() == Some("Apply")
            && labels.is_some_and(|labels| labels.get("f:dermaga.dev/instance").is_some())
    })
}

/// A namespace without its labels holds up its instances until it is adopted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_without_its_labels_is_adopted() {
    let Some(scene) = Scene::open("rumah@example.com").await else {
        return;
    };
    let namespaces: Api<Namespace> = Api::all(scene.cluster.clone());
    let params = PatchParams::default();
    namespaces
        .patch(&scene.namespace, &params, &bare())
        .await
        .unwrap();
    let found = scene.one("UNLABELLED", "Namespace").await;
    assert!(is_done(&scene.repair("ADOPT", &found).await));
    scene.none().await;
    let live = namespaces.get(&scene.namespace).await.unwrap();
    assert_eq!(live.labels()["app.kubernetes.io/managed-by"], "dermaga");
    assert_eq!(
        live.labels()["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
    scene.leave().await;
}

/// Objects of others, and of instances this database never knew, are deleted when they are named, and
/// only as they were seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_deleted_by_name_only() {
    let Some(scene) = Scene::open("asing@example.com").await else {
        return;
    };
    let maps: Api<ConfigMap> = scene.api();
    let make = async |name: &str, labels: Value| {
        let map = json!({"metadata": {"name": name, "labels": labels}, "data": {"a": "b"}});
        let map = serde_json::from_value(map).unwrap();
        maps.create(&PostParams::default(), &map).await.unwrap();
    };
    make("guest", json!({})).await;
    let unknown =
        json!({"dermaga.dev/instance": "n8n-unknown", "app.kubernetes.io/managed-by": "dermaga"});
    make("n8n-unknown", unknown).await;
    for (drift, name) in [("FOREIGN", "guest"), ("ORPHAN", "n8n-unknown")] {
        let found = scene.one(drift, "ConfigMap").await;
        assert_eq!(
            (&found["name"], &found["byNameOnly"]),
            (&json!(name), &json!(true))
        );
        let all = scene.repair_all("DELETE", drift).await;
        assert!(all.len() == 1 && all[0].0 == "REFUSED", "{all:?}");
        let mut other = found.clone();
        other["uid"] = json!("another");
        assert_eq!(scene.repair("DELETE", &other).await.0, "REFUSED");
        other["uid"] = Value::Null;
        assert_eq!(scene.repair("DELETE", &other).await.0, "REFUSED");
        assert!(maps.get_opt(name).await.unwrap().is_some());
        let (one, two) = tokio::join!(
            scene.repair("DELETE", &found),
            scene.repair("DELETE", &found)
        );
        assert!(is_done(&one) && is_done(&two), "{one:?} {two:?}");
        assert!(maps.get_opt(name).await.unwrap().is_none());
        assert!(is_done(&scene.repair("DELETE", &found).await));
    }
    scene.none().await;
    let mut conn = scene.shop.state().db.read().await.unwrap();
    let sql = "SELECT details, reason FROM audit_events WHERE act = 'cluster.drift_repaired' ORDER BY created_at LIMIT 1";
    let (details, reason) = fetch_one!(conn, (Json<Value>, String), sql).unwrap();
    drop(conn);
    assert_eq!(
        (reason.as_str(), &details["action"]),
        (REASON, &json!("DELETE"))
    );
    assert_eq!(details["objects"][0]["name"], "guest");
    scene.leave().await;
}

/// Whatever an ended instance left is found and removed, its namespace last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leftovers_of_an_ended_instance_are_removed() {
    let Some(scene) = Scene::open("sisa@example.com").await else {
        return;
    };
    let namespaces: Api<Namespace> = Api::all(scene.cluster.clone());
    let labels = namespaces
        .get(&scene.namespace)
        .await
        .unwrap()
        .metadata
        .labels
        .unwrap();
    scene.leave().await;
    let space = json!({"metadata": {"name": scene.namespace, "labels": labels}});
    let space = serde_json::from_value(space).unwrap();
    namespaces
        .create(&PostParams::default(), &space)
        .await
        .unwrap();
    let maps: Api<ConfigMap> = scene.api();
    let of = |name: &str, labels: Value| {
        let map = json!({"metadata": {"name": name, "labels": labels}});
        serde_json::from_value::<ConfigMap>(map).unwrap()
    };
    let left = of(
        "left",
        json!({"dermaga.dev/instance": scene.name, "app.kubernetes.io/managed-by": "dermaga"}),
    );
    let guest = of("guest", json!({}));
    for map in [&left, &guest] {
        maps.create(&PostParams::default(), map).await.unwrap();
    }
    let found = scene.one("ORPHAN", "ConfigMap").await;
    assert_eq!(
        (&found["instanceId"], &found["byNameOnly"]),
        (&json!(scene.id), &json!(false))
    );
    // A namespace goes only when nothing of others is left in it.
    let outcomes = scene.repair_all("DELETE", "ORPHAN").await;
    assert!(
        is_done(&outcomes[0]) && outcomes[1].0 == "REFUSED",
        "{outcomes:?}"
    );
    assert!(outcomes[1].1.contains("ConfigMap/guest"), "{outcomes:?}");
    let guest = scene.one("FOREIGN", "ConfigMap").await;
    assert!(is_done(&scene.repair("DELETE", &guest).await));
    let outcomes = scene.repair_all("DELETE", "ORPHAN").await;
    assert!(outcomes.len() == 1 && is_done(&outcomes[0]), "{outcomes:?}");
    scene.none().await;
    assert!(audited(&scene.shop).await >= 3);
}

impl Scene {
    /// Makes the database believe in an object that the cluster does not have, and acts until the ghost was there for
    /// it: a pass of the worker, after anything that happened in the cluster, forgets ghosts by itself.
    async fn haunted<T>(&self, act: impl AsyncFn() -> Option<T>) -> T {
        let id: uuid::Uuid = self.id.parse().unwrap();
        for _ in 0..20 {
            let mut conn = self.shop.state().db.begin().await.unwrap();
            let applied = [ObjectRef::new("v1", "ConfigMap", "phantom")];
            let sql = "UPDATE instances SET applied = $2 WHERE id = $1";
            execute!(conn, sql, id, Json(applied)).unwrap();
            conn.commit().await.unwrap();
            if let Some(seen) = act().await {
                return seen;
            }
        }
        panic!("no ghost stays");
    }

    async fn ghost(&self) -> Option<Value> {
        let mut all = self.drift().await.into_iter();
        all.find(|one| one["drift"] == "GHOST" && one["kind"] == "ConfigMap")
    }
}

/// An object that the database believes to be there is applied again, or forgotten where nothing
/// renders it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ghost_is_applied_again() {
    let Some(scene) = Scene::open("hantu@example.com").await else {
        return;
    };
    let found = scene.haunted(|| scene.ghost()).await;
    assert_eq!(
        (&found["name"], &found["uid"]),
        (&json!("phantom"), &Value::Null)
    );
    let refused = async || {
        let outcome = scene.repair("DELETE", &found).await.0;
        (outcome != "DONE").then_some(outcome)
    };
    assert_eq!(scene.haunted(refused).await, "REFUSED");
    let outcomes = async || {
        let outcomes = scene.repair_all("REAPPLY", "GHOST").await;
        (!outcomes.is_empty()).then_some(outcomes)
    };
    let outcomes = scene.haunted(outcomes).await;
    assert!(outcomes.len() == 1 && is_done(&outcomes[0]), "{outcomes:?}");
    scene.none().await;
    scene.leave().await;
}
