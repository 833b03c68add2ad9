//! Exact Kubernetes quantities: integers only, no floating point.
//!
//! Grammar: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.

use serde_json::Value;

/// An amount of `digits` x 10^`power` x 2^`doublings`; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantity {
    digits: u128,
    power: i32,
    doublings: u32,
}

/// Maximum of digits: more than any sensible amount has, few enough for the arithmetic below.
const MAX_DIGITS: usize = 24;

impl Quantity {
    /// Parses a text such as `250m`, `1.5Gi` or `12e6`, or a JSON number. `None` when it is
    /// neither, negative, or beyond any sensible amount.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('+').unwrap_or(text);
        let is_number = |character: char| character.is_ascii_digit() || character == '.';
        let end = text
            .find(|character| !is_number(character))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at_checked(end)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        let sensible = (1..=MAX_DIGITS).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !sensible {
            return None;
        }
        let (power, doublings) = scale(suffix)?;
        let places = i32::try_from(fraction.len()).ok()?;
        Some(Self {
            digits: digits.parse().ok()?,
            power: power.checked_sub(places)?,
            doublings,
        })
    }

    /// Returns the amount in units of one, rounded up: bytes of memory or storage.
    pub(super) fn units(self) -> Option<u128> {
        self.scaled(0)
    }

    /// Returns the amount in thousandths, rounded up: millicores.
    pub(super) fn thousandths(self) -> Option<u128> {
        self.scaled(3)
    }

    /// Returns the amount times 10^`extra`, rounded up; `None` when it does not fit.
    fn scaled(self, extra: i32) -> Option<u128> {
        let value = self
            .digits
            .checked_mul(1_u128.checked_shl(self.doublings)?)?;
        let power = self.power.checked_add(extra)?;
        match u32::try_from(power) {
            Ok(power) => value.checked_mul(10_u128.checked_pow(power)?),
            // A divisor too large for the type is larger than any value.
            Err(_) => Some(
                10_u128
                    .checked_pow(power.unsigned_abs())
                    .map_or(u128::from(value > 0), |divisor| value.div_ceil(divisor)),
            ),
        }
    }
}

/// Returns the powers of ten and of two of a suffix.
fn scale(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => (exponent(suffix)?, 0),
    })
}

/// Parses an exponent such as `e6`, `E-3` or `e+9`.
fn exponent(suffix: &str) -> Option<i32> {
    let number = suffix.strip_prefix(['e', 'E'])?;
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    let sensible =
        (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if sensible { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::needless_pass_by_value,
        reason = "literals read best as they are"
    )]

    use super::*;
    use serde_json::json;

    fn millis(value: Value) -> Option<u128> {
        Quantity::of(&value)?.thousandths()
    }

    fn bytes(value: Value) -> Option<u128> {
        Quantity::of(&value)?.units()
    }

    #[test]
    fn reads_every_form_of_the_grammar() {
        for (text, expected) in [
            ("0", 0),
            ("1", 1000),
            ("+1", 1000),
            ("1.", 1000),
            (".5", 500),
            ("0.1", 100),
            ("100m", 100),
            ("1500u", 2),
            ("1n", 1),
            ("2k", 2_000_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1e-3", 1),
            ("1e+1", 10_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("1Ki", 1_024_000),
        ] {
            assert_eq!(millis(json!(text)), Some(expected), "{text}");
        }
        assert_eq!(millis(json!(2)), Some(2000));
        assert_eq!(millis(json!(0.25)), Some(250));
        assert_eq!(bytes(json!("1.5Gi")), Some(1_610_612_736));
        assert_eq!(bytes(json!("128974848")), Some(128_974_848));
        assert_eq!(bytes(json!("129e6")), Some(129_000_000));
        assert_eq!(bytes(json!("123Mi")), Some(128_974_848));
        assert_eq!(bytes(json!("7Ei")), Some(7 << 60));
        assert_eq!(bytes(json!("1m")), Some(1), "part of a byte is a byte");
    }

    #[test]
    fn refuses_what_is_no_quantity() {
        for text in [
            "",
            "-1",
            "-0",
            ".",
            "m",
            "Gi",
            "1 Gi",
            "1gi",
            "1K",
            "1GiB",
            "1e",
            "1E+",
            "1e1.5",
            "0x10",
            "1,5",
            "1..5",
            "1.5.1",
            "١",
            "1e9999",
            "NaN",
            "inf",
            "1mi",
            "1e3Mi",
            "++1",
            "1000000000000000000000000000",
        ] {
            assert_eq!(Quantity::of(&json!(text)), None, "{text}");
        }
        for value in [json!(null), json!(true), json!([1]), json!(-1), json!(-0.5)] {
            assert_eq!(Quantity::of(&value), None, "{value}");
        }
        assert_eq!(
            bytes(json!("999999999999999999999999Ei")),
            None,
            "too large to count"
        );
        assert_eq!(bytes(json!("1e999")), None);
        assert_eq!(bytes(json!("1e-999")), Some(1));
    }

    #[test]
    fn every_short_text_is_read_or_refused_without_a_panic() {
        let alphabet = ['0', '9', '.', '-', '+', 'e', 'E', 'i', 'K', 'm', 'G', 'é'];
        let mut texts = vec![String::new()];
        for _ in 0..4 {
            texts = texts
                .iter()
                .flat_map(|text| alphabet.map(|next| format!("{text}{next}")))
                .collect();
            for text in &texts {
                if let Some(quantity) = Quantity::of(&json!(text)) {
                    let (units, thousandths) = (quantity.units(), quantity.thousandths());
                    // Rounding up commutes with scaling as far as it can.
                    if let (Some(units), Some(thousandths)) = (units, thousandths) {
                        assert_eq!(thousandths.div_ceil(1000), units, "{text}");
                    }
                }
            }
        }
    }
}
