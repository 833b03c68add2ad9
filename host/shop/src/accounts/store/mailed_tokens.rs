//! The SQL of tokens that are sent by mail.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{accounts::mailed_tokens::Purpose, db::Conn, execute, fetch_optional, ids::UserId};

#[derive(Debug, Clone)]
pub(in crate::accounts) struct NewMailedToken {
    pub(in crate::accounts) id: Uuid,
    pub(in crate::accounts) user_id: UserId,
    pub(in crate::accounts) purpose: Purpose,
    pub(in crate::accounts) token_hash: String,
    pub(in crate::accounts) created_at: DateTime<Utc>,
    pub(in crate::accounts) expires_at: DateTime<Utc>,
}

pub(in crate::accounts) async fn insert(
    conn: &mut Conn,
    new: &NewMailedToken,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO mailed_tokens (id, user_id, purpose, token_hash, created_at, expires_at) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    execute!(
        conn,
        sql,
        new.id,
        new.user_id,
        new.purpose,
        &new.token_hash,
        new.created_at,
        new.expires_at
    )
}

/// Removes an account's tokens that have expired.
pub(in crate::accounts) async fn forget_expired(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "DELETE FROM mailed_tokens WHERE user_id = $1 AND expires_at <= $2";
    execute!(conn, sql, user_id, now)
}

/// Removes an account's tokens for a purpose.
pub(in crate::accounts) async fn forget_all(
    conn: &mut Conn,
    user_id: UserId,
    purpose: Purpose,
) -> sqlx::Result<u64> {
    let sql = "DELETE FROM mailed_tokens WHERE user_id = $1 AND purpose = $2";
    execute!(conn, sql, user_id, purpose)
}

/// Returns the account of a token that is good, and leaves the token.
pub(in crate::accounts) async fn holder(
    conn: &mut Conn,
    hash: &str,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<UserId>> {
    let sql = "SELECT user_id FROM mailed_tokens WHERE token_hash = $1 AND purpose = $2 AND expires_at > $3";
    Ok(fetch_optional!(conn, (UserId,), sql, hash, purpose, now)?.map(|(user_id,)| user_id))
}

/// Removes a token that is good; returns its account.
pub(in crate::accounts) async fn take(
    conn: &mut Conn,
    hash: &str,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<UserId>> {
    let sql = "DELETE FROM mailed_tokens WHERE token_hash = $1 AND purpose = $2 AND expires_at > $3 RETURNING user_id";
    Ok(fetch_optional!(conn, (UserId,), sql, hash, purpose, now)?.map(|(user_id,)| user_id))
}
