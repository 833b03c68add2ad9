//! Refunds that the gateway does not answer: the moments at which they are sent on, and the alert
//! about one that has waited too long.

use chrono::{DateTime, TimeDelta, Utc};

use super::{PendingRefund, store};
use crate::{
    Result,
    alerts::{self, AlertKind},
    db::{Clock, Conn},
    ids::PaymentId,
    payments::{Payment, janitor},
};

/// Interval between the first question and the second; doubled from one to the next.
const FIRST: TimeDelta = TimeDelta::seconds(30);
const LONGEST: TimeDelta = TimeDelta::hours(1);
/// Administrators are alerted of a refund without an answer after this.
const ALERT_AFTER: TimeDelta = TimeDelta::days(1);

/// Returns the moment after `now` at which a refund that began at `begun` is sent on. The moments
/// are counted from its beginning, so that all servers agree on them and no notice puts them off.
pub(super) fn next_try(begun: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let mut wait = FIRST;
    let mut at = begun + wait;
    while at <= now {
        wait = (wait * 2).min(LONGEST);
        at += wait;
    }
    // A beginning in the future was written by a clock that was ahead.
    at.min(now + LONGEST)
}

/// Returns the moment of the next question about a payment, or about its refund when that is
/// earlier.
///
/// # Errors
/// When the database does not answer.
pub(in crate::payments) async fn next_check(
    conn: &mut Conn,
    payment: &Payment,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    let usual = janitor::next_check(payment, now);
    let sent_on = next_try_of(conn, payment.id, now).await?;
    Ok(usual.into_iter().chain(sent_on).min())
}

/// Returns the moment at which the refund of a payment is sent on; `None` when there is none.
///
/// # Errors
/// When the database does not answer.
pub(in crate::payments) async fn next_try_of(
    conn: &mut Conn,
    payment_id: PaymentId,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    let pending = store::pending(conn, payment_id).await?;
    Ok(pending.map(|refund| next_try(refund.created_at, now)))
}

/// Raises the alert about a refund that has waited too long. The caller holds the wallet's lock, so
/// that no other server ends the refund meanwhile.
///
/// # Errors
/// When the database does not answer.
pub(in crate::payments) async fn note(
    conn: &mut Conn,
    clock: &Clock,
    payment: &Payment,
) -> Result<()> {
    let Some(refund) = store::pending(conn, payment.id).await? else {
        return Ok(());
    };
    if clock.now() - refund.created_at < ALERT_AFTER {
        return Ok(());
    }
    let message = format!(
        "The gateway has not answered the refund of {} of order {} for more than a day. The wallet has paid it, and it is sent on every hour under the key {}. Look it up at the gateway and ask its support; do not pay it by hand as well.",
        refund.amount,
        payment.order_id,
        refund.key(payment)
    );
    let (kind, subject) = (AlertKind::RefundNotAnswered, subject(payment.id));
    alerts::raise(conn, clock, kind, &subject, &message).await
}

/// Ends the alert about a refund that has ended.
pub(super) async fn resolve(conn: &mut Conn, clock: &Clock, refund: &PendingRefund) -> Result<()> {
    let (kind, subject) = (AlertKind::RefundNotAnswered, subject(refund.payment_id));
    alerts::resolve(conn, clock, kind, &subject).await?;
    Ok(())
}

fn subject(payment_id: PaymentId) -> String {
    format!("payment:{payment_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_half_a_minute_to_an_hour() {
        let begun = DateTime::UNIX_EPOCH;
        let mut now = begun;
        let waits = std::iter::from_fn(|| {
            let before = now;
            now = next_try(begun, before);
            Some((now - before).num_seconds())
        });
        let waits: Vec<_> = waits.take(10).collect();
        assert_eq!(
            waits,
            [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]
        );
    }

    #[test]
    fn what_happens_between_two_tries_does_not_put_the_next_off() {
        let begun = DateTime::UNIX_EPOCH;
        let at = |seconds| next_try(begun, begun + TimeDelta::seconds(seconds));
        assert_eq!(at(31), at(60));
        assert_eq!(at(60), begun + TimeDelta::seconds(90));
    }

    #[test]
    fn a_beginning_in_the_future_does_not_put_the_next_try_off() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(next_try(now + TimeDelta::days(100), now), now + LONGEST);
    }
}
