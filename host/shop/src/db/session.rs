//! Connection to PostgreSQL, with what may be left on it.

use sqlx::PgConnection;

/// Connection to PostgreSQL, for one statement.
#[derive(Debug)]
pub struct Session<'c> {
    conn: &'c mut PgConnection,
    /// False where the next statement may find another connection.
    keeps_statements: bool,
}

impl<'c> Session<'c> {
    pub(super) const fn new(conn: &'c mut PgConnection, keeps_statements: bool) -> Self {
        Self {
            conn,
            keeps_statements,
        }
    }

    /// Returns the connection, and true when a prepared statement may stay on it.
    pub(super) const fn open(self) -> (&'c mut PgConnection, bool) {
        (self.conn, self.keeps_statements)
    }
}
