//! Statements as boxed futures.
//!
//! Boxes are `Send` by their type. Futures of the driver are proven `Send` by a walk through them,
//! which the compiler repeats in each handler that awaits them (ADR 28).

use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{
    FromRow, Postgres, Sqlite, SqliteConnection,
    postgres::{PgArguments, PgRow},
    query::{Query, QueryAs},
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{outdated::noted, session::Session};

/// Connection to SQLite, for one statement.
type SqliteSession<'c> = &'c mut SqliteConnection;

/// Returns the connection, and true, as its prepared statements stay on it.
const fn sqlite_of(session: SqliteSession<'_>) -> (&mut SqliteConnection, bool) {
    (session, true)
}

macro_rules! statements {
    ($engine:ident, $db:ty, $session:ident, $open:path, $row:ty, $arguments:ty) => {
        #[doc(hidden)]
        pub mod $engine {
            use super::*;

            pub fn execute<'c>(
                query: Query<'c, $db, $arguments>,
                session: $session<'c>,
            ) -> BoxFuture<'c, sqlx::Result<u64>> {
                let (conn, keeps) = $open(session);
                let done = query.persistent(keeps).execute(conn);
                async move { Ok(noted(done.await)?.rows_affected()) }.boxed()
            }

            pub fn fetch_one<'c, O: Row<$row> + 'c>(
                query: QueryAs<'c, $db, O, $arguments>,
                session: $session<'c>,
            ) -> BoxFuture<'c, sqlx::Result<O>> {
                let (conn, keeps) = $open(session);
                query.persistent(keeps).fetch_one(conn).map(noted).boxed()
            }

            pub fn fetch_optional<'c, O: Row<$row> + 'c>(
                query: QueryAs<'c, $db, O, $arguments>,
                session: $session<'c>,
            ) -> BoxFuture<'c, sqlx::Result<Option<O>>> {
                let (conn, keeps) = $open(session);
                query
                    .persistent(keeps)
                    .fetch_optional(conn)
                    .map(noted)
                    .boxed()
            }

            pub fn fetch_all<'c, O: Row<$row> + 'c>(
                query: QueryAs<'c, $db, O, $arguments>,
                session: $session<'c>,
            ) -> BoxFuture<'c, sqlx::Result<Vec<O>>> {
                let (conn, keeps) = $open(session);
                query.persistent(keeps).fetch_all(conn).map(noted).boxed()
            }
        }
    };
}

/// Type that rows are read as.
pub trait Row<R: sqlx::Row>: for<'r> FromRow<'r, R> + Send + Unpin {}

impl<R: sqlx::Row, O: for<'r> FromRow<'r, R> + Send + Unpin> Row<R> for O {}

statements!(
    sqlite,
    Sqlite,
    SqliteSession,
    sqlite_of,
    SqliteRow,
    SqliteArguments
);
statements!(
    postgres,
    Postgres,
    Session,
    Session::open,
    PgRow,
    PgArguments
);
