//! SQL of deliveries: what was noted, and what is held until the instance runs.

use chrono::{DateTime, Utc};

use crate::{db::Conn, execute, fetch_all, ids::SubscriptionId};

/// A subscription whose instance was delivered and that does not know it yet.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Delivered {
    pub(super) id: SubscriptionId,
    pub(super) delivered_at: DateTime<Utc>,
    /// Slug of the service.
    pub(super) service: String,
    /// Slug of the plan.
    pub(super) plan: String,
}

pub(super) async fn delivered(conn: &mut Conn) -> sqlx::Result<Vec<Delivered>> {
    let sql = "SELECT s.id, i.delivered_at, v.slug AS service, p.slug AS plan
               FROM subscriptions s JOIN instances i ON i.subscription_id = s.id
               JOIN service_plans p ON p.id = s.plan_id JOIN services v ON v.id = p.service_id
               WHERE s.delivered_at IS NULL AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED') AND i.delivered_at IS NOT NULL";
    fetch_all!(conn, Delivered, sql)
}

/// False when another server did.
pub(super) async fn note_delivery(
    conn: &mut Conn,
    id: SubscriptionId,
    delivered_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE subscriptions SET delivered_at = $2 WHERE id = $1 AND delivered_at IS NULL";
    Ok(execute!(conn, sql, id, delivered_at)? == 1)
}

/// A first period that waited for its delivery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub(super) anchor_at: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
    /// The end that was paid for, where days were given.
    pub(super) paid_until: Option<DateTime<Utc>>,
}

pub(super) async fn move_first_period(
    conn: &mut Conn,
    id: SubscriptionId,
    moved: &Moved,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE subscriptions SET anchor_at = $2, period_end = $3, held_since = NULL, updated_at = $4
               WHERE id = $1 AND period_number = 1";
    execute!(conn, sql, id, moved.anchor_at, moved.end, now)?;
    let sql = "UPDATE subscription_periods SET ends_at = $2, paid_until = $3 WHERE subscription_id = $1 AND number = 1";
    execute!(conn, sql, id, moved.end, moved.paid_until).map(|_| ())
}

/// Notes that nothing is charged from the end of this period until the instance runs.
pub(super) async fn hold(
    conn: &mut Conn,
    id: SubscriptionId,
    period_number: i64,
) -> sqlx::Result<()> {
    let sql = "UPDATE subscriptions SET held_since = period_end
               WHERE id = $1 AND period_number = $2 AND held_since IS NULL";
    execute!(conn, sql, id, period_number).map(|_| ())
}
