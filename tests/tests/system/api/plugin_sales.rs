//! Tests of services whose sale ends with the retirement of their plugin.

use dermaga_runtime::fixtures::ServiceFixture;
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use super::{
    categories::{self, category},
    services::{because, new_plan, path_of, service},
};

const PLUGIN: &str = "/api/admin/plugins/service-fixture";
const MADE: [&str; 3] = ["satu", "dua", "tiga"];

both_engines!(Shop, [services_are_sold_again_with_another_version]);

async fn install(admin: &Client, number: &str) {
    let mut fixture = ServiceFixture::default();
    fixture.about.version = number.to_owned();
    let staged = admin.upload(fixture.component()).await.data(201);
    let digest = json!({ "digest": staged["digest"] });
    let path = format!("{PLUGIN}/activate");
    admin.post(&path, digest).await.data(200);
}

async fn states(admin: &Client) -> [Value; 3] {
    let mut states = [Value::Null, Value::Null, Value::Null];
    for (slug, state) in MADE.iter().zip(&mut states) {
        *state = service(admin, slug).await["state"].clone();
    }
    states
}

/// They come back without a reload, but for those that are off sale for another reason, too.
async fn services_are_sold_again_with_another_version(shop: Shop) {
    let admin = shop.admin().await;
    let web = category("web", &Value::Null, 0);
    admin.post(categories::PATH, web).await.data(201);
    install(&admin, "1.0.0").await;
    for slug in MADE {
        let new = because(json!({
            "slug": slug, "category": "web", "plugin": "service-fixture", "name": "Fixture",
            "summary": "For tests.", "description": "For tests.",
            "images": { "app": "docker.io/library/nginx:1.29.3" },
            "plans": [new_plan("one", "BASIC", 50_000)],
        }));
        admin.post("/api/admin/services", new).await.data(201);
    }
    let refuse = "UPDATE services SET refused = 'The template is wrong.' WHERE slug = 'dua'";
    assert_eq!(shop.sql(refuse).await.unwrap(), 1);
    let toggle = format!("{}/toggle", path_of(&service(&admin, "tiga").await));
    admin.patch(&toggle, because(json!({}))).await.data(200);
    assert_eq!(states(&admin).await, ["ON_SALE", "REFUSED", "OFF"]);

    let retire = format!("{PLUGIN}/retire?stopSelling=true");
    admin.post(&retire, json!(null)).await.data(200);
    assert_eq!(states(&admin).await, ["REFUSED", "REFUSED", "OFF"]);
    let offer = "/api/catalog/services/satu";
    shop.client().get(offer).await.fails(404, "NOT_FOUND");

    install(&admin, "2.0.0").await;
    assert_eq!(states(&admin).await, ["ON_SALE", "REFUSED", "OFF"]);
    shop.client().get(offer).await.data(200);
    let on = because(json!({ "active": true }));
    let back = admin.patch(&toggle, on).await.data(200);
    assert_eq!(back["state"], "ON_SALE");
}
