//! Writes of an owner while the account is deleted, at the same server and at another one.

use dermaga_shop::{fetch_one, ids::UserId, owners};
use dermaga_tests::{Client, Engine, Shop};
use futures::future::join_all;
use serde_json::json;

const PASSWORD: &str = "kata sandi yang panjang";

/// Sends one write of each kind; returns the statuses.
async fn write(client: &Client, plan: &str) -> Vec<u16> {
    let texts = [
        ("subject", "A question of mine"),
        ("description", "How do I move my domain?"),
    ];
    let name = json!({ "name": "Kembali" });
    let hook = json!({ "url": "https://hooks.example.com/", "events": [] });
    let key = json!({ "name": "laporan", "scope": "READ" });
    let language = json!({ "language": "id" });
    let order = json!({ "planId": plan });
    let (profile, ticket, hook, key, language, quote) = tokio::join!(
        client.put("/api/user/profile", name),
        client.post_form("/api/tickets", &texts, &[]),
        client.post("/api/webhooks", hook),
        client.post("/api/user/api-tokens", key),
        client.patch("/api/notifications/preferences", language),
        client.post("/api/subscriptions/quote", order),
    );
    [profile, ticket, hook, key, language, quote]
        .iter()
        .map(|answer| answer.status)
        .collect()
}

async fn delete(client: &Client) -> u16 {
    let body = json!({ "password": PASSWORD });
    client.delete_with("/api/user", body).await.status
}

/// Counts what is personal in an account that is deleted.
async fn rows(shop: &Shop, id: UserId) -> i64 {
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT (SELECT count(*) FROM users WHERE id = $1 AND name <> 'Deleted account') \
        + (SELECT count(*) FROM sessions WHERE user_id = $1) \
        + (SELECT count(*) FROM refresh_tokens WHERE user_id = $1) \
        + (SELECT count(*) FROM api_tokens WHERE user_id = $1) \
        + (SELECT count(*) FROM webhook_endpoints WHERE owner_id = $1) \
        + (SELECT count(*) FROM notification_preferences WHERE user_id = $1) \
        + (SELECT count(*) FROM tickets WHERE user_id = $1) \
        + (SELECT count(*) FROM quotes WHERE user_id = $1) \
        + (SELECT count(*) FROM decisions WHERE user_id = $1 AND erased_at IS NULL)";
    let (count,) = fetch_one!(conn, (i64,), sql, id).unwrap();
    count
}

async fn id_of(client: &Client) -> UserId {
    let profile = client.get("/api/user/profile").await.data(200);
    profile["id"].as_str().unwrap().parse().unwrap()
}

/// A server that still remembers a session writes nothing into the account that another one has deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_into_a_deleted_account() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let other = shop.second_server().await;
    let customer = shop.customer("pergi@example.com").await;
    let there = customer.moved_to(other.client());
    let id = id_of(&there).await;
    let plan = shop.plan("n8n", "basic").await;
    assert_eq!(delete(&customer).await, 200);
    for status in write(&there, &plan).await {
        assert!([401, 404].contains(&status), "{status}");
    }
    assert_eq!(rows(&shop, id).await, 0);
}

/// Writes in flight when an account is deleted are removed with it, or fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_in_flight_do_not_outlive_the_account() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let plan = shop.plan("n8n", "basic").await;
    for round in 0..6 {
        let customer = shop.customer(&format!("pergi-{round}@example.com")).await;
        let id = id_of(&customer).await;
        let writes = join_all((0..4).map(|_| write(&customer, &plan)));
        let (_, deleted) = tokio::join!(writes, delete(&customer));
        assert_eq!(deleted, 200, "round {round}");
        assert_eq!(rows(&shop, id).await, 0, "round {round}");
    }
}

/// The key is forgotten with the account while its request waits for the wallet. Its answer does not ask
/// for a repetition, which would not be let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_key_learns_that_its_account_is_gone_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let other = shop.second_server().await;
    let customer = shop.customer("pergi@example.com").await;
    let there = customer.moved_to(other.client());
    let id = id_of(&there).await;
    let order = json!({ "planId": shop.plan("n8n", "basic").await });
    // The deletion changes the address, which is a key, under the lock of the wallet, and before it forgets others.
    let mut held = shop.state().db.begin().await.unwrap();
    assert_eq!(owners::keep(&mut held, id).await.unwrap(), Some(true));
    let deleting = tokio::spawn(async move { delete(&customer).await });
    shop.statements_wait("%UPDATE users SET email%", 1).await;
    let keyed = there.with_key("pergi");
    let buying = tokio::spawn(async move { keyed.post("/api/subscriptions", order).await });
    shop.statements_wait("%FROM wallets%FOR NO KEY UPDATE%", 1)
        .await;
    held.rollback().await.unwrap();
    assert_eq!(deleting.await.unwrap(), 200);
    let refused = buying.await.unwrap();
    refused.fails(401, "UNAUTHENTICATED");
}
