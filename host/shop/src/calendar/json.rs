//! Moments in JSON: in UTC and to the millisecond, so that all have one form, and are in order as texts, too.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// Formats a moment for JSON: `2027-01-01T00:00:00.000Z`.
pub fn json_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Writes a moment into JSON, for `#[serde(serialize_with)]`.
///
/// # Errors
/// As the serializer.
pub fn in_json<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&json_text(*at))
}

/// Writes an optional moment into JSON, for `#[serde(serialize_with)]`.
///
/// # Errors
/// As the serializer.
pub fn in_json_if_any<S: Serializer>(
    at: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.serialize_some(&json_text(*at)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use serde::Serialize;
    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    struct Moments {
        #[serde(serialize_with = "in_json")]
        at: DateTime<Utc>,
        #[serde(serialize_with = "in_json_if_any")]
        until: Option<DateTime<Utc>>,
    }

    #[test]
    fn a_moment_has_one_form_however_exact_it_is() {
        for (given, written) in [
            ("2027-01-31T05:00:00Z", "2027-01-31T05:00:00.000Z"),
            ("2027-01-31T05:00:00.1Z", "2027-01-31T05:00:00.100Z"),
            ("2027-01-31T05:00:00.123456789Z", "2027-01-31T05:00:00.123Z"),
            (
                "2027-01-31T12:00:00.999999+07:00",
                "2027-01-31T05:00:00.999Z",
            ),
        ] {
            let at = given.parse().unwrap();
            let moments = serde_json::to_value(Moments {
                at,
                until: Some(at),
            });
            let expected = json!({ "at": written, "until": written });
            assert_eq!(moments.unwrap(), expected, "{given}");
            let moments = serde_json::to_value(Moments { at, until: None });
            assert_eq!(moments.unwrap()["until"], json!(null));
        }
    }

    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                files.push(path);
            }
        }
    }

    /// Returns the moments in the types of a file that are written as chrono would write them.
    fn written_otherwise(source: &str) -> Vec<&str> {
        let (mut is_written, mut depth, mut found) = (false, 0_usize, Vec::new());
        let mut attributes = String::new();
        for line in source.lines().map(str::trim) {
            let is_type = line.contains("struct ") || line.contains("enum ");
            if line.starts_with("//") {
                continue;
            }
            if depth == 0 && is_type && line.ends_with('{') {
                is_written = attributes
                    .split(|letter: char| !letter.is_alphanumeric())
                    .any(|word| word == "Serialize");
                depth = 1;
            } else if depth > 0 {
                depth += line.matches('{').count();
                depth = depth.saturating_sub(line.matches('}').count());
                let is_moment = line.contains(": DateTime<") || line.contains("Option<DateTime<");
                let is_told = ["in_json", "serde(skip)"]
                    .iter()
                    .any(|word| attributes.contains(word));
                if is_written && is_moment && !is_told {
                    found.push(line);
                }
            }
            if line.starts_with("#[") {
                attributes.push_str(line);
            } else if line.ends_with([',', '{', '}', ';']) {
                attributes.clear();
            }
        }
        found
    }

    #[test]
    fn every_moment_of_an_answer_is_written_by_this() {
        let derived =
            "#[derive(Debug, Serialize)]\npub struct View {\n    pub at: DateTime<Utc>,\n}\n";
        assert_eq!(written_otherwise(derived), ["pub at: DateTime<Utc>,"]);
        assert!(written_otherwise(&derived.replace("Serialize", "Clone")).is_empty());
        let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = Vec::new();
        for folder in ["shop/src", "server/src"] {
            collect(&host.join(folder), &mut files);
        }
        assert!(files.len() > 300, "the sources are not where they were");
        for file in files {
            let source = fs::read_to_string(&file).unwrap();
            let found = written_otherwise(&source);
            assert!(found.is_empty(), "{}: {found:#?}", file.display());
        }
    }
}
