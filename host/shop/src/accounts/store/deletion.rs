//! The SQL of an account's deletion.

use chrono::{DateTime, Utc};

use crate::{db::Conn, execute, fetch_one, ids::UserId};

/// Takes from an account what is personal. Its row stays, since the books refer to it, with another
/// address: its own is free for another account.
pub(in crate::accounts) async fn erase(
    conn: &mut Conn,
    id: UserId,
    address: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    // The address is a key: from here on, whatever is written into the account has come before or waits.
    let sql = "UPDATE users SET email = $2, password_hash = '', name = 'Deleted account', phone = NULL, avatar = NULL, \
                 role = 'USER', status = 'DISABLED', email_verified_at = NULL, bonuses_due_at = NULL, \
                 deleted_at = $3, updated_at = $3 WHERE id = $1";
    execute!(conn, sql, id, address, now)?;
    let sql = "DELETE FROM sessions WHERE user_id = $1";
    execute!(conn, sql, id)?;
    let sql = "DELETE FROM refresh_tokens WHERE user_id = $1";
    execute!(conn, sql, id)?;
    let sql = "DELETE FROM api_tokens WHERE user_id = $1";
    execute!(conn, sql, id)?;
    let sql = "DELETE FROM mailed_tokens WHERE user_id = $1";
    execute!(conn, sql, id).map(|_| ())
}

/// Keeps the hash of a mailbox that had a welcome bonus; one that is kept already stays.
pub(in crate::accounts) async fn keep_welcomed(
    conn: &mut Conn,
    hash: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO welcomed_addresses (email_hash, created_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    execute!(conn, sql, hash, now)
}

pub(in crate::accounts) async fn is_welcomed(conn: &mut Conn, hash: &str) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM welcomed_addresses WHERE email_hash = $1)";
    let (is_welcomed,) = fetch_one!(conn, (bool,), sql, hash)?;
    Ok(is_welcomed)
}
