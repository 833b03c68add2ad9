//! Finds values that a schema proposes and does not accept itself.

use serde_json::Value;

/// A proposed value that breaks its own schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadProposal {
    /// Name of the top-level property that the value is for; empty for the whole or a deeper value.
    pub(super) property: String,
    /// Keyword with the value: `default`, `examples` or `enum`.
    pub(super) keyword: &'static str,
    /// Explanation, a sentence.
    pub(super) message: String,
}

/// Returns each `default`, and each value of `examples` and `enum`, that its own schema does not
/// accept; nothing when the schema is invalid.
pub(super) fn refused(schema: &Value) -> Vec<BadProposal> {
    let options = jsonschema::draft202012::options();
    let Ok(parts) = options.build_map(schema) else {
        return Vec::new();
    };
    let mut pointers: Vec<&str> = parts.keys().collect();
    pointers.sort_unstable();
    let mut refused = Vec::new();
    for pointer in pointers {
        let part = pointer.strip_prefix('#').and_then(|at| schema.pointer(at));
        let (Some(part), Some(validator)) = (part, parts.get(pointer)) else {
            continue;
        };
        let wrong = proposed(part).filter_map(|(keyword, value)| {
            let error = validator.validate(value).err()?;
            Some(bad(pointer, keyword, value, &error.to_string()))
        });
        refused.extend(wrong);
    }
    refused
}

fn proposed(schema: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    let default = schema.get("default").map(|value| ("default", value));
    let listed = ["examples", "enum"].into_iter().flat_map(move |keyword| {
        let values = schema.get(keyword).and_then(Value::as_array);
        values
            .into_iter()
            .flatten()
            .map(move |value| (keyword, value))
    });
    default.into_iter().chain(listed)
}

fn bad(pointer: &str, keyword: &'static str, value: &Value, why: &str) -> BadProposal {
    let property = pointer
        .strip_prefix("#/properties/")
        .filter(|name| !name.contains('/'))
        .unwrap_or_default();
    let place = match (property, pointer) {
        ("", "#") => "its configuration as a whole".to_owned(),
        ("", nested) => format!("`{nested}`"),
        (name, _) => format!("`{name}`"),
    };
    let what = match keyword {
        "default" => "the default",
        "examples" => "an example",
        _ => "a choice",
    };
    BadProposal {
        property: property.to_owned(),
        keyword,
        message: format!("{what} of {place}, {value}, is refused by its own schema: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_schema_proposes_it_accepts() {
        let good = json!({
            "type": "object",
            "default": {},
            "examples": [{"zone": "UTC"}],
            "properties": {"zone": {"$ref": "#/$defs/zone", "default": "UTC"}, "size": {"enum": [1, 2], "default": 2}},
            "$defs": {"zone": {"type": "string", "pattern": "^[A-Z]+$"}},
        });
        assert_eq!(refused(&good), []);
        let mut bad = good;
        bad["properties"]["zone"]["default"] = json!("utc");
        bad["properties"]["size"] = json!({"enum": [1, "x"], "type": "integer", "default": 3});
        bad["examples"] = json!([{"zone": 5}]);
        let found = refused(&bad);
        let seen: Vec<_> = found
            .iter()
            .map(|one| (one.property.as_str(), one.keyword))
            .collect();
        assert_eq!(
            seen,
            [
                ("", "examples"),
                ("size", "default"),
                ("size", "enum"),
                ("zone", "default")
            ]
        );
        assert!(
            found[3]
                .message
                .starts_with("the default of `zone`, \"utc\", is refused by its own schema: "),
            "{found:?}"
        );
        assert_eq!(refused(&json!({"type": 5})), []);
    }
}
