//! SQL of refunds.

use chrono::{DateTime, Utc};

use super::PendingRefund;
use crate::{
    db::Conn,
    execute, fetch_optional,
    ids::{PaymentId, RefundId, UserId},
    payments::RefundState,
};

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT id, payment_id, amount, reason, state_before, intent, state, created_at FROM payment_refunds WHERE ",
            $condition
        )
    };
}

/// Returns the refund of a payment that the gateway has not answered yet.
pub(super) async fn pending(
    conn: &mut Conn,
    payment_id: PaymentId,
) -> sqlx::Result<Option<PendingRefund>> {
    let sql = select!("payment_id = $1 AND state = 'PENDING'");
    fetch_optional!(conn, PendingRefund, sql, payment_id)
}

pub(super) async fn of_intent(
    conn: &mut Conn,
    intent: &str,
) -> sqlx::Result<Option<PendingRefund>> {
    let sql = select!("intent = $1");
    fetch_optional!(conn, PendingRefund, sql, intent)
}

pub(super) async fn insert(
    conn: &mut Conn,
    refund: &PendingRefund,
    requested_by: UserId,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO payment_refunds (id, payment_id, amount, reason, requested_by, intent, state_before, state, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    execute!(
        conn,
        sql,
        refund.id,
        refund.payment_id,
        refund.amount,
        &refund.reason,
        requested_by,
        refund.intent.as_deref(),
        refund.state_before,
        refund.state,
        refund.created_at
    )
    .map(|_| ())
}

/// Ends a pending refund; `false` when it has ended before.
pub(super) async fn finish(
    conn: &mut Conn,
    id: RefundId,
    state: RefundState,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE payment_refunds SET state = $2, finished_at = $3 WHERE id = $1 AND state = 'PENDING'";
    execute!(conn, sql, id, state, now).map(|rows| rows == 1)
}
