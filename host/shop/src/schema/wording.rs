//! Faults of JSON values in plain words: what is wrong, and what is right.

use jsonschema::{
    JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

use crate::text::counted;

/// Fault: its place, as a JSON pointer, and a sentence that completes the field's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub pointer: String,
    pub message: String,
}

/// A format by its name in a schema, with the rule that a text of it keeps; a broken one says what
/// the text must be.
pub type Format = (&'static str, fn(&str) -> Result<(), String>);

/// Every fault of `value`; `schema` and `formats` are those that the validator was built with.
pub fn faults(
    validator: &Validator,
    schema: &Value,
    value: &Value,
    formats: &[Format],
) -> Vec<Fault> {
    let errors: Vec<_> = validator.iter_errors(value).collect();
    of_errors(&errors, schema, formats)
}

/// A value of the wrong type is none of the words of an enum either: the words alone say what is
/// right.
fn of_errors(errors: &[ValidationError<'_>], schema: &Value, formats: &[Format]) -> Vec<Fault> {
    let has_words = |error: &ValidationError<'_>| {
        errors.iter().any(|other| {
            matches!(other.kind(), Kind::Enum { .. })
                && other.instance_path() == error.instance_path()
        })
    };
    let is_told = |error: &&ValidationError<'_>| {
        !matches!(error.kind(), Kind::Type { .. }) || !has_words(error)
    };
    let told = errors.iter().filter(is_told);
    told.flat_map(|error| of_error(error, schema, formats))
        .collect()
}

fn of_error(error: &ValidationError<'_>, schema: &Value, formats: &[Format]) -> Vec<Fault> {
    let pointer = error.instance_path().to_string();
    let at = |message: String| Fault {
        pointer: pointer.clone(),
        message,
    };
    let below = |name: &str, message: &str| Fault {
        pointer: format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")),
        message: message.to_owned(),
    };
    match error.kind() {
        Kind::Required { property } => {
            vec![below(property.as_str().unwrap_or_default(), "is missing")]
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let names = unexpected.iter();
            names.map(|name| below(name, UNKNOWN)).collect()
        }
        Kind::OneOfMultipleValid { .. } => vec![at(of_too_many(error, schema))],
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            of_branches(context, schema, formats, &at)
        }
        Kind::Format { format } => vec![at(of_rule(format, error.instance(), formats))],
        Kind::Pattern { .. } => vec![at(of_pattern(error, schema))],
        kind => vec![at(sentence(kind, error.instance()))],
    }
}

fn of_rule(format: &str, value: &Value, formats: &[Format]) -> String {
    let rule = formats.iter().find(|(name, _)| *name == format);
    let told = rule.and_then(|(_, rule)| rule(value.as_str().unwrap_or_default()).err());
    told.unwrap_or_else(|| format!("must be {}", of_format(format)))
}

/// A regular expression is for programmers: people are told what stands beside it in the schema.
fn of_pattern(error: &ValidationError<'_>, schema: &Value) -> String {
    let path = error.schema_path().to_string();
    let property = path.rsplit_once('/').map_or("", |(property, _)| property);
    let said = |key: &str| schema.pointer(property)?.get(key);
    let described = ["description", "title"].into_iter().find_map(|key| {
        let text = said(key)?.as_str()?.trim().trim_end_matches('.');
        (!text.is_empty()).then(|| text.split_whitespace().collect::<Vec<_>>().join(" "))
    });
    let example = said("examples").and_then(|all| all.get(0)).map(plain);
    match (described, example) {
        (Some(text), _) => format!("is not valid: {text}"),
        (None, Some(example)) => format!("is not valid; an example is {example}"),
        (None, None) => of_length(said("pattern"), error.instance())
            .unwrap_or_else(|| "has characters that are not allowed here".into()),
    }
}

/// Returns a sentence for a text that is empty or too long for a pattern of one class of characters, such as
/// `^[a-z]{1,9}$`.
fn of_length(pattern: Option<&Value>, value: &Value) -> Option<String> {
    let (_, bounds) = pattern?.as_str()?.strip_prefix("^[")?.split_once("]{")?;
    let (least, most) = bounds.strip_suffix("}$")?.split_once(',')?;
    let (least, most): (usize, usize) = (least.parse().ok()?, most.parse().ok()?);
    match value.as_str()?.chars().count() {
        0 if least > 0 => Some("must not be empty".into()),
        count if count > most => {
            let most = counted(most, "character");
            Some(format!("must have at most {most}, not {count}"))
        }
        _ => None,
    }
}

pub const UNKNOWN: &str = "is not known here";

/// Message about an unknown name, with those that are known.
pub fn unknown_among(names: &[&str]) -> String {
    format!("is not known here; there are: {}", names.join(", "))
}

/// Message about a list in the place of an object.
pub const LIST_FOR_OBJECT: &str = "must be an object, not a list";

/// Returns a sentence for a value of several forms where one is allowed; most forms differ in their fields.
fn of_too_many(error: &ValidationError<'_>, schema: &Value) -> String {
    let forms = schema.pointer(&error.schema_path().to_string());
    let forms = forms
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let names: Option<Vec<&str>> = forms.iter().map(only_required).collect();
    match names {
        Some(names) if !names.is_empty() => format!("must have only one of: {}", names.join(", ")),
        _ => "is of more than one kind, and must be of one".into(),
    }
}

/// Returns the field that a form requires, when it says nothing else.
fn only_required(form: &Value) -> Option<&str> {
    let form = form.as_object().filter(|form| form.len() == 1)?;
    match form.get("required")?.as_array()?.as_slice() {
        [name] => name.as_str(),
        _ => None,
    }
}

/// Returns the field that is missing, when nothing else is wrong.
fn only_missing<'a>(errors: &'a [ValidationError<'_>]) -> Option<&'a str> {
    match errors {
        [error] => match error.kind() {
            Kind::Required { property } => property.as_str(),
            _ => None,
        },
        _ => None,
    }
}

/// Several forms are allowed: the faults against the one that was meant, or else all forms.
fn of_branches(
    context: &[Vec<ValidationError<'static>>],
    schema: &Value,
    formats: &[Format],
    at: &impl Fn(String) -> Fault,
) -> Vec<Fault> {
    let is_null = |errors: &&Vec<ValidationError<'static>>| {
        let only_null = |error: &ValidationError<'_>| {
            matches!(
                error.kind(),
                Kind::Type {
                    kind: TypeKind::Single(JsonType::Null)
                }
            )
        };
        errors.iter().all(only_null)
    };
    let meant: Vec<_> = context.iter().filter(|errors| !is_null(errors)).collect();
    if let [errors] = meant.as_slice() {
        return of_errors(errors, schema, formats);
    }
    let missing: Option<Vec<&str>> = meant.iter().map(|errors| only_missing(errors)).collect();
    if let Some(names) = missing.filter(|names| !names.is_empty()) {
        return vec![at(format!("must have one of: {}", names.join(", ")))];
    }
    // A fault within the value, or of a field that it lacks, is one of the form that was meant.
    let is_within = |faults: &Vec<Fault>| {
        let mut messages = faults.iter().map(|fault| fault.message.as_str());
        !faults.is_empty() && messages.all(|message| !message.starts_with("must be "))
    };
    let mut all = meant
        .iter()
        .map(|errors| of_errors(errors, schema, formats));
    if let Some(faults) = all.find(is_within) {
        return faults;
    }
    let mut forms = Vec::new();
    for fault in meant
        .into_iter()
        .flat_map(|errors| of_errors(errors, schema, formats))
    {
        // Each form's message repeats the value that was sent; said several times it could not be translated.
        let message = fault.message.split(", not ").next().unwrap_or_default();
        let form = message.trim_start_matches("must be ").to_owned();
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    if forms.is_empty() {
        return vec![at("is not acceptable".into())];
    }
    vec![at(format!("must be {}", forms.join(", or ")))]
}

fn sentence(kind: &Kind, value: &Value) -> String {
    let length = || value.as_str().map_or(0, |text| text.chars().count());
    let items = || value.as_array().map_or(0, Vec::len);
    match kind {
        Kind::Type { kind } => format!("must be {}, not {}", types(kind), noun(value)),
        Kind::Minimum { limit } => format!("must be at least {limit}, not {value}"),
        Kind::Maximum { limit } => format!("must be at most {limit}, not {value}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}, not {value}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}, not {value}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { .. } if length() == 0 => "must not be empty".into(),
        Kind::MinLength { limit } => {
            format!(
                "must be at least {}, not {}",
                counted(limit, "character"),
                length()
            )
        }
        Kind::MaxLength { limit } => {
            format!(
                "must be at most {}, not {}",
                counted(limit, "character"),
                length()
            )
        }
        Kind::MinItems { limit } => {
            format!(
                "must have at least {}, not {}",
                counted(limit, "item"),
                items()
            )
        }
        Kind::MaxItems { limit } => {
            format!(
                "must have at most {}, not {}",
                counted(limit, "item"),
                items()
            )
        }
        Kind::AdditionalItems { limit } => {
            format!("must have at most {}", counted(limit, "item"))
        }
        Kind::MinProperties { limit } => format!("must have at least {}", counted(limit, "field")),
        Kind::MaxProperties { limit } => format!("must have at most {}", counted(limit, "field")),
        Kind::Enum { options } => format!("must be one of: {}{}", listed(options), echo(value)),
        Kind::Constant { expected_value } => format!("must be {}", plain(expected_value)),
        Kind::UniqueItems => "must not have the same item twice".into(),
        Kind::Custom { message, .. } => message.clone(),
        _ => "is not acceptable".into(),
    }
}

fn listed(options: &Value) -> String {
    let options = options.as_array().into_iter().flatten();
    options.map(plain).collect::<Vec<_>>().join(", ")
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn types(kind: &TypeKind) -> String {
    let names: Vec<&str> = match kind {
        TypeKind::Single(one) => vec![type_noun(*one)],
        TypeKind::Multiple(several) => several
            .iter()
            .filter(|one| *one != JsonType::Null)
            .map(type_noun)
            .collect(),
    };
    names.join(" or ")
}

const fn type_noun(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a text",
    }
}

fn noun(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "true or false".into(),
        Value::Number(number) if number.is_f64() => "a fraction".into(),
        Value::Number(_) => "a number".into(),
        Value::String(text) => format!("the text \"{text}\""),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// A word that is none of those allowed. Only here and where another type is wanted, so that no
/// password is echoed.
fn echo(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(String::new, |text| format!(", not \"{text}\""))
}

/// A noun with an example, for formats of JSON Schema and our own.
pub fn of_format(format: &str) -> &str {
    match format {
        "uuid" => "a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057",
        "date" => "a date, such as 2026-12-31",
        "date-time" => "a moment, such as 2026-12-31T17:00:00Z",
        "date-or-date-time" => {
            "a date such as 2026-12-31, or a moment such as 2026-12-31T17:00:00Z"
        }
        "email" | "idn-email" => "an e-mail address, such as sari@example.com",
        "uri" | "iri" => "an address, such as https://example.com/a",
        "hostname" | "idn-hostname" => "a host name, such as shop.example.com",
        "ipv4" => "an IPv4 address, such as 192.0.2.1",
        "ipv6" => "an IPv6 address, such as 2001:db8::1",
        "time" => "a time of day, such as 17:00:00Z",
        "duration" => "a duration, such as P1D",
        "regex" => "a regular expression",
        _ => "of the form that its description says",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Value, value: &Value) -> Vec<(String, String)> {
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(schema)
            .unwrap();
        let mut told: Vec<_> = faults(&validator, schema, value, &[])
            .into_iter()
            .map(|fault| (fault.pointer, fault.message))
            .collect();
        told.sort();
        told
    }

    #[test]
    fn every_fault_is_told_in_plain_words() {
        let schema = json!({
            "type": "object", "required": ["a", "b"], "additionalProperties": false,
            "properties": {
                "a": { "type": "integer", "minimum": 3 },
                "b": { "type": "string" },
                "c": { "type": ["string", "null"], "minLength": 2 },
                "d": { "oneOf": [{ "type": "null" }, { "enum": ["X", "Y"] }] },
                "e": { "type": "string", "format": "uuid" },
                "f": { "type": "array", "maxItems": 1, "items": { "type": "boolean" } },
                "g": { "oneOf": [{ "type": "integer", "minimum": 1 }, { "enum": ["forever"] }] },
                "h": { "type": "string", "pattern": "^x$" },
                "h1": { "type": "string", "pattern": "^x$", "description": "Time zone, such as\n Asia/Jakarta." },
                "h2": { "type": "string", "pattern": "^x$", "examples": ["x"] },
                "h3": { "type": "string", "pattern": "^[a-z]{1,3}$" },
                "h4": { "type": "string", "pattern": "^[a-z]{1,3}$" },
                "h5": { "type": "string", "pattern": "^[a-z]{1,3}$" },
                "h6": { "type": "string", "pattern": "^[a-z]{1,1}$" },
                "i": { "type": ["integer", "null"] },
                "j": { "type": "string", "enum": ["X", "Y"] },
                "k": { "oneOf": [{ "required": ["x"] }, { "required": ["y"] }] },
                "l": { "oneOf": [{ "required": ["x"] }, { "required": ["y"] }] },
                "m": { "oneOf": [{ "type": "string" }, { "type": "object", "required": ["x"] }] },
                "n": { "oneOf": [{ "type": "number" }, { "type": "integer" }] },
            },
        });
        let value = json!({
            "a": 2, "c": "", "d": "Z", "e": "1", "f": [1, true], "g": 0, "h": "y", "h1": "y", "h2": "y", "h3": "wxyz", "h4": "", "h5": "1", "h6": "yz", "i": "1", "j": null, "z/z": 1,
            "k": {}, "l": { "x": 1, "y": 1 }, "m": {}, "n": 1,
        });
        let expected = [
            ("/a", "must be at least 3, not 2"),
            ("/b", "is missing"),
            ("/c", "must not be empty"),
            ("/d", "must be one of: X, Y, not \"Z\""),
            (
                "/e",
                "must be a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057",
            ),
            ("/f", "must have at most 1 item, not 2"),
            ("/f/0", "must be true or false, not a number"),
            ("/g", "must be at least 1, or one of: forever"),
            ("/h", "has characters that are not allowed here"),
            ("/h1", "is not valid: Time zone, such as Asia/Jakarta"),
            ("/h2", "is not valid; an example is x"),
            ("/h3", "must have at most 3 characters, not 4"),
            ("/h4", "must not be empty"),
            ("/h5", "has characters that are not allowed here"),
            ("/h6", "must have at most 1 character, not 2"),
            ("/i", "must be a whole number, not the text \"1\""),
            ("/j", "must be one of: X, Y"),
            ("/k", "must have one of: x, y"),
            ("/l", "must have only one of: x, y"),
            ("/m/x", "is missing"),
            ("/n", "is of more than one kind, and must be of one"),
            ("/z~1z", "is not known here"),
        ];
        let expected = expected.map(|(pointer, message)| (pointer.to_owned(), message.to_owned()));
        assert_eq!(told(&schema, &value), expected);
        assert_eq!(
            told(&schema, &json!([])),
            [(String::new(), LIST_FOR_OBJECT.to_owned())]
        );
    }
}
