//! Typed builders for the Kubernetes objects of an instance.
//!
//! The defaults satisfy the manifest gate: pods under the restricted Pod Security profile on a
//! read-only root file system, requests and limits on every container, scratch directories with a
//! size, names that start with the instance's, no token of the API server.

mod container;
mod network;
mod pod;
mod probe;
mod resources;
mod volume;
mod workload;

use serde_json::{Value, json};

pub use self::{
    container::Container,
    network::{Ingress, Service},
    pod::Pod,
    probe::Probe,
    resources::Compute,
    volume::VolumeClaim,
    workload::{Deployment, StatefulSet},
};
use crate::service::Instance;

/// Label that names the component of an instance that an object belongs to.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
const NAME_LABEL: &str = "app.kubernetes.io/name";
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// One part of an instance: its objects share name, labels and selector.
#[derive(Debug, Clone)]
pub struct Component<'a> {
    instance: &'a Instance,
    app: &'a str,
    name: &'a str,
}

impl<'a> Component<'a> {
    /// Names a component: `app` is the software, for example `mysql`; `name` its part in the
    /// instance, for example `database`, a DNS label of at most 20 characters.
    pub const fn new(instance: &'a Instance, app: &'a str, name: &'a str) -> Self {
        Self {
            instance,
            app,
            name,
        }
    }

    /// Returns the name of its objects, which is also the host name of its Service.
    pub fn object_name(&self) -> String {
        self.instance.object_name(self.name)
    }

    fn labels(&self) -> Value {
        json!({NAME_LABEL: self.app, INSTANCE_LABEL: self.instance.name, COMPONENT_LABEL: self.name})
    }

    /// Labels of the selector, which cannot be changed later: only those that stay the same.
    fn selector(&self) -> Value {
        json!({INSTANCE_LABEL: self.instance.name, COMPONENT_LABEL: self.name})
    }

    fn object(&self, api_version: &str, kind: &str, spec: &Value) -> Value {
        self.object_named(&self.object_name(), api_version, kind, spec)
    }

    fn object_named(&self, name: &str, api_version: &str, kind: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": name, "labels": self.labels()},
            "spec": spec,
        })
    }
}
