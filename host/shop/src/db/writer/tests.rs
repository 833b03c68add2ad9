//! The writer on a database in a file: shared commits, failures of one and of all, and the order of the line.

use std::str::FromStr as _;

use futures::FutureExt as _;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;

const LONGEST_WAIT: Duration = Duration::from_secs(5);

async fn writer(dir: &TempDir) -> Writer {
    let url = format!("sqlite://{}", dir.path().join("w.db").display());
    let options = SqliteConnectOptions::from_str(&url)
        .unwrap()
        .create_if_missing(true)
        .foreign_keys(true);
    let writer = Writer::connect(SqlitePoolOptions::new(), options, LONGEST_WAIT)
        .await
        .unwrap();
    let tables = "CREATE TABLE parents (id INTEGER PRIMARY KEY);
                  CREATE TABLE acts (number INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED, filler BLOB)";
    run(&mut writer.pool().acquire().await.unwrap(), tables)
        .await
        .unwrap();
    let mut turn = writer.begin(Sees::Durable).await.unwrap();
    run(
        turn.connection(),
        "INSERT INTO parents VALUES (1), (2), (3)",
    )
    .await
    .unwrap();
    turn.commit().await.unwrap();
    writer
}

async fn insert(turn: &mut Turn, number: i64) {
    sqlx::query("INSERT INTO acts (number) VALUES ($1)")
        .bind(number)
        .execute(turn.connection())
        .await
        .unwrap();
}

async fn seen(turn: &mut Turn) -> Vec<i64> {
    let sql = "SELECT number FROM acts ORDER BY number";
    sqlx::query_scalar(sql)
        .fetch_all(turn.connection())
        .await
        .unwrap()
}

async fn kept(writer: &Writer) -> Vec<i64> {
    seen(&mut writer.begin(Sees::Durable).await.unwrap()).await
}

/// Begins the next operation while the one in hand is not done.
fn next(writer: &Writer) -> JoinHandle<sqlx::Result<Turn>> {
    let writer = writer.clone();
    tokio::spawn(async move { writer.begin(Sees::Undurable).await })
}

/// Returns an operation that has written, and the next in line.
async fn one_in_hand(writer: &Writer) -> (Turn, JoinHandle<sqlx::Result<Turn>>) {
    let mut one = writer.begin(Sees::Undurable).await.unwrap();
    let next = next(writer);
    tokio::task::yield_now().await;
    insert(&mut one, 1).await;
    (one, next)
}

/// Runs one operation while the next is in line; returns its commit, which waits for that one, and
/// the next one's turn.
async fn one_and_the_next(writer: &Writer) -> (JoinHandle<sqlx::Result<()>>, Turn) {
    let (one, next) = one_in_hand(writer).await;
    let one = tokio::spawn(one.commit());
    (one, next.await.unwrap().unwrap())
}

#[tokio::test]
async fn acts_in_line_share_a_commit() {
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir).await;
    let (one, mut two) = one_and_the_next(&writer).await;
    assert_eq!(seen(&mut two).await, [1], "in the same transaction");
    insert(&mut two, 2).await;
    assert!(!one.is_finished(), "told before it is durable");
    two.commit().await.unwrap();
    one.await.unwrap().unwrap();
    assert_eq!(kept(&writer).await, [1, 2]);
}

#[tokio::test]
async fn an_act_fails_alone() {
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir).await;
    let (one, mut two) = one_and_the_next(&writer).await;
    insert(&mut two, 2).await;
    drop(two);
    one.await.unwrap().unwrap();
    assert_eq!(kept(&writer).await, [1]);
}

/// The caller of an undone operation may read next, and must see the writes that it saw.
#[tokio::test]
async fn what_an_undone_act_saw_is_durable() {
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir).await;
    let (one, mut two) = one_and_the_next(&writer).await;
    assert_eq!(seen(&mut two).await, [1]);
    two.rollback().await.unwrap();
    one.now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(kept(&writer).await, [1]);
}

#[tokio::test]
async fn the_first_that_fails_takes_nobody_along() {
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir).await;
    let (one, two) = one_in_hand(&writer).await;
    drop(one);
    let mut two = two.await.unwrap().unwrap();
    assert_eq!(seen(&mut two).await, [] as [i64; 0]);
    insert(&mut two, 2).await;
    two.commit().await.unwrap();
    assert_eq!(kept(&writer).await, [2]);
}

#[tokio::test]
async fn who_asks_for_it_sees_only_what_is_durable() {
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir).await;
    let mut one = writer.begin(Sees::Undurable).await.unwrap();
    let other = writer.clone();
    let two = tokio::spawn(async move { other.begin(Sees::Durable).await });
    tokio::task::yield_now().await;
    insert(&mut one, 1).await;
    let one = tokio::spawn(one.commit());
    let two = two.await.unwrap().unwrap();
    one.await.unwrap().unwrap();
    drop(two);
    assert_eq!(kept(&writer).await, [1]);
}

#[tokio::test]
async fn an_act_that_nobody_waits_for_is_kept() {
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir).await;
    let (one, two) = one_and_the_next(&writer).await;
    one.abort();
    drop(two);
    assert_eq!(kept(&writer).await, [1]);
}

#[tokio::test]
async fn an_act_that_is_left_is_durable_with_another_one_or_soon() {
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir).await;
    let mut one = writer.begin(Sees::Undurable).await.unwrap();
    insert(&mut one, 1).await;
    one.leave();
    let mut two = writer.begin(Sees::Undurable).await.unwrap();
    assert_eq!(seen(&mut two).await, [1]);
    insert(&mut two, 2).await;
    drop(two);
    assert_eq!(kept(&writer).await, [1], "the other one failed alone");
    // Until nothing of these is in line any more.
    tokio::time::sleep(LINGER * 10).await;
    let mut three = writer.begin(Sees::Undurable).await.unwrap();
    insert(&mut three, 3).await;
    three.leave();
    assert!(writer.line.open.lock().await.is_some(), "left open");
    tokio::time::sleep(LINGER * 10).await;
    assert!(writer.line.open.lock().await.is_none(), "durable by now");
    assert_eq!(kept(&writer).await, [1, 3]);
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_all() {
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir).await;
    let (one, mut two) = one_and_the_next(&writer).await;
    insert(&mut two, 99).await;
    assert!(two.commit().await.is_err(), "99 has no parent");
    assert!(one.await.unwrap().is_err());
    assert_eq!(kept(&writer).await, [] as [i64; 0]);
}

/// SQLite undoes the whole transaction here, and the next savepoint would begin another.
#[tokio::test]
async fn a_full_disk_is_told_to_all() {
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir).await;
    let (one, mut two) = one_and_the_next(&writer).await;
    run(two.connection(), "PRAGMA max_page_count = 4")
        .await
        .unwrap();
    let large = "INSERT INTO acts (filler) VALUES (zeroblob(100000))";
    assert!(run(two.connection(), large).await.is_err(), "too large");
    let three = next(&writer);
    tokio::task::yield_now().await;
    // The second operation ignores the failed statement and commits.
    let two = tokio::spawn(two.commit());
    let mut three = three.await.unwrap().unwrap();
    insert(&mut three, 3).await;
    three.commit().await.unwrap();
    assert!(one.await.unwrap().is_err());
    assert!(two.await.unwrap().is_err());
    assert_eq!(kept(&writer).await, [3]);
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let dir = TempDir::new().unwrap();
    let mut writer = writer(&dir).await;
    writer.patience = Duration::from_millis(10);
    let one = writer.begin(Sees::Durable).await.unwrap();
    let two = writer.begin(Sees::Durable).await;
    assert!(matches!(two, Err(sqlx::Error::PoolTimedOut)));
    drop(one);
}

#[tokio::test]
async fn closing_waits_for_the_line() {
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir).await;
    let (one, two) = one_and_the_next(&writer).await;
    drop(two);
    writer.close().await;
    one.await.unwrap().unwrap();
    assert!(writer.begin(Sees::Durable).await.is_err());
}
