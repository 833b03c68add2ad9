//! Removal of `null`, which Kubernetes reads as an absent field; removed first, so that the checks
//! and the forced values see none.

use serde_json::Value;

/// Removes all members that are `null`. Elements of lists stay, since their position counts.
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
