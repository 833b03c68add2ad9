//! Administrators at the catalogue at the same moment.

use dermaga_tests::{Answer, Client, Shop, both_engines};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::api::{
    categories::{self, category, edit},
    services::{because, images, new_plan, path_of, plan_of, plan_path, service},
};

const SERVICES: &str = "/api/admin/services";
const REASON: &str = "Two administrators at the same moment.";

both_engines!(
    Shop,
    [
        of_one_slug_one_service_one_plan_and_one_category_are_made,
        two_categories_are_never_in_each_other,
        every_toggle_counts_and_the_same_one_once,
        edits_follow_one_another,
        a_reset_beside_an_edit_leaves_one_of_them,
        the_quotas_of_one_plan_follow_one_another
    ]
);

/// Returns the only thing that was made, where all other requests found it made already.
fn one_made(answers: Vec<Answer>) -> Value {
    let is_made = |answer: &Answer| answer.status == 201;
    let (mut made, met): (Vec<_>, Vec<_>) = answers.into_iter().partition(is_made);
    for answer in &met {
        answer.fails(409, "CONFLICT");
    }
    assert_eq!(made.len(), 1);
    made.remove(0).data(201)
}

async fn noted(admin: &Client, act: &str) -> Vec<Value> {
    let path = format!("/api/admin/audit?act={act}&limit=100");
    let page = admin.get(&path).await.data(200);
    page.as_array().unwrap().clone()
}

/// Expects that each change began with what another one left, from the first value to the last.
fn is_a_chain(changes: &[(Value, Value)], first: &Value, last: &Value) {
    let written = |value: &Value| value.to_string();
    let mut begun: Vec<String> = changes.iter().map(|(before, _)| written(before)).collect();
    let mut left: Vec<String> = changes.iter().map(|(_, after)| written(after)).collect();
    begun.push(written(last));
    left.push(written(first));
    begun.sort();
    left.sort();
    assert_eq!(begun, left, "{changes:#?}");
}

async fn of_one_slug_one_service_one_plan_and_one_category_are_made(shop: Shop) {
    let admin = shop.admin().await;
    let new = because(json!({
        "slug": "cache", "category": "databases", "plugin": "service-n8n", "name": "Cache",
        "summary": "A cache.", "description": "A cache, made here.",
        "images": images(&shop, "n8n").await, "plans": [new_plan("one", "BASIC", 10_000)],
    }));
    let made = one_made(join_all((0..3).map(|_| admin.post(SERVICES, new.clone()))).await);
    assert_eq!(made["plans"].as_array().unwrap().len(), 1, "{made:#}");
    let all = admin.get(&format!("{SERVICES}?limit=100")).await.data(200);
    let all = all.as_array().unwrap().iter();
    assert_eq!(all.filter(|one| one["slug"] == "cache").count(), 1);
    assert_eq!(noted(&admin, "service.created").await.len(), 1);

    // Of one slug, and of one tier.
    let valkey = service(&admin, "valkey").await;
    let path = format!("{}/plans", path_of(&valkey));
    for slugs in [["giant"; 3], ["huge", "giant", "vast"]] {
        let before = noted(&admin, "plan.created").await.len();
        let answers = join_all(slugs.map(|slug| {
            let plan = new_plan(slug, "ENTERPRISE", 900_000);
            admin.post(&path, because(json!({ "plan": plan })))
        }));
        let plan = one_made(answers.await);
        assert_eq!(noted(&admin, "plan.created").await.len(), before + 1);
        let now = service(&admin, "valkey").await;
        let plans = now["plans"].as_array().unwrap().iter();
        let tier = plans.filter(|one| one["tier"] == "ENTERPRISE");
        assert_eq!(tier.count(), 1, "{now:#}");
        let made = format!("{path}/{}", plan["id"].as_str().unwrap());
        let gone = admin.delete_with(&made, because(json!({}))).await.data(200);
        assert_eq!(gone["outcome"], "DELETED");
    }

    let new = category("web", &Value::Null, 5);
    let requests = (0..4).map(|_| admin.post(categories::PATH, new.clone()));
    one_made(join_all(requests).await);
    let all = admin.get(categories::PATH).await.data(200);
    let all = all.as_array().unwrap().iter();
    assert_eq!(all.filter(|one| one["slug"] == "web").count(), 1);
    assert_eq!(noted(&admin, "category.created").await.len(), 1);
}

/// Each may be put into the other, and the second of two requests finds that the first has done it.
async fn two_categories_are_never_in_each_other(shop: Shop) {
    let admin = shop.admin().await;
    let mut both = Vec::new();
    for slug in ["web", "blogs"] {
        let new = category(slug, &Value::Null, 0);
        both.push(admin.post(categories::PATH, new).await.data(201));
    }
    let paths = [categories::path_of(&both[0]), categories::path_of(&both[1])];
    for round in 0..5 {
        let (one, other) = tokio::join!(
            admin.put(&paths[0], edit(&both[0], &both[1]["id"], 0)),
            admin.put(&paths[1], edit(&both[1], &both[0]["id"], 0)),
        );
        let (done, refused) = if one.status == 200 {
            (one, other)
        } else {
            (other, one)
        };
        done.data(200);
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail("parentId").is_some(), "{:#}", refused.body);
        let mut inside = 0;
        for (path, own) in paths.iter().zip(&both) {
            let seen = admin.get(path).await.data(200);
            inside += usize::from(seen["parentId"].is_string());
            admin.put(path, edit(own, &Value::Null, 0)).await.data(200);
        }
        assert_eq!(inside, 1, "{round}");
    }
}

async fn every_toggle_counts_and_the_same_one_once(shop: Shop) {
    let admin = shop.admin().await;
    let n8n = service(&admin, "n8n").await;
    for (path, act) in [
        (path_of(&n8n), "service.switched"),
        (plan_path(&n8n, "basic"), "plan.switched"),
    ] {
        let toggle = format!("{path}/toggle");
        let other = || admin.patch(&toggle, because(json!({})));
        for answer in join_all((0..5).map(|_| other())).await {
            answer.data(200);
        }
        let seen = admin.get(&path).await.data(200);
        assert_eq!(seen["active"], false, "{act}");
        assert_eq!(noted(&admin, act).await.len(), 5);
        let on = because(json!({ "active": true }));
        for answer in join_all((0..5).map(|_| admin.patch(&toggle, on.clone()))).await {
            assert_eq!(answer.data(200)["active"], true);
        }
        assert_eq!(noted(&admin, act).await.len(), 6);
    }
}

async fn edits_follow_one_another(shop: Shop) {
    let admin = shop.admin().await;
    let n8n = service(&admin, "n8n").await;
    let path = path_of(&n8n);
    let rename = |number: i64| because(json!({ "name": format!("Flows {number}") }));
    for answer in join_all((0..6).map(|number| admin.put(&path, rename(number)))).await {
        answer.data(200);
    }
    let seen = admin.get(&path).await.data(200);
    assert_eq!(seen["edited"], json!(["name"]));
    let changes: Vec<_> = noted(&admin, "service.changed")
        .await
        .iter()
        .map(|event| &event["details"]["fields"][0])
        .map(|field| (field["before"].clone(), field["after"].clone()))
        .collect();
    assert_eq!(changes.len(), 6);
    is_a_chain(&changes, &n8n["name"], &seen["name"]);

    // The plugin was asked about a plan that has changed since.
    let path = plan_path(&n8n, "basic");
    let price = |number: i64| because(json!({ "monthlyPrice": 60_000 + number }));
    let answers = join_all((1..4).map(|number| admin.put(&path, price(number)))).await;
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.fails(409, "CONFLICT");
    }
    let seen = admin.get(&path).await.data(200);
    let changes: Vec<_> = noted(&admin, "plan.changed")
        .await
        .iter()
        .map(|event| &event["details"]["fields"][0])
        .map(|field| (field["before"].clone(), field["after"].clone()))
        .collect();
    let done = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(changes.len(), done.count());
    is_a_chain(&changes, &json!(50_000), &seen["monthlyPrice"]);
}

async fn a_reset_beside_an_edit_leaves_one_of_them(shop: Shop) {
    let admin = shop.admin().await;
    let n8n = service(&admin, "n8n").await;
    let basic = plan_path(&n8n, "basic");
    let name = plan_of(&n8n, "basic")["name"].clone();
    let reset = format!("{}/reset", path_of(&n8n));
    for _ in 0..3 {
        let own = because(json!({ "name": "Of our own" }));
        admin.put(&basic, own).await.data(200);
        let edit = because(json!({ "monthlyPrice": 70_000 }));
        let (one, two, edited) = tokio::join!(
            admin.post(&reset, because(json!({}))),
            admin.post(&reset, because(json!({}))),
            admin.put(&basic, edit),
        );
        one.data(200);
        two.data(200);
        if edited.status != 200 {
            edited.fails(409, "CONFLICT");
        }
        let seen = admin.get(&basic).await.data(200);
        let found = (&seen["monthlyPrice"], &seen["edited"]);
        let (reset_last, edit_last) = (
            (&json!(50_000), &json!([])),
            (&json!(70_000), &json!(["monthlyPrice"])),
        );
        assert!(found == reset_last || found == edit_last, "{seen:#}");
        assert_eq!(seen["name"], name);
        admin.post(&reset, because(json!({}))).await.data(200);
    }
}

async fn the_quotas_of_one_plan_follow_one_another(shop: Shop) {
    let admin = shop.admin().await;
    let [basic, free] = [
        shop.plan("n8n", "basic").await,
        shop.plan("n8n", "free").await,
    ];
    let path = format!("/api/admin/quota/plans/{basic}");
    let first = admin.get(&path).await.data(200)["totalQuota"].clone();
    let to = |total: i64| json!({ "totalQuota": total, "reason": REASON });
    for answer in join_all((0..6).map(|number| admin.put(&path, to(100 + number)))).await {
        answer.data(200);
    }
    // Two requests that name the plans in another order do not wait for each other.
    let all = |ids: [&str; 2], total: i64| {
        let plans = ids.map(|id| json!({ "planId": id, "totalQuota": total }));
        let body = json!({ "plans": plans, "reason": REASON });
        admin.put("/api/admin/quota/bulk", body)
    };
    let (one, other) = tokio::join!(all([&basic, &free], 200), all([&free, &basic], 201));
    one.data(200);
    other.data(200);
    let seen = admin.get(&path).await.data(200)["totalQuota"].clone();
    let query = format!("/api/admin/audit?act=plan.quota_changed&subject=plan:{basic}");
    let acts = admin.get(&query).await.data(200);
    let changes: Vec<_> = acts
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["details"])
        .map(|details| (details["before"].clone(), details["after"].clone()))
        .collect();
    assert_eq!(changes.len(), 8);
    is_a_chain(&changes, &first, &seen);
    let path = format!("/api/admin/quota/plans/{free}");
    assert_eq!(admin.get(&path).await.data(200)["totalQuota"], seen);
}
