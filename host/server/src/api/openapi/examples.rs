//! Examples of requests and answers, taken from answers that servers gave in tests.

use std::{collections::BTreeMap, sync::LazyLock};

use dermaga_shop::Code;
use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::{
    Content, OpenApi, Ref, RefOr,
    example::{Example, ExampleBuilder},
    path::Operation,
};

/// Examples by operation and by code; `.ci/examples` adds those of new operations.
const TEXT: &str = include_str!("../../../../../docs/examples.json");

#[derive(Debug, Default, Deserialize)]
struct Examples {
    /// Failures, each as an operation answers it.
    failures: BTreeMap<String, Value>,
    operations: BTreeMap<String, OfOperation>,
}

/// Examples of an operation.
#[derive(Debug, Deserialize)]
struct OfOperation {
    /// Body of a request.
    request: Option<Value>,
    /// Bodies of answers by their status; with the content type after it where there are several.
    #[serde(default)]
    answers: BTreeMap<String, Value>,
}

/// A test proves that the text is read.
static EXAMPLES: LazyLock<Examples> =
    LazyLock::new(|| serde_json::from_str(TEXT).unwrap_or_default());

/// Adds the examples to a document whose operations have their names.
pub(super) fn add(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            add_to(operation);
        }
    }
    if let Some(components) = &mut document.components {
        let failures = Code::ALL.iter().filter_map(|code| {
            let example = EXAMPLES.failures.get(code.as_str())?;
            let example = ExampleBuilder::new()
                .summary(code.meaning())
                .value(Some(example.clone()))
                .build();
            Some((code.to_string(), RefOr::T(example)))
        });
        components.examples.extend(failures);
    }
}

fn add_to(operation: &mut Operation) {
    let name = operation.operation_id.as_deref().unwrap_or_default();
    let own = EXAMPLES.operations.get(name);
    if let Some(RefOr::T(body)) = &mut operation.request_body
        && let Some(example) = own.and_then(|own| own.request.as_ref())
    {
        for content in body.content.values_mut() {
            if let RefOr::T(content) = content {
                content.example = Some(example.clone());
            }
        }
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        for (kind, content) in &mut response.content {
            let RefOr::T(content) = content else {
                continue;
            };
            let of_kind = format!("{status} {kind}");
            let example = own.and_then(|own| {
                let answers = &own.answers;
                answers.get(&of_kind).or_else(|| answers.get(status))
            });
            match example {
                Some(example) if is_of_kind(example, kind) => {
                    content.example = Some(example.clone());
                }
                _ => refer_to_failures(&response.description, content),
            }
        }
    }
}

/// Texts are examples of what is no JSON.
fn is_of_kind(example: &Value, kind: &str) -> bool {
    example.is_string() != (kind == "application/json")
}

/// Refers to the example of each code in the description of a failure.
fn refer_to_failures(description: &str, content: &mut Content) {
    let codes = description.split(", ").filter_map(|code| {
        let code = code.strip_prefix('`')?.strip_suffix('`')?;
        Code::ALL.iter().find(|known| known.as_str() == code)
    });
    let examples = codes.map(|code| {
        let place = format!("#/components/examples/{code}");
        let reference: RefOr<Example> = RefOr::Ref(Ref::new(place));
        (code.to_string(), reference)
    });
    content.examples.extend(examples);
}
