//! Closing what a person has settled: a payment of which the gateway says what cannot be used.

use serde_json::json;

use super::{
    Payment, Payments, problem, refunds,
    settlement::{self, Applied},
    state::Claim,
    store,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::{Conn, Uncommitted},
    ids::{PaymentId, UserId},
};

/// Closes a payment that an administrator has dealt with: its alert ends, and a payment that still
/// waits is given up. The clock does not ask about it any more, except to send on a refund that the
/// gateway has not answered; a later notice is looked at as any.
///
/// # Errors
/// `NOT_FOUND`, `INVALID_STATE` when there is nothing to settle by hand.
pub async fn close(
    payments: &Payments,
    actor_id: UserId,
    id: PaymentId,
    reason: &str,
) -> Result<Uncommitted<Payment>> {
    let _turn = payments.turns.take(id).await;
    let mut conn = payments.db.begin().await?;
    let (_, payment) = refunds::lock(&mut conn, id).await?;
    let Some(what) = payment.problem.clone() else {
        let message = "There is nothing about this payment that must be settled by hand.";
        return Err(Error::new(Code::InvalidState, message));
    };
    let payment = end(payments, &mut conn, payment).await?;
    let details = json!({ "problem": what });
    let event =
        Event::new(AuditAct::PaymentReviewed, Subject::Payment(id), details).because(reason);
    audit::record(&mut conn, &payments.clock, actor_id, event).await?;
    Ok(Uncommitted::new(conn, payment))
}

async fn end(payments: &Payments, conn: &mut Conn, payment: Payment) -> Result<Payment> {
    let clock = &payments.clock;
    let mut payment = if payment.state.is_waiting() {
        let given_up = Claim::Failed.into();
        match settlement::apply(conn, clock, &payment, &given_up).await? {
            Applied::Done(settled) => settled.payment,
            Applied::Changed(_) => {
                let message = "This payment has just changed. Look at it again.";
                return Err(Error::new(Code::InvalidState, message));
            }
        }
    } else {
        store::clear(conn, payment.id).await?;
        problem::resolve(conn, clock, &payment).await?;
        payment
    };
    let sent_on = refunds::unanswered::next_try_of(conn, payment.id, clock.now()).await?;
    store::ask_at(conn, payment.id, sent_on).await?;
    payment.next_check_at = sent_on;
    payment.problem = None;
    Ok(payment)
}
