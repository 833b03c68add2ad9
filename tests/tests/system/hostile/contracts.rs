//! Tests of plugins for an older contract, and of template settings, in a running shop.

use std::{
    fs,
    path::{Path, PathBuf},
};

use dermaga_tests::{Client, Engine, Shop, checkout};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Returns a component built when 0.1.0 was the newest contract; see the runtime's test of the same
/// name.
fn old(plugin: &str) -> Vec<u8> {
    let folder = checkout().join("host/runtime/tests/contract-0.1.0");
    fs::read(folder.join(format!("{plugin}.wasm"))).unwrap()
}

async fn install(admin: &Client, plugin: &str) -> Value {
    let staged = admin.upload(old(plugin)).await.data(201);
    assert_eq!(staged["contract"], "0.1.0", "{staged:#}");
    let body = json!({ "digest": staged["digest"] });
    let path = format!("/api/admin/plugins/{plugin}/activate");
    admin.post(&path, body).await.data(200);
    staged["digest"].clone()
}

/// Checks that these bytes made the decision under 0.1.0, and that a replay repeats it.
async fn is_replayed(admin: &Client, id: &Value, digest: &Value) {
    let path = format!("/api/admin/decisions/{}", id.as_str().unwrap());
    let decision = admin.get(&path).await.data(200);
    assert_eq!(
        (&decision["contract"], &decision["digest"]),
        (&json!("0.1.0"), digest)
    );
    let replay = admin.post(&format!("{path}/replay"), json!(null)).await;
    assert_eq!(replay.data(200)["identical"], true, "{decision:#}");
}

/// A service and a coupon type built against 0.1.0 are uploaded and sell; their decisions are
/// recorded under their contract and can be replayed. The shop has no other plugins, as a version
/// is one component.
async fn plugins_of_an_older_contract_sell_on(engine: Engine) {
    let nothing = TempDir::new().unwrap();
    let folder = nothing.path().to_owned();
    let Some(shop) = Shop::open_with(engine, |config| config.plugins_dir = Some(folder)).await
    else {
        return;
    };
    let admin = shop.admin().await;
    let coupon = install(&admin, "coupon-credit-topup").await;
    let ghost = install(&admin, "service-ghost").await;
    // Its template was refused at the start, as nothing made the service.
    let reload = json!({ "reason": "Ghost is sold from today on." });
    let loaded = admin.post("/api/admin/catalog/reload", reload).await;
    loaded.data(200);
    let body = json!({ "code": "LAMA", "plugin": "coupon-credit-topup", "parameters": { "amount": 90_000 } });
    admin.post("/api/admin/coupons", body).await.data(201);
    let customer = shop.customer("lama@example.com").await;
    let redeemed = customer
        .post("/api/wallet/redeem-coupon", json!({ "couponCode": "LAMA" }))
        .await
        .data(201);
    is_replayed(&admin, &redeemed["decisionId"], &coupon).await;

    let order = json!({ "planId": shop.plan("ghost", "basic").await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    shop.instance_becomes(&customer, bought["instanceId"].as_str().unwrap(), "RUNNING")
        .await;
    for function in ["check", "price", "manifests", "health"] {
        let path = format!("/api/admin/decisions?plugin=service-ghost&function={function}");
        let decisions = admin.get(&path).await.data(200);
        for decision in decisions.as_array().unwrap() {
            is_replayed(&admin, &decision["id"], &ghost).await;
        }
        let recorded = matches!(function, "price" | "manifests");
        assert!(
            !recorded || !decisions.as_array().unwrap().is_empty(),
            "no {function}"
        );
    }
    shop.books_balance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_of_an_older_contract_sell_on_on_sqlite() {
    plugins_of_an_older_contract_sell_on(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_of_an_older_contract_sell_on_on_postgres() {
    plugins_of_an_older_contract_sell_on(Engine::Postgres).await;
}

/// Copies the templates into a folder, with one of them changed.
fn templates(folder: &Path, name: &str, from: &str, to: &str) -> PathBuf {
    for entry in fs::read_dir(checkout().join("service-templates")).unwrap() {
        let file = entry.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let file = folder.join(name);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{name} says {from}");
    fs::write(&file, text.replace(from, to)).unwrap();
    folder.to_owned()
}

/// An instance keeps the template's settings of its purchase.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_stay_with_the_instance_that_was_made_with_them() {
    let folder = TempDir::new().unwrap();
    let untouched = templates(
        folder.path(),
        "valkey.toml",
        "startup_seconds = 600",
        "startup_seconds = 600",
    );
    let shop = Shop::open_with(Engine::Sqlite, |config| {
        config.templates_dir = Some(untouched);
    })
    .await
    .unwrap();
    let customer = shop.customer_with_credit("awet@example.com", 100_000).await;
    let buy = async |shop: &Shop, customer: &Client| {
        let order = json!({ "planId": shop.plan("valkey", "basic").await });
        let bought = customer.post("/api/subscriptions", order).await.data(201);
        let id = bought["instanceId"].as_str().unwrap().to_owned();
        shop.instance_becomes(customer, &id, "RUNNING").await;
        id
    };
    let command = async |customer: &Client, id: &str| {
        let path = format!("/api/instances/{id}/manifests");
        customer.get(&path).await.data(200).to_string()
    };
    let first = buy(&shop, &customer).await;
    let before = command(&customer, &first).await;
    assert!(before.contains("--appendonly yes"), "{before}");

    templates(
        folder.path(),
        "valkey.toml",
        "--appendonly yes",
        "--appendonly no",
    );
    let shop = shop.restart().await;
    let customer = customer.moved_to(shop.client());
    let second = buy(&shop, &customer).await;
    assert!(
        command(&customer, &second)
            .await
            .contains("--appendonly no")
    );
    assert_eq!(command(&customer, &first).await, before);
}
