//! Money back for a period: to the wallet, never more than the cash that was paid for it.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{Subscription, SubscriptionRow, Subscriptions, store, upgrade};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::{Conn, Uncommitted, new_id},
    ids::{SubscriptionId, UserId},
    money::Rupiah,
    payments::debts,
    wallet::{self, LockedWallet, NewTransaction, Transaction, TransactionType},
};

/// Refund by an administrator, with its reason.
#[derive(Debug, Clone)]
pub struct Refund {
    pub amount: Rupiah,
    pub reason: String,
    /// Number of the period; the current one when absent.
    pub period: Option<i64>,
}

/// Refunds cash to the wallet of a subscription's customer, whatever its status.
///
/// # Errors
/// `NOT_FOUND` for an unknown subscription or period, `REFUND_TOO_LARGE` when less cash is left of
/// what was paid, `INVALID_STATE` while a change of plan is under way, or when the current period
/// is meant and it is over.
pub async fn refund(
    shop: &Subscriptions,
    actor_id: UserId,
    id: SubscriptionId,
    refund: &Refund,
) -> Result<Uncommitted<Transaction>> {
    let clock = &shop.clock;
    let mut conn = shop.db.begin().await?;
    let found = super::row(&mut conn, id).await?;
    let user_id = found.subscription.user_id;
    let mut wallet = wallet::lock(&mut conn, user_id).await?;
    if upgrade::pending(&mut conn, id).await?.is_some() {
        let message = "A change of plan is under way. Wait until it is done.";
        return Err(Error::new(Code::InvalidState, message));
    }
    let seen = super::row(&mut conn, id).await?;
    let number = period(&seen.subscription, refund, clock.now())?;
    let paid = store::period(&mut conn, id, number).await?;
    let paid = paid.ok_or_else(|| Error::not_found("period"))?;
    let left = paid.paid_cash.minus(paid.refunded_cash)?;
    if refund.amount > left {
        return Err(too_large(left));
    }
    let what = (number, refund.amount, refund.reason.as_str());
    let made = book(shop, &mut conn, &mut wallet, &seen, what).await?;
    let details = json!({ "amount": refund.amount, "period": number });
    let event = Event::new(
        AuditAct::SubscriptionRefunded,
        Subject::Subscription(id),
        details,
    );
    audit::record(&mut conn, clock, actor_id, event.because(&refund.reason)).await?;
    Ok(Uncommitted::new(conn, made))
}

fn too_large(left: Rupiah) -> Error {
    let message = match left {
        Rupiah::ZERO => "No cash paid for this period is left to refund.".to_owned(),
        _ => format!("{left} of the cash paid for this period can still be refunded."),
    };
    let error = Error::new(Code::RefundTooLarge, message);
    error.with("refundable", left.get().to_string())
}

/// Books a refund of a period's cash to the locked wallet: its number, the amount and the reason.
///
/// # Errors
/// `REFUND_TOO_LARGE` when less cash is left of what was paid.
pub(super) async fn book(
    shop: &Subscriptions,
    conn: &mut Conn,
    wallet: &mut LockedWallet,
    row: &SubscriptionRow,
    (number, amount, reason): (i64, Rupiah, &str),
) -> Result<Transaction> {
    let (clock, id) = (&shop.clock, row.subscription.id);
    if !store::refund_period(conn, id, number, amount).await? {
        return Err(too_large(Rupiah::ZERO));
    }
    let new = NewTransaction {
        user_id: wallet.user_id,
        kind: TransactionType::Refund,
        description: format!(
            "Refund for {} {}, period {number}",
            row.service_name, row.plan_name
        ),
        details: json!({ "reason": reason, "period": number }),
        subscription_id: Some(id),
        coupon_id: None,
        price_decision_id: None,
        coupon_decision_id: None,
    };
    let act: Uuid = new_id(clock);
    let (key, back) = (format!("refund:{act}"), (amount, Rupiah::ZERO));
    let made = wallet::give_back(conn, clock, wallet, back, &key, new).await?;
    debts::collect(conn, clock, wallet, amount, &key).await?;
    Ok(made)
}

/// The period that is meant. Without a number it is the current one, unless that is over: the one
/// that runs now is not charged yet.
fn period(subscription: &Subscription, refund: &Refund, now: DateTime<Utc>) -> Result<i64> {
    let current = subscription.period_number;
    match refund.period {
        Some(number) => Ok(number),
        None if subscription.is_due(now) => {
            let message = format!(
                "Period {current} is over and the next one is not charged yet. Say which period is meant."
            );
            Err(Error::new(Code::InvalidState, message).with("period", "must be given"))
        }
        None => Ok(current),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{subscriptions::SubscriptionStatus, test_database::ended};

    fn asked(period: Option<i64>) -> Refund {
        Refund {
            amount: Rupiah::new(1),
            reason: "The service was away for a day.".to_owned(),
            period,
        }
    }

    #[test]
    fn without_a_number_the_period_is_meant_that_runs() {
        let seen = ended(SubscriptionStatus::Active);
        let end = seen.period_end;
        let last = end - TimeDelta::milliseconds(1);
        assert_eq!(period(&seen, &asked(None), last).unwrap(), 1);
        let refused = period(&seen, &asked(None), end).unwrap_err();
        assert_eq!(refused.code, Code::InvalidState);
        assert_eq!(refused.details[0].field, "period");
        assert_eq!(period(&seen, &asked(Some(7)), end).unwrap(), 7);
    }

    /// Of what has ended no period follows, so that its last one cannot be mistaken.
    #[test]
    fn of_what_has_ended_the_last_period_is_meant() {
        for status in [SubscriptionStatus::Cancelled, SubscriptionStatus::Expired] {
            let seen = ended(status);
            let later = seen.period_end + TimeDelta::days(400);
            assert_eq!(period(&seen, &asked(None), later).unwrap(), 1, "{status}");
        }
    }

    #[test]
    fn a_refund_beyond_what_was_paid_names_what_is_left() {
        for (left, told) in [
            (0, "No cash paid for this period is left to refund."),
            (
                1_500,
                "Rp1.500 of the cash paid for this period can still be refunded.",
            ),
        ] {
            let refused = too_large(Rupiah::new(left));
            assert_eq!(
                (refused.code, refused.message.as_str()),
                (Code::RefundTooLarge, told)
            );
            assert_eq!(refused.details[0].message, left.to_string());
        }
    }
}
