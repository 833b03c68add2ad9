//! Asking about payments by the clock: a notice that was lost is found, a page that was left is
//! closed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::{
    Payment, PaymentState, Payments,
    asking::{self, News},
    gateway::wanted_pause,
    refunds::{self, unanswered},
    settlement,
    state::Claim,
    store,
};
use crate::{
    Error, Result,
    alerts::{self, AlertKind},
    db::{Lease, Term},
    ids::PaymentId,
    workers::{Next, Worker},
};

/// Interval between two looks at the due payments in the database.
const POLL: Duration = Duration::from_secs(1);
/// Payments taken at once.
const BATCH: i64 = 8;
/// Time a server keeps a payment to itself: all attempts of three questions.
const LEASE: TimeDelta = TimeDelta::seconds(120);
/// Interval between the first question and the second; doubled from one to the next.
const FIRST: TimeDelta = TimeDelta::seconds(30);
const LONGEST: TimeDelta = TimeDelta::minutes(30);
/// A page may be paid in its last second, and the news take a moment.
const EXPIRY_GRACE: TimeDelta = TimeDelta::minutes(2);
/// A payment without a page that the gateway does not know is given up after this.
const UNMADE: TimeDelta = TimeDelta::minutes(5);
/// An order that was given up is watched this long after its page has closed.
const AFTERMATH: TimeDelta = TimeDelta::hours(2);
/// Captures settle the next day.
const SETTLING: TimeDelta = TimeDelta::hours(24);
/// A capture that never settles is not asked about for ever.
const SETTLING_ENDS: TimeDelta = TimeDelta::days(14);

/// Moment of the next question about a payment, and the error of the last one.
#[derive(Debug, Clone)]
pub(super) struct NextCheck {
    pub(super) at: Option<DateTime<Utc>>,
    pub(super) error: Option<String>,
}

/// Returns the moment of the next question about a payment at `now`: waiting ones after 30 s, 1
/// min, 2 min, ... up to 30 min and right after their page has closed; captured ones daily; ended
/// ones until they cannot be paid any more; ones that a person must settle daily, once their time
/// is over.
pub(super) fn next_check(payment: &Payment, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // Sixteen doublings are beyond the longest wait; many more could not be computed.
    let doublings = u32::try_from(payment.checks.clamp(0, 16)).unwrap_or(16);
    let wait = FIRST
        .checked_mul(2_i32.saturating_pow(doublings))
        .map_or(LONGEST, |wait| wait.min(LONGEST));
    let over = payment.expires_at + EXPIRY_GRACE;
    // A person decides about it, whatever its state: an end must not take it out of the questions.
    if payment.problem.is_some() && now >= payment.expires_at + AFTERMATH {
        return Some(now + SETTLING);
    }
    match payment.state {
        PaymentState::Starting | PaymentState::Pending => Some(if now < over {
            // However long the wait has become, a page that has closed is asked about at once.
            (now + wait).min(over)
        } else {
            now + LONGEST
        }),
        PaymentState::Captured => {
            Some(now + SETTLING).filter(|at| *at < payment.created_at + SETTLING_ENDS)
        }
        PaymentState::Denied
        | PaymentState::Cancelled
        | PaymentState::Expired
        | PaymentState::Failed => {
            let last = payment.expires_at + AFTERMATH;
            Some((now + LONGEST).min(last)).filter(|at| now < last && *at > now)
        }
        PaymentState::Settled | PaymentState::PartlyReversed | PaymentState::Reversed => None,
    }
}

/// Asks about due payments until the server stops, and alerts administrators while the gateway is
/// away.
pub async fn watch(payments: Arc<Payments>, cancel: CancellationToken) {
    // An alert of an earlier process ended with it; this one finds out by itself.
    let is_told = AtomicBool::new(true);
    let step = || async {
        // No question waits for an alert.
        if let Err(error) = tell(&payments, &is_told).await {
            tracing::warn!(%error, "payment.alert_failed");
        }
        Ok(match check_until(&payments, &cancel).await? {
            0 => Next::AfterRest,
            _ => Next::AtOnce,
        })
    };
    let worker = Worker::new("payments", POLL).ending_steps();
    worker.run(cancel.clone(), step).await;
}

async fn tell(payments: &Payments, is_told: &AtomicBool) -> Result<()> {
    let Ok(gateway) = payments.gateway() else {
        return Ok(());
    };
    let is_away = gateway.is_away();
    if is_away == is_told.load(Ordering::Relaxed) {
        return Ok(());
    }
    let (kind, subject) = (AlertKind::GatewayAway, "midtrans");
    let mut conn = payments.db.begin().await?;
    if is_away {
        let message = "The payment gateway failed several times in a row. Top-ups are refused until it answers; check its status page and this server's network.";
        alerts::raise(&mut conn, &payments.clock, kind, subject, message).await?;
    } else {
        alerts::resolve(&mut conn, &payments.clock, kind, subject).await?;
    }
    conn.commit().await?;
    is_told.store(is_away, Ordering::Relaxed);
    Ok(())
}

/// Asks about the payments that are due now, a batch at the most; how many.
///
/// # Errors
/// When the database does not answer. A gateway that does not answer is noted with the payment.
pub async fn check_due(payments: &Payments) -> Result<usize> {
    check_until(payments, &CancellationToken::new()).await
}

/// Asks about what is due. Questions without an answer are given up when the server stops, for
/// another one to ask.
async fn check_until(payments: &Payments, stop: &CancellationToken) -> Result<usize> {
    let now = payments.clock.now();
    if payments.gateway().is_err()
        || payments.is_resting(now)
        || payments.clock.jump().is_some()
        || !store::CHECKS
            .is_any_due(&mut payments.db.read().await?, now)
            .await?
    {
        return Ok(0);
    }
    let until = now + LEASE;
    let mut conn = payments.db.begin().await?;
    let due = store::CHECKS
        .claim_due(&mut conn, &payments.clock, Term { now, until }, BATCH)
        .await?;
    conn.commit().await?;
    let checks = due.iter().map(|lease| check(payments, lease));
    let checks = futures::future::join_all(checks);
    let Some(checked) = stop.run_until_cancelled(checks).await else {
        give_back(payments, &due).await?;
        return Ok(due.len());
    };
    for checked in checked {
        checked?;
    }
    Ok(due.len())
}

/// Ends the leases of a batch; those of payments that were asked about have ended already.
async fn give_back(payments: &Payments, leases: &[Lease]) -> Result<()> {
    let now = payments.clock.now();
    let mut conn = payments.db.begin().await?;
    for lease in leases {
        store::CHECKS.give_back(&mut conn, lease, now).await?;
    }
    Ok(conn.commit().await?)
}

async fn check(payments: &Payments, lease: &Lease) -> Result<()> {
    let id = PaymentId::from(lease.id);
    let found = store::by_id(&mut payments.db.read().await?, id).await?;
    let payment = found.ok_or_else(|| Error::not_found("payment"))?;
    let turn = payments.turns.take(id).await;
    let payment = asking::reread(payments, &payment).await?;
    let failed = look(payments, payment).await.err();
    drop(turn);
    let mut rested = None;
    if let Some(error) = &failed {
        tracing::warn!(payment.id = %id, %error, "payment.check_failed");
        rested = wanted_pause(error).map(|pause| payments.clock.now() + pause);
    }
    if let Some(until) = rested {
        payments.rest_until(until);
    }
    let mut conn = payments.db.begin().await?;
    // A refund that begins or ends on another server meanwhile sets the next question itself.
    let (_, mut payment) = refunds::lock(&mut conn, id).await?;
    payment.checks += 1;
    unanswered::note(&mut conn, &payments.clock, &payment).await?;
    let at = unanswered::next_check(&mut conn, &payment, payments.clock.now()).await?;
    let next = NextCheck {
        at: at.map(|at| rested.map_or(at, |rested| at.max(rested))),
        error: failed.as_ref().map(asking::reason),
    };
    store::checked(&mut conn, lease, &next).await?;
    Ok(conn.commit().await?)
}

/// Learns about a payment, and ends it when its time is over.
async fn look(payments: &Payments, payment: Payment) -> Result<()> {
    let payment = if refunds::resume(payments, payment.id).await? {
        asking::reread(payments, &payment).await?
    } else {
        payment
    };
    let now = payments.clock.now();
    let is_over = now >= payment.expires_at + EXPIRY_GRACE && payment.state.is_waiting();
    let is_unmade = payment.state == PaymentState::Starting && now >= payment.created_at + UNMADE;
    let mut learned = asking::learn(payments, payment).await?.commit().await?;
    if is_over && matches!(learned.news, News::Applied(Claim::Waiting, _)) {
        let gateway = payments.gateway()?;
        gateway.expire(&learned.payment.order_id).await?;
        learned = asking::learn(payments, learned.payment)
            .await?
            .commit()
            .await?;
    }
    let claim = match learned.news {
        News::Nothing if is_over => Claim::Expired,
        News::Nothing if is_unmade => Claim::Failed,
        _ => return Ok(()),
    };
    let mut conn = payments.db.begin().await?;
    // One that has changed in the meantime is looked at the next time.
    settlement::apply(&mut conn, &payments.clock, &learned.payment, &claim.into()).await?;
    Ok(conn.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::model::tests::payment;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn waiting(checks: i64) -> Payment {
        Payment {
            checks,
            ..payment(PaymentState::Pending, 10_000)
        }
    }

    #[test]
    fn a_payment_that_waits_is_asked_about_less_and_less() {
        for (checks, seconds) in [
            (-1, 30),
            (0, 30),
            (1, 60),
            (5, 960),
            (6, 1_800),
            (16, 1_800),
            (i64::MAX, 1_800),
        ] {
            let next = next_check(&waiting(checks), at(0)).unwrap();
            assert_eq!(next - at(0), TimeDelta::seconds(seconds), "{checks}");
        }
    }

    /// A page may be paid in its last second, so that the question after it is not put off.
    #[test]
    fn a_page_is_asked_about_right_after_it_has_closed() {
        for (now, next) in [(40, 62), (61, 62), (62, 92), (500, 530)] {
            assert_eq!(next_check(&waiting(10), at(now)), Some(at(next)), "{now}");
        }
    }

    #[test]
    fn a_capture_is_asked_about_daily_for_two_weeks() {
        let captured = payment(PaymentState::Captured, 10_000);
        let day = 24 * 60;
        for (now, next) in [
            (0, Some(day)),
            (13 * day - 1, Some(14 * day - 1)),
            (13 * day, None),
            (20 * day, None),
        ] {
            assert_eq!(next_check(&captured, at(now)), next.map(at), "{now}");
        }
    }

    #[test]
    fn an_order_that_was_given_up_is_watched_for_two_hours_after_its_page() {
        for state in [
            PaymentState::Denied,
            PaymentState::Cancelled,
            PaymentState::Expired,
            PaymentState::Failed,
        ] {
            let ended = payment(state, 10_000);
            for (now, next) in [(10, Some(40)), (170, Some(180)), (180, None), (181, None)] {
                assert_eq!(next_check(&ended, at(now)), next.map(at), "{state} {now}");
            }
        }
    }

    #[test]
    fn nothing_is_asked_about_money_that_has_settled() {
        for state in [
            PaymentState::Settled,
            PaymentState::PartlyReversed,
            PaymentState::Reversed,
        ] {
            assert_eq!(next_check(&payment(state, 10_000), at(0)), None, "{state}");
        }
    }

    /// A person settles it, at any time: the gateway is asked daily, whatever the state.
    #[test]
    fn an_unclear_payment_is_asked_about_until_it_is_reviewed() {
        for &state in PaymentState::ALL {
            let unclear = Payment {
                problem: Some("Its currency is USD, not IDR.".to_owned()),
                ..payment(state, 10_000)
            };
            let next = next_check(&unclear, at(180));
            assert_eq!(next, Some(at(180 + 24 * 60)), "{state}");
        }
    }
}
