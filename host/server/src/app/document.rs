//! The OpenAPI document as its readers need it: names that are unique and lead somewhere, and
//! bounds for whatever a client sends.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

use crate::api::openapi_json;

pub(super) fn document() -> Value {
    serde_json::from_str(&openapi_json().unwrap()).unwrap()
}

/// Every operation with its method and path.
pub(super) fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &'_ Value)| {
        let path = path.clone();
        let methods = item.as_object().unwrap().keys().cloned();
        methods
            .map(|method| (format!("{method} {path}"), path.clone(), method))
            .collect::<Vec<_>>()
    };
    let named = paths.iter().flat_map(of_path);
    named
        .map(|(name, path, method)| (name, &paths[&path][&method]))
        .collect()
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.insert(reference.clone());
            }
            fields.values().for_each(|inner| references(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let target = document.pointer(reference.trim_start_matches('#'));
        assert!(target.is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn operations_have_their_own_names_declared_tags_and_each_code_once() {
    let document = document();
    let (mut names, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (operation, content) in operations(&document) {
        let name = content["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{operation} shares its name {name}");
        let tags = content["tags"].as_array().unwrap().iter();
        used.extend(tags.map(|tag| tag.as_str().unwrap()));
        for (status, response) in content["responses"].as_object().unwrap() {
            let codes: Vec<&str> = response["description"]
                .as_str()
                .unwrap()
                .split(", ")
                .collect();
            let distinct: BTreeSet<&&str> = codes.iter().collect();
            assert_eq!(
                codes.len(),
                distinct.len(),
                "{operation} {status}: {codes:?}"
            );
        }
    }
    for name in ["getAdminCouponsById", "postWalletRedeemCoupon"] {
        assert!(names.contains(name), "{names:?}");
    }
    let declared = document["tags"].as_array().unwrap().iter();
    let declared: BTreeSet<&str> = declared.map(|tag| tag["name"].as_str().unwrap()).collect();
    assert_eq!(
        used, declared,
        "tags that are used, and tags that are declared"
    );
}

/// Bodies that the server takes as absent may be left out by the document, too.
#[test]
fn bodies_may_be_left_out_where_all_their_fields_may() {
    let document = document();
    for (path, is_required) in [
        ("/api/subscriptions/{id}/thaw", false),
        ("/api/auth/login", true),
        ("/api/subscriptions", true),
    ] {
        let body = &document["paths"][path]["post"]["requestBody"];
        assert_eq!(body["required"] == true, is_required, "{path}: {body:#}");
    }
}

/// The document allows an empty text that the server takes as absent: forms send an empty code of a coupon.
#[test]
fn an_empty_code_of_a_coupon_is_allowed_where_it_may_be_left_out() {
    let document = document();
    let empty = serde_json::json!({ "type": "string", "maxLength": 0 });
    for name in ["OrderRequest", "PurchaseRequest"] {
        let code = &document["components"]["schemas"][name]["properties"]["couponCode"];
        let parts = code["oneOf"].as_array().unwrap();
        assert!(parts.contains(&empty), "{name}: {code:#}");
    }
}

/// A value cannot be of two types at once: such a field takes nothing at all.
#[test]
fn no_field_must_be_of_two_types() {
    fn find(value: &Value, place: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                let parts = fields.get("allOf").and_then(Value::as_array);
                let types: BTreeSet<&str> = parts
                    .into_iter()
                    .flatten()
                    .filter_map(|part| part["type"].as_str())
                    .collect();
                if types.len() > 1 {
                    found.push(place.to_owned());
                }
                for (name, field) in fields {
                    find(field, &format!("{place}/{name}"), found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| find(item, place, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    find(&document(), "", &mut found);
    assert!(found.is_empty(), "{found:#?}");
}

/// Two types of one name would overwrite each other in the document without a word.
#[test]
fn no_two_types_of_the_document_share_a_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in sources() {
        for name in documented_types(&text) {
            places.entry(name).or_default().push(file.clone());
        }
    }
    assert!(places.len() > 100, "{}", places.len());
    places.retain(|_, files| files.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}

/// Every text, number and list of a body or a query that a client sends has its bounds in the
/// document.
#[test]
fn every_input_has_its_bounds() {
    let document = document();
    let (mut unbounded, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for (operation, content) in operations(&document) {
        let content_types = content["requestBody"]["content"].as_object();
        for media in content_types.into_iter().flat_map(|types| types.values()) {
            find_unbounded(
                &document,
                &media["schema"],
                &operation,
                &mut unbounded,
                &mut seen,
            );
        }
        for parameter in content["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "query" {
                let place = format!("{operation} ?{}", parameter["name"].as_str().unwrap());
                find_unbounded(
                    &document,
                    &parameter["schema"],
                    &place,
                    &mut unbounded,
                    &mut seen,
                );
            }
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
    assert!(unbounded.is_empty(), "{unbounded:#?}");
}

fn find_unbounded(
    document: &Value,
    schema: &Value,
    place: &str,
    unbounded: &mut BTreeSet<String>,
    seen: &mut BTreeSet<String>,
) {
    if let Some(reference) = schema["$ref"].as_str() {
        if seen.insert(reference.to_owned()) {
            let target = document.pointer(reference.trim_start_matches('#')).unwrap();
            find_unbounded(document, target, reference, unbounded, seen);
        }
        return;
    }
    let is = |kind: &str| match &schema["type"] {
        Value::String(one) => one == kind,
        Value::Array(several) => several.iter().any(|one| one == kind),
        _ => false,
    };
    let has = |keyword: &str| !schema[keyword].is_null();
    let (text, number) = (is("string"), is("integer"));
    let formats = ["uuid", "date", "date-time", "date-or-date-time", "binary"];
    let fixed = has("enum")
        || has("pattern")
        || has("maxLength")
        || formats.iter().any(|format| schema["format"] == *format);
    let list = is("array");
    if (text && !fixed)
        || (number && !(has("minimum") && has("maximum")))
        || (list && !has("maxItems"))
    {
        unbounded.insert(place.to_owned());
    }
    if list && schema["items"]["type"] != "string" {
        find_unbounded(document, &schema["items"], place, unbounded, seen);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        find_unbounded(document, field, &format!("{place}.{name}"), unbounded, seen);
    }
    for keyword in ["oneOf", "anyOf", "allOf"] {
        for part in schema[keyword].as_array().into_iter().flatten() {
            find_unbounded(document, part, place, unbounded, seen);
        }
    }
}

/// The rule that is applied and the one that is published are two attributes of a field; numbers in
/// them must agree.
#[test]
fn published_bounds_are_the_ones_that_are_applied() {
    let document = document();
    let mut compared = 0;
    for (file, text) in sources() {
        for (owner, name, attribute, kind) in validated_fields(&text) {
            let schema = &document["components"]["schemas"][&owner]["properties"][&name];
            if schema.is_null() {
                continue;
            }
            for (keyword, bound) in bounds(&attribute, &kind) {
                let published = &schema[keyword];
                assert!(
                    published.is_number(),
                    "{file}: {owner}.{name} has no {keyword} in the document"
                );
                if let Some(bound) = bound {
                    assert_eq!(
                        published.as_i64(),
                        Some(bound),
                        "{file}: {owner}.{name} {keyword}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 20, "{compared}");
}

pub(super) fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((
                    path.display().to_string(),
                    fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }
    let mut found = Vec::new();
    let host = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for member in ["server/src", "shop/src"] {
        walk(&host.join(member), &mut found);
    }
    found
}

/// The name in `pub struct Name<T> {` or `enum Name {`.
pub(super) fn type_name(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub").map_or(line, |rest| {
        rest.strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .map_or(rest, |(_, rest)| rest)
    });
    let mut words = line.trim_start().split([' ', '<', '(', ';', '{']);
    let is_type = matches!(words.next()?, "struct" | "enum");
    words.next().filter(|name| is_type && !name.is_empty())
}

fn documented_types(text: &str) -> Vec<String> {
    let (mut names, mut derives, mut in_macro) = (Vec::new(), false, false);
    // Tests at a file's end document nothing.
    let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    for line in shipped.lines() {
        in_macro = (in_macro && line != "}") || line.trim_end().ends_with("text_enum! {");
        derives |= line.contains("ToSchema") && !line.starts_with("use ");
        if let Some(name) = type_name(line) {
            if derives || in_macro {
                names.push(name.to_owned());
            }
            derives = false;
        } else if line.is_empty() {
            derives = false;
        }
    }
    names
}

/// Owner, name, rule and type of every field that has a rule of garde.
fn validated_fields(text: &str) -> Vec<(String, String, String, String)> {
    let (mut owner, mut attribute, mut fields) = (String::new(), String::new(), Vec::new());
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(name) = type_name(line) {
            name.clone_into(&mut owner);
        } else if let Some(rule) = trimmed.strip_prefix("#[garde(") {
            rule.clone_into(&mut attribute);
        } else if !trimmed.starts_with(['#', '/'])
            && !attribute.is_empty()
            && let Some((name, kind)) = trimmed.split_once(": ")
        {
            let name = name.rsplit(' ').next().unwrap_or(name);
            let rule = std::mem::take(&mut attribute);
            fields.push((owner.clone(), camel_case(name), rule, kind.to_owned()));
        }
    }
    fields
}

fn camel_case(name: &str) -> String {
    let mut words = name.trim_start_matches("r#").split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(1);
        name + &head.to_uppercase() + tail
    })
}

/// Keywords of JSON Schema that a rule corresponds to, with the bound where it is a literal.
fn bounds(rule: &str, kind: &str) -> Vec<(&'static str, Option<i64>)> {
    let names = match kind {
        _ if rule.contains("range(") => ["minimum", "maximum"],
        kind if kind.contains("Vec<") => ["minItems", "maxItems"],
        kind if kind.contains("Map<") => ["minProperties", "maxProperties"],
        _ => ["minLength", "maxLength"],
    };
    let inner = ["range(", "length("]
        .iter()
        .find_map(|call| rule.split_once(call));
    let inner = inner.map_or("", |(_, rest)| rest.split(')').next().unwrap_or_default());
    let literal = |text: &str| text.replace('_', "").parse().ok();
    let mut found = Vec::new();
    for part in inner.split(", ") {
        match part.split_once(" = ") {
            Some(("min", bound)) => found.push((names[0], literal(bound))),
            Some(("max", bound)) => found.push((names[1], literal(bound))),
            Some(("equal", bound)) => found.extend(names.map(|name| (name, literal(bound)))),
            _ => {}
        }
    }
    found
}
