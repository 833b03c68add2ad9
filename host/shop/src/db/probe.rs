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
