//! Probes of an operator: the time of the database, and writing to it.

use chrono::{DateTime, Utc};

use super::Db;

impl Db {
    /// Returns the time of the database, to the second. SQLite's is this machine's.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn now(&self) -> sqlx::Result<DateTime<Utc>> {
        let mut conn = self.read().await?;
        let sql = "SELECT CURRENT_TIMESTAMP";
        let (now,) = crate::fetch_one!(&mut conn, (DateTime<Utc>,), sql)?;
        Ok(now)
    }

    /// Returns the connections that PostgreSQL has for all but its administrators; `None` where it does not bound those
    /// of a server: on SQLite, and behind a pooler that lends a connection for one transaction.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn room_for_connections(&self) -> sqlx::Result<Option<i64>> {
        if !matches!(self, Self::Postgres(server) if server.keeps_sessions()) {
            return Ok(None);
        }
        let mut conn = self.read().await?;
        let sql = "SELECT CAST(current_setting('max_connections') AS BIGINT)
                     - CAST(current_setting('superuser_reserved_connections') AS BIGINT)";
        let (room,) = crate::fetch_one!(&mut conn, (i64,), sql)?;
        Ok(Some(room))
    }

    /// Begins to write and takes it back: nothing is changed.
    ///
    /// # Errors
    /// When the database cannot be written, as a standby or a file of another user.
    pub async fn check_writable(&self) -> sqlx::Result<()> {
        let mut conn = self.begin().await?;
        // A statement that changes no row is refused all the same where nothing may be changed.
        crate::execute!(conn, "UPDATE jobs SET name = name WHERE 1 = 0")?;
        conn.rollback().await
    }
}
