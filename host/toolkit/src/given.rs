//! Names of the secrets that hold what customers give in a form's secret fields.

use serde_json::Value;

/// Returns the name of the secret for a property: `mailPassword` and `mail_password` are both
/// `mail-password`. Within an object, its own name and a hyphen go before.
pub fn secret_name(property: &str) -> String {
    let mut name = String::new();
    for letter in property.chars() {
        match letter {
            '_' => name.push('-'),
            'A'..='Z' => {
                name.push('-');
                name.push(letter.to_ascii_lowercase());
            }
            other => name.push(other),
        }
    }
    name
}

/// Returns the fields of a form that are `writeOnly`, such as `mail.password`, each with the name of
/// its secret.
pub(crate) fn secret_fields(schema: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(schema, ("", ""), &mut found);
    found
}

fn collect(schema: &Value, (path, prefix): (&str, &str), found: &mut Vec<(String, String)>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (property, schema) in properties.into_iter().flatten() {
        let field = format!("{path}{property}");
        let name = format!("{prefix}{}", secret_name(property));
        let below = (format!("{field}."), format!("{name}-"));
        if schema.get("writeOnly") == Some(&Value::Bool(true)) {
            found.push((field, name));
        }
        collect(schema, (&below.0, &below.1), found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_named_by_their_fields() {
        let hidden = json!({"type": "string", "writeOnly": true});
        let schema = json!({"properties": {
            "apiKey": hidden,
            "mail": {"properties": {"host": {"type": "string"}, "password": hidden}},
            "zone": {"type": "string"},
        }});
        let found = secret_fields(&schema);
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(field, name)| (field.as_str(), name.as_str()))
            .collect();
        assert_eq!(
            found,
            [("apiKey", "api-key"), ("mail.password", "mail-password")]
        );
        assert_eq!(secret_name("api_key"), secret_name("apiKey"));
    }
}
