//! Total resources of all workloads and volumes, compared with the plan.

use std::cmp::max;

use super::{
    kinds::Kind,
    node::{Node, Report},
    policy::Policy,
    quantity::Quantity,
    rule::Rule,
    workload::{Workload, is_sidecar},
};
use crate::contract::Resources;

const MIB: u128 = 1 << 20;
const GIB: u128 = 1 << 30;

/// A sum over objects. It saturates, since a sum that does not fit is over any budget.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    cpu_millis: u128,
    memory_bytes: u128,
    storage_bytes: u128,
    pods: u128,
}

/// Limits of one container.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    cpu_millis: u128,
    memory_bytes: u128,
}

impl Demand {
    /// Adds the resources of an object, and reports missing limits.
    pub(super) fn add(&mut self, kind: &Kind, object: &Node<'_>, report: &mut Report) {
        if let Some(workload) = Workload::of(kind, object) {
            self.add_workload(&workload, report);
        }
        if kind.name == "PersistentVolumeClaim" {
            self.add_claim(object, 1, report);
        }
    }

    fn add_workload(&mut self, workload: &Workload<'_>, report: &mut Report) {
        let copies = u128::from(workload.copies);
        let pod = pod_share(workload, report);
        self.pods = self.pods.saturating_add(copies);
        self.cpu_millis = self
            .cpu_millis
            .saturating_add(pod.cpu_millis.saturating_mul(copies));
        self.memory_bytes = self
            .memory_bytes
            .saturating_add(pod.memory_bytes.saturating_mul(copies));
        for claim in &workload.claims {
            self.add_claim(claim, copies, report);
        }
    }

    fn add_claim(&mut self, claim: &Node<'_>, copies: u128, report: &mut Report) {
        let Some(size) = claim.at(&["spec", "resources", "requests", "storage"]) else {
            let message = "a claim states spec.resources.requests.storage";
            return report.refuse_because(claim, Rule::ResourcesMissing, message);
        };
        match Quantity::of(size.value()).and_then(Quantity::units) {
            Some(bytes) => {
                let bytes = bytes.saturating_mul(copies);
                self.storage_bytes = self.storage_bytes.saturating_add(bytes);
            }
            None => report.refuse(&size, Rule::QuantityMalformed),
        }
    }

    /// Reports every resource of which the plan has too little.
    pub(super) fn check(&self, policy: &Policy, report: &mut Report) {
        let Resources {
            cpu_millis,
            memory_mib,
            storage_gib,
            replicas,
        } = policy.budget;
        let mut compare = |asked: u128, bought: u128, rule: Rule, unit: &str| {
            if asked > bought {
                let message = format!("{}: {asked} {unit} of {bought} {unit}", rule.message());
                report.refuse_all(rule, message);
            }
        };
        let (memory, storage) = (u128::from(memory_mib) * MIB, u128::from(storage_gib) * GIB);
        compare(
            self.cpu_millis,
            cpu_millis.into(),
            Rule::CpuOverBudget,
            "millicores",
        );
        compare(self.memory_bytes, memory, Rule::MemoryOverBudget, "bytes");
        compare(
            self.storage_bytes,
            storage,
            Rule::StorageOverBudget,
            "bytes",
        );
        compare(self.pods, replicas.into(), Rule::ReplicasOverBudget, "pods");
    }

    /// Returns the sum in the plan's units, rounded up.
    pub(super) fn totals(&self) -> Resources {
        let narrow = |amount: u128| u32::try_from(amount).unwrap_or(u32::MAX);
        Resources {
            cpu_millis: narrow(self.cpu_millis),
            memory_mib: narrow(self.memory_bytes.div_ceil(MIB)),
            storage_gib: narrow(self.storage_bytes.div_ceil(GIB)),
            replicas: narrow(self.pods),
        }
    }
}

/// Returns the most that a pod can use at any moment: its containers together, or one init
/// container before them, and all sidecars in either case.
fn pod_share(workload: &Workload<'_>, report: &mut Report) -> Share {
    let mut shares = |containers: Vec<Node<'_>>| -> Vec<Share> {
        containers
            .iter()
            .map(|container| container_share(container, report))
            .collect()
    };
    let (sidecars, init): (Vec<_>, Vec<_>) =
        workload.init_containers().into_iter().partition(is_sidecar);
    let (main, sidecars, init) = (
        shares(workload.main_containers()),
        shares(sidecars),
        shares(init),
    );
    let part = |of: fn(&Share) -> u128| {
        let sum = |shares: &[Share]| shares.iter().map(of).fold(0, u128::saturating_add);
        let peak = max(sum(&main), init.iter().map(of).max().unwrap_or(0));
        peak.saturating_add(sum(&sidecars))
    };
    Share {
        cpu_millis: part(|share| share.cpu_millis),
        memory_bytes: part(|share| share.memory_bytes),
    }
}

fn container_share(container: &Node<'_>, report: &mut Report) -> Share {
    Share {
        cpu_millis: limit(container, "cpu", Quantity::thousandths, report),
        memory_bytes: limit(container, "memory", Quantity::units, report),
    }
}

/// Returns the limit of one resource in the unit of `read`; zero after a report.
fn limit(
    container: &Node<'_>,
    resource: &str,
    read: fn(Quantity) -> Option<u128>,
    report: &mut Report,
) -> u128 {
    let mut amount = |side: &str| {
        let Some(node) = container.at(&["resources", side, resource]) else {
            let message = format!("resources.{side}.{resource} is missing");
            report.refuse_because(container, Rule::ResourcesMissing, message);
            return None;
        };
        let amount = Quantity::of(node.value()).and_then(read);
        if amount.is_none() {
            report.refuse(&node, Rule::QuantityMalformed);
        }
        amount
    };
    let (request, limit) = (amount("requests"), amount("limits"));
    if let (Some(request), Some(limit)) = (request, limit)
        && request > limit
    {
        let message = format!("resources.requests.{resource} is larger than the limit");
        report.refuse_because(container, Rule::RequestOverLimit, message);
    }
    // The kubelet reads a limit of zero as no limit.
    if limit == Some(0) {
        let message = format!("resources.limits.{resource} is zero, which means no limit");
        report.refuse_because(container, Rule::ResourcesMissing, message);
    }
    limit.unwrap_or(0)
}
