//! Services and ingresses of a cluster, as administrators read them.

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use super::{
    Cluster,
    reading::{Scope, Whereabouts, all, number, part_of, promptly, text},
};
use crate::{
    Result,
    db::{Page, Part},
};

/// A port of a Service.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServicePortView {
    pub name: Option<String>,
    pub protocol: Option<String>,
    pub port: i64,
    /// Number or name of the container's port.
    pub target_port: Option<String>,
    pub node_port: Option<i64>,
}

impl ServicePortView {
    fn of(port: &Value) -> Self {
        Self {
            name: text(port, "/name"),
            protocol: text(port, "/protocol"),
            port: number(port, "/port"),
            target_port: port.get("targetPort").map(plain),
            node_port: port.get("nodePort").and_then(Value::as_i64),
        }
    }
}

/// A text or a number as a text.
pub(super) fn plain(value: &Value) -> String {
    let text = value.as_str().map(str::to_owned);
    text.unwrap_or_else(|| value.to_string())
}

/// A Service with its endpoints.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterServiceView {
    #[serde(flatten)]
    pub service: Whereabouts,
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub cluster_ips: Vec<String>,
    pub ports: Vec<ServicePortView>,
    pub selector: BTreeMap<String, String>,
    /// Addresses of the pods behind it that are ready.
    pub ready_endpoints: Vec<String>,
    /// Addresses of those that are not.
    pub unready_endpoints: Vec<String>,
}

impl ClusterServiceView {
    fn of(service: &Value, slices: &[Value]) -> Self {
        let place = |object: &Value| text(object, "/metadata/namespace");
        let named = "/metadata/labels/kubernetes.io~1service-name";
        let its = |slice: &&Value| {
            place(slice) == place(service) && text(slice, named) == text(service, "/metadata/name")
        };
        let endpoints: Vec<_> = slices
            .iter()
            .filter(its)
            .flat_map(|slice| all(slice, "/endpoints"))
            .collect();
        let addresses = |ready: bool| {
            let is_so = |endpoint: &&&Value| {
                let condition = endpoint.pointer("/conditions/ready");
                // An unknown state is to be taken as ready, by the API's own words.
                (condition != Some(&Value::Bool(false))) == ready
            };
            let found = endpoints.iter().filter(is_so);
            let found = found.flat_map(|endpoint| texts(endpoint, "/addresses"));
            found.collect()
        };
        let selector = service.pointer("/spec/selector").and_then(Value::as_object);
        Self {
            kind: text(service, "/spec/type"),
            cluster_ips: texts(service, "/spec/clusterIPs"),
            ports: all(service, "/spec/ports")
                .map(ServicePortView::of)
                .collect(),
            selector: selector
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), plain(value)))
                .collect(),
            ready_endpoints: addresses(true),
            unready_endpoints: addresses(false),
            service: Whereabouts::of(service),
        }
    }
}

pub(super) fn texts(object: &Value, pointer: &str) -> Vec<String> {
    let items = all(object, pointer).filter_map(Value::as_str);
    items.map(str::to_owned).collect()
}

/// A path of an ingress, with the Service it leads to.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressPathView {
    /// Absent for every host.
    pub host: Option<String>,
    pub path: Option<String>,
    pub service: Option<String>,
    /// Number or name of the Service's port.
    pub port: Option<String>,
}

/// Hosts whose traffic an ingress ends TLS for.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressTlsView {
    pub hosts: Vec<String>,
    /// Name of the Secret with the certificate.
    pub secret: Option<String>,
}

/// An Ingress, or a route of a Gateway.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressView {
    #[serde(flatten)]
    pub ingress: Whereabouts,
    /// Class of an Ingress; name of a route's Gateway.
    pub class: Option<String>,
    pub hosts: Vec<String>,
    pub paths: Vec<IngressPathView>,
    pub tls: Vec<IngressTlsView>,
    /// Addresses at which its controller or its Gateway answers.
    pub addresses: Vec<String>,
}

impl IngressView {
    fn of(ingress: &Value) -> Self {
        let rules = || all(ingress, "/spec/rules");
        let paths = rules().flat_map(|rule| {
            let paths = all(rule, "/http/paths");
            paths.map(move |path| IngressPathView {
                host: text(rule, "/host"),
                path: text(path, "/path"),
                service: text(path, "/backend/service/name"),
                port: path
                    .pointer("/backend/service/port/number")
                    .or_else(|| path.pointer("/backend/service/port/name"))
                    .map(plain),
            })
        });
        let tls = all(ingress, "/spec/tls").map(|tls| IngressTlsView {
            hosts: texts(tls, "/hosts"),
            secret: text(tls, "/secretName"),
        });
        Self {
            class: text(ingress, "/spec/ingressClassName"),
            hosts: rules().filter_map(|rule| text(rule, "/host")).collect(),
            paths: paths.collect(),
            tls: tls.collect(),
            addresses: all(ingress, "/status/loadBalancer/ingress")
                .filter_map(|one| text(one, "/ip").or_else(|| text(one, "/hostname")))
                .collect(),
            ingress: Whereabouts::of(ingress),
        }
    }
}

impl Cluster {
    /// Lists the Services.
    ///
    /// # Errors
    /// `CLUSTER_UNAVAILABLE`, within seconds.
    pub async fn services(&self, scope: &Scope, part: Part) -> Result<Page<ClusterServiceView>> {
        promptly(async {
            let within = Scope {
                owner: None,
                ..scope.clone()
            };
            let services = scope.path("/api/v1", "services");
            let slices = within.path("/apis/discovery.k8s.io/v1", "endpointslices");
            let (wanted, every) = (scope.selector(), within.selector());
            let (services, slices) =
                tokio::join!(self.known(&services, &wanted), self.known(&slices, &every));
            let (services, slices) = (part_of(services?, part), slices?);
            Ok(services.map(|service| ClusterServiceView::of(&service, &slices)))
        })
        .await
    }

    /// Lists the Ingresses.
    ///
    /// # Errors
    /// As [`Cluster::services`].
    pub async fn ingresses(&self, scope: &Scope, part: Part) -> Result<Page<IngressView>> {
        promptly(async {
            let path = scope.path("/apis/networking.k8s.io/v1", "ingresses");
            let found = self.known(&path, &scope.selector()).await?;
            Ok(part_of(found, part).map(|ingress| IngressView::of(&ingress)))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_shows_its_own_endpoints_by_readiness() {
        let service = json!({
            "metadata": {"namespace": "a", "name": "web", "labels": {"dermaga.dev/user": "u"}},
            "spec": {"type": "ClusterIP", "clusterIPs": ["10.0.0.1"], "selector": {"app": "web"},
                "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}]},
        });
        let slice = |namespace: &str, address: &str, ready: bool| {
            json!({
                "metadata": {"namespace": namespace, "labels": {"kubernetes.io/service-name": "web"}},
                "endpoints": [{"addresses": [address], "conditions": {"ready": ready}}],
            })
        };
        let slices = [
            slice("a", "1", true),
            slice("a", "2", false),
            slice("b", "3", true),
        ];
        let view = ClusterServiceView::of(&service, &slices);
        assert_eq!(
            (view.ready_endpoints, view.unready_endpoints),
            (vec!["1".to_owned()], vec!["2".to_owned()])
        );
        assert_eq!(view.ports[0].target_port.as_deref(), Some("http"));
        assert_eq!(view.service.owner.as_deref(), Some("u"));
    }

    #[test]
    fn an_ingress_shows_where_each_path_leads() {
        let view = IngressView::of(&json!({
            "metadata": {"namespace": "a", "name": "web"},
            "spec": {
                "ingressClassName": "nginx",
                "tls": [{"hosts": ["a.example"], "secretName": "tls"}],
                "rules": [{"host": "a.example", "http": {"paths": [
                    {"path": "/", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
                ]}}],
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]}},
        }));
        let path = &view.paths[0];
        assert_eq!(
            (path.service.as_deref(), path.port.as_deref()),
            (Some("web"), Some("80"))
        );
        assert_eq!(view.hosts, ["a.example"]);
        assert_eq!(view.tls[0].secret.as_deref(), Some("tls"));
        assert_eq!(view.addresses, ["192.0.2.1", "lb.example"]);
        assert_eq!(view.class.as_deref(), Some("nginx"));
    }
}
