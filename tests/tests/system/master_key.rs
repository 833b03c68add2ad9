//! The key that instances' secrets are sealed with: a new one is put before it, and without it no server
//! starts.

use dermaga::{app::StartError, config::Secret};
use dermaga_tests::{Client, Engine, Shop};
use serde_json::json;

/// Buys a database and gives the path of its credentials.
async fn buy(shop: &Shop, customer: &Client) -> String {
    let plan = shop.plan("postgresql", "basic").await;
    let order = json!({ "planId": plan });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let id = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(customer, id, "RUNNING").await;
    format!("/api/instances/{id}/credentials")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_key_is_rotated_and_missed() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let first = shop.data_dir().join("master.key");
    let first = std::fs::read_to_string(first).unwrap();
    let (second, third) = ("2".repeat(64), "3".repeat(64));
    let keys = |keys: &[&str]| keys.iter().map(|key| Secret::new(*key)).collect();
    let customer = shop
        .customer_with_credit("kunci@example.com", 100_000)
        .await;
    let old = buy(&shop, &customer).await;
    let shown = customer.get(&old).await.data(200);

    let both = keys(&[&second, &first]);
    let shop = shop
        .restart_with(|config| config.master_keys = both)
        .await
        .unwrap();
    let customer = customer.moved_to(shop.client());
    assert_eq!(customer.get(&old).await.data(200), shown);
    let new = buy(&shop, &customer).await;
    customer.get(&new).await.data(200);

    // Too early: what the first key sealed cannot be shown, the rest goes on.
    let one = keys(&[&second]);
    let shop = shop
        .restart_with(|config| config.master_keys = one)
        .await
        .unwrap();
    let customer = customer.moved_to(shop.client());
    customer.get(&new).await.data(200);
    customer.get(&old).await.fails(500, "INTERNAL");

    let none = keys(&[&third]);
    let refused = shop.restart_with(|config| config.master_keys = none).await;
    let error = refused.expect_err("the server has no key");
    assert!(
        matches!(error, StartError::MasterKey { secrets } if secrets >= 2),
        "{error}"
    );
}
