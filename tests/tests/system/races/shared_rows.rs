//! Tests that rows shared by customers are locked from the last statement of an operation to its
//! commit, and no longer.

use std::{io, net::IpAddr, time::Duration};

use chrono::TimeDelta;
use dermaga::config::Config;
use dermaga_shop::{db::Conn, provisioning::domains::Records, webhooks::Lookup};
use dermaga_tests::{Client, Engine, Shop};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    api::services::because,
    journeys::{
        delivery::block,
        renewal::{buy, id_of},
    },
};

/// Waits until a statement with this beginning waits for the lock.
async fn waits(shop: &Shop, statement: &str) {
    all_wait(shop, statement, 1).await;
}

/// Waits until so many statements with this beginning wait for a lock.
async fn all_wait(shop: &Shop, statement: &str, number: i64) {
    shop.statements_wait(&format!("{statement}%"), number).await;
}

/// Asserts that a row can be written without waiting long for a lock.
async fn is_free(shop: &Shop, table: &str, id: Uuid) {
    let mut conn = shop.state().db.begin().await.unwrap();
    dermaga_shop::execute!(conn, "SET LOCAL lock_timeout = '1s'").unwrap();
    let sql = format!("UPDATE {table} SET updated_at = updated_at WHERE id = $1");
    let rows = dermaga_shop::execute!(conn, sqlx::AssertSqlSafe(sql.clone()), id);
    assert_eq!(
        rows.unwrap_or_else(|error| panic!("{table} is held: {error}")),
        1
    );
    conn.rollback().await.unwrap();
}

/// Blocks operations at the point where they write their instance, until dropped.
async fn gate(shop: &Shop) -> Conn {
    let mut conn = shop.state().db.begin().await.unwrap();
    dermaga_shop::execute!(conn, "LOCK TABLE instances IN SHARE MODE").unwrap();
    conn
}

fn id(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

async fn in_background(
    customer: &Client,
    method: &str,
    path: &str,
    body: Value,
) -> tokio::task::JoinHandle<Value> {
    let (customer, path, is_put) = (customer.clone(), path.to_owned(), method == "PUT");
    tokio::spawn(async move {
        let answer = if is_put {
            customer.put(&path, body).await
        } else {
            customer.post(&path, body).await
        };
        assert!(answer.status < 300, "{:#}", answer.body);
        answer.body["data"].clone()
    })
}

/// Unfinished purchases and upgrades lock neither the plan's row nor the coupon's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_and_coupons_are_taken_last_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let coupon = json!({ "code": "BERSAMA", "plugin": "coupon-subscription-discount", "parameters": { "percent": 10 } });
    let coupon = shop
        .admin()
        .await
        .post("/api/admin/coupons", coupon)
        .await
        .data(201);
    let (basic, pro) = (
        shop.plan("n8n", "basic").await,
        shop.plan("n8n", "pro").await,
    );
    let customer = shop
        .customer_with_credit("bersama@example.com", 500_000)
        .await;

    let held = gate(&shop).await;
    let order = json!({ "planId": basic, "couponCode": "BERSAMA" });
    let buying = in_background(&customer, "POST", "/api/subscriptions", order).await;
    // The instance is written together with what waited for it.
    waits(&shop, "WITH w0 AS (INSERT INTO").await;
    is_free(&shop, "service_plans", id(&json!(basic))).await;
    is_free(&shop, "coupons", id(&coupon["id"])).await;
    held.rollback().await.unwrap();
    let bought = buying.await.unwrap();
    shop.instance_becomes(&customer, bought["instanceId"].as_str().unwrap(), "RUNNING")
        .await;

    let held = gate(&shop).await;
    let path = format!(
        "/api/subscriptions/{}/upgrade",
        bought["subscription"]["id"].as_str().unwrap()
    );
    let moving = in_background(&customer, "PUT", &path, json!({ "planId": pro })).await;
    waits(&shop, "UPDATE instances SET plan_id").await;
    is_free(&shop, "service_plans", id(&json!(pro))).await;
    held.rollback().await.unwrap();
    moving.await.unwrap();
    shop.books_balance().await;
}

/// A purchase takes its coupon and then its plan; one that is undone frees them in the same order, so that the
/// two never wait for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undone_purchase_gives_the_coupon_back_before_the_plan_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let coupon = json!({ "code": "URUTAN", "plugin": "coupon-subscription-discount", "parameters": { "percent": 10 } });
    let admin = shop.admin().await;
    admin.post("/api/admin/coupons", coupon).await.data(201);
    let basic = shop.plan("n8n", "basic").await;
    let customer = shop
        .customer_with_credit("urutan@example.com", 100_000)
        .await;
    let in_the_way = block(&shop, &customer).await;
    let order = json!({ "planId": basic, "couponCode": "URUTAN" });
    let bought = customer.post("/api/subscriptions", order).await.data(201);

    let mut held = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE coupons SET updated_at = updated_at WHERE code = 'URUTAN'";
    dermaga_shop::execute!(held, sql).unwrap();
    let path = format!(
        "/api/subscriptions/{}",
        bought["subscription"]["id"].as_str().unwrap()
    );
    let ending = tokio::spawn({
        let customer = customer.clone();
        async move { customer.delete(&path).await.data(200) }
    });
    waits(&shop, "UPDATE coupons SET used_count").await;
    is_free(&shop, "service_plans", id(&json!(basic))).await;
    held.rollback().await.unwrap();
    ending.await.unwrap();
    std::fs::remove_file(&in_the_way).unwrap();
    shop.books_balance().await;
}

/// Two changes that are planned in the place of others, from one plan to the other and back, take the rows of both
/// plans in one order, so that neither has the row that the other waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opposite_planned_changes_take_plans_in_one_order_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let (free, pro) = (
        shop.plan("n8n", "free").await,
        shop.plan("n8n", "pro").await,
    );
    let admin = shop.admin().await;
    let planned = |plan: &str| json!({ "planId": plan, "at": "period_end", "reason": "They asked by telephone." });
    let mut paths = Vec::new();
    for (email, plan) in [("naik@example.com", &free), ("turun@example.com", &pro)] {
        let customer = shop.customer_with_credit(email, 100_000).await;
        let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
        let path = format!("/api/admin/subscriptions/{}/upgrade", id_of(&bought));
        admin.put(&path, planned(plan)).await.data(200);
        paths.push(path);
    }

    let (first, second) = if id(&json!(free)) < id(&json!(pro)) {
        (&free, &pro)
    } else {
        (&pro, &free)
    };
    let mut held = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE service_plans SET updated_at = updated_at WHERE id = $1";
    dermaga_shop::execute!(held, sql, id(&json!(first))).unwrap();
    let up = in_background(&admin, "PUT", &paths[0], planned(&pro)).await;
    let down = in_background(&admin, "PUT", &paths[1], planned(&free)).await;
    all_wait(&shop, "UPDATE service_plans SET used_quota", 2).await;
    is_free(&shop, "service_plans", id(&json!(second))).await;
    held.rollback().await.unwrap();
    assert_eq!(up.await.unwrap()["subscription"]["nextPlanId"], json!(pro));
    assert_eq!(
        down.await.unwrap()["subscription"]["nextPlanId"],
        json!(free)
    );
    shop.books_balance().await;
}

/// Lets no domain have records or addresses.
fn without_names(config: &mut Config) {
    config.provisioning.domains.records = Some(Records::new(|_| {
        let none: io::Result<Vec<String>> = Ok(Vec::new());
        Box::pin(async move { none })
    }));
    config.webhooks.lookup = Lookup::new(|_| {
        let none: io::Result<Vec<IpAddr>> = Ok(Vec::new());
        Box::pin(async move { none })
    });
}

/// Looks for proofs until these claims of an instance have been looked at, and no others.
async fn look(shop: &Shop, customer: &Client, path: &str, expected: &[bool]) {
    let mut seen = Vec::new();
    for _ in 0..200 {
        let looking = shop.state().domains.look_after();
        let looked = timeout(Duration::from_secs(10), looking).await;
        looked.expect("it waits for no lock").unwrap();
        let claims = customer.get(path).await.data(200);
        let claims = claims.as_array().unwrap().iter();
        seen = claims.map(|claim| claim["problem"].is_string()).collect();
        if seen == expected {
            return;
        }
        // The shop's own worker may be at it.
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{seen:?} and not {expected:?}");
}

/// A look at several claims leaves out one that is being removed with others: waiting for it, it would have those
/// that the removal waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_claims_waits_for_no_removal_on_postgresql() {
    let Some(shop) = Shop::open_with(Engine::Postgres, without_names).await else {
        return;
    };
    let customer = shop.customer("antre@example.com").await;
    let order = json!({ "planId": shop.plan("n8n", "free").await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let path = format!("/api/instances/{instance}/domains");
    for domain in ["pertama.example.com", "kedua.example.com"] {
        let claim = json!({ "domain": domain });
        customer.post(&path, claim).await.data(201);
    }

    let mut removing = shop.state().db.begin().await.unwrap();
    let sql = "DELETE FROM custom_domains WHERE name = 'pertama.example.com'";
    assert_eq!(dermaga_shop::execute!(removing, sql).unwrap(), 1);
    shop.clock().advance(TimeDelta::minutes(3));
    look(&shop, &customer, &path, &[false, true]).await;
    removing.rollback().await.unwrap();
    look(&shop, &customer, &path, &[true, true]).await;
}

/// A reload takes the rows of services in the order in which the end of a plugin's sale takes them, so that neither has
/// one that the other waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_services_in_the_order_of_their_ids_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT id FROM services ORDER BY id";
    let ids = dermaga_shop::fetch_all!(conn, (Uuid,), sql).unwrap();
    drop(conn);
    let (first, last) = (ids.first().unwrap().0, ids.last().unwrap().0);
    assert_ne!(first, last);
    let touch = "UPDATE services SET updated_at = updated_at WHERE id = $1";
    // Its row comes behind the others in the table from now on.
    let mut moved = shop.state().db.begin().await.unwrap();
    dermaga_shop::execute!(moved, touch, first).unwrap();
    moved.commit().await.unwrap();

    let mut held = shop.state().db.begin().await.unwrap();
    dermaga_shop::execute!(held, touch, first).unwrap();
    let admin = shop.admin().await;
    let path = "/api/admin/catalog/reload";
    let reload = in_background(&admin, "POST", path, because(json!({}))).await;
    waits(&shop, "%services").await;
    is_free(&shop, "services", last).await;
    held.rollback().await.unwrap();
    reload.await.unwrap();
}
