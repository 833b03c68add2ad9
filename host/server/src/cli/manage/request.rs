//! The request that a command makes of its arguments.

use std::path::Path;

use clap::ArgMatches;
use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    super::CliError,
    Failure,
    act::{Act, Input, Kind, Lookup, Place, Verb},
    read,
};
use crate::client::{Api, Content};

/// Items that are looked at for a name.
const LOOKED_AT: usize = 100;

/// Sends the request of a command and returns the envelope of its answer.
pub(super) async fn send(api: &Api, act: &Act, given: &ArgMatches) -> Result<Value, Failure> {
    let (mut path, mut query) = (act.path.to_owned(), Vec::new());
    let mut body = Map::new();
    for (field, value) in act.fixed {
        body.insert((*field).to_owned(), Value::from(*value));
    }
    for input in act.inputs {
        let Some(value) = value_of(api, input, given).await? else {
            continue;
        };
        match input.place {
            Place::Path => {
                let segment = segment(&plain(&value))?;
                path = path.replace(&format!("{{{}}}", input.field), &segment);
            }
            Place::Query => query.push(format!("{}={}", input.field, encoded(&plain(&value)))),
            Place::Body => {
                body.insert(input.field.to_owned(), value);
            }
        }
    }
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    let content = match act.verb {
        Verb::Get => Content::Nothing,
        Verb::PostForm => Content::Form(form(act, &body)?),
        Verb::Post | Verb::Put | Verb::Patch | Verb::Delete if has_body(act) => {
            Content::Json(Value::Object(body))
        }
        Verb::Post | Verb::Put | Verb::Patch | Verb::Delete => Content::Nothing,
    };
    Ok(api.envelope(act.verb.method(), &path, content).await?)
}

fn has_body(act: &Act) -> bool {
    let mut inputs = act.inputs.iter();
    !act.fixed.is_empty() || inputs.any(|input| input.place == Place::Body)
}

/// Returns the value of an input, when it was given.
async fn value_of(api: &Api, input: &Input, given: &ArgMatches) -> Result<Option<Value>, Failure> {
    if matches!(input.kind, Kind::Flag | Kind::SecretOnStdin) {
        return match (given.get_flag(input.name), input.kind) {
            (false, _) => Ok(None),
            (true, Kind::SecretOnStdin) => Ok(Some(read::secret()?.into())),
            (true, _) => Ok(Some(true.into())),
        };
    }
    let found = given.get_many::<Value>(input.name);
    let found: Vec<&Value> = found.into_iter().flatten().collect();
    if found.is_empty() {
        return Ok(None);
    }
    let mut values = Vec::with_capacity(found.len());
    for value in found {
        values.push(meant(api, input.kind, value).await?);
    }
    Ok(if input.kind.is_many() {
        Some(Value::Array(values))
    } else {
        values.pop()
    })
}

/// Returns a value as the request has it.
async fn meant(api: &Api, kind: Kind, value: &Value) -> Result<Value, Failure> {
    Ok(match kind {
        Kind::Named(lookup) | Kind::ManyNamed(lookup) => {
            id_of(api, lookup, &plain(value)).await?.into()
        }
        Kind::LongText => read::long_text(&plain(value))?.into(),
        Kind::Truth => json!(value == "true"),
        _ => value.clone(),
    })
}

/// Returns the id of a thing by its id or name.
async fn id_of(api: &Api, lookup: &Lookup, given: &str) -> Result<String, Failure> {
    let given = given.trim();
    if let Ok(id) = given.parse::<Uuid>() {
        return Ok(id.to_string());
    }
    let (written, list) = ((lookup.written)(given), lookup.list);
    let path = format!("{list}?q={}&limit={LOOKED_AT}", encoded(&written));
    let found = api.envelope(Method::GET, &path, Content::Nothing).await?;
    let items = found.get("data").and_then(Value::as_array);
    let item = items.into_iter().flatten().find(|item| {
        let name = item.get(lookup.field).and_then(Value::as_str);
        name.is_some_and(|name| (lookup.written)(name) == written)
    });
    let id = item.and_then(|item| item.get("id")?.as_str());
    id.map(str::to_owned).ok_or_else(|| {
        let (noun, field) = (lookup.noun, lookup.field);
        let message = format!("There is no {noun} with the {field} {written}.");
        CliError::Failed(message).into()
    })
}

/// Returns the form of a command: texts, and files.
fn form(act: &Act, body: &Map<String, Value>) -> Result<Form, CliError> {
    let mut form = Form::new();
    for (field, value) in body {
        let input = act.inputs.iter().find(|input| input.field == field);
        if !input.is_some_and(|input| matches!(input.kind, Kind::Files)) {
            form = form.text(field.clone(), plain(value));
            continue;
        }
        for path in value.as_array().into_iter().flatten() {
            form = form.part(field.clone(), file(Path::new(&plain(path)))?);
        }
    }
    Ok(form)
}

fn file(path: &Path) -> Result<Part, CliError> {
    let content = std::fs::read(path)
        .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Part::bytes(content).file_name(name.into_owned()))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Writes a text as one segment of a path.
fn segment(text: &str) -> Result<String, CliError> {
    // Clients leave these two out of a path, also when their dots are encoded, and ask for another one.
    if matches!(text, "." | "..") {
        let message = format!("`{text}` cannot be the name or id of anything.");
        return Err(CliError::Usage(message));
    }
    Ok(encoded(text))
}

/// Writes a text so that it can be a part of a path or a query.
fn encoded(text: &str) -> String {
    // A plus is a space in a query only.
    let bytes = form_urlencoded::byte_serialize(text.as_bytes());
    bytes.collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A slash or a question mark of a name must not lead to another route.
    #[test]
    fn a_text_stays_one_part_of_a_path() {
        for (text, part) in [
            ("ghost", "ghost"),
            ("a/b?c#d", "a%2Fb%3Fc%23d"),
            ("a b+c", "a%20b%2Bc"),
            ("100%", "100%25"),
            ("é", "%C3%A9"),
            ("", ""),
        ] {
            assert_eq!(segment(text).unwrap(), part);
        }
    }

    /// A client would ask for `/api/admin/services` in place of one of them.
    #[test]
    fn a_part_that_clients_leave_out_is_refused() {
        for text in [".", ".."] {
            let refused = segment(text).unwrap_err();
            assert_eq!(refused.exit_code(), 2);
            assert_eq!(
                refused.to_string(),
                format!("`{text}` cannot be the name or id of anything.")
            );
        }
        let base = reqwest::Url::parse("http://localhost/api/admin/services/").unwrap();
        for text in ["...", ".a", "a.", "./..", "%2e", ".%2E"] {
            let segment = segment(text).unwrap();
            let url = base.join(&segment).unwrap();
            assert_eq!(url.path(), format!("{}{segment}", base.path()), "{text}");
        }
    }

    #[test]
    fn a_text_is_sent_in_a_form_without_its_quotes() {
        for (value, sent) in [
            (json!("a \"b\""), "a \"b\""),
            (json!(7), "7"),
            (json!(true), "true"),
            (json!(null), "null"),
        ] {
            assert_eq!(plain(&value), sent);
        }
    }
}
