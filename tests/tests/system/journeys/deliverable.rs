//! Tests that purchases and upgrades render before they charge, so that refused manifests are not
//! sold.

use dermaga_runtime::fixtures::ServiceFixture;
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

/// Builds a plugin for N8N whose manifests no plan allows.
fn n8n_on_the_host(version: &str) -> Vec<u8> {
    let pod = json!({ "hostNetwork": true, "containers": [{ "name": "app", "image": "docker.io/library/nginx:1.29.3" }] });
    let labels = json!({ "app": "n8n" });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "n8n" },
        "spec": { "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels }, "spec": pod } },
    });
    let mut fixture = ServiceFixture {
        manifests: vec![deployment],
        ..ServiceFixture::default()
    };
    fixture.about.id = "service-n8n".to_owned();
    fixture.about.version = version.to_owned();
    fixture.component()
}

async fn put_in_place(shop: &Shop, component: &[u8]) -> String {
    let digest = shop.put_in_place("service-n8n", component).await;
    shop.state().plugins.refresh().await.unwrap();
    digest
}

async fn belongings(shop: &Shop, customer: &Client) -> Value {
    let wallet = customer.get("/api/wallet/info").await.data(200);
    let transactions = customer.get("/api/wallet/transactions").await;
    let quota = shop.plan_view("n8n", "basic").await["availableQuota"].clone();
    let more = shop.plan_view("n8n", "pro").await["availableQuota"].clone();
    json!([
        wallet["totalBalance"],
        transactions.body["pagination"]["totalItems"],
        quota,
        more
    ])
}

/// Reads the offers that administrators are told cannot be sold.
async fn alarmed(shop: &Shop) -> Vec<String> {
    let path = "/api/admin/alerts?state=OPEN&kind=OFFER_NOT_DELIVERABLE";
    let alerts = shop.admin().await.get(path).await.data(200);
    let subjects = alerts.as_array().unwrap().iter();
    subjects
        .map(|alert| alert["subject"].as_str().unwrap().to_owned())
        .collect()
}

both_engines!(Shop, [nothing_is_charged_for_what_the_gate_refuses]);

/// The gate refuses the manifests: the answer says so, nothing is charged or reserved, and an
/// administrator can replay the decision.
async fn nothing_is_charged_for_what_the_gate_refuses(shop: Shop) {
    let customer = shop
        .customer_with_credit("gerbang@example.com", 500_000)
        .await;
    let (basic, pro) = (
        shop.plan("n8n", "basic").await,
        shop.plan("n8n", "pro").await,
    );
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": basic }))
        .await
        .data(201);
    let instance = bought["instanceId"].as_str().unwrap().to_owned();
    shop.instance_becomes(&customer, &instance, "RUNNING").await;
    let refused = put_in_place(&shop, &n8n_on_the_host("9.0.0")).await;
    let before = belongings(&shop, &customer).await;

    customer
        .post("/api/subscriptions/validate", json!({ "planId": basic }))
        .await
        .fails(503, "NOT_DELIVERABLE");
    let answer = customer
        .with_key("gerbang")
        .post("/api/subscriptions", json!({ "planId": basic }))
        .await;
    let message = answer.fails(503, "NOT_DELIVERABLE").body["message"]
        .as_str()
        .unwrap();
    assert_eq!(
        message,
        "N8N Basic cannot be set up at the moment. Nothing was charged."
    );
    let decision = answer.detail("decision").unwrap();
    let replay = shop
        .admin()
        .await
        .post(
            &format!("/api/admin/decisions/{decision}/replay"),
            json!(null),
        )
        .await;
    assert_eq!(replay.data(200)["identical"], true);
    assert_eq!(belongings(&shop, &customer).await, before);
    assert_eq!(
        alarmed(&shop).await,
        ["n8n/basic"],
        "a preview alone alarms nobody"
    );

    // The same for an instance that was moved to that version behind the shop's back.
    let moved = format!("UPDATE instances SET plugin_digest = '{refused}'");
    shop.rewrite(&[moved]).await.unwrap();
    let path = format!(
        "/api/subscriptions/{}/upgrade",
        bought["subscription"]["id"].as_str().unwrap()
    );
    customer
        .put(&path, json!({ "planId": pro }))
        .await
        .fails(503, "NOT_DELIVERABLE");
    customer
        .post(&format!("{path}-quote"), json!({ "planId": pro }))
        .await
        .fails(503, "NOT_DELIVERABLE");
    assert_eq!(belongings(&shop, &customer).await, before);

    // With a repaired plugin, the same request with the same key buys.
    put_in_place(&shop, &crate::journeys::overdue::n8n()).await;
    customer
        .with_key("gerbang")
        .post("/api/subscriptions", json!({ "planId": basic }))
        .await
        .data(201);
    assert_eq!(alarmed(&shop).await, ["n8n/pro"]);
    shop.books_balance().await;
}
