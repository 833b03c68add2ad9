//! Canonical spelling of a JSON value, for records that are compared byte for byte.

use serde::Serialize;
use serde_json::Value;

/// Writes a value as RFC 8785 does: no white space, keys sorted by their UTF-16 code units, strings
/// escaped only where they must be. Numbers keep the shortest spelling, as `serde_json` writes
/// them, which agrees with the RFC for every integer.
pub fn canonical_json(value: &Value) -> String {
    let mut bytes = Vec::new();
    write_value(&mut bytes, value);
    // Cannot fail: the output consists of texts and ASCII punctuation.
    String::from_utf8(bytes).unwrap_or_default()
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (position, (key, member)) in sorted.into_iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_scalar(out, key);
                out.push(b':');
                write_value(out, member);
            }
            out.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            write_scalar(out, value);
        }
    }
}

/// Writes a value that has only one spelling, the one of `serde_json`.
fn write_scalar<T: Serialize + ?Sized>(out: &mut Vec<u8>, scalar: &T) {
    // Writing a text or a number to memory cannot fail.
    let _ = serde_json::to_writer(out, scalar);
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
