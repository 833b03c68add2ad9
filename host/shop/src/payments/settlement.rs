//! Applying what the gateway says: state, money and debts in one database transaction.

use serde_json::json;

use super::{
    Payment, PaymentState, debts, problem, refunds,
    state::{Cause, Claim, Heard, Step, step},
    store,
};
use crate::{
    Error, Result,
    db::{Clock, Conn},
    money::Rupiah,
    outbox::{self, Topic},
    wallet::{
        self, LockedWallet, TakenBack, TransactionNumber, TransactionStatus, TransactionType,
    },
};

/// The outcome of applying a claim.
#[derive(Debug)]
pub(super) enum Applied {
    Done(Settled),
    /// The payment is not as it was when the gateway was asked, and the claim would change it: the
    /// answer is older than the payment, so that it must be asked again. Nothing was written.
    Changed(Payment),
}

/// Changes made by a claim.
#[derive(Debug, Clone)]
pub(super) struct Settled {
    pub(super) payment: Payment,
    /// Description in a sentence.
    pub(super) message: String,
}

/// Applies a claim to the payment that it was `heard` of, once: the wallet is locked first, then
/// the payment is read again. Of many equal claims at the same moment the first one acts; one that
/// was judged by another state than the present one changes nothing.
///
/// # Errors
/// When the database does not answer; nothing may be committed then.
pub(super) async fn apply(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Payment,
    heard: &Heard,
) -> Result<Applied> {
    let (wallet, payment) = lock(conn, seen).await?;
    let step = step(payment.state, heard.claim);
    // Old news is so by any state; a step is taken only on the one that it was judged by.
    if step != Step::Stay && payment.standing() != seen.standing() {
        return Ok(Applied::Changed(payment));
    }
    let mut act = Act {
        conn,
        clock,
        wallet,
        payment,
    };
    let message = act.take(step).await?;
    let payment = act.finish(heard).await?;
    Ok(Applied::Done(Settled { payment, message }))
}

/// True when a claim changes nothing about the payment as it is under its wallet's lock.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn is_old_news(conn: &mut Conn, payment: &Payment, claim: Claim) -> Result<bool> {
    let (_, payment) = lock(conn, payment).await?;
    Ok(step(payment.state, claim) == Step::Stay)
}

/// Locks the wallet and reads the payment again.
async fn lock(conn: &mut Conn, payment: &Payment) -> Result<(LockedWallet, Payment)> {
    let wallet = wallet::lock(conn, payment.user_id).await?;
    let fresh = store::by_id(conn, payment.id).await?;
    Ok((wallet, fresh.ok_or_else(|| Error::not_found("payment"))?))
}

struct Act<'a> {
    conn: &'a mut Conn,
    clock: &'a Clock,
    /// Locked.
    wallet: LockedWallet,
    payment: Payment,
}

impl Act<'_> {
    /// Writes down the payment as it is now; what was unclear about it is clear.
    async fn finish(self, heard: &Heard) -> Result<Payment> {
        let (conn, mut payment, now) = (self.conn, self.payment, self.clock.now());
        if heard.payment_type.is_some() {
            payment.payment_type.clone_from(&heard.payment_type);
        }
        payment.fee = heard.fee.unwrap_or(payment.fee);
        payment.updated_at = now;
        payment.last_error = None;
        let was_unclear = payment.problem.take().is_some();
        payment.next_check_at = refunds::unanswered::next_check(conn, &payment, now).await?;
        store::update(conn, &payment).await?;
        if was_unclear {
            problem::resolve(conn, self.clock, &payment).await?;
        }
        Ok(payment)
    }

    async fn take(&mut self, step: Step) -> Result<String> {
        match step {
            Step::Stay => Ok("There was nothing new in it.".to_owned()),
            Step::Move(to) => self.close(to).await,
            Step::Credit(to) => self.credit(to).await,
            Step::TakeBack { cause, total } => self.take_back(cause, total).await,
            Step::CreditAndTakeBack { cause, total } => {
                // Both are booked, although they cancel out: the books show that the money came and went.
                self.credit(PaymentState::Settled).await?;
                self.take_back(cause, total).await
            }
            Step::Void => self.take_back(Cause::Refund, self.payment.amount).await,
        }
    }

    /// A new state without money; one that ends the payment ends its transaction.
    async fn close(&mut self, to: PaymentState) -> Result<String> {
        let ended = match to {
            PaymentState::Cancelled => Some(TransactionStatus::Cancelled),
            PaymentState::Denied | PaymentState::Expired | PaymentState::Failed => {
                Some(TransactionStatus::Failed)
            }
            _ => None,
        };
        if let Some(status) = ended {
            wallet::abandon(self.conn, self.payment.transaction_id, status).await?;
        }
        self.payment.state = to;
        Ok(format!("The payment is {to}."))
    }

    async fn credit(&mut self, to: PaymentState) -> Result<String> {
        let id = self.payment.id;
        let announced = wallet::transaction(self.conn, self.payment.transaction_id).await?;
        let number = announced.number;
        let key = format!("payment:{id}:credit");
        wallet::credit(self.conn, self.clock, &mut self.wallet, announced, &key).await?;
        self.tell(number).await?;
        self.payment.state = to;
        self.payment.credited = self.payment.amount;
        let (wallet, key) = (&mut self.wallet, format!("payment:{id}"));
        debts::collect(self.conn, self.clock, wallet, self.payment.amount, &key).await?;
        Ok(format!("{} were credited.", self.payment.amount))
    }

    async fn tell(&mut self, number: TransactionNumber) -> Result<()> {
        let payment = &self.payment;
        let payload =
            json!({ "paymentId": payment.id, "amount": payment.amount, "number": number });
        let what = (Topic::TopUpReceived, payment.user_id.into());
        let key = payment.id.to_string();
        outbox::put_once(self.conn, self.clock, what, &key, payload).await?;
        Ok(())
    }

    /// Takes back what the gateway took since the last time, never more than was credited.
    async fn take_back(&mut self, cause: Cause, total: Rupiah) -> Result<String> {
        // A fee that the payer paid on top may come back with it, and never reached the wallet.
        let total = total.min(self.payment.credited);
        let amount = total.minus(self.payment.reversed)?;
        if !amount.is_positive() {
            return Ok("All of it had been taken back before.".to_owned());
        }
        let is_last = total == self.payment.credited;
        let top_up = wallet::transaction(self.conn, self.payment.transaction_id).await?;
        let taken = TakenBack {
            top_up: &top_up,
            amount,
            is_last,
            kind: match cause {
                Cause::Refund => TransactionType::TopUpRefund,
                Cause::Chargeback => TransactionType::Chargeback,
            },
        };
        // Named by the sum so far, so that news that comes twice is one reversal.
        let key = format!("payment:{}:reversal:{}", self.payment.id, total.get());
        let reversal =
            wallet::take_back(self.conn, self.clock, &mut self.wallet, &taken, &key).await?;
        if reversal.owed.is_positive() {
            debts::owe(self.conn, self.clock, &self.payment, &reversal).await?;
        }
        self.payment.reversed = total;
        self.payment.state = if is_last {
            PaymentState::Reversed
        } else {
            PaymentState::PartlyReversed
        };
        let owed = reversal.owed;
        Ok(format!("{amount} were taken back; {owed} of it are owed."))
    }
}
