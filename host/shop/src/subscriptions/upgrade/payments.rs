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

/// Returns the cash that was paid for the rest of the running period and not given back. Days that were
/// given are not paid for.
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
    cash_left(current, &period, &made, moment)
}

fn cash_left(
    current: &Subscription,
    period: &PeriodRow,
    made: &[Made],
    moment: DateTime<Utc>,
) -> Result<Rupiah> {
    let (mut paid, cashes) = payments(current, period, made, Tier::Free)?;
    for (one, cash) in paid.iter_mut().zip(cashes) {
        one.amount = cash;
    }
    let mut bounds = period_of(current);
    if let Some(end) = period.paid_until {
        bounds.end = end.timestamp();
    }
    let running = Running {
        period: bounds,
        paid,
    };
    let left = running.credit(moment.timestamp())?;
    Ok(left.min(period.paid_cash.minus(period.refunded_cash)?))
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
    for change in made {
        let (cash, bonus) = (change.paid_cash, change.paid_bonus);
        paid.push(payment(change.to_tier, cash, bonus, change.covers_from)?);
        cashes.push(cash);
    }
    take_off(&mut paid, &cashes, period.refunded_cash)?;
    Ok((paid, cashes))
}
