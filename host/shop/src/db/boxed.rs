//! Statements as boxed futures.
//!
//! Boxes are `Send` by their type. Futures of the driver are proven `Send` by a walk through them,
//! which the compiler repeats in each handler that awaits them (ADR 28).

use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{
    FromRow, PgConnection, Postgres, Sqlite, SqliteConnection,
    postgres::{PgArguments, PgRow},
    query::{Query, QueryAs},
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{outdated::noted, session::Session};

macro_rules! statements {
    ($engine:ident, $db:ty, $conn:ty, $row:ty, $arguments:ty) => {
        #[doc(hidden)]
        pub mod $engine {
            use super::*;

            pub fn execute<'c>(
                query: Query<'c, $db, $arguments>,
                session: Session<'c, $conn>,
            ) -> BoxFuture<'c, sqlx::Result<u64>> {
                let (conn, keeps, under_way) = session.open();
                let done = query.persistent(keeps).execute(conn);
                async move { Ok(noted(under_way.ended(done.await))?.rows_affected()) }.boxed()
            }

            pub fn fetch_one<'c, O: Row<$row> + 'c>(
                query: QueryAs<'c, $db, O, $arguments>,
                session: Session<'c, $conn>,
            ) -> BoxFuture<'c, sqlx::Result<O>> {
                let (conn, keeps, under_way) = session.open();
                let row = query.persistent(keeps).fetch_one(conn);
                row.map(|row| noted(under_way.ended(row))).boxed()
            }

            pub fn fetch_optional<'c, O: Row<$row> + 'c>(
                query: QueryAs<'c, $db, O, $arguments>,
                session: Session<'c, $conn>,
            ) -> BoxFuture<'c, sqlx::Result<Option<O>>> {
                let (conn, keeps, under_way) = session.open();
                let row = query.persistent(keeps).fetch_optional(conn);
                row.map(|row| noted(under_way.ended(row))).boxed()
            }

            pub fn fetch_all<'c, O: Row<$row> + 'c>(
                query: QueryAs<'c, $db, O, $arguments>,
                session: Session<'c, $conn>,
            ) -> BoxFuture<'c, sqlx::Result<Vec<O>>> {
                let (conn, keeps, under_way) = session.open();
                let rows = query.persistent(keeps).fetch_all(conn);
                rows.map(|rows| noted(under_way.ended(rows))).boxed()
            }
        }
    };
}

/// Type that rows are read as.
pub trait Row<R: sqlx::Row>: for<'r> FromRow<'r, R> + Send + Unpin {}

impl<R: sqlx::Row, O: for<'r> FromRow<'r, R> + Send + Unpin> Row<R> for O {}

statements!(sqlite, Sqlite, SqliteConnection, SqliteRow, SqliteArguments);
statements!(postgres, Postgres, PgConnection, PgRow, PgArguments);
