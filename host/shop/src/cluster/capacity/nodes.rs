//! Nodes that take pods of customers.

use std::collections::BTreeMap;

use dermaga_runtime::gate::storage_bytes;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::cluster::{
    Load, Toleration,
    reading::{all, text},
};

/// Nodes that pods of customers may run on, and the share of each that is kept free.
#[derive(Debug, Clone, Default)]
pub struct NodeRule {
    /// Percent of a node's processor and memory that pods of customers do not get.
    pub headroom: u64,
    /// Labels that such a node has.
    pub selector: BTreeMap<String, String>,
    /// Taints that keep no pod of a customer away.
    pub tolerations: Vec<Toleration>,
}

/// Amounts of a node that pods may claim: what is allocatable, less the share that is kept free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) allocatable: Load,
    pub(super) most_pods: u64,
}

impl NodeRule {
    /// Reads a node; `None` when the scheduler puts no pods of customers on it.
    pub(super) fn shape(&self, node: &DynamicObject) -> Option<Shape> {
        let data = &node.data;
        let is_ready = all(data, "/status/conditions")
            .any(|one| is(one, "/type", "Ready") && is(one, "/status", "True"));
        let is_cordoned = data.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
        let is_tainted = all(data, "/spec/taints").any(|taint| self.is_kept_away_by(taint));
        if !self.selects(node) || !is_ready || is_cordoned || is_tainted {
            return None;
        }
        let whole = Load::of(data.pointer("/status/allocatable"));
        let usable = 100_u64.saturating_sub(self.headroom);
        let part = |amount: u64| {
            // Bytes times a percentage may not fit in 64 bits.
            let part = u128::from(amount).saturating_mul(usable.into()) / 100;
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        let pods = data.pointer("/status/allocatable/pods");
        let pods = pods.and_then(storage_bytes).unwrap_or_default();
        Some(Shape {
            allocatable: Load {
                cpu_millis: part(whole.cpu_millis),
                memory_bytes: part(whole.memory_bytes),
            },
            most_pods: u64::try_from(pods).unwrap_or(u64::MAX),
        })
    }

    fn selects(&self, node: &DynamicObject) -> bool {
        let labels = node.metadata.labels.as_ref();
        let label = |key: &String| labels.and_then(|labels| labels.get(key));
        let mut wanted = self.selector.iter();
        wanted.all(|(key, value)| label(key) == Some(value))
    }

    /// Returns true for a taint that keeps pods of customers away. They tolerate what the operator says,
    /// since the gate admits no tolerations of plugins.
    fn is_kept_away_by(&self, taint: &Value) -> bool {
        let has_effect = is(taint, "/effect", "NoSchedule") || is(taint, "/effect", "NoExecute");
        has_effect && !self.tolerations.iter().any(|one| one.covers(taint))
    }
}

fn is(object: &Value, field: &str, word: &str) -> bool {
    text(object, field).as_deref() == Some(word)
}
