//! The examples of the document: each request and answer has one, and each fits its schema.

use std::collections::BTreeSet;

use dermaga_shop::Code;
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

use super::document::{document, operations};

/// Bodies that no text shows.
const BINARY: [&str; 6] = [
    "application/pdf",
    "application/zip",
    "application/octet-stream",
    "image/gif",
    "image/jpeg",
    "image/png",
];

/// A body of an operation: its place, its content type, and its schema with the example.
struct Body {
    place: String,
    kind: String,
    media: Value,
    is_failure: bool,
}

fn bodies(document: &Value) -> Vec<Body> {
    let mut found = Vec::new();
    for (operation, content) in operations(document) {
        let request = content["requestBody"]["content"].as_object();
        for (kind, media) in request.into_iter().flatten() {
            found.push(Body {
                place: format!("{operation}, request"),
                kind: kind.clone(),
                media: media.clone(),
                is_failure: false,
            });
        }
        for (status, response) in content["responses"].as_object().unwrap() {
            let contents = response["content"].as_object();
            for (kind, media) in contents.into_iter().flatten() {
                found.push(Body {
                    place: format!("{operation}, {status}"),
                    kind: kind.clone(),
                    media: media.clone(),
                    is_failure: status.as_str() >= "400",
                });
            }
        }
    }
    found
}

#[test]
fn every_request_and_answer_has_an_example() {
    let document = document();
    let bodies = bodies(&document);
    let missing = bodies.iter().filter(|body| {
        let has = !body.media["example"].is_null() || !body.media["examples"].is_null();
        !has && !BINARY.contains(&body.kind.as_str())
    });
    let missing: Vec<_> = missing
        .map(|body| format!("{}: {}", body.place, body.kind))
        .collect();
    assert!(bodies.len() > 1_000, "{}", bodies.len());
    assert!(
        missing.is_empty(),
        "without an example, which .ci/examples takes from a run of the tests: {missing:#?}"
    );
}

fn validator(document: &Value, schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    let options = jsonschema::options().with_draft(Draft::Draft202012);
    options
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

#[test]
fn every_example_fits_its_schema() {
    let document = document();
    let (mut checked, mut faults) = (0, Vec::new());
    for body in bodies(&document) {
        let example = &body.media["example"];
        if example.is_null() || !example.is_object() && body.kind != "application/json" {
            continue;
        }
        checked += 1;
        let validator = validator(&document, &body.media["schema"]);
        faults.extend(validator.iter_errors(example).map(|error| {
            let (place, at) = (&body.place, error.instance_path());
            format!("{place}: {at}: {error}")
        }));
    }
    let failure = json!({ "$ref": "#/components/schemas/Failure" });
    let validator = validator(&document, &failure);
    for (code, example) in document["components"]["examples"].as_object().unwrap() {
        checked += 1;
        let errors = validator.iter_errors(&example["value"]);
        faults.extend(errors.map(|error| format!("{code}: {error}")));
    }
    assert!(checked > 300, "{checked}");
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Each code has its meaning in one place, an example of its own, and its status alone.
#[test]
fn every_code_is_explained_once_and_answered_with_its_status() {
    let document = document();
    let list = document["components"]["schemas"]["Code"]["description"].as_str();
    let list = list.unwrap();
    let examples = &document["components"]["examples"];
    for code in Code::ALL {
        let meaning = code.meaning();
        assert_eq!(list.matches(&format!("- `{code}` (")).count(), 1, "{code}");
        assert!(
            meaning.ends_with('.') && meaning.len() > 10,
            "{code}: {meaning}"
        );
        let example = &examples[code.as_str()];
        assert_eq!(example["summary"], meaning, "{code}");
        assert_eq!(example["value"]["error"]["code"], code.as_str(), "{code}");
        let sentence = example["value"]["message"].as_str().unwrap();
        assert!(sentence.ends_with(['.', '!', '?']), "{code}: {sentence}");
    }
    let mut answered = BTreeSet::new();
    for body in bodies(&document).iter().filter(|body| body.is_failure) {
        let codes = body.media["examples"].as_object();
        for name in codes.into_iter().flatten().map(|(name, _)| name) {
            let code = Code::ALL.iter().find(|code| code.as_str() == name).unwrap();
            let ending = format!(", {}", code.status());
            assert!(body.place.ends_with(&ending), "{}: {code}", body.place);
            answered.insert(code.as_str());
        }
    }
    // These are of no operation.
    let of_none = [
        Code::RouteNotFound,
        Code::MethodNotAllowed,
        Code::HeadTooLarge,
    ];
    let of_none = of_none.map(Code::as_str);
    let all: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let silent: Vec<_> = all
        .difference(&answered)
        .filter(|code| !of_none.contains(code))
        .collect();
    assert!(silent.is_empty(), "no operation answers {silent:?}");
}

#[test]
fn the_document_begins_with_first_steps() {
    let document = document();
    let text = document["info"]["description"].as_str().unwrap();
    for path in [
        "/api/auth/register",
        "/api/auth/login",
        "/api/subscriptions",
    ] {
        assert!(text.contains(path), "{path}");
        assert!(document["paths"][path]["post"].is_object(), "{path}");
    }
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "/");
}
