//! Acts whose record no other test looks at: each is in the trail once, with its reason and what was done.

use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use crate::{
    api::{
        categories::{self, category},
        services::{because, images, new_plan, path_of, plan_path, service},
    },
    journeys::{
        renewal::{buy, id_of},
        upgrade::customer_with_cash,
    },
};

const REASON: &str = "The new price list of January.";

both_engines!(
    Shop,
    [
        acts_on_services_and_plans_are_recorded,
        acts_on_categories_are_recorded,
        each_quota_of_a_bulk_is_recorded,
        acts_on_subscriptions_are_recorded
    ]
);

/// Returns the one recorded act of this name.
async fn recorded(admin: &Client, act: &str) -> Value {
    let page = admin.get(&format!("/api/admin/audit?act={act}")).await;
    let page = page.data(200);
    assert_eq!(page.as_array().unwrap().len(), 1, "{page:#}");
    page[0].clone()
}

/// Returns the details of the one recorded act of this name on this subject, whose reason is known.
async fn details(admin: &Client, act: &str, subject: (&str, &Value)) -> Value {
    let event = recorded(admin, act).await;
    let subject = format!("{}:{}", subject.0, subject.1.as_str().unwrap());
    assert_eq!(
        (&event["subject"], &event["reason"]),
        (&json!(subject), &json!(REASON))
    );
    event["details"].clone()
}

async fn acts_on_services_and_plans_are_recorded(shop: Shop) {
    let admin = shop.admin().await;
    let new = because(json!({
        "slug": "cache", "category": "databases", "plugin": "service-n8n", "name": "Cache",
        "summary": "A cache.", "description": "A cache, made here.",
        "images": images(&shop, "n8n").await, "plans": [new_plan("one", "BASIC", 10_000)],
    }));
    let cache = admin.post("/api/admin/services", new).await.data(201);
    let made = details(&admin, "service.created", ("service", &cache["id"])).await;
    assert_eq!(made, json!({ "service": "cache", "plugin": "service-n8n" }));

    let edit = because(json!({ "summary": "Another cache." }));
    admin.put(&path_of(&cache), edit).await.data(200);
    let changed = details(&admin, "service.changed", ("service", &cache["id"])).await;
    let field = json!({ "field": "summary", "before": "A cache.", "after": "Another cache." });
    assert_eq!(changed, json!({ "service": "cache", "fields": [field] }));

    let plans = format!("{}/plans", path_of(&cache));
    let new = because(json!({ "plan": new_plan("two", "ENTERPRISE", 20_000) }));
    let two = admin.post(&plans, new).await.data(201);
    let made = details(&admin, "plan.created", ("plan", &two["id"])).await;
    let expected = json!({ "plan": "two", "serviceId": cache["id"], "quota": 3 });
    assert_eq!(made, expected);
    let toggle = format!("{plans}/{}/toggle", two["id"].as_str().unwrap());
    admin.patch(&toggle, because(json!({}))).await.data(200);
    let switched = details(&admin, "plan.switched", ("plan", &two["id"])).await;
    assert_eq!(switched, json!({ "plan": "two", "active": false }));

    let path = path_of(&cache);
    let gone = admin.delete_with(&path, because(json!({}))).await;
    assert_eq!(gone.data(200)["outcome"], "DELETED");
    details(&admin, "service.deleted", ("service", &cache["id"])).await;
    // One that a file names is retired.
    let ghost = service(&admin, "ghost").await;
    let path = plan_path(&ghost, "free");
    let retired = admin.delete_with(&path, because(json!({}))).await.data(200);
    assert_eq!(retired["outcome"], "RETIRED");
    details(&admin, "plan.retired", ("plan", &retired["id"])).await;
}

async fn acts_on_categories_are_recorded(shop: Shop) {
    let admin = shop.admin().await;
    let new = category("web", &Value::Null, 5);
    let web = admin.post(categories::PATH, new.clone()).await.data(201);
    let subject = format!("category:{}", web["id"].as_str().unwrap());
    let made = recorded(&admin, "category.created").await;
    assert_eq!(
        (&made["subject"], &made["reason"], &made["details"]),
        (
            &json!(subject),
            &new["reason"],
            &json!({ "slug": "web", "parentId": null })
        )
    );
    let because = json!({ "reason": REASON });
    let gone = admin.delete_with(&categories::path_of(&web), because).await;
    gone.data(200);
    let removed = details(&admin, "category.deleted", ("category", &web["id"])).await;
    assert_eq!(removed, json!({ "slug": "web", "name": "WEB" }));
}

/// Plans that change together have a row each.
async fn each_quota_of_a_bulk_is_recorded(shop: Shop) {
    let admin = shop.admin().await;
    let mut plans = Vec::new();
    for (slug, total) in [("free", 7), ("basic", 9)] {
        let view = shop.plan_view("n8n", slug).await;
        plans.push((view["id"].clone(), view["availableQuota"].clone(), total));
    }
    let wanted: Vec<_> = plans
        .iter()
        .map(|(id, _, total)| json!({ "planId": id, "totalQuota": total }))
        .collect();
    let body = json!({ "plans": wanted, "reason": REASON });
    admin.put("/api/admin/quota/bulk", body).await.data(200);
    for (id, before, total) in &plans {
        let subject = format!("plan:{}", id.as_str().unwrap());
        let path = format!("/api/admin/audit?act=plan.quota_changed&subject={subject}");
        let rows = admin.get(&path).await.data(200);
        assert_eq!(rows.as_array().unwrap().len(), 1, "{rows:#}");
        assert_eq!(rows[0]["reason"], REASON);
        assert_eq!(
            (&rows[0]["details"]["before"], &rows[0]["details"]["after"]),
            (before, &json!(total))
        );
    }
}

async fn acts_on_subscriptions_are_recorded(shop: Shop) {
    let customer = customer_with_cash(&shop, "tercatat@example.com", 100_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = &bought["subscription"]["id"];
    let admin = shop.admin().await;
    let path = format!("/api/admin/subscriptions/{}/refund", id_of(&bought));
    let body = json!({ "amount": 10_000, "reason": REASON });
    admin.post(&path, body).await.data(201);
    let refunded = details(&admin, "subscription.refunded", ("subscription", id)).await;
    assert_eq!(refunded, json!({ "amount": 10_000, "period": 1 }));

    // Customers freeze and thaw their own, and give no reasons.
    let path = format!("/api/subscriptions/{}", id_of(&bought));
    for act in ["freeze", "thaw"] {
        let path = format!("{path}/{act}");
        customer.post(&path, json!({})).await.data(200);
    }
    let thawed = recorded(&admin, "subscription.thawed").await;
    let profile = customer.get("/api/user/profile").await.data(200);
    assert_eq!(
        (&thawed["actorId"], &thawed["details"]["charged"]),
        (&profile["id"], &json!(0))
    );
    assert_eq!(
        thawed["subject"],
        format!("subscription:{}", id_of(&bought))
    );
}
