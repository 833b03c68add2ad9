//! SQL of the step from a period into the next.

use chrono::{DateTime, Utc};

use super::{Next, Subscription};
use crate::{db::Conn, execute, ids::SubscriptionId};

/// An update that changes nothing takes the row's lock on both engines.
pub(super) async fn lock(conn: &mut Conn, id: SubscriptionId) -> sqlx::Result<()> {
    let sql = "UPDATE subscriptions SET updated_at = updated_at WHERE id = $1";
    execute!(conn, sql, id).map(|_| ())
}

/// Puts a subscription into its next period, paid for.
pub(super) async fn advance(
    conn: &mut Conn,
    seen: &Subscription,
    next: &Next,
    coupon_periods_left: Option<i64>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE subscriptions SET status = 'ACTIVE', anchor_at = $3, period_number = $4, period_start = $5,
                 period_end = $6, coupon_periods_left = $7, grace_until = NULL, suspended_at = NULL, unpaid = NULL,
                 held_since = NULL, renewal_failures = 0, renewal_retry_at = NULL, updated_at = $8, monthly_price = $9,
                 term_price = $10, anchor_months = $11, freeze_state = $12, storage_price = $13
               WHERE id = $1 AND period_number = $2";
    let (id, number) = (seen.id, seen.period_number);
    let rows = execute!(
        conn,
        sql,
        id,
        number,
        next.anchor_at,
        next.number,
        next.starts_at,
        next.ends_at,
        coupon_periods_left,
        now,
        next.term.monthly_price,
        next.term.price,
        i64::from(next.anchor_months),
        next.freeze_state(),
        next.storage_price()
    )?;
    Ok(rows == 1)
}
