//! Tests of harmful plugins: each is refused with its own code, and the server keeps serving.

use dermaga_runtime::{
    contract::{Decision, Effect, Grant},
    fixtures::{self, CouponFixture, Misdeed, ServiceFixture},
};
use dermaga_tests::{Client, Engine, Shop};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Checks that the server still makes decisions for customers.
async fn still_serves(shop: &Shop) {
    shop.client().get("/api/catalog/services").await.data(200);
    let admin = shop.admin().await;
    let evaluation = json!({
        "function": "evaluate",
        "input": { "parameters": { "amount": 7 }, "moment": 0, "place": "wallet" },
    });
    admin
        .post("/api/admin/plugins/coupon-credit-topup/dry-run", evaluation)
        .await
        .data(200);
}

async fn refused(admin: &Client, name: &str, component: Vec<u8>, code: &str) {
    let answer = admin.upload(component).await;
    answer.fails(400, "COMPONENT_REFUSED");
    assert_eq!(
        answer.detail("code"),
        Some(code),
        "{name}: {:#}",
        answer.body
    );
    // Words of the parser are for the log.
    let is_plain = !answer.text.contains("offset") && !answer.text.contains("magic");
    assert!(is_plain, "{name}: {}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_plugin_is_refused_at_the_door() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await;
    let many_bytes = |mib: usize| vec![0; mib * 1024 * 1024 + 1];
    for (name, component, code) in [
        ("nothing", Vec::new(), "COMPONENT_EMPTY"),
        ("text", b"<html></html>".to_vec(), "COMPONENT_IS_TEXT"),
        (
            "a gzip file",
            b"\x1f\x8b\x08\0".to_vec(),
            "COMPONENT_COMPRESSED",
        ),
        ("noise", vec![0xff; 64], "COMPONENT_MALFORMED"),
        (
            "half a component",
            fixtures::truncated(),
            "COMPONENT_MALFORMED",
        ),
        (
            "a compile bomb",
            fixtures::compile_bomb(10_000, 6_500),
            "COMPONENT_TOO_COMPLEX",
        ),
        ("above its class", many_bytes(4), "COMPONENT_ABOVE_CLASS"),
        ("too large", many_bytes(16), "COMPONENT_TOO_LARGE"),
        (
            "a core module",
            fixtures::core_module(),
            "COMPONENT_IS_CORE_MODULE",
        ),
        (
            "machine code",
            fixtures::precompiled(),
            "COMPONENT_PRECOMPILED",
        ),
        (
            "a clock",
            fixtures::forbidden_import(),
            "COMPONENT_FORBIDDEN_IMPORT",
        ),
        (
            "another world",
            fixtures::wrong_world(),
            "COMPONENT_WRONG_WORLD",
        ),
        (
            "another contract",
            fixtures::wrong_contract(),
            "COMPONENT_WRONG_CONTRACT",
        ),
    ] {
        refused(&admin, name, component, code).await;
    }
    let beyond = vec![0; 18 * 1024 * 1024];
    admin.upload(beyond).await.fails(413, "PAYLOAD_TOO_LARGE");
    still_serves(&shop).await;
    let plugins = admin.get("/api/admin/plugins").await.data(200);
    assert!(
        plugins
            .as_array()
            .unwrap()
            .iter()
            .all(|plugin| plugin["id"] != "coupon-fixture"),
        "nothing of them stays"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_misbehaves_does_not_conform() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await;
    for (misdeed, code) in MISDEEDS {
        let component = CouponFixture::misbehaving("evaluate", misdeed).component();
        let answer = admin.upload(component).await;
        answer.fails(400, "COMPONENT_REFUSED");
        assert!(
            answer.body.to_string().contains(code),
            "{misdeed:?}: {:#}",
            answer.body
        );
        let component = CouponFixture::misbehaving("describe", misdeed).component();
        let answer = admin.upload(component).await;
        answer.fails(400, "COMPONENT_REFUSED");
    }
    still_serves(&shop).await;
}

const MISDEEDS: [(Misdeed, &str); 5] = [
    (Misdeed::LoopForever, "PLUGIN_FUEL_EXHAUSTED"),
    (Misdeed::GrowMemory, "PLUGIN_MEMORY_EXCEEDED"),
    (Misdeed::Recurse, "PLUGIN_STACK_OVERFLOW"),
    (Misdeed::Trap, "PLUGIN_TRAPPED"),
    (Misdeed::WildPointer, "PLUGIN_MALFORMED_OUTPUT"),
];

/// A plugin that passes every check and turns bad later, put into the database by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeper_fails_the_request_and_nothing_else() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await;
    let customer = shop.customer("korban@example.com").await;
    admin
        .upload(CouponFixture::default().component())
        .await
        .data(201);
    let digest = admin
        .get("/api/admin/plugins/coupon-fixture")
        .await
        .data(200)["versions"][0]["digest"]
        .clone();
    admin
        .post(
            "/api/admin/plugins/coupon-fixture/activate",
            json!({ "digest": digest }),
        )
        .await
        .data(200);
    admin
        .post(
            "/api/admin/coupons",
            json!({ "code": "SLEEPER", "plugin": "coupon-fixture", "parameters": {} }),
        )
        .await
        .data(201);
    let huge = Decision::Grant(Grant {
        effect: Effect::Credit(5),
        reason: "x".repeat(40_000),
    });
    let misplaced = Decision::Grant(Grant {
        effect: Effect::Discount(5),
        reason: "A discount.".to_owned(),
    });
    let negative = Decision::Grant(Grant {
        effect: Effect::Credit(-5),
        reason: "A trick.".to_owned(),
    });
    let mut sleepers: Vec<(Vec<u8>, &str)> = MISDEEDS
        .iter()
        .map(|(misdeed, code)| {
            (
                CouponFixture::misbehaving("evaluate", *misdeed).component(),
                *code,
            )
        })
        .collect();
    for (decision, code) in [
        (huge, "PLUGIN_OUTPUT_TOO_LARGE"),
        (negative, "PLUGIN_MALFORMED_OUTPUT"),
        (misplaced, "EFFECT_OUT_OF_PLACE"),
    ] {
        sleepers.push((
            CouponFixture {
                decision,
                ..CouponFixture::default()
            }
            .component(),
            code,
        ));
    }
    for (component, code) in sleepers {
        shop.put_in_place("coupon-fixture", &component).await;
        shop.state().plugins.refresh().await.unwrap();
        let answer = customer
            .post(
                "/api/wallet/redeem-coupon",
                json!({ "couponCode": "SLEEPER" }),
            )
            .await;
        answer.fails(502, "PLUGIN_FAILED");
        assert_eq!(answer.detail("code"), Some(code), "{:#}", answer.body);
        assert!(answer.detail("plugin").is_some());
        still_serves(&shop).await;
    }
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["totalBalance"],
        0
    );
    let failed = admin
        .get("/api/admin/decisions?plugin=coupon-fixture&function=evaluate")
        .await
        .data(200);
    assert!(
        failed
            .as_array()
            .unwrap()
            .iter()
            .any(|decision| decision["failure"] == "PLUGIN_FUEL_EXHAUSTED")
    );
    shop.books_balance().await;
}

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
