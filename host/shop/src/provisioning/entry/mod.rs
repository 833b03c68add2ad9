//! Way in to the host names of instances, as the operator decided: by the Ingresses that plugins
//! render, finished by the host, or by routes of a Gateway, which the host makes from them.

mod controllers;
mod hosts;
mod route;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

pub use controllers::{Controller, GatewayController};
pub(super) use hosts::Hosts;

use super::marks::map_in;
use crate::{
    Result,
    cluster::{Cluster, IngressView, Scope},
    db::{Page, Part},
};

/// Decisions of the operator about the way in to host names.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    pub choice: EntryChoice,
    pub gateway: Gateway,
    /// Software that carries out Ingresses.
    pub controller: Controller,
    /// Issuer of a certificate for each Ingress; `None` leaves the controller's default one.
    pub issuer: Option<Issuer>,
    /// Secret in each customer's namespace with one certificate for all host names below the shop's domain.
    pub tls_secret: Option<String>,
    /// Annotations of Ingresses and routes.
    pub annotations: BTreeMap<String, String>,
    /// Longest time that an answer may take; `None` leaves the plugin's.
    pub timeout: Option<Duration>,
    /// Largest body of a request; `None` leaves the plugin's.
    pub body_mib: Option<u32>,
}

/// Kind of object that leads to an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EntryChoice {
    #[default]
    Ingress,
    Gateway,
}

/// Gateway that routes belong to. Its names are empty where none is chosen.
#[derive(Debug, Clone, Default)]
pub struct Gateway {
    pub name: String,
    pub namespace: String,
    /// Name of the listener; `None` for all of them.
    pub section: Option<String>,
    /// Software that carries out its routes.
    pub controller: GatewayController,
}

/// Issuer of cert-manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuer {
    /// One for the whole cluster.
    Cluster(String),
    /// One in each customer's namespace.
    Namespaced(String),
}

impl Issuer {
    fn annotation(&self) -> (&'static str, &str) {
        match self {
            Self::Cluster(name) => ("cert-manager.io/cluster-issuer", name),
            Self::Namespaced(name) => ("cert-manager.io/issuer", name),
        }
    }
}

impl Entry {
    /// Returns gated objects with the way in that was decided, for all hosts of their instance.
    pub(super) fn lead_to(&self, mut objects: Vec<Value>, hosts: Hosts<'_>) -> Vec<Value> {
        let ingresses = objects.iter_mut().filter(|object| is_ingress(object));
        ingresses.for_each(|ingress| hosts.lead(ingress));
        match self.choice {
            EntryChoice::Ingress => {
                let ingresses = objects.iter_mut().filter(|object| is_ingress(object));
                ingresses.for_each(|ingress| self.finish(ingress, hosts));
                objects
            }
            EntryChoice::Gateway => {
                let routed = objects.iter().flat_map(|object| {
                    if is_ingress(object) {
                        route::of_ingress(object, &objects, self)
                    } else {
                        vec![object.clone()]
                    }
                });
                routed.collect()
            }
        }
    }

    /// Lists what leads to host names in a cluster: its Ingresses, or the routes of its Gateways.
    ///
    /// # Errors
    /// `CLUSTER_UNAVAILABLE`, within seconds.
    pub async fn ways_in(
        &self,
        cluster: &Cluster,
        scope: &Scope,
        part: Part,
    ) -> Result<Page<IngressView>> {
        match self.choice {
            EntryChoice::Ingress => cluster.ingresses(scope, part).await,
            EntryChoice::Gateway => {
                let gateway = &self.gateway;
                let place = (gateway.namespace.as_str(), gateway.name.as_str());
                cluster.routes(scope, place, part).await
            }
        }
    }

    /// Returns the names of the Secrets with certificates of a customer's domain, as far as Ingresses among
    /// these objects named them.
    pub(super) fn certificates(&self, objects: &[Value], domain: &str) -> Vec<String> {
        if self.issuer.is_none() {
            return Vec::new();
        }
        let ingresses = objects.iter().filter(|object| is_ingress(object));
        let names = ingresses.map(|ingress| hosts::certificate(ingress, domain));
        names.collect()
    }

    /// Writes what was decided into an Ingress.
    fn finish(&self, ingress: &mut Value, hosts: Hosts<'_>) {
        match (&self.issuer, &self.tls_secret) {
            (Some(_), _) => name_certificates(ingress, hosts),
            (None, Some(secret)) => name_wildcard(ingress, hosts, secret),
            (None, None) => hosts.protect(ingress),
        }
        let annotations = self.annotations_of(ingress);
        if annotations.is_empty() {
            return;
        }
        let metadata = ingress.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(known) = metadata.and_then(|metadata| map_in(metadata, "annotations")) {
            known.extend(annotations);
        }
    }

    /// Returns the annotations of an Ingress; those that the operator names win over all others.
    fn annotations_of(&self, ingress: &Value) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        let mut put = |key: &str, value: &str| all.insert(key.to_owned(), json!(value));
        for (key, value) in self.of_controller(ingress) {
            put(key, &value);
        }
        if let Some(issuer) = &self.issuer {
            let (key, name) = issuer.annotation();
            put(key, name);
        }
        for (key, value) in &self.annotations {
            put(key, value);
        }
        all
    }
}

fn is_ingress(object: &Value) -> bool {
    object.get("kind") == Some(&json!("Ingress"))
}

/// Names a Secret for the certificate of an Ingress, and one for each domain of its customer, which the
/// issuer fills: a domain that does not lead here yet must not keep the others from their certificate.
fn name_certificates(ingress: &mut Value, hosts: Hosts<'_>) {
    let (domains, own) = divided(ingress, hosts);
    let secret = format!("{}-tls", name(ingress));
    let mut tls = vec![json!({ "hosts": own, "secretName": secret })];
    tls.extend(domains.into_iter().map(|domain| {
        let secret = hosts::certificate(ingress, domain.as_str().unwrap_or_default());
        json!({ "hosts": [domain], "secretName": secret })
    }));
    set_tls(ingress, &tls);
}

/// Names the Secret with the operator's wildcard for the hosts of an Ingress. It fits no domain of its customer,
/// which the controller's default certificate answers for.
fn name_wildcard(ingress: &mut Value, hosts: Hosts<'_>, secret: &str) {
    let (domains, own) = divided(ingress, hosts);
    let mut tls = vec![json!({ "hosts": own, "secretName": secret })];
    let domains = domains.into_iter();
    tls.extend(domains.map(|domain| json!({ "hosts": [domain] })));
    set_tls(ingress, &tls);
}

/// Divides the hosts of an Ingress into domains of its customer and all others.
fn divided(ingress: &Value, hosts: Hosts<'_>) -> (Vec<Value>, Vec<Value>) {
    let all = hosts_of(ingress).into_iter();
    all.partition(|host| hosts.is_domain(host))
}

fn set_tls(ingress: &mut Value, tls: &[Value]) {
    if let Some(spec) = ingress.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("tls".to_owned(), json!(tls));
    }
}

fn name(object: &Value) -> &str {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default()
}

/// Returns the hosts of the rules of an Ingress, each once.
fn hosts_of(ingress: &Value) -> Vec<Value> {
    let mut hosts: Vec<Value> = Vec::new();
    for host in rules(ingress).filter_map(|rule| rule.get("host")) {
        if !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }
    hosts
}

fn rules(ingress: &Value) -> impl Iterator<Item = &Value> {
    let rules = ingress.pointer("/spec/rules").and_then(Value::as_array);
    rules.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingress() -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {
                "name": "n8n-a", "namespace": "user-a",
                "labels": {"dermaga.dev/instance": "n8n-a"},
                "annotations": {
                    "nginx.ingress.kubernetes.io/proxy-body-size": "64m",
                    "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
                },
            },
            "spec": {
                "tls": [{"hosts": ["n8n-a.apps.example"]}],
                "rules": [{"host": "n8n-a.apps.example", "http": {"paths": [{
                    "path": "/", "pathType": "Prefix",
                    "backend": {"service": {"name": "n8n-a", "port": {"name": "http"}}},
                }]}}],
            },
        })
    }

    fn led(entry: &Entry) -> Value {
        let service = json!({"kind": "Service", "metadata": {"name": "n8n-a"}});
        let objects = vec![service.clone(), ingress()];
        let mut objects = entry.lead_to(objects, Hosts::default());
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0], service);
        objects.remove(1)
    }

    #[test]
    fn without_decisions_an_ingress_stays_as_its_plugin_made_it() {
        // But for nginx, which has the plugin's time in both directions.
        let mut expected = ingress();
        expected["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-send-timeout"] =
            json!("3600");
        assert_eq!(led(&Entry::default()), expected);
        let other = Entry {
            controller: Controller::Other,
            timeout: Some(Duration::from_secs(60)),
            body_mib: Some(8),
            ..Entry::default()
        };
        assert_eq!(led(&other), ingress());
    }

    #[test]
    fn nginx_has_its_limits_and_certificate_in_the_ingress() {
        let entry = Entry {
            issuer: Some(Issuer::Cluster("letsencrypt".to_owned())),
            annotations: [("example.org/team".to_owned(), "toko".to_owned())].into(),
            timeout: Some(Duration::from_secs(600)),
            body_mib: Some(256),
            ..Entry::default()
        };
        let mut expected = ingress();
        expected["metadata"]["annotations"] = json!({
            "nginx.ingress.kubernetes.io/proxy-body-size": "256m",
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "600",
            "nginx.ingress.kubernetes.io/proxy-send-timeout": "600",
            "cert-manager.io/cluster-issuer": "letsencrypt",
            "example.org/team": "toko",
        });
        expected["spec"]["tls"] =
            json!([{"hosts": ["n8n-a.apps.example"], "secretName": "n8n-a-tls"}]);
        assert_eq!(led(&entry), expected);
    }

    #[test]
    fn traefik_ends_tls_where_the_ingress_has_hosts_for_it() {
        let entry = Entry {
            controller: Controller::Traefik,
            issuer: Some(Issuer::Namespaced("own".to_owned())),
            ..Entry::default()
        };
        let mut expected = ingress();
        expected["metadata"]["annotations"]["traefik.ingress.kubernetes.io/router.tls"] =
            json!("true");
        expected["metadata"]["annotations"]["cert-manager.io/issuer"] = json!("own");
        expected["spec"]["tls"] =
            json!([{"hosts": ["n8n-a.apps.example"], "secretName": "n8n-a-tls"}]);
        assert_eq!(led(&entry), expected);
    }
    #[test]
    fn a_wildcard_is_named_for_every_ingress() {
        for controller in [Controller::Cilium, Controller::Traefik, Controller::Other] {
            let entry = Entry {
                controller,
                tls_secret: Some("wildcard".to_owned()),
                ..Entry::default()
            };
            let expected = json!([{"hosts": ["n8n-a.apps.example"], "secretName": "wildcard"}]);
            assert_eq!(led(&entry)["spec"]["tls"], expected, "{controller:?}");
        }
    }
}
