//! SQL of deliveries: what was noted, and what is held until the instance runs.

use chrono::{DateTime, Utc};

use crate::{db::Conn, execute, fetch_all, fetch_optional, ids::SubscriptionId};

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

/// Period of a subscription whose delivery was noted.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(super) struct Noted {
    pub(super) period_number: i64,
    pub(super) period_start: DateTime<Utc>,
    pub(super) period_end: DateTime<Utc>,
    pub(super) anchor_at: DateTime<Utc>,
    pub(super) anchor_months: i64,
}

/// Notes a delivery and locks the row; nothing when another server did.
pub(super) async fn note_delivery(
    conn: &mut Conn,
    id: SubscriptionId,
    delivered_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Noted>> {
    // Money that came to the wallet of an unpaid one is newer than its last change: that stays.
    let sql = "UPDATE subscriptions SET delivered_at = $2,
                 updated_at = CASE WHEN status = 'ACTIVE' THEN $3 ELSE updated_at END
               WHERE id = $1 AND delivered_at IS NULL
               RETURNING period_number, period_start, period_end, anchor_at, anchor_months";
    fetch_optional!(conn, Noted, sql, id, delivered_at, now)
}

/// A first period that waited for its delivery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub(super) start: DateTime<Utc>,
    pub(super) anchor_at: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
    /// The end that was paid for, where days were given: as it was, and as it is now.
    pub(super) paid: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// Moves a first period, with what changes of its plan have paid for.
pub(super) async fn move_first_period(
    conn: &mut Conn,
    id: SubscriptionId,
    moved: &Moved,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let Moved { start, end, .. } = *moved;
    let (paid_before, paid_until) = moved.paid.unzip();
    let sql = "UPDATE subscriptions SET period_start = $2, anchor_at = $3, period_end = $4, held_since = NULL,
                 updated_at = $5
               WHERE id = $1 AND period_number = 1";
    execute!(conn, sql, id, start, moved.anchor_at, end, now)?;
    let sql = "UPDATE subscription_periods SET starts_at = $2, ends_at = $3, paid_until = $4
               WHERE subscription_id = $1 AND number = 1";
    execute!(conn, sql, id, start, end, paid_until)?;
    let sql = "UPDATE plan_changes SET covers_from = $2,
                 covers_until = CASE WHEN covers_until = $4 THEN $5 WHEN covers_until IS NOT NULL THEN $3
                                ELSE covers_until END
               WHERE subscription_id = $1 AND period_number = 1";
    execute!(conn, sql, id, start, end, paid_before, paid_until).map(|_| ())
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
