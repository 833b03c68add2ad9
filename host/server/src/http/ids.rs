//! Ids in schemas. Each is a type of its own in the code, and a plain UUID for clients.

use dermaga_shop::ids::NAMES;
use serde_json::{Map, Value, json};

/// Writes the UUID in place of each reference to an id, in a schema or a whole document.
pub(crate) fn write_out(schema: &mut Value) {
    let components = schema.pointer_mut("/components/schemas");
    if let Some(schemas) = components.and_then(Value::as_object_mut) {
        schemas.retain(|name, _| !NAMES.contains(&name.as_str()));
    }
    replace(schema);
}

fn replace(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(replace),
        Value::Object(fields) => {
            fields.values_mut().for_each(replace);
            if is_reference(fields) {
                fields.remove("$ref");
                fields.insert("type".into(), json!("string"));
                fields.insert("format".into(), json!("uuid"));
            } else if let Some(id) = nullable(fields) {
                fields.remove("oneOf");
                fields.extend(id);
                fields.insert("type".into(), json!(["string", "null"]));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_reference(schema: &Map<String, Value>) -> bool {
    let reference = schema.get("$ref").and_then(Value::as_str);
    let name = reference.and_then(|path| path.strip_prefix("#/components/schemas/"));
    name.is_some_and(|name| NAMES.contains(&name))
}

/// The id of a schema that is either an id or null.
fn nullable(schema: &Map<String, Value>) -> Option<Map<String, Value>> {
    let either = schema.get("oneOf")?.as_array()?;
    let [Value::Object(id), null] = either.as_slice() else {
        return None;
    };
    let is_id = id.get("format").is_some_and(|format| format == "uuid");
    (is_id && *null == json!({ "type": "null" })).then(|| id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_documented_as_a_uuid() {
        let reference = json!({ "$ref": "#/components/schemas/UserId", "description": "Owner." });
        let mut document = json!({
            "items": reference,
            "nullable": { "oneOf": [reference, { "type": "null" }] },
            "other": { "oneOf": [{ "$ref": "#/components/schemas/Profile" }, { "type": "null" }] },
            "components": { "schemas": {
                "UserId": { "type": "string", "format": "uuid" }, "Profile": { "type": "object" },
            } },
        });
        write_out(&mut document);
        let expected = json!({
            "items": { "type": "string", "format": "uuid", "description": "Owner." },
            "nullable": { "type": ["string", "null"], "format": "uuid", "description": "Owner." },
            "other": { "oneOf": [{ "$ref": "#/components/schemas/Profile" }, { "type": "null" }] },
            "components": { "schemas": { "Profile": { "type": "object" } } },
        });
        assert_eq!(document, expected);
    }
}
