//! Values that people type, as requests have them.

use std::io::{BufRead as _, Read as _};

use dermaga_shop::money::Rupiah;
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::super::CliError;

/// Longest text that is read from stdin.
const LONGEST_TEXT: u64 = 64 * 1024;

pub(super) fn number(given: &str) -> Result<Value, String> {
    let number = given.parse::<i64>();
    number
        .map(Value::from)
        .map_err(|_| "must be a whole number".to_owned())
}

/// Reads an amount as it is written (`Rp25.000`) or as digits.
pub(super) fn money(given: &str) -> Result<Value, String> {
    let digits = given.strip_prefix("Rp").unwrap_or(given);
    let plain: String = digits.chars().filter(|letter| *letter != '.').collect();
    let amount = plain.parse::<i64>().ok().filter(|amount| *amount >= 0);
    let amount = amount.filter(|amount| {
        // Dots only where an amount has them: `25.5` is not 255.
        let written = Rupiah::new(*amount).to_string();
        digits == plain || Some(digits) == written.strip_prefix("Rp")
    });
    amount
        .map(Value::from)
        .ok_or_else(|| "must be whole rupiah, such as 25000 or Rp25.000".to_owned())
}

pub(super) fn json(given: &str) -> Result<Value, String> {
    serde_json::from_str(given).map_err(|error| format!("must be JSON: {error}"))
}

pub(super) fn id(given: &str) -> Result<Value, String> {
    let id = given.parse::<Uuid>();
    id.map(|id| Value::from(id.to_string()))
        .map_err(|_| "must be a whole id, such as 0198c0de-0000-7000-8000-000000000001".to_owned())
}

/// Writes a ticket's number as the shop does: `#007` for `7`.
pub(super) fn ticket_number(given: &str) -> String {
    let digits = given.trim_start_matches('#');
    digits
        .parse::<u64>()
        .map_or_else(|_| given.to_owned(), |number| format!("#{number:03}"))
}

/// Returns a text, or for `-` all of stdin.
pub(super) fn long_text(given: &str) -> Result<String, CliError> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    let stdin = std::io::stdin().lock();
    stdin
        .take(LONGEST_TEXT)
        .read_to_string(&mut text)
        .map_err(|error| CliError::Failed(format!("stdin cannot be read: {error}")))?;
    Ok(text.trim_end().to_owned())
}

/// Returns the first line of stdin.
pub(super) fn secret() -> Result<String, CliError> {
    let mut line = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| CliError::Failed(format!("stdin cannot be read: {error}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_as_it_is_written() {
        for (given, amount) in [
            ("25000", 25_000),
            ("25.000", 25_000),
            ("Rp1.234.567", 1_234_567),
            ("Rp0", 0),
        ] {
            assert_eq!(money(given), Ok(amount.into()), "{given}");
        }
        for wrong in ["25.5", "2.5000", "-1", "Rp", "1,000", "25000.", "x"] {
            assert!(money(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tickets_number_is_written_as_the_shop_does() {
        for (given, written) in [
            ("7", "#007"),
            ("#7", "#007"),
            ("#1234", "#1234"),
            ("x", "x"),
        ] {
            assert_eq!(ticket_number(given), written);
        }
    }
}
