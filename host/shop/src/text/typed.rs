//! Texts of people in bodies: what prints nothing is left out where they are read, before their rules look at them.

use serde::{Deserialize, Deserializer};

use super::{cleaned_line, cleaned_prose, cleaned_reason, is_unseen};

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
    T::deserialize(deserializer).map(|typed| typed.with_each(cleaned_line))
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
    T::deserialize(deserializer).map(|typed| typed.with_each(cleaned_prose))
}

/// Reads a reason as [`typed_prose`] does, without the blanks around it, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// As the field's own type.
pub fn typed_reason<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Typed,
{
    T::deserialize(deserializer).map(|typed| typed.with_each(cleaned_reason))
}

/// Reads what a list is searched for, for `#[serde(deserialize_with)]`: cleaned as the lines that it is looked for in.
/// A text of which nothing can be seen is no search, as an empty one.
///
/// # Errors
/// For what is no text.
pub fn typed_search<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let typed: Option<String> = typed_line(deserializer)?;
    let seen = typed.filter(|text| !is_unseen(text));
    Ok(seen.map(|text| text.trim().to_owned()))
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

    #[derive(Debug, Deserialize)]
    struct Act {
        #[serde(deserialize_with = "typed_reason")]
        reason: String,
    }

    #[test]
    fn a_reason_is_read_without_the_blanks_around_it() {
        let sent = json!({ "reason": "\u{a0}\n It was\u{202e} sold\n out. \t" });
        let read: Act = serde_json::from_value(sent).unwrap();
        assert_eq!(read.reason, "It was sold\n out.");
    }

    #[derive(Debug, Deserialize)]
    struct Search {
        #[serde(default, deserialize_with = "typed_search")]
        q: Option<String>,
    }

    #[test]
    fn a_search_of_which_nothing_is_seen_is_none() {
        for (sent, sought) in [
            (json!({}), None),
            (json!({ "q": null }), None),
            (json!({ "q": "" }), None),
            (json!({ "q": "\u{200b} \u{e000}" }), None),
            (json!({ "q": "\u{301}" }), None),
            (json!({ "q": " Sa\u{200b}ri " }), Some("Sari")),
            (json!({ "q": "Rene\u{301}" }), Some("Ren\u{e9}")),
        ] {
            let read: Search = serde_json::from_value(sent.clone()).unwrap();
            assert_eq!(read.q.as_deref(), sought, "{sent}");
        }
        assert!(serde_json::from_value::<Search>(json!({ "q": 5 })).is_err());
    }
}
