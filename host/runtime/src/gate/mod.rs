//! The manifest gate: a plugin proposes Kubernetes objects, the host disposes.

mod policy;
mod rule;

use serde_json::Value;

pub use policy::{Exception, INSTANCE_LABEL, Policy};
pub use rule::{Rule, Violation};

use crate::contract::Resources;

/// Objects that may be applied: checked, with everything the host forces written into them.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// In the order the plugin gave them.
    pub objects: Vec<Value>,
    /// What all workloads and volumes ask for together.
    pub totals: Resources,
}

/// Checks the objects of one instance against its policy and forces what the host decides.
/// Reports every violation, not only the first.
pub fn admit(_objects: &[Value], _policy: &Policy) -> Result<Admitted, Vec<Violation>> {
    Err(Vec::new())
}
