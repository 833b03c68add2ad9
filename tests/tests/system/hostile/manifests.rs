//! Tests of harmful manifests: a service that renders one does not conform.

use dermaga_runtime::fixtures::ServiceFixture;
use dermaga_tests::{Engine, Shop};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A service with manifests that break a rule of the gate does not conform, and the refusal names
/// the rule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_that_break_a_rule_do_not_conform() {
    let templates = TempDir::new().unwrap();
    std::fs::write(templates.path().join("fixture.toml"), TEMPLATE).unwrap();
    let folder = templates.path().to_owned();
    let shop = Shop::open_with(Engine::Sqlite, |config| config.templates_dir = Some(folder))
        .await
        .unwrap();
    let admin = shop.admin().await;
    let good = vec![deployment(), service(), claim()];
    admin
        .upload(ServiceFixture::rendering(good.clone()).component())
        .await
        .data(201);
    for (rule, at, pointer, value) in BREACHES {
        let mut manifests = good.clone();
        let value: Value = serde_json::from_str(value).unwrap();
        set(&mut manifests[at], pointer, value);
        let answer = admin
            .upload(ServiceFixture::rendering(manifests).component())
            .await;
        assert_eq!(answer.status, 400, "{rule} by {pointer} was accepted");
        assert!(
            answer.body.to_string().contains(rule),
            "{rule} by {pointer}: {:#}",
            answer.body
        );
    }
    let mut without_limits = good.clone();
    without_limits[0]
        .pointer_mut("/spec/template/spec/containers/0")
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove("resources");
    let answer = admin
        .upload(ServiceFixture::rendering(without_limits).component())
        .await;
    assert!(
        answer.body.to_string().contains("GATE_RESOURCES_MISSING"),
        "{:#}",
        answer.body
    );
    shop.client().get("/api/catalog/services").await.data(200);
}

/// Sets a value, creating the objects on its path.
fn set(manifest: &mut Value, pointer: &str, value: Value) {
    let mut place = manifest;
    for key in pointer.trim_start_matches('/').split('/') {
        place = match key.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[key],
        };
    }
    *place = value;
}

/// Breaches: rule, index of one of three objects, pointer, and value as JSON.
const BREACHES: [(&str, usize, &str, &str); 31] = [
    ("GATE_KIND_NOT_ALLOWED", 0, "/kind", r#""DaemonSet""#),
    ("GATE_KIND_NOT_ALLOWED", 1, "/kind", r#""ClusterRole""#),
    (
        "GATE_API_VERSION_NOT_ALLOWED",
        0,
        "/apiVersion",
        r#""apps/v1beta1""#,
    ),
    (
        "GATE_NAMESPACE_FOREIGN",
        0,
        "/metadata/namespace",
        r#""kube-system""#,
    ),
    (
        "GATE_NAME_OUTSIDE_INSTANCE",
        0,
        "/metadata/name",
        r#""other""#,
    ),
    (
        "GATE_METADATA_FORBIDDEN",
        0,
        "/metadata/finalizers",
        r#"["a.b/c"]"#,
    ),
    (
        "GATE_LABEL_RESERVED",
        0,
        "/metadata/labels",
        r#"{"dermaga.dev/owner": "x"}"#,
    ),
    (
        "GATE_SELECTOR_FOREIGN",
        0,
        "/spec/selector",
        r#"{"matchLabels": {"app": "somebody-else"}}"#,
    ),
    (
        "GATE_IMAGE_UNPINNED",
        0,
        "/spec/template/spec/containers/0/image",
        r#""docker.io/library/nginx:latest""#,
    ),
    (
        "GATE_IMAGE_NOT_LISTED",
        0,
        "/spec/template/spec/containers/0/image",
        r#""docker.io/library/redis:8.0.1""#,
    ),
    (
        "GATE_CPU_OVER_BUDGET",
        0,
        "/spec/template/spec/containers/0/resources/limits/cpu",
        r#""501m""#,
    ),
    (
        "GATE_MEMORY_OVER_BUDGET",
        0,
        "/spec/template/spec/containers/0/resources/limits/memory",
        r#""513Mi""#,
    ),
    (
        "GATE_STORAGE_OVER_BUDGET",
        2,
        "/spec/resources/requests/storage",
        r#""1025Mi""#,
    ),
    ("GATE_REPLICAS_OVER_BUDGET", 0, "/spec/replicas", "2"),
    (
        "GATE_QUANTITY_MALFORMED",
        0,
        "/spec/template/spec/containers/0/resources/limits/cpu",
        r#""lots""#,
    ),
    (
        "GATE_HOST_NAMESPACE",
        0,
        "/spec/template/spec/hostNetwork",
        "true",
    ),
    (
        "GATE_HOST_NAMESPACE",
        0,
        "/spec/template/spec/hostPID",
        "true",
    ),
    (
        "GATE_HOST_PORT",
        0,
        "/spec/template/spec/containers/0/ports",
        r#"[{"containerPort": 80, "hostPort": 80}]"#,
    ),
    (
        "GATE_VOLUME_TYPE",
        0,
        "/spec/template/spec/volumes",
        r#"[{"name": "data", "hostPath": {"path": "/"}}]"#,
    ),
    (
        "GATE_EPHEMERAL_STORAGE",
        0,
        "/spec/template/spec/volumes",
        r#"[{"name": "data", "emptyDir": {}}]"#,
    ),
    (
        "GATE_SERVICE_ACCOUNT_TOKEN",
        0,
        "/spec/template/spec/automountServiceAccountToken",
        "true",
    ),
    (
        "GATE_PRIVILEGED",
        0,
        "/spec/template/spec/containers/0/securityContext/privileged",
        "true",
    ),
    (
        "GATE_PRIVILEGE_ESCALATION",
        0,
        "/spec/template/spec/containers/0/securityContext/allowPrivilegeEscalation",
        "true",
    ),
    (
        "GATE_CAPABILITIES_NOT_DROPPED",
        0,
        "/spec/template/spec/containers/0/securityContext/capabilities",
        "{}",
    ),
    (
        "GATE_CAPABILITY_ADDED",
        0,
        "/spec/template/spec/containers/0/securityContext/capabilities/add",
        r#"["SYS_ADMIN"]"#,
    ),
    (
        "GATE_RUN_AS_ROOT",
        0,
        "/spec/template/spec/securityContext/runAsNonRoot",
        "false",
    ),
    (
        "GATE_SECCOMP_PROFILE",
        0,
        "/spec/template/spec/securityContext/seccompProfile/type",
        r#""Unconfined""#,
    ),
    ("GATE_SERVICE_EXPOSED", 1, "/spec/type", r#""NodePort""#),
    ("GATE_SERVICE_EXPOSED", 1, "/spec/type", r#""LoadBalancer""#),
    (
        "GATE_SERVICE_EXPOSED",
        1,
        "/spec/externalIPs",
        r#"["10.0.0.1"]"#,
    ),
    (
        "GATE_REFERENCE_FOREIGN",
        0,
        "/spec/template/spec/volumes",
        r#"[{"name": "data", "persistentVolumeClaim": {"claimName": "sample-01-of-another"}}]"#,
    ),
];

pub(crate) const TEMPLATE: &str = r#"
slug = "fixture"
name = "Fixture"
summary = "For tests."
description = "For tests."
featured = false
plugin = "service-fixture"

[category]
slug = "tests"
name = "Tests"
description = "For tests."

[images]
app = "docker.io/library/nginx:1.29.3"

[[plans]]
slug = "basic"
name = "Basic"
tier = "BASIC"
monthly_price = 50_000
quota = 10
max_instances_per_user = 3
features = ["one"]

[plans.resources]
cpu_millis = 500
memory_mib = 512
storage_gib = 1
replicas = 1
"#;

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "sample-01" },
        "spec": {
            "replicas": 1,
            "strategy": { "type": "Recreate" },
            "selector": { "matchLabels": { "app": "sample-01" } },
            "template": {
                "metadata": { "labels": { "app": "sample-01" } },
                "spec": {
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 101, "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [{
                        "name": "app",
                        "image": "docker.io/library/nginx:1.29.3",
                        "resources": {
                            "requests": { "cpu": "100m", "memory": "128Mi" },
                            "limits": { "cpu": "500m", "memory": "512Mi" },
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
                        },
                        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                    }],
                    "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "sample-01" } }],
                },
            },
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "sample-01" },
        "spec": { "selector": { "app": "sample-01" }, "ports": [{ "name": "http", "port": 80 }] },
    })
}

fn claim() -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "sample-01" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    })
}
