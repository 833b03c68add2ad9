//! Payment pages: kept as soon as the gateway has made them, and asked for again where none arrived.

use chrono::TimeDelta;

use super::{
    Payment, PaymentState, Payments, asking,
    gateway::{PAGE_MINUTES, Page},
    problem,
    settlement::{self, Applied},
    state::Claim,
    store,
};
use crate::{Code, Error, Result, db::Db, identity::Identity, wallet};

/// The sentence about a top-up without a page to be paid on.
const ENDED: &str = "This top-up ended while its payment page was being created.";

/// Returns the refusal of a page for a top-up that its customer has cancelled.
pub(super) fn cancelled() -> Error {
    let message = "This top-up has been cancelled. Begin another one.";
    Error::new(Code::Conflict, message)
}

/// Returns true for a top-up that waits and has no page, because none was asked for yet, or the
/// answer did not arrive.
pub(super) fn is_missing(payment: &Payment) -> bool {
    payment.state.is_waiting() && payment.token.is_none() && payment.problem.is_none()
}

/// Asks the gateway for the page of a top-up that has none, and keeps it before anything else is
/// done. The caller has the payment's turn. `None` when the gateway has made a page for this order
/// before and makes no second one: the order is closed.
///
/// # Errors
/// `GATEWAY_UNAVAILABLE`, `GATEWAY_REFUSED`; `CONFLICT` when the top-up was cancelled meanwhile, and
/// `INVALID_STATE` when it ended otherwise.
pub(super) async fn open(payments: &Payments, payment: &Payment) -> Result<Option<Payment>> {
    let gateway = payments.gateway()?;
    let mut conn = payments.db.read().await?;
    let transaction = wallet::transaction(&mut conn, payment.transaction_id).await?;
    drop(conn);
    let asked = Payment {
        // The hour of a page begins when it is asked for.
        expires_at: payments.clock.now() + TimeDelta::minutes(PAGE_MINUTES),
        ..payment.clone()
    };
    let name = format!("Wallet top-up {}", transaction.number);
    match gateway.create_page(&asked, &name).await {
        Ok(page) => keep(payments, asked, page).await,
        Err(error) if error.is_order_used() => close(payments, payment).await,
        Err(error) => Err(error.into()),
    }
}

/// Keeps a page, unless the top-up has another one or has ended meanwhile.
async fn keep(payments: &Payments, asked: Payment, page: Page) -> Result<Option<Payment>> {
    let now = payments.clock.now();
    let mut conn = payments.db.begin().await?;
    // A cancellation that has read the payment writes its state under this lock.
    wallet::lock(&mut conn, asked.user_id).await?;
    let (token, url) = (&*page.token, page.redirect_url.as_str());
    if store::keep_page(&mut conn, asked.id, token, url, asked.expires_at, now).await? {
        conn.commit().await?;
        return Ok(Some(Payment {
            state: PaymentState::Pending,
            token: Some(page.token),
            redirect_url: Some(page.redirect_url),
            ..asked
        }));
    }
    drop(conn);
    let fresh = asking::reread(payments, &asked).await?;
    if fresh.credited.is_positive() || (fresh.state.is_waiting() && fresh.token.is_some()) {
        return Ok(Some(fresh));
    }
    withdraw(payments, &fresh, page).await;
    Err(match fresh.state {
        PaymentState::Cancelled => cancelled(),
        _ => Error::new(Code::InvalidState, ENDED).retry_after(1),
    })
}

/// Closes a page to which nothing leads, since its top-up has ended. Money that comes all the same is
/// credited, so that a gateway which does not close it changes nothing.
async fn withdraw(payments: &Payments, ended: &Payment, page: Page) {
    let order = Payment {
        token: Some(page.token),
        ..ended.clone()
    };
    let Ok(gateway) = payments.gateway() else {
        return;
    };
    if let Err(error) = gateway.cancel(&order).await {
        tracing::warn!(payment.id = %ended.id, %error, "payment.page_not_withdrawn");
    }
}

/// Closes an order whose page was made and never arrived here, at the gateway first. Returns it if
/// it was paid all the same.
async fn close(payments: &Payments, payment: &Payment) -> Result<Option<Payment>> {
    let payment = if payments.gateway()?.cancel(payment).await? {
        payment.clone()
    } else {
        let learned = asking::learn(payments, payment.clone()).await?;
        learned.commit().await?.payment
    };
    if payment.credited.is_positive() {
        return Ok(Some(payment));
    }
    if payment.problem.is_some() {
        return Err(problem::refusal());
    }
    let failed = Claim::Failed.into();
    let mut conn = payments.db.begin().await?;
    match settlement::apply(&mut conn, &payments.clock, &payment, &failed).await? {
        // Paid in the same moment.
        Applied::Done(settled) if settled.payment.credited.is_positive() => {
            Ok(Some(settled.payment))
        }
        Applied::Done(_) => {
            // Another order answers the request, also when this one is cancelled by a notice.
            store::forget_intent(&mut conn, payment.id).await?;
            conn.commit().await?;
            Ok(None)
        }
        // Another server has got its page, perhaps.
        Applied::Changed(fresh) => {
            let has_page = fresh.state.is_waiting() && fresh.token.is_some();
            Ok(Some(fresh).filter(|fresh| has_page || fresh.credited.is_positive()))
        }
    }
}

/// Asks about a waiting top-up for its customer, as [`asking::refresh`] does, and for its page where
/// none arrived. Returns the payment as it is then, and true when the gateway has been heard.
///
/// # Errors
/// When the database does not answer.
pub async fn refresh(payments: &Payments, payment: Payment) -> Result<(Payment, bool)> {
    if !is_missing(&payment) {
        return asking::refresh(payments, payment).await;
    }
    let turn = payments.turns.take(payment.id).await;
    let payment = asking::reread(payments, &payment).await?;
    if !is_missing(&payment)
        || turn.has_waited
        || !asking::may_ask(payments, &payment, payments.page_question()).await?
    {
        let is_heard = payment.last_error.is_none() && !is_missing(&payment);
        return Ok((payment, is_heard));
    }
    let opened = Box::pin(open(payments, &payment)).await;
    match opened {
        Ok(Some(payment)) => Ok((payment, true)),
        Ok(None) => Ok((asking::reread(payments, &payment).await?, true)),
        // It has ended meanwhile, or a person has to look at it.
        Err(error) if matches!(error.code, Code::Conflict | Code::InvalidState) => {
            Ok((asking::reread(payments, &payment).await?, true))
        }
        Err(error) => Ok((asking::failed(payments, &payment, &error).await?, false)),
    }
}

/// Ends the questions for pages that an earlier run of this server left, so that their customers need
/// not wait for the longest time that they may take. Call it before the first request.
///
/// # Errors
/// When the database refuses.
pub async fn release_left_behind(db: &Db, identity: &Identity) -> Result<()> {
    if !identity.is_alone() {
        return Ok(());
    }
    let mut conn = db.begin().await?;
    let questions = store::drop_questions(&mut conn, identity.id).await?;
    conn.commit().await?;
    if questions > 0 {
        tracing::info!(questions, "payments.own_questions_dropped");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::payments::gateway::GatewayError;

    #[test]
    fn an_order_that_was_used_is_told_from_one_that_is_wrong() {
        let is_used = |code, message: &str| {
            let message = message.to_owned();
            GatewayError::Refused { code, message }.is_order_used()
        };
        for used in ["sudah digunakan", "has already been taken"] {
            let message = format!("transaction_details.order_id {used}");
            assert!(is_used(400, &message), "{message}");
        }
        assert!(!is_used(400, "transaction_details.order_id is not valid"));
        assert!(!is_used(400, "the token has already been used"));
        assert!(!is_used(401, "order_id: already denied"));
        assert!(!GatewayError::Failed(500).is_order_used());
    }
}
