//! Tests of edits of a plan: fields that cannot be as they were sent, and one that is taken away.

use dermaga_tests::{Shop, both_engines};
use serde_json::json;

use super::services::{because, images, new_plan, path_of, plan_path, service};
use crate::journeys::{
    renewal::{buy, id_of, next_period},
    upgrade::customer_with_cash,
};

both_engines!(
    Shop,
    [
        a_wrong_field_has_the_name_under_which_it_was_sent,
        only_a_plan_of_tier_free_costs_nothing,
        no_name_turns_the_direction_of_the_text,
        null_takes_back_the_offer_to_freeze
    ]
);

/// Rules of templates are told by the names of the request, not by those of a template's file.
async fn a_wrong_field_has_the_name_under_which_it_was_sent(shop: Shop) {
    let admin = shop.admin().await;
    let n8n = service(&admin, "n8n").await;
    let dear = json!(1_000_000);
    let edit = because(json!({ "storagePrice": dear }));
    let refused = admin.put(&plan_path(&n8n, "basic"), edit).await;
    refused.fails(400, "VALIDATION_FAILED");
    let told = refused.detail("storagePrice").unwrap();
    assert!(told.contains("must be 0 to 50000"), "{told}");

    let mut plan = new_plan("dear", "ENTERPRISE", 10_000);
    plan["storagePrice"] = dear;
    plan["terms"] = json!([{ "months": 3 }]);
    let body = because(json!({ "plan": plan }));
    let refused = admin.post(&format!("{}/plans", path_of(&n8n)), body).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(
        refused.detail("plan.storagePrice").is_some(),
        "{}",
        refused.text
    );
    let told = refused.detail("plan.terms[0].price").unwrap();
    assert!(told.contains("`discountPercent`"), "{told}");

    let new = because(json!({
        "slug": "mahal", "category": "databases", "plugin": "service-n8n", "name": "Mahal",
        "summary": "Dear.", "description": "Too dear.",
        "images": images(&shop, "n8n").await, "plans": [plan],
    }));
    let refused = admin.post("/api/admin/services", new).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(
        refused.detail("plans[0].storagePrice").is_some(),
        "{}",
        refused.text
    );
    assert!(!refused.text.contains("storage_price"), "{}", refused.text);
}

async fn only_a_plan_of_tier_free_costs_nothing(shop: Shop) {
    let admin = shop.admin().await;
    let n8n = service(&admin, "n8n").await;
    let edit = because(json!({ "monthlyPrice": 0 }));
    let refused = admin.put(&plan_path(&n8n, "basic"), edit).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("monthlyPrice").is_some(), "{}", refused.text);
    let plan = new_plan("given", "ENTERPRISE", 0);
    let body = because(json!({ "plan": plan }));
    let refused = admin.post(&format!("{}/plans", path_of(&n8n)), body).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(
        refused.detail("plan.monthlyPrice").is_some(),
        "{}",
        refused.text
    );
}

/// A name that reads "exe.gnp" would be shown as "png.exe", and one with a blank of no width as another. What people
/// write is kept without such characters, be it an administrator or a customer.
async fn no_name_turns_the_direction_of_the_text(shop: Shop) {
    let admin = shop.admin().await;
    let n8n = service(&admin, "n8n").await;
    for path in [path_of(&n8n), plan_path(&n8n, "basic")] {
        for (name, kept) in [("Da\u{202e}sar", "Dasar"), ("Ra\u{200b}ya\u{e000}", "Raya")] {
            let edited = admin.put(&path, because(json!({ "name": name }))).await;
            assert_eq!(edited.data(200)["name"], kept, "{name:?}");
        }
        for (name, rule) in [
            ("Dasar\nRaya", "must be one line"),
            ("Dasar\u{2028}Raya", "must be one line"),
            ("\u{301}\u{302}", "must have at least one character"),
        ] {
            let refused = admin.put(&path, because(json!({ "name": name }))).await;
            refused.fails(400, "VALIDATION_FAILED");
            let told = refused.detail("name").unwrap();
            assert!(told.starts_with(rule), "{}", refused.text);
        }
    }
    let turned = because(json!({ "description": "Da\u{202e}sar" }));
    let edited = admin.put(&path_of(&n8n), turned).await.data(200);
    assert_eq!(edited["description"], "Dasar");
    let texts = [
        ("subject", "\u{202e}A question\u{2066} of\u{200b} mine"),
        ("description", "How do I\u{202e} move my domain?"),
    ];
    let customer = shop.customer("arah@example.com").await;
    let opened = customer.post_form("/api/tickets", &texts, &[]).await;
    let opened = opened.data(201);
    assert_eq!(opened["subject"], "A question of mine");
    let kept = &opened["messages"][0]["body"];
    assert_eq!(kept, "How do I move my domain?", "{opened:#}");
}

/// Customers who froze before keep their price; others cannot begin to.
async fn null_takes_back_the_offer_to_freeze(shop: Shop) {
    let admin = shop.admin().await;
    let n8n = service(&admin, "n8n").await;
    let email = "beku@example.com";
    let customer = customer_with_cash(&shop, email, 200_000).await;
    let frozen = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let freeze = |id: &str| format!("/api/subscriptions/{id}/freeze");
    let asked = customer.post(&freeze(id_of(&frozen)), json!({})).await;
    assert_eq!(asked.data(200)["storagePrice"], 10_000);

    let path = plan_path(&n8n, "basic");
    let other = because(json!({ "name": "Dasar" }));
    let kept = admin.put(&path, other).await.data(200);
    assert_eq!(kept["storagePrice"], 10_000, "an absent field stays");
    let ended = because(json!({ "storagePrice": null }));
    let plan = admin.put(&path, ended).await.data(200);
    assert_eq!(
        (&plan["storagePrice"], &plan["edited"]),
        (&json!(null), &json!(["name", "storagePrice"]))
    );
    admin
        .post(
            "/api/admin/catalog/reload",
            json!({ "reason": "The templates were edited." }),
        )
        .await
        .data(200);
    let sold = shop.plan_view("n8n", "basic").await;
    assert!(sold["storagePrice"].is_null(), "{sold:#}");
    let late = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let refused = customer.post(&freeze(id_of(&late)), json!({})).await;
    refused.fails(409, "INVALID_STATE");

    let seen = next_period(&shop, id_of(&frozen)).await;
    assert_eq!(
        (&seen["periods"][0]["price"], &seen["periods"][0]["frozen"]),
        (&json!(10_000), &json!(true)),
        "{seen:#}"
    );
    let again = because(json!({ "storagePrice": 12_000 }));
    let admin = shop.admin().await;
    let plan = admin.put(&path, again).await.data(200);
    assert_eq!(plan["storagePrice"], 12_000);
    shop.books_balance().await;
}
