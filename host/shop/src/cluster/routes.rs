//! Routes of Gateways, as administrators read them: in the form of Ingresses.

use serde_json::Value;

use super::{
    Cluster, ClusterError,
    network::{IngressPathView, IngressTlsView, IngressView, plain, texts},
    reading::{Scope, Whereabouts, all, part_of, promptly, text},
};
use crate::{
    Result,
    db::{Page, Part},
};

const GATEWAYS: &str = "/apis/gateway.networking.k8s.io/v1";

/// The Gateway that settings name, by its namespace and name.
struct Known<'a> {
    place: (&'a str, &'a str),
    /// Absent where it is not there, or may not be read.
    live: Option<Value>,
}

impl Known<'_> {
    /// Returns true for a route's reference to this Gateway, which is in the route's namespace unless said.
    fn is_meant(&self, route: &Value, parent: &Value) -> bool {
        let namespace = text(parent, "/namespace").or_else(|| text(route, "/metadata/namespace"));
        let place = (namespace, text(parent, "/name"));
        (place.0.as_deref(), place.1.as_deref()) == (Some(self.place.0), Some(self.place.1))
    }
}

impl IngressView {
    /// Returns the form of a route, with the certificates and addresses of a Gateway that it belongs to.
    fn of_route(route: &Value, gateway: &Known<'_>) -> Self {
        let is_gateway =
            |parent: &&Value| text(parent, "/kind").is_none_or(|kind| kind == "Gateway");
        let parents: Vec<_> = all(route, "/spec/parentRefs").filter(is_gateway).collect();
        let is_meant = |parent: &&&Value| gateway.is_meant(route, parent);
        let meant: Vec<_> = parents.iter().filter(is_meant).copied().collect();
        let live = gateway.live.as_ref().filter(|_| !meant.is_empty());
        let hosts = texts(route, "/spec/hostnames");
        let tls = live.map(|live| certificates(live, &meant, &hosts));
        let addresses = live.map(|live| all(live, "/status/addresses"));
        let addresses = addresses.into_iter().flatten();
        Self {
            class: meant
                .first()
                .or(parents.first())
                .and_then(|parent| text(parent, "/name")),
            paths: paths(route, &hosts),
            tls: tls.unwrap_or_default(),
            addresses: addresses.filter_map(|one| text(one, "/value")).collect(),
            ingress: Whereabouts::of(route),
            hosts,
        }
    }
}

/// Returns the hosts that each listener ends TLS for, of those listeners that a route's references mean.
fn certificates(gateway: &Value, parents: &[&Value], hosts: &[String]) -> Vec<IngressTlsView> {
    let is_meant = |listener: &&Value| {
        parents.iter().any(|parent| {
            let section = text(parent, "/sectionName");
            section.is_none() || section == text(listener, "/name")
        })
    };
    let views = all(gateway, "/spec/listeners").filter(is_meant);
    let views = views.filter_map(|listener| {
        let tls = listener.get("tls")?;
        let is_ended = text(tls, "/mode").is_none_or(|mode| mode == "Terminate");
        let pattern = text(listener, "/hostname");
        let is_its = |host: &&String| covers(pattern.as_deref(), host);
        is_ended.then(|| IngressTlsView {
            hosts: hosts.iter().filter(is_its).cloned().collect(),
            secret: text(tls, "/certificateRefs/0/name"),
        })
    });
    views.filter(|view| !view.hosts.is_empty()).collect()
}

/// Returns true when a listener of this host is one for a route's: any, the same, or `*.` and its end.
fn covers(pattern: Option<&str>, host: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    match pattern.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => pattern == host,
    }
}

/// Returns the paths of a route at each of its hosts. A rule that matches nothing in particular is for all paths.
fn paths(route: &Value, hosts: &[String]) -> Vec<IngressPathView> {
    let mut paths = Vec::new();
    for host in one_at_least(hosts.iter()) {
        for rule in all(route, "/spec/rules") {
            for matched in one_at_least(all(rule, "/matches")) {
                let path = matched.and_then(|matched| text(matched, "/path/value"));
                for backend in one_at_least(all(rule, "/backendRefs")) {
                    paths.push(IngressPathView {
                        host: host.cloned(),
                        path: path.clone().or_else(|| Some("/".to_owned())),
                        service: backend.and_then(|backend| text(backend, "/name")),
                        port: backend.and_then(|backend| backend.get("port").map(plain)),
                    });
                }
            }
        }
    }
    paths
}

/// Returns the items, or that there is none.
fn one_at_least<T>(items: impl Iterator<Item = T>) -> Vec<Option<T>> {
    let mut items: Vec<_> = items.map(Some).collect();
    if items.is_empty() {
        items.push(None);
    }
    items
}

impl Cluster {
    /// Lists the routes of Gateways in the form of Ingresses. Certificates and addresses are read from the Gateway
    /// at this namespace and name, and told for its own routes.
    ///
    /// # Errors
    /// `CLUSTER_UNAVAILABLE`, within seconds.
    pub async fn routes(
        &self,
        scope: &Scope,
        place: (&str, &str),
        part: Part,
    ) -> Result<Page<IngressView>> {
        promptly(async {
            let (path, selector) = (scope.path(GATEWAYS, "httproutes"), scope.selector());
            let (routes, live) = tokio::join!(
                self.known(&path, &selector),
                self.live_gateway(place.0, place.1)
            );
            let live = match live {
                // Without the right to read it, the routes are told all the same.
                Err(ClusterError::Denied(_)) => None,
                read => read?,
            };
            let gateway = Known { place, live };
            let routes = part_of(routes?, part);
            Ok(routes.map(|route| IngressView::of_route(&route, &gateway)))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gateway() -> Known<'static> {
        let listener = |name: &str, hostname: &str, tls: Value| json!({"name": name, "hostname": hostname, "tls": tls});
        let certificate = |name: &str| json!({"certificateRefs": [{"name": name}]});
        let live = json!({
            "spec": {"listeners": [
                {"name": "http", "port": 80},
                listener("https", "*.apps.example", certificate("wildcard")),
                listener("shop", "shop.example", certificate("shop")),
                listener("through", "*.apps.example", json!({"mode": "Passthrough"})),
            ]},
            "status": {"addresses": [{"value": "192.0.2.1"}, {"value": "lb.example"}]},
        });
        Known {
            place: ("pintu-masuk", "gerbang"),
            live: Some(live),
        }
    }

    fn route(parents: &Value, hosts: &Value) -> Value {
        json!({
            "metadata": {"namespace": "user-a", "name": "n8n-a", "labels": {"dermaga.dev/user": "u"}},
            "spec": {"parentRefs": parents, "hostnames": hosts, "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
                    "backendRefs": [{"name": "n8n-a", "port": 5678}],
                },
                {"backendRefs": [{"name": "n8n-b", "port": 80}]},
            ]},
        })
    }

    fn secrets(view: &IngressView) -> Vec<&str> {
        let secrets = view.tls.iter().map(|tls| tls.secret.as_deref());
        secrets.map(Option::unwrap_or_default).collect()
    }

    #[test]
    fn a_route_is_told_as_an_ingress_with_what_its_gateway_has() {
        let parents = json!([
            {"kind": "Service", "name": "mesh"},
            {"kind": "Gateway", "namespace": "pintu-masuk", "name": "gerbang", "sectionName": "https"},
        ]);
        let hosts = json!(["a.apps.example", "shop.example"]);
        let view = IngressView::of_route(&route(&parents, &hosts), &gateway());
        assert_eq!(view.class.as_deref(), Some("gerbang"));
        assert_eq!(view.ingress.owner.as_deref(), Some("u"));
        assert_eq!(view.hosts, ["a.apps.example", "shop.example"]);
        let paths = view.paths.iter().map(|path| {
            let texts = [&path.host, &path.path, &path.service, &path.port];
            texts.map(|text| text.as_deref().unwrap_or_default())
        });
        let paths: Vec<_> = paths.collect();
        let expected = [
            ["a.apps.example", "/api", "n8n-a", "5678"],
            ["a.apps.example", "/", "n8n-b", "80"],
            ["shop.example", "/api", "n8n-a", "5678"],
            ["shop.example", "/", "n8n-b", "80"],
        ];
        assert_eq!(paths, expected);
        assert_eq!(secrets(&view), ["wildcard"]);
        assert_eq!(view.tls[0].hosts, ["a.apps.example"]);
        assert_eq!(view.addresses, ["192.0.2.1", "lb.example"]);
    }

    #[test]
    fn without_a_section_every_listener_of_the_host_counts() {
        let parents = json!([{"namespace": "pintu-masuk", "name": "gerbang"}]);
        let hosts = json!(["a.apps.example", "shop.example"]);
        let view = IngressView::of_route(&route(&parents, &hosts), &gateway());
        assert_eq!(secrets(&view), ["wildcard", "shop"]);
        assert_eq!(view.tls[1].hosts, ["shop.example"]);
    }

    #[test]
    fn of_another_gateway_nothing_is_known_but_its_name() {
        // The Gateway of the same name in the route's own namespace.
        let parents = json!([{"name": "gerbang"}]);
        let view = IngressView::of_route(&route(&parents, &json!([])), &gateway());
        assert_eq!(view.class.as_deref(), Some("gerbang"));
        assert!(view.tls.is_empty() && view.addresses.is_empty());
        assert_eq!((view.paths.len(), view.paths[0].host.as_deref()), (2, None));
        let unread = Known {
            live: None,
            ..gateway()
        };
        let parents = json!([{"namespace": "pintu-masuk", "name": "gerbang"}]);
        let view = IngressView::of_route(&route(&parents, &json!(["a.apps.example"])), &unread);
        assert!(view.tls.is_empty() && view.addresses.is_empty());
    }
}
