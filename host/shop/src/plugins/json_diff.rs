//! Differences between two JSON values.

use serde_json::Value;

/// RFC 6901 pointer to the first value that differs, in the order of canonical JSON; empty when the
/// values differ as wholes, `None` when they are equal. A member or item that only one of them has
/// is the difference itself.
pub(super) fn first_difference(old: &Value, new: &Value) -> Option<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            keys.dedup();
            keys.into_iter()
                .find_map(|key| below(&escaped(key), old.get(key), new.get(key)))
        }
        (Value::Array(old), Value::Array(new)) => (0..old.len().max(new.len()))
            .find_map(|index| below(&index.to_string(), old.get(index), new.get(index))),
        _ => (old != new).then(String::new),
    }
}

fn below(token: &str, old: Option<&Value>, new: Option<&Value>) -> Option<String> {
    let rest = match (old, new) {
        (Some(old), Some(new)) => first_difference(old, new)?,
        _ => String::new(),
    };
    Some(format!("/{token}{rest}"))
}

/// A key as a reference token: `~` first, or the escapes would be escaped.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(old: &Value, new: &Value) -> Option<String> {
        let there = first_difference(old, new);
        assert_eq!(there, first_difference(new, old), "it has no direction");
        there
    }

    #[test]
    fn equal_values_have_none() {
        for value in [
            json!(null),
            json!({}),
            json!([]),
            json!({ "a": [1, { "b": "c" }] }),
        ] {
            assert_eq!(at(&value, &value.clone()), None);
        }
    }

    #[test]
    fn whole_values_differ_at_the_root() {
        assert_eq!(at(&json!(1), &json!(2)).as_deref(), Some(""));
        assert_eq!(at(&json!({}), &json!([])).as_deref(), Some(""));
        assert_eq!(at(&json!(null), &json!({ "a": 1 })).as_deref(), Some(""));
    }

    #[test]
    fn the_deepest_value_that_differs_is_pointed_at() {
        let old = json!({ "grant": { "effect": { "credit": 1 }, "lines": [1, { "b": 2 }] } });
        let mut new = old.clone();
        new["grant"]["lines"][1]["b"] = json!("2");
        assert_eq!(at(&old, &new).as_deref(), Some("/grant/lines/1/b"));
        new["grant"]["effect"]["credit"] = json!(2);
        assert_eq!(at(&old, &new).as_deref(), Some("/grant/effect/credit"));
    }

    #[test]
    fn what_only_one_has_is_pointed_at() {
        assert_eq!(
            at(&json!({ "a": 1 }), &json!({ "a": 1, "b": null })).as_deref(),
            Some("/b")
        );
        assert_eq!(at(&json!([1]), &json!([1, 2, 3])).as_deref(), Some("/1"));
        assert_eq!(
            at(&json!({ "b": 1 }), &json!({ "a": 1 })).as_deref(),
            Some("/a")
        );
    }

    #[test]
    fn tokens_are_escaped_so_that_the_pointer_finds_its_value() {
        for (key, pointer) in [
            ("a/b", "/a~1b"),
            ("m~n", "/m~0n"),
            ("~1", "/~01"),
            ("", "/"),
        ] {
            let (old, new) = (json!({ key: 1 }), json!({ key: 2 }));
            assert_eq!(at(&old, &new).as_deref(), Some(pointer));
            assert_eq!(new.pointer(pointer), Some(&json!(2)), "{key}");
        }
    }

    #[test]
    fn the_first_is_that_of_canonical_json() {
        // By UTF-16 the emoji (a surrogate pair) comes before U+FF61; by UTF-8 after it.
        let (old, new) = (json!({ "😀": 1, "｡": 1 }), json!({ "😀": 2, "｡": 2 }));
        assert_eq!(at(&old, &new).as_deref(), Some("/😀"));
    }
}
