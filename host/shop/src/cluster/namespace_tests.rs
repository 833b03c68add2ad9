//! Tests of the policies in a customer's namespace, without a cluster.

use dermaga_runtime::contract::Resources;
use serde_json::json;

use super::namespace::{NAME, POLICIES, PodSecurity, Tenant, is_wall};
use crate::{
    db::{Clock, new_id},
    ids::UserId,
};

pub(super) fn tenant() -> Tenant {
    let user_id: UserId = new_id(&Clock::system());
    let none = Resources {
        cpu_millis: 0,
        memory_mib: 0,
        storage_gib: 0,
        replicas: 0,
    };
    Tenant {
        namespace: "user-a".to_owned(),
        user_id,
        instances: Vec::new(),
        budget: none,
        surge: none,
        pod_security: PodSecurity::Restricted,
        ingress_namespace: "pintu-masuk".to_owned(),
    }
}

#[test]
fn a_service_may_ask_its_own_public_address() {
    let manifests = tenant().manifests();
    let name = json!("dermaga-allow-ingress");
    let policy = manifests
        .iter()
        .find(|object| object["metadata"]["name"] == name);
    let spec = &policy.unwrap()["spec"];
    let controller = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "pintu-masuk"}}}]);
    assert_eq!(spec["ingress"], json!([{"from": controller}]));
    assert_eq!(spec["egress"], json!([{"to": controller}]));
    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
}

#[test]
fn walls_are_known_by_their_exact_names() {
    let manifests = tenant().manifests();
    let parts = manifests.iter().map(|object| {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        (text(&object["kind"]), text(&object["metadata"]["name"]))
    });
    let parts: Vec<_> = parts.collect();
    for (kind, name) in parts.iter().filter(|(kind, _)| kind != "Namespace") {
        assert!(is_wall(kind, name), "{kind}/{name}");
    }
    let policies = parts.iter().filter(|(kind, _)| kind == "NetworkPolicy");
    assert_eq!(policies.count(), POLICIES.len());
    assert!(is_wall("RoleBinding", NAME));
    for (kind, name) in [
        ("NetworkPolicy", "dermaga-open"),
        ("NetworkPolicy", "dermaga-"),
        ("NetworkPolicy", "dermaga"),
        ("NetworkPolicy", "default-deny"),
        ("ResourceQuota", "dermaga-default-deny"),
        ("ConfigMap", "dermaga"),
    ] {
        assert!(!is_wall(kind, name), "{kind}/{name}");
    }
}
