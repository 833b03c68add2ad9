//! Texts of the gateway, in whose place it now and then writes a number or null.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;

/// A text. A number is kept as it was written, because signatures cover that; null is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::payments) struct Text(String);

impl Text {
    pub(in crate::payments) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, unless it is empty.
    pub(in crate::payments) fn given(&self) -> Option<&str> {
        Some(self.as_str()).filter(|text| !text.is_empty())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let raw = raw.get();
        match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw)
                .map(Self)
                .map_err(D::Error::custom),
            Some(b'n') => Ok(Self::default()),
            Some(b'-' | b'0'..=b'9') => Ok(Self(raw.to_owned())),
            _ => Err(D::Error::custom("must be a text or a number")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_as_they_are_written() {
        let read = |json| serde_json::from_str::<Text>(json).map(|text| text.0).ok();
        for (json, text) in [
            (r#""203500.00""#, "203500.00"),
            (r#""a\"b\u0041""#, "a\"bA"),
            ("203500.00", "203500.00"),
            ("203500", "203500"),
            (" 2.035E5", "2.035E5"),
            ("-1", "-1"),
            ("null", ""),
        ] {
            assert_eq!(read(json).as_deref(), Some(text), "{json}");
        }
        for wrong in ["true", "[]", "{}", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
