//! SQL of accounts with what belongs to them.

use super::model::{UserFilter, UserView};
use crate::{
    db::{Conn, Filter, List, Page, Part, fetch_page, find_where},
    ids::UserId,
};

const USERS: List = List {
    rows: "SELECT u.id, u.email, u.name, u.phone, u.role, u.status AS state, u.email_verified_at, u.created_at, \
           coalesce(w.paid_balance, 0) AS paid_balance, coalesce(w.bonus_balance, 0) AS bonus_balance, \
           (SELECT count(*) FROM subscriptions s WHERE s.user_id = u.id \
            AND s.status IN ('PENDING', 'ACTIVE', 'PAST_DUE', 'SUSPENDED')) AS live_subscriptions, \
           (SELECT s.last_used_at FROM sessions s WHERE s.user_id = u.id AND s.acting_id IS NULL \
            ORDER BY s.last_used_at DESC LIMIT 1) AS last_seen_at \
           FROM users u LEFT JOIN wallets w ON w.user_id = u.id",
    count: "SELECT count(*) FROM users u",
    order: "ORDER BY u.created_at DESC, u.id DESC",
};

pub(super) async fn list(
    conn: &mut Conn,
    wanted: &UserFilter<'_>,
    part: Part,
) -> sqlx::Result<Page<UserView>> {
    let confirmed = wanted.is_email_verified.map(|is_verified| {
        if is_verified {
            "u.email_verified_at IS NOT NULL"
        } else {
            "u.email_verified_at IS NULL"
        }
    });
    let filter = Filter::default()
        .with_some("u.role = ?", wanted.role)
        .with_some("u.status = ?", wanted.state)
        .with_some("u.created_at >= ?", wanted.from)
        .with_some("u.created_at < ?", wanted.until)
        .and_some(confirmed)
        .containing(&["u.email", "u.name"], wanted.q);
    fetch_page(conn, USERS, &filter, part).await
}

pub(super) async fn by_id(conn: &mut Conn, id: UserId) -> sqlx::Result<Option<UserView>> {
    find_where(conn, USERS.rows, &Filter::of("u.id = ?", id)).await
}
