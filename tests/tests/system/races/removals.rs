//! Plans that are deleted while customers buy them, or while their quotes are purged.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_shop::{
    db::Conn,
    execute, fetch_optional,
    ids::{PlanId, QuoteId},
    subscriptions,
};
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

const QUOTE: &str = "/api/subscriptions/quote";

/// Makes a plan, whose path and id it returns, with two quotes of a new customer. The first one, which its id puts before the other, lies behind it in the
/// table and in its indexes.
async fn two_quotes(
    shop: &Shop,
    admin: &Client,
    slug: &str,
) -> (Client, (String, PlanId), [QuoteId; 2]) {
    let (path, id) = plan(admin, slug).await;
    let customer = shop.customer(&format!("{slug}@example.com")).await;
    let mut quotes = Vec::new();
    for _ in 0..2 {
        let quote = customer.post(QUOTE, order(id)).await.data(200);
        quotes.push(quote["id"].as_str().unwrap().parse::<QuoteId>().unwrap());
    }
    quotes.sort_unstable();
    let (first, last) = (quotes[0], quotes[1]);
    let mut moved = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE quotes SET expires_at = expires_at - interval '1 hour' WHERE id = $1";
    assert_eq!(execute!(moved, sql, first).unwrap(), 1);
    moved.commit().await.unwrap();
    (customer, (path, id), [first, last])
}

async fn hold(shop: &Shop, quote: QuoteId) -> Conn {
    let mut held = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE quotes SET due = due WHERE id = $1";
    assert_eq!(execute!(held, sql, quote).unwrap(), 1);
    held
}

/// Asserts that a quote can be written without waiting long for a lock.
async fn is_free(shop: &Shop, quote: QuoteId) {
    let mut other = shop.state().db.begin().await.unwrap();
    execute!(other, "SET LOCAL lock_timeout = '1s'").unwrap();
    let sql = "UPDATE quotes SET due = due WHERE id = $1";
    let written = execute!(other, sql, quote);
    assert_eq!(written.expect("nothing holds it"), 1);
    other.rollback().await.unwrap();
}

/// The deletion of a plan and that of an account take quotes in one order, so that neither has one that the other waits
/// for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_take_quotes_in_the_order_of_their_ids_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let admin = shop.admin().await;
    for (slug, by_customer) in [("giant", false), ("titan", true)] {
        let (customer, (path, _), [first, last]) = two_quotes(&shop, &admin, slug).await;
        let held = hold(&shop, first).await;
        let admin = admin.clone();
        let deleting = tokio::spawn(async move {
            if by_customer {
                let proof = json!({ "password": "kata sandi yang panjang" });
                customer.delete_with("/api/user", proof).await
            } else {
                admin.delete_with(&path, because(json!({}))).await
            }
        });
        shop.statements_wait("DELETE FROM quotes%", 1).await;
        is_free(&shop, last).await;
        held.rollback().await.unwrap();
        let deleted = deleting.await.unwrap();
        assert_eq!(deleted.status, 200, "{slug}: {}", deleted.text);
    }
}

/// A quote forgets those before it, and leaves one that a deletion has to the purge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quote_waits_for_no_deletion_of_an_earlier_one_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let admin = shop.admin().await;
    let (customer, (_, id), [first, last]) = two_quotes(&shop, &admin, "giant").await;
    let held = hold(&shop, first).await;
    let asking = timeout(Duration::from_secs(10), customer.post(QUOTE, order(id)));
    asking.await.expect("it waits for nothing").data(200);
    is_free(&shop, last).await;
    held.rollback().await.unwrap();
    customer.post(QUOTE, order(id)).await.data(200);
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT id FROM quotes WHERE id = $1";
    let kept = fetch_optional!(conn, (QuoteId,), sql, first).unwrap();
    assert!(kept.is_none(), "it has expired and nothing holds it");
}
