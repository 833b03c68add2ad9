//! Tests of transactions whose callers leave before they have begun, or within a statement.

use std::time::{Duration, Instant};

use dermaga_shop::{
    db::{Conn, Db},
    execute, fetch_one,
};
use dermaga_tests::{Engine, Shop, both_engines};
use futures::{FutureExt as _, future::BoxFuture};
use tokio::time::{sleep, timeout};

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

/// Waits for the rows of another transaction.
const WAITS: &str = "UPDATE users SET name = name WHERE email <> 'none'";
/// Counts the sessions in which [`WAITS`] does.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND wait_event_type = 'Lock' AND query LIKE 'UPDATE users SET name = name WHERE email%'";

/// A statement that waits for a row does not keep its session for the five minutes that it may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_waits_ends_soon_after_its_caller_has_left() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    shop.customer("pergi@example.com").await;
    let db = &shop.state().db;
    let waiting = async || {
        let mut conn = db.read().await.unwrap();
        fetch_one!(conn, (i64,), WAITING).unwrap().0
    };
    let mut holding = db.begin().await.unwrap();
    execute!(holding, "UPDATE users SET name = name").unwrap();
    let mut left = db.begin().await.unwrap();
    let update = async { execute!(left, WAITS) };
    assert!(timeout(Duration::from_secs(1), update).await.is_err());
    drop(left);
    assert_eq!(waiting().await, 1);
    // Ten seconds, in which its transaction could have been undone, and those in which PostgreSQL looks.
    let deadline = Instant::now() + Duration::from_secs(40);
    while waiting().await > 0 {
        assert!(Instant::now() < deadline, "its session is still there");
        sleep(Duration::from_millis(200)).await;
    }
    holding.rollback().await.unwrap();
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
