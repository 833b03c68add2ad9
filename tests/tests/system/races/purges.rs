//! Purges of old rows beside deletions of accounts, which lock the same rows in an order of their own.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_shop::{
    db::Conn, events, execute, fetch_one, idempotency, ids::UserId, notifications, outbox, webhooks,
};
use dermaga_tests::{Engine, Shop};
use tokio::time::timeout;

/// Old rows of an account.
const OLD: [&str; 8] = [
    "INSERT INTO customer_events (user_id, kind, subject_id, change, at)
     VALUES ($1, 'wallet', gen_random_uuid(), 'PURCHASE', now() - interval '500 days')",
    "INSERT INTO notifications (id, message_id, user_id, kind, payload, in_inbox, created_at)
     SELECT gen_random_uuid(), gen_random_uuid(), $1, 'RENEWAL_SUCCESS', '{}', FALSE, now() - interval '500 days'
     FROM generate_series(1, 2)",
    "INSERT INTO notification_deliveries (id, notification_id, channel, address, state, attempts, next_try_at,
       retry_until, created_at, updated_at)
     SELECT gen_random_uuid(), id, 'EMAIL', 'lama@example.com', 'SENT', 1, created_at, created_at, created_at, created_at
     FROM notifications WHERE user_id = $1 AND created_at < now() - interval '400 days' LIMIT 1",
    "INSERT INTO webhook_owners (owner_id, updated_at) VALUES ($1, now())",
    "INSERT INTO webhook_endpoints (id, owner_id, url, description, events, created_at, updated_at)
     VALUES (gen_random_uuid(), $1, 'https://lama.example.com/', '', '[]', now(), now())",
    "INSERT INTO webhook_deliveries (id, webhook_id, event_id, type, body, state, attempts, next_try_at, created_at,
       updated_at)
     SELECT gen_random_uuid(), id, gen_random_uuid(), 'wallet', '{}', 'DEAD', 1, now(), now() - interval '500 days', now()
     FROM webhook_endpoints WHERE owner_id = $1",
    "INSERT INTO outbox (id, topic, subject_id, payload, created_at, handled_at)
     VALUES (gen_random_uuid(), 'RENEWAL_SUCCESS', $1, '{}', now() - interval '500 days', now())",
    "INSERT INTO idempotency_keys (user_id, route, key, request_hash, holder, created_at, locked_until)
     VALUES ($1, 'POST /api/lama', 'lama', '', gen_random_uuid(), now() - interval '500 days', now())",
];

/// Locks old rows until the transaction ends, as a deletion does that comes to them; counts them.
const HELD: [(&str, i64); 6] = [
    (
        "SELECT count(*) FROM (SELECT 1 FROM customer_events
         WHERE user_id = $1 AND at < now() - interval '400 days' FOR UPDATE) AS held",
        1,
    ),
    (
        "SELECT count(*) FROM (SELECT 1 FROM notifications
         WHERE user_id = $1 AND created_at < now() - interval '400 days' FOR UPDATE) AS held",
        2,
    ),
    (
        "SELECT count(*) FROM (SELECT 1 FROM notification_deliveries d JOIN notifications n ON n.id = d.notification_id
         WHERE n.user_id = $1 AND d.created_at < now() - interval '400 days' FOR UPDATE OF d) AS held",
        1,
    ),
    (
        "SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.webhook_id
         WHERE e.owner_id = $1 AND d.created_at < now() - interval '400 days' FOR UPDATE OF d) AS held",
        1,
    ),
    (
        "SELECT count(*) FROM (SELECT 1 FROM outbox
         WHERE subject_id = $1 AND created_at < now() - interval '400 days' FOR UPDATE) AS held",
        1,
    ),
    (
        "SELECT count(*) FROM (SELECT 1 FROM idempotency_keys
         WHERE user_id = $1 AND created_at < now() - interval '400 days' FOR UPDATE) AS held",
        1,
    ),
];

async fn hold(shop: &Shop, user: UserId) -> Conn {
    let mut conn = shop.state().db.begin().await.unwrap();
    for (sql, expected) in HELD {
        let (held,) = fetch_one!(conn, (i64,), sql, user).unwrap();
        assert_eq!(held, expected, "{sql}");
    }
    conn
}

/// Purges each table; returns the numbers of rows that were removed.
async fn purge(shop: &Shop) -> [u64; 5] {
    let (db, clock) = (&shop.state().db, shop.clock());
    let before = clock.now() - TimeDelta::days(400);
    let mut conn = db.begin().await.unwrap();
    let read = outbox::purge(&mut conn, before, 100).await.unwrap();
    conn.commit().await.unwrap();
    [
        read,
        events::purge(db, clock).await.unwrap(),
        notifications::purge(db, clock).await.unwrap(),
        webhooks::purge(db, clock).await.unwrap(),
        idempotency::purge(db, clock).await.unwrap(),
    ]
}

/// A purge that waited for a deletion would hold rows that the deletion comes to later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_waits_for_no_deletion_of_an_account_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let customer = shop.customer("lama@example.com").await;
    let profile = customer.get("/api/user/profile").await.data(200);
    let user: UserId = profile["id"].as_str().unwrap().parse().unwrap();
    let mut conn = shop.state().db.begin().await.unwrap();
    for sql in OLD {
        execute!(conn, sql, user).unwrap();
    }
    conn.commit().await.unwrap();
    let held = hold(&shop, user).await;
    let purged = timeout(Duration::from_secs(10), purge(&shop)).await;
    assert_eq!(purged.expect("it waits for nothing"), [0; 5]);
    held.rollback().await.unwrap();
    let purged = purge(&shop).await;
    assert!(purged.iter().all(|rows| *rows > 0), "{purged:?}");
}
