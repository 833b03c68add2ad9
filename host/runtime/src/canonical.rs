//! The one spelling of a JSON value, for records that are compared byte for byte.

use std::fmt::Write;

use serde_json::Value;

/// Writes a value as RFC 8785 does: no white space, keys sorted by their UTF-16 code units, strings
/// escaped only where they must be. Numbers keep the shortest spelling `serde_json` gives them,
/// which agrees with the RFC for every integer.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (position, (key, member)) in sorted.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_scalar(out, key);
                out.push(':');
                write_value(out, member);
            }
            out.push('}');
        }
        Value::String(text) => write_scalar(out, text),
        Value::Null | Value::Bool(_) | Value::Number(_) => write_scalar(out, value),
    }
}

/// Whatever has only one spelling: `serde_json` already writes it.
fn write_scalar(out: &mut String, scalar: impl Into<Scalar>) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{}", scalar.into().0);
}

struct Scalar(Value);

impl From<&Value> for Scalar {
    fn from(value: &Value) -> Self {
        Self(value.clone())
    }
}

impl From<&String> for Scalar {
    fn from(text: &String) -> Self {
        Self(Value::from(text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sorts_keys_at_every_depth_and_leaves_no_white_space() {
        let value = json!({"b": [1, {"z": null, "a": true}], "a": "é\n\"", "A": -5});
        assert_eq!(
            canonical_json(&value),
            r#"{"A":-5,"a":"é\n\"","b":[1,{"a":true,"z":null}]}"#
        );
    }

    #[test]
    fn sorts_by_utf16_code_units_as_the_rfc_says() {
        // U+1F600 is a surrogate pair starting 0xD83D, which sorts before U+FB33.
        let value = json!({"\u{fb33}": 1, "\u{1f600}": 2});
        assert_eq!(canonical_json(&value), "{\"\u{1f600}\":2,\"\u{fb33}\":1}");
    }
}
