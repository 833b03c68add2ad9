//! The SQL of acts of administrators on accounts.

use chrono::{DateTime, Utc};

use crate::{
    accounts::{AccountStatus, Role},
    db::Conn,
    execute, fetch_all,
    ids::UserId,
};

/// Locks the one row that every act on roles and statuses takes first.
pub(in crate::accounts) async fn lock_administrators(conn: &mut Conn) -> sqlx::Result<u64> {
    let sql = "UPDATE administrator_changes SET changes = changes + 1 WHERE id = 1";
    execute!(conn, sql)
}

/// Returns true when there is an active administrator beside this one.
pub(in crate::accounts) async fn has_other_administrator(
    conn: &mut Conn,
    id: UserId,
) -> sqlx::Result<bool> {
    let sql = "SELECT id FROM users WHERE role = 'ADMINISTRATOR' AND status = 'ACTIVE' ORDER BY id LIMIT 2";
    let rows = fetch_all!(conn, (UserId,), sql)?;
    Ok(rows.into_iter().any(|(other,)| other != id))
}

pub(in crate::accounts) async fn change(
    conn: &mut Conn,
    id: UserId,
    (name, phone, role): (&str, Option<&str>, Role),
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE users SET name = $2, phone = $3, role = $4, updated_at = $5 WHERE id = $1";
    execute!(conn, sql, id, name, phone, role, now)
}

pub(in crate::accounts) async fn set_status(
    conn: &mut Conn,
    id: UserId,
    status: AccountStatus,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE users SET status = $2, updated_at = $3 WHERE id = $1";
    execute!(conn, sql, id, status, now)
}
