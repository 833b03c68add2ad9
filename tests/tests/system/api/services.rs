//! Tests of services and plans as administrators change them.

use dermaga_tests::{Client, Engine, Shop, both_engines};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

both_engines!(
    Shop,
    [
        an_edited_field_stays_over_the_template_until_a_reset,
        services_and_plans_are_created_and_sold,
        what_was_sold_is_retired_and_kept,
        a_service_is_taken_off_sale_and_put_back,
        only_administrators_change_the_catalogue
    ]
);

const REASON: &str = "The new price list of January.";

pub(crate) async fn service(admin: &Client, slug: &str) -> Value {
    let found = admin
        .get(&format!("/api/admin/services?q={slug}&limit=100"))
        .await
        .data(200);
    let found = found.as_array().unwrap().iter();
    let mut found = found.filter(|one| one["slug"] == slug);
    found.next().unwrap().clone()
}

pub(crate) fn plan_of<'v>(service: &'v Value, slug: &str) -> &'v Value {
    let mut plans = service["plans"].as_array().unwrap().iter();
    plans.find(|plan| plan["slug"] == slug).unwrap()
}

pub(crate) fn path_of(service: &Value) -> String {
    format!("/api/admin/services/{}", service["id"].as_str().unwrap())
}

pub(crate) fn plan_path(service: &Value, slug: &str) -> String {
    let plan = plan_of(service, slug)["id"].as_str().unwrap();
    format!("{}/plans/{plan}", path_of(service))
}

pub(crate) fn because(mut body: Value) -> Value {
    body["reason"] = json!(REASON);
    body
}

pub(super) async fn acts(admin: &Client, act: &str) -> Value {
    let path = format!("/api/admin/audit?act={act}");
    admin.get(&path).await.data(200)
}

/// Reloads the templates, which changes and refuses nothing; returns what it told.
pub(super) async fn reload_in_vain(admin: &Client) -> Value {
    let path = "/api/admin/catalog/reload";
    let told = admin.post(path, because(json!({}))).await.data(200);
    let expected = (&json!([]), &json!([]));
    assert_eq!((&told["changes"], &told["refused"]), expected);
    told
}

/// Edited fields stay when the templates are reloaded, which shows both values, and a reset brings
/// the template's back. A plan that customers bought keeps its price.
async fn an_edited_field_stays_over_the_template_until_a_reset(shop: Shop) {
    let admin = shop.admin().await;
    let n8n = service(&admin, "n8n").await;
    let (path, basic) = (path_of(&n8n), plan_path(&n8n, "basic"));
    let buyer = shop.customer_with_credit("harga@example.com", 60_000).await;
    let order = json!({ "planId": plan_of(&n8n, "basic")["id"] });
    let bought = buyer
        .post("/api/subscriptions", order.clone())
        .await
        .data(201);
    assert_eq!(bought["charged"], 50_000);

    let edit = because(json!({ "name": "Flows", "featured": n8n["featured"] }));
    let edited = admin.put(&path, edit).await.data(200);
    assert_eq!(
        (&edited["name"], &edited["edited"]),
        (&json!("Flows"), &json!(["name"]))
    );
    let edit = because(json!({ "monthlyPrice": 65_000, "features": ["Much more"] }));
    let plan = admin.put(&basic, edit.clone()).await.data(200);
    assert_eq!(plan["edited"], json!(["monthlyPrice", "features"]));
    let same = admin.put(&basic, edit).await.data(200);
    assert_eq!(same["updatedAt"], plan["updatedAt"]);

    let sold = shop
        .client()
        .get("/api/catalog/services/n8n")
        .await
        .data(200);
    assert_eq!(sold["name"], "Flows");
    let quote = buyer
        .post("/api/subscriptions/quote", order)
        .await
        .data(200);
    assert_eq!(quote["price"], 65_000);
    let reload = because(json!({}));
    let told = admin
        .post("/api/admin/catalog/reload", reload)
        .await
        .data(200);
    assert_eq!(told["changes"], json!([]));
    let kept = told["kept"].as_array().unwrap();
    let price = kept.iter().find(|one| one["field"] == "monthlyPrice");
    let price = price.unwrap();
    let both = (
        &price["service"],
        &price["plan"],
        &price["kept"],
        &price["template"],
    );
    let expected = (
        &json!("n8n"),
        &json!("basic"),
        &json!(65_000),
        &json!(50_000),
    );
    assert_eq!((both, kept.len()), (expected, 3));

    let path = format!("{path}/reset");
    let back = admin.post(&path, because(json!({}))).await;
    let told = "As the template says again: name; basic: monthlyPrice, features.";
    assert_eq!(back.body["message"], told);
    let back = back.data(200);
    assert_eq!((&back["name"], &back["edited"]), (&n8n["name"], &json!([])));
    assert_eq!(plan_of(&back, "basic")["monthlyPrice"], 50_000);
    let own = buyer.get("/api/subscriptions").await.data(200);
    assert_eq!(own[0]["monthlyPrice"], 50_000);
    let changed = acts(&admin, "plan.changed").await;
    assert_eq!(
        (changed.as_array().unwrap().len(), &changed[0]["reason"]),
        (1, &json!(REASON))
    );
    let fields = &changed[0]["details"]["fields"][0];
    assert_eq!(
        (&fields["before"], &fields["after"]),
        (&json!(50_000), &json!(65_000))
    );
    assert_eq!(
        acts(&admin, "service.reset").await[0]["details"]["edited"],
        json!(["name"])
    );
    let again = admin.post(&path, because(json!({}))).await;
    let told = "Nothing was changed: no field had been edited.";
    assert_eq!(again.body["message"], told);
    again.data(200);
}

pub(crate) fn new_plan(slug: &str, tier: &str, price: i64) -> Value {
    json!({
        "slug": slug, "name": "Made here", "tier": tier, "monthlyPrice": price, "totalQuota": 3,
        "maxInstancesPerUser": 1, "features": ["Two cores"],
        "resources": { "cpuMillis": 2000, "memoryMib": 4096, "storageGib": 20, "replicas": 1 },
    })
}

/// A plan and a service of an administrator are put to the rules of templates and the check of the
/// plugin; they are sold at once, and stay at a reload and a restart.
async fn services_and_plans_are_created_and_sold(shop: Shop) {
    let admin = shop.admin().await;
    let valkey = service(&admin, "valkey").await;
    let path = format!("{}/plans", path_of(&valkey));
    let create = async |plan: Value| admin.post(&path, because(json!({ "plan": plan }))).await;
    let made = create(new_plan("giant", "ENTERPRISE", 900_000))
        .await
        .data(201);
    assert_eq!(
        (&made["totalQuota"], &made["active"]),
        (&json!(3), &json!(true))
    );
    create(new_plan("giant", "PREMIUM", 1))
        .await
        .fails(409, "CONFLICT");
    create(new_plan("other", "ENTERPRISE", 1))
        .await
        .fails(409, "CONFLICT");
    let wrong = create(new_plan("Not a slug", "PREMIUM", 1)).await;
    wrong.fails(400, "VALIDATION_FAILED");
    let free = create(new_plan("gratis", "FREE", 1)).await;
    free.fails(400, "VALIDATION_FAILED");
    let mut small = new_plan("tiny", "PREMIUM", 1);
    small["resources"]["memoryMib"] = json!(1);
    create(small).await.fails(400, "PLUGIN_REFUSED_INPUT");

    let new = because(json!({
        "slug": "cache", "category": "databases", "plugin": "service-n8n", "name": "Cache",
        "summary": "A cache.", "description": "A cache, made here.",
        "images": images(&shop, "n8n").await, "plans": [new_plan("one", "BASIC", 10_000)],
    }));
    let keyed = admin.with_key("cache-1");
    let cache = keyed
        .post("/api/admin/services", new.clone())
        .await
        .data(201);
    assert_eq!(
        (&cache["state"], &cache["templateFile"]),
        (&json!("ON_SALE"), &Value::Null)
    );
    let again = keyed.post("/api/admin/services", new.clone()).await;
    assert!(again.is_replayed());
    let taken = admin.post("/api/admin/services", new.clone()).await;
    taken.fails(409, "CONFLICT");
    for (field, value) in [("plugin", "service-nothing"), ("category", "nothing")] {
        let mut wrong = new.clone();
        wrong[field] = json!(value);
        wrong["slug"] = json!("other");
        let refused = admin.post("/api/admin/services", wrong).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail(field).is_some(), "{:#}", refused.body);
    }

    let buyer = shop
        .customer_with_credit("buatan@example.com", 20_000)
        .await;
    let order = json!({ "planId": shop.plan("cache", "one").await });
    buyer.post("/api/subscriptions", order).await.data(201);
    let told = reload_in_vain(&admin).await;
    let orphans = told["withoutTemplate"].as_array().unwrap();
    for name in ["cache", "cache/one", "valkey/giant"] {
        assert!(orphans.contains(&json!(name)), "{orphans:?}");
    }
    let shop = shop.restart().await;
    assert_eq!(shop.plan_view("valkey", "giant").await["availableQuota"], 3);
    assert_eq!(shop.plan_view("cache", "one").await["isAvailable"], true);
}

pub(crate) async fn images(shop: &Shop, service: &str) -> Value {
    let all = shop.admin().await.get("/api/admin/catalog/images").await;
    let all = all.data(200);
    let of = all.as_array().unwrap().iter();
    let of = of.filter(|image| image["service"] == service);
    let of = of.map(|image| {
        let name = image["name"].as_str().unwrap().to_owned();
        (name, image["reference"].clone())
    });
    Value::Object(of.collect())
}

/// A service that was bought, or that a file names, is retired: it is not sold, its customers keep it. All else is
/// deleted.
async fn what_was_sold_is_retired_and_kept(shop: Shop) {
    let admin = shop.admin().await;
    let ghost = service(&admin, "ghost").await;
    let path = format!("{}/plans", path_of(&ghost));
    let mut ids = Vec::new();
    for (slug, tier) in [("sold", "PREMIUM"), ("unsold", "ENTERPRISE")] {
        let mut plan = new_plan(slug, tier, 1_000);
        plan["resources"]["replicas"] = json!(2);
        let body = because(json!({ "plan": plan }));
        let made = admin.post(&path, body).await.data(201);
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let buyer = shop.customer_with_credit("lama@example.com", 1_000).await;
    let order = json!({ "planId": ids[0] });
    let bought = buyer.post("/api/subscriptions", order.clone()).await;
    let bought = bought.data(201)["subscription"]["id"].clone();
    buyer
        .post("/api/subscriptions/quote", json!({ "planId": ids[1] }))
        .await
        .data(200);
    let remove = async |id: &str| {
        let path = format!("{path}/{id}");
        admin.delete_with(&path, because(json!({}))).await
    };
    let unsold = remove(&ids[1]).await.data(200);
    assert_eq!(unsold["outcome"], "DELETED");
    remove(&ids[1]).await.fails(404, "NOT_FOUND");
    assert_eq!(remove(&ids[0]).await.data(200)["outcome"], "RETIRED");
    let in_file = plan_of(&ghost, "free")["id"].as_str().unwrap();
    assert_eq!(remove(in_file).await.data(200)["outcome"], "RETIRED");
    let refused = buyer.post("/api/subscriptions", order).await;
    refused.fails(409, "PLAN_UNAVAILABLE");
    let own = format!("/api/subscriptions/{}", bought.as_str().unwrap());
    let kept = buyer.get(&own).await.data(200);
    assert_eq!(kept["cancelledAt"], Value::Null, "{kept:#}");
    admin
        .post(
            "/api/admin/catalog/reload",
            json!({ "reason": "The templates were edited." }),
        )
        .await
        .data(200);
    let now = service(&admin, "ghost").await;
    let sold = plan_of(&now, "free");
    assert_eq!(sold["active"], false);
    assert!(sold["retiredAt"].is_string(), "{sold:#}");

    let gone = admin
        .delete_with(&path_of(&ghost), because(json!({})))
        .await
        .data(200);
    assert_eq!(gone["outcome"], "RETIRED");
    let retired = admin.get("/api/admin/services?state=RETIRED").await;
    assert_eq!(retired.data(200)[0]["slug"], "ghost");
    let hidden = shop.client().get("/api/catalog/services/ghost").await;
    hidden.fails(404, "NOT_FOUND");
    assert_eq!(acts(&admin, "plan.deleted").await[0]["reason"], REASON);
    assert_eq!(acts(&admin, "service.retired").await[0]["reason"], REASON);
}

/// A switch decides at once what is sold; statistics say what is.
async fn a_service_is_taken_off_sale_and_put_back(shop: Shop) {
    let admin = shop.admin().await;
    let n8n = service(&admin, "n8n").await;
    let toggle = format!("{}/toggle", path_of(&n8n));
    let off = admin.patch(&toggle, because(json!({}))).await.data(200);
    assert_eq!(
        (&off["active"], &off["state"]),
        (&json!(false), &json!("OFF"))
    );
    let hidden = shop.client().get("/api/catalog/services/n8n").await;
    hidden.fails(404, "NOT_FOUND");
    let on = because(json!({ "active": true }));
    admin.patch(&toggle, on.clone()).await.data(200);
    admin.patch(&toggle, on).await.data(200);
    assert_eq!(
        acts(&admin, "service.switched")
            .await
            .as_array()
            .unwrap()
            .len(),
        2
    );

    let toggle = format!("{}/toggle", plan_path(&n8n, "basic"));
    let off = admin.patch(&toggle, because(json!({}))).await.data(200);
    assert_eq!(off["active"], false);
    let buyer = shop
        .customer_with_credit("saklar@example.com", 50_000)
        .await;
    let order = json!({ "planId": off["id"] });
    let refused = buyer.post("/api/subscriptions", order.clone()).await;
    refused.fails(409, "PLAN_UNAVAILABLE");
    admin.patch(&toggle, because(json!({}))).await.data(200);
    buyer.post("/api/subscriptions", order).await.data(201);
    let statistics = admin.get("/api/admin/services/statistics").await.data(200);
    assert_eq!(statistics["onSale"], statistics["services"]);
    let sales =
        json!([{ "service": "n8n", "subscriptions": 1, "customers": 1, "monthlyRevenue": 50_000 }]);
    assert_eq!(statistics["sales"], sales);
}

/// All of it is for administrators, with reasons and known fields only.
async fn only_administrators_change_the_catalogue(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("bukan@example.com").await;
    let n8n = service(&admin, "n8n").await;
    let (path, plan) = (path_of(&n8n), plan_path(&n8n, "basic"));
    for path in [
        "/api/admin/services",
        "/api/admin/services/statistics",
        &path,
        &plan,
    ] {
        customer.get(path).await.fails(403, "FORBIDDEN");
    }
    let body = || because(json!({}));
    for path in [&path, &plan] {
        customer.put(path, body()).await.fails(403, "FORBIDDEN");
        customer
            .delete_with(path, body())
            .await
            .fails(403, "FORBIDDEN");
        let toggle = format!("{path}/toggle");
        customer
            .patch(&toggle, body())
            .await
            .fails(403, "FORBIDDEN");
        let anonymous = shop.client().put(path, body()).await;
        anonymous.fails(401, "UNAUTHENTICATED");
        let wrong = because(json!({ "slug": "other" }));
        admin.put(path, wrong).await.fails(400, "VALIDATION_FAILED");
        let silent = json!({ "name": "Other" });
        admin
            .put(path, silent)
            .await
            .fails(400, "VALIDATION_FAILED");
        let before = admin.get(path).await.data(200);
        let empty = because(json!({ "name": "" }));
        let refused = admin.put(path, empty).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail("name").is_some(), "{:#}", refused.body);
        let after = admin.get(path).await.data(200);
        assert!(before["name"].is_string(), "{before:#}");
        assert_eq!(after["name"], before["name"]);
    }
    for path in [
        "/api/admin/services".to_owned(),
        format!("{path}/plans"),
        format!("{path}/reset"),
    ] {
        customer.post(&path, body()).await.fails(403, "FORBIDDEN");
    }
    let unknown = because(json!({ "category": "nothing" }));
    let refused = admin.put(&path, unknown).await;
    refused.fails(400, "VALIDATION_FAILED");
    let nowhere = format!("/api/admin/services/{}", Uuid::nil());
    admin.put(&nowhere, body()).await.fails(404, "NOT_FOUND");
    let other = service(&admin, "ghost").await;
    let id = plan_of(&n8n, "basic")["id"].as_str().unwrap();
    let strange = format!("{}/plans/{id}", path_of(&other));
    admin.get(&strange).await.fails(404, "NOT_FOUND");
    admin.put(&strange, body()).await.fails(404, "NOT_FOUND");
}

/// A service whose file is gone is deleted for good, and a reload does not bring it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_a_file_is_deleted() {
    let folder = TempDir::new().unwrap();
    super::catalog::copy("n8n.toml", folder.path());
    super::catalog::copy("ghost.toml", folder.path());
    let opened = super::catalog::shop_selling(Engine::Sqlite, &folder).await;
    let Some(shop) = opened else {
        return;
    };
    let admin = shop.admin().await;
    let path = path_of(&service(&admin, "ghost").await);
    std::fs::remove_file(folder.path().join("ghost.toml")).unwrap();
    let gone = admin.delete_with(&path, because(json!({}))).await.data(200);
    assert_eq!(gone["outcome"], "DELETED");
    let told = admin
        .post(
            "/api/admin/catalog/reload",
            json!({ "reason": "The templates were edited." }),
        )
        .await
        .data(200);
    assert_eq!(told["withoutTemplate"], json!([]));
    admin.get(&path).await.fails(404, "NOT_FOUND");
}
