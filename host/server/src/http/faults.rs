//! Every fault of what a client sent, at once and in plain words: the one place where extractors
//! get their refusals from.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use dermaga_shop::{
    Code, Error,
    accounts::{check_rules, parse_avatar},
    error::Detail,
    input,
    schema::{self, Format},
    text,
};
use garde::Validate;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema, openapi::path::ParameterIn};

use super::{
    echo::{cut, shortened},
    ids, repeats,
};

/// Formats of the document that have a rule of their own. Such a rule tidies a text before it looks
/// at it, so bounds and patterns beside it are for readers of the document.
const FORMATS: &[Format] = &[
    ("email", |text| text::email(text).map(drop)),
    ("phone", |text| text::phone(text).map(drop)),
    ("person-name", |text| text::name(text).map(drop)),
    ("coupon-code", |text| text::code(text).map(drop)),
    ("reason", |text| text::given_reason(text).map(drop)),
    ("namespace", text::namespace),
    ("https-url", |text| parse_avatar(text).map(drop)),
    ("new-password", check_rules),
    ("uuid", |text| {
        of_format("uuid", text.parse::<uuid::Uuid>().is_ok())
    }),
    ("date", |text| input::date(text).map(drop)),
    ("date-time", |text| input::moment(text).map(drop)),
    ("date-or-date-time", |text| {
        text.parse::<super::When>().map(drop)
    }),
];

/// Formats of texts that people type, which may be left blank as any text; their rules tidy them first.
const TYPED: &[&str] = &["phone", "person-name", "coupon-code", "https-url"];

fn of_format(name: &str, is_good: bool) -> Result<(), String> {
    is_good
        .then_some(())
        .ok_or_else(|| format!("must be {}", schema::of_format(name)))
}

/// A type's schema, and what finds the faults of a value.
pub(super) struct Shape {
    pub(super) schema: Value,
    validator: Option<Validator>,
}

impl Shape {
    fn new(schema: Value) -> Self {
        let options = FORMATS.iter().fold(
            jsonschema::options().should_validate_formats(true),
            |options, (name, rule)| {
                options.with_format(*name, move |text: &str| rule(text).is_ok())
            },
        );
        let mut judged = schema.clone();
        keep_rules_alone(&mut judged);
        let validator = options.build(&judged).ok();
        Self { schema, validator }
    }

    /// The shape of a body.
    pub(super) fn of_body<T: ToSchema + 'static>() -> Arc<Self> {
        cached(TypeId::of::<T>(), || {
            let mut components = Vec::new();
            T::schemas(&mut components);
            let mut schema = json!(T::schema());
            let components: Map<String, Value> = components
                .into_iter()
                .map(|(name, schema)| (name, json!(schema)))
                .collect();
            if let Value::Object(fields) = &mut schema {
                fields.insert("components".into(), json!({ "schemas": components }));
            }
            ids::write_out(&mut schema);
            Self::new(schema)
        })
    }

    /// The shape of a query, as an object of its parameters.
    pub(super) fn of_query<T: IntoParams + 'static>() -> Arc<Self> {
        cached(TypeId::of::<T>(), || {
            let parameters = T::into_params(|| Some(ParameterIn::Query));
            let named = parameters.into_iter().map(|parameter| {
                let schema = parameter
                    .schema
                    .map_or(Value::Bool(true), |schema| json!(schema));
                (parameter.name, schema)
            });
            let properties: Map<String, Value> = named.collect();
            let mut object = json!({
                "type": "object", "properties": properties, "additionalProperties": false,
            });
            ids::write_out(&mut object);
            Self::new(object)
        })
    }

    /// Returns true for a field of which this blank text is a value, to be judged by its type.
    pub(super) fn judges_blank(&self, name: &str, blank: &str) -> bool {
        let properties = self.schema.get("properties");
        let property = properties.and_then(|properties| properties.get(name));
        property.is_some_and(|property| !may_be_blank(&self.schema, property, blank))
    }

    /// The faults of a value, named as fields of `root`.
    pub(super) fn faults(&self, value: &Value, root: &str) -> Vec<Detail> {
        let Some(validator) = &self.validator else {
            return Vec::new();
        };
        let faults = schema::faults(validator, &self.schema, value, FORMATS);
        let detail = |fault: schema::Fault| Detail {
            field: field(&fault.pointer, root),
            message: self.completed(fault),
        };
        faults.into_iter().map(detail).collect()
    }

    /// The faults of lists in the place of objects, which types would read as their fields in order.
    pub(super) fn lists(&self, value: &Value, root: &str) -> Vec<Detail> {
        let mut faults = self.faults(value, root);
        faults.retain(|fault| fault.message == schema::LIST_FOR_OBJECT);
        faults
    }

    /// Adds the known names to the message about an unknown field of the object itself.
    fn completed(&self, fault: schema::Fault) -> String {
        let is_own = fault.message == schema::UNKNOWN && fault.pointer.matches('/').count() == 1;
        let names = self.schema.get("properties").and_then(Value::as_object);
        match names.filter(|names| is_own && !names.is_empty()) {
            Some(names) => {
                let names: Vec<&str> = names.keys().map(String::as_str).collect();
                schema::unknown_among(&names)
            }
            None => fault.message,
        }
    }
}

/// Shapes are made once for each type.
fn cached(key: TypeId, make: impl FnOnce() -> Shape) -> Arc<Shape> {
    static SHAPES: LazyLock<RwLock<HashMap<TypeId, Arc<Shape>>>> = LazyLock::new(RwLock::default);
    let known = SHAPES.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(shape) = known.get(&key) {
        return Arc::clone(shape);
    }
    // Writing below would wait for this reader, which is the same thread.
    drop(known);
    let shape = Arc::new(make());
    let mut shapes = SHAPES.write().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(shapes.entry(key).or_insert(shape))
}

/// Takes out bounds that are beside a format with a rule.
fn keep_rules_alone(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let has_rule = fields
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|format| FORMATS.iter().any(|(name, _)| *name == format));
            if has_rule {
                fields.retain(|key, _| {
                    !matches!(key.as_str(), "pattern" | "minLength" | "maxLength")
                });
            }
            fields.values_mut().for_each(keep_rules_alone);
        }
        Value::Array(items) => items.iter_mut().for_each(keep_rules_alone),
        _ => {}
    }
}

/// `/adjustments/0/amount` as clients write it: `adjustments[0].amount`.
fn field(pointer: &str, root: &str) -> String {
    let mut name = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !name.is_empty() && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            name = format!("{name}[{part}]");
        } else if name.is_empty() {
            name = part;
        } else {
            name = format!("{name}.{part}");
        }
    }
    if name.is_empty() {
        root.to_owned()
    } else {
        name
    }
}

/// The broken rules of a value that was read.
pub(super) fn broken_rules<T: Validate<Context = ()>>(value: &T) -> Vec<Detail> {
    let Err(report) = value.validate() else {
        return Vec::new();
    };
    let details = report.into_inner().into_iter().map(|(path, fault)| Detail {
        field: camel_case(&path.to_string()),
        message: input::of_rule(fault.message()),
    });
    details.collect()
}

/// The texts of a body that hold the character U+0000.
pub(super) fn nuls(body: &[u8], root: &str) -> Vec<Detail> {
    at(input::nuls(body), input::NO_NUL, root)
}

/// The fields that an object of a body has more than once.
pub(super) fn repeats(body: &[u8], root: &str) -> Vec<Detail> {
    at(repeats::repeats(body), input::TWICE, root)
}

/// The same fault at each of these pointers.
fn at(pointers: Vec<String>, message: &str, root: &str) -> Vec<Detail> {
    let details = pointers.into_iter().map(|pointer| Detail {
        field: field(&pointer, root),
        message: message.to_owned(),
    });
    details.collect()
}

/// Rules name fields as Rust does; clients know them in camelCase.
fn camel_case(path: &str) -> String {
    let mut raise = false;
    let letter = |letter: char| {
        if letter == '_' {
            raise = true;
            return None;
        }
        Some(if std::mem::take(&mut raise) {
            letter.to_ascii_uppercase()
        } else {
            letter
        })
    };
    path.chars().filter_map(letter).collect()
}

/// The faults against a schema, and of the others those about fields that are not among them.
pub(super) fn merged(faults: Vec<Detail>, others: Vec<Detail>) -> Vec<Detail> {
    let mut details = faults;
    let is_new = |other: &Detail| !details.iter().any(|known| known.field == other.field);
    let others: Vec<Detail> = others.into_iter().filter(is_new).collect();
    details.extend(others);
    details
}

/// The refusal of a request with these faults.
pub(super) fn refusal(mut details: Vec<Detail>) -> Error {
    details
        .sort_by(|left, right| (&left.field, &left.message).cmp(&(&right.field, &right.message)));
    details.dedup();
    for detail in &mut details {
        detail.field = cut(&detail.field, 100);
        detail.message = shortened(&detail.message);
    }
    let mut error = Error::new(Code::ValidationFailed, "The request has invalid fields.");
    error.details = details;
    error
}

/// Takes out optional plain texts that hold nothing: "" means absent. A text that must be there and may
/// be null becomes null. In the place of an id, a list, a number, a date or one of some words, a blank text
/// stays, to be refused: it would mean all, or none, instead of what the sender has lost. So does one that
/// is shorter than the document lets a text be. True when there was one to take out.
pub(super) fn prune(shape: &Shape, value: &mut Value) -> bool {
    prune_by(&shape.schema, &shape.schema, value)
}

fn prune_by(root: &Value, schema: &Value, value: &mut Value) -> bool {
    let schema = resolved(root, schema);
    match value {
        Value::Object(fields) => prune_object(root, schema, fields),
        Value::Array(items) => {
            let each = schema.get("items").unwrap_or(&Value::Null);
            let pruned = items.iter_mut().map(|item| prune_by(root, each, item));
            pruned.fold(false, |any, one| any | one)
        }
        _ => false,
    }
}

fn prune_object(root: &Value, schema: &Value, fields: &mut Map<String, Value>) -> bool {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return false;
    };
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |name: &str| required.is_some_and(|names| names.iter().any(|one| one == name));
    let mut pruned = false;
    for (name, property) in properties {
        let Some(value) = fields.get_mut(name) else {
            continue;
        };
        let blank = value.as_str().filter(|text| text::is_blank(text));
        let is_empty = blank.is_some_and(|blank| may_be_blank(root, property, blank));
        if !is_empty {
            pruned |= prune_by(root, property, value);
        } else if !is_required(name) {
            fields.remove(name);
            pruned = true;
        } else if is_nullable(property) {
            *value = Value::Null;
            pruned = true;
        }
    }
    pruned
}

/// Returns true for a schema of texts without a form, or of texts that people type, which lets a text be
/// as short as this blank one.
fn may_be_blank(root: &Value, schema: &Value, blank: &str) -> bool {
    let schema = resolved(root, schema);
    let is_text = match schema.get("type") {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().all(|kind| kind == "string" || kind == "null"),
        _ => false,
    };
    let is_free = match schema.get("format").and_then(Value::as_str) {
        Some(format) => TYPED.contains(&format),
        None => schema.get("pattern").is_none() && schema.get("enum").is_none(),
    };
    let least = schema.get("minLength").and_then(Value::as_u64);
    let length = u64::try_from(blank.chars().count()).unwrap_or(u64::MAX);
    is_text && is_free && least.is_none_or(|least| length >= least)
}

fn is_nullable(schema: &Value) -> bool {
    let types = schema.get("type").and_then(Value::as_array);
    types.is_some_and(|types| types.iter().any(|one| one == "null"))
}

/// The schema itself, or the one it refers to, `null` aside.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let not_null = |part: &&Value| part.get("type").is_none_or(|kind| kind != "null");
    let either = schema.get("oneOf").and_then(Value::as_array);
    let schema = either
        .and_then(|parts| parts.iter().find(not_null))
        .unwrap_or(schema);
    let reference = schema.get("$ref").and_then(Value::as_str);
    reference
        .and_then(|reference| root.pointer(reference.trim_start_matches('#')))
        .unwrap_or(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(field: &str, message: &str) -> Detail {
        Detail {
            field: field.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_pointer_becomes_the_name_that_a_client_knows() {
        for (pointer, name) in [
            ("", "body"),
            ("/name", "name"),
            ("/plans/0/slug", "plans[0].slug"),
            ("/plans/10", "plans[10]"),
            ("/0", "0"),
            ("/a~1b/~0c", "a/b.~c"),
            ("/a/0b", "a.0b"),
        ] {
            assert_eq!(field(pointer, "body"), name, "{pointer:?}");
        }
    }

    #[test]
    fn names_of_rust_become_those_of_json() {
        for (rust, json) in [
            ("name", "name"),
            ("max_uses_per_user", "maxUsesPerUser"),
            ("plans[0].monthly_price", "plans[0].monthlyPrice"),
            ("image_1", "image1"),
            ("", ""),
        ] {
            assert_eq!(camel_case(rust), json);
        }
    }

    #[test]
    fn a_fault_of_the_schema_hides_others_of_its_field() {
        let of_schema = vec![detail("a", "is missing")];
        let of_rules = vec![detail("a", "is too short"), detail("b", "is odd")];
        let fields = merged(of_schema, of_rules);
        assert_eq!(fields, [detail("a", "is missing"), detail("b", "is odd")]);
    }

    #[test]
    fn faults_are_told_once_in_the_order_of_their_fields() {
        let told = refusal(vec![
            detail("b", "2"),
            detail("a", "2"),
            detail("b", "2"),
            detail("a", "1"),
        ]);
        assert_eq!(
            told.details,
            [detail("a", "1"), detail("a", "2"), detail("b", "2")]
        );
    }

    #[test]
    fn a_format_with_a_rule_needs_no_bounds_beside_it() {
        let bounded = |format: &str| json!({ "type": "string", "format": format, "pattern": "^a$", "minLength": 1, "maxLength": 9 });
        let mut schema =
            json!({ "properties": { "a": bounded("email"), "b": [bounded("password")] } });
        keep_rules_alone(&mut schema);
        let kept = json!({ "type": "string", "format": "email" });
        assert_eq!(schema["properties"]["a"], kept);
        assert_eq!(schema["properties"]["b"][0], bounded("password"));
    }

    /// A blank in the place of a word, a number or an id is a value that was lost, and is refused.
    #[test]
    fn only_free_text_is_left_out_by_a_blank() {
        let root = json!({ "Name": { "type": "string" } });
        for (schema, is_free) in [
            (json!({ "type": "string" }), true),
            (json!({ "type": ["string", "null"] }), true),
            (json!({ "type": "string", "format": "phone" }), true),
            (
                json!({ "oneOf": [{ "type": "null" }, { "$ref": "#/Name" }] }),
                true,
            ),
            (json!({ "type": "string", "format": "uuid" }), false),
            (json!({ "type": "string", "enum": ["A"] }), false),
            (json!({ "type": "string", "pattern": "^a$" }), false),
            (json!({ "type": "string", "minLength": 2 }), false),
            (json!({ "type": ["string", "integer"] }), false),
            (json!({ "type": "integer" }), false),
            (json!({}), false),
        ] {
            assert_eq!(may_be_blank(&root, &schema, " "), is_free, "{schema}");
        }
    }
}
