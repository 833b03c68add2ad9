//! Copies of a database in use, and checks of a copy.

use std::path::Path;

use super::Db;

impl Db {
    /// Copies a SQLite database in use, as it is at one moment, into a new or empty file.
    /// PostgreSQL has tools of its own for this, and copies nothing here.
    ///
    /// # Errors
    /// When the database does not answer, or the file has content or cannot be written.
    pub async fn copy_into(&self, path: &Path) -> sqlx::Result<()> {
        let mut conn = self.read().await?;
        if !conn.is_postgres() {
            let path = path.display().to_string();
            crate::execute!(&mut conn, "VACUUM INTO $1", path)?;
        }
        Ok(())
    }

    /// Checks the pages, indexes and references of a SQLite file; returns what is wrong with it.
    /// PostgreSQL is trusted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn faults(&self) -> sqlx::Result<Vec<String>> {
        let mut conn = self.read().await?;
        if conn.is_postgres() {
            return Ok(Vec::new());
        }
        let sql = "SELECT integrity_check FROM pragma_integrity_check";
        let pages = crate::fetch_all!(&mut conn, (String,), sql)?;
        let wrong = pages.into_iter().map(|(sentence,)| sentence);
        let mut wrong: Vec<String> = wrong.filter(|sentence| sentence != "ok").collect();
        let sql = "SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 100";
        for (table, parent) in crate::fetch_all!(&mut conn, (String, String), sql)? {
            wrong.push(format!("a row of {table} refers to no row of {parent}"));
        }
        Ok(wrong)
    }

    /// Returns the major version of a PostgreSQL server; `None` for SQLite.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn server_version(&self) -> sqlx::Result<Option<i64>> {
        let mut conn = self.read().await?;
        if !conn.is_postgres() {
            return Ok(None);
        }
        let sql = "SELECT current_setting('server_version_num')::bigint / 10000";
        let (version,) = crate::fetch_one!(&mut conn, (i64,), sql)?;
        Ok(Some(version))
    }
}
