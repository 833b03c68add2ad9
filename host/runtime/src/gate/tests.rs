//! A set of objects that is admitted, and for each rule one change that breaks it and no other.

#![expect(
    clippy::needless_pass_by_value,
    reason = "literals read best as they are"
)]

mod counts;
mod labels;
mod lists;
mod reach;
mod scratch;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Exception, INSTANCE_LABEL, Policy, Rule, addresses, admit};
use crate::contract::Resources;

const IMAGE: &str = "docker.io/library/nginx:1.29.3";

fn policy() -> Policy {
    Policy {
        namespace: "user-7f3a".into(),
        instance: "shop".into(),
        labels: BTreeMap::from([
            ("dermaga.dev/user".to_owned(), "7f3a".to_owned()),
            (
                "app.kubernetes.io/managed-by".to_owned(),
                "dermaga".to_owned(),
            ),
        ]),
        budget: Resources {
            cpu_millis: 1000,
            memory_mib: 1024,
            storage_gib: 10,
            replicas: 4,
        },
        images: BTreeSet::from([IMAGE.to_owned(), "busybox".to_owned()]),
        hosts: BTreeSet::from(["shop.apps.example".to_owned()]),
        exceptions: BTreeSet::new(),
        storage_class: Some("fast".into()),
        ingress_class: Some("public".into()),
        secret_object: "shop-secrets".into(),
    }
}

fn container(name: &str) -> Value {
    let amounts = json!({"cpu": "200m", "memory": "128Mi"});
    json!({
        "name": name,
        "image": IMAGE,
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "shop-secrets", "key": "password"}}},
            {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "shop-config", "key": "mode"}}},
        ],
        "resources": {"requests": amounts, "limits": amounts},
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    })
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}, "annotations": {"checksum/config": "1"}},
        "spec": {
            "containers": [container("web")],
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}
            },
            "serviceAccountName": "shop",
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "shop-data"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            ],
        },
    })
}

fn object(api_version: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    object
        .as_object_mut()
        .unwrap()
        .extend(rest.as_object().unwrap().clone());
    object
}

// Positions of the objects in `objects()`.
const DEPLOYMENT: usize = 0;
const SERVICE: usize = 1;
const INGRESS: usize = 2;
const CONFIG: usize = 3;
const CLAIM: usize = 4;
const NETWORK: usize = 5;
const ACCOUNT: usize = 6;
const STATEFUL: usize = 7;
const CRON: usize = 8;
const BUDGET: usize = 9;

/// Returns one object of nearly every kind, together exactly the plan: 4 pods, 800 millicores, 512
/// MiB, 10 GiB.
fn objects() -> Vec<Value> {
    let selector = json!({"matchLabels": {"app": "web"}});
    let claim = json!({
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}
    });
    let backend = json!({"service": {"name": "shop", "port": {"name": "http"}}});
    let job = json!({"template": template()});
    vec![
        object(
            "apps/v1",
            "Deployment",
            "shop",
            json!({
                "spec": {"selector": selector, "template": template()}
            }),
        ),
        object(
            "v1",
            "Service",
            "shop",
            json!({
                "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}
            }),
        ),
        object(
            "networking.k8s.io/v1",
            "Ingress",
            "shop",
            json!({
                "spec": {
                    "rules": [{"host": "shop.apps.example", "http": {"paths": [
                        {"path": "/", "pathType": "Prefix", "backend": backend}
                    ]}}],
                    "tls": [{"hosts": ["shop.apps.example"], "secretName": "shop-tls"}],
                }
            }),
        ),
        object(
            "v1",
            "ConfigMap",
            "shop-config",
            json!({"data": {"mode": "x"}}),
        ),
        object(
            "v1",
            "PersistentVolumeClaim",
            "shop-data",
            json!({"spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "6Gi"}}
            }}),
        ),
        object(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "shop",
            json!({"spec": {
                "podSelector": {},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"podSelector": {}}]}],
                "egress": [{
                    "to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": addresses::closed_v4()}}],
                    "ports": [{"port": 443}],
                }],
            }}),
        ),
        object("v1", "ServiceAccount", "shop", json!({})),
        object(
            "apps/v1",
            "StatefulSet",
            "shop-db",
            json!({"spec": {
                "replicas": 2,
                "serviceName": "shop",
                "selector": selector,
                "template": template(),
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
            }}),
        ),
        object(
            "batch/v1",
            "CronJob",
            "shop-nightly",
            json!({"spec": {
                "schedule": "0 2 * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": job}
            }}),
        ),
        object(
            "policy/v1",
            "PodDisruptionBudget",
            "shop",
            json!({"spec": {
                "selector": selector, "maxUnavailable": 1
            }}),
        ),
    ]
}

const POD: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";

/// Sets (or with `null` removes) the value at a JSON pointer, and creates the maps on the way.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/");
    let mut place = object;
    for step in parent.split('/').skip(1) {
        place = match place {
            Value::Array(list) => &mut list[step.parse::<usize>().unwrap()],
            map => &mut map[step],
        };
    }
    match place {
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        map => map[key.as_str()] = value,
    }
}

fn changed(at: usize, pointer: &str, value: Value) -> Vec<Value> {
    let mut objects = objects();
    set(&mut objects[at], pointer, value);
    objects
}

fn rules(objects: &[Value]) -> BTreeSet<Rule> {
    let violations = admit(objects, &policy()).err().unwrap_or_default();
    violations
        .into_iter()
        .map(|violation| violation.rule)
        .collect()
}

/// Asserts that a change breaks this rule and no other.
#[track_caller]
fn breaks(rule: Rule, at: usize, pointer: &str, value: Value) {
    let found = rules(&changed(at, pointer, value.clone()));
    assert_eq!(found, BTreeSet::from([rule]), "{pointer} = {value}");
}

#[track_caller]
fn allowed(at: usize, pointer: &str, value: Value) {
    let found = admit(&changed(at, pointer, value), &policy())
        .err()
        .unwrap_or_default();
    assert_eq!(found, [], "{pointer}");
}

#[test]
fn a_good_set_is_admitted_and_added_up() {
    let admitted = admit(&objects(), &policy()).unwrap();
    let totals = Resources {
        cpu_millis: 800,
        memory_mib: 512,
        storage_gib: 10,
        replicas: 4,
    };
    assert_eq!(admitted.totals, totals);
    assert_eq!(admit(&[], &policy()).unwrap().objects, Vec::<Value>::new());
}

#[test]
fn the_host_writes_in_what_it_decides() {
    let mut objects = objects();
    set(
        &mut objects[SERVICE],
        "/spec/selector",
        json!({"app.kubernetes.io/managed-by": "me"}),
    );
    let admitted = admit(&objects, &policy()).unwrap().objects;
    let labels = json!({
        "dermaga.dev/instance": "shop",
        "dermaga.dev/user": "7f3a",
        "app.kubernetes.io/managed-by": "dermaga",
    });
    for object in &admitted {
        assert_eq!(object["metadata"]["namespace"], "user-7f3a");
        assert_eq!(object["metadata"]["labels"], labels);
    }
    for pointer in ["/spec/template", "/spec/jobTemplate/spec/template"] {
        let at = if pointer.contains("job") {
            CRON
        } else {
            DEPLOYMENT
        };
        let template = admitted[at].pointer(pointer).unwrap();
        assert_eq!(template["metadata"]["labels"][INSTANCE_LABEL], "shop");
        assert_eq!(template["metadata"]["labels"]["dermaga.dev/user"], "7f3a");
        assert_eq!(template["metadata"]["labels"]["app"], "web");
        assert_eq!(template["spec"]["automountServiceAccountToken"], false);
    }
    for (at, pointer) in [
        (DEPLOYMENT, "/spec/selector/matchLabels"),
        (STATEFUL, "/spec/selector/matchLabels"),
        (BUDGET, "/spec/selector/matchLabels"),
        (SERVICE, "/spec/selector"),
        (NETWORK, "/spec/podSelector/matchLabels"),
        (NETWORK, "/spec/ingress/0/from/0/podSelector/matchLabels"),
    ] {
        assert_eq!(
            admitted[at].pointer(pointer).unwrap()[INSTANCE_LABEL],
            "shop",
            "{pointer}"
        );
    }
    assert_eq!(
        admitted[SERVICE]["spec"]["selector"]["app.kubernetes.io/managed-by"],
        "dermaga"
    );
    assert_eq!(admitted[ACCOUNT]["automountServiceAccountToken"], false);
    assert_eq!(admitted[CLAIM]["spec"]["storageClassName"], "fast");
    let claim = &admitted[STATEFUL]["spec"]["volumeClaimTemplates"][0];
    assert_eq!(claim["spec"]["storageClassName"], "fast");
    assert_eq!(claim["metadata"]["labels"], json!({INSTANCE_LABEL: "shop"}));
    assert_eq!(admitted[INGRESS]["spec"]["ingressClassName"], "public");
}

#[test]
fn what_is_admitted_is_admitted_again_unchanged_but_for_the_classes() {
    let mut policy = policy();
    policy.storage_class = None;
    let once = admit(&objects(), &policy).unwrap();
    assert_eq!(admit(&once.objects, &policy).unwrap(), once);
}

#[test]
fn all_violations_are_reported_with_object_path_and_fix() {
    let mut objects = objects();
    set(
        &mut objects[DEPLOYMENT],
        "/spec/template/spec/hostNetwork",
        json!(true),
    );
    set(&mut objects[SERVICE], "/spec/type", json!("NodePort"));
    let violations = admit(&objects, &policy()).unwrap_err();
    let told: Vec<_> = violations.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "Deployment/shop /spec/template/spec/hostNetwork: pods may not share the node's network, \
             processes or users (GATE_HOST_NAMESPACE); remove the field",
            "Service/shop /spec/type: Services are reachable from inside the cluster only: it is \
             \"NodePort\" and may be [\"ClusterIP\"] (GATE_SERVICE_EXPOSED); use type ClusterIP; public \
             endpoints go through an Ingress",
        ]
    );
}

#[test]
fn kinds_and_fields() {
    breaks(Rule::KindNotAllowed, BUDGET, "/kind", json!("DaemonSet"));
    breaks(
        Rule::KindNotAllowed,
        BUDGET,
        "/kind",
        json!("ClusterRoleBinding"),
    );
    breaks(
        Rule::ApiVersionNotAllowed,
        BUDGET,
        "/apiVersion",
        json!("policy/v1beta1"),
    );
    breaks(
        Rule::MalformedObject,
        DEPLOYMENT,
        "/spec/replicas",
        json!("1"),
    );
    breaks(
        Rule::MalformedObject,
        DEPLOYMENT,
        "/spec/replicas",
        json!(-1),
    );
    breaks(Rule::MalformedObject, CONFIG, "/data", json!({"n": 1}));
    breaks(
        Rule::MalformedObject,
        CONFIG,
        "/metadata/labels",
        json!(["a"]),
    );
    breaks(Rule::FieldNotAllowed, CONFIG, "/status", json!({}));
    breaks(
        Rule::FieldNotAllowed,
        ACCOUNT,
        "/imagePullSecrets",
        json!([]),
    );
    breaks(
        Rule::FieldNotAllowed,
        CLAIM,
        "/spec/volumeName",
        json!("theirs"),
    );
    breaks(Rule::FieldNotAllowed, CLAIM, "/spec/dataSource", json!({}));
    for field in [
        "nodeName",
        "priorityClassName",
        "runtimeClassName",
        "tolerations",
        "ephemeralContainers",
    ] {
        breaks(
            Rule::FieldNotAllowed,
            DEPLOYMENT,
            &format!("{POD}/{field}"),
            json!("x"),
        );
    }
    breaks(
        Rule::ValueNotAllowed,
        CLAIM,
        "/spec/accessModes",
        json!(["ReadWriteMany"]),
    );
    breaks(
        Rule::ObjectTooLarge,
        CONFIG,
        "/data/big",
        json!("x".repeat(200_000)),
    );
    breaks(
        Rule::MalformedObject,
        DEPLOYMENT,
        &format!("{POD}/containers"),
        json!([]),
    );
    let grace = format!("{POD}/terminationGracePeriodSeconds");
    allowed(DEPLOYMENT, &grace, json!(600));
    breaks(Rule::ValueNotAllowed, DEPLOYMENT, &grace, json!(601));
}

#[test]
fn numbers_and_names_of_objects() {
    let mut twice = objects();
    twice.push(objects()[CONFIG].clone());
    assert_eq!(rules(&twice), BTreeSet::from([Rule::DuplicateObject]));

    let config = |number| object("v1", "ConfigMap", &format!("shop-{number}"), json!({}));
    let many: Vec<_> = (0..51).map(config).collect();
    assert_eq!(rules(&many), BTreeSet::from([Rule::TooManyObjects]));

    breaks(
        Rule::NameOutsideInstance,
        BUDGET,
        "/metadata/name",
        json!("shopping"),
    );
    breaks(
        Rule::NameOutsideInstance,
        BUDGET,
        "/metadata/name",
        json!("kube-dns"),
    );
    breaks(
        Rule::MalformedObject,
        BUDGET,
        "/metadata/name",
        json!("shop-A"),
    );
    breaks(Rule::MalformedObject, BUDGET, "/metadata/name", Value::Null);
    breaks(
        Rule::NamespaceForeign,
        BUDGET,
        "/metadata/namespace",
        json!("kube-system"),
    );
    allowed(BUDGET, "/metadata/namespace", json!("user-7f3a"));
}

#[test]
fn metadata() {
    let forbidden = [
        "ownerReferences",
        "finalizers",
        "generateName",
        "managedFields",
        "uid",
        "resourceVersion",
    ];
    for field in forbidden {
        breaks(
            Rule::MetadataForbidden,
            CONFIG,
            &format!("/metadata/{field}"),
            json!([]),
        );
    }
    breaks(Rule::FieldNotAllowed, CONFIG, "/metadata/other", json!(1));
    breaks(
        Rule::LabelReserved,
        CONFIG,
        "/metadata/labels",
        json!({"dermaga.dev/user": "other"}),
    );
    breaks(
        Rule::LabelReserved,
        DEPLOYMENT,
        "/spec/template/metadata/labels/dermaga.dev~1x",
        json!("y"),
    );
    allowed(
        CONFIG,
        "/metadata/labels",
        json!({"dermaga.dev/user": "7f3a", "tier": "a"}),
    );

    let annotate = |key: &str, value: &str| json!({key: value});
    let snippet = annotate("nginx.ingress.kubernetes.io/server-snippet", "return 200;");
    breaks(
        Rule::AnnotationNotAllowed,
        INGRESS,
        "/metadata/annotations",
        snippet,
    );
    let injected = annotate(
        "nginx.ingress.kubernetes.io/proxy-body-size",
        "8m; return 200",
    );
    breaks(
        Rule::AnnotationNotAllowed,
        INGRESS,
        "/metadata/annotations",
        injected,
    );
    let size = annotate("nginx.ingress.kubernetes.io/proxy-body-size", "8m");
    allowed(INGRESS, "/metadata/annotations", size.clone());
    breaks(
        Rule::AnnotationNotAllowed,
        SERVICE,
        "/metadata/annotations",
        size,
    );
    let networks = annotate("k8s.v1.cni.cncf.io/networks", "other");
    breaks(
        Rule::AnnotationNotAllowed,
        DEPLOYMENT,
        "/spec/template/metadata/annotations",
        networks,
    );
}

#[test]
fn secrets_and_references() {
    let secret = |name: &str, rest| object("v1", "Secret", name, rest);
    let with = |extra: Value| {
        let mut objects = objects();
        objects.push(extra);
        rules(&objects)
    };
    assert_eq!(
        with(secret("shop-own", json!({"stringData": {"a": "b"}}))),
        BTreeSet::new()
    );
    assert_eq!(
        with(secret("shop-secrets", json!({}))),
        BTreeSet::from([Rule::SecretReserved])
    );
    let token = json!({"type": "kubernetes.io/service-account-token"});
    assert_eq!(
        with(secret("shop-own", token)),
        BTreeSet::from([Rule::SecretType])
    );

    let other = json!("other-secrets");
    for (pointer, value) in [
        ("/env/0/valueFrom/secretKeyRef/name", other.clone()),
        ("/env/1/valueFrom/configMapKeyRef/name", other.clone()),
        (
            "/envFrom",
            json!([{"secretRef": {"name": "other-secrets"}}]),
        ),
        ("/envFrom", json!([{"configMapRef": {"name": "other"}}])),
    ] {
        breaks(
            Rule::ReferenceForeign,
            DEPLOYMENT,
            &format!("{CONTAINER}{pointer}"),
            value,
        );
    }
    for volume in [
        json!({"secret": {"secretName": "other-secrets"}}),
        json!({"configMap": {"name": "other"}}),
        json!({"persistentVolumeClaim": {"claimName": "other"}}),
        json!({"projected": {"sources": [{"secret": {"name": "other-secrets"}}]}}),
    ] {
        let mut volume = volume;
        volume["name"] = json!("v");
        breaks(
            Rule::ReferenceForeign,
            DEPLOYMENT,
            &format!("{POD}/volumes/-"),
            volume,
        );
    }
    breaks(
        Rule::ReferenceForeign,
        DEPLOYMENT,
        &format!("{POD}/serviceAccountName"),
        json!("admin"),
    );
    breaks(
        Rule::ReferenceForeign,
        STATEFUL,
        "/spec/serviceName",
        json!("other"),
    );
    breaks(
        Rule::ReferenceForeign,
        INGRESS,
        "/spec/tls/0/secretName",
        json!("other-tls"),
    );
    breaks(
        Rule::ReferenceForeign,
        INGRESS,
        "/spec/tls/0/secretName",
        json!("shop-secrets"),
    );
    // Init containers and Jobs are checked as well.
    let pointer =
        "/spec/jobTemplate/spec/template/spec/containers/0/env/0/valueFrom/secretKeyRef/name";
    breaks(Rule::ReferenceForeign, CRON, pointer, other);
}

#[test]
fn images() {
    let image = format!("{CONTAINER}/image");
    breaks(Rule::ImageUnpinned, DEPLOYMENT, &image, json!("busybox"));
    breaks(
        Rule::ImageNotListed,
        DEPLOYMENT,
        &image,
        json!("docker.io/miner/miner:1"),
    );
    breaks(Rule::MalformedObject, DEPLOYMENT, &image, Value::Null);
    let mut init = container("init");
    init["image"] = json!("docker.io/miner/miner:1");
    breaks(
        Rule::ImageNotListed,
        DEPLOYMENT,
        &format!("{POD}/initContainers"),
        json!([init]),
    );
}

#[test]
fn amounts_are_stated_and_within_the_plan() {
    let limits = format!("{CONTAINER}/resources/limits");
    let requests = format!("{CONTAINER}/resources/requests");
    breaks(
        Rule::ResourcesMissing,
        DEPLOYMENT,
        &format!("{CONTAINER}/resources"),
        Value::Null,
    );
    breaks(
        Rule::ResourcesMissing,
        DEPLOYMENT,
        &format!("{requests}/memory"),
        Value::Null,
    );
    breaks(Rule::ResourcesMissing, DEPLOYMENT, &limits, Value::Null);
    breaks(
        Rule::ResourcesMissing,
        CLAIM,
        "/spec/resources",
        Value::Null,
    );
    breaks(
        Rule::QuantityMalformed,
        DEPLOYMENT,
        &format!("{limits}/cpu"),
        json!("many"),
    );
    breaks(
        Rule::QuantityMalformed,
        DEPLOYMENT,
        &format!("{limits}/memory"),
        json!("-1Gi"),
    );
    breaks(
        Rule::QuantityMalformed,
        CLAIM,
        "/spec/resources/requests/storage",
        json!("6 Gi"),
    );
    breaks(
        Rule::RequestOverLimit,
        DEPLOYMENT,
        &format!("{requests}/cpu"),
        json!("201m"),
    );
    breaks(
        Rule::FieldNotAllowed,
        DEPLOYMENT,
        &format!("{limits}/nvidia.com~1gpu"),
        json!(1),
    );

    allowed(DEPLOYMENT, &format!("{limits}/cpu"), json!("0.4"));
    breaks(
        Rule::CpuOverBudget,
        DEPLOYMENT,
        &format!("{limits}/cpu"),
        json!("400001u"),
    );
    allowed(DEPLOYMENT, &format!("{limits}/memory"), json!("640Mi"));
    breaks(
        Rule::MemoryOverBudget,
        DEPLOYMENT,
        &format!("{limits}/memory"),
        json!("671088641"),
    );
    breaks(
        Rule::MemoryOverBudget,
        DEPLOYMENT,
        &format!("{limits}/memory"),
        json!("900Pi"),
    );
    breaks(
        Rule::StorageOverBudget,
        CLAIM,
        "/spec/resources/requests/storage",
        json!("6145Mi"),
    );
    let claim = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
    breaks(Rule::StorageOverBudget, STATEFUL, claim, json!("2049Mi"));
    breaks(
        Rule::ReplicasOverBudget,
        DEPLOYMENT,
        "/spec/replicas",
        json!(2),
    );
    breaks(
        Rule::ReplicasOverBudget,
        CRON,
        "/spec/jobTemplate/spec/parallelism",
        json!(2),
    );
    breaks(
        Rule::ConcurrencyUnbounded,
        CRON,
        "/spec/concurrencyPolicy",
        json!("Allow"),
    );
    breaks(
        Rule::ConcurrencyUnbounded,
        CRON,
        "/spec/concurrencyPolicy",
        Value::Null,
    );
}

#[test]
fn init_containers_count_when_they_ask_for_more_and_sidecars_always() {
    let with_init = |cpu: &str, sidecar: bool| {
        let mut init = container("init");
        init["resources"]["limits"]["cpu"] = json!(cpu);
        init["resources"]["requests"]["cpu"] = json!("1m");
        if sidecar {
            init["restartPolicy"] = json!("Always");
        }
        let objects = changed(DEPLOYMENT, &format!("{POD}/initContainers"), json!([init]));
        admit(&objects, &policy()).map(|admitted| admitted.totals.cpu_millis)
    };
    assert_eq!(
        with_init("100m", false),
        Ok(800),
        "runs before the others, in their room"
    );
    assert_eq!(with_init("300m", false), Ok(900));
    assert_eq!(with_init("100m", true), Ok(900), "runs beside the others");
}

#[test]
fn scratch_space_is_bounded() {
    let volume = format!("{POD}/volumes/1/emptyDir");
    for unbounded in [
        json!({}),
        json!({"sizeLimit": "0"}),
        json!({"sizeLimit": "much"}),
        json!({"sizeLimit": "3Gi"}),
    ] {
        breaks(Rule::EphemeralStorage, DEPLOYMENT, &volume, unbounded);
    }
    allowed(DEPLOYMENT, &volume, json!({"sizeLimit": "2Gi"}));
    allowed(
        DEPLOYMENT,
        &volume,
        json!({"sizeLimit": "8Gi", "medium": "Memory"}),
    );
    breaks(
        Rule::EphemeralStorage,
        DEPLOYMENT,
        &format!("{POD}/volumes/-"),
        json!({
            "name": "more", "emptyDir": {"sizeLimit": "2Gi"}
        }),
    );
    let limit = format!("{CONTAINER}/resources/limits/ephemeral-storage");
    allowed(DEPLOYMENT, &limit, json!("1Gi"));
    breaks(Rule::EphemeralStorage, DEPLOYMENT, &limit, json!("3Gi"));
}

#[test]
fn pods_stay_apart_from_their_node() {
    for field in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
        breaks(
            Rule::HostNamespace,
            DEPLOYMENT,
            &format!("{POD}/{field}"),
            json!(true),
        );
        allowed(DEPLOYMENT, &format!("{POD}/{field}"), json!(false));
    }
    breaks(
        Rule::HostPort,
        DEPLOYMENT,
        &format!("{CONTAINER}/ports/0/hostPort"),
        json!(80),
    );
    breaks(
        Rule::HostPort,
        DEPLOYMENT,
        &format!("{CONTAINER}/ports/0/hostIP"),
        json!("0.0.0.0"),
    );
    let probe = format!("{CONTAINER}/readinessProbe/httpGet/host");
    breaks(
        Rule::HostProbe,
        DEPLOYMENT,
        &probe,
        json!("169.254.169.254"),
    );
    for volume in [
        json!({"hostPath": {"path": "/"}}),
        json!({"nfs": {"server": "x", "path": "/"}}),
        json!({"csi": {"driver": "x"}}),
        json!({"ephemeral": {}}),
        json!({"image": {"reference": "x"}}),
    ] {
        let mut volume = volume;
        volume["name"] = json!("v");
        breaks(
            Rule::VolumeType,
            DEPLOYMENT,
            &format!("{POD}/volumes/-"),
            volume,
        );
    }
    let volumes = format!("{POD}/volumes/-");
    breaks(
        Rule::MalformedObject,
        DEPLOYMENT,
        &volumes,
        json!({"name": "v"}),
    );
    let token =
        json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}});
    breaks(Rule::ServiceAccountToken, DEPLOYMENT, &volumes, token);
    let automount = format!("{POD}/automountServiceAccountToken");
    breaks(
        Rule::ServiceAccountToken,
        DEPLOYMENT,
        &automount,
        json!(true),
    );
    breaks(
        Rule::ServiceAccountToken,
        ACCOUNT,
        "/automountServiceAccountToken",
        json!(true),
    );
}

#[test]
fn containers_have_no_privileges() {
    let own = |field: &str| format!("{CONTAINER}/securityContext/{field}");
    let pod = |field: &str| format!("{POD}/securityContext/{field}");
    breaks(
        Rule::Privileged,
        DEPLOYMENT,
        &own("privileged"),
        json!(true),
    );
    breaks(
        Rule::PrivilegeEscalation,
        DEPLOYMENT,
        &own("allowPrivilegeEscalation"),
        json!(true),
    );
    breaks(
        Rule::PrivilegeEscalation,
        DEPLOYMENT,
        &own("allowPrivilegeEscalation"),
        Value::Null,
    );
    breaks(
        Rule::CapabilitiesNotDropped,
        DEPLOYMENT,
        &own("capabilities"),
        Value::Null,
    );
    breaks(
        Rule::CapabilitiesNotDropped,
        DEPLOYMENT,
        &own("capabilities/drop"),
        json!(["NET_RAW"]),
    );
    breaks(
        Rule::CapabilityAdded,
        DEPLOYMENT,
        &own("capabilities/add"),
        json!(["SYS_ADMIN"]),
    );
    allowed(
        DEPLOYMENT,
        &own("capabilities/add"),
        json!(["NET_BIND_SERVICE"]),
    );
    breaks(
        Rule::ProcMount,
        DEPLOYMENT,
        &own("procMount"),
        json!("Unmasked"),
    );
    breaks(
        Rule::SeccompProfile,
        DEPLOYMENT,
        &pod("seccompProfile"),
        Value::Null,
    );
    breaks(
        Rule::SeccompProfile,
        DEPLOYMENT,
        &pod("seccompProfile/type"),
        json!("Unconfined"),
    );
    breaks(
        Rule::SeccompProfile,
        DEPLOYMENT,
        &own("seccompProfile"),
        json!({"type": "Unconfined"}),
    );
    breaks(
        Rule::Sysctl,
        DEPLOYMENT,
        &pod("sysctls"),
        json!([{"name": "kernel.msgmax", "value": "1"}]),
    );
    breaks(
        Rule::FieldNotAllowed,
        DEPLOYMENT,
        &pod("seLinuxOptions"),
        json!({}),
    );
    breaks(
        Rule::FieldNotAllowed,
        DEPLOYMENT,
        &own("appArmorProfile"),
        json!({}),
    );

    breaks(
        Rule::RunAsRoot,
        DEPLOYMENT,
        &pod("runAsNonRoot"),
        Value::Null,
    );
    breaks(
        Rule::RunAsRoot,
        DEPLOYMENT,
        &own("runAsNonRoot"),
        json!(false),
    );
    breaks(Rule::RunAsRoot, DEPLOYMENT, &pod("runAsUser"), json!(0));
    breaks(Rule::RunAsRoot, DEPLOYMENT, &own("runAsUser"), json!(0));
}

#[test]
fn an_exception_relaxes_its_rule_only() {
    let mut policy = policy();
    policy.exceptions.insert(Exception::RunAsRoot);
    let root = changed(
        DEPLOYMENT,
        &format!("{POD}/securityContext/runAsNonRoot"),
        json!(false),
    );
    assert!(admit(&root, &policy).is_ok());
    let privileged = changed(
        DEPLOYMENT,
        &format!("{CONTAINER}/securityContext/privileged"),
        json!(true),
    );
    assert!(admit(&privileged, &policy).is_err());
}

#[test]
fn services_and_ingresses() {
    for kind in ["NodePort", "LoadBalancer", "ExternalName"] {
        breaks(Rule::ServiceExposed, SERVICE, "/spec/type", json!(kind));
    }
    breaks(
        Rule::ServiceExposed,
        SERVICE,
        "/spec/externalIPs",
        json!(["10.0.0.1"]),
    );
    breaks(
        Rule::ServiceExposed,
        SERVICE,
        "/spec/clusterIP",
        json!("10.0.0.1"),
    );
    breaks(
        Rule::ServiceExposed,
        SERVICE,
        "/spec/ports/0/nodePort",
        json!(30_000),
    );
    allowed(SERVICE, "/spec/clusterIP", json!("None"));

    let host = "/spec/rules/0/host";
    breaks(Rule::IngressHost, INGRESS, host, json!("bank.example"));
    breaks(Rule::IngressHost, INGRESS, host, json!("*.apps.example"));
    breaks(Rule::IngressHost, INGRESS, host, Value::Null);
    breaks(
        Rule::IngressHost,
        INGRESS,
        "/spec/tls/0/hosts/0",
        json!("bank.example"),
    );
    let path = "/spec/rules/0/http/paths/0/backend";
    breaks(
        Rule::IngressBackend,
        INGRESS,
        &format!("{path}/service/name"),
        json!("other"),
    );
    breaks(
        Rule::IngressDefaultBackend,
        INGRESS,
        "/spec/defaultBackend",
        json!({}),
    );
    breaks(
        Rule::IngressClass,
        INGRESS,
        "/spec/ingressClassName",
        json!("internal"),
    );
    allowed(INGRESS, "/spec/ingressClassName", json!("public"));
}

#[test]
fn selectors_select_own_pods() {
    breaks(
        Rule::SelectorForeign,
        DEPLOYMENT,
        "/spec/selector",
        Value::Null,
    );
    breaks(
        Rule::SelectorForeign,
        DEPLOYMENT,
        "/spec/selector/matchLabels",
        json!({"app": "other"}),
    );
    breaks(
        Rule::SelectorForeign,
        DEPLOYMENT,
        "/spec/selector/matchExpressions",
        json!([]),
    );
    breaks(Rule::SelectorForeign, SERVICE, "/spec/selector", json!({}));
    breaks(
        Rule::LabelReserved,
        SERVICE,
        "/spec/selector",
        json!({"dermaga.dev/instance": "other"}),
    );
    let mut objects = objects();
    objects[NETWORK]["spec"]["podSelector"] =
        json!({"matchLabels": {"dermaga.dev/instance": "other"}});
    assert_eq!(rules(&objects), BTreeSet::from([Rule::LabelReserved]));
}

#[test]
fn nonsense_is_refused_and_never_admitted() {
    for nonsense in [
        json!(null),
        json!(1),
        json!([]),
        json!({}),
        json!({"kind": "Pod"}),
        json!({"kind": 1}),
    ] {
        assert_eq!(rules(&[nonsense]), BTreeSet::from([Rule::KindNotAllowed]));
    }
    for kind in ["Deployment", "StatefulSet"] {
        let bare = object("apps/v1", kind, "shop", json!({}));
        assert_eq!(
            rules(&[bare]),
            BTreeSet::from([Rule::MalformedObject]),
            "{kind}"
        );
        let wrong = object(
            "apps/v1",
            kind,
            "shop",
            json!({"spec": {"template": {"spec": []}}}),
        );
        assert!(rules(&[wrong]).contains(&Rule::MalformedObject), "{kind}");
    }
}

#[test]
fn every_rule_has_its_own_code_and_a_fix() {
    let codes: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.code()).collect();
    assert_eq!(codes.len(), Rule::ALL.len());
    for rule in Rule::ALL {
        assert!(
            rule.code().starts_with("GATE_") && !rule.fix().is_empty(),
            "{rule}"
        );
    }
}
