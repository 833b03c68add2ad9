//! SQL of templates that passed the check.

use chrono::{DateTime, Utc};

use crate::{db::Conn, execute, fetch_optional};

pub(super) async fn has_passed(conn: &mut Conn, key: &str) -> sqlx::Result<bool> {
    let sql = "SELECT key FROM template_checks WHERE key = $1";
    Ok(fetch_optional!(conn, (String,), sql, key)?.is_some())
}

pub(super) async fn note_passed(
    conn: &mut Conn,
    key: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO template_checks (key, passed_at) VALUES ($1, $2)
               ON CONFLICT (key) DO UPDATE SET passed_at = excluded.passed_at";
    execute!(conn, sql, key, now).map(|_| ())
}

pub(super) async fn forget_before(conn: &mut Conn, moment: DateTime<Utc>) -> sqlx::Result<()> {
    let sql = "DELETE FROM template_checks WHERE passed_at < $1";
    execute!(conn, sql, moment).map(|_| ())
}
