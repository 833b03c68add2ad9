//! SQLite's one writer, and the commits that acts share when they come at the same time.
//!
//! SQLite writes one transaction at a time, and making it durable costs as much as what it writes. So
//! an act that is done waits for the commit with those that were in line behind it: they do their work
//! in the same transaction, one after the other, each behind a savepoint so that it can fail alone;
//! whoever comes after them waits for the next one. Nobody is told "done" before the commit.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedMappedMutexGuard, OwnedMutexGuard, oneshot},
};

/// A deferred transaction that turns into a writer fails at once when another process wrote in between;
/// an immediate one waits.
const BEGIN: &str = "BEGIN IMMEDIATE";
/// The names of savepoints may repeat: the last one is meant.
const BEGIN_NEXT: &str = "SAVEPOINT act";
const UNDO: &str = "ROLLBACK TO act";
/// How many acts one commit makes durable at most.
const MOST: usize = 64;

type Open = Option<Transaction<'static, Sqlite>>;
type Held = OwnedMutexGuard<Open>;

/// What an act may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    /// What is durable.
    Durable,
    /// Also what those before it did and nobody has been told of.
    Undurable,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    pool: SqlitePool,
    line: Arc<Line>,
    patience: Duration,
}

/// Those who want to write, in the order in which they came.
#[derive(Debug, Default)]
struct Line {
    /// Fair; whoever holds it writes. The transaction stays open while acts share it.
    open: Arc<tokio::sync::Mutex<Open>>,
    group: Mutex<Group>,
    /// Set by SQLite when it undoes a whole transaction, as it may when the disk is full. A savepoint
    /// after that would begin a new one, and its commit would say nothing of those before it.
    lost: Arc<AtomicBool>,
}

/// The acts of the open transaction.
#[derive(Debug, Default)]
struct Group {
    /// Who waits for the commit.
    done: Vec<oneshot::Sender<sqlx::Result<()>>>,
    /// The last act is to be undone.
    undo: bool,
    /// Somebody in line will commit.
    ending: bool,
}

impl Writer {
    /// Over one connection; who waits for longer than `patience` is refused.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) async fn connect(
        pool: SqlitePoolOptions,
        options: SqliteConnectOptions,
        patience: Duration,
    ) -> sqlx::Result<Self> {
        let line = Arc::<Line>::default();
        let lost = Arc::clone(&line.lost);
        let pool = pool
            .max_connections(1)
            .after_connect(move |conn, _| {
                let lost = Arc::clone(&lost);
                Box::pin(async move {
                    let hook = move || lost.store(true, Ordering::Release);
                    conn.lock_handle().await?.set_rollback_hook(hook);
                    Ok(())
                })
            })
            .after_release(|conn, _| Box::pin(is_idle(conn)));
        Ok(Self {
            pool: pool.connect_with(options).await?,
            line,
            patience,
        })
    }

    pub(super) const fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    pub(super) async fn begin(&self, sees: Sees) -> sqlx::Result<Turn> {
        let waiting = Arc::clone(&self.line.open).lock_owned();
        let mut open = tokio::time::timeout(self.patience, waiting)
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?;
        self.line.settle(&mut open).await;
        if sees == Sees::Durable || self.line.group().done.len() >= MOST {
            open = self.line.end(open).await?;
        }
        match open.as_mut() {
            Some(transaction) => run(transaction, BEGIN_NEXT).await?,
            None => {
                *open = Some(self.pool.begin_with(BEGIN).await?);
                self.line.lost.store(false, Ordering::Release);
            }
        }
        let transaction = OwnedMutexGuard::try_map(open, Option::as_mut);
        Ok(Turn {
            transaction: transaction.map_err(|_| sqlx::Error::WorkerCrashed)?,
            line: Arc::clone(&self.line),
            kept: false,
        })
    }

    /// Waits for those in line and closes the connection.
    pub(super) async fn close(&self) {
        let open = Arc::clone(&self.line.open).lock_owned().await;
        // What cannot be committed is undone, and who waits for it is told.
        drop(self.line.end(open).await);
        self.pool.close().await;
    }
}

/// The turn of one act: its part of the open transaction. Dropped, the part is undone.
#[derive(Debug)]
pub(super) struct Turn {
    transaction: OwnedMappedMutexGuard<Open, Transaction<'static, Sqlite>>,
    line: Arc<Line>,
    kept: bool,
}

impl Turn {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Lets the next one write, and waits until what this one wrote is durable.
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        let (sender, durable) = oneshot::channel();
        self.kept = true;
        self.line.group().done.push(sender);
        drop(self);
        durable.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Undoes what this one wrote, and waits until what it saw is durable, so that a reader sees it too.
    pub(super) async fn rollback(self) -> sqlx::Result<()> {
        let line = Arc::clone(&self.line);
        drop(self);
        let open = Arc::clone(&line.open).lock_owned().await;
        line.end(open).await.map(drop)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut group = self.line.group();
        group.undo = !self.kept;
        // Behind those who are in line now.
        if !group.ending
            && let Ok(runtime) = Handle::try_current()
        {
            group.ending = true;
            runtime.spawn(Arc::clone(&self.line).end_in_turn());
        }
    }
}

impl Line {
    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn end_in_turn(self: Arc<Self>) {
        let open = Arc::clone(&self.open).lock_owned().await;
        self.group().ending = false;
        // Who waits has been told.
        drop(self.end(open).await);
    }

    /// Undoes the last act, if it is to be undone; or all, if SQLite did.
    async fn settle(&self, open: &mut Held) {
        let (undo, alone) = {
            let group = self.group();
            (group.undo, group.done.is_empty())
        };
        let settled = match open.as_mut() {
            None => Ok(()),
            Some(_) if self.lost.load(Ordering::Acquire) => Err(undone()),
            Some(transaction) if undo && !alone => run(transaction, UNDO).await,
            Some(_) => Ok(()),
        };
        if (undo && alone || settled.is_err())
            && let Some(transaction) = open.take()
        {
            drop(transaction.rollback().await);
        }
        let mut group = self.group();
        group.undo = false;
        if let Err(error) = settled {
            group.tell(Err(error));
        }
    }

    /// Makes the open transaction durable and tells who waits for it. Once begun, it goes on when the
    /// caller is gone.
    async fn end(self: &Arc<Self>, mut open: Held) -> sqlx::Result<Held> {
        if open.is_none() {
            return Ok(open);
        }
        let line = Arc::clone(self);
        let ended = tokio::spawn(async move {
            line.settle(&mut open).await;
            if let Some(transaction) = open.take() {
                let result = transaction.commit().await;
                line.group().tell(result);
            }
            open
        });
        ended.await.map_err(|_| sqlx::Error::WorkerCrashed)
    }
}

async fn run(conn: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<()> {
    sqlx::query(sql).execute(conn).await.map(drop)
}

/// Whether a connection can begin anew. sqlx takes one that SQLite undid by itself for one that still
/// writes.
async fn is_idle(conn: &mut SqliteConnection) -> sqlx::Result<bool> {
    if conn.is_in_transaction() {
        // A rollback may be on its way.
        conn.ping().await?;
    }
    Ok(!conn.is_in_transaction())
}

fn undone() -> sqlx::Error {
    failed("SQLite undid the transaction")
}

fn failed(why: &str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(why.to_owned()))
}

impl Group {
    fn tell(&mut self, result: sqlx::Result<()>) {
        let mut done = mem::take(&mut self.done);
        if let [_] = *done
            && let Some(only) = done.pop()
        {
            // Whoever is gone does not want to know.
            let _ = only.send(result);
            return;
        }
        let failure = result.err().map(|error| error.to_string());
        for one in done {
            let _ = one.send(match &failure {
                None => Ok(()),
                Some(why) => Err(failed(why)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use futures::FutureExt as _;
    use tempfile::TempDir;
    use tokio::task::JoinHandle;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn writer(dir: &TempDir) -> Writer {
        let url = format!("sqlite://{}", dir.path().join("w.db").display());
        let options = SqliteConnectOptions::from_str(&url)
            .unwrap()
            .create_if_missing(true)
            .foreign_keys(true);
        let writer = Writer::connect(SqlitePoolOptions::new(), options, PATIENCE)
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

    /// An act that has come before the one in hand is done.
    fn next(writer: &Writer) -> JoinHandle<sqlx::Result<Turn>> {
        let writer = writer.clone();
        tokio::spawn(async move { writer.begin(Sees::Undurable).await })
    }

    /// Does one act while the next is in line; gives its commit, which waits for that one, and the
    /// next one's turn.
    async fn one_and_the_next(writer: &Writer) -> (JoinHandle<sqlx::Result<()>>, Turn) {
        let mut one = writer.begin(Sees::Undurable).await.unwrap();
        let next = next(writer);
        tokio::task::yield_now().await;
        insert(&mut one, 1).await;
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

    /// It is about to ask again, and a reader must not tell it the same as before.
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
        let mut one = writer.begin(Sees::Undurable).await.unwrap();
        let two = next(&writer);
        tokio::task::yield_now().await;
        insert(&mut one, 1).await;
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
    async fn a_commit_that_fails_is_told_to_all() {
        let dir = TempDir::new().unwrap();
        let writer = writer(&dir).await;
        let (one, mut two) = one_and_the_next(&writer).await;
        insert(&mut two, 99).await;
        assert!(two.commit().await.is_err(), "99 has no parent");
        assert!(one.await.unwrap().is_err());
        assert_eq!(kept(&writer).await, [] as [i64; 0]);
    }

    /// SQLite undoes the whole transaction then, and would begin another with the next savepoint.
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
        // It does not care, and goes on.
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
}
