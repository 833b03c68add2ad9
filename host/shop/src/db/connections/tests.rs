//! Connections of SQLite in memory, which are known by their temporary tables.

use std::future::poll_fn;

use sqlx::{
    SqlSafeStr,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::time::sleep;

use super::*;

const BEGIN: &str = "BEGIN";
const MARK: &str = "CREATE TEMPORARY TABLE mark (id INTEGER)";
const MARKED: &str = "SELECT count(*) FROM sqlite_temp_master WHERE name = 'mark'";
const SLOW: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT max(i) FROM n";
/// Time in which tasks that were spawned have ended.
const SOON: Duration = Duration::from_secs(5);

async fn connections(most: u32) -> Connections<Sqlite> {
    let pool = SqlitePoolOptions::new()
        .max_connections(most)
        .acquire_timeout(Duration::from_millis(200))
        .test_before_acquire(false);
    let options = SqliteConnectOptions::new().in_memory(true);
    Connections::new(pool.connect_with(options).await.unwrap())
}

/// Runs a statement as the macros of the shop do.
async fn run(borrowed: &mut Borrowed<Sqlite>, sql: &'static str) -> sqlx::Result<u64> {
    let session = borrowed.session(true)?;
    crate::db::sqlite::execute(sqlx::query(sql), session).await
}

async fn is_marked(borrowed: &mut Borrowed<Sqlite>) -> bool {
    let session = borrowed.session(true).unwrap();
    let query = sqlx::query_as::<_, (i64,)>(MARKED);
    let (count,) = crate::db::sqlite::fetch_one(query, session).await.unwrap();
    count == 1
}

fn at_rest(connections: &Connections<Sqlite>) -> usize {
    connections.shelf.ready().connections.len()
}

/// Waits until so many connections rest here and in the driver's pool.
async fn resting(connections: &Connections<Sqlite>, here: usize, there: usize) {
    let waited = timeout(SOON, async {
        while (at_rest(connections), connections.pool.num_idle()) != (here, there) {
            sleep(Duration::from_millis(5)).await;
        }
    });
    let found = (at_rest(connections), connections.pool.num_idle());
    assert!(waited.await.is_ok(), "{found:?}");
}

#[tokio::test]
async fn a_connection_at_rest_is_lent_again_at_once() {
    let connections = connections(2).await;
    let mut one = connections.acquire().await.unwrap();
    run(&mut one, MARK).await.unwrap();
    drop(one);
    // No task ran meanwhile that could have tested it.
    assert_eq!((at_rest(&connections), connections.used()), (1, 0));
    let mut again = connections.acquire().await.unwrap();
    assert!(is_marked(&mut again).await);
    assert_eq!(connections.used(), 1);
    let mut other = connections.acquire().await.unwrap();
    assert!(!is_marked(&mut other).await);
}

#[tokio::test]
async fn one_that_was_left_or_failed_is_tested_first() {
    let connections = connections(1).await;
    let mut one = connections.acquire().await.unwrap();
    {
        let mut slow = Box::pin(run(&mut one, SLOW));
        poll_fn(|context| {
            assert!(slow.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }
    drop(one);
    assert_eq!(at_rest(&connections), 0, "in the midst of a statement");
    resting(&connections, 0, 1).await;
    let mut one = connections.acquire().await.unwrap();
    run(&mut one, "SELECT nothing").await.unwrap_err();
    drop(one);
    assert_eq!(at_rest(&connections), 0, "after a failure");
    resting(&connections, 0, 1).await;
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_undone_before_the_next() {
    let connections = connections(1).await;
    let mut one = connections
        .begin(SqlSafeStr::into_sql_str(BEGIN))
        .await
        .unwrap();
    run(&mut one, MARK).await.unwrap();
    drop(one);
    let mut next = connections
        .begin(SqlSafeStr::into_sql_str(BEGIN))
        .await
        .unwrap();
    assert!(!is_marked(&mut next).await, "undone");
    run(&mut next, MARK).await.unwrap();
    next.commit().await.unwrap();
    assert_eq!(at_rest(&connections), 1);
    let mut last = connections
        .begin(SqlSafeStr::into_sql_str(BEGIN))
        .await
        .unwrap();
    assert!(is_marked(&mut last).await, "committed");
    last.rollback().await.unwrap();
    assert_eq!(at_rest(&connections), 1);
}

#[tokio::test]
async fn no_more_are_lent_than_may_be_open() {
    let connections = connections(1).await;
    let one = connections.acquire().await.unwrap();
    let refused = connections.acquire().await;
    assert!(matches!(refused, Err(sqlx::Error::PoolTimedOut)));
    drop(one);
    let place = connections.reserve().await.unwrap();
    let refused = connections.acquire().await;
    assert!(matches!(refused, Err(sqlx::Error::PoolTimedOut)));
    // The one at rest goes to who asks the driver's pool.
    drop(connections.pool().acquire().await.unwrap());
    drop(place);
    connections.acquire().await.unwrap();
}

#[tokio::test]
async fn one_that_nothing_borrows_goes_back_to_the_pool_of_the_driver() {
    let connections = connections(1).await;
    drop(connections.acquire().await.unwrap());
    assert_eq!(at_rest(&connections), 1);
    resting(&connections, 0, 1).await;
    drop(connections.acquire().await.unwrap());
    assert_eq!(at_rest(&connections), 1, "and is lent again");
}

#[tokio::test]
async fn closing_waits_for_those_in_use_and_ends_the_others() {
    let connections = connections(2).await;
    let one = connections.acquire().await.unwrap();
    drop(connections.acquire().await.unwrap());
    let closing = tokio::spawn({
        let connections = connections.clone();
        async move { connections.close().await }
    });
    sleep(Duration::from_millis(50)).await;
    assert!(!closing.is_finished(), "one is in use");
    drop(one);
    timeout(SOON, closing).await.unwrap().unwrap();
    assert_eq!((at_rest(&connections), connections.pool.size()), (0, 0));
    let refused = connections.acquire().await;
    assert!(matches!(refused, Err(sqlx::Error::PoolClosed)));
}

/// A database may be dropped after its runtime has ended.
#[test]
fn those_at_rest_end_without_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let connections = runtime.block_on(async {
        let connections = connections(1).await;
        drop(connections.acquire().await.unwrap());
        connections
    });
    assert_eq!(at_rest(&connections), 1);
    drop(runtime);
    drop(connections);
}

/// A runtime that ends drops what borrowed, and with it the task that would return the connection.
#[test]
fn one_in_use_comes_back_while_its_runtime_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let connections = runtime.block_on(async {
        let connections = connections(1).await;
        let borrowed = connections.acquire().await.unwrap();
        tokio::spawn(async move {
            let _borrowed = borrowed;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        connections
    });
    drop(runtime);
    assert!(!connections.shelf.ready().is_swept);
}

#[tokio::test]
async fn a_failure_has_the_others_tested() {
    let connections = connections(2).await;
    let mut one = connections.acquire().await.unwrap();
    drop(connections.acquire().await.unwrap());
    assert_eq!(at_rest(&connections), 1);
    run(&mut one, "SELECT nothing").await.unwrap_err();
    drop(one);
    resting(&connections, 0, 2).await;
}

/// The connection keeps its pages and statements when SQLite says that there is nothing to undo.
#[tokio::test]
async fn a_beginning_that_fails_keeps_the_connection() {
    let connections = connections(1).await;
    let mut one = connections.acquire().await.unwrap();
    run(&mut one, MARK).await.unwrap();
    drop(one);
    let wrong = SqlSafeStr::into_sql_str("BEGIN NOTHING");
    connections.begin(wrong).await.unwrap_err();
    let mut again = connections.acquire().await.unwrap();
    assert!(is_marked(&mut again).await);
}
