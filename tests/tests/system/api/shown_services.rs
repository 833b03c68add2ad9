//! Tests of what searches and lists of services show, to everyone and to administrators.

use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use super::services::{because, path_of, plan_of, service};

both_engines!(
    Shop,
    [
        a_search_is_within_a_category_and_what_is_put_forward,
        a_service_names_its_plugin_and_the_sizes_of_its_plans,
        administrators_filter_services_and_count_their_states
    ]
);

/// Returns the slugs that a list shows, in the order of the alphabet.
async fn shown(client: &Client, path: &str) -> Vec<String> {
    let answer = client.get(path).await;
    let total = answer.body["pagination"]["totalItems"].clone();
    let found = answer.data(200);
    let found = found.as_array().unwrap().iter();
    let slugs = found.map(|one| one["slug"].as_str().unwrap().to_owned());
    let mut slugs: Vec<_> = slugs.collect();
    slugs.sort();
    assert_eq!(total, slugs.len(), "{path}");
    slugs
}

async fn a_search_is_within_a_category_and_what_is_put_forward(shop: Shop) {
    let none: [&str; 0] = [];
    for (query, expected) in [
        ("category=databases", &["postgresql", "valkey"][..]),
        ("category=content-management", &["ghost", "wordpress"]),
        ("category=nothing", &none),
        ("featured=true", &["ghost", "n8n", "wordpress"]),
        ("featured=false", &["postgresql", "uptime-kuma", "valkey"]),
        ("category=databases&featured=true", &none),
        (
            "category=content-management&featured=true&q=ghost",
            &["ghost"],
        ),
        ("category=databases&q=n8n", &none),
    ] {
        let path = format!("/api/catalog/search?{query}");
        assert_eq!(shown(shop.client(), &path).await, expected, "{query}");
    }
    let path = "/api/catalog/search?featured=perhaps";
    let refused = shop.client().get(path).await;
    refused.fails(400, "VALIDATION_FAILED");
}

async fn a_service_names_its_plugin_and_the_sizes_of_its_plans(shop: Shop) {
    let admin = shop.admin().await;
    let plugin = admin.get("/api/admin/plugins/service-n8n").await.data(200);
    let mut versions = plugin["versions"].as_array().unwrap().iter();
    let active = versions.find(|one| one["digest"] == plugin["active"]);
    let version = &active.unwrap()["version"];
    assert!(version.is_string(), "{plugin:#}");
    let path = "/api/catalog/services/n8n";
    let n8n = shop.client().get(path).await.data(200);
    assert_eq!(
        (&n8n["plugin"]["id"], &n8n["plugin"]["version"]),
        (&json!("service-n8n"), version)
    );
    let size = |cpu: i64, memory: i64, storage: i64| json!({ "cpuMillis": cpu, "memoryMib": memory, "storageGib": storage, "replicas": 1 });
    for (slug, resources) in [
        ("free", size(250, 768, 1)),
        ("basic", size(500, 1024, 5)),
        ("pro", size(1000, 2048, 20)),
    ] {
        assert_eq!(plan_of(&n8n, slug)["resources"], resources, "{slug}");
    }
}

async fn administrators_filter_services_and_count_their_states(shop: Shop) {
    let admin = shop.admin().await;
    let change = async |slug: &str| {
        let found = service(&admin, slug).await;
        (path_of(&found), because(json!({})))
    };
    let (path, body) = change("n8n").await;
    admin.patch(&format!("{path}/toggle"), body).await.data(200);
    let (path, body) = change("ghost").await;
    let retired = admin.delete_with(&path, body).await.data(200);
    assert_eq!(retired["outcome"], "RETIRED");
    shop.sql("UPDATE services SET refused = 'It cannot be read.' WHERE slug = 'valkey'")
        .await
        .unwrap();
    let none: [&str; 0] = [];
    for (query, expected) in [
        ("category=databases", &["postgresql", "valkey"][..]),
        ("category=nothing", &none),
        (
            "plugin=service-container",
            &["uptime-kuma", "valkey", "wordpress"],
        ),
        ("plugin=service-nothing", &none),
        ("state=OFF", &["n8n"]),
        ("state=RETIRED", &["ghost"]),
        ("state=REFUSED", &["valkey"]),
        ("state=ON_SALE", &["postgresql", "uptime-kuma", "wordpress"]),
        ("state=ON_SALE&category=databases", &["postgresql"]),
        ("state=REFUSED&plugin=service-container&q=val", &["valkey"]),
        ("state=OFF&plugin=service-container", &none),
    ] {
        let path = format!("/api/admin/services?{query}");
        assert_eq!(shown(&admin, &path).await, expected, "{query}");
    }
    let statistics = admin.get("/api/admin/services/statistics").await.data(200);
    let fields = ["services", "onSale", "off", "refused", "retired"];
    let numbers = fields.map(|field| statistics[field].as_i64());
    assert_eq!(numbers, [6, 3, 1, 1, 1].map(Some), "{statistics:#}");
    let all = admin.get("/api/admin/services").await.data(200);
    let all = all.as_array().unwrap().iter();
    let plans = all.map(|one: &Value| one["plans"].as_array().unwrap().len());
    assert_eq!(statistics["plans"], plans.sum::<usize>());
}
