//! Tests that a template refused by `plugin check` is not sold, and does not affect others.

use std::{fs, path::Path};

use dermaga_runtime::fixtures::ServiceFixture;
use dermaga_tests::{Answer, Client, Engine, Shop, checkout};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hostile::manifests::TEMPLATE;

/// Copies a template of the checkout, with changes.
fn write(folder: &Path, name: &str, changes: &[(&str, &str)]) {
    let from = checkout().join("service-templates").join(name);
    let text = fs::read_to_string(from).expect("the template");
    let changed = changes.iter().fold(text, |text, (old, new)| {
        assert!(text.contains(old), "{name} says {old}");
        text.replace(old, new)
    });
    fs::write(folder.join(name), changed).unwrap();
}

async fn sold(shop: &Shop) -> Vec<String> {
    let services = shop.client().get("/api/catalog/services").await.data(200);
    let slug = |service: &Value| service["slug"].as_str().unwrap().to_owned();
    let mut slugs: Vec<_> = services.as_array().unwrap().iter().map(slug).collect();
    slugs.sort();
    slugs
}

async fn reload(admin: &Client, dry_run: bool) -> Answer {
    let body = json!({ "dryRun": dry_run, "reason": "The templates were edited." });
    admin.post("/api/admin/catalog/reload", body).await
}

/// Returns file, true when the service is still sold, and key and message of the first problem.
fn refused(reload: &Value) -> Vec<(String, bool, String)> {
    let refused = reload["refused"].as_array().unwrap().iter();
    refused
        .map(|one| {
            let first = &one["problems"][0];
            assert!(first["line"].as_u64().unwrap() > 0, "{one:#}");
            let said = format!(
                "{}: {}",
                first["key"].as_str().unwrap(),
                first["message"].as_str().unwrap()
            );
            let file = one["file"].as_str().unwrap().to_owned();
            (file, one["soldAsBefore"].as_bool().unwrap(), said)
        })
        .collect()
}

async fn alerts(admin: &Client) -> Vec<(String, String)> {
    let path = "/api/admin/alerts?state=OPEN&kind=TEMPLATE_REFUSED";
    let alerts = admin.get(path).await.data(200);
    let told = |alert: &Value| {
        (
            alert["subject"].as_str().unwrap().to_owned(),
            alert["message"].as_str().unwrap().to_owned(),
        )
    };
    let mut told: Vec<_> = alerts.as_array().unwrap().iter().map(told).collect();
    told.sort();
    told
}

fn contains(found: &[(String, bool, String)], file: &str, sold: bool, part: &str) {
    assert!(
        found
            .iter()
            .any(|(name, on_sale, said)| name == file && *on_sale == sold && said.contains(part)),
        "{file}, {sold}, {part}: {found:#?}"
    );
}

/// A template refused by `plugin check` leaves its service as it was, at a reload and at a start;
/// one that never loaded is not sold; all others are.
async fn a_wrong_template_is_refused_alone(engine: Engine) {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    for name in [
        "n8n.toml",
        "valkey.toml",
        "uptime-kuma.toml",
        "wordpress.toml",
    ] {
        write(at, name, &[]);
    }
    // A name of an image differs from the plugin's.
    write(at, "ghost.toml", &[("[images.app]", "[images.apq]")]);
    let path = at.to_owned();
    let Some(shop) = Shop::open_with(engine, |config| config.templates_dir = Some(path)).await
    else {
        return;
    };
    let all = ["n8n", "uptime-kuma", "valkey", "wordpress"];
    assert_eq!(sold(&shop).await, all);
    let admin = shop.admin().await;
    let told = alerts(&admin).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "ghost.toml");
    assert!(
        told[0].1.contains("ghost.toml:18:1: images: ") && told[0].1.contains("ghost is not sold."),
        "{told:?}"
    );

    write(
        at,
        "n8n.toml",
        &[("monthly_price = 50_000", "monthly_price = 60_000")],
    );
    write(
        at,
        "valkey.toml",
        &[("default = \"noeviction\"", "default = \"never\"")],
    );
    // More scratch than the gate allows a pod.
    let scratch = "scratch = [{ path = \"/tmp\", mib = 128 }]";
    let more = "scratch = [{ path = \"/tmp\", mib = 2048 }, { path = \"/var/tmp\", mib = 2048 }]";
    write(at, "uptime-kuma.toml", &[(scratch, more)]);
    // A third for each of two volumes leaves a third of the storage unused.
    let whole = "{ name = \"site\", path = \"/var/www/html\" }";
    let third = "{ name = \"site\", path = \"/var/www/html\", share_percent = 34 }";
    write(at, "wordpress.toml", &[(whole, third)]);
    for dry_run in [true, false] {
        let answer = reload(&admin, dry_run).await.data(200);
        let found = refused(&answer);
        assert_eq!(found.len(), 4, "{found:#?}");
        contains(
            &found,
            "ghost.toml",
            false,
            "images: ghost: [images] does not list `app`",
        );
        contains(
            &found,
            "valkey.toml",
            true,
            "settings.config.eviction.default: the default of `eviction`, \"never\", is refused",
        );
        contains(&found, "uptime-kuma.toml", true, "GATE_EPHEMERAL_STORAGE");
        contains(
            &found,
            "wordpress.toml",
            true,
            "plans[0].resources.storage_gib: wordpress basic: the volumes take 4 GiB of the 6 GiB",
        );
        assert_eq!(answer["changes"].as_array().unwrap().len(), 1, "{answer:#}");
        assert_eq!(alerts(&admin).await.len(), if dry_run { 1 } else { 4 });
    }
    assert_eq!(sold(&shop).await, all);
    assert_eq!(shop.plan_view("n8n", "basic").await["monthlyPrice"], 60_000);

    // A template is broken before a restart.
    fs::write(at.join("n8n.toml"), "slug = \"n8n\"\nname = N8N\n").unwrap();
    let shop = shop.restart().await;
    assert_eq!(sold(&shop).await, all);
    assert_eq!(shop.plan_view("n8n", "basic").await["monthlyPrice"], 60_000);
    let admin = shop.admin().await;
    let told = alerts(&admin).await;
    let (_, n8n) = told.iter().find(|(file, _)| file == "n8n.toml").unwrap();
    assert!(
        n8n.contains("n8n.toml:2:") && n8n.contains("n8n is sold as it was loaded last."),
        "{n8n}"
    );
    let buyer = shop.customer("terus@example.com").await;
    for service in ["n8n", "valkey"] {
        let order = json!({ "planId": shop.plan(service, "free").await });
        buyer.post("/api/subscriptions", order).await.data(201);
    }

    for name in [
        "n8n.toml",
        "valkey.toml",
        "uptime-kuma.toml",
        "wordpress.toml",
        "ghost.toml",
    ] {
        write(at, name, &[]);
    }
    let mended = reload(&admin, false).await.data(200);
    assert_eq!(mended["refused"], json!([]));
    assert_eq!(sold(&shop).await.len(), 5);
    assert_eq!(shop.plan_view("n8n", "basic").await["monthlyPrice"], 50_000);
    assert_eq!(alerts(&admin).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_template_is_refused_alone_on_sqlite() {
    Box::pin(a_wrong_template_is_refused_alone(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_template_is_refused_alone_on_postgres() {
    Box::pin(a_wrong_template_is_refused_alone(Engine::Postgres)).await;
}

fn version(number: &str, manifests: Vec<Value>) -> Vec<u8> {
    let mut fixture = ServiceFixture::rendering(manifests);
    fixture.about.version = number.to_owned();
    fixture.component()
}

/// Builds a version whose manifests the gate always refuses.
fn breaking(number: &str) -> Vec<u8> {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n" } });
    version(number, vec![node])
}

async fn activate(admin: &Client, digest: &Value) -> Answer {
    let path = "/api/admin/plugins/service-fixture/activate";
    admin.post(path, json!({ "digest": digest })).await
}

/// A version that breaks a service is not activated; one put into the database past every check
/// takes the service off sale, and no customer is charged.
async fn a_version_that_breaks_a_service_is_not_activated(engine: Engine) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_owned();
    let Some(shop) = Shop::open_with(engine, |config| {
        config.plugins_dir = Some(path.clone());
        config.templates_dir = Some(path);
    })
    .await
    else {
        return;
    };
    let admin = shop.admin().await;
    let good = admin.upload(version("1.0.0", Vec::new())).await.data(201)["digest"].clone();
    // No template names the plugin yet, so that nothing shows what it renders.
    let bad = admin.upload(breaking("2.0.0")).await.data(201)["digest"].clone();
    activate(&admin, &good).await.data(200);
    fs::write(folder.path().join("fixture.toml"), TEMPLATE).unwrap();
    let loaded = reload(&admin, false).await.data(200);
    assert_eq!(loaded["refused"], json!([]));

    let answer = activate(&admin, &bad).await;
    let text = answer.fails(409, "INVALID_STATE").text.clone();
    assert!(
        text.contains("fixture.toml:17:1") && text.contains("GATE_KIND_NOT_ALLOWED"),
        "{text}"
    );
    let plugin = admin
        .get("/api/admin/plugins/service-fixture")
        .await
        .data(200);
    assert_eq!(plugin["running"], good);
    assert_eq!(sold(&shop).await, ["fixture"]);

    let plan = shop.plan("fixture", "basic").await;
    shop.put_in_place("service-fixture", &breaking("3.0.0"))
        .await;
    shop.state().plugins.refresh().await.unwrap();
    let off = reload(&admin, false).await.data(200);
    contains(
        &refused(&off),
        "fixture.toml",
        false,
        "GATE_KIND_NOT_ALLOWED",
    );
    assert_eq!(sold(&shop).await, Vec::<String>::new());
    let customer = shop.customer("aman@example.com").await;
    let order = json!({ "planId": plan });
    customer
        .post("/api/subscriptions", order)
        .await
        .fails(409, "PLAN_UNAVAILABLE");
    activate(&admin, &good).await.data(200);
    let back = reload(&admin, false).await.data(200);
    assert_eq!(back["refused"], json!([]));
    assert_eq!(sold(&shop).await, ["fixture"]);
    assert_eq!(alerts(&admin).await, []);
    shop.books_balance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_breaks_a_service_is_not_activated_on_sqlite() {
    a_version_that_breaks_a_service_is_not_activated(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_breaks_a_service_is_not_activated_on_postgres() {
    a_version_that_breaks_a_service_is_not_activated(Engine::Postgres).await;
}

/// The folder of plugins does not replace a version by one that breaks a service; and a wrong
/// template does not prevent the installation of plugins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_folder_replaces_no_version_by_one_that_breaks_a_service() {
    let folder = TempDir::new().unwrap();
    let component = folder.path().join("fixture.wasm");
    fs::write(&component, version("1.0.0", Vec::new())).unwrap();
    fs::write(folder.path().join("fixture.toml"), TEMPLATE).unwrap();
    let wrong = TEMPLATE
        .replace("\"fixture\"", "\"other\"")
        .replace("\napp = ", "\napq = ");
    fs::write(folder.path().join("other.toml"), wrong).unwrap();
    let path = folder.path().to_owned();
    let shop = Shop::open_with(Engine::Sqlite, |config| {
        config.plugins_dir = Some(path.clone());
        config.templates_dir = Some(path);
    })
    .await
    .unwrap();
    assert_eq!(sold(&shop).await, ["fixture"]);
    let first = shop.state().plugins.running("service-fixture");
    assert!(first.is_some());

    fs::write(&component, breaking("2.0.0")).unwrap();
    let shop = shop.restart().await;
    assert_eq!(shop.state().plugins.running("service-fixture"), first);
    assert_eq!(sold(&shop).await, ["fixture"]);
}

/// Templates that passed are not checked again; those that failed are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_passed_is_remembered() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "n8n.toml", &[]);
    write(
        folder.path(),
        "ghost.toml",
        &[("[images.app]", "[images.apq]")],
    );
    let path = folder.path().to_owned();
    let shop = Shop::open_with(Engine::Sqlite, |config| config.templates_dir = Some(path))
        .await
        .unwrap();
    let remembered = async |shop: &Shop| {
        let mut conn = shop.state().db.read().await.unwrap();
        let sql = "SELECT key, passed_at FROM template_checks";
        dermaga_shop::fetch_all!(conn, (String, chrono::DateTime<chrono::Utc>), sql).unwrap()
    };
    let before = remembered(&shop).await;
    assert_eq!(before.len(), 1, "{before:?}");
    shop.clock().advance(chrono::TimeDelta::days(1));
    let shop = shop.restart().await;
    assert_eq!(remembered(&shop).await, before);
    write(folder.path(), "n8n.toml", &[("quota = 100", "quota = 99")]);
    reload(&shop.admin().await, false).await.data(200);
    assert_eq!(remembered(&shop).await.len(), 2);
}

/// A plan that got another slug would be sold beside itself, since plans without a template stay on sale.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_has_one_plan_also_when_a_slug_changes() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "n8n.toml", &[]);
    let path = folder.path().to_owned();
    let shop = Shop::open_with(Engine::Sqlite, |config| config.templates_dir = Some(path))
        .await
        .unwrap();
    let admin = shop.admin().await;
    let renamed = [("slug = \"basic\"", "slug = \"standard\"")];
    write(folder.path(), "n8n.toml", &renamed);
    let told = reload(&admin, false).await.data(200);
    let part = "the plan basic has the tier BASIC too";
    contains(&refused(&told), "n8n.toml", true, part);
    assert_eq!(told["changes"], json!([]));

    let found = admin.get("/api/admin/services?q=n8n").await.data(200);
    let plans = found[0]["plans"].as_array().unwrap();
    let basic = plans.iter().find(|plan| plan["slug"] == "basic").unwrap();
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    let path = format!("/api/admin/services/{}/plans/{}", id(&found[0]), id(basic));
    let because = json!({ "reason": "It has another name now." });
    admin.delete_with(&path, because).await.data(200);
    let told = reload(&admin, false).await.data(200);
    assert_eq!(told["refused"], json!([]));
    shop.plan("n8n", "standard").await;
}
