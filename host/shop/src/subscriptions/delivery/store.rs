//! SQL of deliveries: what was noted, and what is held until the instance runs.

use chrono::{DateTime, Utc};

use crate::{db::Conn, execute, fetch_all, ids::SubscriptionId};

/// Returns true when the instance of a subscription was delivered that does not know it yet.
pub(super) async fn delivered(conn: &mut Conn) -> sqlx::Result<bool> {
    let sql = "SELECT s.id FROM subscriptions s JOIN instances i ON i.subscription_id = s.id
               WHERE s.delivered_at IS NULL AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED') AND i.delivered_at IS NOT NULL";
    // Without a limit, for which an engine may choose to read all instances in vain.
    let found = fetch_all!(conn, (SubscriptionId,), sql)?;
    Ok(!found.is_empty())
}

/// A subscription whose delivery was noted.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Noted {
    pub(super) id: SubscriptionId,
    pub(super) delivered_at: DateTime<Utc>,
    pub(super) period_number: i64,
    pub(super) period_start: DateTime<Utc>,
    pub(super) period_end: DateTime<Utc>,
    pub(super) anchor_at: DateTime<Utc>,
    pub(super) anchor_months: i64,
    /// Slug of the service.
    pub(super) service: String,
    /// Slug of the plan.
    pub(super) plan: String,
}

/// Statement that notes deliveries; the condition names the subscriptions.
macro_rules! note {
    ($these:literal) => {
        // Money that came to the wallet of an unpaid one is newer than its last change: that stays.
        concat!(
            "UPDATE subscriptions SET delivered_at =
               (SELECT i.delivered_at FROM instances i WHERE i.subscription_id = subscriptions.id),
               updated_at = CASE WHEN status = 'ACTIVE' THEN $1 ELSE updated_at END
             WHERE ",
            $these,
            " AND delivered_at IS NULL
             RETURNING id, delivered_at, period_number, period_start, period_end, anchor_at, anchor_months,
               (SELECT v.slug FROM service_plans p JOIN services v ON v.id = p.service_id WHERE p.id = subscriptions.plan_id) AS service,
               (SELECT p.slug FROM service_plans p WHERE p.id = subscriptions.plan_id) AS plan"
        )
    };
}

/// Notes all deliveries and locks the rows; those that another server noted are left out.
pub(super) async fn note_deliveries(
    conn: &mut Conn,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Noted>> {
    // Locked in one order on all servers, of which each waits for the others. SQLite's writer has every row.
    let sql = if conn.is_postgres() {
        note!(
            "id = ANY(ARRAY(SELECT s.id FROM subscriptions s JOIN instances i ON i.subscription_id = s.id
               WHERE s.delivered_at IS NULL AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED') AND i.delivered_at IS NOT NULL
               ORDER BY s.id FOR NO KEY UPDATE OF s))"
        )
    } else {
        note!(
            "id IN (SELECT s.id FROM subscriptions s JOIN instances i ON i.subscription_id = s.id
               WHERE s.delivered_at IS NULL AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED') AND i.delivered_at IS NOT NULL)"
        )
    };
    fetch_all!(conn, Noted, sql, now)
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
