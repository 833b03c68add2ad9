//! Tests of the administrators' view of the cluster.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use axum::{Json, Router, routing::get};
use dermaga_shop::provisioning::{Choice, Issuer};
use dermaga_tests::{Client, Engine, Shop};
use k8s_openapi::api::networking::v1::Ingress;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::provisioning::{access_of_server, client, kubeconfig, kubeconfig_of, shop_on};
use crate::settings;

const LISTS: [&str; 6] = [
    "nodes",
    "namespaces",
    "pods",
    "deployments",
    "services",
    "ingresses",
];

async fn list(admin: &Client, query: &str) -> Vec<Value> {
    let found = admin
        .get(&format!("/api/admin/k8s/{query}"))
        .await
        .data(200);
    found.as_array().unwrap().clone()
}

const CLASS: &str = "dermaga-test";

/// Opens a shop on a cluster, with a class and an issuer for its Ingresses.
async fn shop_with_ways_in(path: &Path) -> Shop {
    let path = access_of_server(path);
    let shop = Shop::open_with(Engine::Sqlite, |config| {
        let settings = &mut config.provisioning;
        settings.provisioner = Choice::Kubernetes;
        settings.kubeconfig = Some(path);
        settings.classes.ingress = Some(CLASS.to_owned());
        settings.classes.entry.issuer = Some(Issuer::Cluster("dermaga-test".to_owned()));
    });
    shop.await.unwrap()
}

/// Writes addresses into an Ingress, as its controller does.
async fn give_addresses(path: &Path, namespace: &str, name: &str) {
    let ingresses: Api<Ingress> = Api::namespaced(client(path).await, namespace);
    let addresses = json!([{ "ip": "192.0.2.1" }, { "hostname": "lb.example" }]);
    let status = json!({ "status": { "loadBalancer": { "ingress": addresses } } });
    let params = PatchParams::default();
    let patch = Patch::Merge(&status);
    let given = ingresses.patch_status(name, &params, &patch);
    given.await.unwrap();
}

fn assert_young(object: &Value) {
    let age = object["ageSeconds"].as_i64().unwrap();
    assert!((0..600).contains(&age), "{object:#}");
    assert!(object["createdAt"].is_string(), "{object:#}");
}

fn assert_services(services: &[Value]) {
    let mut ports = Vec::new();
    for service in services {
        assert_young(service);
        assert_eq!(service["type"], "ClusterIP", "{service:#}");
        let own = service["ports"].as_array().unwrap();
        assert!(!own.is_empty(), "{service:#}");
        for port in own {
            assert_eq!(port["protocol"], "TCP", "{service:#}");
            assert!(port["targetPort"].is_string(), "{service:#}");
            assert_eq!(port["nodePort"], Value::Null, "{service:#}");
            ports.push(port["port"].as_i64().unwrap());
        }
    }
    assert!(ports.contains(&5432), "{ports:?}");
}

/// Compares the only Ingress with what was bought.
fn assert_ingress(ingresses: &[Value], hostname: &Value) {
    assert_eq!(ingresses.len(), 1, "{ingresses:#?}");
    let ingress = &ingresses[0];
    assert_young(ingress);
    assert_eq!(ingress["class"], CLASS, "{ingress:#}");
    assert_eq!(ingress["hosts"], json!([hostname]));
    assert_eq!(&ingress["paths"][0]["host"], hostname);
    assert!(ingress["paths"][0]["service"].is_string(), "{ingress:#}");
    assert!(ingress["paths"][0]["port"].is_string(), "{ingress:#}");
    let secret = format!("{}-tls", ingress["name"].as_str().unwrap());
    let tls = json!([{ "hosts": [hostname], "secret": secret }]);
    assert_eq!(ingress["tls"], tls, "{ingress:#}");
    assert_eq!(ingress["addresses"], json!(["192.0.2.1", "lb.example"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_sees_what_is_in_the_cluster() {
    let Some(path) = kubeconfig() else { return };
    let shop = shop_with_ways_in(&path).await;
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("terlihat@example.com", 200_000)
        .await;
    let mut instances = Vec::new();
    for service in ["uptime-kuma", "postgresql"] {
        let order = json!({ "planId": shop.plan(service, "basic").await });
        let bought = customer.post("/api/subscriptions", order).await.data(201);
        let id = bought["instanceId"].as_str().unwrap().to_owned();
        instances.push((
            shop.instance_becomes(&customer, &id, "RUNNING").await,
            bought,
        ));
    }
    let namespace = instances[0].0["namespace"].as_str().unwrap().to_owned();
    let owner = customer.get("/api/user/profile").await.data(200)["id"].clone();
    let (mine, owned) = (
        format!("namespace={namespace}"),
        format!("owner={}", owner.as_str().unwrap()),
    );

    let ingresses = list(&admin, &format!("ingresses?{mine}")).await;
    let ingress = ingresses[0]["name"].as_str().unwrap();
    assert_eq!(ingresses[0]["addresses"], json!([]), "no controller yet");
    give_addresses(&path, &namespace, ingress).await;

    let nodes = list(&admin, "nodes").await;
    let node = &nodes[0];
    assert_eq!(node["isReady"], true, "{node:#}");
    assert!(node["pods"].as_u64().unwrap() >= 2);
    assert!(node["allocatable"]["cpuMillis"].as_u64().unwrap() > 0);
    assert!(node["requests"]["memoryBytes"].as_u64().unwrap() > 0);
    assert!(node["usage"].is_object(), "{node:#}");
    let path = format!("/api/admin/k8s/nodes/{}", node["name"].as_str().unwrap());
    assert_eq!(admin.get(&path).await.data(200)["name"], node["name"]);
    for unknown in ["none-such", "a,b"] {
        let answer = admin.get(&format!("/api/admin/k8s/nodes/{unknown}")).await;
        answer.fails(404, "NOT_FOUND");
    }

    for query in [&mine, &owned] {
        let namespaces = list(&admin, &format!("namespaces?{query}")).await;
        assert_eq!(namespaces.len(), 1);
        assert_eq!(namespaces[0]["owner"], owner);
        assert_eq!(
            (&namespaces[0]["pods"], &namespaces[0]["readyPods"]),
            (&json!(2), &json!(2))
        );
        let pods = list(&admin, &format!("pods?{query}")).await;
        assert_eq!(pods.len(), 2);
        for pod in &pods {
            assert_eq!(pod["isReady"], true, "{pod:#}");
            assert!(pod["usage"]["memoryBytes"].as_u64().unwrap() > 0, "{pod:#}");
            assert!(
                pod["limits"]["memoryBytes"].as_u64() >= pod["requests"]["memoryBytes"].as_u64()
            );
            assert!(pod["ageSeconds"].as_i64().unwrap() < 600);
        }
        let workloads = list(&admin, &format!("deployments?{query}")).await;
        assert_eq!(workloads.len(), 2);
        let has = |kind: &str| workloads.iter().any(|one| one["kind"] == kind);
        assert!(has("StatefulSet"), "{workloads:#?}");
        for workload in &workloads {
            assert_eq!(
                (&workload["replicas"], &workload["readyReplicas"]),
                (&json!(1), &json!(1))
            );
            assert!(workload["usage"].is_object(), "{workload:#}");
            assert_young(workload);
        }
        let services = list(&admin, &format!("services?{query}")).await;
        assert!(services.iter().any(|one| {
            one["selector"]
                .as_object()
                .is_some_and(|labels| !labels.is_empty())
        }));
        let served = services
            .iter()
            .filter(|one| one["readyEndpoints"] != json!([]));
        assert!(served.count() >= 2, "{services:#?}");
        assert_services(&services);
        let ingresses = list(&admin, &format!("ingresses?{query}")).await;
        assert_ingress(&ingresses, &instances[0].0["hostname"]);
    }
    let page = admin
        .get(&format!("/api/admin/k8s/pods?{mine}&limit=1&page=2"))
        .await;
    assert_eq!(page.body["pagination"]["totalItems"], 2);
    assert_eq!(page.data(200).as_array().unwrap().len(), 1);
    let other = "00000000-0000-7000-8000-000000000001";
    for kind in &LISTS[1..] {
        assert!(
            list(&admin, &format!("{kind}?owner={other}"))
                .await
                .is_empty(),
            "{kind}"
        );
    }
    for (instance, bought) in &instances {
        let path = format!(
            "/api/subscriptions/{}",
            bought["subscription"]["id"].as_str().unwrap()
        );
        customer.delete(&path).await.data(200);
        let id = instance["id"].as_str().unwrap();
        shop.instance_becomes(&customer, id, "TERMINATED").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_has_no_cluster_and_customers_see_none() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await;
    let customer = shop.customer("penonton@example.com").await;
    for kind in LISTS.iter().chain(&["nodes/a"]) {
        let path = format!("/api/admin/k8s/{kind}");
        admin.get(&path).await.fails(409, "NO_CLUSTER");
        customer.get(&path).await.fails(403, "FORBIDDEN");
        shop.client().get(&path).await.fails(401, "UNAUTHENTICATED");
    }
    for query in ["namespace=A/../b", "owner=x", "colour=blue"] {
        let path = format!("/api/admin/k8s/pods?{query}");
        admin.get(&path).await.fails(400, "VALIDATION_FAILED");
    }
}

/// Serves a route and its Gateway, and no other kind; returns the address.
async fn serve_route() -> String {
    let route = json!({
        "metadata": { "namespace": "user-a", "name": "n8n-a" },
        "spec": {
            "parentRefs": [{ "namespace": "pintu-masuk", "name": "gerbang", "sectionName": "https" }],
            "hostnames": ["n8n-a.apps.example"],
            "rules": [{
                "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
                "backendRefs": [{ "name": "n8n-a-app", "port": 5678 }],
            }],
        },
    });
    let routes = json!({
        "kind": "HTTPRouteList", "apiVersion": "gateway.networking.k8s.io/v1", "metadata": {}, "items": [route],
    });
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "namespace": "pintu-masuk", "name": "gerbang" },
        "spec": { "listeners": [
            { "name": "https", "port": 443, "tls": { "certificateRefs": [{ "name": "wildcard" }] } },
        ] },
        "status": { "addresses": [{ "type": "IPAddress", "value": "192.0.2.1" }] },
    });
    let group = "/apis/gateway.networking.k8s.io/v1";
    let router = Router::new()
        .route(
            &format!("{group}/httproutes"),
            get(|| async move { Json(routes) }),
        )
        .route(
            &format!("{group}/namespaces/pintu-masuk/gateways/gerbang"),
            get(|| async move { Json(gateway) }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_of_a_gateway_are_listed_in_the_place_of_ingresses() {
    let folder = tempfile::tempdir().unwrap();
    let path = kubeconfig_of(folder.path(), &serve_route().await);
    let shop = settings::empty_shop(&[
        ("DERMAGA_PROVISIONER", "kubernetes"),
        ("KUBECONFIG", path.to_str().unwrap()),
        ("DERMAGA_ENTRY", "gateway"),
        ("DERMAGA_GATEWAY_NAME", "gerbang"),
        ("DERMAGA_GATEWAY_NAMESPACE", "pintu-masuk"),
    ])
    .await;
    let answer = shop.admin().await.get("/api/admin/k8s/ingresses").await;
    assert_eq!(answer.body["message"], "1 route.");
    let listed = answer.data(200);
    let host = "n8n-a.apps.example";
    for (field, expected) in [
        ("namespace", json!("user-a")),
        ("name", json!("n8n-a")),
        ("class", json!("gerbang")),
        ("hosts", json!([host])),
        (
            "paths",
            json!([{ "host": host, "path": "/", "service": "n8n-a-app", "port": "5678" }]),
        ),
        ("tls", json!([{ "hosts": [host], "secret": "wildcard" }])),
        ("addresses", json!(["192.0.2.1"])),
    ] {
        assert_eq!(listed[0][field], expected, "{field}");
    }
}

/// An address that refuses, and one that accepts and never says a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_away_is_said_to_be_within_three_seconds() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent
        .local_addr()
        .map(|address| (address, silent))
        .unwrap();
    for address in ["127.0.0.1:9".to_owned(), silent.0.to_string()] {
        let folder = tempfile::tempdir().unwrap();
        let path = kubeconfig_of(folder.path(), &address);
        let shop = shop_on(&path).await.unwrap();
        let admin = shop.admin().await;
        for kind in LISTS.iter().chain(&["nodes/a"]) {
            let began = Instant::now();
            let answer = admin.get(&format!("/api/admin/k8s/{kind}")).await;
            answer.fails(503, "CLUSTER_UNAVAILABLE");
            let took = began.elapsed();
            assert!(
                took < Duration::from_secs(3),
                "{kind} of {address}: {took:?}"
            );
        }
    }
}
