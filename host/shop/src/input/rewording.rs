//! Messages of serde and garde in plain words. Their own words are for programmers.

use serde_json::error::Category;

use crate::{Code, Error, error::Detail, schema};

pub const TWICE: &str = "is given twice";

/// The fault that stopped a value from being read, at `path` of `root`.
pub fn of_serde(path: &str, message: &str, root: &str) -> Detail {
    let parent = if path == "." { "" } else { path };
    let (name, message) = reworded(without_place(message));
    // A path ends with the field's own name where the field is an unknown one.
    let field = match name {
        Some(name) if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        Some(name) if parent.is_empty() => name.to_owned(),
        Some(name) => format!("{parent}.{name}"),
        None if parent.is_empty() => root.to_owned(),
        None => parent.to_owned(),
    };
    Detail { field, message }
}

/// The sentence without serde's ` at line 1 column 2`.
fn without_place(text: &str) -> &str {
    text.rsplit_once(" at line ")
        .map_or(text, |(sentence, _)| sentence)
}

/// The field that is named in a message, and the message in plain words.
fn reworded(message: &str) -> (Option<&str>, String) {
    let quoted = || message.split('`').nth(1);
    if message.starts_with("missing field") {
        (quoted(), "is missing".into())
    } else if message.starts_with("unknown field") {
        (quoted(), schema::UNKNOWN.into())
    } else if message.starts_with("duplicate field") {
        (quoted(), TWICE.into())
    } else if message.starts_with("unknown variant") {
        let names = message
            .split_once("expected")
            .map_or("", |(_, names)| names);
        let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
        (None, format!("must be one of: {}", names.join(", ")))
    } else if message.starts_with("must ") {
        (None, message.to_owned())
    } else {
        (None, kind_of(message))
    }
}

/// Kind of value required, from the expectation in serde's message.
fn kind_of(message: &str) -> String {
    let expected = message.split_once("expected ").map_or("", |(_, kind)| kind);
    let is_number = |kind: &str| {
        let kind = kind.trim_start_matches("a nonzero ");
        kind.len() <= 5
            && kind.starts_with(['i', 'u'])
            && kind.ends_with(|c: char| c.is_ascii_digit())
    };
    if message.starts_with("invalid value") && is_number(expected) {
        "is too large or too small a number".into()
    } else if is_number(expected) || NUMBERS.iter().any(|words| message.contains(words)) {
        "must be a whole number".into()
    } else if message.contains("`true` or `false`") || expected.starts_with("a boolean") {
        "must be true or false".into()
    } else if message.contains("UUID") || expected.contains("UUID") {
        format!("must be {}", schema::of_format("uuid"))
    } else if DATES.iter().any(|words| message.contains(words)) {
        format!("must be {}", schema::of_format("date-or-date-time"))
    } else if expected.contains("string") {
        "must be a text".into()
    } else if expected.starts_with("a sequence") || expected.contains("array") {
        "must be a list".into()
    } else if expected.starts_with("struct") || expected.starts_with("a map") {
        "must be an object".into()
    } else if expected == "unit" {
        "must be null".into()
    } else {
        "is not acceptable".into()
    }
}

/// Messages of the standard library about texts that are no numbers.
const NUMBERS: &[&str] = &[
    "invalid digit found",
    "cannot parse integer",
    "number too large",
    "number too small",
    "invalid float",
];

/// Messages of chrono about texts that are no dates.
const DATES: &[&str] = &[
    "premature end of input",
    "input contains invalid characters",
    "input is out of range",
    "trailing input",
    "no possible date",
];

/// A broken rule of garde; our own rules speak for themselves.
pub fn of_rule(message: &str) -> String {
    let bound = |words: &str| message.strip_prefix(words).map(str::trim);
    if let Some(least) = bound("length is lower than") {
        format!("must not be shorter than {least}")
    } else if let Some(most) = bound("length is greater than") {
        format!("must not be longer than {most}")
    } else if let Some(length) = bound("length is not equal to") {
        format!("must be {length} characters long")
    } else if let Some(least) = bound("lower than") {
        format!("must be at least {least}")
    } else if let Some(most) = bound("greater than") {
        format!("must be at most {most}")
    } else if message.starts_with("must ") {
        message.to_owned()
    } else {
        "is not acceptable".into()
    }
}

/// A body that cannot be read as JSON, by where that ends.
pub fn malformed(error: &serde_json::Error) -> Error {
    let message = format!("The body {}.", not_json(error));
    Error::new(Code::MalformedRequest, message)
}

/// The end of a sentence about a text that cannot be read as JSON.
pub fn not_json(error: &serde_json::Error) -> String {
    let place = format!("line {}, column {}", error.line(), error.column());
    let text = error.to_string();
    if text.starts_with("recursion limit exceeded") {
        format!("is nested too deeply ({place})")
    } else if text.starts_with("number out of range") {
        format!("has a number that is too large ({place})")
    } else if error.classify() == Category::Eof {
        format!("is not JSON: it ends too early ({place})")
    } else {
        format!("is not JSON: it cannot be read from {place} on")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_a_library_reaches_a_person() {
        for (path, message, field, plain) in [
            (".", "missing field `amount`", "amount", "is missing"),
            ("a[0]", "missing field `b`", "a[0].b", "is missing"),
            (
                "x",
                "unknown field `x`, expected `y`",
                "x",
                "is not known here",
            ),
            (".", "duplicate field `a`", "a", "is given twice"),
            (
                "a",
                "unknown variant `x`, expected one of `A`, `B`",
                "a",
                "must be one of: A, B",
            ),
            (
                "a",
                "invalid type: string \"x\", expected i64",
                "a",
                "must be a whole number",
            ),
            (
                "a",
                "invalid value: integer `300`, expected u8",
                "a",
                "is too large or too small a number",
            ),
            (
                "page",
                "invalid digit found in string",
                "page",
                "must be a whole number",
            ),
            (
                "a",
                "provided string was not `true` or `false`",
                "a",
                "must be true or false",
            ),
            (
                "a",
                "UUID parsing failed: invalid length: expected length 32 for simple format, found 1",
                "a",
                "must be a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057",
            ),
            (
                "from",
                "premature end of input",
                "from",
                "must be a date such as 2026-12-31, or a moment such as 2026-12-31T17:00:00Z",
            ),
            (
                ".",
                "invalid length 0, expected struct Order with 2 elements",
                "body",
                "must be an object",
            ),
            (
                "a",
                "data did not match any variant of untagged enum Lasts",
                "a",
                "is not acceptable",
            ),
            (
                "a",
                "must be 3 to 50 letters at line 1 column 5",
                "a",
                "must be 3 to 50 letters",
            ),
        ] {
            let told = of_serde(path, message, "body");
            assert_eq!(
                (told.field.as_str(), told.message.as_str()),
                (field, plain),
                "{message}"
            );
        }
        for (message, plain) in [
            ("length is lower than 64", "must not be shorter than 64"),
            ("greater than 5", "must be at most 5"),
            (
                "must differ from the current one",
                "must differ from the current one",
            ),
        ] {
            assert_eq!(of_rule(message), plain);
        }
    }
}
