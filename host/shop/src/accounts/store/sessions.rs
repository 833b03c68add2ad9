//! The SQL of sessions and their refresh tokens.

use chrono::{DateTime, Utc};

use crate::{
    accounts::{AccountStatus, Origin, Role, SessionView},
    db::Conn,
    delete_free, execute, fetch_all, fetch_one, fetch_optional,
    ids::{RefreshTokenId, SessionId, UserId},
    language::Language,
};

/// Account data that decides if an access token is still good.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(in crate::accounts) struct Standing {
    pub(in crate::accounts) role: Role,
    pub(in crate::accounts) status: AccountStatus,
    pub(in crate::accounts) token_generation: i64,
    /// Time of the last use, roughly; absent when the session ended or is not known.
    pub(in crate::accounts) last_used_at: Option<DateTime<Utc>>,
    /// Administrator who looks at the account in this session.
    pub(in crate::accounts) acting_id: Option<UserId>,
    pub(in crate::accounts) has_two_factor: bool,
    pub(in crate::accounts) language: Language,
}

pub(in crate::accounts) async fn standing(
    conn: &mut Conn,
    user_id: UserId,
    session: SessionId,
) -> sqlx::Result<Option<Standing>> {
    // A session without a row was ended and forgotten: it must not come back to life.
    let sql = "SELECT u.role, u.status, u.token_generation, u.language, s.last_used_at, s.acting_id, \
               EXISTS (SELECT 1 FROM two_factor t WHERE t.user_id = u.id AND t.enabled_at IS NOT NULL) AS has_two_factor FROM users u \
               LEFT JOIN sessions s ON s.id = $2 AND s.user_id = u.id AND s.ended_at IS NULL WHERE u.id = $1";
    fetch_optional!(conn, Standing, sql, user_id, session)
}

#[derive(Debug, Clone)]
pub(in crate::accounts) struct NewSession<'a> {
    pub(in crate::accounts) id: SessionId,
    pub(in crate::accounts) user_id: UserId,
    /// Administrator who looks at the account in it.
    pub(in crate::accounts) acting_id: Option<UserId>,
    pub(in crate::accounts) origin: &'a Origin,
    pub(in crate::accounts) created_at: DateTime<Utc>,
    pub(in crate::accounts) expires_at: DateTime<Utc>,
}

pub(in crate::accounts) async fn insert(
    conn: &mut Conn,
    new: &NewSession<'_>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO sessions (id, user_id, device, address, acting_id, created_at, last_used_at, expires_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $6, $7)";
    let address = new.origin.address.map(|address| address.to_string());
    execute!(
        conn,
        sql,
        new.id,
        new.user_id,
        &new.origin.device,
        address,
        new.acting_id,
        new.created_at,
        new.expires_at
    )
}

/// Returns true for an account with sessions of its owner, none of which was started on this device by an address of
/// this family.
pub(in crate::accounts) async fn is_new_device(
    conn: &mut Conn,
    user_id: UserId,
    origin: &Origin,
) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sessions WHERE user_id = $1 AND acting_id IS NULL), \
               EXISTS (SELECT 1 FROM sessions WHERE user_id = $1 AND acting_id IS NULL AND device = $2 \
                 AND (coalesce(address, '') LIKE '%:%') = $3)";
    let is_ipv6 = origin.address.is_some_and(|address| address.is_ipv6());
    let (has_any, has_this) =
        fetch_one!(conn, (bool, bool), sql, user_id, &origin.device, is_ipv6)?;
    Ok(has_any && !has_this)
}

/// Prolongs a session that has not ended; false when it has.
pub(in crate::accounts) async fn prolong(
    conn: &mut Conn,
    id: SessionId,
    origin: &Origin,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE sessions SET device = $2, address = $3, last_used_at = $4, expires_at = $5 \
               WHERE id = $1 AND ended_at IS NULL";
    let address = origin.address.map(|address| address.to_string());
    let rows = execute!(conn, sql, id, &origin.device, address, now, expires_at)?;
    Ok(rows == 1)
}

pub(in crate::accounts) async fn note_use(
    conn: &mut Conn,
    id: SessionId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE sessions SET last_used_at = $2 WHERE id = $1 AND last_used_at < $2";
    execute!(conn, sql, id, now)
}

/// An account's sessions that can be used, the one that was used last first.
pub(in crate::accounts) async fn list(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<SessionView>> {
    let sql = "SELECT id, device, CASE WHEN acting_id IS NULL THEN address END AS address, FALSE AS is_current, \
               acting_id IS NOT NULL AS by_administrator, created_at, last_used_at, expires_at FROM sessions \
               WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 ORDER BY last_used_at DESC, id DESC";
    fetch_all!(conn, SessionView, sql, user_id, now)
}

/// Ends a session of an account; false when it has none of this id, or it ended before.
pub(in crate::accounts) async fn end(
    conn: &mut Conn,
    user_id: UserId,
    id: SessionId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE refresh_tokens SET revoked_at = $2 WHERE family = $1 AND revoked_at IS NULL AND user_id = $3";
    execute!(conn, sql, id, now, user_id)?;
    let sql =
        "UPDATE sessions SET ended_at = $3 WHERE id = $1 AND user_id = $2 AND ended_at IS NULL";
    Ok(execute!(conn, sql, id, user_id, now)? == 1)
}

/// Ends all sessions of an account but one; returns how many there were.
pub(in crate::accounts) async fn end_others(
    conn: &mut Conn,
    user_id: UserId,
    kept: SessionId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE refresh_tokens SET revoked_at = $3 WHERE user_id = $1 AND family <> $2 AND revoked_at IS NULL";
    execute!(conn, sql, user_id, kept, now)?;
    let sql = "UPDATE sessions SET ended_at = $3 \
               WHERE user_id = $1 AND id <> $2 AND ended_at IS NULL AND expires_at > $3";
    execute!(conn, sql, user_id, kept, now)
}

/// Ends all sessions of an account, and those in which it looks at others.
pub(in crate::accounts) async fn end_all(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE refresh_tokens SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL";
    execute!(conn, sql, user_id, now)?;
    let sql = "UPDATE sessions SET ended_at = $2 WHERE user_id = $1 AND ended_at IS NULL";
    execute!(conn, sql, user_id, now)?;
    let sql = "UPDATE sessions SET ended_at = $2 WHERE acting_id = $1 AND ended_at IS NULL";
    execute!(conn, sql, user_id, now)
}

/// Removes sessions and refresh tokens that can no longer be used, of any account. It waits for none of them: who ends
/// the sessions of an account locks them in another order. What is left out is removed by a later login.
pub(in crate::accounts) async fn forget_expired(
    conn: &mut Conn,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = delete_free!(conn, "refresh_tokens", "id", "expires_at < $1");
    execute!(conn, sql, now)?;
    let sql = delete_free!(conn, "sessions", "id", "expires_at < $1");
    execute!(conn, sql, now)
}

// ---- refresh tokens ----

#[derive(Debug, Clone)]
pub(in crate::accounts) struct NewRefreshToken {
    pub(in crate::accounts) id: RefreshTokenId,
    pub(in crate::accounts) user_id: UserId,
    pub(in crate::accounts) family: SessionId,
    pub(in crate::accounts) token_hash: String,
    pub(in crate::accounts) created_at: DateTime<Utc>,
    pub(in crate::accounts) expires_at: DateTime<Utc>,
}

pub(in crate::accounts) async fn insert_refresh_token(
    conn: &mut Conn,
    token: &NewRefreshToken,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO refresh_tokens (id, user_id, family, token_hash, created_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6)";
    execute!(
        conn,
        sql,
        token.id,
        token.user_id,
        token.family,
        &token.token_hash,
        token.created_at,
        token.expires_at
    )
}

/// Uses up a refresh token that is still good and returns its user and its family.
pub(in crate::accounts) async fn rotate_refresh_token(
    conn: &mut Conn,
    token_hash: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(UserId, SessionId)>> {
    let sql = "UPDATE refresh_tokens SET rotated_at = $2 \
        WHERE token_hash = $1 AND rotated_at IS NULL AND revoked_at IS NULL AND expires_at > $2 \
        RETURNING user_id, family";
    fetch_optional!(conn, (UserId, SessionId), sql, token_hash, now)
}

/// Returns user and family of a token that was first used after this moment.
pub(in crate::accounts) async fn rotated_since(
    conn: &mut Conn,
    token_hash: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<Option<(UserId, SessionId)>> {
    let sql =
        "SELECT user_id, family FROM refresh_tokens WHERE token_hash = $1 AND rotated_at > $2";
    fetch_optional!(conn, (UserId, SessionId), sql, token_hash, since)
}

/// Returns the expiry of a token of a family that is still good and was not used.
pub(in crate::accounts) async fn expiry_of_unused(
    conn: &mut Conn,
    token_hash: &str,
    family: SessionId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let sql = "SELECT expires_at FROM refresh_tokens WHERE token_hash = $1 AND family = $2 \
        AND rotated_at IS NULL AND revoked_at IS NULL AND expires_at > $3";
    let found = fetch_optional!(conn, (DateTime<Utc>,), sql, token_hash, family, now)?;
    Ok(found.map(|(expires_at,)| expires_at))
}

/// Returns the family of a token that was used before, if this is one.
pub(in crate::accounts) async fn family_of_rotated(
    conn: &mut Conn,
    token_hash: &str,
) -> sqlx::Result<Option<(UserId, SessionId)>> {
    let sql = "SELECT user_id, family FROM refresh_tokens WHERE token_hash = $1 AND rotated_at IS NOT NULL";
    fetch_optional!(conn, (UserId, SessionId), sql, token_hash)
}
