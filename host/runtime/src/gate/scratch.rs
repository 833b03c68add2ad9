//! Scratch space on the node's disk, which is not part of the plan: the layers and logs of a pod's
//! containers, and its `emptyDir` volumes.
//!
//! The kubelet evicts a pod that uses more than the limits of its containers together, volumes
//! included, as soon as one of them has a limit. The host therefore sets a limit on every
//! container, such that the limits leave room for the volumes.

use serde_json::{Value, json};

use super::{
    force::{elements, insert},
    node::{Node, Report},
    quantity::Quantity,
    rule::Rule,
    workload::Workload,
};

const MIB: u128 = 1 << 20;
/// Maximum that a manifest may ask for: volumes and stated limits of one pod together.
const ASKED: u128 = 2048 * MIB;
/// Room for layers and logs besides that for volumes.
const OWN: u128 = 256 * MIB;
/// Maximum of the sum of the limits of one pod, in MiB.
pub const POD_SCRATCH_MIB: u32 = 2048 + 256;
/// Request of a container that states none, used for scheduling its pod.
const REQUEST: u128 = 64 * MIB;
const RESOURCE: &str = "ephemeral-storage";

/// Reports limits and volumes that are not amounts, or too large.
pub(super) fn check(workload: &Workload<'_>, report: &mut Report) {
    for container in workload.containers() {
        check_container(&container, report);
    }
    for volume in workload.pod.elements_at(&["volumes"]) {
        if let Some(volume) = volume.get("emptyDir")
            && size(volume.value()).is_none()
        {
            report.refuse(&volume, Rule::EphemeralStorage);
        }
    }
    let Sum {
        volumes, stated, ..
    } = Sum::of(workload.pod.value());
    let asked = volumes.saturating_add(stated);
    if asked > ASKED {
        let message = format!("the scratch space of a pod adds up to {asked} bytes");
        report.refuse_because(&workload.pod, Rule::EphemeralStorage, message);
    }
}

fn check_container(container: &Node<'_>, report: &mut Report) {
    let amount = |side| container.at(&["resources", side, RESOURCE]);
    for node in [amount("requests"), amount("limits")].into_iter().flatten() {
        if bytes(node.value()).is_none() {
            report.refuse(&node, Rule::EphemeralStorage);
        }
    }
    let read = |side| amount(side).and_then(|node| bytes(node.value()));
    if let (Some(request), Some(limit)) = (read("requests"), read("limits"))
        && request > limit
    {
        let message = format!("resources.requests.{RESOURCE} is larger than the limit");
        report.refuse_because(container, Rule::RequestOverLimit, message);
    }
}

/// Writes a limit and a request into every container of a pod that has been checked and states none.
pub(super) fn force(pod: &mut Value) {
    let share = Sum::of(pod).share();
    for list in ["containers", "initContainers"] {
        for container in elements(pod, &[list]) {
            let limit = stated(container).unwrap_or(share);
            force_one(container, limit);
        }
    }
}

fn force_one(container: &mut Value, limit: u128) {
    let amounts = [("limits", limit), ("requests", limit.min(REQUEST))];
    for (side, bytes) in amounts {
        let pointer = format!("/resources/{side}/{RESOURCE}");
        if container.pointer(&pointer).is_none() {
            let text = json!(format!("{}Mi", bytes.div_ceil(MIB)));
            insert(container, &["resources", side], RESOURCE, text);
        }
    }
}

/// Scratch space of one pod, as far as its manifest states it.
struct Sum {
    volumes: u128,
    stated: u128,
    /// Number of containers that state nothing.
    silent: u128,
}

impl Sum {
    fn of(pod: &Value) -> Self {
        let list = |name: &str| {
            pod.get(name)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        let on_disk = |volume: &Value| volume.get("medium").is_none_or(|medium| medium != "Memory");
        let volumes = list("volumes").filter_map(|volume| volume.get("emptyDir"));
        let volumes = volumes.filter(|volume| on_disk(volume)).filter_map(size);
        let limits = || list("containers").chain(list("initContainers")).map(stated);
        Self {
            volumes: volumes.fold(0, u128::saturating_add),
            stated: limits().flatten().fold(0, u128::saturating_add),
            silent: limits().filter(Option::is_none).map(|_| 1).sum(),
        }
    }

    /// Returns the limit of each silent container: an equal part of the pod's rest, and never too
    /// little for layers and logs and the volumes, whose use counts against it.
    fn share(&self) -> u128 {
        let Self {
            volumes,
            stated,
            silent,
        } = *self;
        let left = ASKED.saturating_sub(volumes.saturating_add(stated));
        let least = volumes.saturating_add(OWN).saturating_sub(stated);
        let share = left.max(least).max(REQUEST) / silent.max(1);
        (share / MIB).max(1) * MIB
    }
}

/// Returns the limit that a container states, or else its request.
fn stated(container: &Value) -> Option<u128> {
    let amount = |side: &str| bytes(container.get("resources")?.get(side)?.get(RESOURCE)?);
    amount("limits").or_else(|| amount("requests"))
}

/// Returns the bound of a volume.
fn size(empty_dir: &Value) -> Option<u128> {
    bytes(empty_dir.get("sizeLimit")?)
}

/// Returns a bound in bytes. Zero is no bound, as Kubernetes reads it as none; nor is an absurd
/// amount, which keeps the sums small.
fn bytes(amount: &Value) -> Option<u128> {
    let bytes = Quantity::of(amount)?.units()?;
    (1..=1 << 60).contains(&bytes).then_some(bytes)
}
