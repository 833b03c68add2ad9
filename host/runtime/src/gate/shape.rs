//! Allowed fields of an object and their types. Everything else is refused, so that an unforeseen
//! field, or one that a later Kubernetes adds, cannot be used by a plugin.

use serde_json::Value;

use super::{
    node::{Node, Report},
    rule::Rule,
};

/// Maximum of a count, which is a signed number of 32 bits.
const MAX_COUNT: u64 = i32::MAX.unsigned_abs() as u64;

/// Allowed values at one place.
#[derive(Debug)]
pub(super) enum Shape {
    /// Any data, at places without effect on the cluster.
    Any,
    Text,
    /// A whole number that is not negative; Kubernetes holds no larger one than [`MAX_COUNT`].
    Count,
    /// A whole number from 0 to this one.
    UpTo(u64),
    Flag,
    /// A number or a text, such as a port or a quantity.
    TextOrNumber,
    /// Texts by name, such as labels.
    Texts,
    /// These fields and no others.
    Fields(&'static [(&'static str, Shape)]),
    /// Reference to a shape that is defined elsewhere.
    Same(&'static Shape),
    List(&'static Shape),
    /// One of these texts; anything else breaks the rule.
    OneOf(&'static [&'static str], Rule),
    /// Absent or `false`; anything else breaks the rule.
    False(Rule),
    /// Absent; anything breaks the rule.
    Never(Rule),
}

impl Shape {
    /// Reports everything at and below this place that is not allowed.
    pub(super) fn check(&self, node: &Node<'_>, report: &mut Report) {
        let value = node.value();
        match self {
            Self::Any => {}
            Self::Text => expect(value.is_string(), node, "a text", report),
            Self::Count => {
                let fits = value.as_u64().is_some_and(|count| count <= MAX_COUNT);
                expect(fits, node, "a whole number from 0 to 2147483647", report);
            }
            Self::UpTo(most) => {
                if value.as_u64().is_none_or(|number| number > *most) {
                    let message = format!("it is {value} and may be 0 to {most}");
                    report.refuse_because(node, Rule::ValueNotAllowed, message);
                }
            }
            Self::Flag => expect(value.is_boolean(), node, "true or false", report),
            Self::TextOrNumber => {
                expect(
                    value.is_string() || value.is_number(),
                    node,
                    "a text or a number",
                    report,
                );
            }
            Self::Texts => {
                let texts = value
                    .as_object()
                    .is_some_and(|map| map.values().all(Value::is_string));
                expect(texts, node, "a map of texts", report);
            }
            Self::Fields(fields) => check_fields(fields, node, report),
            Self::Same(shape) => shape.check(node, report),
            Self::List(element) => {
                expect(value.is_array(), node, "a list", report);
                for item in node.elements() {
                    element.check(&item, report);
                }
            }
            Self::OneOf(allowed, rule) => {
                if !node.text().is_some_and(|text| allowed.contains(&text)) {
                    let message =
                        format!("{}: it is {value} and may be {allowed:?}", rule.message());
                    report.refuse_because(node, *rule, message);
                }
            }
            Self::False(rule) => {
                if *value != Value::Bool(false) {
                    report.refuse(node, *rule);
                }
            }
            Self::Never(rule) => report.refuse(node, *rule),
        }
    }
}

fn check_fields(fields: &[(&str, Shape)], node: &Node<'_>, report: &mut Report) {
    expect(node.value().is_object(), node, "an object", report);
    for (key, member) in node.members() {
        match fields.iter().find(|(name, _)| *name == key) {
            Some((_, shape)) => shape.check(&member, report),
            None => report.refuse(&member, Rule::FieldNotAllowed),
        }
    }
}

fn expect(holds: bool, node: &Node<'_>, what: &str, report: &mut Report) {
    if !holds {
        report.refuse_because(node, Rule::MalformedObject, format!("it must be {what}"));
    }
}
