//! Workloads. Both kinds are for software that writes its data from one process: two pods never
//! share a volume.

use serde_json::{Value, json};

use super::{Component, Pod};

/// One pod, stopped before its successor starts.
#[derive(Debug, Clone)]
pub struct Deployment<'a> {
    component: &'a Component<'a>,
    pod: Pod,
}

impl<'a> Deployment<'a> {
    pub const fn new(component: &'a Component<'a>, pod: Pod) -> Self {
        Self { component, pod }
    }

    /// The object.
    pub fn render(&self) -> Value {
        let spec = json!({
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": self.component.selector()},
            "template": self.pod.template(self.component),
        });
        self.component.object("apps/v1", "Deployment", &spec)
    }
}

/// One pod with a stable identity; Kubernetes never runs two of it, even when a node is lost.
#[derive(Debug, Clone)]
pub struct StatefulSet<'a> {
    component: &'a Component<'a>,
    pod: Pod,
}

impl<'a> StatefulSet<'a> {
    /// Builds a workload that is reached through the [`Service`](super::Service) of the same
    /// component.
    pub const fn new(component: &'a Component<'a>, pod: Pod) -> Self {
        Self { component, pod }
    }

    /// The object.
    pub fn render(&self) -> Value {
        let spec = json!({
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "serviceName": self.component.object_name(),
            "selector": {"matchLabels": self.component.selector()},
            "template": self.pod.template(self.component),
        });
        self.component.object("apps/v1", "StatefulSet", &spec)
    }
}
