//! Tests of transactions whose callers leave before they have begun.

use dermaga_shop::{
    db::{Conn, Db},
    execute,
};
use dermaga_tests::{Shop, both_engines};
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

/// Polls a beginning, and drops it after so many steps.
async fn leave(mut beginning: BoxFuture<'_, sqlx::Result<Conn>>, steps: u32) {
    for _ in 0..=steps {
        if (&mut beginning).now_or_never().is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
