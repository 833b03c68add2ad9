//! How a component is reached.

use serde_json::{Value, json};

use super::Component;

/// A stable address inside the cluster, under the component's name.
#[derive(Debug, Clone)]
pub struct Service<'a> {
    component: &'a Component<'a>,
    ports: Vec<(&'a str, u16)>,
}

impl<'a> Service<'a> {
    /// Leads to the container's port of this name.
    pub fn new(component: &'a Component<'a>, port_name: &'a str, port: u16) -> Self {
        Self {
            component,
            ports: vec![(port_name, port)],
        }
    }

    /// Leads to another port of the container too.
    #[must_use]
    pub fn port(mut self, name: &'a str, port: u16) -> Self {
        self.ports.push((name, port));
        self
    }

    /// The object.
    pub fn render(&self) -> Value {
        let port = |(name, port): &(&str, u16)| json!({"name": name, "protocol": "TCP", "port": port, "targetPort": name});
        let ports: Vec<_> = self.ports.iter().map(port).collect();
        let spec = json!({
            "type": "ClusterIP",
            "selector": self.component.selector(),
            "ports": ports,
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
