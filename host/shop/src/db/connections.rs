//! Connections that are lent again without a test.
//!
//! The driver's pool asks each connection that comes back for an answer, so that a read by one statement costs two
//! round trips to PostgreSQL, and two to SQLite's thread. A connection whose last statement was answered in full needs
//! no such question: it rests here for the next borrower. Any other one goes back to the driver's pool. So does one
//! that rested for a second or was used for a minute, since that pool closes connections that are idle or old.

mod shelf;
#[cfg(test)]
mod tests;

use std::{
    fmt::{self, Debug},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{
    Database, Executor as _, PgConnection, Pool, Postgres, SqlSafeStr as _, SqlStr, Sqlite,
    SqliteConnection,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use self::shelf::{Asking, Lent, Shelf};
use super::session::Session;

/// Longest wait for the end of a transaction that was dropped; then its connection ends.
const UNDONE: Duration = Duration::from_secs(10);
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// Engine whose connections are lent.
pub trait Lends: Database {
    /// Sends a statement without arguments, or several.
    fn send(conn: &mut Self::Connection, statement: SqlStr) -> BoxFuture<'_, sqlx::Result<()>>;
}

impl Lends for Postgres {
    fn send(conn: &mut PgConnection, statement: SqlStr) -> BoxFuture<'_, sqlx::Result<()>> {
        async move { conn.execute(statement).await.map(drop) }.boxed()
    }
}

impl Lends for Sqlite {
    fn send(conn: &mut SqliteConnection, statement: SqlStr) -> BoxFuture<'_, sqlx::Result<()>> {
        // Only a statement that could have arguments stays prepared.
        let query = sqlx::query::<Self>(statement);
        async move { query.execute(conn).await.map(drop) }.boxed()
    }
}

/// Connections of one database. Cheap to clone.
pub struct Connections<D: Lends> {
    pool: Pool<D>,
    shelf: Arc<Shelf<D>>,
}

impl<D: Lends> Connections<D> {
    pub(super) fn new(pool: Pool<D>) -> Self {
        let most = usize::try_from(pool.options().get_max_connections());
        let most = most.map_or(Semaphore::MAX_PERMITS, |most| {
            most.min(Semaphore::MAX_PERMITS)
        });
        Self {
            pool,
            shelf: Arc::new(Shelf::new(most)),
        }
    }

    /// Borrows a connection, in the order of those who ask.
    pub(super) async fn acquire(&self) -> sqlx::Result<Borrowed<D>> {
        let lent = timeout(self.patience(), self.lend()).await;
        lent.map_err(|_| sqlx::Error::PoolTimedOut)?
    }

    /// Borrows a connection, and begins a transaction on it by this statement. One that is lost, which did nothing, is
    /// replaced by another one.
    pub(super) async fn begin(&self, statement: SqlStr) -> sqlx::Result<Borrowed<D>> {
        // Not one of those that are open may be left.
        for _ in 0..self.most() {
            let mut borrowed = self.acquire().await?;
            match borrowed.begin(statement.clone()).await {
                Err(error) if is_lost(&error) => {}
                begun => return begun.map(|()| borrowed),
            }
            if let Some(broken) = borrowed.lent.take() {
                broken.close();
            }
            drop(self.shelf.empty());
        }
        let mut borrowed = self.acquire().await?;
        borrowed.begin(statement).await?;
        Ok(borrowed)
    }

    /// Takes the place of one connection, for one that is borrowed of the [driver's pool](Self::pool) for long.
    pub(super) async fn reserve(&self) -> sqlx::Result<OwnedSemaphorePermit> {
        let turn = timeout(self.patience(), self.turn()).await;
        turn.map_err(|_| sqlx::Error::PoolTimedOut)?
    }

    /// Returns the driver's pool, to which all that rest go back.
    pub(super) fn pool(&self) -> &Pool<D> {
        drop(self.shelf.empty());
        &self.pool
    }

    /// Number of connections that are open at most.
    pub(super) fn most(&self) -> u32 {
        self.pool.options().get_max_connections()
    }

    /// Number of connections that are in use.
    pub(super) fn used(&self) -> u32 {
        let resting = self.pool.num_idle() + self.shelf.ready().connections.len();
        let resting = u32::try_from(resting).unwrap_or(u32::MAX);
        self.pool.size().saturating_sub(resting)
    }

    /// Waits for connections in use and closes all.
    pub(super) async fn close(&self) {
        self.shelf.close();
        self.pool().close().await;
    }

    fn patience(&self) -> Duration {
        self.pool.options().get_acquire_timeout()
    }

    async fn turn(&self) -> sqlx::Result<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.shelf.turns).acquire_owned().await;
        turn.map_err(|_| sqlx::Error::PoolClosed)
    }

    async fn lend(&self) -> sqlx::Result<Borrowed<D>> {
        let turn = self.turn().await?;
        let lent = match self.shelf.take() {
            Some(lent) => lent,
            None => {
                let _asking = Asking(&self.shelf);
                Lent::new(self.pool.acquire().await?)
            }
        };
        Ok(Borrowed {
            lent: Some(lent),
            shelf: Arc::clone(&self.shelf),
            turn: Some(turn),
            is_at_rest: true,
            has_begun: false,
        })
    }
}

impl<D: Lends> Clone for Connections<D> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            shelf: Arc::clone(&self.shelf),
        }
    }
}

impl<D: Lends> Debug for Connections<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

/// A connection in use. Dropping it ends its transaction, and returns it.
pub(super) struct Borrowed<D: Lends> {
    /// Absent once it was given back.
    lent: Option<Lent<D>>,
    shelf: Arc<Shelf<D>>,
    /// Kept until the connection is back.
    turn: Option<OwnedSemaphorePermit>,
    /// True before any statement, and after one that was answered in full.
    is_at_rest: bool,
    /// True within a transaction, and where that is not known.
    has_begun: bool,
}

impl<D: Lends> Borrowed<D> {
    /// Returns the connection.
    pub(super) fn connection(&mut self) -> sqlx::Result<&mut D::Connection> {
        let lent = self.lent.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        self.is_at_rest = false;
        Ok(&mut *lent.conn)
    }

    /// Returns the connection for one statement.
    pub(super) fn session(
        &mut self,
        keeps_statements: bool,
    ) -> sqlx::Result<Session<'_, D::Connection>> {
        let lent = self.lent.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        let is_at_rest = Some(&mut self.is_at_rest);
        Ok(Session::new(&mut *lent.conn, keeps_statements, is_at_rest))
    }

    async fn begin(&mut self, statement: SqlStr) -> sqlx::Result<()> {
        // Before it is sent: cut off between the statement and its answer, the connection is within a transaction.
        self.has_begun = true;
        D::send(self.connection()?, statement).await?;
        self.is_at_rest = true;
        Ok(())
    }

    /// Commits the transaction.
    pub(super) async fn commit(self) -> sqlx::Result<()> {
        self.end(COMMIT).await
    }

    /// Undoes the transaction.
    pub(super) async fn rollback(self) -> sqlx::Result<()> {
        self.end(ROLLBACK).await
    }

    async fn end(mut self, statement: &'static str) -> sqlx::Result<()> {
        D::send(self.connection()?, statement.into_sql_str()).await?;
        self.has_begun = false;
        self.is_at_rest = true;
        Ok(())
    }
}

impl<D: Lends> Debug for Borrowed<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrowed").finish_non_exhaustive()
    }
}

impl<D: Lends> Drop for Borrowed<D> {
    fn drop(&mut self) {
        let Some(lent) = self.lent.take() else {
            return;
        };
        if self.has_begun {
            match Handle::try_current() {
                Ok(runtime) => {
                    let (shelf, turn) = (Arc::clone(&self.shelf), self.turn.take());
                    runtime.spawn(undo(lent, shelf, turn));
                }
                Err(_) => lent.close(),
            }
        } else if self.is_at_rest {
            self.shelf.put(lent);
        } else {
            // The driver's pool tests it. What ended its statement may have ended the others' sessions, too.
            lent.release();
            drop(self.shelf.empty());
        }
    }
}

/// Undoes the transaction of a connection, and returns it.
async fn undo<D: Lends>(
    mut lent: Lent<D>,
    shelf: Arc<Shelf<D>>,
    turn: Option<OwnedSemaphorePermit>,
) {
    let undoing = D::send(&mut lent.conn, ROLLBACK.into_sql_str());
    match timeout(UNDONE, undoing).await {
        Ok(Ok(())) => shelf.put(lent),
        // SQLite had undone it, or did not begin it.
        Ok(Err(error)) if has_none(&error) => lent.release(),
        // The engine undoes a transaction whose connection ends.
        _ => {
            lent.close();
            drop(shelf.empty());
        }
    }
    drop(turn);
}

/// Returns true for SQLite's answer to the end of a transaction where there is none.
fn has_none(error: &sqlx::Error) -> bool {
    let answer = error.as_database_error();
    answer.is_some_and(|answer| answer.message().contains("no transaction is active"))
}

/// Returns true for the failure of a connection whose server, or session, is gone.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(answer) => answer
            .code()
            .is_some_and(|code| code.starts_with("57P") || code.starts_with("08")),
        _ => false,
    }
}
