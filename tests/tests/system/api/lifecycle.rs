//! Tests of stopping, starting and restarting what a customer has.

use dermaga_shop::billing::{process_grace, renew_due};
use dermaga_tests::{Engine, Shop, both_engines};
use serde_json::{Value, json};

use super::{
    bought::Bought,
    provisioning::{client, kubeconfig, shop_on},
};

both_engines!(
    Shop,
    [
        a_stopped_instance_keeps_its_files_and_starts_again,
        a_restart_is_a_part_of_what_is_applied,
        only_the_owner_may_and_only_while_it_lives,
        an_administrator_restarts_any_instance_with_a_reason,
        what_its_owner_stopped_stays_so_when_it_is_paid_for_again,
        what_runs_in_its_grace_is_left_as_it_is,
    ]
);

impl Bought {
    fn instance(&self, act: &str) -> String {
        format!("/api/instances/{}/{act}", self.instance)
    }

    fn subscription(&self, act: &str) -> String {
        format!("/api/subscriptions/{}/{act}", self.subscription)
    }

    async fn status(&self) -> Value {
        let path = format!("/api/subscriptions/{}", self.subscription);
        self.customer.get(&path).await.data(200)["status"].clone()
    }

    /// Lets days pass, after which the customer signs in again.
    async fn days_pass(&mut self, shop: &Shop, days: i64) {
        let email = self.customer.get("/api/user/profile").await.data(200)["email"].clone();
        shop.clock().advance(chrono::TimeDelta::days(days));
        self.customer = shop.sign_in(email.as_str().unwrap()).await;
    }

    async fn put(&self, path: String) -> dermaga_tests::Answer {
        self.customer.put(&path, json!({})).await
    }

    async fn post(&self, path: String) -> dermaga_tests::Answer {
        self.customer.post(&path, json!({})).await
    }

    /// The workload as it was applied.
    async fn workload(&self) -> Value {
        let path = self.instance("manifests");
        let view = self.customer.get(&path).await.data(200);
        let mut objects = view["objects"].as_array().unwrap().iter();
        let workload = objects.find(|object| object["spec"]["template"].is_object());
        workload.unwrap().clone()
    }
}

async fn a_stopped_instance_keeps_its_files_and_starts_again(shop: Shop) {
    let bought = Bought::by(&shop, "henti@example.com", ("uptime-kuma", 100_000)).await;
    let before = bought.workload().await;
    let stopping = bought.put(bought.instance("stop")).await.data(202);
    assert_eq!(
        (&stopping["desired"], &stopping["halt"]),
        (&json!("STOPPED"), &json!("OWNER"))
    );
    let stopped = bought.becomes(&shop, "STOPPED").await;
    assert_eq!(stopped["health"], "STOPPED");
    assert_eq!(bought.workload().await["spec"]["replicas"], 0);
    bought.put(bought.instance("stop")).await.data(200);
    bought.put(bought.subscription("stop")).await.data(200);
    let refused = bought.post(bought.instance("restart")).await;
    refused.fails(409, "INVALID_STATE");
    assert!(
        refused.text.contains("Start it instead"),
        "{}",
        refused.text
    );

    bought.put(bought.subscription("start")).await.data(202);
    let running = bought.becomes(&shop, "RUNNING").await;
    assert_eq!(running["halt"], Value::Null);
    assert_eq!(bought.workload().await, before);
    bought.put(bought.instance("start")).await.data(200);
    shop.books_balance().await;
}

async fn a_restart_is_a_part_of_what_is_applied(shop: Shop) {
    let mark = "/spec/template/metadata/annotations/dermaga.dev~1restarted-at";
    let bought = Bought::by(&shop, "ulang@example.com", ("uptime-kuma", 100_000)).await;
    assert_eq!(bought.workload().await.pointer(mark), None);
    let one = bought.post(bought.instance("restart")).await.data(202);
    let first = bought.workload().await.pointer(mark).cloned().unwrap();
    let same = bought.post(bought.subscription("restart")).await.data(200);
    assert_eq!(same["instanceId"], json!(bought.instance));
    let again = bought.becomes(&shop, "RUNNING").await;
    assert_eq!(again["generation"], one["generation"]);
    shop.clock().advance(chrono::TimeDelta::seconds(11));
    bought.post(bought.subscription("restart")).await.data(202);
    let second = bought.workload().await.pointer(mark).cloned().unwrap();
    assert_ne!(first, second);
    // Stopping and starting keeps the mark, so that it replaces no pods once more.
    bought.put(bought.instance("stop")).await.data(202);
    bought.put(bought.instance("start")).await.data(202);
    let kept = bought.workload().await.pointer(mark).cloned().unwrap();
    assert_eq!(kept, second);
}

async fn an_administrator_restarts_any_instance_with_a_reason(shop: Shop) {
    let bought = Bought::by(&shop, "bantu@example.com", ("uptime-kuma", 100_000)).await;
    let admin = shop.admin().await;
    let path = format!("/api/admin/instances/{}", bought.instance);
    let restart = format!("{path}/restart");
    let of_owner = format!("/api/instances/{}", bought.instance);
    let seen = bought.customer.get(&of_owner).await.data(200);
    let same = admin.get(&path).await.data(200);
    for field in ["id", "name", "status", "endpoints", "namespace"] {
        assert_eq!(same[field], seen[field], "{field}");
    }
    let why = json!({ "reason": "It hangs, says its owner by phone." });
    let customer = &bought.customer;
    customer.get(&path).await.fails(403, "FORBIDDEN");
    let forbidden = customer.post(&restart, why.clone()).await;
    forbidden.fails(403, "FORBIDDEN");
    let without = admin.post(&restart, json!({})).await;
    without.fails(400, "VALIDATION_FAILED");

    let restarted = admin.post(&restart, why.clone()).await.data(202);
    let same = admin.post(&restart, why.clone()).await.data(200);
    assert_eq!(same["generation"], restarted["generation"]);
    let mark = "/spec/template/metadata/annotations/dermaga.dev~1restarted-at";
    assert!(bought.workload().await.pointer(mark).is_some());
    let audit = format!("/api/admin/audit?subject=instance:{}", bought.instance);
    let acts = admin.get(&audit).await.data(200);
    let acts = acts.as_array().unwrap();
    assert_eq!(acts.len(), 1, "a restart that changes nothing is no act");
    assert_eq!(
        (&acts[0]["act"], &acts[0]["reason"]),
        (&json!("instance.restarted"), &why["reason"])
    );
    bought.put(bought.instance("stop")).await.data(202);
    let stopped = admin.post(&restart, why.clone()).await;
    stopped.fails(409, "INVALID_STATE");
    let nowhere = "/api/admin/instances/00000000-0000-0000-0000-000000000009";
    admin.get(nowhere).await.fails(404, "NOT_FOUND");
    let nowhere = format!("{nowhere}/restart");
    admin.post(&nowhere, why).await.fails(404, "NOT_FOUND");
}

async fn only_the_owner_may_and_only_while_it_lives(shop: Shop) {
    let bought = Bought::by(&shop, "pemilik@example.com", ("uptime-kuma", 100_000)).await;
    let other = shop.customer("orang-lain@example.com").await;
    for act in ["stop", "start"] {
        for path in [bought.instance(act), bought.subscription(act)] {
            other.put(&path, json!({})).await.fails(404, "NOT_FOUND");
            let stranger = shop.client().put(&path, json!({})).await;
            stranger.fails(401, "UNAUTHENTICATED");
        }
    }
    for path in [bought.instance("restart"), bought.subscription("restart")] {
        other.post(&path, json!({})).await.fails(404, "NOT_FOUND");
    }
    let subscription = format!("/api/subscriptions/{}", bought.subscription);
    bought.customer.delete(&subscription).await.data(200);
    bought.becomes(&shop, "TERMINATED").await;
    for path in [bought.instance("stop"), bought.subscription("start")] {
        let refused = bought.put(path).await;
        refused.fails(409, "INVALID_STATE");
        assert!(refused.text.contains("it has ended"), "{}", refused.text);
    }
}

async fn what_its_owner_stopped_stays_so_when_it_is_paid_for_again(shop: Shop) {
    let mut bought = Bought::by(&shop, "tunggak@example.com", ("uptime-kuma", 30_000)).await;
    bought.put(bought.instance("stop")).await.data(202);
    bought.becomes(&shop, "STOPPED").await;
    let subscriptions = &shop.state().subscriptions;
    // It is still paid for: the next month falls due, and finds too little.
    for _ in 0..2 {
        bought.days_pass(&shop, 32).await;
        renew_due(subscriptions).await.unwrap();
    }
    assert_eq!(bought.status().await, "PAST_DUE");
    let refused = bought.put(bought.instance("start")).await;
    refused.fails(409, "INVALID_STATE");
    assert!(refused.text.contains("Top up"), "{}", refused.text);
    bought.days_pass(&shop, 8).await;
    process_grace(subscriptions).await.unwrap();
    assert_eq!(bought.status().await, "SUSPENDED");
    let refused = bought.put(bought.subscription("start")).await;
    refused.fails(409, "INVALID_STATE");
    assert!(
        refused.text.contains("Top up your wallet first"),
        "{}",
        refused.text
    );
    let path = format!("/api/instances/{}", bought.instance);
    let suspended = bought.customer.get(&path).await.data(200);
    assert_eq!(suspended["halt"], "OWNER_AND_UNPAID");

    let admin = shop.admin().await;
    let profile = bought.customer.get("/api/user/profile").await.data(200);
    let credit = format!(
        "/api/admin/wallets/{}/add-credit",
        profile["id"].as_str().unwrap()
    );
    let gift = json!({ "amount": 500_000, "reason": "Paid at the counter." });
    admin.post(&credit, gift).await.data(201);
    renew_due(subscriptions).await.unwrap();
    process_grace(subscriptions).await.unwrap();
    for _ in 0..100 {
        if bought.status().await == "ACTIVE" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(bought.status().await, "ACTIVE");
    let paid = bought.customer.get(&path).await.data(200);
    assert_eq!(
        (&paid["desired"], &paid["halt"]),
        (&json!("STOPPED"), &json!("OWNER"))
    );
    let events = bought.customer.get(&format!("{path}/events")).await;
    let told = "Paid for again; it stays stopped, as its owner asked.";
    assert!(events.text.contains(told), "{}", events.text);
    bought.put(bought.instance("start")).await.data(202);
    bought.becomes(&shop, "RUNNING").await;
    shop.books_balance().await;
}

/// Starting what runs asks for no payment.
async fn what_runs_in_its_grace_is_left_as_it_is(shop: Shop) {
    let mut bought = Bought::by(&shop, "tenggang@example.com", ("uptime-kuma", 30_000)).await;
    for _ in 0..2 {
        bought.days_pass(&shop, 32).await;
        renew_due(&shop.state().subscriptions).await.unwrap();
    }
    assert_eq!(bought.status().await, "PAST_DUE");
    bought.put(bought.instance("start")).await.data(200);
}

/// On a real API server a stop ends the pods and keeps the volume, and a restart replaces the pods and
/// survives the passes that follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_follow_the_life_of_their_instance() {
    use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
    use kube::{Api, api::ListParams};

    let Some(path) = kubeconfig() else { return };
    let shop = shop_on(&path).await.unwrap();
    let cluster = client(&path).await;
    let bought = Bought::by(&shop, "hidup@example.com", ("uptime-kuma", 100_000)).await;
    let instance = bought.becomes(&shop, "RUNNING").await;
    let namespace = instance["namespace"].as_str().unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.clone(), namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster, namespace);
    let all = ListParams::default();
    let names = async || {
        let list = pods.list(&all).await.unwrap().items.into_iter();
        let live = list.filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let names: Vec<_> = live.map(|pod| pod.metadata.uid.unwrap()).collect();
        names
    };
    let volume = claims.list(&all).await.unwrap().items[0]
        .metadata
        .uid
        .clone();
    let first = names().await;
    assert_eq!(first.len(), 1);

    bought.post(bought.instance("restart")).await.data(202);
    let mut second = first.clone();
    for _ in 0..300 {
        second = names().await;
        if second.len() == 1 && second != first {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(second.len() == 1 && second != first, "no pod was replaced");
    bought.becomes(&shop, "RUNNING").await;
    shop.sql("UPDATE instances SET next_attempt_at = created_at")
        .await
        .unwrap();
    shop.state().instances.handle.wake();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(names().await, second, "a pass took the restart back");

    bought.put(bought.subscription("stop")).await.data(202);
    bought.becomes(&shop, "STOPPED").await;
    assert!(names().await.is_empty());
    bought.put(bought.instance("start")).await.data(202);
    bought.becomes(&shop, "RUNNING").await;
    assert_eq!(names().await.len(), 1);
    let kept = claims.list(&all).await.unwrap().items[0]
        .metadata
        .uid
        .clone();
    assert_eq!(kept, volume);
    let subscription = format!("/api/subscriptions/{}", bought.subscription);
    bought.customer.delete(&subscription).await.data(200);
    bought.becomes(&shop, "TERMINATED").await;
}

/// A customer reads credentials so often and no more: each look is recorded for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_read_sixty_times_an_hour() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let bought = Bought::by(&shop, "intip@example.com", ("uptime-kuma", 100_000)).await;
    let path = bought.instance("credentials");
    for _ in 0..60 {
        bought.customer.get(&path).await.data(200);
    }
    let refused = bought.customer.get(&path).await;
    refused.fails(429, "TOO_MANY_REQUESTS");
    let admin = shop.admin().await;
    let shown = "/api/admin/audit?act=instance.credentials_shown&limit=1";
    let page = admin.get(shown).await;
    assert_eq!(page.body["pagination"]["totalItems"], 60, "{:#}", page.body);
    shop.clock().advance(chrono::TimeDelta::hours(1));
    let bought = bought.customer.get(&path).await;
    assert_eq!(bought.status, 200, "{:#}", bought.body);
}
