//! The SQL of second factors.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{db::Conn, delete_free, execute, fetch_one, fetch_optional, ids::UserId};

pub(super) struct NewTwoFactor<'a> {
    pub(super) user_id: UserId,
    pub(super) sealed: &'a [u8],
    pub(super) now: DateTime<Utc>,
}

/// Stores a secret, in place of one that is not in use; false when one is. Failures with the earlier
/// one stay counted.
pub(super) async fn begin(conn: &mut Conn, new: &NewTwoFactor<'_>) -> sqlx::Result<bool> {
    let sql = "INSERT INTO two_factor (user_id, secret, created_at, last_step, failures) VALUES ($1, $2, $3, 0, 0) \
               ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, created_at = excluded.created_at \
               WHERE two_factor.enabled_at IS NULL";
    Ok(execute!(conn, sql, new.user_id, new.sealed, new.now)? == 1)
}

pub(super) async fn enable(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE two_factor SET enabled_at = $2 WHERE user_id = $1";
    execute!(conn, sql, user_id, now)
}

/// Time since which an account has a second factor.
pub(super) async fn enabled_at(
    conn: &mut Conn,
    user_id: UserId,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let sql = "SELECT enabled_at FROM two_factor WHERE user_id = $1 AND enabled_at IS NOT NULL";
    Ok(fetch_optional!(conn, (DateTime<Utc>,), sql, user_id)?.map(|(at,)| at))
}

/// An attempt with a code, which is counted.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Attempt {
    pub(super) secret: Vec<u8>,
    pub(super) last_step: i64,
    /// Attempts since the last right one, this one included.
    pub(super) failures: i64,
}

/// Counts an attempt as a failure, and locks the row; absent when it has to wait, or there is none.
pub(super) async fn count_attempt(
    conn: &mut Conn,
    user_id: UserId,
    is_enabled: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Attempt>> {
    let sql = "UPDATE two_factor SET failures = failures + 1 \
               WHERE user_id = $1 AND (enabled_at IS NOT NULL) = $2 AND (blocked_until IS NULL OR blocked_until <= $3) \
               RETURNING secret, last_step, failures";
    fetch_optional!(conn, Attempt, sql, user_id, is_enabled, now)
}

pub(super) async fn blocked_until(
    conn: &mut Conn,
    user_id: UserId,
    is_enabled: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let sql = "SELECT blocked_until FROM two_factor \
               WHERE user_id = $1 AND (enabled_at IS NOT NULL) = $2 AND blocked_until > $3";
    let found = fetch_optional!(conn, (DateTime<Utc>,), sql, user_id, is_enabled, now)?;
    Ok(found.map(|(until,)| until))
}

pub(super) async fn block(
    conn: &mut Conn,
    user_id: UserId,
    until: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE two_factor SET blocked_until = $2 WHERE user_id = $1";
    execute!(conn, sql, user_id, until)
}

/// Notes a right code of the app; neither it nor an earlier one works again.
pub(super) async fn accept_step(conn: &mut Conn, user_id: UserId, step: i64) -> sqlx::Result<u64> {
    let sql = "UPDATE two_factor SET last_step = $2, failures = 0, blocked_until = NULL WHERE user_id = $1";
    execute!(conn, sql, user_id, step)
}

pub(super) async fn accept(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    let sql = "UPDATE two_factor SET failures = 0, blocked_until = NULL WHERE user_id = $1";
    execute!(conn, sql, user_id)
}

pub(in crate::accounts) async fn remove(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    remove_codes(conn, user_id).await?;
    forget_challenges_of(conn, user_id).await?;
    let sql = "DELETE FROM two_factor WHERE user_id = $1";
    execute!(conn, sql, user_id)
}

// ---- recovery codes ----

pub(super) async fn insert_code(
    conn: &mut Conn,
    user_id: UserId,
    hash: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO recovery_codes (user_id, code_hash, created_at) VALUES ($1, $2, $3)";
    execute!(conn, sql, user_id, hash, now)
}

/// Removes a code; false when the account has no such code.
pub(super) async fn take_code(conn: &mut Conn, user_id: UserId, hash: &str) -> sqlx::Result<bool> {
    let sql = "DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2";
    Ok(execute!(conn, sql, user_id, hash)? == 1)
}

pub(super) async fn remove_codes(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    let sql = "DELETE FROM recovery_codes WHERE user_id = $1";
    execute!(conn, sql, user_id)
}

pub(super) async fn count_codes(conn: &mut Conn, user_id: UserId) -> sqlx::Result<i64> {
    let sql = "SELECT count(*) FROM recovery_codes WHERE user_id = $1";
    let (count,) = fetch_one!(conn, (i64,), sql, user_id)?;
    Ok(count)
}

// ---- challenges ----

pub(super) async fn insert_challenge(
    conn: &mut Conn,
    id: Uuid,
    (user_id, hash): (UserId, &str),
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO login_challenges (id, user_id, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
    execute!(conn, sql, id, user_id, hash, now, expires_at)
}

/// Returns the account of a challenge that is good.
pub(super) async fn challenged(
    conn: &mut Conn,
    hash: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<UserId>> {
    let sql = "SELECT user_id FROM login_challenges WHERE token_hash = $1 AND expires_at > $2";
    Ok(fetch_optional!(conn, (UserId,), sql, hash, now)?.map(|(user_id,)| user_id))
}

pub(super) async fn take_challenge(conn: &mut Conn, hash: &str) -> sqlx::Result<bool> {
    let sql = "DELETE FROM login_challenges WHERE token_hash = $1";
    Ok(execute!(conn, sql, hash)? == 1)
}

/// Removes challenges that are too old, of any account. It waits for none of them: the deletion of an account, and
/// whatever else ends its challenges, locks them in another order. What is left out is removed by a later login.
pub(super) async fn forget_challenges(conn: &mut Conn, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let sql = delete_free!(conn, "login_challenges", "id", "expires_at <= $1");
    execute!(conn, sql, now)
}

/// Removes the challenges of an account, so that a login that began before does not end.
pub(in crate::accounts) async fn forget_challenges_of(
    conn: &mut Conn,
    user_id: UserId,
) -> sqlx::Result<u64> {
    let sql = "DELETE FROM login_challenges WHERE user_id = $1";
    execute!(conn, sql, user_id)
}
