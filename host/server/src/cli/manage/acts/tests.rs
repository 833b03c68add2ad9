//! Every act is held against the OpenAPI document: what it sends is accepted, what it shows is there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::act::{Act, Column, Input, Kind, Place, Verb},
    GROUPS,
};

struct Document(Value);

impl Document {
    fn new() -> Self {
        let text = crate::api::openapi_json().unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    fn operation(&self, act: &Act) -> &Value {
        let method = act.verb.method().as_str().to_lowercase();
        let item = &self.0["paths"][act.path];
        assert!(item.get(&method).is_some(), "{method} {}", act.path);
        &item[&method]
    }

    /// Returns the schemas that a value of this schema may have, references followed.
    fn alternatives<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        if let Some(name) = schema["$ref"].as_str() {
            let pointer = name.trim_start_matches('#');
            return self.alternatives(self.0.pointer(pointer).unwrap());
        }
        let combined = ["allOf", "oneOf", "anyOf"].iter();
        let parts: Vec<&Value> = combined
            .filter_map(|key| schema[*key].as_array())
            .flatten()
            .collect();
        if parts.is_empty() {
            return vec![schema];
        }
        let found = parts.into_iter().flat_map(|part| self.alternatives(part));
        found.chain([schema]).collect()
    }

    /// Returns true when a value of this schema may have something at a JSON pointer.
    fn has(&self, schema: &Value, pointer: &str) -> bool {
        let mut schemas = vec![schema];
        for part in pointer.split('/').skip(1) {
            schemas = schemas
                .into_iter()
                .flat_map(|schema| self.alternatives(schema))
                .filter_map(|schema| schema["properties"].get(part))
                .collect();
            if schemas.is_empty() {
                return false;
            }
        }
        true
    }

    fn at<'a>(&'a self, schema: &'a Value, pointer: &str) -> Vec<&'a Value> {
        let mut schemas = self.alternatives(schema);
        for part in pointer.split('/').skip(1) {
            schemas = schemas
                .into_iter()
                .filter_map(|schema| schema["properties"].get(part))
                .flat_map(|schema| self.alternatives(schema))
                .collect();
        }
        schemas
    }

    /// Returns the schema of the answer to a command: of each item, when it is a list.
    fn data(&self, act: &Act) -> Vec<&Value> {
        let responses = self.operation(act)["responses"].as_object().unwrap();
        let success = responses.iter().find(|(status, _)| status.starts_with('2'));
        let envelope = &success.unwrap().1["content"]["application/json"]["schema"];
        self.items(self.at(envelope, "/data"))
    }

    fn items<'a>(&'a self, schemas: Vec<&'a Value>) -> Vec<&'a Value> {
        let lists = schemas.iter().filter_map(|schema| schema.get("items"));
        let items: Vec<&Value> = lists.flat_map(|items| self.alternatives(items)).collect();
        if items.is_empty() { schemas } else { items }
    }
}

fn acts() -> impl Iterator<Item = (String, &'static Act)> {
    GROUPS.iter().flat_map(|group| {
        let acts = group.acts.iter();
        acts.map(|act| (format!("{} {}", group.name, act.name), act))
    })
}

fn names(act: &Act, place: Place) -> impl Iterator<Item = &Input> {
    act.inputs.iter().filter(move |input| input.place == place)
}

#[test]
fn every_act_fits_its_route() {
    let document = Document::new();
    for (name, act) in acts() {
        let operation = document.operation(act);
        let parameters = operation["parameters"].as_array();
        let parameters: BTreeSet<(&str, &str)> = parameters
            .into_iter()
            .flatten()
            .map(|one| (one["in"].as_str().unwrap(), one["name"].as_str().unwrap()))
            .collect();
        for input in names(act, Place::Query) {
            let field = ("query", input.field);
            assert!(parameters.contains(&field), "{name}: {}", input.field);
        }
        let in_path: BTreeSet<&str> = parameters
            .iter()
            .filter(|(place, _)| *place == "path")
            .map(|(_, name)| *name)
            .collect();
        let given: BTreeSet<&str> = names(act, Place::Path).map(|input| input.field).collect();
        assert_eq!(in_path, given, "{name}");
        fits_the_body(&document, &name, act, operation);
    }
}

fn kind_of_body(act: &Act) -> &'static str {
    match act.verb {
        Verb::PostForm => "multipart/form-data",
        _ => "application/json",
    }
}

fn fits_the_body(document: &Document, name: &str, act: &Act, operation: &Value) {
    let schema = &operation["requestBody"]["content"][kind_of_body(act)]["schema"];
    let fixed = act.fixed.iter().map(|(field, _)| *field);
    let inputs = names(act, Place::Body).map(|input| input.field);
    let sent: BTreeSet<&str> = fixed.chain(inputs).collect();
    if sent.is_empty() {
        assert!(schema.is_null(), "{name}: the route wants a body");
        return;
    }
    for field in &sent {
        let pointer = format!("/{field}");
        assert!(document.has(schema, &pointer), "{name}: {field}");
    }
    let must = document.alternatives(schema).into_iter();
    let must = must.filter_map(|schema| schema["required"].as_array());
    for field in must.flatten().filter_map(Value::as_str) {
        let input = names(act, Place::Body).find(|input| input.field == field);
        let is_sent = input.map_or_else(
            || act.fixed.iter().any(|(fixed, _)| *fixed == field),
            |input| input.is_required,
        );
        assert!(is_sent, "{name}: {field} is required by the route");
    }
}

#[test]
fn every_column_is_in_the_answer_of_its_route() {
    let document = Document::new();
    for (name, act) in acts() {
        let data = document.data(act);
        let shows = |schemas: &[&Value], columns: &[Column]| {
            for column in columns {
                let is_there = schemas.iter().any(|schema| document.has(schema, column.at));
                assert!(is_there, "{name}: {} {}", column.title, column.at);
            }
        };
        shows(&data, act.view.columns);
        for section in act.view.sections {
            let found = data
                .iter()
                .flat_map(|schema| document.at(schema, section.at));
            let items = document.items(found.collect());
            shows(&items, section.columns);
        }
    }
}

#[test]
fn every_word_is_one_of_the_routes() {
    let document = Document::new();
    for (name, act) in acts() {
        let operation = document.operation(act);
        for input in act.inputs {
            let (Kind::OneOf(words) | Kind::ManyOf(words)) = input.kind else {
                continue;
            };
            let schema = match input.place {
                Place::Body => {
                    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
                    document.at(body, &format!("/{}", input.field))
                }
                Place::Query | Place::Path => {
                    let parameters = operation["parameters"].as_array().unwrap().iter();
                    let found = parameters.filter(|one| one["name"] == input.field);
                    found
                        .flat_map(|one| document.alternatives(&one["schema"]))
                        .collect()
                }
            };
            let known: Vec<&str> = document
                .items(schema)
                .into_iter()
                .filter_map(|schema| schema["enum"].as_array())
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let told: BTreeSet<&str> = words.iter().copied().collect();
            assert_eq!(told, known.into_iter().collect(), "{name}: {}", input.name);
        }
    }
}

/// Every act that changes something takes a reason, and must have one where its route wants it.
#[test]
fn every_act_takes_a_reason_as_its_route_does() {
    let document = Document::new();
    for (name, act) in acts() {
        let operation = document.operation(act);
        let body = &operation["requestBody"]["content"][kind_of_body(act)]["schema"];
        let takes = document.has(body, "/reason");
        assert_eq!(takes, act.verb != Verb::Get, "{name}");
        let must = document.alternatives(body).into_iter();
        let must = must.filter_map(|schema| schema["required"].as_array());
        let wants = must.flatten().any(|field| field == "reason");
        let input = act.inputs.iter().find(|input| input.field == "reason");
        let is_required = input.map(|input| input.is_required);
        assert_eq!(is_required, takes.then_some(wants), "{name}");
    }
}
