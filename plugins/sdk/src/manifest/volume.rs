//! Persistent volumes and the mounts of containers.

use serde_json::{Value, json};

use super::{Component, resources::mebibytes};

/// A claim for a persistent volume. It is not a template inside a StatefulSet, so that it outlives
/// its workload and can grow.
#[derive(Debug, Clone)]
pub struct VolumeClaim<'a> {
    component: &'a Component<'a>,
    /// Distinguishes it from the component's other volumes.
    suffix: Option<&'a str>,
    gib: u32,
}

impl<'a> VolumeClaim<'a> {
    /// Builds a claim under the component's name, used by one node at a time.
    pub const fn new(component: &'a Component<'a>, gib: u32) -> Self {
        Self {
            component,
            suffix: None,
            gib,
        }
    }

    /// Builds a claim under `<component>-<name>`, for a component with several volumes.
    pub const fn named(component: &'a Component<'a>, name: &'a str, gib: u32) -> Self {
        Self {
            component,
            suffix: Some(name),
            gib,
        }
    }

    fn object_name(&self) -> String {
        let component = self.component.object_name();
        match self.suffix {
            Some(suffix) => format!("{component}-{suffix}"),
            None => component,
        }
    }

    /// Renders the Kubernetes object.
    pub fn render(&self) -> Value {
        let spec = json!({
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": format!("{}Gi", self.gib)}},
        });
        let name = self.object_name();
        self.component
            .object_named(&name, "v1", "PersistentVolumeClaim", &spec)
    }

    pub(super) fn source(&self) -> Source {
        Source::Claim(self.object_name())
    }
}

/// Source of a mounted directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A claim of this name.
    Claim(String),
    /// An empty directory on the node's disk, of at most this many MiB.
    Scratch(u32),
    /// An empty directory in memory; counts as memory of the container that writes to it.
    Memory(u32),
}

/// One directory of a container. The volume behind it has the mount's name.
#[derive(Debug, Clone)]
pub(super) struct Mount {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) source: Source,
}

impl Mount {
    pub(super) fn new(name: &str, path: &str, source: Source) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            source,
        }
    }

    /// Returns the entry in the container's `volumeMounts`.
    pub(super) fn to_json(&self) -> Value {
        json!({"name": self.name, "mountPath": self.path})
    }

    /// Returns the entry in the pod's `volumes`.
    pub(super) fn volume(&self) -> Value {
        match &self.source {
            Source::Claim(claim) => {
                json!({"name": self.name, "persistentVolumeClaim": {"claimName": claim}})
            }
            Source::Scratch(mib) => {
                json!({"name": self.name, "emptyDir": {"sizeLimit": mebibytes(*mib)}})
            }
            Source::Memory(mib) => {
                json!({"name": self.name, "emptyDir": {"medium": "Memory", "sizeLimit": mebibytes(*mib)}})
            }
        }
    }
}
