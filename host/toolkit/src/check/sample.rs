//! Made-up values to call a plugin with.

use dermaga_runtime::{
    contract::{
        Image, ImageSpec, Instance, Period, Plan, Resources, RunningPeriod, Rupiah, Tier, Timestamp,
    },
    gate::Policy,
};
use serde_json::{Map, Value, json};

use super::offers::Service;
use crate::template::Template;

/// 2026-01-31 12:00:00 UTC: the end of a long month before a short one.
pub(super) const MOMENT: Timestamp = 1_769_860_800;
const DAY: Timestamp = 86_400;
const NAME: &str = "sample-01";
const HOST: &str = "sample-01.apps.example.com";
const SECRET_OBJECT: &str = "sample-01-secrets";

/// Returns a plan of a usual size at this price, for coupons.
pub(super) fn plan(monthly_price: Rupiah) -> Plan {
    Plan {
        slug: "basic".to_owned(),
        tier: Tier::Basic,
        monthly_price,
        resources: Resources {
            cpu_millis: 500,
            memory_mib: 1024,
            storage_gib: 5,
            replicas: 1,
        },
    }
}

/// Returns a paid 30-day period of the plan, half over at [`MOMENT`].
pub(super) fn half_over(plan: &Plan) -> RunningPeriod {
    let period = Period {
        start: MOMENT - 15 * DAY,
        end: MOMENT + 15 * DAY,
    };
    RunningPeriod {
        plan: plan.clone(),
        paid: plan.monthly_price,
        period,
    }
}

/// Builds an instance as the server does.
pub(crate) fn instance(service: &Service<'_>, plan: &Plan, config: &Value) -> Instance {
    let description = &service.description;
    let own = |image: &ImageSpec| {
        Some(Image {
            name: image.name.clone(),
            reference: image.reference.clone()?,
        })
    };
    let image = |(name, reference): (&String, &String)| Image {
        name: name.clone(),
        reference: reference.clone(),
    };
    let public = description.endpoints.iter().any(|endpoint| endpoint.public);
    Instance {
        name: NAME.to_owned(),
        settings: service.settings.clone(),
        plan: plan.clone(),
        config: config.clone(),
        hostname: public.then(|| HOST.to_owned()),
        secret_object: SECRET_OBJECT.to_owned(),
        secrets: description
            .secrets
            .iter()
            .map(|secret| secret.name.clone())
            .collect(),
        images: match service.template {
            Some(template) => template.images.iter().map(image).collect(),
            None => description.images.iter().filter_map(own).collect(),
        },
    }
}

/// Returns the gate's policy for this instance.
pub(crate) fn policy(instance: &Instance, template: Option<&Template>) -> Policy {
    let exceptions =
        template.map(|template| template.pod_security.exceptions.iter().copied().collect());
    Policy {
        namespace: "user-sample".to_owned(),
        instance: instance.name.clone(),
        labels: [("dermaga.dev/owner".to_owned(), "sample".to_owned())].into(),
        budget: instance.plan.resources,
        images: instance
            .images
            .iter()
            .map(|image| image.reference.clone())
            .collect(),
        hosts: instance.hostname.iter().cloned().collect(),
        exceptions: exceptions.unwrap_or_default(),
        storage_class: None,
        ingress_class: None,
        secret_object: instance.secret_object.clone(),
    }
}

/// Advice when the plugin refuses a sample that was made up from its schema.
pub(super) const CURE: &str = "write `\"examples\": [...]` into the schema, beside its `type`, with values that `check` accepts; the check then uses only those";

/// Values to try a plugin with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    pub(crate) values: Vec<Value>,
    /// True when some are made up, because the schema has no `examples`.
    pub(crate) made_up: bool,
}

/// Returns values that the schema accepts: its own examples, or else its default and the smallest
/// value of each of its alternatives. Returns none when the schema asks for something that cannot
/// be guessed, such as a pattern. A rule that a schema cannot express, such as one across two
/// fields, needs examples.
pub(super) fn of_schema(schema: &Value) -> Samples {
    let Ok(validator) = jsonschema::validator_for(schema) else {
        return Samples::default();
    };
    let accepted = |all: Vec<Value>| {
        let mut samples = Vec::new();
        for sample in all {
            if validator.is_valid(&sample) && !samples.contains(&sample) {
                samples.push(sample);
            }
        }
        samples
    };
    let examples = schema.get("examples").and_then(Value::as_array);
    let examples = accepted(examples.cloned().unwrap_or_default());
    if !examples.is_empty() {
        return Samples {
            values: examples,
            made_up: false,
        };
    }
    let made = alternatives(schema).into_iter().map(|one| smallest(&one));
    let default = schema.get("default").cloned();
    Samples {
        values: accepted(default.into_iter().chain(made).collect()),
        made_up: true,
    }
}

/// Returns the schema itself, or one copy for each alternative when it leaves a choice.
fn alternatives(schema: &Value) -> Vec<Value> {
    let choices = ["oneOf", "anyOf"]
        .iter()
        .find_map(|key| schema.get(key)?.as_array());
    match choices {
        Some(choices) => choices
            .iter()
            .map(|choice| merged(schema, choice))
            .collect(),
        None => vec![schema.clone()],
    }
}

fn merged(schema: &Value, choice: &Value) -> Value {
    let (Value::Object(mut all), Value::Object(choice)) = (schema.clone(), choice.clone()) else {
        return choice.clone();
    };
    for (key, value) in choice {
        match (all.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
            (Some(Value::Array(old)), Value::Array(new)) => old.extend(new),
            (_, value) => {
                all.insert(key, value);
            }
        }
    }
    Value::Object(all)
}

/// Returns a value that the schema proposes (`const`, `default`, `examples`, `enum`), or else the
/// smallest one of its type.
fn smallest(schema: &Value) -> Value {
    let given = ["const", "default"].iter().find_map(|key| schema.get(key));
    let listed = ["examples", "enum"]
        .iter()
        .find_map(|key| schema.get(key)?.as_array()?.first());
    if let Some(value) = given.or(listed) {
        return value.clone();
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        kind => kind.and_then(Value::as_str),
    };
    let least = |key: &str| schema.get(key).and_then(Value::as_i64);
    let length = |key: &str| least(key).and_then(|length| usize::try_from(length).ok());
    match kind {
        Some("object") => Value::Object(required(schema)),
        Some("integer" | "number") => {
            let above = least("exclusiveMinimum").map(|bound| bound.saturating_add(1));
            json!(least("minimum").or(above).unwrap_or(1))
        }
        // A schema may ask for gigabytes; a text that is too short for it is dropped afterwards.
        Some("string") => json!("a".repeat(length("minLength").unwrap_or(1).min(1000))),
        Some("boolean") => json!(false),
        Some("array") => {
            let item = schema.get("items").map_or(Value::Null, smallest);
            json!(vec![item; length("minItems").unwrap_or(0).min(100)])
        }
        _ => Value::Null,
    }
}

fn required(schema: &Value) -> Map<String, Value> {
    let names = schema.get("required").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    let property = |name: &str| {
        let property = schema.get("properties").and_then(|all| all.get(name));
        property.map_or(Value::Null, |property| {
            alternatives(property).first().map_or(Value::Null, smallest)
        })
    };
    names
        .map(|name| (name.to_owned(), property(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_value_is_within_its_bounds_and_of_its_type() {
        for (schema, value) in [
            (json!({"type": "integer"}), json!(1)),
            (json!({"type": "integer", "exclusiveMinimum": 5}), json!(6)),
            (
                json!({"type": "integer", "exclusiveMinimum": i64::MAX}),
                json!(i64::MAX),
            ),
            (json!({"type": "integer", "minimum": -3}), json!(-3)),
            (json!({"type": ["string", "null"]}), json!("a")),
            (json!({"type": "string", "minLength": 0}), json!("")),
            (json!({"type": "string", "minLength": -1}), json!("a")),
            (json!({"type": "array"}), json!([])),
            (json!({"type": "array", "minItems": 1}), json!([null])),
            (json!({"type": "string", "default": null}), json!(null)),
            (json!({"const": 7, "default": 8}), json!(7)),
            (json!({"examples": [], "enum": []}), json!(null)),
            (json!(true), json!(null)),
        ] {
            assert_eq!(smallest(&schema), value, "{schema}");
        }
        let huge = json!({"type": "string", "minLength": u64::MAX});
        assert!(smallest(&huge).as_str().unwrap().len() <= 1000);
        let many = json!({"type": "array", "minItems": 1_000_000_000});
        assert!(smallest(&many).as_array().unwrap().len() <= 100);
    }

    #[test]
    fn a_sample_is_what_the_schema_accepts() {
        let schema = json!({
            "type": "object",
            "required": ["percent", "mode", "list"],
            "properties": {
                "percent": {"type": "integer", "minimum": 5},
                "mode": {"enum": ["fixed", "percent"]},
                "list": {"type": "array", "minItems": 2, "items": {"type": "string", "minLength": 3}},
                "optional": {"type": "boolean"},
            },
            "additionalProperties": false,
        });
        assert_eq!(
            of_schema(&schema).values,
            [json!({"percent": 5, "mode": "fixed", "list": ["aaa", "aaa"]})]
        );
        assert_eq!(of_schema(&json!({"type": "object"})).values, [json!({})]);
        let either = json!({
            "type": "object",
            "properties": {"amount": {"type": "integer", "minimum": 1}, "percent": {"type": "integer", "minimum": 1}},
            "oneOf": [
                {"required": ["amount"], "properties": {"amount": {"type": "integer", "minimum": 7}}},
                {"required": ["percent"]},
            ],
        });
        assert_eq!(
            of_schema(&either).values,
            [json!({"amount": 7}), json!({"percent": 1})]
        );
    }

    #[test]
    fn examples_are_taken_alone_and_the_impossible_is_admitted() {
        let schema = json!({"type": "object", "examples": [{"a": 0}, {"a": 2}], "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 1}}});
        let samples = of_schema(&schema);
        assert_eq!(
            (samples.values, samples.made_up),
            (vec![json!({"a": 2})], false)
        );
        let pattern = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "pattern": "^[0-9]{7}$"}}});
        assert!(of_schema(&pattern).values.is_empty());
    }
}
