//! Workloads: objects that run pods, with their pod template and number of pods.

use super::{kinds::Kind, node::Node};

/// A Deployment, StatefulSet, Job or CronJob.
#[derive(Debug)]
pub(super) struct Workload<'a> {
    pub(super) template: Node<'a>,
    /// `spec` of the template.
    pub(super) pod: Node<'a>,
    /// Pods at once.
    pub(super) copies: u64,
    /// Volume claims that are made once for each pod.
    pub(super) claims: Vec<Node<'a>>,
}

impl<'a> Workload<'a> {
    /// Reads a workload; `None` when the kind runs no pods or there is no pod template.
    pub(super) fn of(kind: &Kind, object: &Node<'a>) -> Option<Self> {
        let runs = kind.runs?;
        let template = object.at(runs.template)?;
        let pod = template.get("spec")?;
        let copies = object
            .at(runs.copies)
            .and_then(|copies| copies.value().as_u64())
            .unwrap_or(1);
        let claims = object.elements_at(&["spec", "volumeClaimTemplates"]);
        Some(Self {
            template,
            pod,
            copies,
            claims,
        })
    }

    /// Returns all containers, init containers first.
    pub(super) fn containers(&self) -> Vec<Node<'a>> {
        let mut containers = self.init_containers();
        containers.extend(self.main_containers());
        containers
    }

    pub(super) fn init_containers(&self) -> Vec<Node<'a>> {
        self.pod.elements_at(&["initContainers"])
    }

    pub(super) fn main_containers(&self) -> Vec<Node<'a>> {
        self.pod.elements_at(&["containers"])
    }
}

/// Reports an init container that keeps running beside the others.
pub(super) fn is_sidecar(init_container: &Node<'_>) -> bool {
    init_container.text_at(&["restartPolicy"]) == Some("Always")
}
