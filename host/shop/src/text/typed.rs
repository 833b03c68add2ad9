//! Texts of people in bodies: what prints nothing is left out where they are read, before their rules look at them.

use serde::{Deserialize, Deserializer};

use super::{shown_line, shown_prose};

/// A field that holds a text, or none, or several.
pub trait Typed: Sized {
    /// Applies a rule to each of its texts.
    #[must_use]
    fn with_each(self, rule: fn(&str) -> String) -> Self;
}

impl Typed for String {
    fn with_each(self, rule: fn(&str) -> String) -> Self {
        rule(&self)
    }
}

impl<T: Typed> Typed for Option<T> {
    fn with_each(self, rule: fn(&str) -> String) -> Self {
        self.map(|text| text.with_each(rule))
    }
}

impl<T: Typed> Typed for Vec<T> {
    fn with_each(self, rule: fn(&str) -> String) -> Self {
        let texts = self.into_iter();
        texts.map(|text| text.with_each(rule)).collect()
    }
}

/// Reads a line that is shown beside others, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// As the field's own type.
pub fn typed_line<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Typed,
{
    T::deserialize(deserializer).map(|typed| typed.with_each(shown_line))
}

/// Reads a text of any number of lines, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// As the field's own type.
pub fn typed_prose<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Typed,
{
    T::deserialize(deserializer).map(|typed| typed.with_each(shown_prose))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Edit {
        #[serde(deserialize_with = "typed_prose")]
        reason: String,
        #[serde(default, deserialize_with = "typed_line")]
        name: Option<String>,
        #[serde(default, deserialize_with = "typed_line")]
        features: Option<Vec<String>>,
    }

    #[test]
    fn a_body_is_read_without_what_prints_nothing() {
        let sent =
            json!({ "reason": "It was\u{202e} sold\n o\u{ad}ut.", "features": ["a\u{200b}", "b"] });
        let read: Edit = serde_json::from_value(sent).unwrap();
        assert_eq!(read.reason, "It was sold\n o\u{ad}ut.");
        assert_eq!(read.features, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(read.name, None);
        let sent = json!({ "reason": "", "name": "Da\u{202e}sar\u{e000}", "features": null });
        let read: Edit = serde_json::from_value(sent).unwrap();
        assert_eq!(read.name.as_deref(), Some("Dasar"));
        assert_eq!(read.features, None);
        assert!(serde_json::from_value::<Edit>(json!({ "reason": 5 })).is_err());
    }
}
