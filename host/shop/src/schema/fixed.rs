//! Fields that keep the value they were bought with: `"x-fixed"` in a schema, with the reason.

use serde_json::{Map, Value};

use crate::{Code, Error, Result};

/// Keyword of a property whose value cannot change after the purchase: a sentence that says why.
pub const FIXED: &str = "x-fixed";

/// Refuses a change of fields that a plugin marks as fixed. A field that is absent has its default.
///
/// # Errors
/// `VALIDATION_FAILED` with one detail for each fault, in the plugin's own words.
pub fn refuse_fixed(schema: &Value, old: &Value, new: &Value, root: &str) -> Result<()> {
    let mut faults = Vec::new();
    collect(schema, old, new, root, &mut faults);
    if faults.is_empty() {
        return Ok(());
    }
    let message = "A field that cannot change after the purchase would change.";
    let error = Error::new(Code::ValidationFailed, message);
    Err(faults
        .into_iter()
        .fold(error, |error, (field, why)| error.with(field, why)))
}

fn collect(schema: &Value, old: &Value, new: &Value, at: &str, faults: &mut Vec<(String, String)>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        let default = property.get("default").unwrap_or(&Value::Null);
        let old = old.get(name).unwrap_or(default);
        let new = new.get(name).unwrap_or(default);
        match property.get(FIXED) {
            Some(reason) if old != new => {
                let reason = reason
                    .as_str()
                    .unwrap_or("cannot change after the purchase");
                faults.push((at, reason.to_owned()));
            }
            Some(_) => {}
            None => collect(property, &in_object(old), &in_object(new), &at, faults),
        }
    }
}

fn in_object(value: &Value) -> Value {
    value
        .as_object()
        .map_or_else(|| Value::Object(Map::new()), |_| value.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fixed_field_keeps_its_value_and_says_why() {
        let schema = json!({"properties": {
            "database": {"default": "app", "x-fixed": "The database is made at the first start."},
            "mail": {"properties": {"domain": {"x-fixed": true}, "port": {}}},
            "size": {},
        }});
        let check = |old: &Value, new: &Value| refuse_fixed(&schema, old, new, "config");
        let (empty, same) = (
            json!({}),
            json!({"database": "app", "size": 2, "mail": {"port": 25}}),
        );
        check(&empty, &same).unwrap();
        check(&same, &empty).unwrap();
        let other = json!({"database": "b", "mail": {"domain": "a.example"}});
        let refused = check(&empty, &other).unwrap_err();
        let told: Vec<_> = refused
            .details
            .iter()
            .map(|detail| (detail.field.as_str(), detail.message.as_str()))
            .collect();
        let expected = [
            (
                "config/database",
                "The database is made at the first start.",
            ),
            ("config/mail/domain", "cannot change after the purchase"),
        ];
        assert_eq!(told, expected);
    }
}
