//! Tests of plans that the cluster has no room for, on a pretended API server whose nodes and pods a test
//! decides: nodes of a real cluster are shared by all tests, but for those that one test fills.

mod nodes;
mod real_node;

use std::time::{Duration, Instant};

use dermaga_shop::provisioning::{Choice, Pods, Toleration, capacity::Settings};
use dermaga_tests::{Answer, Client, Engine, Shop, both_engines};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use self::nodes::Nodes;
use super::waitlist::{buy, entry, join, settle};
use crate::settings;

both_engines!(
    Scene,
    [
        a_plan_is_sold_while_a_node_has_room,
        buyers_at_once_get_no_more_than_fits,
        those_who_wait_get_the_room_that_comes_free,
        an_upgrade_needs_room_for_the_difference,
        a_cluster_that_is_away_refuses_nothing,
        a_cluster_that_comes_back_is_looked_at_again,
        nothing_is_listed_again_while_a_watch_works
    ]
);

/// A shop whose cluster has one node of a whole processor, which is full.
struct Scene {
    shop: Shop,
    nodes: Nodes,
}

impl Scene {
    async fn open(engine: Engine) -> Option<Self> {
        Self::open_with(engine, Pods::default()).await
    }

    /// Opens a shop whose operator decided this about the pods of customers.
    async fn open_with(engine: Engine, pods: Pods) -> Option<Self> {
        let nodes = Nodes::full(1000).await;
        let path = nodes.kubeconfig();
        let shop = Shop::open_with(engine, |config| {
            config.provisioning.provisioner = Choice::Kubernetes;
            config.provisioning.kubeconfig = Some(path);
            config.provisioning.classes.pods = pods;
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

/// Waits until a server has looked at its cluster, from the beginning of a look to its end.
async fn looked(shop: &Shop) {
    let recorder = shop.state().db.record();
    let is_seen = || {
        let mut sent = recorder.statements().into_iter();
        sent.any(|one| one.file.ends_with("provisioning/capacity/store.rs"))
    };
    // The first may have begun before, and the second has ended when the third one reads.
    for _ in 0..3 {
        recorder.clear();
        let deadline = Instant::now() + Duration::from_secs(90);
        while !is_seen() {
            assert!(Instant::now() < deadline, "nothing is looked at");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn validate(customer: &Client, plan: &str) -> Answer {
    let order = json!({ "planId": plan });
    customer.post("/api/subscriptions/validate", order).await
}

/// The catalogue and every way to buy say that the node is full, and nothing is charged. A place that was
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
    settle(shop).await;
    assert_eq!(entry(&waiting).await["heldUntil"], Value::Null);
    nodes.take(750);
    let deadline = Instant::now() + Duration::from_secs(90);
    while entry(&waiting).await["heldUntil"].is_null() {
        assert!(Instant::now() < deadline, "nothing is held");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // With the room that is left, one place is held and no more.
    looked(shop).await;
    settle(shop).await;
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

async fn a_cluster_that_comes_back_is_looked_at_again(scene: Scene) {
    scene.nodes.objects().is_away = true;
    scene.becomes("basic", &Value::Null).await;
    scene.nodes.objects().is_away = false;
    scene.becomes("basic", &json!("CLUSTER_FULL")).await;
    // Its changes are followed again, too.
    scene.nodes.take(0);
    scene.becomes("basic", &Value::Null).await;
}

/// A large cluster at rest costs nothing: after the first lists only changes are read.
async fn nothing_is_listed_again_while_a_watch_works(scene: Scene) {
    let lists = || {
        let objects = scene.nodes.objects();
        (objects.asked, objects.asked_for_pods)
    };
    assert_eq!(lists(), (1, 1));
    scene.nodes.take(0);
    scene.becomes("basic", &Value::Null).await;
    looked(&scene.shop).await;
    scene.nodes.take(1000);
    scene.becomes("basic", &json!("CLUSTER_FULL")).await;
    assert_eq!(lists(), (1, 1));
}

/// Pods that the operator sends to nodes of their own, and lets request half of their limits, have the room
/// of these nodes, and need half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_is_that_of_the_nodes_that_the_operator_chose() {
    let pods = Pods {
        node_selector: [("pool".to_owned(), "customers".to_owned())].into(),
        tolerations: vec![Toleration {
            key: "pool".to_owned(),
            value: Some("customers".to_owned()),
            effect: None,
        }],
        request_percent: Some(50),
        ..Pods::default()
    };
    let scene = Scene::open_with(Engine::Sqlite, pods).await.unwrap();
    let nodes = &scene.nodes;
    nodes.take(0);
    // The one node is not among those that were chosen.
    looked(&scene.shop).await;
    scene.becomes("basic", &json!("CLUSTER_FULL")).await;
    let labels = json!({ "pool": "customers" });
    let taint = |key: &str| json!([{ "key": key, "value": "customers", "effect": "NoSchedule" }]);
    nodes.set_apart(&labels, &taint("pool"));
    scene.becomes("basic", &Value::Null).await;
    nodes.set_apart(&labels, &taint("gpu"));
    scene.becomes("basic", &json!("CLUSTER_FULL")).await;
    nodes.set_apart(&labels, &Value::Null);
    // Half of 500m is needed, and not all of it.
    nodes.take(800);
    looked(&scene.shop).await;
    scene.becomes("basic", &json!("CLUSTER_FULL")).await;
    nodes.take(700);
    scene.becomes("basic", &Value::Null).await;
    let customer = scene
        .shop
        .customer_with_credit("setengah@example.com", 50_000)
        .await;
    let plan = scene.plan("basic").await;
    buy(&customer, &plan).await.data(201);
    buy(&customer, &plan).await.fails(409, "CLUSTER_FULL");
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
    // Room that is not looked at has no headroom.
    let [rest @ .., _] = given("false", "60");
    let unchecked = settings::shop(&rest).await;
    becomes(&unchecked, "basic", &Value::Null).await;
    let checked = settings::shop(&given("true", "60")).await;
    becomes(&checked, "basic", &json!("CLUSTER_FULL")).await;
    becomes(&checked, "free", &Value::Null).await;
    // The one that was opened before would have listed before.
    assert_eq!(nodes.objects().asked, 1);
    let roomy = settings::shop(&given("true", "50")).await;
    looked(&roomy).await;
    becomes(&roomy, "basic", &Value::Null).await;
}
