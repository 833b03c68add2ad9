//! Tests of edits of what a service runs that no template file names.

use chrono::TimeDelta;
use dermaga_tests::{Answer, Client, Engine, Shop, both_engines};
use futures::future::join_all;
use serde_json::{Value, json};

use super::{
    notifications::run,
    services::{acts, because, images, new_plan, path_of, plan_path, reload_in_vain, service},
};

both_engines!(
    Shop,
    [
        a_service_of_an_administrator_gets_a_newer_image,
        what_a_service_runs_is_checked_as_at_its_creation,
        a_service_runs_as_root_with_the_exception_alone,
        a_template_file_is_the_place_of_what_it_says,
        edits_of_what_a_service_runs_follow_one_another,
        a_reset_beside_an_edit_leaves_the_newer_image,
        an_image_past_its_support_is_told_once,
        support_is_of_the_images_of_its_service,
        a_service_says_that_no_end_of_support_is_published
    ]
);

const NEWER: &str = "docker.io/n8nio/n8n:1.999.1";

/// Creates the service `cache`, which runs the image of n8n.
async fn cache(shop: &Shop, admin: &Client) -> Value {
    let new = new_cache(shop).await;
    admin.post("/api/admin/services", new).await.data(201)
}

/// Returns a service without customers.
pub(crate) async fn new_cache(shop: &Shop) -> Value {
    because(json!({
        "slug": "cache", "category": "databases", "plugin": "service-n8n", "name": "Cache",
        "summary": "A cache.", "description": "A cache, made here.",
        "images": images(shop, "n8n").await, "plans": [new_plan("one", "BASIC", 10_000)],
    }))
}

fn newer() -> Value {
    because(json!({ "images": { "app": NEWER } }))
}

async fn a_service_of_an_administrator_gets_a_newer_image(shop: Shop) {
    let admin = shop.admin().await;
    let made = cache(&shop, &admin).await;
    let (path, older) = (path_of(&made), images(&shop, "cache").await);
    let buyer = shop
        .customer_with_credit("gambar@example.com", 10_000)
        .await;
    let order = json!({ "planId": shop.plan("cache", "one").await });
    let bought = buyer.post("/api/subscriptions", order).await.data(201);
    let id = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&buyer, id, "RUNNING").await;
    // A reset brings back the service as it was when the image was edited.
    let dear = because(json!({ "monthlyPrice": 12_000 }));
    admin.put(&plan_path(&made, "one"), dear).await.data(200);

    for _ in 0..2 {
        let edited = admin.put(&path, newer()).await.data(200);
        assert_eq!(
            (&edited["edited"], &edited["state"]),
            (&json!([]), &json!("ON_SALE"))
        );
    }
    assert_eq!(images(&shop, "cache").await, json!({ "app": NEWER }));
    let noted = acts(&admin, "service.changed").await;
    assert_eq!(noted.as_array().unwrap().len(), 1, "{noted:#}");
    assert_eq!(
        noted[0]["details"]["fields"],
        json!([{ "field": "images", "before": older, "after": { "app": NEWER } }])
    );

    let moves = "/api/admin/catalog/services/cache/moves";
    let preview = admin.post(moves, json!({ "dryRun": true })).await.data(200);
    let one = &preview["instances"][0];
    assert_eq!(
        (&one["instanceId"], &one["outcome"]),
        (&json!(id), &json!("READY"))
    );
    assert!(one["diff"].as_str().unwrap().contains(NEWER), "{one:#}");

    reload_in_vain(&admin).await;
    let reset = format!("{path}/reset");
    let back = admin.post(&reset, because(json!({}))).await.data(200);
    assert_eq!(back["plans"][0]["monthlyPrice"], 12_000);
    let shop = shop.restart().await;
    assert_eq!(images(&shop, "cache").await, json!({ "app": NEWER }));
}

async fn what_a_service_runs_is_checked_as_at_its_creation(shop: Shop) {
    let admin = shop.admin().await;
    let path = path_of(&cache(&shop, &admin).await);
    let before = images(&shop, "cache").await;
    let put = async |edit: Value| admin.put(&path, because(edit)).await;
    for (edit, code, field) in [
        (
            json!({ "images": { "app": "docker.io/n8nio/n8n" } }),
            "VALIDATION_FAILED",
            "images.app",
        ),
        (json!({ "images": {} }), "VALIDATION_FAILED", "images"),
        (
            json!({ "images": { "app": NEWER, "other": NEWER } }),
            "PLUGIN_REFUSED_INPUT",
            "images.other",
        ),
    ] {
        let refused = put(edit).await;
        refused.fails(400, code);
        assert!(refused.detail(field).is_some(), "{:#}", refused.body);
    }
    put(json!({ "settings": { "relay": 5 } }))
        .await
        .fails(400, "PLUGIN_REFUSED_INPUT");
    assert_eq!(images(&shop, "cache").await, before);
    put(json!({ "podSecurityExceptions": ["run-as-root"] }))
        .await
        .data(200);
    let noted = acts(&admin, "service.changed").await;
    assert_eq!(
        noted[0]["details"]["fields"],
        json!([{ "field": "podSecurityExceptions", "before": [], "after": ["run-as-root"] }])
    );
}

/// The plugin renders user 0, and the gate refuses it of a service without the exception.
async fn a_service_runs_as_root_with_the_exception_alone(shop: Shop) {
    let admin = shop.admin().await;
    let workload = json!({
        "name": "app", "user": 0, "probe": { "http": "/" }, "ports": [{ "name": "http", "number": 8080 }],
        "volumes": [{ "name": "data", "path": "/data" }],
    });
    let mut new = because(json!({
        "slug": "as-root", "category": "databases", "plugin": "service-container", "name": "As root",
        "summary": "Runs as root.", "description": "Runs as root, which its image needs.",
        "images": { "app": "docker.io/library/nginx:1.29.3" }, "settings": { "workloads": [workload] },
        "plans": [new_plan("one", "BASIC", 10_000)],
    }));
    let is_refused = |answer: &Answer| {
        let text = &answer.fails(400, "PLUGIN_REFUSED_INPUT").text;
        assert!(
            text.contains("GATE_RUN_AS_ROOT") && text.contains("the exception `run-as-root`"),
            "{text}"
        );
    };
    let create = "/api/admin/services";
    is_refused(&admin.post(create, new.clone()).await);
    new["podSecurityExceptions"] = json!(["run-as-root"]);
    let made = admin.post(create, new).await.data(201);
    let without = because(json!({ "podSecurityExceptions": [] }));
    is_refused(&admin.put(&path_of(&made), without).await);

    let buyer = shop.customer_with_credit("akar@example.com", 10_000).await;
    let order = json!({ "planId": shop.plan("as-root", "one").await });
    let bought = buyer.post("/api/subscriptions", order).await.data(201);
    let id = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&buyer, id, "RUNNING").await;
    let path = format!("/api/instances/{id}/manifests");
    let objects = buyer.get(&path).await.data(200)["objects"].to_string();
    assert!(
        objects.contains("\"runAsUser\":0") && !objects.contains("runAsNonRoot"),
        "{objects}"
    );
}

async fn a_template_file_is_the_place_of_what_it_says(shop: Shop) {
    let admin = shop.admin().await;
    let n8n = service(&admin, "n8n").await;
    for edit in [
        json!({ "images": { "app": NEWER }, "name": "Flows" }),
        json!({ "settings": {} }),
        json!({ "podSecurityExceptions": [] }),
        json!({ "imageSupport": {} }),
    ] {
        let refused = admin.put(&path_of(&n8n), because(edit)).await;
        refused.fails(409, "INVALID_STATE");
        assert_eq!(
            refused.body["message"],
            "The images, settings and exceptions of this service are in its template file. \
             Change them there and reload the templates."
        );
    }
    assert_eq!(service(&admin, "n8n").await["name"], n8n["name"]);
}

/// The plugin was asked about a service that has changed since, or is asked about it as it is now.
async fn edits_of_what_a_service_runs_follow_one_another(shop: Shop) {
    let admin = shop.admin().await;
    let path = path_of(&cache(&shop, &admin).await);
    let image = |number: i64| format!("docker.io/n8nio/n8n:1.999.{number}");
    let edit = |number: i64| because(json!({ "images": { "app": image(number) } }));
    let answers = join_all((0..4).map(|number| admin.put(&path, edit(number)))).await;
    let is_done = |answer: &&Answer| answer.status == 200;
    for refused in answers.iter().filter(|answer| !is_done(answer)) {
        refused.fails(409, "CONFLICT");
    }
    let done = answers.iter().filter(is_done).count();
    let noted = acts(&admin, "service.changed").await;
    let noted = noted.as_array().unwrap();
    assert_eq!(noted.len(), done);
    let seen = images(&shop, "cache").await;
    let is_noted = |event: &Value| event["details"]["fields"][0]["after"] == seen;
    assert!(noted.iter().any(is_noted), "{seen:#} {noted:#?}");
    // The list shows the values that were written last, whichever edit came last.
    let shop = shop.restart().await;
    assert_eq!(images(&shop, "cache").await, seen);
}

/// The reset has read the template that the edit changes, and must not write it again.
async fn a_reset_beside_an_edit_leaves_the_newer_image(shop: Shop) {
    let admin = shop.admin().await;
    let path = path_of(&cache(&shop, &admin).await);
    let reset = format!("{path}/reset");
    for number in 0..4 {
        let image = format!("docker.io/n8nio/n8n:1.999.{number}");
        let edit = because(json!({ "images": { "app": image } }));
        let (back, edited) = tokio::join!(
            admin.post(&reset, because(json!({}))),
            admin.put(&path, edit.clone()),
        );
        edited.data(200);
        if back.status != 200 {
            back.fails(409, "CONFLICT");
        }
        // The same edit changes nothing: the image is still the newer one.
        admin.put(&path, edit).await.data(200);
        let noted = acts(&admin, "service.changed").await;
        assert_eq!(noted.as_array().unwrap().len(), number + 1, "{noted:#}");
    }
}

/// Facts about the image of `cache`, whose support ends so many days from now.
fn support(shop: &Shop, days: i64) -> Value {
    let today = shop.clock().now().date_naive();
    let until = today + TimeDelta::days(days);
    json!({ "app": {
        "supportedUntil": until.to_string(), "checkedOn": today.to_string(), "source": "Its makers' page.",
    } })
}

/// Lets the job look at the images; returns the open alerts about that of `cache`, the number of times that
/// administrators were told of it, and what is known of it.
async fn looked_at(shop: &Shop, admin: &Client) -> (Vec<Value>, u64, Value) {
    run(admin, "image-ages").await;
    let path = "/api/admin/alerts?kind=IMAGE_OLD&state=OPEN&limit=100";
    let mut alerts = admin.get(path).await.data(200);
    let alerts = alerts.as_array_mut().unwrap();
    alerts.retain(|alert| alert["subject"] == "cache/app");
    let written = "UPDATE outbox SET created_at = created_at
                   WHERE topic = 'IMAGE_OLD' AND (payload ->> 'service') = 'cache'";
    let told = shop.sql(written).await.unwrap();
    let images = admin.get("/api/admin/catalog/images").await.data(200);
    let mut images = images.as_array().unwrap().iter();
    let image = images.find(|image| image["service"] == "cache").unwrap();
    (std::mem::take(alerts), told, image.clone())
}

/// A service without a file has the same facts about its images as one of a template, and the same alert.
async fn an_image_past_its_support_is_told_once(shop: Shop) {
    let admin = shop.admin().await;
    let mut new = new_cache(&shop).await;
    new["imageSupport"] = support(&shop, 30);
    let made = admin.post("/api/admin/services", new).await.data(201);
    let (alerts, told, image) = looked_at(&shop, &admin).await;
    assert_eq!((alerts.len(), told), (0, 0), "{alerts:#?}");
    let known = support(&shop, 30)["app"].clone();
    for fact in ["supportedUntil", "checkedOn", "source"] {
        assert_eq!(image[fact], known[fact], "{image:#}");
    }
    assert_eq!(image["noEndPublished"], false, "{image:#}");

    let path = path_of(&made);
    let ended = because(json!({ "imageSupport": support(&shop, -1) }));
    for _ in 0..2 {
        admin.put(&path, ended.clone()).await.data(200);
        let (alerts, told, image) = looked_at(&shop, &admin).await;
        assert_eq!((alerts.len(), told), (1, 1), "{alerts:#?}");
        let message = alerts[0]["message"].as_str().unwrap();
        assert!(message.contains("PUT /api/admin/services/ID"), "{message}");
        assert!(image["old"].as_str().unwrap().contains("support ended"));
    }
    let noted = acts(&admin, "service.changed").await;
    assert_eq!(noted.as_array().unwrap().len(), 1, "{noted:#}");
    assert_eq!(noted[0]["details"]["fields"][0]["field"], "imageSupport");

    // The support of the image before says nothing of the newer one.
    admin.put(&path, newer()).await.data(200);
    let (alerts, told, image) = looked_at(&shop, &admin).await;
    assert_eq!((alerts.len(), told), (0, 1), "{alerts:#?}");
    assert_eq!(image["supportedUntil"], Value::Null);

    admin.put(&path, ended).await.data(200);
    let shop = shop.restart().await;
    let (alerts, told, _) = looked_at(&shop, &shop.admin().await).await;
    assert_eq!((alerts.len(), told), (1, 2), "{alerts:#?}");
}

async fn support_is_of_the_images_of_its_service(shop: Shop) {
    let admin = shop.admin().await;
    let new = new_cache(&shop).await;
    let good = support(&shop, 30)["app"].clone();
    let with = |fact: &str, value: &str| {
        let mut facts = good.clone();
        facts[fact] = json!(value);
        json!({ "app": facts })
    };
    for (wrong, field) in [
        (json!({ "other": good }), "imageSupport.other"),
        (with("checkedOn", "besok"), "imageSupport.app.checkedOn"),
        (
            with("supportedUntil", "1969-12-31"),
            "imageSupport.app.supportedUntil",
        ),
        (with("source", " "), "imageSupport.app.source"),
        (
            json!({ "app": with_no_end(&good) }),
            "imageSupport.app.noEndPublished",
        ),
        (
            json!({ "app": { "checkedOn": "2026-11-26" } }),
            "imageSupport.app.source",
        ),
    ] {
        let mut new = new.clone();
        new["imageSupport"] = wrong;
        let refused = admin.post("/api/admin/services", new).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail(field).is_some(), "{:#}", refused.body);
    }
}

/// The same facts, which also say that no end of support is published.
fn with_no_end(facts: &Value) -> Value {
    let mut facts = facts.clone();
    facts["noEndPublished"] = json!(true);
    facts
}

/// Said so, it stays so over an edit of something else and over a restart, which read it from the written template.
async fn a_service_says_that_no_end_of_support_is_published(shop: Shop) {
    let admin = shop.admin().await;
    let mut new = new_cache(&shop).await;
    let mut facts = with_no_end(&support(&shop, 30)["app"]);
    facts["supportedUntil"] = Value::Null;
    new["imageSupport"] = json!({ "app": facts });
    let made = admin.post("/api/admin/services", new).await.data(201);
    let relay = json!({ "host": "relay.example", "from": "a@example.com" });
    let edit = because(json!({ "settings": { "relay": relay } }));
    admin.put(&path_of(&made), edit).await.data(200);
    let shop = shop.restart().await;
    let (alerts, told, image) = looked_at(&shop, &shop.admin().await).await;
    assert_eq!((alerts.len(), told), (0, 0), "{alerts:#?}");
    assert_eq!(image["noEndPublished"], true, "{image:#}");
    assert_eq!(image["supportedUntil"], Value::Null, "{image:#}");
}

/// Any server may run the job, also one that has started before the service was made and edited elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_knows_the_support_of_a_service_at_once() {
    let Some(one) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let two = one.second_server().await;
    let admin = one.admin().await;
    let made = cache(&one, &admin).await;
    let edit = because(json!({ "imageSupport": support(&one, 30) }));
    admin.put(&path_of(&made), edit).await.data(200);
    let images = two.state().catalog.images(90).await.unwrap();
    let mut images = images.iter().filter(|image| image.service == "cache");
    assert!(images.next().unwrap().supported_until.is_some());
    assert!(images.next().is_none());
    two.close().await;
}
