//! Tests of categories as administrators change them.

use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};
use uuid::Uuid;

both_engines!(
    Shop,
    [
        categories_are_made_ordered_and_put_into_each_other,
        a_category_with_services_is_never_deleted,
        an_edited_text_stays_over_the_templates_until_a_reset,
        only_administrators_change_categories
    ]
);

pub(crate) const PATH: &str = "/api/admin/categories";
const REASON: &str = "A better order for customers.";

pub(crate) fn category(slug: &str, parent: &Value, position: i64) -> Value {
    json!({
        "slug": slug, "name": slug.to_uppercase(), "description": "Things.", "position": position,
        "parentId": parent, "reason": REASON,
    })
}

pub(crate) fn edit(of: &Value, parent: &Value, position: i64) -> Value {
    json!({
        "name": of["name"], "description": of["description"], "position": position, "parentId": parent,
        "reason": REASON,
    })
}

pub(crate) fn path_of(category: &Value) -> String {
    format!("{PATH}/{}", category["id"].as_str().unwrap())
}

async fn known(admin: &Client, slug: &str) -> Value {
    let all = admin.get(PATH).await.data(200);
    let mut all = all.as_array().unwrap().iter();
    all.find(|one| one["slug"] == slug).unwrap().clone()
}

/// A category is created once, keeps its position, and is in one level of others. An edited name
/// stays at a reload.
async fn categories_are_made_ordered_and_put_into_each_other(shop: Shop) {
    let admin = shop.admin().await;
    let keyed = admin.with_key("kategori-1");
    let new = category("web", &Value::Null, 5);
    let web = keyed.post(PATH, new.clone()).await.data(201);
    assert!(keyed.post(PATH, new.clone()).await.is_replayed());
    admin.post(PATH, new).await.fails(409, "CONFLICT");
    let sub = category("blogs", &web["id"], 0);
    let blogs = admin.post(PATH, sub).await.data(201);
    assert_eq!(blogs["parentId"], web["id"]);

    let refuse = async |path: &str, body: Value| {
        let put = admin.put(path, body).await;
        put.fails(400, "VALIDATION_FAILED");
        assert!(put.detail("parentId").is_some(), "{:#}", put.body);
    };
    let content = known(&admin, "content-management").await;
    refuse(&path_of(&content), edit(&content, &blogs["id"], 0)).await;
    refuse(&path_of(&web), edit(&web, &content["id"], 0)).await;
    refuse(&path_of(&blogs), edit(&blogs, &blogs["id"], 0)).await;
    let nowhere = json!(Uuid::nil());
    refuse(&path_of(&blogs), edit(&blogs, &nowhere, 0)).await;
    // An id that the sender has lost does not move a category to the top.
    refuse(&path_of(&blogs), edit(&blogs, &json!(""), 0)).await;
    let wrong = admin.post(PATH, category("Web", &Value::Null, 0)).await;
    wrong.fails(400, "VALIDATION_FAILED");

    let mut renamed = edit(&content, &web["id"], 9);
    renamed["name"] = json!("Writing");
    let changed = admin.put(&path_of(&content), renamed).await.data(200);
    assert_eq!(
        (&changed["edited"], &changed["parentId"]),
        (&json!(["name"]), &web["id"])
    );
    admin
        .post(
            "/api/admin/catalog/reload",
            json!({ "reason": "The templates were edited." }),
        )
        .await
        .data(200);
    let shown = shop.client().get("/api/catalog/categories").await.data(200);
    let shown = shown.as_array().unwrap();
    let last = shown.last().unwrap();
    assert_eq!(
        (&last["name"], &last["parent"]),
        (&json!("Writing"), &json!("web"))
    );
    let positions: Vec<_> = shown.iter().map(|one| one["position"].as_i64()).collect();
    assert!(positions.is_sorted(), "{positions:?}");
    // The services of a category are those in the categories below it, too.
    let of_web = shop
        .client()
        .get("/api/catalog/categories/web/services")
        .await
        .data(200);
    let mut slugs: Vec<_> = of_web
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["slug"])
        .collect();
    slugs.sort_by_key(|slug| slug.to_string());
    assert_eq!(slugs, [&json!("ghost"), &json!("wordpress")]);
    let path = format!(
        "/api/admin/audit?subject=category:{}",
        content["id"].as_str().unwrap()
    );
    let acts = admin.get(&path).await.data(200);
    assert_eq!(
        (
            &acts[0]["act"],
            &acts[0]["reason"],
            &acts[0]["details"]["after"]["name"]
        ),
        (
            &json!("category.changed"),
            &json!(REASON),
            &json!("Writing")
        )
    );
}

/// A category with a service, sold or not, or with another category in it stays.
async fn a_category_with_services_is_never_deleted(shop: Shop) {
    let admin = shop.admin().await;
    let because = json!({ "reason": REASON });
    let databases = known(&admin, "databases").await;
    let remove = async |category: &Value| {
        let path = path_of(category);
        admin.delete_with(&path, because.clone()).await
    };
    remove(&databases).await.fails(409, "INVALID_STATE");
    shop.sql("UPDATE services SET active = FALSE")
        .await
        .unwrap();
    remove(&databases).await.fails(409, "INVALID_STATE");
    let new = category("empty", &Value::Null, 0);
    let above = admin.post(PATH, new).await.data(201);
    let below = category("below", &above["id"], 0);
    let below = admin.post(PATH, below).await.data(201);
    remove(&above).await.fails(409, "INVALID_STATE");
    remove(&below).await.data(200);
    remove(&above).await.data(200);
    remove(&above).await.fails(404, "NOT_FOUND");
    admin.get(&path_of(&above)).await.fails(404, "NOT_FOUND");
}

/// A reload lists both values of an edited text, also for a category whose other text is the templates'. A reset
/// brings the templates' back, and leaves the place.
async fn an_edited_text_stays_over_the_templates_until_a_reset(shop: Shop) {
    let admin = shop.admin().await;
    let content = known(&admin, "content-management").await;
    let mut renamed = edit(&content, &Value::Null, 9);
    renamed["name"] = json!("Writing");
    let path = path_of(&content);
    admin.put(&path, renamed.clone()).await.data(200);
    let reload = async || {
        let reload = admin
            .post(
                "/api/admin/catalog/reload",
                json!({ "reason": "The templates were edited." }),
            )
            .await;
        reload.data(200)["kept"].clone()
    };
    let of_name = json!({
        "service": null, "plan": null, "category": "content-management", "field": "name",
        "kept": "Writing", "template": content["name"],
    });
    assert_eq!(reload().await, json!([of_name]));
    renamed["description"] = json!("Words of yours.");
    admin.put(&path, renamed).await.data(200);
    let of_description = json!({
        "service": null, "plan": null, "category": "content-management", "field": "description",
        "kept": "Words of yours.", "template": content["description"],
    });
    assert_eq!(reload().await, json!([of_name, of_description]));

    let (reset, because) = (format!("{path}/reset"), json!({ "reason": REASON }));
    let back = admin.post(&reset, because.clone()).await;
    let told = "As the template says again: name, description.";
    assert_eq!(back.body["message"], told);
    let back = back.data(200);
    assert_eq!(
        (&back["name"], &back["description"], &back["edited"]),
        (&content["name"], &content["description"], &json!([]))
    );
    assert_eq!(
        (&back["position"], &back["id"]),
        (&json!(9), &content["id"])
    );
    assert_eq!(known(&admin, "content-management").await, back);
    assert_eq!(reload().await, json!([]));
    let again = admin.post(&reset, because.clone()).await;
    let told = "Nothing was changed: no field had been edited.";
    assert_eq!(again.body["message"], told);
    let subject = content["id"].as_str().unwrap();
    let acts = format!("/api/admin/audit?act=category.reset&subject=category:{subject}");
    let acts = admin.get(&acts).await.data(200);
    assert_eq!(
        (&acts[1]["reason"], &acts[1]["details"]),
        (
            &json!(REASON),
            &json!({ "slug": "content-management", "edited": ["name", "description"] })
        )
    );
    assert_eq!(acts[0]["details"]["edited"], json!([]));

    let new = category("alat", &Value::Null, 0);
    let own = admin.post(PATH, new).await.data(201);
    let own = format!("{}/reset", path_of(&own));
    let of_none = admin.post(&own, because.clone()).await;
    of_none.fails(409, "INVALID_STATE");
    let nowhere = format!("{PATH}/{}/reset", Uuid::nil());
    let unknown = admin.post(&nowhere, because.clone()).await;
    unknown.fails(404, "NOT_FOUND");
    let silent = admin.post(&reset, json!({})).await;
    silent.fails(400, "VALIDATION_FAILED");
    let customer = shop.customer("kembali@example.com").await;
    let refused = customer.post(&reset, because).await;
    refused.fails(403, "FORBIDDEN");
}

/// Categories are changed by administrators, with reasons and known fields.
async fn only_administrators_change_categories(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("kategori@example.com").await;
    let databases = known(&admin, "databases").await;
    let path = path_of(&databases);
    assert_eq!(admin.get(&path).await.data(200), databases);
    for path in [PATH, &path] {
        customer.get(path).await.fails(403, "FORBIDDEN");
        shop.client().get(path).await.fails(401, "UNAUTHENTICATED");
    }
    let body = edit(&databases, &Value::Null, 0);
    customer
        .post(PATH, body.clone())
        .await
        .fails(403, "FORBIDDEN");
    customer
        .put(&path, body.clone())
        .await
        .fails(403, "FORBIDDEN");
    let because = json!({ "reason": REASON });
    customer
        .delete_with(&path, because)
        .await
        .fails(403, "FORBIDDEN");
    let mut wrong = body.clone();
    wrong["slug"] = json!("other");
    admin
        .put(&path, wrong)
        .await
        .fails(400, "VALIDATION_FAILED");
    let mut silent = body;
    silent.as_object_mut().unwrap().remove("reason");
    admin
        .put(&path, silent)
        .await
        .fails(400, "VALIDATION_FAILED");
    admin
        .delete_with(&path, json!({}))
        .await
        .fails(400, "VALIDATION_FAILED");
}
