//! Formats and divides rupiah.

pub use crate::bindings::metadata::dermaga::plugin::types::Rupiah;

/// Formats an amount as in Indonesia: `Rp1.250.000`, and `-Rp500` for a credit.
pub fn format(amount: Rupiah) -> String {
    let digits = amount.unsigned_abs().to_string();
    let mut text = String::from(if amount < 0 { "-Rp" } else { "Rp" });
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push('.');
        }
        text.push(digit);
    }
    text
}

/// Returns `amount * part / whole`, rounded down once; `whole` is positive and `part` at most
/// `whole`.
pub(crate) fn share(amount: Rupiah, part: i64, whole: i64) -> Rupiah {
    let exact = i128::from(amount) * i128::from(part);
    // The result is at most `amount`, so it always fits.
    Rupiah::try_from(exact.div_euclid(i128::from(whole).max(1))).unwrap_or(amount)
}

/// Returns this percentage of an amount, rounded down once.
pub fn percent(amount: Rupiah, percent: u8) -> Rupiah {
    share(amount, i64::from(percent), 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let cases = [
            (0, "Rp0"),
            (999, "Rp999"),
            (1_000, "Rp1.000"),
            (-1_250_000, "-Rp1.250.000"),
        ];
        for (amount, text) in cases {
            assert_eq!(format(amount), text);
        }
        assert_eq!(format(Rupiah::MIN), "-Rp9.223.372.036.854.775.808");
    }

    #[test]
    fn percentages_round_down_and_never_overflow() {
        assert_eq!(percent(99_999, 33), 32_999);
        assert_eq!(percent(3, 33), 0);
        assert_eq!(percent(Rupiah::MAX, 100), Rupiah::MAX);
    }
}
