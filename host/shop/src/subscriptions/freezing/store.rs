//! SQL of freezes.

use chrono::{DateTime, Utc};

use crate::{db::Conn, execute, ids::SubscriptionId, money::Rupiah};

/// Notes that a subscription is frozen from its next period on, and the price of its storage.
pub(super) async fn ask(
    conn: &mut Conn,
    id: SubscriptionId,
    price: Rupiah,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE subscriptions SET freeze_state = 'PENDING', storage_price = $2, updated_at = $3 WHERE id = $1";
    execute!(conn, sql, id, price, now).map(|_| ())
}

/// Takes back a freeze that waits for its period; false when none does (any more).
pub(super) async fn call_back(
    conn: &mut Conn,
    id: SubscriptionId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql =
        "UPDATE subscriptions SET freeze_state = 'NONE', storage_price = NULL, updated_at = $2
               WHERE id = $1 AND freeze_state = 'PENDING' AND status = 'ACTIVE'";
    Ok(execute!(conn, sql, id, now)? == 1)
}
