//! SQL of idempotency keys.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Answer, Request};
use crate::{db::Conn, delete_free, execute, fetch_optional, ids::UserId};

/// Stored data of a key.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Known {
    pub(super) request_hash: String,
    /// HTTP status; absent, like `answer`, while the request runs.
    status: Option<i64>,
    answer: Option<String>,
    pub(super) locked_until: DateTime<Utc>,
}

impl Known {
    /// The answer kept under the key, when there is one.
    pub(super) fn answer(&self) -> Option<Answer> {
        let status = u16::try_from(self.status?).ok()?;
        let body = self.answer.clone()?;
        Some(Answer { status, body })
    }
}

/// The key's row, unless it was made at or before `forgotten`.
pub(super) async fn find(
    conn: &mut Conn,
    request: &Request,
    forgotten: DateTime<Utc>,
) -> sqlx::Result<Option<Known>> {
    fetch_optional!(
        conn,
        Known,
        "SELECT request_hash, status, answer, locked_until FROM idempotency_keys
         WHERE user_id = $1 AND route = $2 AND key = $3 AND created_at > $4",
        request.user_id,
        &request.route,
        request.key.as_str(),
        forgotten,
    )
}

/// A claim to be made.
pub(super) struct NewClaim<'r> {
    pub(super) request: &'r Request,
    pub(super) holder: Uuid,
    pub(super) server: Uuid,
    pub(super) now: DateTime<Utc>,
    pub(super) locked_until: DateTime<Utc>,
    /// Latest end of a lock; a later one was taken by a clock that was ahead.
    pub(super) unbelieved: DateTime<Utc>,
    /// Keys made at or before this moment count as new.
    pub(super) forgotten: DateTime<Utc>,
}

/// Takes a key that is new, forgotten, or left behind by a holder of the same request whose lock
/// ran out. Returns `false` when another holder has it.
pub(super) async fn claim(conn: &mut Conn, new: &NewClaim<'_>) -> sqlx::Result<bool> {
    execute!(
        conn,
        "INSERT INTO idempotency_keys (user_id, route, key, request_hash, holder, created_at, locked_until, lease_server)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $10)
         ON CONFLICT (user_id, route, key) DO UPDATE SET request_hash = excluded.request_hash,
           holder = excluded.holder, status = NULL, answer = NULL, created_at = excluded.created_at,
           locked_until = excluded.locked_until, lease_server = excluded.lease_server
         WHERE idempotency_keys.created_at <= $8
           OR (idempotency_keys.status IS NULL
             AND (idempotency_keys.locked_until <= $6 OR idempotency_keys.locked_until > $9)
             AND idempotency_keys.request_hash = excluded.request_hash)",
        new.request.user_id,
        &new.request.route,
        new.request.key.as_str(),
        &new.request.fingerprint,
        new.holder,
        new.now,
        new.locked_until,
        new.forgotten,
        new.unbelieved,
        new.server,
    )
    .map(|rows| rows == 1)
}

/// Moves the end of a lock, where the request still holds its key.
pub(super) async fn renew(
    conn: &mut Conn,
    request: &Request,
    holder: Uuid,
    locked_until: DateTime<Utc>,
) -> sqlx::Result<u64> {
    execute!(
        conn,
        "UPDATE idempotency_keys SET locked_until = $5
         WHERE user_id = $1 AND route = $2 AND key = $3 AND holder = $4 AND status IS NULL",
        request.user_id,
        &request.route,
        request.key.as_str(),
        holder,
        locked_until,
    )
}

/// Keeps the answer of a request that still holds its key. `false` when it does not any more.
pub(super) async fn keep_answer(
    conn: &mut Conn,
    request: &Request,
    holder: Uuid,
    answer: &Answer,
) -> sqlx::Result<bool> {
    execute!(
        conn,
        "UPDATE idempotency_keys SET status = $5, answer = $6
         WHERE user_id = $1 AND route = $2 AND key = $3 AND holder = $4 AND status IS NULL",
        request.user_id,
        &request.route,
        request.key.as_str(),
        holder,
        i64::from(answer.status),
        &answer.body,
    )
    .map(|rows| rows == 1)
}

/// Forgets a key whose request ended without an answer to keep.
pub(super) async fn release(
    conn: &mut Conn,
    request: &Request,
    holder: Uuid,
) -> sqlx::Result<bool> {
    execute!(
        conn,
        "DELETE FROM idempotency_keys
         WHERE user_id = $1 AND route = $2 AND key = $3 AND holder = $4 AND status IS NULL",
        request.user_id,
        &request.route,
        request.key.as_str(),
        holder,
    )
    .map(|rows| rows == 1)
}

/// Ends every lock of a key that was made after a moment.
pub(super) async fn unlock_all(
    conn: &mut Conn,
    now: DateTime<Utc>,
    made_after: DateTime<Utc>,
) -> sqlx::Result<u64> {
    execute!(
        conn,
        "UPDATE idempotency_keys SET locked_until = $1
         WHERE created_at > $2 AND status IS NULL AND locked_until > $1",
        now,
        made_after,
    )
}

/// Ends every lock of a server on a key that was made after a moment.
pub(super) async fn unlock(
    conn: &mut Conn,
    server: Uuid,
    now: DateTime<Utc>,
    made_after: DateTime<Utc>,
) -> sqlx::Result<u64> {
    execute!(
        conn,
        "UPDATE idempotency_keys SET locked_until = $1
         WHERE created_at > $2 AND status IS NULL AND locked_until > $1 AND lease_server = $3",
        now,
        made_after,
        server,
    )
}

/// Forgets all keys of an account, with their answers.
pub(super) async fn forget(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    execute!(
        conn,
        "DELETE FROM idempotency_keys WHERE user_id = $1",
        user_id
    )
}

/// Deletes at most `batch` keys made at or before `forgotten`, oldest first; returns their number.
pub(super) async fn purge(
    conn: &mut Conn,
    forgotten: DateTime<Utc>,
    batch: i64,
) -> sqlx::Result<u64> {
    let sql = delete_free!(
        conn,
        "idempotency_keys",
        ("ctid", "rowid"),
        "created_at <= $1 ORDER BY created_at LIMIT $2"
    );
    execute!(conn, sql, forgotten, batch)
}
