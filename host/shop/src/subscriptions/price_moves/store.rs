//! SQL of moves to another price.

use chrono::{DateTime, Utc};

use super::{PaidPrice, PriceMove};
use crate::{
    catalog::SoldTerm,
    db::Conn,
    execute, fetch_all,
    ids::{PlanId, SubscriptionId, UserId},
    subscriptions::Subscription,
};

/// Notes the price from a moment on, in place of an earlier move.
pub(super) async fn put(
    conn: &mut Conn,
    new: &PriceMove,
    (plan_id, term): (PlanId, SoldTerm),
    (actor_id, reason): (UserId, &str),
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO price_moves (subscription_id, plan_id, monthly_price, effective_at, moved_by, reason, created_at, term_price)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
               ON CONFLICT (subscription_id) DO UPDATE SET plan_id = excluded.plan_id,
                 monthly_price = excluded.monthly_price, term_price = excluded.term_price, effective_at = excluded.effective_at,
                 moved_by = excluded.moved_by, reason = excluded.reason, created_at = excluded.created_at,
                 applied_period = NULL";
    execute!(
        conn,
        sql,
        new.subscription_id,
        plan_id,
        new.after,
        new.effective_at,
        actor_id,
        reason,
        now,
        term.price
    )
    .map(|_| ())
}

/// Takes back the move that waits for its period.
pub(super) async fn take_back(conn: &mut Conn, id: SubscriptionId) -> sqlx::Result<bool> {
    let sql = "DELETE FROM price_moves WHERE subscription_id = $1 AND applied_period IS NULL";
    Ok(execute!(conn, sql, id)? == 1)
}

/// Notes the period that a move is in force from.
pub(in crate::subscriptions) async fn apply(
    conn: &mut Conn,
    seen: &Subscription,
    period: i64,
) -> sqlx::Result<()> {
    let sql = "UPDATE price_moves SET applied_period = $3
               WHERE subscription_id = $1 AND plan_id = $2 AND applied_period IS NULL";
    execute!(conn, sql, seen.id, seen.plan_id, period).map(|_| ())
}

/// Counts the live subscriptions of a plan by their price.
pub(super) async fn paid_prices(conn: &mut Conn, plan_id: PlanId) -> sqlx::Result<Vec<PaidPrice>> {
    let sql = "SELECT s.monthly_price, s.term_months, s.term_price, count(*) AS subscriptions,
                 count(m.subscription_id) AS moving
               FROM subscriptions s LEFT JOIN price_moves m
                 ON m.subscription_id = s.id AND m.plan_id = s.plan_id AND m.applied_period IS NULL
               WHERE s.plan_id = $1 AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')
               GROUP BY s.monthly_price, s.term_months, s.term_price
               ORDER BY s.monthly_price, s.term_months, coalesce(s.term_price, s.monthly_price * s.term_months)";
    fetch_all!(conn, PaidPrice, sql, plan_id)
}
