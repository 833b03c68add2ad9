//! Images of containers: only those of the policy.

use super::{node::Report, policy::Policy, rule::Rule, workload::Workload};
use crate::image;

pub(super) fn check(workload: &Workload<'_>, policy: &Policy, report: &mut Report) {
    if workload.main_containers().is_empty() {
        let message = "a pod has at least one container";
        report.refuse_because(&workload.pod, Rule::MalformedObject, message);
    }
    for container in workload.containers() {
        let Some(image) = container.get("image") else {
            let message = "a container names its image";
            report.refuse_because(&container, Rule::MalformedObject, message);
            continue;
        };
        let reference = image.text().unwrap_or_default();
        if !image::is_pinned(reference) {
            let message = format!("`{reference}` is not pinned");
            report.refuse_because(&image, Rule::ImageUnpinned, message);
        }
        if !policy.images.contains(reference) {
            let message = format!("`{reference}` is not among the images of this service");
            report.refuse_because(&image, Rule::ImageNotListed, message);
        }
    }
}
