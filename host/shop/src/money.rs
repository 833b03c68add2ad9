//! Whole rupiah, with checked arithmetic.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An amount of whole rupiah; negative in ledger deltas only. Cannot be made from a float.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    sqlx::Type,
    ToSchema,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Rupiah(i64);

/// The result of an addition or multiplication does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the amount is too large to be counted")]
pub struct AmountOverflow;

impl Rupiah {
    pub const ZERO: Self = Self(0);

    pub const fn new(amount: i64) -> Self {
        Self(amount)
    }

    pub const fn get(self) -> i64 {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// # Errors
    /// [`AmountOverflow`] when the sum does not fit in 64 bits.
    pub fn plus(self, other: Self) -> Result<Self, AmountOverflow> {
        self.0.checked_add(other.0).map(Self).ok_or(AmountOverflow)
    }

    /// # Errors
    /// [`AmountOverflow`] when the difference does not fit in 64 bits.
    pub fn minus(self, other: Self) -> Result<Self, AmountOverflow> {
        self.0.checked_sub(other.0).map(Self).ok_or(AmountOverflow)
    }

    /// The amount with its sign changed. Saturates at the one value that has no opposite.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self(self.0.saturating_neg())
    }

    /// Returns `part` of `whole` parts of the amount, computed exactly and rounded down; nothing of nothing.
    ///
    /// # Errors
    /// [`AmountOverflow`] when the share does not fit in 64 bits.
    pub fn share(self, part: i64, whole: i64) -> Result<Self, AmountOverflow> {
        // In 128 bits nothing is lost before the one division.
        let product = i128::from(self.0).saturating_mul(i128::from(part));
        let share = product.checked_div(i128::from(whole)).unwrap_or_default();
        i64::try_from(share).map(Self).map_err(|_| AmountOverflow)
    }

    /// Adds up amounts.
    ///
    /// # Errors
    /// [`AmountOverflow`] when a partial sum does not fit in 64 bits.
    pub fn total(amounts: impl IntoIterator<Item = Self>) -> Result<Self, AmountOverflow> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }
}

impl From<i64> for Rupiah {
    fn from(amount: i64) -> Self {
        Self(amount)
    }
}

/// Formats as Indonesians write it: `Rp50.000`.
impl fmt::Display for Rupiah {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.unsigned_abs().to_string();
        let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                grouped.push('.');
            }
            grouped.push(digit);
        }
        write!(f, "{}Rp{grouped}", if self.0 < 0 { "-" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_indonesians_write_it() {
        for (amount, text) in [
            (0, "Rp0"),
            (999, "Rp999"),
            (50_000, "Rp50.000"),
            (-1_234_567, "-Rp1.234.567"),
        ] {
            assert_eq!(Rupiah::new(amount).to_string(), text);
        }
    }

    #[test]
    fn arithmetic_is_checked() {
        assert_eq!(
            Rupiah::new(i64::MAX).plus(Rupiah::new(1)),
            Err(AmountOverflow)
        );
        assert_eq!(
            Rupiah::new(i64::MIN).minus(Rupiah::new(1)),
            Err(AmountOverflow)
        );
        assert_eq!(
            Rupiah::total([Rupiah::new(1), Rupiah::new(2)]),
            Ok(Rupiah::new(3))
        );
    }

    /// Exact up to the largest amount, and towards zero on both sides of it.
    #[test]
    fn a_share_is_computed_before_it_is_rounded() {
        const MAX: i64 = i64::MAX;
        for (amount, part, whole, share) in [
            (7, 1, 3, Ok(2)),
            (-7, 1, 3, Ok(-2)),
            (7, -1, 3, Ok(-2)),
            (100, 0, 3, Ok(0)),
            (100, 1, 0, Ok(0)),
            (MAX, MAX, MAX, Ok(MAX)),
            (MAX, 2, 4, Ok(MAX / 2)),
            (MAX, 2, 1, Err(AmountOverflow)),
            (i64::MIN, i64::MIN, 1, Err(AmountOverflow)),
        ] {
            let got = Rupiah::new(amount).share(part, whole);
            assert_eq!(got, share.map(Rupiah::new), "{amount} {part} {whole}");
        }
    }

    #[test]
    fn the_ends_of_the_range_are_written_and_turned_around() {
        let least = Rupiah::new(i64::MIN);
        assert_eq!(least.to_string(), "-Rp9.223.372.036.854.775.808");
        assert_eq!(least.negated(), Rupiah::new(i64::MAX));
        assert_eq!(Rupiah::total([]), Ok(Rupiah::ZERO));
        let [most, one] = [i64::MAX, 1].map(Rupiah::new);
        assert_eq!(
            Rupiah::total([most, one, one.negated()]),
            Err(AmountOverflow)
        );
    }

    #[test]
    fn a_float_is_not_an_amount() {
        assert!(serde_json::from_str::<Rupiah>("10.5").is_err());
        assert!(serde_json::from_str::<Rupiah>("1e3").is_err());
    }
}
