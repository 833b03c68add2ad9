//! Asking the gateway about a payment and applying the answer, by one path for notices, customers,
//! administrators and the clock.

use chrono::TimeDelta;

use super::{
    Payment, Payments,
    gateway::{Known, wanted_pause},
    problem,
    settlement::{self, Applied},
    state::{Claim, Heard, Step, step},
    store,
};
use crate::{Code, Error, Result, db::Uncommitted};

/// Questions about one payment that changes while they are answered.
const ROUNDS: usize = 3;
/// The time between two questions about one payment for its customer.
const SPACING: TimeDelta = TimeDelta::seconds(5);

/// A payment after the gateway was heard.
#[derive(Debug)]
pub(super) struct Learned {
    pub(super) payment: Payment,
    pub(super) news: News,
}

#[derive(Debug)]
pub(super) enum News {
    /// The payer has not chosen how to pay.
    Nothing,
    /// Reason why the answer cannot be used. It is written down, and administrators are alerted.
    Unusable(String),
    /// The claim, and a sentence about what it changed.
    Applied(Claim, String),
}

/// Asks about a payment and applies the answer, in a transaction that is still open. An answer is
/// applied to the payments in which the question was asked; a payment that has changed since is
/// asked about again.
///
/// # Errors
/// When the gateway or the database does not answer, and when the payment changes all the time.
pub(super) async fn learn(payments: &Payments, payment: Payment) -> Result<Uncommitted<Learned>> {
    let gateway = payments.gateway()?;
    let mut seen = payment;
    for _ in 0..ROUNDS {
        let known = gateway.status(&seen.order_id).await?;
        let mut conn = payments.db.begin().await?;
        let (clock, conn_now) = (&payments.clock, &mut conn);
        let news = match read(known, &seen) {
            Ok(None) => {
                forget_problem(payments, conn_now, &mut seen).await?;
                Some(News::Nothing)
            }
            Ok(Some(heard)) => match settlement::apply(conn_now, clock, &seen, &heard).await? {
                Applied::Done(settled) => {
                    seen = settled.payment;
                    Some(News::Applied(heard.claim, settled.message))
                }
                Applied::Changed(fresh) => {
                    seen = fresh;
                    None
                }
            },
            Err(problem) if problem::note(conn_now, clock, &seen, &problem).await? => {
                seen.problem = Some(problem.clone());
                Some(News::Unusable(problem))
            }
            Err(_) => {
                seen = reread(payments, &seen).await?;
                None
            }
        };
        if let Some(news) = news {
            let payment = seen;
            return Ok(Uncommitted::new(conn, Learned { payment, news }));
        }
    }
    ask_soon(payments, &seen).await?;
    Err(is_changing())
}

/// Returns the refusal of what was done to a payment that changes all the time.
pub(super) fn is_changing() -> Error {
    let message = "This payment is changing right now. Try again in a moment.";
    Error::new(Code::GatewayUnavailable, message).retry_after(1)
}

/// The answer in terms of the shop: nothing, a claim, or the reason why it cannot be used.
fn read(known: Known, payment: &Payment) -> Result<Option<Heard>, String> {
    match known {
        Known::Nothing => Ok(None),
        Known::Told(status) => status.judge(payment).map(Some),
        Known::Unusable(problem) => Err(problem),
    }
}

/// An earlier answer could not be used, and this one can.
async fn forget_problem(
    payments: &Payments,
    conn: &mut crate::db::Conn,
    payment: &mut Payment,
) -> Result<()> {
    if payment.problem.is_none() && payment.last_error.is_none() {
        return Ok(());
    }
    store::clear(conn, payment.id).await?;
    // Also one that another server noted meanwhile.
    problem::resolve(conn, &payments.clock, payment).await?;
    payment.problem = None;
    payment.last_error = None;
    Ok(())
}

/// The payment as it is now.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn reread(payments: &Payments, payment: &Payment) -> Result<Payment> {
    let found = store::by_id(&mut payments.db.read().await?, payment.id).await?;
    found.ok_or_else(|| Error::not_found("payment"))
}

/// Asks about a waiting payment, for its customer; at most once in some seconds, however often and
/// on however many servers it is wanted. Returns the payment as it is then, and true when the
/// gateway has been heard about it lately.
///
/// # Errors
/// When the database does not answer.
pub async fn refresh(payments: &Payments, payment: Payment) -> Result<(Payment, bool)> {
    if !payment.state.is_waiting() {
        return Ok((payment, true));
    }
    let turn = payments.turns.take(payment.id).await;
    let payment = reread(payments, &payment).await?;
    let short = store::Question {
        by: None,
        until: payments.clock.now() + SPACING,
    };
    if !payment.state.is_waiting() || turn.has_waited || !may_ask(payments, &payment, short).await?
    {
        let is_heard = payment.last_error.is_none();
        return Ok((payment, is_heard));
    }
    match learn(payments, payment.clone()).await {
        Ok(learned) => Ok((learned.commit().await?.payment, true)),
        Err(error) => Ok((failed(payments, &payment, &error).await?, false)),
    }
}

/// Notes a question for a customer that failed, and puts off the next one. Returns the payment as it is then.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn failed(
    payments: &Payments,
    payment: &Payment,
    error: &Error,
) -> Result<Payment> {
    tracing::warn!(payment.id = %payment.id, %error, "payment.not_refreshed");
    let until = payments.clock.now() + wanted_pause(error).unwrap_or(SPACING);
    let mut conn = payments.db.begin().await?;
    store::question_failed(&mut conn, payment.id, until, &reason(error)).await?;
    conn.commit().await?;
    reread(payments, payment).await
}

/// Takes the one question that may be asked about this payment, out of its customer's share.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn may_ask(
    payments: &Payments,
    payment: &Payment,
    question: store::Question,
) -> Result<bool> {
    let now = payments.clock.now();
    let mut conn = payments.db.begin().await?;
    let is_free = store::take_question(&mut conn, payment.id, now, question).await?;
    conn.commit().await?;
    Ok(is_free && payments.budget.spend(payment.user_id, now).is_ok())
}

/// The cause of a failed question, for administrators.
pub(super) fn reason(error: &Error) -> String {
    let cause = error.source.as_ref();
    cause.map_or_else(|| error.message.clone(), ToString::to_string)
}

/// Makes the clock's next question about a payment due in a moment.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn ask_soon(payments: &Payments, payment: &Payment) -> Result<()> {
    let mut conn = payments.db.begin().await?;
    let at = payments.clock.now() + TimeDelta::seconds(10);
    store::ask_by(&mut conn, payment.id, at).await?;
    Ok(conn.commit().await?)
}

/// True when a claim would change nothing about a payment as it was read.
pub(super) fn is_stale(payment: &Payment, claim: Claim) -> bool {
    step(payment.state, claim) == Step::Stay
}
