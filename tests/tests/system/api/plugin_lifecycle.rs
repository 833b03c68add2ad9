//! Tests of the states of a plugin version (staged, active, superseded, retired, deleted), on one
//! server and on two.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use dermaga::config::Config;
use dermaga_runtime::{
    Digest,
    contract::{Decision, Effect, Grant},
    fixtures::CouponFixture,
};
use dermaga_tests::{Answer, Client, Engine, Shop, both_engines};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::services::service;

pub(super) const PLUGIN: &str = "/api/admin/plugins/coupon-gift";

pub(super) fn gift(amount: i64, version: &str) -> CouponFixture {
    let mut fixture = CouponFixture::deciding(Decision::Grant(Grant {
        effect: Effect::Credit(amount),
        reason: format!("A gift of {amount}."),
    }));
    fixture.about.id = "coupon-gift".to_owned();
    fixture.about.version = version.to_owned();
    fixture
}

pub(super) fn giving(amount: i64, version: &str) -> Vec<u8> {
    gift(amount, version).component()
}

async fn stage(admin: &Client, component: Vec<u8>) -> String {
    let staged = admin.upload(component).await.data(201);
    staged["digest"].as_str().unwrap().to_owned()
}

/// Waits for the end of an upload that was answered before it was compiled; returns its result.
async fn ended(admin: &Client, answer: &Answer) -> Value {
    let path = answer.headers["location"].to_str().unwrap();
    for _ in 0..1200 {
        let upload = admin.get(path).await.data(200);
        if upload["state"] != "COMPILING" {
            return upload;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("an upload is never compiled");
}

pub(super) async fn activate(admin: &Client, digest: &str) -> Answer {
    let path = format!("{PLUGIN}/activate");
    admin.post(&path, json!({ "digest": digest })).await
}

pub(super) async fn install(admin: &Client, component: Vec<u8>) -> String {
    let digest = stage(admin, component).await;
    activate(admin, &digest).await.data(200);
    digest
}

pub(super) fn version(digest: &str) -> String {
    format!("{PLUGIN}/versions/{digest}")
}

async fn state(admin: &Client, digest: &str) -> Value {
    admin.get(&version(digest)).await.data(200)["state"].clone()
}

async fn retire(admin: &Client, digest: &str) -> Answer {
    let path = format!("{}/retire", version(digest));
    admin.post(&path, json!(null)).await
}

/// Creates a coupon of the type and redeems it once.
pub(super) async fn redeem_gift(shop: &Shop, admin: &Client) {
    let coupon = json!({ "code": "GIFT", "plugin": "coupon-gift", "parameters": {} });
    admin.post("/api/admin/coupons", coupon).await.data(201);
    let customer = shop.customer("hadiah@example.com").await;
    let body = json!({ "couponCode": "GIFT" });
    customer
        .post("/api/wallet/redeem-coupon", body)
        .await
        .data(201);
}

pub(super) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the audit records of administrators' activations of the plugin, oldest first.
async fn activations(shop: &Shop) -> Vec<Value> {
    audited(shop, "plugin.activated").await
}

/// Returns the details of the audit events of one kind about the plugin, oldest first.
pub(super) async fn audited(shop: &Shop, act: &str) -> Vec<Value> {
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT details FROM audit_events \
               WHERE act = $1 AND subject = 'plugin:coupon-gift' ORDER BY id";
    let rows = dermaga_shop::fetch_all!(conn, (sqlx::types::Json<Value>,), sql, act).unwrap();
    rows.into_iter().map(|(details,)| details.0).collect()
}

pub(super) async fn open_alerts(admin: &Client, kind: &str) -> Vec<Value> {
    let path = format!("/api/admin/alerts?state=OPEN&kind={kind}");
    admin.get(&path).await.data(200).as_array().unwrap().clone()
}

both_engines!(
    Shop,
    [
        a_version_lives_through_every_state,
        an_upload_can_be_compiled_after_its_answer,
        what_is_used_is_kept,
        live_instances_outlive_the_retirement_of_their_plugin,
        races_end_in_one_order_or_the_other,
        a_restart_between_upload_and_activation_loses_nothing
    ]
);

async fn a_version_lives_through_every_state(shop: Shop) {
    let admin = shop.admin().await;
    let first = stage(&admin, giving(1, "1.0.0")).await;
    assert_eq!(state(&admin, &first).await, "STAGED");
    assert_eq!(stage(&admin, giving(1, "1.0.0")).await, first);
    activate(&admin, &first).await.data(200);
    retire(&admin, &first).await.fails(409, "INVALID_STATE");
    admin
        .delete(&version(&first))
        .await
        .fails(409, "INVALID_STATE");
    let second = install(&admin, giving(2, "2.0.0")).await;
    assert_eq!(
        (state(&admin, &first).await, state(&admin, &second).await),
        (json!("SUPERSEDED"), json!("ACTIVE"))
    );
    admin
        .delete(&version(&first))
        .await
        .fails(409, "INVALID_STATE");
    let back = admin
        .post(&format!("{PLUGIN}/rollback"), json!(null))
        .await
        .data(200);
    assert_eq!(back["digest"], first.as_str());
    let told = activations(&shop).await;
    assert_eq!(
        told,
        [
            (&*first, None),
            (&*second, Some(&*first)),
            (&*first, Some(&*second))
        ]
        .map(|(digest, superseded)| { json!({ "digest": digest, "superseded": superseded }) })
    );
    retire(&admin, &second).await.data(200);
    activate(&admin, &second).await.fails(409, "INVALID_STATE");
    retire(&admin, &second).await.fails(409, "INVALID_STATE");
    admin.delete(&version(&second)).await.data(200);
    admin.get(&version(&second)).await.fails(404, "NOT_FOUND");
    admin
        .delete(&version(&second))
        .await
        .fails(404, "NOT_FOUND");

    let retired = admin
        .post(&format!("{PLUGIN}/retire"), json!(null))
        .await
        .data(200);
    assert_eq!(retired["retired"], json!([first]));
    admin
        .post(&format!("{PLUGIN}/retire"), json!(null))
        .await
        .fails(409, "INVALID_STATE");
    admin
        .post("/api/admin/plugins/coupon-unknown/retire", json!(null))
        .await
        .fails(404, "NOT_FOUND");
    let coupon = json!({ "code": "GIFT", "plugin": "coupon-gift", "parameters": {} });
    admin
        .post("/api/admin/coupons", coupon)
        .await
        .fails(400, "VALIDATION_FAILED");
    shop.customer("biasa@example.com")
        .await
        .post(&format!("{PLUGIN}/retire"), json!(null))
        .await
        .fails(403, "FORBIDDEN");
}

/// An upload can be answered before it is compiled; the same bytes are compiled once; uploads
/// of a crashed server are abandoned.
async fn an_upload_can_be_compiled_after_its_answer(shop: Shop) {
    let admin = shop.admin().await;
    let component = giving(1_000, "1.0.0");
    let digest = Digest::of(&component).to_string();
    let (one, two) = tokio::join!(
        admin.upload_async(component.clone()),
        admin.upload_async(component)
    );
    for answer in [&one, &two] {
        assert_eq!(
            (answer.status, &answer.body["data"]["digest"]),
            (202, &json!(digest)),
            "{:#}",
            answer.body
        );
        assert_eq!(answer.headers["preference-applied"], "respond-async");
        let upload = ended(&admin, answer).await;
        assert_eq!(
            (&upload["state"], &upload["pluginId"]),
            (&json!("STAGED"), &json!("coupon-gift")),
            "{upload:#}"
        );
    }
    assert_eq!(state(&admin, &digest).await, "STAGED");
    activate(&admin, &digest).await.data(200);

    let garbage = admin.upload_async(b"not wasm".to_vec()).await;
    let refused = ended(&admin, &garbage).await;
    assert_eq!(
        (&refused["state"], &refused["failure"]["code"]),
        (&json!("REFUSED"), &json!("COMPONENT_REFUSED")),
        "{refused:#}"
    );
    let path = garbage.headers["location"].to_str().unwrap();
    shop.customer("intip@example.com")
        .await
        .get(path)
        .await
        .fails(403, "FORBIDDEN");
    admin
        .get("/api/admin/plugins/uploads/01a2069f-9a88-7bc1-a95e-0bcc1e12247e")
        .await
        .fails(404, "NOT_FOUND");

    // The state that a server leaves when it crashes while compiling.
    shop.sql(
        "UPDATE plugin_uploads SET state = 'COMPILING', failure = NULL WHERE state = 'REFUSED'",
    )
    .await
    .unwrap();
    assert_eq!(admin.get(path).await.data(200)["state"], "COMPILING");
    shop.clock().advance(TimeDelta::minutes(16));
    let lost = shop.admin().await.get(path).await.data(200);
    assert_eq!(
        (&lost["state"], &lost["failure"]["code"]),
        (&json!("REFUSED"), &json!("UNAVAILABLE")),
        "{lost:#}"
    );

    // A server that shows signs of life has a lease, which another one waits for.
    let mut conn = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE plugin_uploads SET state = 'COMPILING', failure = NULL, lease_until = $1 WHERE state = 'REFUSED'";
    let until = shop.clock().now() + TimeDelta::seconds(60);
    dermaga_shop::execute!(conn, sql, until).unwrap();
    conn.commit().await.unwrap();
    let admin = shop.admin().await;
    assert_eq!(admin.get(path).await.data(200)["state"], "COMPILING");
    shop.clock().advance(TimeDelta::seconds(61));
    let lost = admin.get(path).await.data(200);
    assert_eq!(
        (&lost["state"], &lost["failure"]["code"]),
        (&json!("REFUSED"), &json!("UNAVAILABLE")),
        "{lost:#}"
    );
}

/// A version that decided a coupon cannot be deleted, and a type with usable coupons cannot be
/// retired; afterwards they are not switched on.
async fn what_is_used_is_kept(shop: Shop) {
    let admin = shop.admin().await;
    let first = install(&admin, giving(1_000, "1.0.0")).await;
    redeem_gift(&shop, &admin).await;
    let plugin = format!("{PLUGIN}/retire");
    let refused = admin.post(&plugin, json!(null)).await;
    assert_eq!(
        refused.fails(409, "PLUGIN_IN_USE").detail("coupons"),
        Some("1")
    );
    shop.sql("UPDATE coupons SET status = 'DISABLED' WHERE code = 'GIFT'")
        .await
        .unwrap();
    admin.post(&plugin, json!(null)).await.data(200);
    // It would be decided by nothing.
    let coupon = admin.get("/api/admin/coupons?q=GIFT").await.data(200)[0].clone();
    let on = json!({ "ids": [coupon["id"]], "status": "ACTIVE" });
    let refused = admin.put("/api/admin/coupons/bulk-status", on).await;
    assert_eq!(
        refused.fails(409, "CONFLICT").detail("ids"),
        coupon["id"].as_str()
    );
    admin
        .delete(&version(&first))
        .await
        .fails(409, "PLUGIN_IN_USE");
    shop.books_balance().await;
}

/// A customer's instance keeps working when its plugin is retired; new purchases are refused.
async fn live_instances_outlive_the_retirement_of_their_plugin(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("setia@example.com", 500_000)
        .await;
    let plan = json!({ "planId": shop.plan("n8n", "basic").await });
    let bought = customer
        .post("/api/subscriptions", plan.clone())
        .await
        .data(201);
    let id = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, id, "RUNNING").await;
    let digest = admin.get("/api/admin/plugins/service-n8n").await.data(200)["active"].clone();
    let retire = "/api/admin/plugins/service-n8n/retire";
    let refused = admin.post(retire, json!(null)).await;
    let refused = refused.fails(409, "PLUGIN_IN_USE");
    assert_eq!(
        (refused.detail("services"), refused.detail("subscriptions")),
        (Some("1"), Some("1"))
    );
    assert_eq!(shop.plan_view("n8n", "basic").await["isAvailable"], true);
    admin
        .post(&format!("{retire}?stopSelling=true"), json!(null))
        .await
        .data(200);
    // The refusal lasts, so that it does not ask to try again.
    customer
        .post("/api/subscriptions", plan)
        .await
        .fails(409, "PLAN_UNAVAILABLE");
    assert_eq!(service(&admin, "n8n").await["state"], "REFUSED");
    let offered = customer.get("/api/catalog/services/n8n").await;
    offered.fails(404, "NOT_FOUND");
    let path = format!(
        "/api/admin/plugins/service-n8n/versions/{}",
        digest.as_str().unwrap()
    );
    admin.delete(&path).await.fails(409, "PLUGIN_IN_USE");
    customer
        .put(&format!("/api/instances/{id}/stop"), json!(null))
        .await;
    customer
        .get(&format!("/api/instances/{id}/credentials"))
        .await
        .data(200);
    let shop = shop.restart().await;
    shop.state().plugins.active("service-n8n").unwrap_err();
}

/// Concurrent activations, deletions and uploads leave one active version and no trace of
/// deleted ones.
async fn races_end_in_one_order_or_the_other(shop: Shop) {
    let admin = shop.admin().await;
    let component = giving(1, "1.0.0");
    let (one, two) = tokio::join!(admin.upload(component.clone()), admin.upload(component));
    let first = one.data(201)["digest"].as_str().unwrap().to_owned();
    assert_eq!(two.data(201)["digest"], first.as_str());
    let second = stage(&admin, giving(2, "2.0.0")).await;
    let (one, two) = tokio::join!(activate(&admin, &first), activate(&admin, &second));
    assert_eq!((one.status, two.status), (200, 200));
    let plugin = admin.get(PLUGIN).await.data(200);
    let states: Vec<_> = plugin["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["state"].clone())
        .collect();
    assert!(
        states.contains(&json!("ACTIVE")) && states.contains(&json!("SUPERSEDED")),
        "{states:?}"
    );
    assert_eq!(plugin["running"], plugin["active"]);

    for number in 3..8 {
        let digest = stage(&admin, giving(number, &format!("3.0.{number}"))).await;
        let path = version(&digest);
        let (activated, deleted) = tokio::join!(activate(&admin, &digest), admin.delete(&path));
        match (activated.status, deleted.status) {
            (200, 409) => assert_eq!(state(&admin, &digest).await, "ACTIVE"),
            (404, 200) => drop(admin.get(&path).await.fails(404, "NOT_FOUND")),
            other => panic!("both did something: {other:?}"),
        }
    }
    shop.state().plugins.active("coupon-gift").unwrap();
}

/// An uploaded version survives a restart, and stays inactive until it is activated.
async fn a_restart_between_upload_and_activation_loses_nothing(shop: Shop) {
    let admin = shop.admin().await;
    install(&admin, giving(1_000, "1.0.0")).await;
    let digest = stage(&admin, giving(2_000, "2.0.0")).await;
    let shop = shop.restart().await;
    let admin = shop.admin().await;
    assert_eq!(state(&admin, &digest).await, "STAGED");
    assert_ne!(
        admin.get(PLUGIN).await.data(200)["running"],
        digest.as_str()
    );
    activate(&admin, &digest).await.data(200);
    assert_eq!(
        admin.get(PLUGIN).await.data(200)["running"],
        digest.as_str()
    );
}

/// Opens a shop without services that polls for versions at this interval.
pub(super) async fn following(
    engine: Engine,
    poll: u64,
    change: impl FnOnce(&mut Config),
) -> Option<Shop> {
    let nothing = TempDir::new().unwrap();
    Shop::open_with(engine, |config| {
        config.plugins_dir = Some(nothing.path().to_owned());
        config.templates_dir = Some(nothing.path().to_owned());
        config.plugin_poll = Duration::from_secs(poll);
        change(config);
    })
    .await
}

pub(super) fn running(shop: &Shop) -> Option<String> {
    let digest = shop.state().plugins.running("coupon-gift");
    digest.map(|digest| digest.to_string())
}

/// Servers with long polling intervals are notified of each other's activations, also after their
/// database connections were cut; a server without notifications polls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_hear_of_each_other() {
    let folder = TempDir::new().unwrap();
    let Some(one) = following(Engine::Postgres, 3_600, |config| {
        config.plugins_dir = Some(folder.path().to_owned());
        config.templates_dir = Some(folder.path().to_owned());
    })
    .await
    else {
        return;
    };
    let two = one.second_server().await;
    let admin = one.admin().await;
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let listeners = async || {
        let mut conn = one.state().db.read().await.unwrap();
        dermaga_shop::fetch_one!(conn, (i64,), listening).unwrap().0
    };
    eventually("both listen", async || listeners().await == 2).await;
    let first = install(&admin, giving(1, "1.0.0")).await;
    eventually("two hears it", async || {
        running(&two).as_ref() == Some(&first)
    })
    .await;

    let cut = one
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
        .await
        .unwrap();
    assert_eq!(cut, 2);
    let second = install(&admin, giving(2, "2.0.0")).await;
    eventually("two hears it again", async || {
        running(&two).as_ref() == Some(&second)
    })
    .await;
}

/// Polling finds changes without a notification.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_poll_finds_what_nobody_told() {
    for (poll, is_found) in [(1, true), (3_600, false)] {
        let shop = following(Engine::Sqlite, poll, |_| {}).await.unwrap();
        let admin = shop.admin().await;
        install(&admin, giving(1, "1.0.0")).await;
        let quiet = "UPDATE plugin_versions SET state = 'RETIRED' WHERE plugin_id = 'coupon-gift'";
        shop.sql(quiet).await.unwrap();
        if is_found {
            eventually("the poll", async || running(&shop).is_none()).await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(running(&shop).is_some());
        }
    }
}
