//! Values to call a plugin with when nobody has given any.

use dermaga_runtime::{
    contract::{
        Image, Instance, Period, Plan, Resources, RunningPeriod, Rupiah, ServiceDescription, Tier,
        Timestamp,
    },
    gate::Policy,
};
use serde_json::{Map, Value, json};

use crate::template::Template;

/// 2026-01-31 12:00:00 UTC: the end of a long month before a short one.
pub(super) const MOMENT: Timestamp = 1_769_860_800;
const DAY: Timestamp = 86_400;
const NAME: &str = "sample-01";
const HOST: &str = "sample-01.apps.example.com";
const SECRET_OBJECT: &str = "sample-01-secrets";

/// A plan of about the usual size, for coupons, which care for its price only.
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

/// A 30-day period of the plan, half over at [`MOMENT`].
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

/// An instance as the server makes it.
pub(super) fn instance(
    description: &ServiceDescription,
    template: Option<&Template>,
    plan: &Plan,
    config: &Value,
) -> Instance {
    let image = |(name, reference): (&String, &String)| Image {
        name: name.clone(),
        reference: reference.clone(),
    };
    let public = description.endpoints.iter().any(|endpoint| endpoint.public);
    Instance {
        name: NAME.to_owned(),
        plan: plan.clone(),
        config: config.clone(),
        hostname: public.then(|| HOST.to_owned()),
        secret_object: SECRET_OBJECT.to_owned(),
        secrets: description
            .secrets
            .iter()
            .map(|secret| secret.name.clone())
            .collect(),
        images: match template {
            Some(template) => template.images.iter().map(image).collect(),
            None => description.images.clone(),
        },
    }
}

/// What the gate lets this instance be made of.
pub(super) fn policy(instance: &Instance, template: Option<&Template>) -> Policy {
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

/// A value that the schema accepts, if one can be made: the schema's own examples and defaults
/// first, else the smallest value of each required property.
pub(super) fn of_schema(schema: &Value) -> Option<Value> {
    let validator = jsonschema::validator_for(schema).ok()?;
    let examples = schema
        .get("examples")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let default = schema.get("default").into_iter();
    let candidates = examples
        .chain(default)
        .cloned()
        .chain([json!({}), smallest(schema)]);
    candidates
        .into_iter()
        .find(|candidate| validator.is_valid(candidate))
}

fn smallest(schema: &Value) -> Value {
    let given = ["const", "default"].iter().find_map(|key| schema.get(key));
    let listed = ["examples", "enum"]
        .iter()
        .find_map(|key| schema.get(key)?.as_array()?.first());
    if let Some(value) = given.or(listed) {
        return value.clone();
    }
    let alternative = ["oneOf", "anyOf"]
        .iter()
        .find_map(|key| schema.get(key)?.as_array()?.first());
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        kind => kind.and_then(Value::as_str),
    };
    let least = |key: &str| schema.get(key).and_then(Value::as_i64);
    match kind {
        Some("object") => {
            let mut object = required(schema);
            if let Some(Value::Object(more)) = alternative.map(smallest_object) {
                object.extend(more);
            }
            Value::Object(object)
        }
        Some("integer" | "number") => {
            json!(
                least("minimum")
                    .or_else(|| least("exclusiveMinimum").map(|bound| bound.saturating_add(1)))
                    .unwrap_or(1)
            )
        }
        Some("string") => {
            let length = least("minLength")
                .and_then(|length| usize::try_from(length).ok())
                .unwrap_or(1);
            json!("a".repeat(length.min(1000)))
        }
        Some("boolean") => json!(false),
        Some("array") => {
            let length = least("minItems")
                .and_then(|length| usize::try_from(length).ok())
                .unwrap_or(0);
            json!(vec![
                schema.get("items").map_or(Value::Null, smallest);
                length.min(100)
            ])
        }
        _ => alternative.map_or(Value::Null, smallest),
    }
}

/// An alternative of an object need not say again that it is one.
fn smallest_object(schema: &Value) -> Value {
    if schema.get("type").is_some() {
        smallest(schema)
    } else {
        Value::Object(required(schema))
    }
}

fn required(schema: &Value) -> Map<String, Value> {
    let names = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let property = |name: &str| {
        schema
            .get("properties")
            .and_then(|properties| properties.get(name))
            .map_or(Value::Null, smallest)
    };
    names
        .map(|name| (name.to_owned(), property(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            of_schema(&schema),
            Some(json!({"percent": 5, "mode": "fixed", "list": ["aaa", "aaa"]}))
        );
        assert_eq!(of_schema(&json!({"type": "object"})), Some(json!({})));
        let either = json!({
            "type": "object",
            "properties": {"amount": {"type": "integer", "minimum": 1}, "percent": {"type": "integer", "minimum": 1}},
            "oneOf": [
                {"required": ["amount"], "properties": {"amount": {"type": "integer", "minimum": 7}}},
                {"required": ["percent"]},
            ],
        });
        assert_eq!(of_schema(&either), Some(json!({"amount": 7})));
    }

    #[test]
    fn examples_come_first_and_the_impossible_is_admitted() {
        let schema = json!({"type": "object", "examples": [{"a": 0}, {"a": 2}], "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 1}}});
        assert_eq!(of_schema(&schema), Some(json!({"a": 2})));
        let pattern = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "pattern": "^[0-9]{7}$"}}});
        assert_eq!(of_schema(&pattern), None);
    }
}
