//! Requests whose checks are made before their transaction: what has changed by then is seen within it.

use std::time::Duration;

use dermaga_runtime::fixtures::ServiceFixture;
use dermaga_shop::{db::Conn, execute, ids::SubscriptionId};
use dermaga_tests::{Answer, Client, Engine, Shop, both_engines};
use serde_json::{Value, json};

use crate::{
    api::{
        categories::{self, category},
        services::{because, images, new_plan, path_of, plan_path, service},
    },
    journeys::{
        renewal::{buy, id_of, subscription},
        upgrade::customer_with_cash,
    },
};

const SERVICES: &str = "/api/admin/services";
const ACTIVATE: &str = "/api/admin/plugins/service-fixture/activate";

both_engines!(
    Shop,
    [
        no_coupon_is_made_of_a_type_that_was_retired,
        no_service_is_made_of_a_plugin_that_was_retired,
    ]
);

/// A shop that asks for an hour nothing of what other servers have activated.
struct Unaware;

impl Unaware {
    async fn open(engine: Engine) -> Option<Shop> {
        let rest = Duration::from_secs(3_600);
        Shop::open_with(engine, |config| config.plugin_poll = rest).await
    }
}

both_engines!(Unaware, [a_service_is_accepted_by_the_version_of_now]);

/// Sends a request while a transaction is open that changes what the request looks at, and commits it once the
/// request waits for its locks, at a statement with this beginning. SQLite tells nothing of those who wait: there a
/// request on a slow machine may come after the commit.
pub(crate) async fn meanwhile(
    shop: &Shop,
    statement: &str,
    change: impl AsyncFnOnce(&mut Conn),
    request: impl Future<Output = Answer> + Send + 'static,
) -> Answer {
    let mut conn = shop.state().db.begin().await.unwrap();
    change(&mut conn).await;
    let asking = tokio::spawn(request);
    if conn.is_postgres() {
        shop.statements_wait(&format!("{statement}%"), 1).await;
    } else {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    conn.commit().await.unwrap();
    asking.await.unwrap()
}

/// Returns a request that can be sent beside the test.
fn post(client: &Client, path: &str, body: Value) -> impl Future<Output = Answer> + Send + use<> {
    let (client, path) = (client.clone(), path.to_owned());
    async move { client.post(&path, body).await }
}

fn put(client: &Client, path: &str, body: Value) -> impl Future<Output = Answer> + Send + use<> {
    let (client, path) = (client.clone(), path.to_owned());
    async move { client.put(&path, body).await }
}

async fn cache(shop: &Shop) -> Value {
    because(json!({
        "slug": "cache", "category": "web", "plugin": "service-n8n", "name": "Cache",
        "summary": "A cache.", "description": "A cache, made here.",
        "images": images(shop, "n8n").await, "plans": [new_plan("one", "BASIC", 10_000)],
    }))
}

/// Retires the versions of a plugin on another server, of which this one has not heard.
async fn retire(shop: &Shop, plugin: &str) {
    let mut conn = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE plugin_versions SET state = 'RETIRED', retired_at = created_at WHERE plugin_id = $1";
    assert!(execute!(conn, sql, plugin).unwrap() > 0);
    conn.commit().await.unwrap();
}

async fn no_coupon_is_made_of_a_type_that_was_retired(shop: Shop) {
    let admin = shop.admin().await;
    let coupon = |code: &str| {
        json!({
            "code": code, "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 },
        })
    };
    let path = "/api/admin/coupons";
    let made = admin.post(path, coupon("DULU")).await.data(201);
    retire(&shop, "coupon-credit-topup").await;
    let refused = admin.post(path, coupon("NANTI")).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("plugin").is_some(), "{}", refused.text);
    let of_made = format!("{path}/{}", made["id"].as_str().unwrap());
    let refused = admin.put(&of_made, coupon("DULU")).await;
    refused.fails(400, "VALIDATION_FAILED");
    let found = admin.get(&format!("{path}?q=NANTI")).await.data(200);
    assert_eq!(found, json!([]));
}

async fn no_service_is_made_of_a_plugin_that_was_retired(shop: Shop) {
    let admin = shop.admin().await;
    let web = category("web", &Value::Null, 0);
    admin.post(categories::PATH, web).await.data(201);
    let new = cache(&shop).await;
    retire(&shop, "service-n8n").await;
    let refused = admin.post(SERVICES, new).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("plugin").is_some(), "{}", refused.text);
}

/// Builds a version of a plugin that is not among those of the shop.
fn version(number: &str) -> Vec<u8> {
    let mut fixture = ServiceFixture::default();
    fixture.about.version = number.to_owned();
    fixture.component()
}

/// Uploads a version; returns what activates it.
async fn staged(admin: &Client, number: &str) -> Value {
    let staged = admin.upload(version(number)).await.data(201);
    json!({ "digest": staged["digest"] })
}

/// Returns a service of that plugin, in a category that this makes.
async fn of_fixture(admin: &Client) -> Value {
    let web = category("web", &Value::Null, 0);
    admin.post(categories::PATH, web).await.data(201);
    because(json!({
        "slug": "fixture", "category": "web", "plugin": "service-fixture", "name": "Fixture",
        "summary": "For tests.", "description": "For tests.",
        "images": { "app": "docker.io/library/nginx:1.29.3" },
        "plans": [new_plan("one", "BASIC", 50_000)],
    }))
}

/// Another server has activated a version of which this one has not heard: it is loaded, and then asked.
async fn a_service_is_accepted_by_the_version_of_now(shop: Shop) {
    let admin = shop.admin().await;
    let new = of_fixture(&admin).await;
    let first = staged(&admin, "1.0.0").await;
    admin.post(ACTIVATE, first).await.data(200);
    let running = || {
        let digest = shop.state().plugins.running("service-fixture");
        digest.map(|digest| digest.to_string())
    };
    let second = version("2.0.0");
    let second = shop.put_in_place("service-fixture", &second).await;
    let made = admin.post(SERVICES, new).await.data(201);
    assert_eq!(running(), Some(second));
    // A version accepts its images and settings, too.
    let third = version("3.0.0");
    let third = shop.put_in_place("service-fixture", &third).await;
    let settings = because(json!({ "settings": { "size": 1 } }));
    admin.put(&path_of(&made), settings).await.data(200);
    assert_eq!(running(), Some(third));
}

/// Another version has become active by the time that the service is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_service_is_made_that_another_version_has_accepted_on_postgresql() {
    let Some((shop, admin)) = on_postgresql().await else {
        return;
    };
    let new = of_fixture(&admin).await;
    let first = staged(&admin, "1.0.0").await;
    admin.post(ACTIVATE, first).await.data(200);
    staged(&admin, "2.0.0").await;
    let waiting = "UPDATE plugin_versions SET state";
    let request = post(&admin, SERVICES, new.clone());
    let second = async |conn: &mut Conn| put_next(conn, "2.0.0").await;
    let refused = meanwhile(&shop, waiting, second, request).await;
    refused.fails(409, "CONFLICT");
    let made = admin.post(SERVICES, new).await.data(201);
    // A version accepts its images and settings, too.
    staged(&admin, "3.0.0").await;
    let settings = because(json!({ "settings": { "size": 1 } }));
    let request = put(&admin, &path_of(&made), settings.clone());
    let third = async |conn: &mut Conn| put_next(conn, "3.0.0").await;
    let refused = meanwhile(&shop, waiting, third, request).await;
    refused.fails(409, "CONFLICT");
    admin.put(&path_of(&made), settings).await.data(200);
}

/// Makes another version of the plugin active, as another server does.
async fn put_next(conn: &mut Conn, number: &str) {
    let sql = "UPDATE plugin_versions SET state = 'SUPERSEDED'
               WHERE plugin_id = 'service-fixture' AND state = 'ACTIVE'";
    assert_eq!(execute!(conn, sql).unwrap(), 1);
    let sql = "UPDATE plugin_versions SET state = 'ACTIVE', activated_at = created_at
               WHERE plugin_id = 'service-fixture' AND version = $1";
    assert_eq!(execute!(conn, sql, number).unwrap(), 1);
}

/// Opens a shop where a request can be seen to wait.
async fn on_postgresql() -> Option<(Shop, Client)> {
    let shop = Shop::open(Engine::Postgres).await?;
    let admin = shop.admin().await;
    Some((shop, admin))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_category_that_was_deleted_does_not_come_back_on_postgresql() {
    let Some((shop, admin)) = on_postgresql().await else {
        return;
    };
    let web = category("web", &Value::Null, 0);
    admin.post(categories::PATH, web).await.data(201);
    let request = post(&admin, SERVICES, cache(&shop).await);
    let delete = async |conn: &mut Conn| {
        let sql = "DELETE FROM service_categories WHERE slug = 'web'";
        assert_eq!(execute!(conn, sql).unwrap(), 1);
    };
    let refused = meanwhile(&shop, "UPDATE service_categories", delete, request).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("category").is_some(), "{}", refused.text);
    let all = admin.get(categories::PATH).await.data(200);
    let mut all = all.as_array().unwrap().iter();
    assert!(all.all(|one| one["slug"] != "web"));
}

/// The version was checked with the services that were there before it waited for the plugin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_checked_with_the_services_of_now_on_postgresql() {
    let Some((shop, admin)) = on_postgresql().await else {
        return;
    };
    let new = of_fixture(&admin).await;
    let first = staged(&admin, "1.0.0").await;
    admin.post(ACTIVATE, first).await.data(200);
    let made = admin.post(SERVICES, new).await.data(201);
    let second = staged(&admin, "2.0.0").await;
    let edit = async |conn: &mut Conn| {
        let lock = "UPDATE plugin_versions SET state = state WHERE plugin_id = 'service-fixture'";
        execute!(conn, lock).unwrap();
        let sql = "UPDATE services SET template = template || ' ' WHERE slug = 'fixture'";
        assert_eq!(execute!(conn, sql).unwrap(), 1);
    };
    let request = post(&admin, ACTIVATE, second.clone());
    let waiting = "UPDATE plugin_versions SET state";
    let refused = meanwhile(&shop, waiting, edit, request).await;
    refused.fails(409, "CONFLICT");
    admin.post(ACTIVATE, second).await.data(200);
    let now = admin.get(&path_of(&made)).await.data(200);
    assert_eq!(now["state"], "ON_SALE", "{now:#}");
}

/// The plugin has accepted a plan with other images and settings than the service has by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_of_the_service_that_was_asked_about_on_postgresql() {
    let Some((shop, admin)) = on_postgresql().await else {
        return;
    };
    let n8n = service(&admin, "n8n").await;
    let edit = async |conn: &mut Conn| {
        let sql = "UPDATE services SET template = template || ' ' WHERE slug = 'n8n'";
        assert_eq!(execute!(conn, sql).unwrap(), 1);
    };
    let plans = format!("{}/plans", path_of(&n8n));
    let new = because(json!({ "plan": new_plan("giant", "ENTERPRISE", 900_000) }));
    let basic = plan_path(&n8n, "basic");
    let dearer = because(json!({ "monthlyPrice": 60_001 }));
    let locked = "UPDATE services SET updated_at";
    let keyed = admin.with_key("paket-raksasa");
    let made = meanwhile(&shop, locked, &edit, post(&keyed, &plans, new.clone())).await;
    made.fails(409, "CONFLICT");
    let changed = meanwhile(&shop, locked, &edit, put(&admin, &basic, dearer)).await;
    changed.fails(409, "CONFLICT");
    let now = service(&admin, "n8n").await;
    assert_eq!(now["plans"], n8n["plans"]);
    // The obstacle has passed, so that no refusal is kept under the key.
    keyed.post(&plans, new).await.data(201);
}

/// The plugin has accepted images with other plans than the service has by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_of_the_plans_that_were_asked_about_on_postgresql() {
    let Some((shop, admin)) = on_postgresql().await else {
        return;
    };
    let web = category("web", &Value::Null, 0);
    admin.post(categories::PATH, web).await.data(201);
    let made = admin.post(SERVICES, cache(&shop).await).await.data(201);
    let newer = because(json!({ "images": { "app": "docker.io/n8nio/n8n:1.999.1" } }));
    let edit = async |conn: &mut Conn| {
        let lock = "UPDATE services SET updated_at = updated_at WHERE slug = 'cache'";
        execute!(conn, lock).unwrap();
        let sql = "UPDATE service_plans SET name = 'Renamed' WHERE slug = 'one'";
        assert_eq!(execute!(conn, sql).unwrap(), 1);
    };
    let locked = "UPDATE services SET updated_at";
    let request = put(&admin, &path_of(&made), newer.clone());
    let changed = meanwhile(&shop, locked, edit, request).await;
    changed.fails(409, "CONFLICT");
    admin.put(&path_of(&made), newer).await.data(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_category_is_reset_to_the_templates_of_now_on_postgresql() {
    let Some((shop, admin)) = on_postgresql().await else {
        return;
    };
    let all = admin.get(categories::PATH).await.data(200);
    let mut all = all.as_array().unwrap().iter();
    let tools = all.find(|one| one["slug"] == "development-tools").unwrap();
    let reload = async |conn: &mut Conn| {
        let lock = "UPDATE service_categories SET position = position";
        execute!(conn, lock).unwrap();
        let sql = "UPDATE services SET template = replace(template,
                     'Automation and tools for building things.', 'Tools for those who build.')";
        assert!(execute!(conn, sql).unwrap() > 0);
    };
    let path = format!("{}/reset", categories::path_of(tools));
    let request = post(&admin, &path, because(json!({})));
    let reset = meanwhile(&shop, "UPDATE service_categories", reload, request).await;
    let reset = reset.data(200);
    let text = "Tools for those who build.";
    let told = reset.to_string();
    assert!(told.contains(text), "{told}");
}

/// A subscription that is in another plan by now, or at another price, is not the one that was looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_kept_by_the_subscription_that_was_seen_on_postgresql() {
    let Some((shop, admin)) = on_postgresql().await else {
        return;
    };
    let customer = customer_with_cash(&shop, "tetap@example.com", 100_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let (basic, free) = (
        shop.plan("n8n", "basic").await,
        shop.plan("n8n", "free").await,
    );
    let at_end = |plan: &str| because(json!({ "planId": plan, "at": "period_end" }));
    let path = format!("/api/admin/subscriptions/{id}/upgrade");
    admin.put(&path, at_end(&free)).await.data(200);
    let of: SubscriptionId = id.parse().unwrap();
    let edit = async |conn: &mut Conn| {
        let sql = "UPDATE subscriptions SET monthly_price = monthly_price - 1 WHERE id = $1";
        assert_eq!(execute!(conn, sql, of).unwrap(), 1);
    };
    let request = put(&admin, &path, at_end(&basic));
    let kept = meanwhile(&shop, "UPDATE subscriptions SET updated_at", edit, request).await;
    kept.fails(409, "CONFLICT");
    let seen = subscription(&shop, id).await;
    assert_eq!(seen["nextPlanId"], json!(free), "{seen:#}");
}

/// A plan that came while the plugins were asked has the tier of one in a template, which is refused then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_sees_the_plans_that_came_while_it_judged_on_postgresql() {
    let Some((shop, admin)) = on_postgresql().await else {
        return;
    };
    let rename = async |conn: &mut Conn| {
        let lock = "UPDATE services SET updated_at = updated_at WHERE slug = 'n8n'";
        execute!(conn, lock).unwrap();
        let sql = "UPDATE service_plans SET slug = 'other' WHERE slug = 'basic'
                     AND service_id = (SELECT id FROM services WHERE slug = 'n8n')";
        assert_eq!(execute!(conn, sql).unwrap(), 1);
    };
    let request = post(&admin, "/api/admin/catalog/reload", because(json!({})));
    let told = meanwhile(&shop, "SELECT id FROM services ORDER", rename, request).await;
    let told = told.data(200);
    assert_eq!(told["refused"][0]["service"], "n8n", "{told:#}");
    let n8n = service(&admin, "n8n").await;
    let plans = n8n["plans"].as_array().unwrap().iter();
    assert_eq!(plans.filter(|plan| plan["tier"] == "BASIC").count(), 1);
}

/// Retires the plugin of N8N and ends the sale of its services, as another server does, which has the locks of both.
async fn end_sale(conn: &mut Conn) {
    for sql in [
        "UPDATE service_categories SET position = position",
        "UPDATE plugin_versions SET state = 'RETIRED', retired_at = created_at WHERE plugin_id = 'service-n8n'",
        "UPDATE services SET refused = 'It is not sold any more.' WHERE plugin_id = 'service-n8n'",
    ] {
        assert!(execute!(conn, sql).unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_loaded_again_is_not_sold_after_a_retirement_on_postgresql() {
    for act in ["reload", "reset"] {
        let Some((shop, admin)) = on_postgresql().await else {
            return;
        };
        let path = match act {
            "reset" => format!("{}/reset", path_of(&service(&admin, "n8n").await)),
            _ => "/api/admin/catalog/reload".to_owned(),
        };
        let request = post(&admin, &path, because(json!({})));
        let end = async |conn: &mut Conn| end_sale(conn).await;
        let answer = meanwhile(&shop, "UPDATE service_categories", end, request).await;
        let n8n = service(&admin, "n8n").await;
        assert_eq!(n8n["state"], "REFUSED", "{act}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_images_are_not_sold_after_a_retirement_on_postgresql() {
    let Some((shop, admin)) = on_postgresql().await else {
        return;
    };
    let web = category("web", &Value::Null, 0);
    admin.post(categories::PATH, web).await.data(201);
    let made = admin.post(SERVICES, cache(&shop).await).await.data(201);
    let newer = because(json!({ "images": { "app": "docker.io/n8nio/n8n:1.999.1" } }));
    let request = put(&admin, &path_of(&made), newer);
    let end = async |conn: &mut Conn| end_sale(conn).await;
    let refused = meanwhile(&shop, "UPDATE plugin_versions SET state", end, request).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert_eq!(service(&admin, "cache").await["state"], "REFUSED");
}

/// The retirement finds a service refused, and waits for the reload that ends its refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reload_mends_is_not_sold_after_a_retirement_on_postgresql() {
    let Some((shop, admin)) = on_postgresql().await else {
        return;
    };
    shop.sql("UPDATE services SET refused = 'It cannot be read.' WHERE slug = 'n8n'")
        .await
        .unwrap();
    let retire = "/api/admin/plugins/service-n8n/retire?stopSelling=true";
    let mend = async |conn: &mut Conn| {
        let sql = "UPDATE services SET refused = NULL WHERE slug = 'n8n'";
        assert_eq!(execute!(conn, sql).unwrap(), 1);
    };
    let request = post(&admin, retire, json!(null));
    let retired = meanwhile(&shop, "UPDATE services SET refused", mend, request).await;
    retired.data(200);
    assert_eq!(service(&admin, "n8n").await["state"], "REFUSED");
}
