//! Terms of a plan: the months that a customer pays for at once, and their price.
//!
//! A plugin prices the months; a term of the plan takes the same share off every price of it, so that
//! what the plugin adds for a configuration is reduced with the rest.

use dermaga_runtime::contract::{self, PriceLine};
pub use dermaga_toolkit::template::PlanTerm;
use serde::Serialize;
use utoipa::ToSchema;

use super::Plan;
use crate::{Error, Result, money::Rupiah, text::counted};

/// Code of the line that a term takes off a price.
const TERM: &str = "term";

/// A term at the price a customer pays for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoldTerm {
    pub months: u32,
    pub monthly_price: Rupiah,
    /// Price of the plan for the term; absent where its months cost their price.
    pub price: Option<Rupiah>,
}

impl SoldTerm {
    /// The months of the term as plugins see them.
    pub const fn for_plugins(self) -> contract::Term {
        contract::Term {
            months: self.months,
        }
    }

    /// Returns the price of as many single months.
    ///
    /// # Errors
    /// When it is more than can be counted.
    pub fn full_price(self) -> Result<Rupiah> {
        let price = self.monthly_price.get().checked_mul(self.months.into());
        let price =
            price.ok_or_else(|| Error::internal("a term costs more than can be counted"))?;
        Ok(Rupiah::new(price))
    }

    /// Returns the price of the plan for the term.
    ///
    /// # Errors
    /// As [`SoldTerm::full_price`].
    pub fn plan_price(self) -> Result<Rupiah> {
        let full = self.full_price()?;
        Ok(full.minus(self.reduction(full)?)?)
    }

    /// Returns the amount that the term takes off a price, rounded down: the share that it takes off the
    /// price of its months.
    ///
    /// # Errors
    /// As [`SoldTerm::full_price`].
    pub fn reduction(self, price: Rupiah) -> Result<Rupiah> {
        let full = self.full_price()?;
        let off = full.minus(self.price.unwrap_or(full))?;
        if off.is_positive() {
            Ok(price.share(off.get(), full.get())?)
        } else {
            Ok(Rupiah::ZERO)
        }
    }

    /// Returns true when it takes a share off another price than its plan's, parts of which may have been rounded
    /// before: a plugin answers whole rupiah.
    ///
    /// # Errors
    /// As [`SoldTerm::full_price`].
    pub fn reduces_rounded(self, price: Rupiah) -> Result<bool> {
        Ok(price != self.full_price()? && !self.reduction(price)?.is_zero())
    }

    /// Returns the same term at another monthly price, with the same share off.
    ///
    /// # Errors
    /// As [`SoldTerm::full_price`].
    pub fn at(self, monthly_price: Rupiah) -> Result<Self> {
        let other = Self {
            monthly_price,
            price: None,
            ..self
        };
        let full = other.full_price()?;
        let price = full.minus(self.reduction(full)?)?;
        Ok(Self {
            price: self.price.map(|_| price),
            ..other
        })
    }

    /// Takes the term's reduction off a price, with a line that explains it; returns the price that is
    /// left.
    ///
    /// # Errors
    /// As [`SoldTerm::full_price`].
    pub fn reduce(self, lines: &mut Vec<PriceLine>, price: Rupiah) -> Result<Rupiah> {
        let off = self.reduction(price)?;
        if off.is_zero() {
            return Ok(price);
        }
        let months = self.in_words();
        lines.push(PriceLine {
            code: TERM.to_owned(),
            label: format!("Term of {months}"),
            amount: off.negated().get(),
            reason: format!(
                "The plan costs {} for {months}, in place of {}.",
                self.plan_price()?,
                self.full_price()?
            ),
        });
        Ok(price.minus(off)?)
    }

    /// Writes its length: `12 months`.
    pub fn in_words(self) -> String {
        counted(self.months, "month")
    }
}

impl Plan {
    /// Returns the term of so many months that is to be bought, at its price now.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when the plan is not sold for it.
    pub fn term(&self, months: u32) -> Result<SoldTerm> {
        self.sold_term(months)?.ok_or_else(|| {
            let known: Vec<String> = self
                .sold_months()
                .map(|months| months.to_string())
                .collect();
            let message = match known.as_slice() {
                [_] => format!("must be 1: {} is sold by the month", self.name),
                _ => format!(
                    "must be one of {}: the terms that {} is sold for, in months",
                    known.join(", "),
                    self.name
                ),
            };
            Error::invalid("termMonths", message)
        })
    }

    /// Returns the term that a subscription of so many months has after a change to this plan.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when the plan is not sold for it.
    pub fn same_term(&self, months: u32) -> Result<SoldTerm> {
        self.sold_term(months)?.ok_or_else(|| {
            let months = counted(months, "month");
            let message =
                format!("must be a plan that is sold for {months}, as the present one is");
            Error::invalid("planId", message)
        })
    }

    /// Returns the term of so many months at its price now, sold or not; one that is not sold costs its
    /// months' price.
    ///
    /// # Errors
    /// When its price is more than can be counted.
    pub fn term_or_months(&self, months: u32) -> Result<SoldTerm> {
        let months_only = SoldTerm {
            months,
            monthly_price: self.monthly_price,
            price: None,
        };
        Ok(self.sold_term(months)?.unwrap_or(months_only))
    }

    /// Returns a customer's term at the price that the plan has for it now. One that is not sold any more keeps its
    /// share of the monthly price.
    ///
    /// # Errors
    /// When its price is more than can be counted.
    pub fn present_term(&self, own: SoldTerm) -> Result<SoldTerm> {
        let sold = self.sold_term(own.months)?;
        sold.map_or_else(|| own.at(self.monthly_price), Ok)
    }

    fn sold_months(&self) -> impl Iterator<Item = u32> {
        let longer = self.terms.iter().map(|term| term.months);
        std::iter::once(1).chain(longer)
    }

    fn sold_term(&self, months: u32) -> Result<Option<SoldTerm>> {
        let whole = SoldTerm {
            months,
            monthly_price: self.monthly_price,
            price: None,
        };
        if months == 1 {
            return Ok(Some(whole));
        }
        let Some(term) = self.terms.iter().find(|term| term.months == months) else {
            return Ok(None);
        };
        let full = whole.full_price()?;
        let percent = i64::from(term.discount_percent.unwrap_or(0));
        let price = match term.price {
            Some(price) => Rupiah::new(price).min(full),
            None => full.minus(full.share(percent, 100)?)?,
        };
        Ok(Some(SoldTerm {
            price: Some(price),
            ..whole
        }))
    }

    /// Returns all terms that it is sold for, the shortest first.
    pub fn term_views(&self) -> Vec<TermView> {
        let sold = |months| {
            let term = self.sold_term(months).ok().flatten()?;
            let (price, full_price) = (term.plan_price().ok()?, term.full_price().ok()?);
            Some(TermView {
                months,
                price,
                full_price,
            })
        };
        self.sold_months().filter_map(sold).collect()
    }
}

/// Term that a plan is sold for.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TermView {
    /// Calendar months that one payment is for; send it as `termMonths`.
    pub months: u32,
    /// Price of the plan for the whole term.
    pub price: Rupiah,
    /// Price of as many single months.
    pub full_price: Rupiah,
}

/// Longer term of a plan, with its price or its discount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanTermView {
    /// 3, 6 or 12.
    pub months: u32,
    /// Rupiah for the whole term.
    pub price: Option<Rupiah>,
    /// Whole percent off the price of its months.
    pub discount_percent: Option<u32>,
}

impl From<PlanTerm> for PlanTermView {
    fn from(term: PlanTerm) -> Self {
        Self {
            months: term.months,
            price: term.price.map(Rupiah::new),
            discount_percent: term.discount_percent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(monthly: i64, months: u32, price: Option<i64>) -> SoldTerm {
        SoldTerm {
            months,
            monthly_price: Rupiah::new(monthly),
            price: price.map(Rupiah::new),
        }
    }

    /// The share is exact and rounded down once, of the plan's price and of any other.
    #[test]
    fn a_term_takes_the_same_share_off_every_price() {
        for (monthly, months, price, of, off) in [
            (50_000, 12, Some(510_000), 600_000, 90_000),
            (50_000, 12, Some(510_000), 660_000, 99_000),
            (50_000, 12, Some(510_000), 7, 1),
            (50_000, 12, None, 600_000, 0),
            (50_000, 3, Some(150_000), 150_000, 0),
            (50_000, 3, Some(0), 150_000, 150_000),
            // The month became cheaper than the term's own price is for it.
            (10_000, 12, Some(510_000), 120_000, 0),
            (0, 12, Some(0), 5_000, 0),
            (1_000_000_000, 12, Some(1), 12_000_000_000, 11_999_999_999),
        ] {
            let term = term(monthly, months, price);
            assert_eq!(
                term.reduction(Rupiah::new(of)).unwrap(),
                Rupiah::new(off),
                "{term:?}"
            );
        }
    }

    /// The plan's own price is reduced by what is declared; any other by a share of it.
    #[test]
    fn a_share_of_another_price_is_known_to_be_of_whole_rupiah() {
        for (price, of, expected) in [
            (Some(510_000), 600_000, false),
            (Some(510_000), 660_000, true),
            (Some(510_000), 299_999, true),
            (Some(510_000), 1, false),
            (None, 299_999, false),
        ] {
            let term = term(50_000, 12, price);
            let seen = term.reduces_rounded(Rupiah::new(of)).unwrap();
            assert_eq!(seen, expected, "{price:?} {of}");
        }
    }

    #[test]
    fn a_reduced_price_is_explained_to_the_rupiah() {
        let mut lines = Vec::new();
        let left = term(33_333, 3, Some(90_000))
            .reduce(&mut lines, Rupiah::new(99_999))
            .unwrap();
        assert_eq!((left, lines[0].amount), (Rupiah::new(90_000), -9_999));
        let reason = "The plan costs Rp90.000 for 3 months, in place of Rp99.999.";
        assert_eq!(lines[0].reason, reason);
        let left = term(33_333, 3, None)
            .reduce(&mut lines, Rupiah::new(99_999))
            .unwrap();
        assert_eq!((left, lines.len()), (Rupiah::new(99_999), 1));
    }

    #[test]
    fn another_monthly_price_keeps_the_share() {
        let moved = term(50_000, 12, Some(510_000))
            .at(Rupiah::new(40_000))
            .unwrap();
        assert_eq!(moved, term(40_000, 12, Some(408_000)));
        let rounded = term(50_000, 12, Some(510_000))
            .at(Rupiah::new(33_333))
            .unwrap();
        assert_eq!(rounded.price, Some(Rupiah::new(339_997)));
        assert_eq!(
            term(50_000, 12, None).at(Rupiah::new(1)).unwrap().price,
            None
        );
    }
}
