//! Settings of the way in to instances, and of their pods.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use dermaga::config::{self, Config, Sources};
use dermaga_tests::Shop;
use serde_json::{Value, json};

use super::{
    buy,
    instances::{files, of_kind},
    shop,
};
use crate::name_server::NameServer;

/// An n8n of a shop with these settings: its shop, the folder of its namespace, and its name.
async fn written(settings: &[(&str, &str)]) -> (Shop, PathBuf, String) {
    let shop = shop(settings).await;
    let customer = shop.customer("pintu@example.com").await;
    let id = buy(&shop, &customer, "n8n", "free").await;
    let instance = shop.instance_becomes(&customer, &id, "RUNNING").await;
    let namespace = shop
        .data_dir()
        .join("manifests")
        .join(instance["namespace"].as_str().unwrap());
    let name = instance["name"].as_str().unwrap().to_owned();
    (shop, namespace, name)
}

fn has(folder: &Path, kind: &str) -> bool {
    let mut files = files(folder).into_iter();
    files.any(|file| file.to_string_lossy().contains(kind))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingress_has_what_its_controller_reads() {
    let (_shop, namespace, name) = written(&[
        ("DERMAGA_INGRESS_ISSUER", "letsencrypt"),
        (
            "DERMAGA_ENTRY_ANNOTATIONS",
            "external-dns.alpha.kubernetes.io/ttl=60; example.org/teams=a,b",
        ),
        ("DERMAGA_ENTRY_TIMEOUT", "10m"),
        ("DERMAGA_ENTRY_BODY_MIB", "256"),
    ])
    .await;
    let ingress = of_kind(&namespace.join(&name), "-ingress-");
    let annotations = &ingress["metadata"]["annotations"];
    for (key, value) in [
        ("nginx.ingress.kubernetes.io/proxy-body-size", "256m"),
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "600"),
        ("nginx.ingress.kubernetes.io/proxy-send-timeout", "600"),
        ("cert-manager.io/cluster-issuer", "letsencrypt"),
        ("external-dns.alpha.kubernetes.io/ttl", "60"),
        ("example.org/teams", "a,b"),
    ] {
        assert_eq!(annotations[key], value, "{key}");
    }
    let host = &ingress["spec"]["rules"][0]["host"];
    let secret = format!("{}-tls", ingress["metadata"]["name"].as_str().unwrap());
    let expected = json!([{ "hosts": [host], "secretName": secret }]);
    assert_eq!(ingress["spec"]["tls"], expected);

    let traefik = [("DERMAGA_INGRESS_CONTROLLER", "traefik")];
    let (_shop, namespace, name) = written(&traefik).await;
    let ingress = of_kind(&namespace.join(&name), "-ingress-");
    let ends_tls = "traefik.ingress.kubernetes.io/router.tls";
    assert_eq!(ingress["metadata"]["annotations"][ends_tls], "true");
    assert!(ingress["spec"]["tls"][0].get("secretName").is_none());

    let (_shop, namespace, name) = written(&[
        ("DERMAGA_INGRESS_CONTROLLER", "cilium"),
        ("DERMAGA_INGRESS_TLS_SECRET", "wildcard"),
        ("DERMAGA_ENTRY_TIMEOUT", "10m"),
    ])
    .await;
    let ingress = of_kind(&namespace.join(&name), "-ingress-");
    let timeout = &ingress["metadata"]["annotations"]["ingress.cilium.io/request-timeout"];
    assert_eq!(timeout, "600s");
    let host = format!("{name}.apps.localhost");
    let expected = json!([{ "hosts": [host], "secretName": "wildcard" }]);
    assert_eq!(ingress["spec"]["tls"], expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_gets_routes_in_the_place_of_ingresses() {
    let (_shop, namespace, name) = written(&[
        ("DERMAGA_ENTRY", "gateway"),
        ("DERMAGA_GATEWAY_NAME", "gerbang"),
        ("DERMAGA_GATEWAY_NAMESPACE", "pintu-masuk"),
        ("DERMAGA_GATEWAY_SECTION", "https"),
    ])
    .await;
    let folder = namespace.join(&name);
    let route = of_kind(&folder, "-httproute-");
    let expected = json!({
        "parentRefs": [{
            "group": "gateway.networking.k8s.io", "kind": "Gateway",
            "namespace": "pintu-masuk", "name": "gerbang", "sectionName": "https",
        }],
        "hostnames": [format!("{name}.apps.localhost")],
        "rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [{"name": format!("{name}-app"), "port": 5678}],
            "timeouts": {"request": "3600s"},
        }],
    });
    assert_eq!(route["spec"], expected);
    assert!(!has(&folder, "-ingress-"));
    let door = of_kind(&namespace, "allow-ingress");
    assert!(door.to_string().contains("pintu-masuk"), "{door:#}");

    // Traefik would ignore the time.
    let (_shop, namespace, name) = written(&[
        ("DERMAGA_ENTRY", "gateway"),
        ("DERMAGA_GATEWAY_NAME", "gerbang"),
        ("DERMAGA_GATEWAY_NAMESPACE", "pintu-masuk"),
        ("DERMAGA_GATEWAY_CONTROLLER", "traefik"),
    ])
    .await;
    let route = of_kind(&namespace.join(&name), "-httproute-");
    assert!(route["spec"]["rules"][0].get("timeouts").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domains_are_as_many_and_proven_where_the_operator_says() {
    let record = Arc::new(Mutex::new(None));
    let value = Arc::clone(&record);
    let server = NameServer::start(move |name| {
        let is_asked = name == "_dermaga.toko.example.com";
        value.lock().unwrap().clone().filter(|_| is_asked)
    })
    .await;
    let address = server.address.to_string();
    let shop = shop(&[
        ("DERMAGA_DOMAINS_PER_INSTANCE", "1"),
        ("DERMAGA_NAME_SERVER", &address),
    ])
    .await;
    let customer = shop.customer("domain@example.com").await;
    let id = buy(&shop, &customer, "n8n", "free").await;
    shop.instance_becomes(&customer, &id, "RUNNING").await;
    let path = format!("/api/instances/{id}/domains");
    let domain = json!({ "domain": "toko.example.com" });
    let claimed = customer.post(&path, domain).await.data(201);
    let wanted = claimed["proof"]["recordValue"].as_str().unwrap();
    *record.lock().unwrap() = Some(wanted.to_owned());
    let verify = format!("{path}/{}/verify", claimed["id"].as_str().unwrap());
    let proven = customer.post(&verify, json!({})).await.data(200);
    assert_eq!(
        (&proven["state"], &proven["provenBy"]),
        (&json!("ACTIVE"), &json!("DNS"))
    );
    let more = json!({ "domain": "www.toko.example.com" });
    let refused = customer.post(&path, more.clone()).await;
    let message = refused.fails(409, "CONFLICT").body["message"].clone();
    assert_eq!(
        message,
        "A service can have at most 1 domain. Remove one first."
    );

    let none = |config: &mut Config| config.provisioning.domains.per_instance = 0;
    let shop = shop.restart_with(none).await.unwrap();
    let customer = customer.moved_to(shop.client());
    let refused = customer.post(&path, more).await;
    refused.fails(409, "INVALID_STATE");
}

/// A claim waits without being looked at, and is proven once the setting is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_that_takes_domains_no_more_keeps_those_that_are_proven() {
    let records: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    let known = Arc::clone(&records);
    let server = NameServer::start(move |name| known.lock().unwrap().get(name).cloned()).await;
    let shop = shop(&[("DERMAGA_NAME_SERVER", &server.address.to_string())]).await;
    let customer = shop.customer("sisa@example.com").await;
    let id = buy(&shop, &customer, "n8n", "free").await;
    shop.instance_becomes(&customer, &id, "RUNNING").await;
    let path = format!("/api/instances/{id}/domains");
    let mut looks = Vec::new();
    for domain in ["toko.example.com", "nanti.example.com"] {
        let claim = json!({ "domain": domain });
        let claimed = customer.post(&path, claim).await.data(201);
        let text = |field: &str| claimed["proof"][field].as_str().unwrap().to_owned();
        let record = (text("recordName"), text("recordValue"));
        records.lock().unwrap().extend([record]);
        looks.push(format!("{path}/{}/verify", claimed["id"].as_str().unwrap()));
    }
    let proven = customer.post(&looks[0], json!({})).await.data(200);
    assert_eq!(proven["state"], "ACTIVE");

    let none = |config: &mut Config| config.provisioning.domains.per_instance = 0;
    let shop = shop.restart_with(none).await.unwrap();
    let customer = customer.moved_to(shop.client());
    let refused = customer.post(&looks[1], json!({})).await;
    refused.fails(409, "INVALID_STATE");
    shop.clock().advance(TimeDelta::minutes(3));
    let mut all = Value::Null;
    for _ in 0..200 {
        shop.state().domains.look_after().await.unwrap();
        all = customer.get(&path).await.data(200);
        if all[1]["problem"].is_string() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let seen = [0_usize, 1].map(|one| [&all[one]["state"], &all[one]["problem"]]);
    let (waits, none) = (json!("PENDING"), Value::Null);
    let problem = json!("This shop takes no domains of customers.");
    assert_eq!(seen, [[&json!("ACTIVE"), &none], [&waits, &problem]]);

    let some = |config: &mut Config| config.provisioning.domains.per_instance = 2;
    let shop = shop.restart_with(some).await.unwrap();
    let customer = customer.moved_to(shop.client());
    let proven = customer.post(&looks[1], json!({})).await.data(200);
    assert_eq!(proven["state"], "ACTIVE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_run_where_and_from_where_the_operator_says() {
    let (_shop, namespace, name) = written(&[
        ("DERMAGA_NODE_SELECTOR", "pool=customers,disk=ssd"),
        ("DERMAGA_TOLERATIONS", "pool=customers:NoSchedule,spot"),
        ("DERMAGA_PRIORITY_CLASS", "customers"),
        ("DERMAGA_IMAGE_MIRRORS", "docker.io=mirror.example/hub"),
        ("DERMAGA_IMAGE_PULL_SECRET", "registry"),
        ("DERMAGA_REQUEST_PERCENT", "50"),
    ])
    .await;
    let deployment = of_kind(&namespace.join(&name), "-deployment-");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(
        pod["nodeSelector"],
        json!({"pool": "customers", "disk": "ssd"})
    );
    let tolerations = json!([
        {"key": "pool", "operator": "Equal", "value": "customers", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists"},
    ]);
    assert_eq!(pod["tolerations"], tolerations);
    assert_eq!(pod["priorityClassName"], "customers");
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    let container = &pod["containers"][0];
    let image = container["image"].as_str().unwrap();
    assert!(
        image.starts_with("mirror.example/hub/n8nio/n8n:"),
        "{image}"
    );
    let requests = &container["resources"]["requests"];
    assert_eq!(
        (&requests["cpu"], &requests["memory"]),
        (&json!("125m"), &json!("393216Ki"))
    );
}

/// Settings that the chosen way in cannot carry out stop the start.
#[test]
fn a_limit_without_effect_is_refused() {
    let gateway = [
        ("DERMAGA_ENTRY", "gateway"),
        ("DERMAGA_GATEWAY_NAME", "gerbang"),
        ("DERMAGA_GATEWAY_NAMESPACE", "pintu-masuk"),
    ];
    let traefik = [("DERMAGA_INGRESS_CONTROLLER", "traefik")];
    for (given, more, blamed) in [
        (&gateway[..1], None, "DERMAGA_GATEWAY_NAME"),
        (&gateway[..2], None, "DERMAGA_GATEWAY_NAMESPACE"),
        (
            &gateway[..],
            Some(("DERMAGA_ENTRY_BODY_MIB", "8")),
            "DERMAGA_ENTRY_BODY_MIB",
        ),
        (
            &gateway[..],
            Some(("DERMAGA_INGRESS_ISSUER", "a")),
            "DERMAGA_INGRESS_ISSUER",
        ),
        (
            &gateway[..],
            Some(("DERMAGA_INGRESS_TLS_SECRET", "a")),
            "DERMAGA_INGRESS_TLS_SECRET",
        ),
        (
            &[("DERMAGA_INGRESS_ISSUER", "a")],
            Some(("DERMAGA_INGRESS_TLS_SECRET", "a")),
            "DERMAGA_INGRESS_TLS_SECRET",
        ),
        (
            &traefik[..],
            Some(("DERMAGA_ENTRY_TIMEOUT", "8s")),
            "DERMAGA_ENTRY_TIMEOUT",
        ),
        (
            &traefik[..],
            Some(("DERMAGA_ENTRY_BODY_MIB", "8")),
            "DERMAGA_ENTRY_BODY_MIB",
        ),
    ] {
        let environment: BTreeMap<_, _> = given
            .iter()
            .copied()
            .chain(more)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let sources = Sources {
            environment,
            ..Sources::default()
        };
        let refused = config::load(sources).unwrap_err().to_string();
        assert!(refused.contains(blamed), "{blamed}: {refused}");
    }
}
