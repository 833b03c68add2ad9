//! The SQL of accounts and their sessions.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{AccountStatus, Role, User};
use crate::{
    db::Conn,
    execute, fetch_all, fetch_one, fetch_optional,
    ids::{RefreshTokenId, SessionId, UserId},
};

pub(super) async fn insert(conn: &mut Conn, user: &User) -> sqlx::Result<()> {
    let sql = "INSERT INTO users \
        (id, email, password_hash, name, phone, avatar, role, status, token_generation, created_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)";
    execute!(
        conn,
        sql,
        user.id,
        &user.email,
        &user.password_hash,
        &user.name,
        &user.phone,
        &user.avatar,
        user.role,
        user.status,
        user.token_generation,
        user.created_at
    )?;
    Ok(())
}

const USER: &str = "SELECT id, email, password_hash, name, phone, avatar, role, status, token_generation, email_verified_at, \
    created_at FROM users WHERE id = $1";

pub(super) async fn by_id(conn: &mut Conn, id: UserId) -> sqlx::Result<Option<User>> {
    fetch_optional!(conn, User, USER, id)
}

pub(super) async fn by_email(conn: &mut Conn, email: &str) -> sqlx::Result<Option<User>> {
    let sql = "SELECT id, email, password_hash, name, phone, avatar, role, status, token_generation, email_verified_at, \
        created_at FROM users WHERE email = $1";
    fetch_optional!(conn, User, sql, email)
}

pub(super) async fn has_administrator(conn: &mut Conn) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE role = 'ADMINISTRATOR')";
    let (exists,) = fetch_one!(conn, (bool,), sql)?;
    Ok(exists)
}

/// Replaces name and phone; returns true when the account exists.
pub(super) async fn set_profile(
    conn: &mut Conn,
    id: UserId,
    name: &str,
    phone: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE users SET name = $2, phone = $3, updated_at = $4 WHERE id = $1";
    Ok(execute!(conn, sql, id, name, phone, now)? == 1)
}

pub(super) async fn set_avatar(
    conn: &mut Conn,
    id: UserId,
    avatar: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE users SET avatar = $2, updated_at = $3 WHERE id = $1";
    Ok(execute!(conn, sql, id, avatar, now)? == 1)
}

/// Replaces a hash that is still the stored one; a password changed meanwhile stays.
pub(super) async fn replace_password_hash(
    conn: &mut Conn,
    id: UserId,
    old: &str,
    new: &str,
) -> sqlx::Result<bool> {
    let sql = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
    Ok(execute!(conn, sql, id, old, new)? == 1)
}

/// Invalidates every access token of the account and returns the new generation.
pub(super) async fn raise_generation(
    conn: &mut Conn,
    id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    let sql = "UPDATE users SET token_generation = token_generation + 1, updated_at = $2 WHERE id = $1 \
        RETURNING token_generation";
    Ok(fetch_optional!(conn, (i64,), sql, id, now)?.map(|(generation,)| generation))
}

/// Account data that decides if an access token is still good.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(super) struct Standing {
    pub(super) role: Role,
    pub(super) status: AccountStatus,
    pub(super) token_generation: i64,
    /// True when the session was logged out, revoked or is not known.
    pub(super) ended: bool,
}

pub(super) async fn standing(
    conn: &mut Conn,
    user_id: UserId,
    session: SessionId,
) -> sqlx::Result<Option<Standing>> {
    // A session without a row was ended and forgotten: it must not come back to life.
    let sql = "SELECT role, status, token_generation, NOT EXISTS (\
            SELECT 1 FROM refresh_tokens WHERE family = $2 AND revoked_at IS NULL\
        ) AS ended FROM users WHERE id = $1";
    fetch_optional!(conn, Standing, sql, user_id, session)
}

// ---- confirmations ----

#[derive(Debug, Clone)]
pub(super) struct NewConfirmation {
    pub(super) id: Uuid,
    pub(super) user_id: UserId,
    pub(super) token_hash: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) async fn insert_confirmation(
    conn: &mut Conn,
    new: &NewConfirmation,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO email_confirmations (id, user_id, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
    execute!(
        conn,
        sql,
        new.id,
        new.user_id,
        &new.token_hash,
        new.created_at,
        new.expires_at
    )
}

/// Removes an account's tokens that have expired.
pub(super) async fn forget_confirmations(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "DELETE FROM email_confirmations WHERE user_id = $1 AND expires_at <= $2";
    execute!(conn, sql, user_id, now)
}

/// Removes a token that is good; returns its account.
pub(super) async fn use_confirmation(
    conn: &mut Conn,
    hash: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<UserId>> {
    let sql = "DELETE FROM email_confirmations WHERE token_hash = $1 AND expires_at > $2 RETURNING user_id";
    Ok(fetch_optional!(conn, (UserId,), sql, hash, now)?.map(|(user_id,)| user_id))
}

/// Notes the first confirmation, and that bonuses may be due; the account's other tokens end.
pub(super) async fn confirm_email(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE users SET email_verified_at = $2, bonuses_due_at = $2, updated_at = $2 \
               WHERE id = $1 AND email_verified_at IS NULL";
    execute!(conn, sql, user_id, now)?;
    let sql = "DELETE FROM email_confirmations WHERE user_id = $1";
    execute!(conn, sql, user_id).map(|_| ())
}

/// Accounts whose bonuses have been due since this moment or longer.
pub(super) async fn bonuses_due(
    conn: &mut Conn,
    until: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<UserId>> {
    let sql = "SELECT id FROM users WHERE bonuses_due_at <= $1 ORDER BY bonuses_due_at LIMIT $2";
    let found = fetch_all!(conn, (UserId,), sql, until, limit)?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Puts off an account's bonuses, when they are due since this moment or longer; false when another
/// server did.
pub(super) async fn take_bonuses(
    conn: &mut Conn,
    user_id: UserId,
    until: DateTime<Utc>,
    again_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE users SET bonuses_due_at = $3 WHERE id = $1 AND bonuses_due_at <= $2";
    Ok(execute!(conn, sql, user_id, until, again_at)? == 1)
}

pub(super) async fn bonuses_given(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    let sql = "UPDATE users SET bonuses_due_at = NULL WHERE id = $1";
    execute!(conn, sql, user_id)
}

// ---- refresh tokens ----

#[derive(Debug, Clone)]
pub(super) struct NewRefreshToken {
    pub(super) id: RefreshTokenId,
    pub(super) user_id: UserId,
    pub(super) family: SessionId,
    pub(super) token_hash: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) async fn insert_refresh_token(
    conn: &mut Conn,
    token: &NewRefreshToken,
) -> sqlx::Result<()> {
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
    )?;
    Ok(())
}

/// Uses up a refresh token that is still good and returns its user and its family.
pub(super) async fn rotate_refresh_token(
    conn: &mut Conn,
    token_hash: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(UserId, SessionId)>> {
    let sql = "UPDATE refresh_tokens SET rotated_at = $2 \
        WHERE token_hash = $1 AND rotated_at IS NULL AND revoked_at IS NULL AND expires_at > $2 \
        RETURNING user_id, family";
    fetch_optional!(conn, (UserId, SessionId), sql, token_hash, now)
}

/// Returns the family of a token that was used before, if this is one.
pub(super) async fn family_of_rotated(
    conn: &mut Conn,
    token_hash: &str,
) -> sqlx::Result<Option<(UserId, SessionId)>> {
    let sql = "SELECT user_id, family FROM refresh_tokens WHERE token_hash = $1 AND rotated_at IS NOT NULL";
    fetch_optional!(conn, (UserId, SessionId), sql, token_hash)
}

pub(super) async fn revoke_family(
    conn: &mut Conn,
    family: SessionId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    execute!(
        conn,
        "UPDATE refresh_tokens SET revoked_at = $2 WHERE family = $1 AND revoked_at IS NULL",
        family,
        now
    )
}

pub(super) async fn revoke_all(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    execute!(
        conn,
        "UPDATE refresh_tokens SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL",
        user_id,
        now
    )
}

/// Deletes refresh tokens that expired before `before`; returns how many.
///
/// `before` must lie an access token's lifetime back: the rows say which sessions still stand.
pub(super) async fn forget_expired(conn: &mut Conn, before: DateTime<Utc>) -> sqlx::Result<u64> {
    execute!(
        conn,
        "DELETE FROM refresh_tokens WHERE expires_at < $1",
        before
    )
}
