//! Sessions that have ended, at a server that remembers them for a moment, and requests in flight.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_shop::{execute, fetch_one};
use dermaga_tests::{Client, Engine, Shop};
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::time::timeout;

const PASSWORD: &str = "kata sandi yang panjang";
const KEYS: &str = "/api/user/api-tokens";

fn key() -> Value {
    json!({ "name": "laporan", "scope": "WRITE" })
}

async fn live_keys(shop: &Shop) -> i64 {
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM api_tokens WHERE revoked_at IS NULL";
    let (count,) = fetch_one!(conn, (i64,), sql).unwrap();
    count
}

/// Ends every session of an account in one of the ways that there are.
async fn end(way: &str, customer: &Client, admin: &Client, id: &str) {
    let reason = "As its owner asked.";
    let answer = match way {
        "password" => {
            let body =
                json!({ "currentPassword": PASSWORD, "newPassword": "kata sandi yang baru" });
            customer.post("/api/auth/change-password", body).await
        }
        "logout" => customer.post("/api/auth/logout", json!({})).await,
        "logout-all" => customer.post("/api/auth/logout-all", json!({})).await,
        "sign-out" => {
            let path = format!("/api/admin/users/{id}/sign-out");
            admin.post(&path, json!({ "reason": reason })).await
        }
        _ => {
            let path = format!("/api/admin/users/{id}/status");
            let body = json!({ "status": "DISABLED", "reason": reason });
            admin.patch(&path, body).await
        }
    };
    assert_eq!(answer.status, 200, "{way}: {}", answer.text);
}

/// A session that another server has ended makes nothing that would outlive it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_session_makes_nothing_that_lives_on() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let other = shop.second_server().await;
    let admin = shop.admin().await;
    for way in ["password", "logout", "logout-all", "sign-out", "disabled"] {
        let customer = shop.customer(&format!("akhir-{way}@example.com")).await;
        let there = customer.moved_to(other.client());
        // The other server remembers the session from here on.
        let profile = there.get("/api/user/profile").await.data(200);
        end(way, &customer, &admin, profile["id"].as_str().unwrap()).await;
        let webhook = json!({ "url": "https://hooks.example.com/", "events": [] });
        let made = tokio::join!(
            there.post(KEYS, key()),
            there.post("/api/webhooks", webhook)
        );
        for answer in [made.0, made.1] {
            assert_eq!(answer.status, 401, "{way}: {}", answer.text);
        }
        let begun = json!({ "password": PASSWORD });
        let begun = there.post("/api/user/two-factor", begun).await;
        assert_ne!(begun.status, 201, "{way}: {}", begun.text);
    }
    assert_eq!(live_keys(&shop).await, 0);
}

/// Keys that are made while everything is signed out end with it, or are not made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_flight_does_not_outlive_the_sign_out() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    for round in 0..8 {
        let customer = shop
            .customer(&format!("serentak-{round}@example.com"))
            .await;
        let keys = join_all((0..6).map(|_| customer.post(KEYS, key())));
        let (made, ended) = tokio::join!(keys, customer.post("/api/auth/logout-all", json!({})));
        assert_eq!(ended.status, 200, "{}", ended.text);
        for answer in made {
            assert!([201, 401].contains(&answer.status), "{}", answer.text);
        }
        assert_eq!(live_keys(&shop).await, 0, "round {round}");
    }
}

/// An administrator without the role moves no money through a server that still remembers it, and a disabled
/// customer spends none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_disabled_moves_no_money() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let other = shop.second_server().await;
    let (first, second) = (shop.admin().await, shop.admin().await);
    let customer = shop
        .customer_with_credit("boros@example.com", 100_000)
        .await;
    let customer_id = id_of(&customer).await;
    let second_there = second.moved_to(other.client());
    let second_id = id_of(&second_there).await;
    end("disabled", &second, &first, &second_id).await;
    let path = format!("/api/admin/wallets/{customer_id}/add-credit");
    let gift = json!({ "amount": 5_000, "reason": "A gift to begin with." });
    let given = second_there.post(&path, gift).await;
    assert!([401, 403].contains(&given.status), "{}", given.text);

    let there = customer.moved_to(other.client());
    there.get("/api/wallet/info").await.data(200);
    end("disabled", &customer, &first, &customer_id).await;
    let order = json!({ "planId": shop.plan("n8n", "free").await });
    let bought = there.post("/api/subscriptions", order).await;
    assert_eq!(bought.status, 401, "{}", bought.text);
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM subscriptions";
    let (subscriptions,) = fetch_one!(conn, (i64,), sql).unwrap();
    drop(conn);
    assert_eq!(subscriptions, 0);
    // An administrator still can.
    let path = format!("/api/admin/wallets/{customer_id}/add-credit");
    let gift = json!({ "amount": 5_000, "reason": "For the time it was disabled." });
    first.post(&path, gift).await.data(201);
}

async fn id_of(client: &Client) -> String {
    let profile = client.get("/api/user/profile").await.data(200);
    profile["id"].as_str().unwrap().to_owned()
}

/// Counts the expired sessions and refresh tokens that are kept.
async fn expired(shop: &Shop) -> i64 {
    let now = shop.clock().now();
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT (SELECT count(*) FROM sessions WHERE expires_at < $1) \
        + (SELECT count(*) FROM refresh_tokens WHERE expires_at < $1)";
    let (count,) = fetch_one!(conn, (i64,), sql, now).unwrap();
    count
}

/// A login leaves out what expired and is being ended: waiting for it, it would have what the end of all sessions
/// of that account waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_waits_for_no_session_that_is_being_ended_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    shop.register("habis@example.com").await;
    shop.register("masuk@example.com").await;
    shop.clock().advance(TimeDelta::days(30));
    assert_eq!(expired(&shop).await, 4);
    let mut ending = shop.state().db.begin().await.unwrap();
    for table in ["refresh_tokens", "sessions"] {
        let of_one = "(SELECT id FROM users WHERE email = 'habis@example.com')";
        let sql = format!("UPDATE {table} SET expires_at = expires_at WHERE user_id = {of_one}");
        let held = execute!(ending, AssertSqlSafe(sql));
        assert_eq!(held.unwrap(), 1);
    }
    let login = shop.sign_in("masuk@example.com");
    let waited = timeout(Duration::from_secs(10), login).await;
    waited.expect("it waits for no lock");
    assert_eq!(expired(&shop).await, 2);
    ending.rollback().await.unwrap();
    shop.sign_in("masuk@example.com").await;
    assert_eq!(expired(&shop).await, 0);
}
