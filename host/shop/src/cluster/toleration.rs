//! Tolerations: taints of nodes that keep no pod of a customer away.

use serde_json::{Map, Value, json};

use super::reading::text;

/// Taint of nodes that pods tolerate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    pub key: String,
    /// `None` tolerates every value.
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; `None` tolerates all of them.
    pub effect: Option<&'static str>,
}

impl Toleration {
    /// Returns the toleration as a pod has it.
    pub fn manifest(&self) -> Value {
        let mut fields = Map::from_iter([("key".to_owned(), json!(self.key))]);
        let operator = if self.value.is_some() {
            "Equal"
        } else {
            "Exists"
        };
        fields.insert("operator".to_owned(), json!(operator));
        if let Some(value) = &self.value {
            fields.insert("value".to_owned(), json!(value));
        }
        if let Some(effect) = self.effect {
            fields.insert("effect".to_owned(), json!(effect));
        }
        Value::Object(fields)
    }

    /// Returns true when this taint of a node is tolerated.
    pub(super) fn covers(&self, taint: &Value) -> bool {
        let has = |field: &str, wanted: &str| text(taint, field).unwrap_or_default() == wanted;
        has("/key", &self.key)
            && self.value.as_ref().is_none_or(|value| has("/value", value))
            && self.effect.is_none_or(|effect| has("/effect", effect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toleration_covers_its_key_with_its_value_and_effect() {
        let toleration = |value: Option<&str>, effect| Toleration {
            key: "pool".to_owned(),
            value: value.map(str::to_owned),
            effect,
        };
        let taint = json!({"key": "pool", "value": "customers", "effect": "NoSchedule"});
        for (value, effect, covers) in [
            (Some("customers"), Some("NoSchedule"), true),
            (Some("customers"), None, true),
            (None, Some("NoSchedule"), true),
            (None, None, true),
            (Some("others"), None, false),
            (Some("customers"), Some("NoExecute"), false),
            (None, Some("NoExecute"), false),
        ] {
            let toleration = toleration(value, effect);
            assert_eq!(toleration.covers(&taint), covers, "{toleration:?}");
        }
        let bare = json!({"key": "pool", "effect": "NoSchedule"});
        assert!(!toleration(Some("customers"), None).covers(&bare));
        assert!(toleration(Some(""), None).covers(&bare));
        assert!(!toleration(None, None).covers(&json!({"key": "gpu", "effect": "NoSchedule"})));
    }
}
