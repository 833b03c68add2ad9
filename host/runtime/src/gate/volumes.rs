//! Volumes of pods: their types.

use super::{
    node::{Node, Report},
    pod_shape::VOLUME_TYPES,
    rule::Rule,
    workload::Workload,
};

pub(super) fn check(workload: &Workload<'_>, report: &mut Report) {
    for volume in workload.pod.elements_at(&["volumes"]) {
        check_type(&volume, report);
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
