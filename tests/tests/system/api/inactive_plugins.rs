//! Tests that nothing is sold of a plugin without an active version in the database, whatever this server has in
//! memory and however the last version went.

use std::{fs, path::Path, time::Duration};

use dermaga_runtime::fixtures::ServiceFixture;
use dermaga_tests::{Client, Engine, Shop, both_engines};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::services::{because, path_of, plan_path, service};
use crate::hostile::manifests::TEMPLATE;

const PLUGIN: &str = "/api/admin/plugins/service-fixture";
const OFFER: &str = "/api/catalog/services/fixture";
const RETIRED: &str = "The plugin `service-fixture` was retired.";
const ABSENT: &str = "No version of the plugin `service-fixture` is active.";

/// A shop with an empty folder of plugins and templates, which asks for an hour nothing of what other servers have
/// activated.
struct Empty {
    shop: Shop,
    folder: TempDir,
}

impl Empty {
    async fn open(engine: Engine) -> Option<Self> {
        Self::open_in(engine, TempDir::new().unwrap()).await
    }

    async fn open_in(engine: Engine, folder: TempDir) -> Option<Self> {
        let path = folder.path().to_owned();
        let shop = Shop::open_with(engine, |config| {
            config.plugins_dir = Some(path.clone());
            config.templates_dir = Some(path);
            config.plugin_poll = Duration::from_secs(3_600);
        });
        let shop = shop.await?;
        Some(Self { shop, folder })
    }
}

/// The same with a plugin and its template in the folder.
struct Furnished;

impl Furnished {
    async fn open(engine: Engine) -> Option<Empty> {
        let folder = TempDir::new().unwrap();
        fs::write(component_of(folder.path()), good("1.0.0")).unwrap();
        write_template(folder.path());
        Empty::open_in(engine, folder).await
    }
}

both_engines!(
    Empty,
    [
        a_template_of_an_unknown_plugin_waits_for_it,
        a_sale_stays_ended_when_the_retired_version_is_deleted,
        a_reset_says_how_a_version_becomes_active,
        the_version_that_is_active_in_the_database_is_asked,
        a_version_that_another_server_activated_is_loaded_when_it_is_asked,
        a_retired_upload_is_no_retirement_of_its_plugin,
        a_version_that_does_not_load_changes_nothing,
        a_version_brings_back_what_was_loaded_last,
    ]
);

both_engines!(
    Furnished,
    [
        the_folder_does_not_bring_back_what_was_retired_and_deleted,
        a_service_without_a_template_comes_back_with_its_plugin,
    ]
);

fn component_of(folder: &Path) -> std::path::PathBuf {
    folder.join("fixture.wasm")
}

fn write_template(folder: &Path) {
    fs::write(folder.join("fixture.toml"), TEMPLATE).unwrap();
}

fn version(number: &str, manifests: Vec<Value>) -> Vec<u8> {
    let mut fixture = ServiceFixture::rendering(manifests);
    fixture.about.version = number.to_owned();
    fixture.component()
}

fn good(number: &str) -> Vec<u8> {
    version(number, Vec::new())
}

/// Builds a version whose manifests the gate always refuses.
fn breaking(number: &str) -> Vec<u8> {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n" } });
    version(number, vec![node])
}

/// Uploads and activates a version; returns its digest.
async fn install(admin: &Client, component: Vec<u8>) -> Value {
    let staged = admin.upload(component).await.data(201);
    let body = json!({ "digest": staged["digest"] });
    let path = format!("{PLUGIN}/activate");
    admin.post(&path, body).await.data(200);
    staged["digest"].clone()
}

/// Retires the plugin and ends the sale of its services, then deletes this version.
async fn retire_and_delete(admin: &Client, digest: &Value) {
    let retire = format!("{PLUGIN}/retire?stopSelling=true");
    admin.post(&retire, json!(null)).await.data(200);
    let path = format!("{PLUGIN}/versions/{}", digest.as_str().unwrap());
    let deleted = admin.delete(&path).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
}

async fn reload(admin: &Client) -> Value {
    let path = "/api/admin/catalog/reload";
    admin.post(path, because(json!({}))).await.data(200)
}

async fn state(admin: &Client) -> Value {
    service(admin, "fixture").await["state"].clone()
}

/// Asserts that the reload has refused the template for its plugin, with this sentence.
fn refuses(told: &Value, why: &str) {
    let refused = &told["refused"][0];
    let problem = &refused["problems"][0];
    let found = (
        &refused["service"],
        &refused["soldAsBefore"],
        &problem["key"],
        &problem["message"],
    );
    let expected = (
        &json!("fixture"),
        &json!(false),
        &json!("plugin"),
        &json!(why),
    );
    assert_eq!(found, expected, "{told:#}");
}

/// Returns the sentences of the open alerts about templates.
async fn alerts(admin: &Client) -> Vec<String> {
    let path = "/api/admin/alerts?state=OPEN&kind=TEMPLATE_REFUSED";
    let alerts = admin.get(path).await.data(200);
    let told = alerts.as_array().unwrap().iter();
    told.map(|alert| alert["message"].as_str().unwrap().to_owned())
        .collect()
}

/// Changes the versions of the plugin as another server does, of which this one has not heard.
async fn quietly(shop: &Shop, statements: &[&str]) {
    let statements: Vec<String> = statements.iter().map(|sql| (*sql).to_owned()).collect();
    shop.rewrite(&statements).await.unwrap();
}

/// It is put to each upload meanwhile, and sold once a version is active and the templates are read again.
async fn a_template_of_an_unknown_plugin_waits_for_it(empty: Empty) {
    let Empty { shop, folder } = empty;
    let admin = shop.admin().await;
    write_template(folder.path());
    refuses(&reload(&admin).await, ABSENT);
    shop.client().get(OFFER).await.fails(404, "NOT_FOUND");
    let told = alerts(&admin).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains(ABSENT) && told[0].contains("Upload the plugin, activate it"),
        "{told:?}"
    );
    assert!(!told[0].contains("Fix the file"), "{told:?}");

    let shop = shop.restart().await;
    shop.client().get(OFFER).await.fails(404, "NOT_FOUND");
    let admin = shop.admin().await;
    let refused = admin.upload(breaking("0.9.0")).await;
    let text = refused.fails(400, "COMPONENT_REFUSED").text.clone();
    assert!(text.contains("GATE_KIND_NOT_ALLOWED"), "{text}");
    install(&admin, good("1.0.0")).await;
    assert_eq!(reload(&admin).await["refused"], json!([]));
    assert_eq!(state(&admin).await, "ON_SALE");
    assert_eq!(alerts(&admin).await, Vec::<String>::new());
}

/// Also beside a file that is wrong by then, of which the alert says what is true.
async fn a_version_brings_back_what_was_loaded_last(empty: Empty) {
    let Empty { shop, folder } = empty;
    let admin = shop.admin().await;
    let first = install(&admin, good("1.0.0")).await;
    write_template(folder.path());
    assert_eq!(reload(&admin).await["refused"], json!([]));
    retire_and_delete(&admin, &first).await;
    reload(&admin).await;
    assert_eq!(alerts(&admin).await.len(), 1);
    let second = install(&admin, good("1.0.1")).await;
    assert_eq!(state(&admin).await, "ON_SALE");
    assert_eq!(alerts(&admin).await, Vec::<String>::new());

    retire_and_delete(&admin, &second).await;
    fs::write(folder.path().join("fixture.toml"), "wrong").unwrap();
    let told = reload(&admin).await;
    assert_eq!(told["refused"][0]["soldAsBefore"], false, "{told:#}");
    assert_eq!(state(&admin).await, "REFUSED");
    let staged = admin.upload(breaking("1.0.2")).await.data(201);
    let body = json!({ "digest": staged["digest"] });
    let activation = admin.post(&format!("{PLUGIN}/activate"), body).await;
    let text = activation.fails(409, "INVALID_STATE").text.clone();
    assert!(text.contains("GATE_KIND_NOT_ALLOWED"), "{text}");
    install(&admin, good("1.0.3")).await;
    assert_eq!(state(&admin).await, "ON_SALE");
    let told = alerts(&admin).await;
    assert!(
        told.len() == 1 && told[0].contains("is sold as it was loaded last"),
        "{told:?}"
    );
    write_template(folder.path());
    assert_eq!(reload(&admin).await["refused"], json!([]));
    assert_eq!(alerts(&admin).await, Vec::<String>::new());
}

/// Rows of retired versions are gone then, and the retirement is not.
async fn a_sale_stays_ended_when_the_retired_version_is_deleted(empty: Empty) {
    let Empty { shop, folder } = empty;
    let admin = shop.admin().await;
    let first = install(&admin, good("1.0.0")).await;
    write_template(folder.path());
    assert_eq!(reload(&admin).await["refused"], json!([]));
    assert_eq!(state(&admin).await, "ON_SALE");
    retire_and_delete(&admin, &first).await;

    refuses(&reload(&admin).await, RETIRED);
    let off = service(&admin, "fixture").await;
    assert_eq!(off["state"], "REFUSED");
    shop.client().get(OFFER).await.fails(404, "NOT_FOUND");
    let told = alerts(&admin).await;
    assert!(
        told[0].contains("Upload the plugin, activate it and reload"),
        "{told:?}"
    );

    let (path, plan) = (path_of(&off), plan_path(&off, "basic"));
    let on = because(json!({ "active": true }));
    for toggle in [format!("{path}/toggle"), format!("{plan}/toggle")] {
        let switched = admin.patch(&toggle, on.clone()).await;
        let said = format!("It is switched on, but is not on sale yet. {RETIRED}");
        assert_eq!(switched.body["message"], said, "{toggle}");
        switched.data(200);
    }
    let dearer = because(json!({ "monthlyPrice": 60_000 }));
    let refused = admin.put(&plan, dearer).await;
    refused.fails(409, "INVALID_STATE");
    let reset = format!("{path}/reset");
    let refused = admin.post(&reset, because(json!({}))).await;
    refused.fails(409, "INVALID_STATE");
    let told = format!("{RETIRED} Upload a version of it and activate that first.");
    assert_eq!(refused.body["message"], told);
    assert_eq!(state(&admin).await, "REFUSED");

    // Without a file nothing is to be corrected, and nothing is sold.
    fs::remove_file(folder.path().join("fixture.toml")).unwrap();
    assert_eq!(reload(&admin).await["refused"], json!([]));
    assert_eq!(alerts(&admin).await, Vec::<String>::new());
    assert_eq!(state(&admin).await, "REFUSED");
    let shop = shop.restart().await;
    let admin = shop.admin().await;
    assert_eq!(state(&admin).await, "REFUSED");

    install(&admin, good("2.0.0")).await;
    assert_eq!(state(&admin).await, "ON_SALE");
    shop.client().get(OFFER).await.data(200);
}

/// A retired version is not activated again, and one that was uploaded since can be.
async fn a_reset_says_how_a_version_becomes_active(empty: Empty) {
    let Empty { shop, folder } = empty;
    let admin = shop.admin().await;
    install(&admin, good("1.0.0")).await;
    write_template(folder.path());
    reload(&admin).await;
    let reset = format!("{}/reset", path_of(&service(&admin, "fixture").await));
    let retire = format!("{PLUGIN}/retire?stopSelling=true");
    admin.post(&retire, json!(null)).await.data(200);
    for advice in [
        "Upload it with a higher version number and activate that first.",
        "Activate a version of it first.",
    ] {
        let refused = admin.post(&reset, because(json!({}))).await;
        refused.fails(409, "INVALID_STATE");
        assert_eq!(refused.body["message"], format!("{RETIRED} {advice}"));
        admin.upload(good("2.0.0")).await;
    }
}

/// Another server has activated a version that breaks the service, then one that does not, and then removed both.
async fn the_version_that_is_active_in_the_database_is_asked(empty: Empty) {
    let Empty { shop, folder } = empty;
    let admin = shop.admin().await;
    // No template names the plugin yet, so that nothing shows what it renders.
    let working = admin.upload(good("1.0.0")).await.data(201);
    admin.upload(breaking("2.0.0")).await.data(201);
    let activate_breaking = "UPDATE plugin_versions SET state = 'ACTIVE', activated_at = created_at
         WHERE plugin_id = 'service-fixture' AND version = '2.0.0'";
    quietly(&shop, &[activate_breaking]).await;
    write_template(folder.path());
    let told = reload(&admin).await;
    let problems = told["refused"][0]["problems"].to_string();
    assert!(problems.contains("GATE_KIND_NOT_ALLOWED"), "{told:#}");
    shop.client().get(OFFER).await.fails(404, "NOT_FOUND");

    let swap = [
        "UPDATE plugin_versions SET state = 'SUPERSEDED' WHERE plugin_id = 'service-fixture' AND version = '2.0.0'",
        "UPDATE plugin_versions SET state = 'ACTIVE', activated_at = created_at
           WHERE plugin_id = 'service-fixture' AND version = '1.0.0'",
    ];
    quietly(&shop, &swap).await;
    assert_eq!(reload(&admin).await["refused"], json!([]));
    let running = shop.state().plugins.running("service-fixture");
    let running = running.map(|digest| digest.to_string());
    assert_eq!(running.as_deref(), working["digest"].as_str());
    let plan = shop.plan_view("fixture", "basic").await;
    assert_eq!(plan["isAvailable"], true, "{plan:#}");

    let remove = "DELETE FROM plugin_versions WHERE plugin_id = 'service-fixture'";
    quietly(&shop, &[remove]).await;
    assert!(shop.state().plugins.active("service-fixture").is_ok());
    refuses(&reload(&admin).await, ABSENT);
    assert_eq!(state(&admin).await, "REFUSED");
    shop.client().get(OFFER).await.fails(404, "NOT_FOUND");
}

/// Nothing of the plugin runs on this server, which has not heard of it yet.
async fn a_version_that_another_server_activated_is_loaded_when_it_is_asked(empty: Empty) {
    let Empty { shop, folder } = empty;
    let admin = shop.admin().await;
    install(&admin, good("1.0.0")).await;
    write_template(folder.path());
    assert_eq!(reload(&admin).await["refused"], json!([]));
    let order = json!({ "planId": shop.plan("fixture", "basic").await });
    let customer = shop.customer("pertama@example.com").await;
    let (dry_run, call) = (
        format!("{PLUGIN}/dry-run"),
        json!({ "function": "describe", "input": {} }),
    );
    for (client, path, body) in [
        (&customer, "/api/subscriptions/quote", order),
        (&admin, dry_run.as_str(), call),
    ] {
        let stage = "UPDATE plugin_versions SET state = 'STAGED'";
        quietly(&shop, &[stage]).await;
        shop.state().plugins.refresh().await.unwrap();
        let refused = client.post(path, body.clone()).await;
        refused.fails(503, "PLUGIN_UNAVAILABLE");
        assert_eq!(refused.body["message"], ABSENT, "{path}");
        let activate = "UPDATE plugin_versions SET state = 'ACTIVE'";
        quietly(&shop, &[activate]).await;
        client.post(path, body).await.data(200);
    }
}

/// One server ends the sale, and the other one reads the templates right after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_that_one_server_ended_is_ended_on_the_other_one() {
    let Some(Empty { shop: one, folder }) = Empty::open(Engine::Postgres).await else {
        return;
    };
    let admin = one.admin().await;
    let digest = install(&admin, good("1.0.0")).await;
    write_template(folder.path());
    assert_eq!(reload(&admin).await["refused"], json!([]));
    let two = one.second_server().await;
    two.client().get(OFFER).await.data(200);
    let beside = admin.moved_to(two.client());
    retire_and_delete(&admin, &digest).await;
    refuses(&reload(&beside).await, RETIRED);
    assert_eq!(state(&beside).await, "REFUSED");
    two.client().get(OFFER).await.fails(404, "NOT_FOUND");
}

/// The same file, and a newer one, are staged and wait for an administrator.
async fn the_folder_does_not_bring_back_what_was_retired_and_deleted(furnished: Empty) {
    let Empty { shop, folder } = furnished;
    let admin = shop.admin().await;
    assert_eq!(state(&admin).await, "ON_SALE");
    let plugin = admin.get(PLUGIN).await.data(200);
    retire_and_delete(&admin, &plugin["active"]).await;
    admin.get(PLUGIN).await.fails(404, "NOT_FOUND");

    let mut shop = shop;
    for number in ["1.0.0", "2.0.0"] {
        fs::write(component_of(folder.path()), good(number)).unwrap();
        shop = shop.restart().await;
        let admin = shop.admin().await;
        let plugin = admin.get(PLUGIN).await.data(200);
        assert_eq!(plugin["active"], json!(null), "{number}: {plugin:#}");
        let mut versions = plugin["versions"].as_array().unwrap().iter();
        assert!(versions.all(|version| version["state"] == "STAGED"));
        let off = service(&admin, "fixture").await;
        assert_eq!(
            (&off["state"], &off["refused"]),
            (&json!("REFUSED"), &json!(RETIRED))
        );
        shop.client().get(OFFER).await.fails(404, "NOT_FOUND");
    }
    let admin = shop.admin().await;
    let staged = admin.get(PLUGIN).await.data(200);
    let newest = json!({ "digest": staged["versions"][0]["digest"] });
    let path = format!("{PLUGIN}/activate");
    admin.post(&path, newest).await.data(200);
    assert_eq!(state(&admin).await, "ON_SALE");
}

/// It was never active, so that the folder may install the plugin.
async fn a_retired_upload_is_no_retirement_of_its_plugin(empty: Empty) {
    let Empty { shop, folder } = empty;
    let admin = shop.admin().await;
    let staged = admin.upload(good("0.9.0")).await.data(201);
    let path = format!("{PLUGIN}/versions/{}", staged["digest"].as_str().unwrap());
    let retired = admin.post(&format!("{path}/retire"), json!(null)).await;
    retired.data(200);
    let deleted = admin.delete(&path).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    write_template(folder.path());
    refuses(&reload(&admin).await, ABSENT);

    fs::write(component_of(folder.path()), good("1.0.0")).unwrap();
    let shop = shop.restart().await;
    let admin = shop.admin().await;
    assert_eq!(state(&admin).await, "ON_SALE");
}

/// No later reload would look at it: it was loaded before templates were kept, and no file names it.
async fn a_service_without_a_template_comes_back_with_its_plugin(furnished: Empty) {
    let Empty { shop, folder } = furnished;
    let admin = shop.admin().await;
    assert_eq!(state(&admin).await, "ON_SALE");
    let refuse = format!(
        "UPDATE services SET template = NULL, template_file = NULL, refused = '{ABSENT}' WHERE slug = 'fixture'"
    );
    let remove = "DELETE FROM plugin_versions WHERE plugin_id = 'service-fixture'";
    quietly(&shop, &[refuse.as_str(), remove]).await;
    fs::remove_file(folder.path().join("fixture.toml")).unwrap();
    let shop = shop.restart().await;
    let admin = shop.admin().await;
    let found = service(&admin, "fixture").await;
    assert_eq!(found["state"], "ON_SALE", "{found:#}");
}

/// Another server has activated one that is damaged: the version that ran before decides nothing in its place, and the
/// service stays as it is.
async fn a_version_that_does_not_load_changes_nothing(empty: Empty) {
    let Empty { shop, folder } = empty;
    let admin = shop.admin().await;
    install(&admin, good("1.0.0")).await;
    write_template(folder.path());
    assert_eq!(reload(&admin).await["refused"], json!([]));
    admin.upload(good("2.0.0")).await.data(201);
    // The next start has it in memory no more.
    let shop = shop.restart().await;
    let admin = shop.admin().await;
    let swap = [
        "UPDATE plugin_versions SET state = 'SUPERSEDED' WHERE plugin_id = 'service-fixture' AND version = '1.0.0'",
        "UPDATE plugin_versions SET state = 'ACTIVE', activated_at = created_at, component = substr(component, 2)
           WHERE plugin_id = 'service-fixture' AND version = '2.0.0'",
    ];
    quietly(&shop, &swap).await;
    let renamed = TEMPLATE.replace("name = \"Fixture\"", "name = \"Renamed\"");
    assert_ne!(renamed, TEMPLATE);
    fs::write(folder.path().join("fixture.toml"), renamed).unwrap();
    let told = reload(&admin).await;
    let refused = &told["refused"][0];
    assert_eq!(
        (
            &refused["soldAsBefore"],
            &refused["problems"][0]["message"],
            &told["changes"]
        ),
        (
            &json!(true),
            &json!("The plugin `service-fixture` could not be loaded."),
            &json!([])
        ),
        "{told:#}"
    );
    let images = "/api/admin/catalog/images";
    let before = admin.get(images).await.data(200);
    assert_eq!(before[0]["service"], "fixture", "{before:#}");

    // Nothing runs after a start.
    let shop = shop.restart().await;
    let admin = shop.admin().await;
    assert_eq!(state(&admin).await, "ON_SALE");
    assert_eq!(admin.get(images).await.data(200), before);
    // Another alert says it, and ends by itself.
    assert_eq!(alerts(&admin).await, Vec::<String>::new());
}
