//! Secret values in a customer's configuration: they go into the instance's Secret and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use dermaga_toolkit::given::secret_name;
use serde_json::Value;

use crate::crypto::{self, Secret};

/// Mark that a configuration has in place of a secret value that was given at the purchase.
pub const MARK: &str = "given";

/// Takes the values of the properties that a schema calls `writeOnly` out of a configuration that
/// fits it, and leaves a mark. Returns them by the names of the instance's secrets: `mailPassword`,
/// `mail_password` and `password` within `mail` are all `mail-password`. A form with two of them is not
/// sold.
pub fn take(schema: &Value, config: &mut Value, mark: &str) -> BTreeMap<String, Secret> {
    take_anew(schema, &Value::Null, config, mark)
}

/// As [`take`], for an instance that has a configuration: a mark that is sent back keeps its value.
/// A new value gets a mark of its own, so that the configuration before is still about the value
/// before.
pub(super) fn take_changed(
    schema: &Value,
    before: &Value,
    config: &mut Value,
) -> BTreeMap<String, Secret> {
    let mark = format!("{MARK}:{}", crypto::random_hex(6));
    let taken = take_anew(schema, before, config, &mark);
    let name_of_row = |name: String| match mark.split_once(':') {
        Some((_, tag)) => format!("{name}:{tag}"),
        None => name,
    };
    let rows = taken.into_iter();
    rows.map(|(name, value)| (name_of_row(name), value))
        .collect()
}

/// Resolves the secrets of an instance for a configuration: where it has the mark of a later value,
/// that one.
pub(super) fn resolve<T>(rows: BTreeMap<String, T>, config: &Value) -> BTreeMap<String, T> {
    let tags = tags(config);
    let (later, mut secrets): (BTreeMap<_, _>, BTreeMap<_, _>) =
        rows.into_iter().partition(|(name, _)| name.contains(':'));
    for (row, value) in later {
        if let Some((name, tag)) = row.split_once(':')
            && tags.contains(tag)
        {
            secrets.insert(name.to_owned(), value);
        }
    }
    secrets
}

/// Returns the tags of the marks in a configuration.
pub(super) fn tags(config: &Value) -> BTreeSet<&str> {
    let below: Vec<&Value> = match config {
        Value::String(text) => {
            let tag = text
                .strip_prefix(MARK)
                .and_then(|rest| rest.strip_prefix(':'));
            return tag.into_iter().collect();
        }
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    below.into_iter().flat_map(tags).collect()
}

fn take_anew(
    schema: &Value,
    before: &Value,
    config: &mut Value,
    mark: &str,
) -> BTreeMap<String, Secret> {
    let mut taken = BTreeMap::new();
    take_below(schema, (before, config), ("", mark), &mut taken);
    taken
}

fn take_below(
    schema: &Value,
    (before, config): (&Value, &mut Value),
    (prefix, mark): (&str, &str),
    taken: &mut BTreeMap<String, Secret>,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (property, schema) in properties.into_iter().flatten() {
        let Some(value) = config.get_mut(property) else {
            continue;
        };
        let name = format!("{prefix}{}", secret_name(property));
        let before = before.get(property).unwrap_or(&Value::Null);
        let is_hidden = schema.get("writeOnly") == Some(&Value::Bool(true));
        match value {
            Value::Object(_) => {
                let below = format!("{name}-");
                take_below(schema, (before, value), (&below, mark), taken);
            }
            Value::String(text) if is_hidden && !text.is_empty() => {
                let is_kept = text.starts_with(MARK) && before.as_str() == Some(text.as_str());
                if !is_kept {
                    let given = std::mem::replace(text, mark.to_owned());
                    taken.insert(name, Secret::new(given));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_write_only_leaves_the_configuration() {
        let hidden = json!({"type": "string", "writeOnly": true});
        let schema = json!({"properties": {
            "mail": {"properties": {"password": hidden, "host": {"type": "string"}}},
            "apiKey": hidden,
            "other_key": hidden,
            "empty": hidden,
        }});
        let mail = |password: &str| json!({"password": password, "host": "mail.example"});
        let mut config =
            json!({"mail": mail("hunter2"), "apiKey": "a", "other_key": "b", "empty": ""});
        let taken = take(&schema, &mut config, MARK);
        let names: Vec<&str> = taken.keys().map(String::as_str).collect();
        assert_eq!(names, ["api-key", "mail-password", "other-key"]);
        assert_eq!(taken["mail-password"].reveal(), "hunter2");
        let left =
            json!({"mail": mail("given"), "apiKey": "given", "other_key": "given", "empty": ""});
        assert_eq!(config, left);
    }

    #[test]
    fn a_configuration_finds_the_value_that_was_given_with_it() {
        let hidden = json!({"type": "string", "writeOnly": true});
        let schema = json!({"properties": {"key": hidden, "other": hidden}});
        let before = json!({"key": "given", "other": "given"});
        let mut after = json!({"key": "given", "other": "new value"});
        let taken = take_changed(&schema, &before, &mut after);
        assert_eq!(after["key"], "given");
        let mut rows = BTreeMap::from([
            ("key".to_owned(), "first".to_owned()),
            ("other".to_owned(), "second".to_owned()),
        ]);
        for (row, value) in &taken {
            rows.insert(row.clone(), value.reveal().to_owned());
        }
        let of = |config: &Value| {
            let found = resolve(rows.clone(), config);
            assert_eq!(found.len(), 2, "{found:?}");
            (found["key"].clone(), found["other"].clone())
        };
        assert_eq!(of(&before), ("first".to_owned(), "second".to_owned()));
        assert_eq!(of(&after), ("first".to_owned(), "new value".to_owned()));
        // A text that was no mark before is a value, whatever it looks like.
        let mut guess = json!({"key": "given:0123456789ab"});
        assert_eq!(take_changed(&schema, &before, &mut guess).len(), 1);
    }
}
