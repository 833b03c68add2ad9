//! Connections that are lent again without a test.
//!
//! The driver's pool asks each connection that comes back for an answer, so that a read by one statement costs two
//! round trips to PostgreSQL, and two to SQLite's thread. A connection whose last statement was answered in full needs
//! no such question: it rests here for the next borrower. Any other one goes back to the driver's pool. So does one
//! that rested for a second or was used for a minute, since that pool closes connections that are idle or old.

#[cfg(test)]
mod tests;

use std::{
    fmt::{self, Debug},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{
    Database, Executor as _, PgConnection, Pool, Postgres, SqlSafeStr as _, SqlStr, Sqlite,
    SqliteConnection, pool::PoolConnection,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{outdated::is_outdated, session::Session};

/// Longest time without use of a connection that is lent without a test.
const REST: Duration = Duration::from_secs(1);
/// Time of use after which a connection goes back to the driver's pool, which knows its age.
const SHIFT: Duration = Duration::from_secs(60);
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
        let shelf = Shelf {
            ready: Mutex::new(Ready {
                connections: Vec::new(),
                asking: 0,
                is_swept: false,
                is_closed: false,
            }),
            turns: Arc::new(Semaphore::new(most)),
        };
        Self {
            pool,
            shelf: Arc::new(shelf),
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
        self.shelf.turns.close();
        self.shelf.ready().is_closed = true;
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

/// A connection, and its times.
struct Lent<D: Lends> {
    conn: PoolConnection<D>,
    /// Moment at which the driver's pool lent it.
    since: Instant,
    used_at: Instant,
}

impl<D: Lends> Lent<D> {
    fn new(conn: PoolConnection<D>) -> Self {
        let now = Instant::now();
        Self {
            conn,
            since: now,
            used_at: now,
        }
    }

    /// Gives it back to the driver's pool, which tests it. That takes a task: without a runtime it is closed.
    fn release(self) {
        match Handle::try_current() {
            Ok(_) => drop(self.conn),
            Err(_) => drop(self.conn.detach()),
        }
    }

    /// Closes it.
    fn close(mut self) {
        match Handle::try_current() {
            Ok(_) => self.conn.close_on_drop(),
            Err(_) => drop(self.conn.detach()),
        }
    }

    fn has_rested(&self) -> bool {
        self.used_at.elapsed() >= REST
    }

    /// Returns true where the driver's pool has to look at it.
    fn is_due(&self) -> bool {
        let time = self.since.elapsed();
        time >= SHIFT || is_outdated(time)
    }
}

/// Connections that rest, and the turns of those who ask for one.
struct Shelf<D: Lends> {
    ready: Mutex<Ready<D>>,
    /// One for each connection that may be open. Their order is that of arrival.
    turns: Arc<Semaphore>,
}

struct Ready<D: Lends> {
    /// Those that rest, the last used one at the end.
    connections: Vec<Lent<D>>,
    /// Number of borrowers that wait for the driver's pool.
    asking: usize,
    /// True while a task returns those that rested.
    is_swept: bool,
    is_closed: bool,
}

impl<D: Lends> Shelf<D> {
    fn ready(&self) -> MutexGuard<'_, Ready<D>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection that was used last. Counts a borrower of the driver's pool where there is
    /// none, until [`Asking`] is dropped.
    fn take(&self) -> Option<Lent<D>> {
        let mut ready = self.ready();
        let last = ready.connections.pop();
        if let Some(lent) = last {
            if !lent.has_rested() && !lent.is_due() {
                return Some(lent);
            }
            // The others rested for longer, or are soon looked at.
            ready.connections.push(lent);
        }
        ready.asking += 1;
        let rested = mem::take(&mut ready.connections);
        drop(ready);
        drop(rested);
        None
    }

    /// Keeps a connection at rest for the next borrower. It goes to the driver's pool while one waits for that.
    fn put(self: &Arc<Self>, mut lent: Lent<D>) {
        lent.used_at = Instant::now();
        let is_due = lent.is_due();
        let mut ready = self.ready();
        if is_due || ready.asking > 0 || ready.is_closed {
            drop(ready);
            lent.release();
            return;
        }
        ready.connections.push(lent);
        let is_swept = mem::replace(&mut ready.is_swept, true);
        // A runtime that ends drops the task at once, here, and that takes the same lock.
        drop(ready);
        if is_swept {
            return;
        }
        let sweeping = Sweeping::of(self);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(sweep(sweeping))),
            Err(_) => drop(sweeping),
        }
    }

    /// Takes all that rest.
    fn empty(&self) -> Vec<Lent<D>> {
        mem::take(&mut self.ready().connections)
    }

    /// Takes those that nothing borrowed for long enough; returns true with them when none is left.
    fn rested(&self) -> (Vec<Lent<D>>, bool) {
        let mut ready = self.ready();
        let resting = ready.connections.iter();
        let resting = resting.take_while(|lent| lent.has_rested()).count();
        let rested = ready.connections.drain(..resting).collect();
        let is_empty = ready.connections.is_empty();
        ready.is_swept = !is_empty;
        drop(ready);
        (rested, is_empty)
    }
}

impl<D: Lends> Drop for Shelf<D> {
    fn drop(&mut self) {
        let ready = self.ready.get_mut();
        let ready = ready.unwrap_or_else(PoisonError::into_inner);
        for lent in ready.connections.drain(..) {
            drop(lent.conn.detach());
        }
    }
}

/// A borrower that waits for the driver's pool.
struct Asking<'s, D: Lends>(&'s Shelf<D>);

impl<D: Lends> Drop for Asking<'_, D> {
    fn drop(&mut self) {
        let mut ready = self.0.ready();
        ready.asking = ready.asking.saturating_sub(1);
    }
}

/// The task that returns connections. A later one may begin when it was ended with its runtime.
struct Sweeping<D: Lends> {
    shelf: Weak<Shelf<D>>,
    /// True once it has noted its end itself.
    is_over: bool,
}

impl<D: Lends> Sweeping<D> {
    fn of(shelf: &Arc<Shelf<D>>) -> Self {
        Self {
            shelf: Arc::downgrade(shelf),
            is_over: false,
        }
    }
}

impl<D: Lends> Drop for Sweeping<D> {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(shelf) = self.shelf.upgrade()
        {
            shelf.ready().is_swept = false;
        }
    }
}

/// Returns to the driver's pool what rested, until nothing rests.
async fn sweep<D: Lends>(mut sweeping: Sweeping<D>) {
    loop {
        sleep(REST).await;
        let Some(shelf) = sweeping.shelf.upgrade() else {
            return;
        };
        let (rested, is_empty) = shelf.rested();
        sweeping.is_over = is_empty;
        drop(rested);
        if is_empty {
            return;
        }
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
