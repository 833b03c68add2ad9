//! Payments of the running period: its own, and one for each change of plan that was made in it.

use chrono::{DateTime, Utc};
use dermaga_runtime::contract;

use super::{
    credit::{Paid, Running, take_off},
    store::{self, Made},
};
use crate::{
    Error, Result,
    catalog::Tier,
    db::Conn,
    money::Rupiah,
    subscriptions::{
        model::{PeriodRow, Subscription, SubscriptionRow},
        store as subscriptions,
    },
};

pub(super) fn period_of(subscription: &Subscription) -> contract::Period {
    contract::Period {
        start: subscription.period_start.timestamp(),
        end: subscription.period_end.timestamp(),
    }
}

/// Returns the running period with its payments of both kinds of credit.
pub(super) fn running(
    current: &Subscription,
    period: &PeriodRow,
    made: &[Made],
    tier: Tier,
) -> Result<Running> {
    let (paid, _) = payments(current, period, made, tier)?;
    let period = period_of(current);
    Ok(Running { period, paid })
}

/// The part of the running period that is left, and what of its payments is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Seconds of the whole period that were paid for. Days that were given are not.
    pub(super) whole: i64,
    /// Seconds of them that are left.
    pub(super) seconds: i64,
    pub(super) cash: Rupiah,
    pub(super) bonus: Rupiah,
}

impl Left {
    /// Returns the unused part of both kinds of credit.
    ///
    /// # Errors
    /// When it is more than can be counted.
    pub(super) fn total(self) -> Result<Rupiah> {
        Ok(self.cash.plus(self.bonus)?)
    }
}

/// Returns the cash that was paid for the rest of the running period and not given back.
///
/// # Errors
/// When the database does not answer.
pub(in crate::subscriptions) async fn unused_cash(
    conn: &mut Conn,
    row: &SubscriptionRow,
    moment: DateTime<Utc>,
) -> Result<Rupiah> {
    let current = &row.subscription;
    let period = subscriptions::period(conn, current.id, current.period_number).await?;
    let period = period.ok_or_else(|| Error::internal("a subscription without its period"))?;
    let made = store::of_period(conn, current.id, period.number).await?;
    Ok(left(current, &period, &made, moment)?.cash)
}

/// Returns what is left of the running period at a moment.
///
/// # Errors
/// When an amount is more than can be counted.
pub(super) fn left(
    current: &Subscription,
    period: &PeriodRow,
    made: &[Made],
    moment: DateTime<Utc>,
) -> Result<Left> {
    let (paid, cashes) = payments(current, period, made, Tier::Free)?;
    let mut bounds = period_of(current);
    if let Some(end) = period.paid_until {
        bounds.end = end.timestamp();
    }
    let moment = moment.timestamp();
    let unused = |paid: Vec<Paid>| {
        let running = Running {
            period: bounds,
            paid,
        };
        running.credit(moment)
    };
    let cash = paid.iter().zip(cashes).map(|(one, cash)| Paid {
        amount: cash,
        ..one.clone()
    });
    let cash = unused(cash.collect())?;
    let cash = cash.min(period.paid_cash.minus(period.refunded_cash)?);
    let whole = bounds.end.saturating_sub(bounds.start);
    Ok(Left {
        whole,
        seconds: bounds.end.saturating_sub(moment).clamp(0, whole.max(0)),
        cash,
        bonus: unused(paid)?.minus(cash)?,
    })
}

/// Each payment, and the cash of it, oldest first.
fn payments(
    current: &Subscription,
    period: &PeriodRow,
    made: &[Made],
    tier: Tier,
) -> Result<(Vec<Paid>, Vec<Rupiah>)> {
    let later_cash = Rupiah::total(made.iter().map(|change| change.paid_cash))?;
    let later_bonus = Rupiah::total(made.iter().map(|change| change.paid_bonus))?;
    let cash = period.paid_cash.minus(later_cash)?;
    let bonus = period.paid_bonus.minus(later_bonus)?;
    let payment = |tier, cash: Rupiah, bonus: Rupiah, from: DateTime<Utc>| -> Result<Paid> {
        Ok(Paid {
            tier,
            amount: cash.plus(bonus)?,
            refunded: Rupiah::ZERO,
            from: from.timestamp(),
        })
    };
    let tier = made.first().map_or(tier, |change| change.from_tier);
    let mut paid = vec![payment(tier, cash, bonus, current.period_start)?];
    let mut cashes = vec![cash];
    let mut refunded = period.refunded_cash;
    for change in made {
        let mut sums = (change.paid_cash, change.paid_bonus);
        if let (Some(cash), Some(bonus)) = (change.kept_cash, change.kept_bonus) {
            // Earlier payments are settled: the rest of them pays for the lower plan.
            paid.clear();
            cashes.clear();
            sums = (cash, bonus);
            let settled = change.refunded_until.unwrap_or(Rupiah::ZERO);
            refunded = period.refunded_cash.minus(settled)?.max(Rupiah::ZERO);
        }
        let (cash, bonus) = sums;
        paid.push(payment(change.to_tier, cash, bonus, change.covers_from)?);
        cashes.push(cash);
    }
    take_off(&mut paid, &cashes, refunded)?;
    Ok((paid, cashes))
}
