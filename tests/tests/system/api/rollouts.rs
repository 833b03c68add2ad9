//! Tests of changes on a real Kubernetes API server: an upgrade is made once its volume has grown, and
//! refused where it cannot grow.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_shop::provisioning::Choice;
use dermaga_tests::{Client, Shop};
use k8s_openapi::api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::provisioning::{access_of_server, client, kubeconfig};

/// A customer's Uptime Kuma in the smaller plan, on the cluster.
struct Bought {
    customer: Client,
    subscription: String,
    instance: String,
    namespace: String,
}

impl Bought {
    async fn by(shop: &Shop, email: &str) -> Self {
        let customer = shop.customer_with_credit(email, 100_000).await;
        let plan = shop.plan("uptime-kuma", "free").await;
        let order = json!({ "planId": plan });
        let bought = customer.post("/api/subscriptions", order).await.data(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let instance = text(&bought["instanceId"]);
        let running = shop.instance_becomes(&customer, &instance, "RUNNING").await;
        Self {
            subscription: text(&bought["subscription"]["id"]),
            namespace: text(&running["namespace"]),
            customer,
            instance,
        }
    }

    async fn upgrade(&self, shop: &Shop) -> dermaga_tests::Answer {
        let plan = shop.plan("uptime-kuma", "basic").await;
        let path = format!("/api/subscriptions/{}/upgrade", self.subscription);
        self.customer.put(&path, json!({ "planId": plan })).await
    }

    async fn subscription(&self) -> Value {
        let path = format!("/api/subscriptions/{}", self.subscription);
        self.customer.get(&path).await.data(200)
    }

    async fn balance(&self) -> Value {
        let info = self.customer.get("/api/wallet/info").await.data(200);
        info["bonusBalance"].clone()
    }

    async fn detail(&self) -> Value {
        let path = format!("/api/instances/{}", self.instance);
        self.customer.get(&path).await.data(200)
    }

    async fn end(&self, shop: &Shop) {
        let path = format!("/api/instances/{}", self.instance);
        self.customer.delete(&path).await.data(202);
        shop.instance_becomes(&self.customer, &self.instance, "TERMINATED")
            .await;
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        for _ in 0..600 {
            if is_so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{what}: {:#}", self.detail().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_whose_volume_does_not_grow_is_undone_in_its_minutes() {
    let Some(path) = kubeconfig() else { return };
    let cluster = client(&path).await;
    let of_server = access_of_server(&path);
    let shop = crate::settings::shop(&[
        ("DERMAGA_PROVISIONER", "kubernetes"),
        ("KUBECONFIG", of_server.to_str().unwrap()),
        ("DERMAGA_ROLLOUT_MINUTES", "2"),
    ])
    .await;
    let bought = Bought::by(&shop, "tumbuh@example.com").await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster, &bought.namespace);
    let found = claims.list(&ListParams::default()).await.unwrap();
    let claim = found.items[0].metadata.name.clone().unwrap();
    let hold = |value: Value| {
        let patch = json!({"metadata": {"annotations": {"lab.test/no-growth": value}}});
        let claims = claims.clone();
        let claim = claim.clone();
        async move {
            let params = PatchParams::default();
            claims
                .patch(&claim, &params, &Patch::Merge(&patch))
                .await
                .unwrap();
        }
    };
    hold(json!("true")).await;
    bought.upgrade(&shop).await.data(200);
    assert_eq!(bought.subscription().await["plan"], "basic");
    assert_ne!(bought.balance().await, 100_000);
    bought
        .until("it grows", async || {
            let detail = bought.detail().await;
            detail["message"].as_str().unwrap().contains("growing")
        })
        .await;
    shop.clock().advance(TimeDelta::seconds(60));
    shop.state().instances.handle.wake();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bought.subscription().await["plan"], "basic");

    shop.clock().advance(TimeDelta::seconds(70));
    shop.state().instances.handle.wake();
    bought
        .until("the plan comes back", async || {
            bought.subscription().await["plan"] == "free"
        })
        .await;
    assert_eq!(bought.balance().await, 100_000);
    assert_eq!(bought.detail().await["undone"]["change"], "PLAN");
    shop.books_balance().await;

    let admin = shop.admin().await;
    let alerts = admin
        .get("/api/admin/alerts?kind=INSTANCE_CHANGE_UNDONE&state=OPEN")
        .await
        .data(200);
    assert_eq!(alerts.as_array().unwrap().len(), 1, "{alerts:#}");

    // The larger claim stays, and the same upgrade works once it can grow.
    hold(Value::Null).await;
    bought
        .until("nothing is under way", async || {
            let detail = bought.detail().await;
            detail["changing"] == false && detail["status"] == "RUNNING"
        })
        .await;
    bought.upgrade(&shop).await.data(200);
    bought
        .until("it is made", async || {
            let detail = bought.detail().await;
            detail["changing"] == false && detail["status"] == "RUNNING"
        })
        .await;
    assert_eq!(bought.subscription().await["plan"], "basic");
    bought.end(&shop).await;
    shop.books_balance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_refused_where_its_volume_cannot_grow() {
    let Some(path) = kubeconfig() else { return };
    let cluster = client(&path).await;
    let classes: Api<StorageClass> = Api::all(cluster);
    let name = format!("tetap-{}", uuid::Uuid::new_v4().simple());
    let class = json!({"metadata": {"name": name}, "provisioner": "kubernetes.io/host-path"});
    let class = serde_json::from_value(class).unwrap();
    classes
        .create(&PostParams::default(), &class)
        .await
        .unwrap();
    let shop = Shop::open_with(dermaga_tests::Engine::Sqlite, |config| {
        config.provisioning.provisioner = Choice::Kubernetes;
        config.provisioning.kubeconfig = Some(access_of_server(&path));
        config.provisioning.classes.storage = Some(name.clone());
    })
    .await
    .unwrap();
    let bought = Bought::by(&shop, "tetap@example.com").await;
    let refused = bought.upgrade(&shop).await;
    refused.fails(409, "VOLUME_CANNOT_GROW");
    assert!(refused.text.contains("nothing was changed or charged"));
    let quote = format!("/api/subscriptions/{}/upgrade-quote", bought.subscription);
    let plan = json!({ "planId": shop.plan("uptime-kuma", "basic").await });
    bought
        .customer
        .post(&quote, plan)
        .await
        .fails(409, "VOLUME_CANNOT_GROW");
    assert_eq!(bought.balance().await, 100_000);
    assert_eq!(bought.subscription().await["plan"], "free");
    assert_eq!(bought.detail().await["generation"], 1);
    bought.end(&shop).await;
    let params = DeleteParams::default();
    classes.delete(&name, &params).await.unwrap();
    shop.books_balance().await;
}
