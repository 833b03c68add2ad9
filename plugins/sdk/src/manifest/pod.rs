//! The pod of a workload.

use serde_json::{Value, json};

use super::{Component, Container};

/// A pod under the restricted Pod Security profile.
#[derive(Debug, Clone)]
pub struct Pod {
    user: u32,
    grace_seconds: u32,
    low_ports: bool,
    init_containers: Vec<Container>,
    containers: Vec<Container>,
}

impl Pod {
    /// Builds a pod that runs as this user and group, which also owns its volumes. With 0 it does not
    /// set `runAsNonRoot`: the gate admits that for services with the exception `run-as-root`.
    pub fn as_user(user: u32, container: Container) -> Self {
        Self {
            user,
            grace_seconds: 30,
            low_ports: false,
            init_containers: Vec::new(),
            containers: vec![container],
        }
    }

    /// Adds a container that runs to its end before the others start; its resources count against
    /// the plan.
    #[must_use]
    pub fn init(mut self, container: Container) -> Self {
        self.init_containers.push(container);
        self
    }

    /// Sets the seconds to stop in before the pod is killed; 30 by default.
    #[must_use]
    pub const fn grace_seconds(mut self, seconds: u32) -> Self {
        self.grace_seconds = seconds;
        self
    }

    /// Lets the user listen on ports below 1024.
    #[must_use]
    pub const fn low_ports(mut self) -> Self {
        self.low_ports = true;
        self
    }

    /// Renders the pod template of a workload.
    pub(super) fn template(&self, component: &Component<'_>) -> Value {
        let mut spec = json!({
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": self.grace_seconds,
            "securityContext": {
                "runAsUser": self.user,
                "runAsGroup": self.user,
                "fsGroup": self.user,
                // Without it, a start walks through all files of a large volume.
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": render(&self.containers),
        });
        if let Some(Value::Object(context)) = spec.get_mut("securityContext") {
            if self.user > 0 {
                context.insert("runAsNonRoot".to_owned(), json!(true));
            }
            if self.low_ports {
                let sysctl = json!({"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"});
                context.insert("sysctls".to_owned(), json!([sysctl]));
            }
        }
        let volumes = self.volumes();
        for (field, list) in [
            ("initContainers", render(&self.init_containers)),
            ("volumes", volumes),
        ] {
            if let (false, Some(spec)) = (list.is_empty(), spec.as_object_mut()) {
                spec.insert(field.to_owned(), json!(list));
            }
        }
        json!({"metadata": {"labels": component.labels()}, "spec": spec})
    }

    /// Returns every mounted volume once, even if containers share it.
    fn volumes(&self) -> Vec<Value> {
        let mut volumes: Vec<Value> = Vec::new();
        for container in self.init_containers.iter().chain(&self.containers) {
            for volume in container.mounts.iter().map(super::volume::Mount::volume) {
                if !volumes.contains(&volume) {
                    volumes.push(volume);
                }
            }
        }
        volumes
    }
}

fn render(containers: &[Container]) -> Vec<Value> {
    containers.iter().map(Container::render).collect()
}
