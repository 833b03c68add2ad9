//! Routes of a Gateway in the place of an Ingress.

use serde_json::{Map, Value, json};

use super::{Entry, rules};

const GROUP: &str = "gateway.networking.k8s.io";
/// Most hosts, and most rules, that one route may have.
const MOST_OF_A_ROUTE: usize = 16;

/// Returns the routes that lead where a gated Ingress does: one for all hosts that lead to the same
/// places, as far as one can hold them. The instance's objects tell the numbers of the ports that it
/// names.
pub(super) fn of_ingress(ingress: &Value, objects: &[Value], entry: &Entry) -> Vec<Value> {
    let mut groups: Vec<(Vec<&Value>, &Value)> = Vec::new();
    for rule in rules(ingress) {
        let (Some(host), Some(paths)) = (rule.get("host"), rule.pointer("/http/paths")) else {
            continue;
        };
        match groups.iter_mut().find(|(_, known)| *known == paths) {
            Some((hosts, _)) => hosts.push(host),
            None => groups.push((vec![host], paths)),
        }
    }
    let timeout = entry.seconds_of_route(ingress);
    let mut routes = Vec::new();
    for (hosts, paths) in groups {
        let paths = paths.as_array().into_iter().flatten();
        let rules: Vec<Value> = paths.map(|path| rule(path, objects, timeout)).collect();
        for hosts in hosts.chunks(MOST_OF_A_ROUTE) {
            for rules in rules.chunks(MOST_OF_A_ROUTE) {
                routes.push(json!({
                    "apiVersion": format!("{GROUP}/v1"),
                    "kind": "HTTPRoute",
                    "metadata": metadata(ingress, routes.len(), entry),
                    "spec": {"parentRefs": [parent(entry)], "hostnames": hosts, "rules": rules},
                }));
            }
        }
    }
    routes
}

/// Returns the metadata of a route: the Ingress's without its annotations, which are meant for its
/// controller.
fn metadata(ingress: &Value, position: usize, entry: &Entry) -> Value {
    let mut metadata = Map::new();
    for field in ["namespace", "labels"] {
        if let Some(value) = ingress.pointer(&format!("/metadata/{field}")) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let name = ingress.pointer("/metadata/name").and_then(Value::as_str);
    let name = name.unwrap_or_default();
    // No gated name has a dot, so that no other Ingress has a route of this name.
    let name = match position {
        0 => name.to_owned(),
        _ => format!("{name}.{position}"),
    };
    metadata.insert("name".to_owned(), json!(name));
    if !entry.annotations.is_empty() {
        metadata.insert("annotations".to_owned(), json!(entry.annotations));
    }
    Value::Object(metadata)
}

fn parent(entry: &Entry) -> Value {
    let gateway = &entry.gateway;
    let mut parent = json!({
        "group": GROUP,
        "kind": "Gateway",
        "namespace": gateway.namespace,
        "name": gateway.name,
    });
    if let (Some(section), Some(fields)) = (&gateway.section, parent.as_object_mut()) {
        fields.insert("sectionName".to_owned(), json!(section));
    }
    parent
}

fn rule(path: &Value, objects: &[Value], timeout: Option<u64>) -> Value {
    let kind = match path.get("pathType").and_then(Value::as_str) {
        Some("Exact") => "Exact",
        _ => "PathPrefix",
    };
    let service = path.pointer("/backend/service");
    let mut backend = json!({"name": service.and_then(|service| service.get("name"))});
    let port = service.and_then(|service| port(service, objects));
    if let (Some(port), Some(fields)) = (port, backend.as_object_mut()) {
        fields.insert("port".to_owned(), port.clone());
    }
    let mut rule = json!({
        "matches": [{"path": {"type": kind, "value": path.get("path")}}],
        "backendRefs": [backend],
    });
    if let (Some(seconds), Some(fields)) = (timeout, rule.as_object_mut()) {
        let timeouts = json!({"request": format!("{seconds}s")});
        fields.insert("timeouts".to_owned(), timeouts);
    }
    rule
}

/// Returns the number of a backend's port, which its Service has under a name: routes know numbers
/// alone.
fn port<'a>(backend: &'a Value, objects: &'a [Value]) -> Option<&'a Value> {
    if let Some(number) = backend.pointer("/port/number") {
        return Some(number);
    }
    let name = backend.pointer("/port/name")?;
    let is_its = |object: &&Value| {
        object.get("kind") == Some(&json!("Service"))
            && object.pointer("/metadata/name") == backend.get("name")
    };
    let service = objects.iter().find(is_its)?;
    let mut ports = service.pointer("/spec/ports")?.as_array()?.iter();
    ports
        .find(|port| port.get("name") == Some(name))?
        .get("port")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::provisioning::entry::{EntryChoice, Gateway, GatewayController, Hosts};

    fn entry() -> Entry {
        Entry {
            choice: EntryChoice::Gateway,
            gateway: Gateway {
                name: "gerbang".to_owned(),
                namespace: "pintu-masuk".to_owned(),
                section: Some("https".to_owned()),
                controller: GatewayController::default(),
            },
            ..Entry::default()
        }
    }

    fn service() -> Value {
        json!({
            "kind": "Service", "metadata": {"name": "n8n-a"},
            "spec": {"ports": [{"name": "metrics", "port": 9090}, {"name": "http", "port": 5678}]},
        })
    }

    fn path(path: &str, kind: &str, port: &Value) -> Value {
        json!({
            "path": path, "pathType": kind,
            "backend": {"service": {"name": "n8n-a", "port": port}},
        })
    }

    fn ingress(rules: &Value) -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {
                "name": "n8n-a", "namespace": "user-a",
                "labels": {"dermaga.dev/instance": "n8n-a"},
                "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "3600"},
            },
            "spec": {"tls": [{"hosts": ["a.example"]}], "rules": rules},
        })
    }

    #[test]
    fn a_route_leads_where_its_ingress_does() {
        let paths = json!([
            path("/", "Prefix", &json!({"name": "http"})),
            path("/metrics", "Exact", &json!({"number": 9090})),
        ]);
        let rules = json!([{"host": "a.example", "http": {"paths": paths}}]);
        let objects = entry().lead_to(vec![ingress(&rules), service()], Hosts::default());
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {
                "name": "n8n-a", "namespace": "user-a",
                "labels": {"dermaga.dev/instance": "n8n-a"},
            },
            "spec": {
                "parentRefs": [{
                    "group": "gateway.networking.k8s.io", "kind": "Gateway",
                    "namespace": "pintu-masuk", "name": "gerbang", "sectionName": "https",
                }],
                "hostnames": ["a.example"],
                "rules": [
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                        "backendRefs": [{"name": "n8n-a", "port": 5678}],
                        "timeouts": {"request": "3600s"},
                    },
                    {
                        "matches": [{"path": {"type": "Exact", "value": "/metrics"}}],
                        "backendRefs": [{"name": "n8n-a", "port": 9090}],
                        "timeouts": {"request": "3600s"},
                    },
                ],
            },
        });
        assert_eq!(objects, [route, service()]);
    }

    #[test]
    fn hosts_share_a_route_when_they_lead_to_the_same_places() {
        let (all, api) = (
            json!([path("/", "Prefix", &json!({"name": "http"}))]),
            json!([path("/api", "Prefix", &json!({"name": "http"}))]),
        );
        let rules = json!([
            {"host": "a.example", "http": {"paths": all}},
            {"host": "b.example", "http": {"paths": api}},
            {"host": "c.example", "http": {"paths": all}},
        ]);
        let entry = Entry {
            annotations: [("example.org/team".to_owned(), "toko".to_owned())].into(),
            timeout: Some(Duration::from_secs(90)),
            ..entry()
        };
        let routes = of_ingress(&ingress(&rules), &[service()], &entry);
        let told: Vec<_> = routes
            .iter()
            .map(|route| {
                let (metadata, spec) = (&route["metadata"], &route["spec"]);
                assert_eq!(metadata["annotations"], json!({"example.org/team": "toko"}));
                assert_eq!(spec["rules"][0]["timeouts"], json!({"request": "90s"}));
                (metadata["name"].clone(), spec["hostnames"].clone())
            })
            .collect();
        let expected = [
            (json!("n8n-a"), json!(["a.example", "c.example"])),
            (json!("n8n-a.1"), json!(["b.example"])),
        ];
        assert_eq!(told, expected);
    }
    #[test]
    fn what_one_route_cannot_hold_is_in_several() {
        let named = json!({"name": "http"});
        let paths: Vec<_> = (0..20)
            .map(|number| path(&format!("/{number}"), "Prefix", &named))
            .collect();
        let rules = json!([{"host": "a.example", "http": {"paths": paths}}]);
        let routes = of_ingress(&ingress(&rules), &[service()], &entry());
        let told: Vec<_> = routes
            .iter()
            .map(|route| {
                let rules = route["spec"]["rules"].as_array().unwrap();
                assert_eq!(route["spec"]["hostnames"], json!(["a.example"]));
                (route["metadata"]["name"].clone(), rules.len())
            })
            .collect();
        assert_eq!(told, [(json!("n8n-a"), 16), (json!("n8n-a.1"), 4)]);
    }

    /// Envoy's own limit of 15 seconds would end what takes longer; it is no limit of WebSockets.
    #[test]
    fn a_route_has_the_times_that_its_gateway_keeps() {
        let paths = json!([path("/", "Prefix", &json!({"name": "http"}))]);
        let rules = json!([{"host": "a.example", "http": {"paths": paths}}]);
        for (controller, expected) in [
            (GatewayController::Envoy, Some(json!({"request": "3600s"}))),
            (GatewayController::Cilium, Some(json!({"request": "3600s"}))),
            (GatewayController::Traefik, None),
        ] {
            let mut entry = entry();
            entry.gateway.controller = controller;
            let routes = of_ingress(&ingress(&rules), &[service()], &entry);
            let times = routes[0]["spec"]["rules"][0].get("timeouts").cloned();
            assert_eq!(times, expected, "{controller:?}");
        }
    }
}
