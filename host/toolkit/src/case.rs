//! Golden cases: recorded answers that a plugin must keep.
//!
//! A case is a JSON file beside the plugin, `cases/NAME.json`:
//!
//! ```json
//! { "description": "...", "function": "evaluate", "input": { }, "output": { } }
//! ```
//!
//! with the shapes of [`dermaga_runtime::contract`]. Values are compared as canonical JSON.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

use dermaga_runtime::{CallError, Plugin, canonical_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most characters of a value shown in a difference.
const SHOWN: usize = 200;

/// One call and the answer it must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// Name of the file without `.json`.
    #[serde(skip)]
    pub name: String,
    /// Purpose of the case, a sentence.
    pub description: String,
    /// Function as the WIT names it, for example `plan-change`.
    pub function: String,
    /// Input of the call; `null` for functions without arguments.
    #[serde(default)]
    pub input: Value,
    /// Expected answer; absent in a new case until it is blessed.
    #[serde(default, deserialize_with = "present")]
    pub output: Option<Value>,
}

/// Reads a present `null` as `Some(Value::Null)`: it is an answer too.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// A file that is not a case, or a case that could not be blessed.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    #[error("{} cannot be read: {error}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
    #[error("{} cannot be written: {error}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
    #[error("{}: this is not a case: {error}; a case is {{\"description\", \"function\", \"input\", \"output\"}}", .path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        error: serde_json::Error,
    },
    #[error("the case {case} has no answer to bless: {error}")]
    Call {
        case: String,
        #[source]
        error: Box<CallError>,
    },
}

impl Case {
    /// Reads every case of a folder, by name. A missing folder has none.
    ///
    /// # Errors
    /// The first file that cannot be read or is not a case.
    pub fn load_dir(folder: &Path) -> Result<Vec<Self>, CaseError> {
        files(folder)?.iter().map(|path| Self::load(path)).collect()
    }

    fn load(path: &Path) -> Result<Self, CaseError> {
        let text = fs::read_to_string(path).map_err(|error| CaseError::Read {
            path: path.to_owned(),
            error,
        })?;
        let case: Self = serde_json::from_str(&text).map_err(|error| CaseError::Malformed {
            path: path.to_owned(),
            error,
        })?;
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        Ok(Self {
            name: name.unwrap_or_default(),
            ..case
        })
    }

    /// Returns the file's text: members in the order of the format, everything inside them sorted.
    fn to_json(&self) -> String {
        let sorted = |value: &Value| {
            serde_json::from_str(&canonical_json(value)).unwrap_or_else(|_| value.clone())
        };
        let case = Self {
            input: sorted(&self.input),
            output: self.output.as_ref().map(sorted),
            ..self.clone()
        };
        let mut text = serde_json::to_string_pretty(&case).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// Writes the plugin's present answers into every case of a folder and returns the names of those
/// that changed.
///
/// # Errors
/// When a case cannot be read or written, or a call fails: failures are never blessed.
pub fn bless(folder: &Path, plugin: &Plugin) -> Result<Vec<String>, CaseError> {
    let mut changed = Vec::new();
    for path in files(folder)? {
        let case = Case::load(&path)?;
        let called = plugin
            .call_json(&case.function, &case.input)
            .map_err(|error| CaseError::Call {
                case: case.name.clone(),
                error: Box::new(error),
            })?;
        let blessed = Case {
            output: Some(called.value),
            ..case
        }
        .to_json();
        let old = fs::read_to_string(&path).map_err(|error| CaseError::Read {
            path: path.clone(),
            error,
        })?;
        if blessed != old {
            fs::write(&path, blessed).map_err(|error| CaseError::Write {
                path: path.clone(),
                error,
            })?;
            changed.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    Ok(changed)
}

/// Result of blessing, one line for a person.
pub fn blessed(changed: &[String]) -> String {
    if changed.is_empty() {
        "blessed: no case changed".to_owned()
    } else {
        format!("blessed: {}", changed.join(", "))
    }
}

fn files(folder: &Path) -> Result<BTreeSet<PathBuf>, CaseError> {
    let failed = |error| CaseError::Read {
        path: folder.to_owned(),
        error,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = BTreeSet::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.insert(path);
        }
    }
    Ok(files)
}

/// The first place at which two values differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// JSON pointer; empty for the whole.
    pub pointer: String,
    /// `None` when the value is only in the answer.
    pub expected: Option<Value>,
    /// `None` when the value is missing from the answer.
    pub answered: Option<Value>,
}

impl Difference {
    /// Compares two values as canonical JSON: the order of members does not matter.
    pub fn between(expected: &Value, answered: &Value) -> Option<Self> {
        descend(String::new(), Some(expected), Some(answered))
    }
}

fn descend(
    pointer: String,
    expected: Option<&Value>,
    answered: Option<&Value>,
) -> Option<Difference> {
    match (expected, answered) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| {
                let token = key.replace('~', "~0").replace('/', "~1");
                descend(format!("{pointer}/{token}"), a.get(key), b.get(key))
            })
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            (0..a.len().max(b.len())).find_map(|position| {
                descend(
                    format!("{pointer}/{position}"),
                    a.get(position),
                    b.get(position),
                )
            })
        }
        (expected, answered) if expected == answered => None,
        (expected, answered) => Some(Difference {
            pointer,
            expected: expected.cloned(),
            answered: answered.cloned(),
        }),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| match value {
            Some(value) => shorten(&canonical_json(value)),
            None => "nothing".to_owned(),
        };
        let at = if self.pointer.is_empty() {
            "the whole answer"
        } else {
            &self.pointer
        };
        write!(
            f,
            "{at}: expected {}, answered {}",
            shown(&self.expected),
            shown(&self.answered)
        )
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn difference(expected: &Value, answered: &Value) -> String {
        Difference::between(expected, answered)
            .map(|found| found.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn the_first_difference_is_shown_by_pointer() {
        assert_eq!(
            difference(&json!({"a": 1, "b": [1, 2]}), &json!({"b": [1, 2], "a": 1})),
            ""
        );
        assert_eq!(
            difference(
                &json!({"lines": [{"amount": 5}]}),
                &json!({"lines": [{"amount": 6}]})
            ),
            "/lines/0/amount: expected 5, answered 6"
        );
        assert_eq!(
            difference(&json!({"a/b~": [1]}), &json!({"a/b~": []})),
            "/a~1b~0/0: expected 1, answered nothing"
        );
        assert_eq!(
            difference(&json!({}), &json!({"x": null})),
            "/x: expected nothing, answered null"
        );
        assert_eq!(
            difference(&json!("a"), &json!(null)),
            "the whole answer: expected \"a\", answered null"
        );
        assert!(difference(&json!("é".repeat(500)), &json!(0)).contains("é..., answered 0"));
    }

    #[test]
    fn a_case_is_written_stably_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("first.json");
        fs::write(&path, r#"{"output": null, "function": "check", "description": "D.", "input": {"b": 1, "a": 2}}"#).unwrap();
        let case = Case::load_dir(folder.path()).unwrap().remove(0);
        assert_eq!(
            (case.name.as_str(), &case.output),
            ("first", &Some(Value::Null))
        );
        let text = case.to_json();
        assert!(text.starts_with("{\n  \"description\": \"D.\",\n  \"function\": \"check\",\n  \"input\": {\n    \"a\": 2,"), "{text}");
        fs::write(&path, &text).unwrap();
        assert_eq!(Case::load(&path).unwrap(), case);
    }

    #[test]
    fn a_file_that_is_no_case_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("x.json"),
            r#"{"description": "", "function": "f", "outptu": 1}"#,
        )
        .unwrap();
        let error = Case::load_dir(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("x.json: this is not a case: unknown field `outptu`"),
            "{error}"
        );
        assert!(
            Case::load_dir(&folder.path().join("nowhere"))
                .unwrap()
                .is_empty()
        );
    }
}
