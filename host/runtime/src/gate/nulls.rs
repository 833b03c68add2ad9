//! A `null` is an absent field to Kubernetes; taken out first, it is to every check and to what the
//! host forces.

use serde_json::Value;

/// The value without any member that is `null`. Elements of lists stay, since their place counts.
pub(super) fn without(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, member)| !member.is_null())
            .map(|(key, member)| (key.clone(), without(member)))
            .collect(),
        Value::Array(elements) => elements.iter().map(without).collect(),
        other => other.clone(),
    }
}
