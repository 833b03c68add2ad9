//! Plans that are deleted while customers buy them, or while their quotes are purged.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_shop::{db::Conn, execute, ids::PlanId, subscriptions};
use dermaga_tests::{Answer, Client, Engine, Shop};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::checks::meanwhile;
use crate::api::services::{because, new_plan, path_of, service};

/// Makes a plan that no template names; returns its path and its id.
async fn plan(admin: &Client, slug: &str) -> (String, PlanId) {
    let plans = format!("{}/plans", path_of(&service(admin, "valkey").await));
    let mut new = new_plan(slug, "ENTERPRISE", 10_000);
    new["totalQuota"] = json!(50);
    let made = admin.post(&plans, because(json!({ "plan": new }))).await;
    let id = made.data(201)["id"].as_str().unwrap().to_owned();
    (format!("{plans}/{id}"), id.parse().unwrap())
}

async fn customers(shop: &Shop, number: usize) -> Vec<Client> {
    let mut customers = Vec::new();
    for at in 0..number {
        let email = format!("rebut-{at}@example.com");
        customers.push(shop.customer_with_credit(&email, 50_000).await);
    }
    customers
}

fn order(id: PlanId) -> Value {
    json!({ "planId": id })
}

fn is_sold_or_gone(bought: &Answer) {
    let code = bought.body["error"]["code"].as_str();
    let expected = [Some("PLAN_UNAVAILABLE"), Some("NOT_FOUND")];
    let is_expected = bought.status == 201 || expected.contains(&code);
    assert!(is_expected, "{}: {:#}", bought.status, bought.body);
}

/// Purchases refer to the plan before they take it. A deletion that had the plan by then waited for them, and they
/// for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_of_a_plan_and_its_purchases_do_not_wait_for_each_other_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let admin = shop.admin().await;
    let (path, id) = plan(&admin, "giant").await;
    let mut held = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE service_plans SET updated_at = updated_at WHERE id = $1";
    assert_eq!(execute!(held, sql, id).unwrap(), 1);
    let removing = {
        let (admin, path) = (admin.clone(), path.clone());
        tokio::spawn(async move { admin.delete_with(&path, because(json!({}))).await })
    };
    shop.statements_wait("UPDATE service_plans SET updated_at%", 1)
        .await;
    let buying = customers(&shop, 2).await.into_iter().map(|customer| {
        tokio::spawn(async move { customer.post("/api/subscriptions", order(id)).await })
    });
    let buying: Vec<_> = buying.collect();
    shop.statements_wait("%UPDATE service_plans SET used_quota%", 2)
        .await;
    held.rollback().await.unwrap();
    let removed = removing.await.unwrap().data(200);
    assert_eq!(removed["outcome"], "RETIRED");
    for bought in buying {
        is_sold_or_gone(&bought.await.unwrap());
    }
    shop.books_balance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_deleted_beside_their_purchases_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let admin = shop.admin().await;
    let customers = customers(&shop, 6).await;
    for round in 0..4 {
        let (path, id) = plan(&admin, &format!("giant-{round}")).await;
        let buying = customers
            .iter()
            .map(|customer| customer.post("/api/subscriptions", order(id)));
        let removing = admin.delete_with(&path, because(json!({})));
        let (bought, removed) = tokio::join!(join_all(buying), removing);
        removed.data(200);
        bought.iter().for_each(is_sold_or_gone);
    }
    shop.books_balance().await;
}

/// A purchase that waits for a deletion learns that the plan is no more, and not of a fault of the shop or of its coupon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_of_a_plan_that_was_deleted_finds_none_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let admin = shop.admin().await;
    let half = json!({
        "code": "SEPARUH", "plugin": "coupon-subscription-discount", "parameters": { "percent": 50 },
    });
    admin.post("/api/admin/coupons", half).await.data(201);
    let customer = customers(&shop, 1).await.remove(0);
    for coupon in [None, Some("SEPARUH")] {
        let (_, id) = plan(&admin, "giant").await;
        let delete = async |conn: &mut Conn| {
            let sql = "DELETE FROM service_plans WHERE id = $1";
            assert_eq!(execute!(conn, sql, id).unwrap(), 1);
        };
        let (customer, order) = (
            customer.clone(),
            json!({ "planId": id, "couponCode": coupon }),
        );
        let buying = async move { customer.post("/api/subscriptions", order).await };
        let refused = meanwhile(&shop, "%INSERT INTO subscriptions", delete, buying).await;
        refused.fails(404, "NOT_FOUND");
    }
    shop.books_balance().await;
}

/// A deletion removes the quotes of its plan in an order of its own. A purge that waited for it would hold quotes that
/// the deletion comes to later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_of_quotes_waits_for_no_deletion_of_their_plan_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    for (slug, customer) in [("basic", "satu@example.com"), ("pro", "dua@example.com")] {
        let order = json!({ "planId": shop.plan("n8n", slug).await });
        let customer = shop.customer(customer).await;
        let quote = customer.post("/api/subscriptions/quote", order).await;
        quote.data(200);
    }
    shop.clock().advance(TimeDelta::hours(25));
    let purged = async || {
        let purge = subscriptions::purge_quotes(&shop.state().subscriptions);
        let done = timeout(Duration::from_secs(10), purge).await;
        done.expect("it waits for no deletion").unwrap()
    };
    let basic: PlanId = shop.plan("n8n", "basic").await.parse().unwrap();
    let mut held = shop.state().db.begin().await.unwrap();
    // As a deletion of the plan begins.
    let sql = "DELETE FROM quotes WHERE plan_id = $1";
    assert_eq!(execute!(held, sql, basic).unwrap(), 1);
    assert_eq!(purged().await, 1);
    held.rollback().await.unwrap();
    assert_eq!(purged().await, 1);
}
