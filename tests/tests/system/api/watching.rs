//! Tests of logs, events and usage of a customer's instance.

use std::{collections::HashMap, convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::Query,
    routing::{MethodRouter, get},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dermaga_shop::provisioning::Choice;
use dermaga_tests::{Client, Engine, Shop, both_engines};
use futures::stream;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    provisioning::{kubeconfig, kubeconfig_of, shop_on},
    tickets::{OF_SHOP, TICKETS},
};

both_engines!(
    Shop,
    [
        what_an_application_tells_of_its_secrets_is_masked_in_evidence,
        a_followed_log_goes_on_where_it_was_left,
    ]
);

async fn buy(shop: &Shop, customer: &Client) -> (String, Value) {
    let order = json!({ "planId": shop.plan("postgresql", "basic").await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let id = bought["instanceId"].as_str().unwrap();
    let instance = shop.instance_becomes(customer, id, "RUNNING").await;
    let subscription = bought["subscription"]["id"].as_str().unwrap();
    (subscription.to_owned(), instance)
}

/// A log that is followed.
struct Followed {
    response: reqwest::Response,
    /// Part of the answer that was not looked at yet.
    text: String,
}

/// Line of a followed log, with the id of its event.
struct Line {
    id: String,
    text: String,
}

impl Followed {
    /// Begins to follow, after the last event that was seen.
    async fn open(customer: &Client, path: &str, seen: Option<&str>) -> Self {
        let mut request = customer.request(Method::GET, path);
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// Waits for the next line.
    async fn next(&mut self) -> Line {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = line_of(event);
                self.text = rest.to_owned();
                if let Some(line) = line {
                    return line;
                }
            }
            let read = tokio::time::timeout(Duration::from_secs(5), self.response.chunk()).await;
            let bytes = read.expect("no line for long").unwrap();
            self.text += &String::from_utf8_lossy(&bytes.expect("the stream ended"));
        }
    }
}

/// Reads an event; nothing when it is a comment.
fn line_of(event: &str) -> Option<Line> {
    let field = |name: &str| {
        let mut lines = event.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let data: Value = serde_json::from_str(field("data")?).unwrap();
    assert_eq!(field("event"), Some("line"), "{event}");
    Some(Line {
        // A line without a time has none.
        id: field("id").unwrap_or_default().to_owned(),
        text: data["text"].as_str().unwrap().to_owned(),
    })
}

/// Opens a ticket about an instance; returns the evidence that administrators see in it.
async fn evidence(customer: &Client, admin: &Client, instance: &str) -> Value {
    let texts = [
        ("subject", "My database"),
        ("description", "It does not let me in any more."),
        ("instanceId", instance),
    ];
    let asked = customer.post_form(TICKETS, &texts, &[]).await.data(201);
    let path = format!("{OF_SHOP}/{}", asked["id"].as_str().unwrap());
    admin.get(&path).await.data(200)["evidence"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_watches_the_instance_in_its_cluster() {
    let Some(path) = kubeconfig() else { return };
    let shop = shop_on(&path).await.unwrap();
    let customer = shop
        .customer_with_credit("pengamat@example.com", 200_000)
        .await;
    let (subscription, instance) = buy(&shop, &customer).await;
    let (id, name) = (
        instance["id"].as_str().unwrap(),
        instance["name"].as_str().unwrap(),
    );
    let base = format!("/api/instances/{id}");

    let lines = customer
        .get(&format!("{base}/logs?lines=5"))
        .await
        .data(200);
    let lines = lines.as_array().unwrap();
    assert!(!lines.is_empty() && lines.len() <= 5, "{lines:#?}");
    assert!(
        lines[0]["pod"].as_str().unwrap().starts_with(name),
        "{lines:#?}"
    );
    let path = format!("{base}/logs?follow=true&lines=3");
    let told = Followed::open(&customer, &path, None).await.next().await;
    assert!(!told.text.is_empty());

    let events = customer
        .get(&format!("{base}/events?limit=100"))
        .await
        .data(200);
    let events = events.as_array().unwrap();
    let of = |origin: &str| events.iter().filter(|one| one["origin"] == origin).count();
    assert!(of("SHOP") >= 2 && of("CLUSTER") >= 1, "{events:#?}");
    assert!(
        events.iter().all(|one| one["detail"].is_null()),
        "{events:#?}"
    );
    let admin = shop.admin().await;
    let path = format!("/api/admin/instances/{id}/events?limit=100");
    let full = admin.get(&path).await.data(200);
    let detailed = full
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["detail"].is_string());
    assert!(detailed.count() >= of("CLUSTER"), "{full:#}");
    customer.get(&path).await.fails(403, "FORBIDDEN");

    let evidence = evidence(&customer, &admin, id).await;
    let lines = evidence["logs"].as_array().unwrap();
    assert!(!lines.is_empty(), "{evidence:#}");
    assert_eq!(evidence["logsMissing"], Value::Null);
    let events = evidence["events"].as_array().unwrap();
    let has = |origin: &str| events.iter().any(|one| one["origin"] == origin);
    assert!(has("SHOP") && has("CLUSTER"), "{evidence:#}");

    let path = format!("/api/subscriptions/{subscription}/metrics");
    let mut usage = customer.get(&path).await.data(200);
    for _ in 0..50 {
        if usage["usage"].is_object() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        usage = customer.get(&path).await.data(200);
    }
    let amount = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap();
    assert!(amount("/usage/memoryBytes") > 0);
    assert!(
        amount("/usage/memoryBytes") <= amount("/limits/memoryBytes"),
        "{usage:#}"
    );
    assert_eq!(usage["pods"].as_array().unwrap().len(), 1);

    let credentials = customer.get(&format!("{base}/credentials")).await.data(200);
    let fields = credentials["fields"].as_array().unwrap().iter();
    let secrets = fields.filter(|field| field["isSecret"] == true);
    let secrets: Vec<_> = secrets
        .map(|field| field["value"].as_str().unwrap())
        .collect();
    assert!(!secrets.is_empty());
    let kept = evidence.to_string();
    assert!(!secrets.iter().any(|secret| kept.contains(secret)));
    for path in [
        format!("{base}/events?limit=100"),
        format!("{base}/manifests"),
        format!("{base}/logs?lines=1000"),
        path,
        base,
    ] {
        let answer = customer.get(&path).await;
        let shown = secrets.iter().any(|secret| answer.text.contains(secret));
        assert!(!shown, "{path} shows a secret");
    }
    let path = format!("/api/subscriptions/{subscription}");
    customer.delete(&path).await.data(200);
    shop.instance_becomes(&customer, id, "TERMINATED").await;
    let gone = customer.get(&format!("/api/instances/{id}/logs")).await;
    gone.fails(409, "INVALID_STATE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_cluster_the_own_events_remain_and_the_rest_is_refused() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let customer = shop
        .customer_with_credit("tanpa-klaster@example.com", 200_000)
        .await;
    let other = shop.customer("orang-asing@example.com").await;
    let (subscription, instance) = buy(&shop, &customer).await;
    let id = instance["id"].as_str().unwrap();
    let metrics = format!("/api/subscriptions/{subscription}/metrics");
    let logs = format!("/api/instances/{id}/logs");
    for path in [&logs, &format!("{logs}?follow=true"), &metrics] {
        customer.get(path).await.fails(409, "NO_CLUSTER");
        other.get(path).await.fails(404, "NOT_FOUND");
        shop.client().get(path).await.fails(401, "UNAUTHENTICATED");
    }
    for query in ["lines=0", "lines=1001", "follow=maybe", "since=1"] {
        let answer = customer.get(&format!("{logs}?{query}")).await;
        answer.fails(400, "VALIDATION_FAILED");
    }
    let path = format!("/api/instances/{id}/events");
    let events = customer.get(&format!("{path}?limit=1&page=2")).await;
    assert_eq!(events.body["pagination"]["totalItems"], 2);
    assert!(events.text.contains("not among them"), "{}", events.text);
    let events = events.data(200);
    assert_eq!(
        (&events[0]["origin"], &events[0]["status"]),
        (&json!("SHOP"), &json!("PENDING"))
    );
    other.get(&path).await.fails(404, "NOT_FOUND");
    let unknown = "/api/admin/instances/00000000-0000-0000-0000-000000000009/events";
    shop.admin()
        .await
        .get(unknown)
        .await
        .fails(404, "NOT_FOUND");

    // That it is over comes before what the server cannot measure.
    let path = format!("/api/subscriptions/{subscription}");
    customer.delete(&path).await.data(200);
    customer.get(&metrics).await.fails(409, "INVALID_STATE");
    other.get(&metrics).await.fails(404, "NOT_FOUND");
}

/// Log of a pretended pod, which grows while it is read.
#[derive(Clone)]
struct GrowingLog(Arc<watch::Sender<Vec<String>>>);

impl GrowingLog {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    /// Writes a line; all lines are of one second, which is as exact as a cluster reads `sinceTime`.
    fn write(&self, number: u32) {
        let line = format!("2026-01-01T00:00:00.{number:03}Z line {number}\n");
        self.0.send_modify(|lines| lines.push(line));
    }

    /// Answers as a cluster does: with the newest lines, as many as are asked for, and then with each that is
    /// written.
    fn read(&self, asked: &HashMap<String, String>) -> Body {
        let tail = asked.get("tailLines");
        let tail = tail.map_or(usize::MAX, |tail| tail.parse().unwrap());
        let first = self.0.borrow().len().saturating_sub(tail);
        let start = (first, self.0.subscribe());
        let lines = stream::unfold(start, |(at, mut written)| async move {
            let line = written.wait_for(|lines| lines.len() > at).await.ok()?[at].clone();
            Some((Ok::<_, Infallible>(line), (at + 1, written)))
        });
        Body::from_stream(lines)
    }

    fn route(&self) -> MethodRouter {
        let log = self.clone();
        get(move |Query(asked): Query<HashMap<String, String>>| async move { log.read(&asked) })
    }
}

/// Restarts a shop on a pretended cluster, whose access is in the folder.
async fn restarted_on(shop: Shop, kubeconfig: PathBuf) -> Shop {
    let shop = shop.restart_with(|config| {
        config.provisioning.provisioner = Choice::Kubernetes;
        config.provisioning.kubeconfig = Some(kubeconfig);
    });
    shop.await.unwrap()
}

/// Serves an instance's pod, its log, and an event about it, and nothing else; returns the address.
async fn serve_pod(instance: &Value, log: MethodRouter, told: String) -> String {
    let text = |field: &str| instance[field].as_str().unwrap();
    let pod = format!("{}-0", text("name"));
    let pods = json!({ "items": [{
        "metadata": { "name": pod }, "spec": { "containers": [{ "name": "app" }] },
    }] });
    let events = json!({ "items": [{
        "metadata": {}, "involvedObject": { "kind": "Pod", "name": pod }, "reason": "Unhealthy",
        "message": told, "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
    }] });
    let namespace = format!("/api/v1/namespaces/{}", text("namespace"));
    let router = Router::new()
        .route(
            &format!("{namespace}/pods"),
            get(|| async move { Json(pods) }),
        )
        .route(&format!("{namespace}/pods/{pod}/log"), log)
        .route(
            &format!("{namespace}/events"),
            get(|| async move { Json(events) }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// An application may write its password into its log, and a cluster into an event.
async fn what_an_application_tells_of_its_secrets_is_masked_in_evidence(shop: Shop) {
    let customer = shop
        .customer_with_credit("ceroboh@example.com", 200_000)
        .await;
    let (_, instance) = buy(&shop, &customer).await;
    let id = instance["id"].as_str().unwrap();
    let path = format!("/api/instances/{id}/credentials");
    let access = customer.get(&path).await.data(200);
    let fields = access["fields"].as_array().unwrap().iter();
    let secrets = fields.filter(|field| field["isSecret"] == true);
    let secrets = secrets.map(|field| field["value"].as_str().unwrap());
    // Others, such as addresses, are made of the shortest.
    let secret = secrets.min_by_key(|secret| secret.len()).unwrap();

    let encoded = STANDARD.encode(format!("app:{secret}"));
    let log = format!(
        "2026-01-01T00:00:00Z password={secret} is wrong\n2026-01-01T00:00:01Z Basic {encoded}\n"
    );
    let told = format!("Probe failed: no {secret}.");
    let folder = tempfile::tempdir().unwrap();
    let log = get(|| async move { log });
    let kubeconfig = kubeconfig_of(folder.path(), &serve_pod(&instance, log, told).await);
    let shop = restarted_on(shop, kubeconfig).await;
    let customer = customer.moved_to(shop.client());
    let kept = evidence(&customer, &shop.admin().await, id).await;
    assert_eq!(
        kept["logs"][0]["text"], "password=****** is wrong",
        "{kept:#}"
    );
    let basic = kept["logs"][1]["text"].as_str().unwrap();
    assert!(
        basic.starts_with("Basic ") && basic.contains("******"),
        "{basic}"
    );
    let events = kept["events"].as_array().unwrap();
    let of_cluster = events.iter().find(|event| event["origin"] == "CLUSTER");
    let of_cluster = of_cluster.unwrap().to_string();
    assert!(
        of_cluster.contains("Probe failed: no ******."),
        "{of_cluster}"
    );
    let logs = customer.get(&format!("/api/instances/{id}/logs")).await;
    assert_eq!(logs.status, 200, "{}", logs.text);
    for shown in [kept.to_string(), logs.text] {
        assert!(
            !shown.contains(secret) && !shown.contains(&encoded),
            "{shown}"
        );
    }
}

/// Lines come as they are written, and a client that comes back is sent each of those that it missed, also of more
/// than it began with.
async fn a_followed_log_goes_on_where_it_was_left(shop: Shop) {
    let customer = shop
        .customer_with_credit("pembaca@example.com", 200_000)
        .await;
    let (_, instance) = buy(&shop, &customer).await;
    let log = GrowingLog::new();
    let folder = tempfile::tempdir().unwrap();
    let address = serve_pod(&instance, log.route(), String::new()).await;
    let shop = restarted_on(shop, kubeconfig_of(folder.path(), &address)).await;
    let customer = customer.moved_to(shop.client());
    let id = instance["id"].as_str().unwrap();
    let path = format!("/api/instances/{id}/logs?follow=true&lines=2");

    (1..=3).for_each(|number| log.write(number));
    let mut followed = Followed::open(&customer, &path, None).await;
    assert_eq!(followed.next().await.text, "line 2");
    assert_eq!(followed.next().await.text, "line 3");
    log.write(4);
    let seen = followed.next().await;
    assert_eq!(seen.text, "line 4");
    drop(followed);

    (5..=8).for_each(|number| log.write(number));
    let mut followed = Followed::open(&customer, &path, Some(&seen.id)).await;
    for number in 5..=8 {
        assert_eq!(followed.next().await.text, format!("line {number}"));
    }
    log.write(9);
    assert_eq!(followed.next().await.text, "line 9");
}
