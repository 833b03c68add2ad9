//! Payments of the running period: its own, and one for each change of plan that was made in it.

use chrono::{DateTime, Utc};
use dermaga_runtime::contract::{self, Timestamp};

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

/// Returns the paid part of the running period with its payments of both kinds of credit.
pub(super) fn running(
    current: &Subscription,
    period: &PeriodRow,
    made: &[Made],
    tier: Tier,
) -> Result<Running> {
    let (mut paid, _) = payments(current, period, made, tier)?;
    let period = paid_part(current, period);
    // Days that were given come after it, and are priced by themselves.
    paid.retain(|one| one.from < period.end);
    Ok(Running { period, paid })
}

/// Returns the running period without the days that were given after it was paid for.
fn paid_part(current: &Subscription, period: &PeriodRow) -> contract::Period {
    let mut bounds = period_of(current);
    if let Some(end) = period.paid_until {
        bounds.end = end.timestamp();
    }
    bounds
}

/// Days at the end of a period that were given, as an upgrade prices them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given {
    /// Seconds of them that are left.
    pub(super) seconds: i64,
    /// Seconds that the price of a period pays for.
    pub(super) whole: i64,
}

impl Given {
    /// Returns what is left of the days that were given; `None` when there is nothing.
    pub(super) fn left(
        current: &Subscription,
        period: &PeriodRow,
        moment: DateTime<Utc>,
    ) -> Option<Self> {
        let paid = paid_part(current, period);
        let begin = paid.end.max(moment.timestamp());
        let seconds = current.period_end.timestamp().saturating_sub(begin);
        let whole = paid.end.saturating_sub(paid.start);
        (seconds > 0 && whole > 0).then_some(Self { seconds, whole })
    }

    /// Returns the price of these days in a dearer plan: they count as paid at the price of the plan that they
    /// were given in.
    ///
    /// # Errors
    /// When an amount is more than can be counted.
    pub(super) fn price(self, from: Rupiah, to: Rupiah) -> Result<Rupiah> {
        let difference = to.minus(from)?.max(Rupiah::ZERO);
        Ok(difference.share(self.seconds, self.whole)?)
    }
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
    Ok(left(current, &period, &made, current.used_until(moment))?.cash)
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
    let bounds = paid_part(current, period);
    let moment = moment.timestamp();
    let unused = |paid: Vec<Paid>| {
        let running = Running {
            // A change may have paid for days that were given, too.
            period: period_of(current),
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
        // `clamp` panics on bounds in the wrong order.
        seconds: bounds.end.saturating_sub(moment).clamp(0, whole.max(0)),
        cash,
        bonus: unused(paid)?.minus(cash)?,
    })
}

/// Returns the part of a period's payment that was for a dearer plan, in both kinds of credit: the customer keeps
/// what the cheaper plan would have left. A coupon took its share off both prices.
///
/// # Errors
/// When an amount is more than can be counted.
pub(super) fn overpaid(period: &PeriodRow, dearer: Rupiah) -> Result<(Rupiah, Rupiah)> {
    let paid = period.paid_cash.plus(period.paid_bonus)?;
    let dearer = dearer.max(Rupiah::ZERO);
    let back = dearer.share(paid.get(), period.price.get())?.min(paid);
    let kept = paid.minus(back)?;
    // Bonus credit is spent first.
    let bonus = period.paid_bonus.min(kept);
    let cash = kept.minus(bonus)?;
    Ok((
        period.paid_cash.minus(cash)?,
        period.paid_bonus.minus(bonus)?,
    ))
}

/// Each payment, and the cash of it, oldest first.
fn payments(
    current: &Subscription,
    period: &PeriodRow,
    made: &[Made],
    tier: Tier,
) -> Result<(Vec<Paid>, Vec<Rupiah>)> {
    let end = paid_part(current, period).end;
    let tier = made.first().map_or(tier, |change| change.from_tier);
    let (first, cash) = first(current, period, made, (tier, end))?;
    let (mut paid, mut cashes) = (vec![first], vec![cash]);
    let mut settled = Rupiah::ZERO;
    for change in made {
        if let Some(until) = change.refunded_until {
            // The change was priced with it, so that none of it is of what was paid from then on.
            let earlier = until.minus(settled)?.max(Rupiah::ZERO);
            take_off(&mut paid, &cashes, earlier)?;
            settled = settled.plus(earlier)?;
        }
        if change.kept_cash.is_some() {
            // Earlier payments are settled: the rest of them pays for the lower plan.
            paid.clear();
            cashes.clear();
        }
        for (one, cash) in of_change(change, end)? {
            paid.push(one);
            cashes.push(cash);
        }
    }
    let later = period.refunded_cash.minus(settled)?.max(Rupiah::ZERO);
    take_off(&mut paid, &cashes, later)?;
    Ok((paid, cashes))
}

/// Returns the payment of the period itself, and its cash: what no change paid, and no storage of the time before.
fn first(
    current: &Subscription,
    period: &PeriodRow,
    made: &[Made],
    (tier, until): (Tier, Timestamp),
) -> Result<(Paid, Rupiah)> {
    let later_cash = Rupiah::total(made.iter().map(|change| change.paid_cash))?;
    let later_bonus = Rupiah::total(made.iter().map(|change| change.paid_bonus))?;
    let cash = period.paid_cash.minus(later_cash)?;
    let bonus = period.paid_bonus.minus(later_bonus)?;
    // Bonus credit is spent first.
    let stored = bonus.min(period.storage);
    let cash = cash.minus(period.storage.minus(stored)?)?;
    let kinds = (cash.max(Rupiah::ZERO), bonus.minus(stored)?);
    let from = current.period_start.timestamp();
    payment(tier, kinds, (from, until))
}

/// Returns the payment of a change, and its cash; that of the days which were given after the end of what was paid
/// for follows by itself, since those have a price of their own.
fn of_change(change: &Made, end: Timestamp) -> Result<Vec<(Paid, Rupiah)>> {
    let cash = change.kept_cash.unwrap_or(change.paid_cash);
    let bonus = change.kept_bonus.unwrap_or(change.paid_bonus);
    let tier = change.to_tier;
    let (from, until) = (&change.covers_from, &change.covers_until);
    let (from, until) = (from.timestamp(), until.timestamp());
    // A gift may have paid less than its price.
    let given = change.given.min(cash.plus(bonus)?);
    if !given.is_positive() || until <= end {
        return Ok(vec![payment(tier, (cash, bonus), (from, until))?]);
    }
    let begin = from.max(end);
    // Bonus credit is spent first.
    let given_cash = cash.min(given);
    let given_bonus = given.minus(given_cash)?;
    let kinds = (cash.minus(given_cash)?, bonus.minus(given_bonus)?);
    Ok(vec![
        payment(tier, kinds, (from, begin))?,
        payment(tier, (given_cash, given_bonus), (begin, until))?,
    ])
}

fn payment(
    tier: Tier,
    (cash, bonus): (Rupiah, Rupiah),
    (from, until): (Timestamp, Timestamp),
) -> Result<(Paid, Rupiah)> {
    let paid = Paid {
        tier,
        amount: cash.plus(bonus)?,
        refunded: Rupiah::ZERO,
        from,
        until,
    };
    Ok((paid, cash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DecisionId;

    /// Half of a price that was paid by a coupon, by bonus credit and by cash: bonus credit pays the cheaper plan
    /// first, and the coupon's share is not given back.
    #[test]
    fn what_a_dearer_plan_took_comes_back_in_its_kinds() {
        let now = DateTime::UNIX_EPOCH;
        for (discount, bonus, dearer, back) in [
            (0, 0, 100_000, (100_000, 0)),
            (0, 20_000, 100_000, (100_000, 0)),
            (0, 80_000, 100_000, (70_000, 30_000)),
            (15_000, 0, 100_000, (90_000, 0)),
            (150_000, 0, 100_000, (0, 0)),
            (0, 0, -100_000, (0, 0)),
            (0, 10_000, 900_000, (140_000, 10_000)),
        ] {
            let amount = Rupiah::new;
            let period = PeriodRow {
                number: 2,
                starts_at: now,
                ends_at: now,
                months: 1,
                frozen: false,
                paid_until: None,
                price: amount(150_000),
                storage: Rupiah::ZERO,
                discount: amount(discount),
                paid_cash: amount(150_000 - discount - bonus),
                paid_bonus: amount(bonus),
                refunded_cash: Rupiah::ZERO,
                transaction_id: None,
                price_decision_id: DecisionId::MIN,
            };
            let expected = (amount(back.0), amount(back.1));
            assert_eq!(overpaid(&period, amount(dearer)).unwrap(), expected);
        }
    }
}
