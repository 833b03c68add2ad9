//! One connection, of either engine, and the macros that run one SQL text on both.

use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction, pool::PoolConnection};

/// A connection to either engine. Stores take `&mut Conn`; whether it is inside a transaction is
/// the caller's business: [`super::Db::begin`] for writes, [`super::Db::read`] for reads.
#[derive(Debug)]
pub struct Conn(pub(super) Inner);

#[derive(Debug)]
pub(super) enum Inner {
    SqliteRead(PoolConnection<Sqlite>),
    SqliteTx(Transaction<'static, Sqlite>),
    PostgresRead(PoolConnection<Postgres>),
    PostgresTx(Transaction<'static, Postgres>),
}

/// What the macros match on.
#[derive(Debug)]
pub enum Engine<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Conn {
    pub fn engine(&mut self) -> Engine<'_> {
        match &mut self.0 {
            Inner::SqliteRead(conn) => Engine::Sqlite(conn),
            Inner::SqliteTx(tx) => Engine::Sqlite(tx),
            Inner::PostgresRead(conn) => Engine::Postgres(conn),
            Inner::PostgresTx(tx) => Engine::Postgres(tx),
        }
    }

    pub const fn is_postgres(&self) -> bool {
        matches!(self.0, Inner::PostgresRead(_) | Inner::PostgresTx(_))
    }

    /// Makes everything since [`super::Db::begin`] durable. A read connection has nothing to commit.
    ///
    /// # Errors
    /// When the engine refuses, for example by a deferred constraint; nothing is kept then.
    pub async fn commit(self) -> sqlx::Result<()> {
        match self.0 {
            Inner::SqliteTx(tx) => tx.commit().await,
            Inner::PostgresTx(tx) => tx.commit().await,
            Inner::SqliteRead(_) | Inner::PostgresRead(_) => Ok(()),
        }
    }

    /// Undoes everything since [`super::Db::begin`]. Dropping the connection does the same, later.
    ///
    /// # Errors
    /// When the connection is gone; the engine undoes it then by itself.
    pub async fn rollback(self) -> sqlx::Result<()> {
        match self.0 {
            Inner::SqliteTx(tx) => tx.rollback().await,
            Inner::PostgresTx(tx) => tx.rollback().await,
            Inner::SqliteRead(_) | Inner::PostgresRead(_) => Ok(()),
        }
    }
}

/// Runs one statement on either engine: `execute!(conn, "UPDATE ... $1", value)`.
/// Gives the number of rows it touched.
#[macro_export]
macro_rules! execute {
    ($conn:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $conn.engine() {
            $crate::db::Engine::Sqlite(c) => sqlx::query::<sqlx::Sqlite>($sql)$(.bind($bind))*
                .execute(c).await.map(|done| done.rows_affected()),
            $crate::db::Engine::Postgres(c) => sqlx::query::<sqlx::Postgres>($sql)$(.bind($bind))*
                .execute(c).await.map(|done| done.rows_affected()),
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fetch_as {
    ($method:ident, $conn:expr, $row:ty, $sql:expr $(, $bind:expr)*) => {
        match $conn.engine() {
            $crate::db::Engine::Sqlite(c) => {
                sqlx::query_as::<sqlx::Sqlite, $row>($sql)$(.bind($bind))*.$method(c).await
            }
            $crate::db::Engine::Postgres(c) => {
                sqlx::query_as::<sqlx::Postgres, $row>($sql)$(.bind($bind))*.$method(c).await
            }
        }
    };
}

/// Exactly one row, as a `FromRow` type or a tuple: `fetch_one!(conn, User, "SELECT ...", id)`.
#[macro_export]
macro_rules! fetch_one {
    ($conn:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::__fetch_as!(fetch_one, $conn, $row, $sql $(, $bind)*)
    };
}

/// One row or none.
#[macro_export]
macro_rules! fetch_optional {
    ($conn:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::__fetch_as!(fetch_optional, $conn, $row, $sql $(, $bind)*)
    };
}

/// All rows.
#[macro_export]
macro_rules! fetch_all {
    ($conn:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::__fetch_as!(fetch_all, $conn, $row, $sql $(, $bind)*)
    };
}

/// Rows of a statement built at run time (filters): `fetch_built!(conn, Row, |q| { q.push(...) })`.
/// The closure gets a `sqlx::QueryBuilder` of the engine in use; values go through `push_bind`.
#[macro_export]
macro_rules! fetch_built {
    ($conn:expr, $row:ty, $start:expr, |$q:ident| $build:block) => {
        match $conn.engine() {
            $crate::db::Engine::Sqlite(c) => {
                let mut $q = sqlx::QueryBuilder::<sqlx::Sqlite>::new($start);
                $build
                $q.build_query_as::<$row>().fetch_all(c).await
            }
            $crate::db::Engine::Postgres(c) => {
                let mut $q = sqlx::QueryBuilder::<sqlx::Postgres>::new($start);
                $build
                $q.build_query_as::<$row>().fetch_all(c).await
            }
        }
    };
}
