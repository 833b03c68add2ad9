//! Tests that the sale of services stays ended once their plugin was retired.

use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use super::{
    services::{because, path_of, service},
    version_moves::other_version,
};

both_engines!(
    Shop,
    [
        a_sale_that_was_ended_stays_so_until_another_version_is_active,
        a_service_that_was_off_sale_is_not_sold_after_the_retirement_of_its_plugin
    ]
);

const PLUGIN: &str = "/api/admin/plugins/service-n8n";

async fn state(admin: &Client) -> Value {
    service(admin, "n8n").await["state"].clone()
}

async fn reload(admin: &Client) -> Value {
    let path = "/api/admin/catalog/reload";
    admin.post(path, because(json!({}))).await.data(200)
}

/// The template is still in its folder, and without an active version nothing could be said against it.
async fn a_sale_that_was_ended_stays_so_until_another_version_is_active(shop: Shop) {
    let admin = shop.admin().await;
    let retire = format!("{PLUGIN}/retire?stopSelling=true");
    admin.post(&retire, json!(null)).await.data(200);
    let refused = service(&admin.in_language(Some("id")), "n8n").await;
    let told = "Plugin `service-n8n` sudah dipensiunkan.";
    assert_eq!(refused["refused"], told);

    let loaded = reload(&admin).await;
    let why = &loaded["refused"][0];
    let expected = (&json!("n8n"), &json!(false), &json!("plugin"));
    assert_eq!(
        (
            &why["service"],
            &why["soldAsBefore"],
            &why["problems"][0]["key"]
        ),
        expected,
        "{loaded:#}"
    );
    assert_eq!(state(&admin).await, "REFUSED");
    let reset = format!("{}/reset", path_of(&refused));
    let kept = admin.post(&reset, because(json!({}))).await;
    kept.fails(409, "INVALID_STATE");
    assert_eq!(state(&admin).await, "REFUSED");

    let shop = shop.restart().await;
    let admin = shop.admin().await;
    assert_eq!(state(&admin).await, "REFUSED");

    let staged = admin.upload(other_version()).await.data(201);
    let body = json!({ "digest": staged["digest"] });
    let activate = format!("{PLUGIN}/activate");
    admin.post(&activate, body).await.data(200);
    let loaded = reload(&admin).await;
    assert_eq!(loaded["refused"], json!([]), "{loaded:#}");
    assert_eq!(state(&admin).await, "ON_SALE");
}

async fn a_service_that_was_off_sale_is_not_sold_after_the_retirement_of_its_plugin(shop: Shop) {
    let admin = shop.admin().await;
    let toggle = format!("{}/toggle", path_of(&service(&admin, "n8n").await));
    let switch = |active: bool| admin.patch(&toggle, because(json!({ "active": active })));
    switch(false).await.data(200);
    admin
        .post(&format!("{PLUGIN}/retire"), json!(null))
        .await
        .data(200);
    switch(true).await.data(200);
    assert_eq!(state(&admin).await, "REFUSED");
    let offered = shop.client().get("/api/catalog/services/n8n").await;
    offered.fails(404, "NOT_FOUND");
}
