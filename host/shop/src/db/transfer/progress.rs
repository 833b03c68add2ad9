//! Record in the target of how far a copy has come.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, Postgres, SqlitePool};

use super::{TransferError, plan::Table};

/// A copy that was begun.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Progress {
    /// Name of its source, as it was then.
    pub(super) origin: String,
    pub(super) finished_at: Option<DateTime<Utc>>,
}

/// Place in a table up to which its rows are copied.
#[derive(Debug, Default, sqlx::FromRow)]
pub(super) struct Reached {
    /// Key of the last row, as texts.
    pub(super) last: Option<Vec<String>>,
    pub(super) is_complete: bool,
}

/// Names a source as it is now: every commit to it changes the mark of its write-ahead log.
pub(super) async fn origin(source: &SqlitePool) -> sqlx::Result<String> {
    let sql = "SELECT mark || ' ' || (SELECT max(version) FROM _sqlx_migrations WHERE success) FROM wal_mark";
    sqlx::query_scalar(sql).fetch_one(source).await
}

/// Returns the copy that was begun in a database, which each start asks for, also behind a pooler.
pub(super) async fn find(target: &mut PgConnection) -> sqlx::Result<Option<Progress>> {
    let sql = "SELECT to_regclass('dermaga_transfer') IS NOT NULL";
    let is_begun = sqlx::query_scalar::<Postgres, bool>(sql).persistent(false);
    let is_begun = is_begun.fetch_one(&mut *target).await?;
    if !is_begun {
        return Ok(None);
    }
    let sql = "SELECT origin, finished_at FROM dermaga_transfer";
    let found = sqlx::query_as::<Postgres, Progress>(sql).persistent(false);
    found.fetch_optional(target).await
}

/// Returns true for a database with tables, none of which says that they are a shop's.
pub(super) async fn is_foreign(target: &PgPool) -> sqlx::Result<bool> {
    let sql = "SELECT to_regclass('_sqlx_migrations') IS NULL AND EXISTS (
                 SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = current_schema())";
    sqlx::query_scalar(sql).fetch_one(target).await
}

/// Returns true for a database without tables.
pub(super) async fn is_bare(target: &PgPool) -> sqlx::Result<bool> {
    let sql = "SELECT NOT EXISTS (
                 SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = current_schema())";
    sqlx::query_scalar(sql).fetch_one(target).await
}

/// Refuses a target whose tables have rows.
pub(super) async fn refuse_filled(target: &PgPool, tables: &[Table]) -> Result<(), TransferError> {
    for table in tables.iter().filter(|table| !table.is_seeded()) {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM \"{}\")", table.name);
        let text = sqlx::AssertSqlSafe(sql);
        if sqlx::query_scalar(text).fetch_one(target).await? {
            let table = table.name.clone();
            return Err(TransferError::NotEmpty { table });
        }
    }
    Ok(())
}

/// Writes down that a copy begins.
pub(super) async fn open(target: &PgPool, origin: &str) -> sqlx::Result<()> {
    let mut tx = target.begin().await?;
    for sql in [
        "CREATE TABLE dermaga_transfer (origin TEXT NOT NULL, finished_at TIMESTAMPTZ)",
        "CREATE TABLE dermaga_transferred (name TEXT PRIMARY KEY, last TEXT[], is_complete BOOLEAN NOT NULL)",
    ] {
        sqlx::query(sql).execute(&mut *tx).await?;
    }
    sqlx::query("INSERT INTO dermaga_transfer (origin) VALUES ($1)")
        .bind(origin)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

/// Returns the place that the copy of a table has reached.
pub(super) async fn reached(target: &PgPool, table: &str) -> sqlx::Result<Reached> {
    let sql = "SELECT last, is_complete FROM dermaga_transferred WHERE name = $1";
    let found = sqlx::query_as(sql)
        .bind(table)
        .fetch_optional(target)
        .await?;
    Ok(found.unwrap_or_default())
}

/// Writes down the place that the copy of a table has reached.
pub(super) async fn reach(
    tx: &mut PgConnection,
    table: &str,
    reached: &Reached,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO dermaga_transferred (name, last, is_complete) VALUES ($1, $2, $3)
               ON CONFLICT (name) DO UPDATE SET last = excluded.last, is_complete = excluded.is_complete";
    sqlx::query(sql)
        .bind(table)
        .bind(reached.last.as_deref())
        .bind(reached.is_complete)
        .execute(tx)
        .await?;
    Ok(())
}

/// Lets the target count on where the source has come to.
pub(super) async fn set_counters(source: &SqlitePool, target: &PgPool) -> sqlx::Result<()> {
    let sql = "SELECT setval('transaction_numbers', max(number)) FROM transactions HAVING max(number) IS NOT NULL";
    sqlx::query(sql).execute(target).await?;
    // Of events that were removed since, too: clients may have seen their numbers.
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'customer_events' AND seq > 0";
    let last: Option<i64> = sqlx::query_scalar(sql).fetch_optional(source).await?;
    if let Some(last) = last {
        let sql = "SELECT setval(pg_get_serial_sequence('customer_events', 'seq'), $1)";
        sqlx::query(sql).bind(last).execute(target).await?;
    }
    Ok(())
}

/// Writes down that the copy is complete.
pub(super) async fn finish(target: &PgPool) -> sqlx::Result<()> {
    sqlx::query("UPDATE dermaga_transfer SET finished_at = now() WHERE finished_at IS NULL")
        .execute(target)
        .await?;
    Ok(())
}
