//! Tests that a reset brings back what a template says, and nothing else.

use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

use super::services::{acts, because, images, new_plan, path_of, plan_of, plan_path, service};

both_engines!(
    Shop,
    [
        a_plan_without_a_template_keeps_its_edits,
        a_plan_that_was_deleted_does_not_come_back
    ]
);

async fn a_plan_without_a_template_keeps_its_edits(shop: Shop) {
    let admin = shop.admin().await;
    let path = path_of(&service(&admin, "valkey").await);
    let body = because(json!({ "plan": new_plan("giant", "ENTERPRISE", 900_000) }));
    admin.post(&format!("{path}/plans"), body).await.data(201);
    let valkey = service(&admin, "valkey").await;
    let usual = plan_of(&valkey, "basic")["monthlyPrice"].clone();
    let dear = || because(json!({ "monthlyPrice": 950_000 }));
    for slug in ["giant", "basic"] {
        let edited = admin.put(&plan_path(&valkey, slug), dear()).await;
        assert_eq!(edited.data(200)["edited"], json!(["monthlyPrice"]));
    }

    let reset = format!("{path}/reset");
    for (told, plans) in [
        (
            "As the template says again: basic: monthlyPrice.",
            json!([{ "plan": "basic", "edited": ["monthlyPrice"] }]),
        ),
        ("Nothing was changed: no field had been edited.", json!([])),
    ] {
        let back = admin.post(&reset, because(json!({}))).await;
        assert_eq!(back.body["message"], told);
        let back = back.data(200);
        let (basic, giant) = (plan_of(&back, "basic"), plan_of(&back, "giant"));
        assert_eq!(
            (&basic["monthlyPrice"], &basic["edited"]),
            (&usual, &json!([]))
        );
        assert_eq!(
            (&giant["monthlyPrice"], &giant["edited"]),
            (&json!(950_000), &json!(["monthlyPrice"]))
        );
        let noted = acts(&admin, "service.reset").await;
        assert_eq!(noted[0]["details"]["plans"], plans);
    }
}

async fn a_plan_that_was_deleted_does_not_come_back(shop: Shop) {
    let admin = shop.admin().await;
    let plans = [
        new_plan("one", "BASIC", 10_000),
        new_plan("two", "PRO", 20_000),
    ];
    let new = because(json!({
        "slug": "cache", "category": "databases", "plugin": "service-n8n", "name": "Cache",
        "summary": "A cache.", "description": "A cache, made here.",
        "images": images(&shop, "n8n").await, "plans": plans,
    }));
    let cache = admin.post("/api/admin/services", new).await.data(201);
    let two = plan_path(&cache, "two");
    let gone = admin.delete_with(&two, because(json!({}))).await.data(200);
    assert_eq!(gone["outcome"], "DELETED");
    let other = because(json!({ "plan": new_plan("three", "PRO", 30_000) }));
    let path = path_of(&cache);
    admin.post(&format!("{path}/plans"), other).await.data(201);
    let back = admin
        .post(&format!("{path}/reset"), because(json!({})))
        .await
        .data(200);
    let plans = back["plans"].as_array().unwrap().iter();
    let slugs: Vec<&Value> = plans.map(|plan| &plan["slug"]).collect();
    assert_eq!(slugs, ["one", "three"]);
}
