//! Marks of what is applied: the labels that tools of Kubernetes know, and the origin of an object.
//!
//! They are on objects, never on the templates of pods: another decision that renders the same must
//! not replace pods.

use serde_json::{Map, Value, json};

use super::model::{Instance, Recorded};
use crate::{ids::DecisionId, plugins::Decision};

const PREFIX: &str = "app.kubernetes.io";
/// Longest value of a label.
const LONGEST: usize = 63;

/// Origin of a rendering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) plugin_id: String,
    pub(super) plugin_version: String,
    pub(super) digest: String,
    /// Absent where it was not recorded yet.
    pub(super) decision_id: Option<DecisionId>,
}

impl Origin {
    /// Returns the origin of a new answer.
    pub(super) fn of(decision: &Decision) -> Self {
        Self {
            plugin_id: decision.plugin_id.clone(),
            plugin_version: decision.plugin_version.clone(),
            digest: decision.digest.clone(),
            decision_id: Some(decision.id),
        }
    }

    /// Returns the origin of an answer that was recorded before.
    pub(super) fn recorded(recorded: &Recorded, decision_id: Option<DecisionId>) -> Self {
        Self {
            plugin_id: recorded.plugin_id.clone(),
            plugin_version: recorded.plugin_version.clone(),
            digest: recorded.digest.clone(),
            decision_id,
        }
    }
}

/// Marks the objects of an instance of a service.
pub(super) fn put(objects: &mut [Value], instance: &Instance, service: &str, origin: &Origin) {
    let labels = [
        ("name", service.to_owned()),
        ("instance", instance.name.clone()),
        ("version", label(&origin.plugin_version)),
        ("part-of", "dermaga".to_owned()),
    ];
    let decision = origin.decision_id.map(|id| id.to_string());
    let annotations = [
        (
            "plugin",
            Some(format!("{} {}", origin.plugin_id, origin.plugin_version)),
        ),
        ("plugin-digest", Some(origin.digest.clone())),
        ("decision", decision),
    ];
    for object in objects {
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            continue;
        };
        if let Some(known) = map_in(metadata, "labels") {
            for (key, value) in &labels {
                // A plugin's own word, which selectors may rely on, stays.
                known
                    .entry(format!("{PREFIX}/{key}"))
                    .or_insert_with(|| json!(value));
            }
        }
        if let Some(known) = map_in(metadata, "annotations") {
            for (key, value) in &annotations {
                if let Some(value) = value {
                    known.insert(format!("dermaga.dev/{key}"), json!(value));
                }
            }
        }
    }
}

/// The map under a key, made when it is not there.
pub(super) fn map_in<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
) -> Option<&'a mut Map<String, Value>> {
    let value = parent.entry(key).or_insert_with(|| json!({}));
    value.as_object_mut()
}

/// Returns a version as a label may have it: without `+`, and not too long.
fn label(version: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    let text = version.chars().take(LONGEST);
    let text: String = text
        .map(|letter| if fits(letter) { letter } else { '-' })
        .collect();
    text.trim_matches(|letter: char| !letter.is_ascii_alphanumeric())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_label() {
        assert_eq!(label("1.2.3"), "1.2.3");
        assert_eq!(label("1.2.3+build~7."), "1.2.3-build-7");
        assert!(label(&"1".repeat(99)).len() <= LONGEST);
    }
}
