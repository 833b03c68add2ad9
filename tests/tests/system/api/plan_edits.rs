//! Tests of what administrators are told of fields of a plan that cannot be as they were sent.

use dermaga_tests::{Shop, both_engines};
use serde_json::json;

use super::services::{because, images, new_plan, path_of, plan_path, service};

both_engines!(Shop, [a_wrong_field_has_the_name_under_which_it_was_sent]);

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
