//! Volumes of pods: their types, and the scratch space among them.

use super::{
    node::{Node, Report},
    pod_shape::VOLUME_TYPES,
    quantity::Quantity,
    rule::Rule,
    workload::Workload,
};

/// Scratch space of one pod on the node's disk, which the plan does not account for.
const MAX_SCRATCH: u128 = 2 << 30;

pub(super) fn check(workload: &Workload<'_>, report: &mut Report) {
    for volume in workload.pod.elements_at(&["volumes"]) {
        check_type(&volume, report);
    }
    for container in workload.containers() {
        if let Some(limit) = container.at(&["resources", "limits", "ephemeral-storage"])
            && Quantity::of(limit.value())
                .and_then(Quantity::units)
                .is_none_or(|it| it > MAX_SCRATCH)
        {
            report.refuse(&limit, Rule::EphemeralStorage);
        }
    }
    let disk = disk_scratch(workload, report);
    if disk > MAX_SCRATCH {
        let message = format!("the scratch space of a pod adds up to {disk} bytes");
        report.refuse_because(&workload.pod, Rule::EphemeralStorage, message);
    }
}

fn check_type(volume: &Node<'_>, report: &mut Report) {
    let (names, types): (Vec<_>, Vec<_>) = volume
        .members()
        .into_iter()
        .partition(|(key, _)| *key == "name");
    if names.is_empty() || types.len() != 1 {
        let message = "a volume has a name and exactly one type";
        report.refuse_because(volume, Rule::MalformedObject, message);
    }
    for (name, volume) in types {
        match VOLUME_TYPES.iter().find(|(allowed, _)| *allowed == name) {
            Some((_, shape)) => shape.check(&volume, report),
            None => {
                let message = format!("{}: `{name}`", Rule::VolumeType.message());
                report.refuse_because(&volume, Rule::VolumeType, message);
            }
        }
    }
}

/// Bytes of scratch space of one pod. What is in memory counts as memory of the containers that
/// write it, so their limits bound it already.
fn disk_scratch(workload: &Workload<'_>, report: &mut Report) -> u128 {
    let mut sum = 0;
    let volumes = workload.pod.elements_at(&["volumes"]);
    for volume in volumes.iter().filter_map(|volume| volume.get("emptyDir")) {
        match size(&volume) {
            Some(_) if volume.text_at(&["medium"]) == Some("Memory") => {}
            Some(bytes) => sum += bytes,
            None => report.refuse(&volume, Rule::EphemeralStorage),
        }
    }
    sum
}

/// Zero is no bound: Kubernetes reads it as none. A bound above all sense is none either, and keeps
/// the sums small.
fn size(empty_dir: &Node<'_>) -> Option<u128> {
    let bytes = Quantity::of(empty_dir.get("sizeLimit")?.value())?.units()?;
    (1..=1 << 60).contains(&bytes).then_some(bytes)
}
