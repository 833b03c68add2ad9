//! Payment pages: kept as soon as the gateway has made them, and asked for again where none arrived.

use chrono::TimeDelta;

use super::{
    Gateway, Payment, PaymentState, Payments, asking,
    gateway::{PAGE_MINUTES, Page},
    problem, settlement,
    state::Claim,
    store,
};
use crate::{Code, Error, Result, wallet};

/// The sentence about a top-up without a page to be paid on.
pub(super) const ENDED: &str = "This top-up ended while its payment page was being created.";

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
/// `GATEWAY_UNAVAILABLE`, `GATEWAY_REFUSED`; `INVALID_STATE` when the top-up ended meanwhile.
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
        Ok(page) => keep(payments, asked, page).await.map(Some),
        Err(error) if error.is_order_used() => close(payments, payment).await,
        Err(error) => Err(error.into()),
    }
}

/// Keeps a page, unless another server has kept one meanwhile.
async fn keep(payments: &Payments, asked: Payment, page: Page) -> Result<Payment> {
    let now = payments.clock.now();
    let mut conn = payments.db.begin().await?;
    let (token, url) = (&*page.token, page.redirect_url.as_str());
    if store::keep_page(&mut conn, asked.id, token, url, asked.expires_at, now).await? {
        conn.commit().await?;
        return Ok(Payment {
            state: PaymentState::Pending,
            token: Some(page.token),
            redirect_url: Some(page.redirect_url),
            ..asked
        });
    }
    drop(conn);
    let fresh = asking::reread(payments, &asked).await?;
    if fresh.state.is_waiting() && fresh.token.is_some() {
        return Ok(fresh);
    }
    Err(Error::new(Code::InvalidState, ENDED).retry_after(1))
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
    settlement::apply(&mut conn, &payments.clock, &payment, &failed).await?;
    conn.commit().await?;
    Ok(None)
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
    let patience = payments
        .gateway()
        .map_or(TimeDelta::zero(), Gateway::patience);
    if !is_missing(&payment)
        || turn.has_waited
        || !asking::may_ask(payments, &payment, patience).await?
    {
        let is_heard = payment.last_error.is_none() && !is_missing(&payment);
        return Ok((payment, is_heard));
    }
    let opened = Box::pin(open(payments, &payment)).await;
    match opened {
        Ok(Some(payment)) => Ok((payment, true)),
        Ok(None) => Ok((asking::reread(payments, &payment).await?, true)),
        Err(error) => Ok((asking::failed(payments, &payment, &error).await?, false)),
    }
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
