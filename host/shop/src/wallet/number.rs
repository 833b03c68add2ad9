//! Numbers of transactions, and the names that customers use for them in paths.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ids::TransactionId;

const PREFIX: &str = "TXMP-";

/// Number of a transaction, which people read and write as `TXMP-101`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct TransactionNumber(i64);

/// The text is not the number of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number such as TXMP-101")]
pub struct NotANumber;

impl TransactionNumber {
    /// Number of a transaction that is not in the database yet, which assigns it.
    pub(super) const UNASSIGNED: Self = Self(0);

    /// Returns the number as the database has it.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl From<i64> for TransactionNumber {
    fn from(number: i64) -> Self {
        Self(number)
    }
}

impl fmt::Display for TransactionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

impl FromStr for TransactionNumber {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotANumber)?;
        // `parse` alone would take a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotANumber);
        }
        digits.parse().map(Self).map_err(|_| NotANumber)
    }
}

impl Serialize for TransactionNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TransactionNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Name of a transaction in a path: its id or its number. Any other text names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct TransactionName {
    pub(super) id: Option<TransactionId>,
    pub(super) number: Option<TransactionNumber>,
}

impl From<String> for TransactionName {
    fn from(text: String) -> Self {
        Self {
            id: text.parse().ok(),
            number: text.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        for (number, text) in [
            (0, "TXMP-0"),
            (101, "TXMP-101"),
            (i64::MAX, "TXMP-9223372036854775807"),
        ] {
            let number = TransactionNumber::from(number);
            assert_eq!(number.to_string(), text);
            assert_eq!(text.parse(), Ok(number));
            assert_eq!(json!(number), json!(text));
            assert_eq!(
                serde_json::from_value::<TransactionNumber>(json!(text)).unwrap(),
                number
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "101",
            "TXMP-",
            "TXMP-x",
            "TXMP-+1",
            "TXMP--1",
            "TXMP- 1",
            "txmp-1",
            " TXMP-1",
            "TXMP-1-nobody",
            "TXMP-\u{661}",
            "TXMP-9223372036854775808",
        ] {
            assert_eq!(text.parse::<TransactionNumber>(), Err(NotANumber), "{text}");
        }
        let refused = serde_json::from_value::<TransactionNumber>(json!("101")).unwrap_err();
        assert_eq!(refused.to_string(), NotANumber.to_string());
    }

    #[test]
    fn a_name_is_an_id_or_a_number_or_nothing() {
        let name = |text: &str| {
            let name = TransactionName::from(text.to_owned());
            (name.id, name.number.map(TransactionNumber::get))
        };
        let id = TransactionId::from_u128(7);
        assert_eq!(name(&id.to_string()), (Some(id), None));
        assert_eq!(name("TXMP-101"), (None, Some(101)));
        assert_eq!(name("101"), (None, None));
    }
}
