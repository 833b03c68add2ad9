//! The manifest gate: a plugin proposes Kubernetes objects, the host disposes.
//!
//! There are two passes. The first looks at every object and reports every violation of a [`Rule`]:
//! `kinds` and `pod_shape` list the fields that an object may have, so that anything unforeseen is
//! refused; required fields and those that depend on the policy are checked by one module for each
//! theme. Only without violations does the second pass (`force`) write the values that the host
//! decides: namespace, labels, selectors, classes, no API tokens.

pub mod addresses;
mod cidr;
mod disruption;
mod force;
mod images;
mod keys;
mod kinds;
mod network;
mod node;
mod nulls;
mod object;
mod pod_security;
mod pod_shape;
mod policy;
mod quantity;
mod references;
mod resources;
mod rule;
mod scratch;
mod selectors;
mod shape;
#[cfg(test)]
mod tests;
mod volumes;
mod workload;

use serde_json::Value;

use self::{
    kinds::Kind,
    node::{Node, Report},
    references::Own,
    resources::Demand,
    workload::Workload,
};
pub use self::{
    policy::{Exception, INSTANCE_LABEL, Policy},
    rule::{Rule, Violation},
    scratch::POD_SCRATCH_MIB,
};
use crate::contract::Resources;

/// Maximum of objects of one instance. A service of two workloads needs about ten.
const MAX_OBJECTS: usize = 50;

/// Objects that may be applied: checked, with the host's forced values written into them.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// In the order of the plugin.
    pub objects: Vec<Value>,
    /// Total of all workloads and volumes, by limits and not requests, rounded up.
    pub totals: Resources,
}

/// Returns a Kubernetes quantity in bytes, rounded up; `None` for other texts and absurd amounts.
pub fn storage_bytes(quantity: &Value) -> Option<u128> {
    quantity::Quantity::of(quantity)?.units()
}

/// Returns a Kubernetes quantity of processors in thousandths, rounded up; `None` for other texts and
/// absurd amounts.
pub fn cpu_millis(quantity: &Value) -> Option<u128> {
    quantity::Quantity::of(quantity)?.thousandths()
}

/// Checks the objects of one instance against its policy and forces the host's values. Reports
/// every violation, not only the first.
pub fn admit(objects: &[Value], policy: &Policy) -> Result<Admitted, Vec<Violation>> {
    let mut report = Report::default();
    if objects.len() > MAX_OBJECTS {
        let message = format!(
            "there are {} objects; {MAX_OBJECTS} are allowed",
            objects.len()
        );
        report.refuse_all(Rule::TooManyObjects, message);
    }
    let objects: Vec<_> = objects.iter().map(nulls::without).collect();
    let titles: Vec<_> = objects.iter().map(title).collect();
    let nodes = titles
        .iter()
        .zip(&objects)
        .map(|(title, object)| Node::root(title, object));
    let known: Vec<(&Kind, Node<'_>)> = nodes
        .filter_map(|node| Some((object::kind(&node, &mut report)?, node)))
        .collect();

    let mut own = Own::default();
    for (kind, node) in &known {
        if !own.insert(kind, node) {
            report.refuse(node, Rule::DuplicateObject);
        }
    }
    let mut demand = Demand::default();
    for (kind, node) in &known {
        check(kind, node, &own, policy, &mut report);
        demand.add(kind, node, &mut report);
    }
    demand.check(policy, &mut report);
    disruption::check(&known, policy, &mut report);
    report.or(|| Admitted {
        objects: known
            .iter()
            .map(|(kind, node)| force::apply(kind, node.value().clone(), policy))
            .collect(),
        totals: demand.totals(),
    })
}

fn check(kind: &Kind, object: &Node<'_>, own: &Own<'_>, policy: &Policy, report: &mut Report) {
    object::check(kind, object, policy, report);
    if let Some(workload) = Workload::of(kind, object) {
        images::check(&workload, policy, report);
        pod_security::check(&workload, policy, report);
        volumes::check(&workload, report);
        scratch::check(&workload, report);
        keys::check_pod(&workload, report);
    } else if kind.runs.is_some() {
        report.refuse_because(object, Rule::MalformedObject, "it has no pod template");
    }
    if kind.name == "CronJob" && object.at(&["spec", "concurrencyPolicy"]).is_none() {
        report.refuse(object, Rule::ConcurrencyUnbounded);
    }
    keys::check_ports(kind, object, report);
    selectors::check(kind, object, policy, report);
    references::check(kind, object, own, policy, report);
    network::check(kind, object, own, policy, report);
}

/// Returns `Kind/name`, as far as the object has them.
fn title(object: &Value) -> String {
    let part = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("?")
    };
    format!("{}/{}", part("/kind"), part("/metadata/name"))
}
