//! Objects: their kinds, fields, names and references.

use super::*;

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
fn claims_are_kept_when_a_set_is_scaled() {
    let policy = "/spec/persistentVolumeClaimRetentionPolicy";
    let scaled = |when: &str| json!({"whenDeleted": "Delete", "whenScaled": when});
    allowed(STATEFUL, policy, scaled("Retain"));
    breaks(Rule::ValueNotAllowed, STATEFUL, policy, scaled("Delete"));
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
