//! Tests of the policies in a customer's namespace, without a cluster.

use dermaga_runtime::contract::Resources;
use serde_json::json;

use super::namespace::{PodSecurity, Tenant};
use crate::{
    db::{Clock, new_id},
    ids::UserId,
};

#[test]
fn a_service_may_ask_its_own_public_address() {
    let user_id: UserId = new_id(&Clock::system());
    let none = Resources {
        cpu_millis: 0,
        memory_mib: 0,
        storage_gib: 0,
        replicas: 0,
    };
    let tenant = Tenant {
        namespace: "user-a".to_owned(),
        user_id,
        instances: Vec::new(),
        budget: none,
        surge: none,
        pod_security: PodSecurity::Restricted,
        ingress_namespace: "pintu-masuk".to_owned(),
    };
    let manifests = tenant.manifests();
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
