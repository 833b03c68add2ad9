//! Values that both databases can hold: texts without U+0000, and dates of four-digit years from 1970
//! on. One rule for bodies, queries and addresses.

use std::{fmt::Display, str::FromStr};

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::schema;

/// PostgreSQL holds no such character in a text.
pub const NO_NUL: &str = "must not contain the character U+0000";
const BOUNDS: &str = "must be between 1970-01-01 and 9999-12-31 (UTC)";

/// Pointers of the texts and names with the character U+0000 in a JSON body.
pub fn nuls(body: &[u8]) -> Vec<String> {
    // JSON has the character in this form alone, and most bodies do not.
    const ESCAPED: &[u8] = b"\\u0000";
    let mut found = Vec::new();
    if body.windows(ESCAPED.len()).any(|piece| piece == ESCAPED)
        && let Ok(value) = serde_json::from_slice(body)
    {
        find_nuls(&value, "", &mut found);
    }
    found
}

fn find_nuls(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains('\0') => found.push(pointer.to_owned()),
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                find_nuls(item, &format!("{pointer}/{place}"), found);
            }
        }
        Value::Object(fields) => {
            if fields.keys().any(|name| name.contains('\0')) {
                found.push(pointer.to_owned());
            }
            for (name, value) in fields.iter().filter(|(name, _)| !name.contains('\0')) {
                let name = name.replace('~', "~0").replace('/', "~1");
                find_nuls(value, &format!("{pointer}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// Reads a date.
///
/// # Errors
/// A sentence about the form or the bounds.
pub fn date(text: &str) -> Result<NaiveDate, String> {
    let date: NaiveDate = parsed(text, "date")?;
    bounded(date).map(|()| date)
}

/// Reads a moment; its year counts where UTC is.
///
/// # Errors
/// A sentence about the form or the bounds.
pub fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    let moment: DateTime<FixedOffset> = parsed(text, "date-time")?;
    let moment = moment.to_utc();
    bounded(moment.date_naive()).map(|()| moment)
}

fn parsed<T: FromStr<Err: Display>>(text: &str, format: &str) -> Result<T, String> {
    let parsed = text.parse();
    parsed.map_err(|_| format!("must be {}", schema::of_format(format)))
}

fn bounded(date: NaiveDate) -> Result<(), String> {
    match date.year() {
        1970..=9999 => Ok(()),
        _ => Err(BOUNDS.to_owned()),
    }
}

/// Last moment within the bounds.
pub fn last_moment() -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(9999, 12, 31)
        .and_then(|date| date.and_hms_micro_opt(23, 59, 59, 999_999))
        .map_or(DateTime::<Utc>::MAX_UTC, |last| last.and_utc())
}

/// Reads an optional moment of a body, for `#[serde(default, deserialize_with)]`.
///
/// # Errors
/// A sentence about the form or the bounds.
pub fn optional_moment<'de, D>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    let moment = text.map(|text| moment(&text));
    moment.transpose().map_err(de::Error::custom)
}

/// Reads a field that may be null, for `#[serde(default, deserialize_with)]`: absent is `None`, and
/// null is `Some(None)`.
///
/// # Errors
/// As the type's own.
pub fn nullable<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_between_1970_and_9999_in_utc() {
        for good in ["1970-01-01", "9999-12-31"] {
            assert_eq!(date(good).unwrap().to_string(), good);
        }
        for wrong in ["1969-12-31", "-9999-12-31", "-4713-01-01", "+10000-01-01"] {
            assert_eq!(date(wrong).unwrap_err(), BOUNDS, "{wrong}");
        }
        for good in ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
            moment(good).unwrap();
            assert!(moment(good).unwrap() <= last_moment());
        }
        for wrong in [
            "-4800-01-01T00:00:00Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-23:59",
        ] {
            assert_eq!(moment(wrong).unwrap_err(), BOUNDS, "{wrong}");
        }
        assert!(moment("besok").unwrap_err().starts_with("must be a moment"));
    }

    #[test]
    fn null_is_told_from_a_field_that_is_absent() {
        #[derive(Deserialize)]
        struct Edit {
            #[serde(default, deserialize_with = "nullable")]
            price: Option<Option<i64>>,
        }
        for (body, price) in [
            ("{}", None),
            (r#"{"price": null}"#, Some(None)),
            (r#"{"price": 5}"#, Some(Some(5))),
        ] {
            let edit: Edit = serde_json::from_str(body).unwrap();
            assert_eq!(edit.price, price, "{body}");
        }
    }

    #[test]
    fn finds_every_nul() {
        let body = br#"{"a": ["x", "\u0000"], "b/c": {"d\u0000": 1}, "e": "\\u0000"}"#;
        assert_eq!(nuls(body), ["/a/1", "/b~1c"]);
        assert!(nuls(br#"{"a": "b"}"#).is_empty());
    }
}
