//! The SQL of API tokens.

use chrono::{DateTime, Utc};

use super::{ApiToken, Scope};
use crate::{
    accounts::{AccountStatus, Role},
    db::Conn,
    execute, fetch_all, fetch_one, fetch_optional,
    ids::{ApiTokenId, UserId},
    language::Language,
};

/// Returns the number of valid tokens.
pub(super) async fn count(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let sql = "SELECT count(*) FROM api_tokens WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2";
    let (count,) = fetch_one!(conn, (i64,), sql, user_id, now)?;
    Ok(count)
}

pub(super) async fn insert(
    conn: &mut Conn,
    user_id: UserId,
    token: &ApiToken,
    hash: &str,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO api_tokens (id, user_id, name, scope, token_hash, hint, created_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    execute!(
        conn,
        sql,
        token.id,
        user_id,
        &token.name,
        token.scope,
        hash,
        &token.hint,
        token.created_at,
        token.expires_at
    )?;
    Ok(())
}

pub(super) async fn list(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<ApiToken>> {
    let sql = "SELECT id, name, scope, hint, created_at, expires_at, last_used_at FROM api_tokens \
        WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY created_at DESC, id DESC";
    fetch_all!(conn, ApiToken, sql, user_id, now)
}

/// Revokes a token; false when the account has no such token, or it is revoked already.
pub(super) async fn revoke(
    conn: &mut Conn,
    user_id: UserId,
    id: ApiTokenId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE api_tokens SET revoked_at = $3 WHERE id = $2 AND user_id = $1 AND revoked_at IS NULL";
    Ok(execute!(conn, sql, user_id, id, now)? == 1)
}

/// Revokes every token of the account; returns how many there were.
pub(super) async fn revoke_all(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE api_tokens SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL";
    execute!(conn, sql, user_id, now)
}

/// A token and the account it acts for.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(super) struct Holder {
    pub(super) id: ApiTokenId,
    pub(super) scope: Scope,
    pub(super) last_used_at: Option<DateTime<Utc>>,
    pub(super) user_id: UserId,
    pub(super) role: Role,
    pub(super) status: AccountStatus,
    pub(super) has_two_factor: bool,
    pub(super) language: Language,
}

/// Returns a valid token with its account.
pub(super) async fn holder(
    conn: &mut Conn,
    hash: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Holder>> {
    let sql = "SELECT t.id, t.scope, t.last_used_at, t.user_id, u.role, u.status, u.language, \
        EXISTS (SELECT 1 FROM two_factor f WHERE f.user_id = t.user_id AND f.enabled_at IS NOT NULL) AS has_two_factor \
        FROM api_tokens t JOIN users u ON u.id = t.user_id \
        WHERE t.token_hash = $1 AND t.revoked_at IS NULL AND t.expires_at > $2";
    fetch_optional!(conn, Holder, sql, hash, now)
}

pub(super) async fn note_use(
    conn: &mut Conn,
    id: ApiTokenId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    execute!(
        conn,
        "UPDATE api_tokens SET last_used_at = $2 WHERE id = $1",
        id,
        now
    )
}
