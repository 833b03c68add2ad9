//! Services and Ingresses.

use serde_json::{Value, json};

use super::Component;

/// A stable address inside the cluster, under the component's name.
#[derive(Debug, Clone)]
pub struct Service<'a> {
    component: &'a Component<'a>,
    ports: Vec<(&'a str, u16)>,
}

impl<'a> Service<'a> {
    /// Builds a Service that leads to the container's port of this name.
    pub fn new(component: &'a Component<'a>, port_name: &'a str, port: u16) -> Self {
        Self {
            component,
            ports: vec![(port_name, port)],
        }
    }

    /// Adds another port of the container.
    #[must_use]
    pub fn port(mut self, name: &'a str, port: u16) -> Self {
        self.ports.push((name, port));
        self
    }

    /// Renders the Kubernetes object.
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

    /// Renders the Kubernetes object. The cluster's ingress controller provides the certificate.
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

/// Annotations for ingress-nginx; other controllers ignore them.
fn annotations() -> Value {
    json!({
        // For uploads; the default of nginx is 1 MiB.
        "nginx.ingress.kubernetes.io/proxy-body-size": "64m",
        // Connections that push events stay open, in seconds.
        "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
    })
}
