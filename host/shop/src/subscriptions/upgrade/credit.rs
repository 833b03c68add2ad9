//! Credit for a plan change in the middle of a period: the unused part of each payment of the
//! period, each over its own span.
//!
//! Plugins of the contracts so far know one sum and one period, so they are passed the sum that
//! yields the right credit by their own proration; the host computes the credit itself, allows no
//! more, and explains it for each payment.

use dermaga_runtime::contract::{Period, PriceAnswer, PriceLine, Timestamp};

use super::span::span;
use crate::{
    Result,
    catalog::{SoldTerm, Tier},
    money::Rupiah,
    subscriptions::rounding::Rounding,
};

/// Code of the lines that credit time which was paid for and is not used.
const UNUSED_TIME: &str = "unused-time";

/// A payment of the running period. It covers the time from `from` to `until`.
#[derive(Debug, Clone)]
pub(super) struct Paid {
    /// The plan it paid for.
    pub(super) tier: Tier,
    pub(super) amount: Rupiah,
    /// Given back of it.
    pub(super) refunded: Rupiah,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Paid {
    fn kept(&self) -> Result<Rupiah> {
        Ok(self.amount.minus(self.refunded)?)
    }
}

/// Price of a change of plan, with the credit as the host computes it.
#[derive(Debug, Clone)]
pub(super) struct Settled {
    /// They add up to `due`.
    pub(super) lines: Vec<PriceLine>,
    pub(super) due: Rupiah,
    pub(super) rounding: Rounding,
}

/// The period that a change of plan interrupts, and what was paid for it, oldest first. Of a payment, the
/// time within the period counts.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) period: Period,
    pub(super) paid: Vec<Paid>,
}

impl Running {
    /// The one sum that represents all payments: prorated over the whole period it comes to their
    /// unused part. A payment of a part of the period counts as much more as that part is shorter.
    ///
    /// # Errors
    /// When it is more than can be counted.
    pub(super) fn as_one_payment(&self) -> Result<Rupiah> {
        let whole = self.period.end.saturating_sub(self.period.start);
        let scaled = self
            .paid
            .iter()
            .map(|paid| share(paid.kept()?, whole, Self::covered_by(paid)));
        Ok(Rupiah::total(scaled.collect::<Result<Vec<_>>>()?)?)
    }

    /// The lines and the total of a plugin's answer, with the credit as the host computes it: for
    /// each payment a line, and never more than the payments still cover. The price of the rest is reduced as
    /// the term of the plan is.
    ///
    /// # Errors
    /// When an amount is more than can be counted.
    pub(super) fn settle(
        &self,
        answer: PriceAnswer,
        term: SoldTerm,
        moment: Timestamp,
    ) -> Result<Settled> {
        let is_credit =
            |line: &PriceLine| line.amount < 0 || line.amount == 0 && line.code == UNUSED_TIME;
        let (credits, mut lines): (Vec<_>, Vec<_>) = answer.lines.into_iter().partition(is_credit);
        let sum =
            |lines: &[PriceLine]| Rupiah::total(lines.iter().map(|line| Rupiah::new(line.amount)));
        let (asked, full) = (sum(&credits)?.negated(), sum(&lines)?);
        let price = term.reduce(&mut lines, full)?;
        let rounding = Rounding {
            of_term: term.reduces_rounded(full)?,
            of_coupon: false,
        };
        if credits.is_empty() {
            let due = price;
            return Ok(Settled {
                lines,
                due,
                rounding,
            });
        }
        let most = self.credit(moment)?.min(price);
        // The plugin rounds its one sum, the host each payment.
        let within = Rupiah::new(i64::try_from(self.paid.len()).unwrap_or(i64::MAX));
        let is_right = asked.plus(within)? >= most;
        let given = if is_right { most } else { asked };
        lines.extend(self.lines(given, given == price, moment)?);
        let due = price.minus(given)?;
        Ok(Settled {
            lines,
            due,
            rounding,
        })
    }

    /// Returns the unused part of all payments.
    ///
    /// # Errors
    /// When it is more than can be counted.
    pub(super) fn credit(&self, moment: Timestamp) -> Result<Rupiah> {
        let unused = self.paid.iter().map(|paid| self.unused(paid, moment));
        Ok(Rupiah::total(unused.collect::<Result<Vec<_>>>()?)?)
    }

    fn unused(&self, paid: &Paid, moment: Timestamp) -> Result<Rupiah> {
        share(
            paid.kept()?,
            self.left(paid, moment),
            Self::covered_by(paid),
        )
    }

    /// Seconds that a payment covers in all.
    const fn covered_by(paid: &Paid) -> i64 {
        paid.until.saturating_sub(paid.from)
    }

    /// Seconds that a payment still covers, which may all be to come.
    fn left(&self, paid: &Paid, moment: Timestamp) -> i64 {
        let begin = moment.max(paid.from);
        let left = self.period.end.min(paid.until).saturating_sub(begin);
        left.clamp(0, Self::covered_by(paid).max(0))
    }

    fn lines(&self, given: Rupiah, is_all: bool, moment: Timestamp) -> Result<Vec<PriceLine>> {
        let mut rest = given;
        let mut lines = Vec::new();
        for paid in self.paid.iter().filter(|paid| paid.amount.is_positive()) {
            let unused = self.unused(paid, moment)?;
            let credit = unused.min(rest);
            rest = rest.minus(credit)?;
            let mut reason = self.reason(paid, moment);
            if credit < unused {
                reason.push_str(&cut(given, is_all));
            }
            lines.push(PriceLine {
                code: UNUSED_TIME.to_owned(),
                label: format!("Unused time of the {} plan", paid.tier),
                amount: credit.negated().get(),
                reason,
            });
        }
        Ok(lines)
    }

    fn reason(&self, paid: &Paid, moment: Timestamp) -> String {
        let returned = if paid.refunded.is_positive() {
            format!(", and {} of it was given back", paid.refunded)
        } else {
            String::new()
        };
        format!(
            "{} was paid for {} of the {} plan{returned}; time not used: {}.",
            paid.amount,
            span(Self::covered_by(paid)),
            paid.tier,
            span(self.left(paid, moment))
        )
    }
}

/// Explains a credit that is less than the unused part.
fn cut(given: Rupiah, is_all: bool) -> String {
    if is_all {
        " The credit is at most what the new plan costs.".to_owned()
    } else {
        format!(" The service credits {given} in all.")
    }
}

/// `amount` × `part` ÷ `whole`, rounded down; nothing where there is no time.
pub(super) fn share(amount: Rupiah, part: i64, whole: i64) -> Result<Rupiah> {
    Ok(amount.share(part, whole)?)
}

/// Takes a further refund off the payments, the newest first: those are the ones that cover the time that
/// is left.
pub(super) fn take_off(paid: &mut [Paid], cash: &[Rupiah], refunded: Rupiah) -> Result<()> {
    let mut rest = refunded;
    for (one, cash) in paid.iter_mut().zip(cash).rev() {
        let kept = cash.minus(one.refunded)?.max(Rupiah::ZERO);
        let off = rest.min(kept);
        one.refunded = one.refunded.plus(off)?;
        rest = rest.minus(off)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "credit_tests.rs"]
mod tests;
