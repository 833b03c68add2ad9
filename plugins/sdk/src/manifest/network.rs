//! How a component is reached.

use serde_json::{Value, json};

use super::Component;

/// A stable address inside the cluster, under the component's name.
#[derive(Debug, Clone)]
pub struct Service<'a> {
    component: &'a Component<'a>,
    port_name: &'a str,
    port: u16,
}

impl<'a> Service<'a> {
    /// Leads to the container's port of this name.
    pub const fn new(component: &'a Component<'a>, port_name: &'a str, port: u16) -> Self {
        Self {
            component,
            port_name,
            port,
        }
    }

    /// The object.
    pub fn render(&self) -> Value {
        let spec = json!({
            "type": "ClusterIP",
            "selector": self.component.selector(),
            "ports": [{
                "name": self.port_name,
                "protocol": "TCP",
                "port": self.port,
                "targetPort": self.port_name,
            }],
        });
        self.component.object("v1", "Service", &spec)
    }
}

/// A public host name that leads to a component's [`Service`].
#[derive(Debug, Clone)]
pub struct Ingress<'a> {
    component: &'a Component<'a>,
    hostname: &'a str,
    port_name: &'a str,
}

impl<'a> Ingress<'a> {
    pub const fn new(component: &'a Component<'a>, hostname: &'a str, port_name: &'a str) -> Self {
        Self {
            component,
            hostname,
            port_name,
        }
    }

    /// The object. Its certificate is the one the cluster's ingress controller has for the name.
    pub fn render(&self) -> Value {
        let backend = json!({
            "service": {"name": self.component.object_name(), "port": {"name": self.port_name}},
        });
        let spec = json!({
            "tls": [{"hosts": [self.hostname]}],
            "rules": [{
                "host": self.hostname,
                "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
            }],
        });
        let mut ingress = self
            .component
            .object("networking.k8s.io/v1", "Ingress", &spec);
        if let Some(Value::Object(metadata)) = ingress.get_mut("metadata") {
            metadata.insert("annotations".to_owned(), annotations());
        }
        ingress
    }
}

/// Controllers of another make ignore these.
fn annotations() -> Value {
    json!({
        // Pictures and files; nginx lets 1 MiB pass by itself.
        "nginx.ingress.kubernetes.io/proxy-body-size": "64m",
        // Connections that push events stay open, in seconds.
        "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
    })
}
