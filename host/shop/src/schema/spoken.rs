//! Texts within a schema, which the author of a plugin wrote for those who fill in its form.

use std::borrow::Cow;

use serde::{Serialize as _, Serializer};
use serde_json::Value;

use super::FIXED;
use crate::language::{self, Language};

/// Keywords whose value is a text for people.
const TEXTS: [&str; 3] = ["title", "description", FIXED];
/// Keywords whose value is data, in which such a name is a field.
const DATA: [&str; 4] = ["default", "examples", "enum", "const"];
/// Keywords whose value has schemas by the names of fields.
const BY_NAME: [&str; 4] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "$defs",
];

/// Returns a schema with its texts in the current language, as far as the plugin has them.
pub fn spoken(schema: &Value) -> Cow<'_, Value> {
    match language::current() {
        Language::English => Cow::Borrowed(schema),
        Language::Indonesian => {
            let mut said = schema.clone();
            say(&mut said);
            Cow::Owned(said)
        }
    }
}

/// Writes a schema as [`spoken`] returns it, for `#[serde(serialize_with)]`.
///
/// # Errors
/// As the serializer.
pub fn in_words<S: Serializer>(schema: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    spoken(schema).serialize(serializer)
}

fn say(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            for (keyword, value) in keywords {
                let keyword = keyword.as_str();
                match value {
                    Value::String(text) if TEXTS.contains(&keyword) => {
                        *text = language::spoken(text).into_owned();
                    }
                    Value::Object(fields) if BY_NAME.contains(&keyword) => {
                        fields.values_mut().for_each(say);
                    }
                    _ if DATA.contains(&keyword) => {}
                    inner => say(inner),
                }
            }
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(say),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn texts_of_a_form_are_said_and_its_data_is_left() {
        let schema = |text: &str, fixed: &str| {
            json!({
                "type": "object", "title": text,
                "properties": {
                    "title": { "type": "string", "description": text, "x-fixed": fixed, "default": "is gone" },
                    "default": { "type": "string", "title": text, "enum": ["is gone"] },
                    "mail": { "oneOf": [{ "properties": { "host": { "title": text } } }], "x-fixed": true },
                },
                "examples": [{ "title": "is gone" }],
                "default": { "title": "is gone" },
                "required": ["title"],
            })
        };
        let english = schema("is gone", "is being deleted");
        let said = language::within(Some(Language::Indonesian), async {
            spoken(&english).into_owned()
        });
        assert_eq!(said.await, schema("sudah tidak ada", "sedang dihapus"));
        let same = language::within(Some(Language::English), async {
            spoken(&english).into_owned()
        });
        assert_eq!(same.await, english);
    }
}
