//! Tests of transactions whose callers leave before they have begun.

use dermaga_shop::{
    db::{Conn, Db},
    execute,
};
use dermaga_tests::{Engine, Shop, both_engines};
use futures::{FutureExt as _, future::BoxFuture};

both_engines!(Shop, [a_beginning_that_is_cut_off_leaves_no_transaction]);

/// Longest patience of a caller that leaves, in steps.
const PATIENCE: u32 = 12;
/// Rounds: each connection of the pool is come back to.
const ROUNDS: u32 = 20;

type Begin = fn(&Db) -> BoxFuture<'_, sqlx::Result<Conn>>;

/// Leaves each kind of transaction at each point of its beginning, and then reads and writes.
async fn a_beginning_that_is_cut_off_leaves_no_transaction(shop: Shop) {
    let db = &shop.state().db;
    let kinds: [Begin; 3] = [Db::snapshot, Db::begin, Db::read];
    for round in 0..ROUNDS {
        for begin in kinds {
            leave(begin(db), round % PATIENCE).await;
            shop.sql("UPDATE users SET name = name").await.unwrap();
            let mut reading = db.snapshot().await.unwrap();
            execute!(reading, "SELECT 1").unwrap();
        }
    }
    shop.books_balance().await;
}

/// Those who begin right after PostgreSQL ended all sessions get others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beginning_replaces_connections_that_are_gone() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let db = &shop.state().db;
    let begin = async || {
        let (one, two, three) = tokio::join!(db.begin(), db.begin(), db.begin());
        [one, two, three].map(Result::unwrap)
    };
    for _ in 0..3 {
        // They rest afterwards, and none of them is tested before its next use.
        for conn in begin().await {
            conn.commit().await.unwrap();
        }
        shop.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await
        .unwrap();
        for mut conn in begin().await {
            execute!(conn, "SELECT 1").unwrap();
            conn.commit().await.unwrap();
        }
    }
}

/// Polls a beginning, and drops it after so many steps.
async fn leave(mut beginning: BoxFuture<'_, sqlx::Result<Conn>>, steps: u32) {
    for _ in 0..=steps {
        if (&mut beginning).now_or_never().is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
