//! Tests of plans that the cluster has no room for, on a pretended API server whose nodes and pods a test
//! decides: nodes of a real cluster are shared by all tests.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use dermaga_shop::provisioning::{Choice, capacity::Settings};
use dermaga_tests::{Answer, Client, Engine, Shop, both_engines};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::waitlist::{buy, entry, join};
use crate::settings;

both_engines!(
    Scene,
    [
        a_plan_is_sold_while_a_node_has_room,
        buyers_at_once_get_no_more_than_fits,
        those_who_wait_get_the_room_that_comes_free,
        an_upgrade_needs_room_for_the_difference,
        a_cluster_that_is_away_refuses_nothing
    ]
);

#[derive(Debug, Default)]
struct Objects {
    nodes: Vec<Value>,
    pods: Vec<Value>,
    is_away: bool,
    /// Number of lists of nodes that were asked for.
    asked: usize,
}

/// An API server that lists nodes and pods, and is away for everything else.
struct Nodes {
    address: SocketAddr,
    objects: Arc<Mutex<Objects>>,
    serving: JoinHandle<()>,
    folder: TempDir,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(objects): State<Arc<Mutex<Objects>>>, uri: Uri) -> Response {
    let mut objects = objects.lock().unwrap();
    let items = match uri.path() {
        "/api/v1/nodes" => {
            objects.asked += 1;
            &objects.nodes
        }
        "/api/v1/pods" => &objects.pods,
        _ => return away(),
    };
    if objects.is_away {
        return away();
    }
    Json(json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items }))
        .into_response()
}

fn away() -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the server is not ready", "reason": "ServiceUnavailable", "code": 503,
    });
    (StatusCode::SERVICE_UNAVAILABLE, Json(status)).into_response()
}

impl Nodes {
    /// Starts with one node of so much processor, and a pod of others that takes all of it.
    async fn full(cpu_millis: u32) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let objects = Arc::new(Mutex::new(Objects::default()));
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&objects));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let nodes = Self {
            address,
            objects,
            serving,
            folder: TempDir::new().unwrap(),
        };
        nodes.resize(cpu_millis);
        nodes.take(cpu_millis);
        nodes
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap()
    }

    fn resize(&self, cpu_millis: u32) {
        let node = json!({
            "metadata": { "name": "satu" },
            "spec": {},
            "status": {
                "allocatable": { "cpu": format!("{cpu_millis}m"), "memory": "64Gi", "pods": "110" },
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        });
        self.objects().nodes = vec![node];
    }

    /// Sets what the pods of others ask for.
    fn take(&self, cpu_millis: u32) {
        let amounts = json!({ "cpu": format!("{cpu_millis}m"), "memory": "1Mi" });
        let pod = json!({
            "metadata": { "namespace": "lain", "name": "lain" },
            "spec": { "nodeName": "satu", "containers": [{ "resources": { "requests": amounts } }] },
            "status": { "phase": "Running" },
        });
        self.objects().pods = vec![pod];
    }

    fn kubeconfig(&self) -> PathBuf {
        let path = self.folder.path().join("kubeconfig");
        let server = format!("http://{}", self.address);
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
            "users": [{ "name": "a", "user": { "token": "t" } }],
            "clusters": [{ "name": "a", "cluster": { "server": server } }],
        });
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }
}

/// A shop whose cluster has one node of a whole processor, which is full.
struct Scene {
    shop: Shop,
    nodes: Nodes,
}

impl Scene {
    async fn open(engine: Engine) -> Option<Self> {
        let nodes = Nodes::full(1000).await;
        let path = nodes.kubeconfig();
        let shop = Shop::open_with(engine, |config| {
            config.provisioning.provisioner = Choice::Kubernetes;
            config.provisioning.kubeconfig = Some(path);
            config.provisioning.capacity = Settings {
                check: true,
                headroom: 0,
            };
        })
        .await?;
        let scene = Self { shop, nodes };
        scene.becomes("basic", &json!("CLUSTER_FULL")).await;
        Some(scene)
    }

    async fn becomes(&self, plan: &str, reason: &Value) {
        becomes(&self.shop, plan, reason).await;
    }

    async fn plan(&self, plan: &str) -> String {
        self.shop.plan("valkey", plan).await
    }
}

/// Waits until a plan of the service has this reason not to be bought.
async fn becomes(shop: &Shop, plan: &str, reason: &Value) {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let view = shop.plan_view("valkey", plan).await;
        assert_eq!(view["isAvailable"], view["unavailableReason"].is_null());
        if view["unavailableReason"] == *reason {
            return;
        }
        assert!(Instant::now() < deadline, "still {view:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn validate(customer: &Client, plan: &str) -> Answer {
    let order = json!({ "planId": plan });
    customer.post("/api/subscriptions/validate", order).await
}

/// A full node is told in the catalogue and by every way to buy, and nothing is charged. A place that was
/// bought and is not in the cluster yet is taken.
async fn a_plan_is_sold_while_a_node_has_room(scene: Scene) {
    let Scene { shop, nodes } = &scene;
    let customer = shop.customer_with_credit("penuh@example.com", 50_000).await;
    let plan = scene.plan("basic").await;
    let services = shop.client().get("/api/catalog/services?limit=100").await;
    let services = services.data(200);
    let valkey = services.as_array().unwrap().iter();
    let mut valkey = valkey.filter(|service| service["slug"] == "valkey");
    let plans = valkey.next().unwrap()["plans"].clone();
    let mut shown = plans.as_array().unwrap().iter();
    let shown = shown.find(|plan| plan["slug"] == "basic").unwrap();
    assert_eq!(shown["unavailableReason"], "CLUSTER_FULL", "{shown:#}");
    assert!(shown["availableQuota"].as_i64() > Some(0), "{shown:#}");
    validate(&customer, &plan).await.fails(409, "CLUSTER_FULL");
    buy(&customer, &plan).await.fails(409, "CLUSTER_FULL");
    let user = customer.get("/api/user/profile").await.data(200)["id"].clone();
    let gift = json!({
        "userId": user, "planId": plan, "skipCreditCheck": true, "reason": "A gift of the shop.",
    });
    let admin = shop.admin().await;
    let granted = admin.post("/api/admin/subscriptions", gift).await;
    granted.fails(409, "CLUSTER_FULL");
    let wallet = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(wallet["bonusBalance"], 50_000, "{wallet:#}");

    nodes.take(500);
    scene.becomes("basic", &Value::Null).await;
    validate(&customer, &plan).await.data(200);
    buy(&customer, &plan).await.data(201);
    // Its pod is nowhere yet.
    buy(&customer, &plan).await.fails(409, "CLUSTER_FULL");
    scene.becomes("basic", &json!("CLUSTER_FULL")).await;
    nodes.take(0);
    scene.becomes("basic", &Value::Null).await;
    buy(&customer, &plan).await.data(201);
    shop.books_balance().await;
}

/// Of twelve buyers at the same moment with room for three, three buy.
async fn buyers_at_once_get_no_more_than_fits(scene: Scene) {
    let customers = scene.shop.many_customers(12).await;
    let plan = scene.plan("free").await;
    scene.nodes.take(250);
    scene.becomes("free", &Value::Null).await;
    let statuses: Vec<u16> = stream::iter(customers)
        .map(|customer| {
            let plan = plan.clone();
            async move {
                let answer = buy(&customer, &plan).await;
                if answer.status != 201 {
                    answer.fails(409, "CLUSTER_FULL");
                }
                answer.status
            }
        })
        .buffer_unordered(12)
        .collect()
        .await;
    let bought = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(bought, 3);
    scene.shop.books_balance().await;
}

/// A customer may wait for room, and has the first that comes: it is held, and others find none.
async fn those_who_wait_get_the_room_that_comes_free(scene: Scene) {
    let Scene { shop, nodes } = &scene;
    let plan = scene.plan("free").await;
    let waiting = shop.customer("menunggu@example.com").await;
    let second = shop.customer("berikut@example.com").await;
    join(&waiting, &plan).await.data(201);
    join(&second, &plan).await.data(201);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(entry(&waiting).await["heldUntil"], Value::Null);
    nodes.take(750);
    let deadline = Instant::now() + Duration::from_secs(90);
    while entry(&waiting).await["heldUntil"].is_null() {
        assert!(Instant::now() < deadline, "nothing is held");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Two looks later, one place is held and no more.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(entry(&second).await["heldUntil"], Value::Null);
    let stranger = shop.customer("lain@example.com").await;
    buy(&stranger, &plan).await.fails(409, "CLUSTER_FULL");
    buy(&waiting, &plan).await.data(201);
    buy(&stranger, &plan).await.fails(409, "CLUSTER_FULL");
}

/// A higher plan has to fit in the place of the present one.
async fn an_upgrade_needs_room_for_the_difference(scene: Scene) {
    let Scene { shop, nodes } = &scene;
    let customer = shop
        .customer_with_credit("sempit@example.com", 50_000)
        .await;
    nodes.take(600);
    scene.becomes("free", &Value::Null).await;
    let bought = buy(&customer, &scene.plan("free").await).await.data(201);
    let id = bought["subscription"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/subscriptions/{id}/upgrade");
    let order = json!({ "planId": scene.plan("basic").await });
    let refused = customer.put(&path, order.clone()).await;
    refused.fails(409, "CLUSTER_FULL");
    let kept = customer.get(&format!("/api/subscriptions/{id}")).await;
    assert_eq!(kept.data(200)["plan"], "free");
    nodes.take(500);
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let answer = customer.put(&path, order.clone()).await;
        if answer.status == 200 {
            break;
        }
        answer.fails(409, "CLUSTER_FULL");
        assert!(Instant::now() < deadline, "{:#}", answer.body);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    shop.books_balance().await;
}

async fn a_cluster_that_is_away_refuses_nothing(scene: Scene) {
    scene.nodes.objects().is_away = true;
    scene.becomes("free", &Value::Null).await;
    let customer = scene.shop.customer("sendiri@example.com").await;
    let plan = scene.plan("free").await;
    buy(&customer, &plan).await.data(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_is_asked_for_and_kept_free_as_the_settings_say() {
    let nodes = Nodes::full(1000).await;
    nodes.take(0);
    let path = nodes.kubeconfig();
    let given = |check, headroom| {
        [
            ("DERMAGA_PROVISIONER", "kubernetes"),
            ("KUBECONFIG", path.to_str().unwrap()),
            ("DERMAGA_CAPACITY_CHECK", check),
            ("DERMAGA_CAPACITY_HEADROOM", headroom),
        ]
    };
    let unchecked = settings::shop(&given("false", "60")).await;
    // The first look would be at once.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(nodes.objects().asked, 0);
    becomes(&unchecked, "basic", &Value::Null).await;
    let checked = settings::shop(&given("true", "60")).await;
    becomes(&checked, "basic", &json!("CLUSTER_FULL")).await;
    becomes(&checked, "free", &Value::Null).await;
    let roomy = settings::shop(&given("true", "50")).await;
    let seen = nodes.objects().asked;
    while nodes.objects().asked < seen + 4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    becomes(&roomy, "basic", &Value::Null).await;
}
