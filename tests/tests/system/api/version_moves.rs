//! Tests of moving instances from one version of their plugin to another, and back.

use std::{fs, time::Duration};

use dermaga_shop::{
    audit::By,
    db::Conn,
    execute, fetch_one,
    ids::UserId,
    provisioning::{
        carry_out,
        version_moves::{MOST_AT_ONCE, Order, Target},
    },
    time_budget::TimeBudget,
};
use dermaga_tests::{Client, Engine, Shop, both_engines, plugins_folder};
use serde_json::{Value, json};

use crate::races::checks::meanwhile;

const KNOWN: &[u8] = b"N8N_DIAGNOSTICS_ENABLED";
const OTHER: &[u8] = b"N8N_DIAGNOSTICS_DISABLE";
const VERSION: &[u8] = b"0.1.0";
const NEXT: &[u8] = b"0.1.9";
const REASON: &str = "The new version mends a leak.";

/// Returns N8N's plugin as its next version, with one variable renamed.
pub(super) fn other_version() -> Vec<u8> {
    let mut component = fs::read(plugins_folder().join("service-n8n.wasm")).unwrap();
    replace(&mut component, KNOWN, OTHER);
    replace(&mut component, VERSION, NEXT);
    component
}

fn replace(component: &mut [u8], old: &[u8], new: &[u8]) {
    let mut found = 0;
    for at in 0..component.len() - old.len() {
        // An @ before the version means that it is the contract's.
        if &component[at..at + old.len()] == old && (at == 0 || component[at - 1] != b'@') {
            component[at..at + old.len()].copy_from_slice(new);
            found += 1;
        }
    }
    assert!(found > 0, "the plugin does not say {old:?} any more");
}

/// Uploads and activates the other version; returns the digests of the first and the other.
async fn install_other(admin: &Client) -> (String, String) {
    let plugin = admin.get("/api/admin/plugins/service-n8n").await.data(200);
    let first = plugin["active"].as_str().unwrap().to_owned();
    let staged = admin.upload(other_version()).await.data(201);
    let other = staged["digest"].as_str().unwrap().to_owned();
    let body = json!({ "digest": other });
    admin
        .post("/api/admin/plugins/service-n8n/activate", body)
        .await
        .data(200);
    (first, other)
}

/// Buys a free N8N and waits until it runs; returns subscription and instance.
async fn bought(shop: &Shop, customer: &Client) -> (String, String) {
    let plan = shop.plan("n8n", "free").await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    let id = bought["instanceId"].as_str().unwrap().to_owned();
    shop.instance_becomes(customer, &id, "RUNNING").await;
    let subscription = bought["subscription"]["id"].as_str().unwrap();
    (subscription.to_owned(), id)
}

/// Waits until the applied manifests contain this word.
async fn applied_becomes(customer: &Client, instance: &str, word: &str) {
    for _ in 0..400 {
        let path = format!("/api/instances/{instance}/manifests");
        if customer.get(&path).await.text.contains(word) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{word} is never applied");
}

fn outcomes(moves: &Value) -> Vec<&str> {
    let instances = moves["instances"].as_array().unwrap().iter();
    instances
        .map(|moved| moved["outcome"].as_str().unwrap())
        .collect()
}

both_engines!(
    Shop,
    [
        instances_are_moved_with_a_preview_and_back,
        moves_go_on_where_they_stopped,
        moves_end_by_themselves_when_their_time_is_over,
        moves_are_made_once_and_refused_with_reason
    ]
);

/// Activation moves no instance; a move has a preview, is applied, and can be reversed.
async fn instances_are_moved_with_a_preview_and_back(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("pindah@example.com").await;
    let (_, id) = bought(&shop, &customer).await;
    let (first, other) = install_other(&admin).await;
    let path = "/api/admin/plugins/service-n8n/moves";
    let preview = admin
        .post(path, json!({ "to": other, "dryRun": true }))
        .await
        .data(200);
    assert_eq!(
        (outcomes(&preview), &preview["applied"]),
        (vec!["READY"], &json!(false))
    );
    let moved = &preview["instances"][0];
    assert_eq!(
        (&moved["from"], &moved["restarts"]),
        (&json!(first), &json!(true))
    );
    let diff = moved["diff"].as_str().unwrap();
    assert!(
        diff.contains("-") && diff.contains("N8N_DIAGNOSTICS_DISABLE"),
        "{diff}"
    );
    assert!(
        moved["changes"][0]["paths"]
            .as_array()
            .is_some_and(|paths| !paths.is_empty())
    );
    applied_becomes(&customer, &id, "N8N_DIAGNOSTICS_ENABLED").await;

    let done = admin
        .post(
            path,
            json!({ "to": other, "from": first, "instances": [id], "reason": REASON }),
        )
        .await
        .data(200);
    assert_eq!(outcomes(&done), ["MOVED"]);
    assert_eq!(reasons_of_moves(&admin).await, [json!(REASON)]);
    applied_becomes(&customer, &id, "N8N_DIAGNOSTICS_DISABLE").await;
    shop.instance_becomes(&customer, &id, "RUNNING").await;
    assert!(outcomes(&admin.post(path, json!({ "to": other })).await.data(200)).is_empty());

    admin.post(path, json!({ "to": first })).await.data(200);
    applied_becomes(&customer, &id, "N8N_DIAGNOSTICS_ENABLED").await;
    let reasons = reasons_of_moves(&admin).await;
    assert_eq!(reasons, [Value::Null, json!(REASON)]);
}

/// Returns the reasons of the moves in the audit trail, the newest first.
async fn reasons_of_moves(admin: &Client) -> Vec<Value> {
    let acts = admin.get("/api/admin/audit?act=instance.moved").await;
    let acts = acts.data(200);
    let acts = acts.as_array().unwrap().iter();
    acts.map(|act| act["reason"].clone()).collect()
}

/// A bulk move continues after its first instances, refused or not.
async fn moves_go_on_where_they_stopped(shop: Shop) {
    let admin = shop.admin().await;
    let mut bought_ids = Vec::new();
    for name in ["satu@example.com", "dua@example.com", "tiga@example.com"] {
        let customer = shop.customer(name).await;
        bought_ids.push(bought(&shop, &customer).await.1);
    }
    let (_, other) = install_other(&admin).await;
    let path = "/api/admin/plugins/service-n8n/moves";
    let mut order = json!({ "to": other, "limit": 1, "dryRun": true });
    let mut reached = Vec::new();
    for left in [2, 1, 0] {
        let moves = admin.post(path, order.clone()).await.data(200);
        assert_eq!(
            (outcomes(&moves).len(), &moves["remaining"]),
            (1, &json!(left))
        );
        reached.push(
            moves["instances"][0]["instanceId"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
        order["after"] = moves["next"].clone();
    }
    assert!(order["after"].is_null());
    bought_ids.sort();
    assert_eq!(reached, bought_ids);
    for limit in [0, 101] {
        admin
            .post(path, json!({ "to": other, "limit": limit }))
            .await
            .fails(400, "VALIDATION_FAILED");
    }
}

/// A move without time ends between two instances, says how many are left, and is gone on with.
async fn moves_end_by_themselves_when_their_time_is_over(shop: Shop) {
    let admin = shop.admin().await;
    for name in ["pelan@example.com", "lambat@example.com"] {
        let customer = shop.customer(name).await;
        bought(&shop, &customer).await;
    }
    let (_, other) = install_other(&admin).await;
    let profile = admin.get("/api/user/profile").await.data(200);
    let admin_id: UserId = profile["id"].as_str().unwrap().parse().unwrap();
    let mut order = Order {
        target: Target::Version {
            plugin_id: "service-n8n".to_owned(),
            to: other,
            from: None,
        },
        instances: None,
        after: None,
        limit: MOST_AT_ONCE,
        share: None,
        dry_run: false,
        despite_failures: false,
    };
    let (instances, by) = (&shop.state().instances, By::because(admin_id, REASON));
    let hurried = carry_out(instances, by, &order, TimeBudget::begin(Duration::ZERO));
    let moves = hurried.await.unwrap();
    assert_eq!((moves.instances.len(), moves.remaining), (1, 1));
    let first = moves.instances[0].instance_id;
    assert_eq!(moves.next, Some(first));
    order.after = moves.next;
    let patient = TimeBudget::begin(Duration::from_secs(600));
    let moves = carry_out(instances, by, &order, patient).await.unwrap();
    assert_eq!((moves.instances.len(), moves.remaining), (1, 0));
    assert_ne!(moves.instances[0].instance_id, first);
    assert_eq!(moves.next, None);
}

/// Concurrent requests move an instance once; ending instances and unknown versions are
/// refused.
async fn moves_are_made_once_and_refused_with_reason(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("pindah-banyak@example.com").await;
    let (ended, _) = bought(&shop, &customer).await;
    customer
        .delete(&format!("/api/subscriptions/{ended}"))
        .await
        .data(200);
    let (_, id) = bought(&shop, &customer).await;
    let (first, other) = install_other(&admin).await;
    let path = "/api/admin/plugins/service-n8n/moves";
    let attempts = (0..6).map(|_| admin.post(path, json!({ "to": other })));
    let mut moved = 0;
    for answer in futures::future::join_all(attempts).await {
        let moves = answer.data(200);
        assert!(
            moves["instances"]
                .as_array()
                .unwrap()
                .iter()
                .all(|one| one["instanceId"] == json!(id))
        );
        moved += outcomes(&moves)
            .iter()
            .filter(|outcome| **outcome == "MOVED")
            .count();
    }
    assert_eq!(moved, 1);
    admin
        .post(path, json!({ "to": "0".repeat(64) }))
        .await
        .fails(404, "NOT_FOUND");
    admin
        .post(path, json!({ "to": "short" }))
        .await
        .fails(400, "VALIDATION_FAILED");
    admin
        .post(path, json!({ "to": other, "instances": [] }))
        .await
        .fails(400, "VALIDATION_FAILED");
    admin
        .post(
            "/api/admin/plugins/service-ghost/moves",
            json!({ "to": first }),
        )
        .await
        .fails(404, "NOT_FOUND");
    customer
        .post(path, json!({ "to": other }))
        .await
        .fails(403, "FORBIDDEN");
    let retire = format!("/api/admin/plugins/service-n8n/versions/{first}/retire");
    admin.post(&retire, json!(null)).await.data(200);
    let refused = admin.post(path, json!({ "to": first })).await;
    assert_eq!(
        refused.fails(409, "INVALID_STATE").detail("to"),
        Some(first.as_str())
    );
}

/// A roll looks at its version once, and may take long enough for an administrator to retire it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_moved_to_a_version_that_was_retired_meanwhile_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let admin = shop.admin().await;
    let customer = shop.customer("pensiun@example.com").await;
    bought(&shop, &customer).await;
    let (_, other) = install_other(&admin).await;
    let (client, order) = (admin.clone(), json!({ "to": other }));
    let request = async move {
        let path = "/api/admin/plugins/service-n8n/moves";
        client.post(path, order).await
    };
    let retire = async |conn: &mut Conn| {
        let sql = "UPDATE plugin_versions SET state = 'RETIRED', retired_at = created_at WHERE digest = $1";
        assert_eq!(execute!(conn, sql, other.as_str()).unwrap(), 1);
    };
    let moves = meanwhile(&shop, "UPDATE plugin_versions SET state", retire, request).await;
    let moves = moves.data(200);
    assert_eq!(outcomes(&moves), ["REFUSED"]);
    let reason = moves["instances"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("This version is retired"), "{reason}");
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM instances WHERE plugin_digest = $1";
    let (moved,) = fetch_one!(conn, (i64,), sql, other.as_str()).unwrap();
    assert_eq!(moved, 0);
}
