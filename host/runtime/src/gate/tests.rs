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
mod amounts;
mod objects;
mod pods;

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
