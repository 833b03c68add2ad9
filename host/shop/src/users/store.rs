//! SQL of accounts with what belongs to them.

use chrono::{DateTime, Utc};

use super::model::{UserFilter, UserView};
use crate::{
    db::{Conn, Filter, List, Span, Walked, fetch_span, find_where},
    execute, fetch_one, fetch_optional,
    ids::UserId,
};

const USERS: List = List {
    rows: "SELECT u.id, u.email, u.name, u.phone, u.role, \
           CASE WHEN u.deleted_at IS NULL THEN u.status ELSE 'DELETED' END AS state, u.email_verified_at, u.created_at, \
           coalesce(w.paid_balance, 0) AS paid_balance, coalesce(w.bonus_balance, 0) AS bonus_balance, \
           (SELECT count(*) FROM subscriptions s WHERE s.user_id = u.id \
            AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')) AS live_subscriptions, \
           (SELECT s.last_used_at FROM sessions s WHERE s.user_id = u.id AND s.acting_id IS NULL \
            ORDER BY s.last_used_at DESC LIMIT 1) AS last_seen_at \
           FROM users u LEFT JOIN wallets w ON w.user_id = u.id",
    from: "FROM users u",
    key: "u.id",
    order: "ORDER BY u.created_at DESC, u.id DESC",
};

pub(super) async fn list(
    conn: &mut Conn,
    wanted: &UserFilter<'_>,
    span: Span<UserId>,
) -> sqlx::Result<Walked<UserView>> {
    let confirmed = wanted.is_email_verified.map(|is_verified| {
        if is_verified {
            "u.email_verified_at IS NOT NULL"
        } else {
            "u.email_verified_at IS NULL"
        }
    });
    let filter = Filter::default()
        .with_some("u.role = ?", wanted.role)
        .with_some(
            "CASE WHEN u.deleted_at IS NULL THEN u.status ELSE 'DELETED' END = ?",
            wanted.state,
        )
        .with_some("u.created_at >= ?", wanted.from)
        .with_some("u.created_at < ?", wanted.until)
        .and_some(confirmed)
        .containing(&["u.email", "u.name"], wanted.q);
    let place = "(u.created_at, u.id) < (?, ?)";
    fetch_span(conn, USERS, place, filter, span).await
}

/// Number of each thing that has to end before an account is deleted.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Obstacles {
    pub(super) subscriptions: i64,
    pub(super) instances: i64,
    pub(super) top_ups: i64,
    pub(super) refunds: i64,
    pub(super) debts: i64,
}

pub(super) async fn obstacles(conn: &mut Conn, id: UserId) -> sqlx::Result<Obstacles> {
    let sql = "SELECT \
        (SELECT count(*) FROM subscriptions WHERE user_id = $1 \
         AND status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')) AS subscriptions, \
        (SELECT count(*) FROM instances WHERE user_id = $1 AND status <> 'TERMINATED') AS instances, \
        (SELECT count(*) FROM payments WHERE user_id = $1 \
         AND (state IN ('STARTING', 'PENDING', 'CAPTURED') OR problem IS NOT NULL)) AS top_ups, \
        (SELECT count(*) FROM payment_refunds r JOIN payments p ON p.id = r.payment_id \
         WHERE p.user_id = $1 AND r.state = 'PENDING') AS refunds, \
        (SELECT count(*) FROM debts WHERE user_id = $1 AND settled_at IS NULL) AS debts";
    fetch_one!(conn, Obstacles, sql, id)
}

pub(super) async fn by_id(conn: &mut Conn, id: UserId) -> sqlx::Result<Option<UserView>> {
    find_where(conn, USERS.rows, &Filter::of("u.id = ?", id)).await
}

/// Account that was deleted and about which decisions are still to be erased; the one that was deleted first.
pub(super) async fn next_with_decisions(conn: &mut Conn) -> sqlx::Result<Option<UserId>> {
    let sql = "SELECT id FROM users WHERE deleted_at IS NOT NULL AND decisions_erased_at IS NULL \
               ORDER BY deleted_at, id LIMIT 1";
    let next = fetch_optional!(conn, (UserId,), sql)?;
    Ok(next.map(|(id,)| id))
}

/// Notes that decisions about an account that is deleted are to be erased again.
pub(super) async fn has_more_decisions(conn: &mut Conn, id: UserId) -> sqlx::Result<u64> {
    let sql =
        "UPDATE users SET decisions_erased_at = NULL WHERE id = $1 AND deleted_at IS NOT NULL";
    execute!(conn, sql, id)
}

pub(super) async fn decisions_are_erased(
    conn: &mut Conn,
    id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE users SET decisions_erased_at = $2 WHERE id = $1";
    execute!(conn, sql, id, now)
}
