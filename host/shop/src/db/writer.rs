//! SQLite's single writer, and group commit of operations that arrive at the same time.
//!
//! SQLite writes one transaction at a time, and making it durable costs as much as what it writes.
//! So a finished operation waits for one commit with those queued behind it. They run in the same
//! transaction, one after the other, each behind a savepoint so that it can fail alone; later ones
//! wait for the next commit. No caller gets "done" before the commit.

#[cfg(test)]
mod tests;

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    SqlSafeStr as _, Sqlite, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedMappedMutexGuard, OwnedMutexGuard, oneshot},
};

use super::{
    connections::{Borrowed, Connections},
    wal,
};

/// Statement that begins a transaction. A deferred one fails at once when another process wrote
/// before its first write; an immediate one waits.
const BEGIN: &str = "BEGIN IMMEDIATE";
/// Statement that begins the next operation. Savepoint names may repeat: the last one counts.
const BEGIN_NEXT: &str = "SAVEPOINT act";
const UNDO: &str = "ROLLBACK TO act";
/// Longest time for which an operation without a waiter is left to the commit of another one.
const LINGER: Duration = Duration::from_millis(5);
/// Maximum number of operations that one commit makes durable.
const MOST_STATEMENTS: usize = 64;

type Open = Option<Borrowed<Sqlite>>;
type Held = OwnedMutexGuard<Open>;

/// Data that an operation may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    /// Durable data only.
    Durable,
    /// Also writes of earlier operations that are not committed yet.
    Undurable,
}

/// SQLite's writer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    connections: Connections<Sqlite>,
    line: Arc<Line>,
    patience: Duration,
}

/// Queue of writers, in the order of arrival.
#[derive(Debug, Default)]
struct Line {
    /// Fair lock; its holder writes. The transaction stays open while operations share it.
    open: Arc<tokio::sync::Mutex<Open>>,
    group: Mutex<Group>,
    /// Set by SQLite when it undoes a whole transaction, for example on a full disk. A savepoint
    /// then would begin a new one, whose commit would not cover the earlier operations.
    lost: Arc<AtomicBool>,
    /// True when the schema has the mark that every transaction changes.
    is_marked: AtomicBool,
}

/// Operations of the open transaction.
#[derive(Debug, Default)]
struct Group {
    /// Callers that wait for the commit.
    done: Vec<oneshot::Sender<sqlx::Result<()>>>,
    /// True when the last operation has to be undone.
    undo: bool,
    /// True when an operation in line will commit.
    ending: bool,
}

impl Writer {
    /// Connects over one connection; a caller that waits for longer than `patience` is refused.
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
        let pool = pool.max_connections(1).after_connect(move |conn, _| {
            let lost = Arc::clone(&lost);
            Box::pin(async move {
                let hook = move || lost.store(true, Ordering::Release);
                conn.lock_handle().await?.set_rollback_hook(hook);
                Ok(())
            })
        });
        Ok(Self {
            connections: Connections::new(pool.connect_with(options).await?),
            line,
            patience,
        })
    }

    pub(super) const fn connections(&self) -> &Connections<Sqlite> {
        &self.connections
    }

    /// Returns the driver's pool, whose only connection is in use during an operation.
    pub(super) fn pool(&self) -> &SqlitePool {
        self.connections.pool()
    }

    pub(super) async fn begin(&self, sees: Sees) -> sqlx::Result<Turn> {
        let waiting = Arc::clone(&self.line.open).lock_owned();
        let mut open = tokio::time::timeout(self.patience, waiting)
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?;
        self.line.settle(&mut open).await;
        if sees == Sees::Durable || self.line.group().done.len() >= MOST_STATEMENTS {
            open = self.line.end(open).await?;
        }
        match open.as_mut() {
            Some(transaction) => run(transaction.connection()?, BEGIN_NEXT).await?,
            None => {
                *open = Some(self.begin_alone().await?);
                self.line.lost.store(false, Ordering::Release);
            }
        }
        let conn = OwnedMutexGuard::try_map(open, |open| open.as_mut()?.connection().ok());
        Ok(Turn {
            conn: conn.map_err(|_| sqlx::Error::WorkerCrashed)?,
            line: Arc::clone(&self.line),
            kept: false,
            lingers: false,
        })
    }

    /// Begins a transaction that changes the [mark](wal), once there is one.
    async fn begin_alone(&self) -> sqlx::Result<Borrowed<Sqlite>> {
        if self.line.is_marked.load(Ordering::Acquire) {
            return self.connections.begin(wal::BEGIN.into_sql_str()).await;
        }
        let mut transaction = self.connections.begin(BEGIN.into_sql_str()).await?;
        let conn = transaction.connection()?;
        if wal::has_mark(conn).await? {
            wal::change_mark(conn).await?;
            self.line.is_marked.store(true, Ordering::Release);
        }
        Ok(transaction)
    }

    /// Waits for the operations in line and closes the connection.
    pub(super) async fn close(&self) {
        let open = Arc::clone(&self.line.open).lock_owned().await;
        // A failed commit is undone here, and its waiters receive the error.
        drop(self.line.end(open).await);
        self.connections.close().await;
    }
}

/// The turn of one operation: its part of the open transaction. Dropping it undoes the part.
#[derive(Debug)]
pub(super) struct Turn {
    conn: OwnedMappedMutexGuard<Open, SqliteConnection>,
    line: Arc<Line>,
    kept: bool,
    /// True when its commit has no waiter.
    lingers: bool,
}

impl Turn {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }

    /// Lets the next operation write, and waits until this one's writes are durable.
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        let (sender, durable) = oneshot::channel();
        self.kept = true;
        self.line.group().done.push(sender);
        drop(self);
        durable.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Lets the next operation write, whose commit, or one that comes soon, makes this one durable, too.
    pub(super) fn leave(mut self) {
        // Counted as one that waits, so that another one which fails is undone alone.
        let (sender, _) = oneshot::channel();
        self.kept = true;
        self.lingers = true;
        self.line.group().done.push(sender);
    }

    /// Undoes this operation, and waits until the writes it saw are durable and visible to readers.
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
        if group.ending {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let line = Arc::clone(&self.line);
        if self.lingers {
            runtime.spawn(async move {
                tokio::time::sleep(LINGER).await;
                line.end_open().await;
            });
            return;
        }
        // The commit takes its place behind the operations in line now.
        group.ending = true;
        runtime.spawn(line.end_in_turn());
    }
}

impl Line {
    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes durable what is open by now.
    async fn end_open(self: Arc<Self>) {
        let open = Arc::clone(&self.open).lock_owned().await;
        drop(self.make_durable(open).await);
    }

    async fn end_in_turn(self: Arc<Self>) {
        let open = Arc::clone(&self.open).lock_owned().await;
        self.group().ending = false;
        drop(self.make_durable(open).await);
    }

    /// Undoes the last operation, if it has to be undone; or all, if SQLite did.
    async fn settle(&self, open: &mut Held) {
        let (undo, alone) = {
            let group = self.group();
            (group.undo, group.done.is_empty())
        };
        let settled = match open.as_mut() {
            None => Ok(()),
            Some(_) if self.lost.load(Ordering::Acquire) => Err(undone()),
            // Others wait for the commit of what they wrote before it.
            Some(transaction) if undo && !alone => undo_last(transaction).await,
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

    /// Makes the open transaction durable as [`make_durable`](Self::make_durable) does. Continues even when the caller
    /// is dropped.
    async fn end(self: &Arc<Self>, open: Held) -> sqlx::Result<Held> {
        if open.is_none() {
            return Ok(open);
        }
        let ended = tokio::spawn(Arc::clone(self).make_durable(open)).await;
        ended.map_err(|_| sqlx::Error::WorkerCrashed)
    }

    /// Makes the open transaction durable and notifies the waiters. Its caller must not be dropped before.
    async fn make_durable(self: Arc<Self>, mut open: Held) -> Held {
        self.settle(&mut open).await;
        if let Some(transaction) = open.take() {
            let result = transaction.commit().await;
            self.group().tell(result);
        }
        open
    }
}

async fn run(conn: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<()> {
    sqlx::query(sql).execute(conn).await.map(drop)
}

/// Undoes the last operation of a transaction.
async fn undo_last(transaction: &mut Borrowed<Sqlite>) -> sqlx::Result<()> {
    run(transaction.connection()?, UNDO).await
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
            // The receiver was dropped; ignore.
            let _ = only.send(result);
            return;
        }
        // An error of sqlx cannot be cloned, so that several receive its text.
        let failure = result.err().map(|error| error.to_string());
        for one in done {
            let _ = one.send(match &failure {
                None => Ok(()),
                Some(why) => Err(failed(why)),
            });
        }
    }
}
