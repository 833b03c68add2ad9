//! Payments with a status that cannot be used: administrators and the customer are notified.

use super::{Payment, store};
use crate::{
    Code, Error, Result,
    alerts::{self, AlertKind},
    db::{Clock, Conn},
    wallet,
};

/// The sentence for the customer.
pub const NOTICE: &str = "The payment gateway reports this payment in a way that the shop cannot book by itself. Its administrators have been told and will settle it; do not pay again.";

/// The refusal of what cannot be done to such a payment.
pub(super) fn refusal() -> Error {
    Error::new(Code::InvalidState, NOTICE)
}

fn subject(payment: &Payment) -> String {
    format!("payment:{}", payment.id)
}

/// Writes down why an answer or notice cannot be used and raises the alert; `false` when the
/// payment is not as it was `seen` any more, and nothing is written then.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn note(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Payment,
    problem: &str,
) -> Result<bool> {
    // A settlement writes back what it has read under this lock.
    wallet::lock(conn, seen.user_id).await?;
    if !store::note_problem(conn, seen, problem, clock.now()).await? {
        return Ok(false);
    }
    let message = format!(
        "The gateway's answer about order {} over {} cannot be used: {problem} Look it up at the gateway, settle it with the customer by hand, and close it with POST /admin/payments/{}/review.",
        seen.order_id, seen.amount, seen.id
    );
    let (kind, subject) = (AlertKind::PaymentUnclear, subject(seen));
    alerts::raise(conn, clock, kind, &subject, &message).await?;
    tracing::error!(payment.id = %seen.id, payment.problem = problem, "payment.unclear");
    Ok(true)
}

/// Ends the alert about a payment of which all is clear.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn resolve(conn: &mut Conn, clock: &Clock, payment: &Payment) -> Result<()> {
    let (kind, subject) = (AlertKind::PaymentUnclear, subject(payment));
    alerts::resolve(conn, clock, kind, &subject).await?;
    Ok(())
}
