//! Batches deferred INSERTs so that several share one round trip.
//!
//! Every statement costs a round trip, and a payment writes to half a dozen tables. An insert with
//! no result to read ([`crate::defer`]) waits in its connection and is sent with the next statement
//! or the commit. That call then also reports the insert's error.

use sqlx::{
    Arguments as _, AssertSqlSafe, Encode, Postgres, Sqlite, Type, postgres::PgArguments,
    sqlite::SqliteArguments,
};

use super::{
    boxed::{postgres, sqlite},
    conn::Engine,
};

/// Statements of one connection that wait, and their arguments.
///
/// PostgreSQL runs them as one statement: they do not see each other, their order is undefined, and
/// foreign keys are checked at the end. So only inserts that cannot change the same row wait, and
/// the one update that follows each posting.
#[derive(Debug, Default)]
pub struct Waiting {
    statements: Vec<String>,
    sqlite: SqliteArguments,
    postgres: PgArguments,
}

/// Arguments of the engine in use, for the macros to match on.
#[derive(Debug)]
pub enum Batch<'w> {
    Sqlite(&'w mut SqliteArguments),
    Postgres(&'w mut PgArguments),
}

impl Waiting {
    pub(super) const fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    pub(super) const fn sqlite(&mut self) -> Batch<'_> {
        Batch::Sqlite(&mut self.sqlite)
    }

    pub(super) const fn postgres(&mut self) -> Batch<'_> {
        Batch::Postgres(&mut self.postgres)
    }

    /// Adds a statement, whose arguments will be added next.
    pub(super) fn add(&mut self, sql: &str) {
        // Arguments of the engine that is not in use are always none.
        let before = self.sqlite.len() + self.postgres.len();
        self.statements.push(renumbered(sql, before));
    }

    pub(super) async fn send(self, engine: Engine<'_>) -> sqlx::Result<()> {
        match engine {
            Engine::Sqlite(session) => {
                let (sql, arguments) = self.into_sqlite();
                let query = sqlx::query_with::<Sqlite, _>(sql, arguments);
                sqlite::execute(query, session).await.map(drop)
            }
            Engine::Postgres(session) => {
                let (sql, arguments) = self.into_postgres();
                let query = sqlx::query_with::<Postgres, _>(sql, arguments);
                postgres::execute(query, session).await.map(drop)
            }
        }
    }

    /// The SQL and arguments for SQLite: one statement after the other.
    #[doc(hidden)]
    pub fn into_sqlite(self) -> (AssertSqlSafe<String>, SqliteArguments) {
        (AssertSqlSafe(self.sequence()), self.sqlite)
    }

    /// The SQL and arguments for PostgreSQL: the last statement, with the others before it.
    #[doc(hidden)]
    pub fn into_postgres(self) -> (AssertSqlSafe<String>, PgArguments) {
        (AssertSqlSafe(self.together()), self.postgres)
    }

    fn sequence(&self) -> String {
        self.statements.join(";\n")
    }

    fn together(&self) -> String {
        let Some((last, others)) = self.statements.split_last() else {
            return String::new();
        };
        let mut sql = String::new();
        for (number, other) in others.iter().enumerate() {
            let with = if number == 0 { "WITH" } else { "," };
            sql.push_str(&format!("{with} w{number} AS ({other})\n"));
        }
        sql + last
    }
}

/// Adds an argument, as `bind` does.
///
/// # Errors
/// When the value cannot be encoded.
#[doc(hidden)]
pub fn bind<'v, A: sqlx::Arguments, T>(arguments: &mut A, value: T) -> sqlx::Result<()>
where
    T: Encode<'v, A::Database> + Type<A::Database>,
{
    arguments.add(value).map_err(sqlx::Error::Encode)
}

/// Renumbers parameters: `$1` becomes `$(before + 1)`.
fn renumbered(sql: &str, before: usize) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        let number: usize = number.parse().unwrap_or_default();
        text.push_str(&format!("${}{rest}", number + before));
    }
    text
}

/// Queues an INSERT of the transaction: `defer!(conn, "INSERT ... VALUES ($1)", value)`. It is sent
/// with the next statement or the commit, which also returns its error. Outside a transaction it is
/// sent at once.
#[macro_export]
macro_rules! defer {
    ($conn:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::__queue!($conn, $sql $(, $bind)*; $conn.send_outside_transaction().await)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __queue {
    ($conn:expr, $sql:expr $(, $bind:expr)*; $then:expr) => {{
        let queued = match $conn.queue(file!(), line!(), $sql) {
            $crate::db::Batch::Sqlite(arguments) => (|| {
                $($crate::db::bind(&mut *arguments, $bind)?;)*
                Ok(())
            })(),
            $crate::db::Batch::Postgres(arguments) => (|| {
                $($crate::db::bind(&mut *arguments, $bind)?;)*
                Ok(())
            })(),
        };
        match queued {
            Ok(()) => $then,
            Err(error) => Err(error),
        }
    }};
}

/// Runs an INSERT or UPDATE with RETURNING and returns its row, if there is one. [Waiting
/// statements](crate::defer) are sent in the same round trip, so it must not need a row that they
/// write: `write_returning!(conn, (i64,), "INSERT ... RETURNING number", value)`.
#[macro_export]
macro_rules! write_returning {
    ($conn:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::__queue!($conn, $sql $(, $bind)*; {
            match $conn.take_waiting() {
                Err(error) => Err(error),
                Ok(($crate::db::Engine::Sqlite(c), waiting)) => {
                    let (sql, arguments) = waiting.into_sqlite();
                    $crate::db::sqlite::fetch_optional(sqlx::query_as_with::<_, $row, _>(sql, arguments), c).await
                }
                Ok(($crate::db::Engine::Postgres(c), waiting)) => {
                    let (sql, arguments) = waiting.into_postgres();
                    $crate::db::postgres::fetch_optional(sqlx::query_as_with::<_, $row, _>(sql, arguments), c).await
                }
            }
        })
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_go_on_counting() {
        assert_eq!(
            renumbered("VALUES ($1, $2, $10)", 0),
            "VALUES ($1, $2, $10)"
        );
        assert_eq!(renumbered("VALUES ($1, $2, $1)", 7), "VALUES ($8, $9, $8)");
        assert_eq!(renumbered("SELECT 1", 3), "SELECT 1");
    }

    #[test]
    fn the_last_one_carries_the_others() {
        let mut waiting = Waiting::default();
        for value in [1_i64, 2, 3] {
            waiting.add("INSERT INTO t VALUES ($1)");
            bind(&mut waiting.postgres, value).unwrap();
        }
        let expected = "WITH w0 AS (INSERT INTO t VALUES ($1))\n, w1 AS (INSERT INTO t VALUES ($2))\nINSERT INTO t VALUES ($3)";
        assert_eq!(waiting.together(), expected);
    }
}
