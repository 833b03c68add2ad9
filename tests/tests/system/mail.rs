//! Tests of a customer's own mail server, whose password only the instance gets to see.

use std::{
    fs,
    path::{Path, PathBuf},
};

use dermaga_shop::provisioning;
use dermaga_tests::{Client, Engine, Shop};
use serde_json::{Value, json};

const PASSWORD: &str = "kata-sandi-surel-pelanggan";
const IN_BASE64: &str = "a2F0YS1zYW5kaS1zdXJlbC1wZWxhbmdnYW4=";

/// Returns every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| self::files(folder)));
    files
}

/// Returns the files below a folder that hold a text.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    files(folder).into_iter().filter(holds).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_of_a_mail_server_is_the_instances_secret() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let customer = shop.customer("surel@example.com").await;
    let server =
        json!({"host": "mail.example", "from": "a@example.com", "user": "a", "password": PASSWORD});
    let mut order = json!({"planId": shop.plan("n8n", "free").await, "config": {"mail": server}});
    let quote = customer
        .post("/api/subscriptions/quote", order.clone())
        .await;
    order["quoteId"] = quote.data(200)["id"].clone();
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let id = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, id, "RUNNING").await;

    let folder = shop.data_dir();
    let plain = holding(folder, PASSWORD);
    assert!(plain.is_empty(), "the password lies in the open: {plain:?}");
    // The folder names the keys of a Secret and hides its values.
    let encoded = holding(folder, IN_BASE64);
    assert!(encoded.is_empty(), "the password lies encoded: {encoded:?}");
    let manifests = holding(&folder.join("manifests"), "N8N_SMTP_PASS");
    assert_eq!(manifests.len(), 1, "{manifests:?}");
    let text = fs::read_to_string(&manifests[0]).unwrap();
    assert!(text.contains("key: mail-password"), "{text}");
    assert!(text.contains("value: mail.example"), "{text}");

    // The mark that is shown in its place keeps the value, and another value replaces it.
    let subscription = bought["subscription"]["id"].as_str().unwrap();
    let path = format!("/api/subscriptions/{subscription}");
    let shown = customer.get(&path).await.data(200)["config"].clone();
    assert_eq!(shown["mail"]["password"], "given");
    let update = format!("/api/instances/{id}/update");
    let kept = customer.put(&update, json!({ "config": shown })).await;
    assert_eq!(kept.data(200)["applied"], false);
    assert_eq!(stored(&shop, &detail(&customer, id).await).await, IN_BASE64);
    let mut changed = shown.clone();
    changed["mail"]["password"] = json!("kata-sandi-kedua");
    let answer = customer.put(&update, json!({ "config": changed })).await;
    assert_eq!(answer.status / 100, 2, "{:#}", answer.body);
    let now = detail(&customer, id).await;
    assert_eq!(stored(&shop, &now).await, "a2F0YS1zYW5kaS1rZWR1YQ==");
    let shown = customer.get(&path).await.data(200)["config"].clone();
    let mark = shown["mail"]["password"].as_str().unwrap();
    assert!(mark.starts_with("given:"), "{mark}");
    shop.instance_becomes(&customer, id, "RUNNING").await;
    let plain = holding(folder, "kata-sandi-kedua");
    assert!(
        plain.is_empty(),
        "the second password lies in the open: {plain:?}"
    );
}

async fn detail(customer: &Client, id: &str) -> Value {
    customer
        .get(&format!("/api/instances/{id}"))
        .await
        .data(200)
}

/// Returns the password that the instance's Secret holds, in Base64.
async fn stored(shop: &Shop, instance: &Value) -> String {
    let state = shop.state();
    let name = instance["name"].as_str().unwrap();
    let vault = &state.instances.vault;
    let mut conn = state.db.read().await.unwrap();
    let secret = provisioning::secret_manifest(&mut conn, vault, name).await;
    let value = &secret.unwrap()["data"]["mail-password"];
    value.as_str().unwrap().to_owned()
}
