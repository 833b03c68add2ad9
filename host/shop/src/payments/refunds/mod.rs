//! Refunds by administrators: the wallet pays first, then the gateway is asked until it has answered.
//!
//! A refund has one key at the gateway for its whole life, so an answer that was lost is asked for again
//! and nothing is paid twice. A refund that the gateway refuses goes back into the wallet.

mod store;
pub(super) mod unanswered;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Payment, PaymentState, Payments, RefundState,
    gateway::{GatewayError, Known},
    janitor,
    state::Claim,
    store as payments_store,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::{Conn, Uncommitted, new_id},
    ids::{PaymentId, RefundId, UserId},
    money::Rupiah,
    wallet::{self, LockedWallet, TakenBack, TransactionType},
};

/// The sentence about a refund of which it is not known if the gateway has paid it.
const NOT_ANSWERED: &str =
    "The payment gateway does not answer. The refund is kept and sent on as soon as it does.";

/// Refund that an administrator asks for.
#[derive(Debug, Clone)]
pub struct Refund {
    pub amount: Rupiah,
    pub reason: String,
    /// Names the request by its `Idempotency-Key`, so that a repetition is the same refund.
    pub intent: Option<String>,
}

/// Refund that the wallet has paid.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct PendingRefund {
    id: RefundId,
    payment_id: PaymentId,
    amount: Rupiah,
    reason: String,
    state_before: PaymentState,
    intent: Option<String>,
    state: RefundState,
    created_at: DateTime<Utc>,
}

impl PendingRefund {
    /// Returns the name of the refund at the gateway.
    fn key(&self, payment: &Payment) -> String {
        format!("{}-{}", payment.order_id, self.id)
    }
}

/// Pays a top-up back to its payer: never more than was paid and is still in the wallet as cash.
///
/// # Errors
/// `INVALID_STATE` when it is not paid, `REFUND_TOO_LARGE`, `INSUFFICIENT_CREDIT` when the customer
/// has spent it, `CONFLICT` while another refund of it is under way, and the gateway's refusal. After
/// `GATEWAY_UNAVAILABLE` the refund is sent on by the clock.
pub async fn refund(
    payments: &Payments,
    actor_id: UserId,
    id: PaymentId,
    refund: &Refund,
) -> Result<Uncommitted<Payment>> {
    payments.gateway()?;
    let _turn = payments.turns.take(id).await;
    let begun = begin(payments, actor_id, id, refund).await?;
    settle(payments, &begun).await
}

/// Sends on a refund of a payment that the gateway has not answered; false when there is none.
///
/// # Errors
/// When the gateway or the database does not answer.
pub(super) async fn resume(payments: &Payments, payment_id: PaymentId) -> Result<bool> {
    let found = store::pending(&mut payments.db.read().await?, payment_id).await?;
    let Some(pending) = found else {
        return Ok(false);
    };
    match settle(payments, &pending).await {
        Ok(settled) => {
            settled.commit().await?;
        }
        Err(error) if error.code == Code::GatewayRefused => {
            tracing::error!(payment.id = %payment_id, %error, "payment.refund_refused");
        }
        Err(error) => return Err(error),
    }
    Ok(true)
}

/// Takes the money from the wallet and writes the refund down; a repeated request finds it.
async fn begin(
    payments: &Payments,
    actor_id: UserId,
    id: PaymentId,
    refund: &Refund,
) -> Result<PendingRefund> {
    let (clock, now) = (&payments.clock, payments.clock.now());
    let mut conn = payments.db.begin().await?;
    let (mut wallet, mut payment) = lock(&mut conn, id).await?;
    if let Some(known) = begun_before(&mut conn, id, refund).await? {
        return Ok(known);
    }
    check(&payment, wallet.paid_balance, refund)?;
    let begun = PendingRefund {
        id: new_id(clock),
        payment_id: id,
        amount: refund.amount,
        reason: refund.reason.clone(),
        state_before: payment.state,
        intent: refund.intent.clone(),
        state: RefundState::Pending,
        created_at: now,
    };
    let top_up = wallet::transaction(&mut conn, payment.transaction_id).await?;
    let taken = TakenBack {
        top_up: &top_up,
        amount: refund.amount,
        // The top-up counts as refunded when the gateway has paid.
        is_last: false,
        kind: TransactionType::TopUpRefund,
    };
    let key = format!("payment:{id}:refund:{}", begun.id);
    wallet::take_back(&mut conn, clock, &mut wallet, &taken, &key).await?;
    payment.reversed = payment.reversed.plus(refund.amount)?;
    payment.state = if payment.reversed == payment.credited {
        PaymentState::Reversed
    } else {
        PaymentState::PartlyReversed
    };
    payment.updated_at = now;
    // Should this server die, the clock sends the refund on.
    payment.next_check_at = Some(unanswered::next_try(begun.created_at, now));
    payments_store::update(&mut conn, &payment).await?;
    store::insert(&mut conn, &begun, actor_id).await?;
    let details = json!({ "amount": refund.amount });
    let event = Event::new(AuditAct::PaymentRefunded, Subject::Payment(id), details);
    let event = event.because(&refund.reason);
    audit::record(&mut conn, clock, actor_id, event).await?;
    conn.commit().await?;
    Ok(begun)
}

/// Returns the refund that a repeated request has begun before.
///
/// # Errors
/// `CONFLICT` while another one of the payment is under way.
async fn begun_before(
    conn: &mut Conn,
    id: PaymentId,
    refund: &Refund,
) -> Result<Option<PendingRefund>> {
    if let Some(intent) = &refund.intent
        && let Some(known) = store::of_intent(conn, intent).await?
    {
        return Ok(Some(known));
    }
    let Some(pending) = store::pending(conn, id).await? else {
        return Ok(None);
    };
    if pending.intent.is_none() && refund.intent.is_none() && pending.amount == refund.amount {
        return Ok(Some(pending));
    }
    let message = format!(
        "A refund of {} of this payment is under way. Look at the payment before you ask for another.",
        pending.amount
    );
    Err(Error::new(Code::Conflict, message).retry_after(10))
}

/// Locks the wallet of a payment and reads the payment.
///
/// # Errors
/// `NOT_FOUND`, and when the database does not answer.
pub(super) async fn lock(conn: &mut Conn, id: PaymentId) -> Result<(LockedWallet, Payment)> {
    let missing = || Error::not_found("payment");
    let found = payments_store::by_id(conn, id).await?.ok_or_else(missing)?;
    let wallet = wallet::lock(conn, found.user_id).await?;
    let payment = payments_store::by_id(conn, id).await?.ok_or_else(missing)?;
    Ok((wallet, payment))
}

fn check(payment: &Payment, held: Rupiah, refund: &Refund) -> Result<()> {
    let left = payment.credited.minus(payment.reversed)?;
    if payment.credited.is_zero() {
        let message = format!(
            "Only a paid top-up can be refunded; this one is {}.",
            payment.state
        );
        return Err(Error::new(Code::InvalidState, message));
    }
    if refund.amount > left {
        let message = match left {
            Rupiah::ZERO => "Nothing of this payment is left to refund.".to_owned(),
            _ => format!("{left} of this payment can still be refunded."),
        };
        return Err(
            Error::new(Code::RefundTooLarge, message).with("refundable", left.get().to_string())
        );
    }
    // Before it settles the gateway can only void a card payment, which is all of it.
    if payment.state == PaymentState::Captured && refund.amount != left {
        let message = "This card payment has not settled yet: it can be refunded in full only.";
        return Err(Error::new(Code::InvalidState, message));
    }
    if refund.amount > held {
        let message = match held {
            Rupiah::ZERO => "The customer has spent it: no paid credit is left.".to_owned(),
            _ => format!("The customer has spent it: {held} of paid credit is left."),
        };
        return Err(Error::new(Code::InsufficientCredit, message));
    }
    Ok(())
}

/// Asks the gateway and writes its answer down, in a transaction that is still open.
async fn settle(payments: &Payments, refund: &PendingRefund) -> Result<Uncommitted<Payment>> {
    match refund.state {
        RefundState::Pending => {}
        RefundState::Done => {
            let mut conn = payments.db.begin().await?;
            let (_, payment) = lock(&mut conn, refund.payment_id).await?;
            return Ok(Uncommitted::new(conn, payment));
        }
        RefundState::Refused => return Err(refused()),
    }
    let found = payments_store::by_id(&mut payments.db.read().await?, refund.payment_id).await?;
    let payment = found.ok_or_else(|| Error::not_found("payment"))?;
    match pay_back(payments, &payment, refund).await {
        Ok(()) => done(payments, refund).await,
        Err(GatewayError::Refused { code, message }) => {
            // It may have been paid by an earlier question whose answer was lost.
            if is_paid(payments, &payment).await? {
                return done(payments, refund).await;
            }
            give_back(payments, refund).await?;
            Err(refused().with("gateway", format!("{code}: {message}")))
        }
        Err(error) => {
            let error = Error::from(error);
            Err(Error {
                message: NOT_ANSWERED.to_owned(),
                ..error
            })
        }
    }
}

fn refused() -> Error {
    let message =
        "The payment gateway refused this refund. The customer's wallet has the money again.";
    Error::new(Code::GatewayRefused, message)
}

/// A capture is voided, a settlement refunded.
async fn pay_back(
    payments: &Payments,
    payment: &Payment,
    refund: &PendingRefund,
) -> Result<(), GatewayError> {
    let gateway = payments
        .gateway()
        .map_err(|error| GatewayError::Garbage(error.message))?;
    if refund.state_before == PaymentState::Captured && gateway.void(&payment.order_id).await? {
        return Ok(());
    }
    let key = refund.key(payment);
    gateway
        .refund(&payment.order_id, &key, refund.amount, &refund.reason)
        .await
}

/// Returns true when the gateway says that all was paid back which the wallet has paid.
///
/// # Errors
/// `GATEWAY_UNAVAILABLE` also when its answer cannot be used: the refund is asked about again, since its
/// payer may have the money.
async fn is_paid(payments: &Payments, payment: &Payment) -> Result<bool> {
    let known = payments.gateway()?.status(&payment.order_id).await?;
    let heard = match known {
        Known::Nothing => return Ok(false),
        Known::Told(status) => status.judge(payment),
        Known::Unusable(problem) => Err(problem),
    };
    let heard = heard.map_err(|problem| {
        Error::new(Code::GatewayUnavailable, NOT_ANSWERED)
            .retry_after(30)
            .caused_by(problem)
    })?;
    Ok(match heard.claim {
        Claim::Reversed { total, .. } => total >= payment.reversed,
        Claim::Cancelled | Claim::Denied => true,
        _ => false,
    })
}

async fn done(payments: &Payments, refund: &PendingRefund) -> Result<Uncommitted<Payment>> {
    let mut conn = payments.db.begin().await?;
    let (_, mut payment) = lock(&mut conn, refund.payment_id).await?;
    let now = payments.clock.now();
    if store::finish(&mut conn, refund.id, RefundState::Done, now).await? {
        if payment.reversed == payment.credited {
            wallet::refunded(&mut conn, payment.transaction_id).await?;
        }
        payment.next_check_at = janitor::next_check(&payment, now);
        payment.last_error = None;
        payments_store::update(&mut conn, &payment).await?;
        unanswered::resolve(&mut conn, &payments.clock, refund).await?;
    }
    Ok(Uncommitted::new(conn, payment))
}

/// Puts the money back into the wallet.
async fn give_back(payments: &Payments, refund: &PendingRefund) -> Result<()> {
    let (clock, now) = (&payments.clock, payments.clock.now());
    let mut conn = payments.db.begin().await?;
    let (mut wallet, mut payment) = lock(&mut conn, refund.payment_id).await?;
    if !store::finish(&mut conn, refund.id, RefundState::Refused, now).await? {
        return Ok(());
    }
    let top_up = wallet::transaction(&mut conn, payment.transaction_id).await?;
    let key = format!("payment:{}:refund:{}:refused", payment.id, refund.id);
    let (user_wallet, amount) = (&mut wallet, refund.amount);
    wallet::not_taken_back(&mut conn, clock, user_wallet, &top_up, amount, &key).await?;
    payment.reversed = payment.reversed.minus(refund.amount)?;
    payment.state = if payment.reversed.is_zero() {
        refund.state_before
    } else {
        PaymentState::PartlyReversed
    };
    payment.updated_at = now;
    payment.next_check_at = janitor::next_check(&payment, now);
    payments_store::update(&mut conn, &payment).await?;
    unanswered::resolve(&mut conn, clock, refund).await?;
    Ok(conn.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::model::tests::payment;

    fn paid(state: PaymentState, credited: i64, reversed: i64) -> Payment {
        Payment {
            credited: Rupiah::new(credited),
            reversed: Rupiah::new(reversed),
            ..payment(state, credited)
        }
    }

    fn refused(payment: &Payment, held: i64, amount: i64) -> Option<(Code, String)> {
        let refund = Refund {
            amount: Rupiah::new(amount),
            reason: "The customer asked for it.".to_owned(),
            intent: None,
        };
        let checked = check(payment, Rupiah::new(held), &refund);
        checked.err().map(|error| (error.code, error.message))
    }

    #[test]
    fn money_that_never_came_does_not_go_back() {
        for &state in PaymentState::ALL {
            let (code, message) = refused(&payment(state, 10_000), 10_000, 1).unwrap();
            assert_eq!(code, Code::InvalidState);
            assert!(message.contains(state.as_str()), "{message}");
        }
    }

    #[test]
    fn a_refund_takes_up_to_the_last_rupiah() {
        let settled = paid(PaymentState::PartlyReversed, 10_000, 4_000);
        assert_eq!(refused(&settled, 6_000, 6_000), None);
        let (code, message) = refused(&settled, 10_000, 6_001).unwrap();
        assert_eq!(code, Code::RefundTooLarge);
        assert_eq!(message, "Rp6.000 of this payment can still be refunded.");
        let whole = paid(PaymentState::Reversed, 10_000, 10_000);
        let (_, message) = refused(&whole, 10_000, 1).unwrap();
        assert_eq!(message, "Nothing of this payment is left to refund.");
    }

    /// Until it settles, a card payment can only be cancelled, which is all of it.
    #[test]
    fn a_capture_goes_back_in_full_only() {
        let captured = paid(PaymentState::Captured, 10_000, 0);
        assert_eq!(refused(&captured, 10_000, 10_000), None);
        let (code, _) = refused(&captured, 10_000, 9_999).unwrap();
        assert_eq!(code, Code::InvalidState);
    }

    #[test]
    fn credit_that_was_spent_does_not_go_back() {
        let settled = paid(PaymentState::Settled, 10_000, 0);
        for (held, told) in [
            (
                9_999,
                "The customer has spent it: Rp9.999 of paid credit is left.",
            ),
            (0, "The customer has spent it: no paid credit is left."),
        ] {
            let (code, message) = refused(&settled, held, 10_000).unwrap();
            assert_eq!((code, message.as_str()), (Code::InsufficientCredit, told));
        }
    }
}
