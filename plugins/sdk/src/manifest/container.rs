//! One container of a pod.

use serde_json::{Map, Value, json};

use super::{
    Compute, Probe, VolumeClaim,
    volume::{Mount, Source},
};
use crate::service::SecretKey;

/// A container with all privileges dropped and a read-only root file system: directories that it
/// writes to must be mounted.
#[derive(Debug, Clone)]
pub struct Container {
    fields: Map<String, Value>,
    command: Vec<String>,
    args: Vec<String>,
    env: Vec<Value>,
    ports: Vec<Value>,
    pub(super) mounts: Vec<Mount>,
}

impl Container {
    /// Builds a container; `image` is a pinned reference, see
    /// [`Instance::image`](crate::service::Instance::image).
    pub fn new(name: &str, image: &str, compute: Compute) -> Self {
        let mut fields = Map::new();
        fields.insert("name".to_owned(), json!(name));
        fields.insert("image".to_owned(), json!(image));
        fields.insert("resources".to_owned(), compute.to_json());
        fields.insert("securityContext".to_owned(), restricted());
        Self {
            fields,
            command: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
        }
    }

    /// Replaces the image's entry point.
    #[must_use]
    pub fn command(mut self, command: impl IntoIterator<Item = String>) -> Self {
        self.command.extend(command);
        self
    }

    /// Adds arguments for the image's entry point.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = String>) -> Self {
        self.args.extend(args);
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push(json!({"name": name, "value": value.into()}));
        self
    }

    /// Adds a variable whose value only the cluster knows.
    #[must_use]
    pub fn secret_env(mut self, name: &str, secret: &SecretKey) -> Self {
        let reference = json!({"name": secret.object, "key": secret.key});
        self.env
            .push(json!({"name": name, "valueFrom": {"secretKeyRef": reference}}));
        self
    }

    #[must_use]
    pub fn port(mut self, name: &str, number: u16) -> Self {
        self.ports
            .push(json!({"name": name, "containerPort": number}));
        self
    }

    /// Mounts a persistent volume.
    #[must_use]
    pub fn volume(self, name: &str, path: &str, claim: &VolumeClaim<'_>) -> Self {
        self.mount(Mount::new(name, path, claim.source()))
    }

    /// Mounts a directory that is empty at every start and holds at most `mib` MiB.
    #[must_use]
    pub fn scratch(self, name: &str, path: &str, mib: u32) -> Self {
        self.mount(Mount::new(name, path, Source::Scratch(mib)))
    }

    /// Mounts a directory like [`Container::scratch`], in memory. It counts as memory in addition
    /// to the container's own, so subtract it with [`Compute::less_memory`].
    #[must_use]
    pub fn memory(self, name: &str, path: &str, mib: u32) -> Self {
        self.mount(Mount::new(name, path, Source::Memory(mib)))
    }

    fn mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Sets the startup probe: until it succeeds, no other probe runs.
    #[must_use]
    pub fn startup(self, probe: &Probe) -> Self {
        self.probe("startupProbe", probe)
    }

    /// Sets the readiness probe: requests reach the container while it succeeds.
    #[must_use]
    pub fn readiness(self, probe: &Probe) -> Self {
        self.probe("readinessProbe", probe)
    }

    /// Sets the liveness probe: the container is restarted when it fails.
    #[must_use]
    pub fn liveness(self, probe: &Probe) -> Self {
        self.probe("livenessProbe", probe)
    }

    fn probe(mut self, field: &str, probe: &Probe) -> Self {
        self.fields.insert(field.to_owned(), probe.to_json());
        self
    }

    pub(super) fn render(&self) -> Value {
        let mut fields = self.fields.clone();
        for (field, words) in [("command", &self.command), ("args", &self.args)] {
            if !words.is_empty() {
                fields.insert(field.to_owned(), json!(words));
            }
        }
        let mounts: Vec<_> = self.mounts.iter().map(Mount::to_json).collect();
        for (field, list) in [
            ("env", &self.env),
            ("ports", &self.ports),
            ("volumeMounts", &mounts),
        ] {
            if !list.is_empty() {
                fields.insert(field.to_owned(), json!(list));
            }
        }
        Value::Object(fields)
    }
}

/// Security context of a container: its part of the restricted Pod Security profile, and a
/// read-only root.
fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
    })
}
