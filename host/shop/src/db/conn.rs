//! One connection, of either engine, and the macros that run one SQL text on both.

use std::mem;

use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection};

use super::{
    batch::{Batch, Waiting},
    connections::Borrowed,
    generation::{Generation, Raising},
    session::Session,
    statements::Recorder,
    writer::Turn,
};

/// A connection to either engine. Stores take `&mut Conn`; whether it is inside a transaction is
/// the caller's business: [`super::Db::begin`] for writes, [`super::Db::read`] for reads.
#[derive(Debug)]
pub struct Conn {
    inner: Inner,
    waiting: Waiting,
    recorder: Option<Recorder>,
    /// False where a prepared statement must not outlive its transaction.
    keeps_statements: bool,
    raising: Raising,
}

#[derive(Debug)]
pub(super) enum Inner {
    SqliteRead(Borrowed<Sqlite>),
    SqliteTurn(Turn),
    SqliteSnapshot(Borrowed<Sqlite>),
    PostgresRead(Borrowed<Postgres>),
    PostgresTx(Borrowed<Postgres>),
}

/// Connection of the engine in use, for the macros to match on.
#[derive(Debug)]
pub enum Engine<'c> {
    Sqlite(Session<'c, SqliteConnection>),
    Postgres(Session<'c, PgConnection>),
}

impl Inner {
    fn engine(&mut self, keeps_statements: bool) -> sqlx::Result<Engine<'_>> {
        Ok(match self {
            Self::SqliteRead(conn) | Self::SqliteSnapshot(conn) => {
                Engine::Sqlite(conn.session(keeps_statements)?)
            }
            Self::SqliteTurn(turn) => {
                Engine::Sqlite(Session::new(turn.connection(), keeps_statements, None))
            }
            Self::PostgresRead(conn) | Self::PostgresTx(conn) => {
                Engine::Postgres(conn.session(keeps_statements)?)
            }
        })
    }
}

impl Conn {
    pub(super) fn new(
        inner: Inner,
        recorder: Option<Recorder>,
        keeps_statements: bool,
        catalogue: Generation,
    ) -> Self {
        Self {
            inner,
            waiting: Waiting::default(),
            recorder,
            keeps_statements,
            raising: Raising::new(catalogue),
        }
    }

    /// Returns the engine for a statement of this place; sends [waiting](crate::defer) ones first.
    ///
    /// # Errors
    /// When the engine refuses a waiting statement.
    #[doc(hidden)]
    pub fn engine_for(
        &mut self,
        file: &'static str,
        line: u32,
        sql: &str,
    ) -> impl Future<Output = sqlx::Result<Engine<'_>>> + Send {
        self.note(file, line, sql);
        async {
            self.send_waiting().await?;
            self.inner.engine(self.keeps_statements)
        }
    }

    /// Notes a statement of this place.
    pub(super) fn note(&mut self, file: &'static str, line: u32, sql: &str) {
        self.raising.note(sql);
        if let Some(recorder) = &self.recorder {
            recorder.note(file, line, sql);
        }
    }

    async fn send_waiting(&mut self) -> sqlx::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (engine, waiting) = self.take_waiting()?;
        // Boxed, as it would enlarge the future of every statement.
        Box::pin(waiting.send(engine)).await
    }

    /// Returns the engine, and the statements that wait.
    ///
    /// # Errors
    /// When the connection was given back.
    #[doc(hidden)]
    pub fn take_waiting(&mut self) -> sqlx::Result<(Engine<'_>, Waiting)> {
        let waiting = mem::take(&mut self.waiting);
        Ok((self.inner.engine(self.keeps_statements)?, waiting))
    }

    #[doc(hidden)]
    pub fn queue(&mut self, file: &'static str, line: u32, sql: &str) -> Batch<'_> {
        self.note(file, line, sql);
        self.waiting.add(sql);
        if self.is_postgres() {
            self.waiting.postgres()
        } else {
            self.waiting.sqlite()
        }
    }

    /// Nothing would send what waits on a connection that is never committed.
    #[doc(hidden)]
    pub async fn send_outside_transaction(&mut self) -> sqlx::Result<()> {
        match self.inner {
            Inner::SqliteTurn(_) | Inner::PostgresTx(_) => Ok(()),
            Inner::SqliteRead(_) | Inner::SqliteSnapshot(_) | Inner::PostgresRead(_) => {
                self.send_waiting().await
            }
        }
    }

    pub const fn is_postgres(&self) -> bool {
        matches!(self.inner, Inner::PostgresRead(_) | Inner::PostgresTx(_))
    }

    /// Makes everything since [`super::Db::begin`] durable. Does nothing on a read connection.
    ///
    /// # Errors
    /// When the engine refuses, for example by a deferred constraint; nothing is kept then.
    pub fn commit(mut self) -> BoxFuture<'static, sqlx::Result<()>> {
        let committed = async move {
            self.send_waiting().await?;
            self.raising.begin_commit();
            let done = match self.inner {
                Inner::SqliteTurn(turn) => turn.commit().await,
                Inner::SqliteSnapshot(tx) => tx.commit().await,
                Inner::PostgresTx(tx) => tx.commit().await,
                Inner::SqliteRead(_) | Inner::PostgresRead(_) => Ok(()),
            };
            // Before the caller answers, so that the next read sees what it says.
            drop(self.raising);
            done
        };
        committed.boxed()
    }

    /// Commits without waiting on SQLite until it is durable, for what means nothing without a later write of the same
    /// work, such as a claim: nothing that is written after it is durable before it. When that commit fails, it is
    /// lost unnoticed, so the later write has to look for it.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_unawaited(mut self) -> BoxFuture<'static, sqlx::Result<()>> {
        if !matches!(self.inner, Inner::SqliteTurn(_)) || self.raising.has_written() {
            return self.commit();
        }
        let left = async move {
            self.send_waiting().await?;
            if let Inner::SqliteTurn(turn) = self.inner {
                turn.leave();
            }
            Ok(())
        };
        left.boxed()
    }

    /// Undoes everything since [`super::Db::begin`]. Dropping the connection does the same, later.
    /// The writes it saw of [others](super::Db::begin_together) are durable after this.
    ///
    /// # Errors
    /// When the connection is gone; the engine undoes it then by itself.
    pub fn rollback(self) -> BoxFuture<'static, sqlx::Result<()>> {
        let undone = async move {
            match self.inner {
                Inner::SqliteSnapshot(tx) => tx.rollback().await,
                Inner::PostgresTx(tx) => tx.rollback().await,
                Inner::SqliteTurn(turn) => turn.rollback().await,
                Inner::SqliteRead(_) | Inner::PostgresRead(_) => Ok(()),
            }
        };
        undone.boxed()
    }
}

/// Runs one statement on either engine: `execute!(conn, "UPDATE ... $1", value)`. Returns the
/// number of rows it touched.
#[macro_export]
macro_rules! execute {
    ($conn:expr, $sql:expr $(, $bind:expr)* $(,)?) => {{
        let sql = sqlx::SqlSafeStr::into_sql_str($sql);
        match $conn.engine_for(file!(), line!(), sql.as_str()).await {
            Err(error) => Err(error),
            Ok($crate::db::Engine::Sqlite(c)) => {
                $crate::db::sqlite::execute(sqlx::query(sql)$(.bind($bind))*, c).await
            }
            Ok($crate::db::Engine::Postgres(c)) => {
                $crate::db::postgres::execute(sqlx::query(sql)$(.bind($bind))*, c).await
            }
        }
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fetch_as {
    ($method:ident, $conn:expr, $row:ty, $sql:expr $(, $bind:expr)*) => {{
        let sql = sqlx::SqlSafeStr::into_sql_str($sql);
        match $conn.engine_for(file!(), line!(), sql.as_str()).await {
            Err(error) => Err(error),
            Ok($crate::db::Engine::Sqlite(c)) => {
                let query = sqlx::query_as::<sqlx::Sqlite, $row>(sql)$(.bind($bind))*;
                $crate::db::sqlite::$method(query, c).await
            }
            Ok($crate::db::Engine::Postgres(c)) => {
                let query = sqlx::query_as::<sqlx::Postgres, $row>(sql)$(.bind($bind))*;
                $crate::db::postgres::$method(query, c).await
            }
        }
    }};
}

/// Fetches one row as a `FromRow` type or a tuple: `fetch_one!(conn, User, "SELECT ...", id)`.
#[macro_export]
macro_rules! fetch_one {
    ($conn:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::__fetch_as!(fetch_one, $conn, $row, $sql $(, $bind)*)
    };
}

/// Fetches one row or none.
#[macro_export]
macro_rules! fetch_optional {
    ($conn:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::__fetch_as!(fetch_optional, $conn, $row, $sql $(, $bind)*)
    };
}

/// Fetches all rows.
#[macro_export]
macro_rules! fetch_all {
    ($conn:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::__fetch_as!(fetch_all, $conn, $row, $sql $(, $bind)*)
    };
}
