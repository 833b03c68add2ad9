//! Labels that other software reads, and nulls.

use super::*;

#[test]
fn labels_of_other_systems_are_refused_wherever_an_object_has_them() {
    for key in [
        "k8s-app",
        "istio-injection",
        "aadpodidbinding",
        "sidecar.istio.io/inject",
        "istio.io/rev",
        "linkerd.io/inject",
        "azure.workload.identity/use",
        "admission.datadoghq.com/enabled",
        "pod-security.kubernetes.io/enforce",
        "app.kubernetes.io/other",
        "node-role.kubernetes.io/control-plane",
        "internal/word",
    ] {
        let label = key.replace('/', "~1");
        for (at, place) in [
            (CONFIG, "/metadata/labels"),
            (DEPLOYMENT, "/spec/template/metadata/labels"),
            (CRON, "/spec/jobTemplate/metadata/labels"),
            (STATEFUL, "/spec/volumeClaimTemplates/0/metadata/labels"),
        ] {
            breaks(
                Rule::LabelNotAllowed,
                at,
                &format!("{place}/{label}"),
                json!("true"),
            );
        }
    }
}

#[test]
fn labels_that_describe_an_application_are_allowed() {
    let labels = "/spec/template/metadata/labels";
    for key in [
        "component",
        "part",
        "tier",
        "version",
        "app.kubernetes.io~1name",
        "app.kubernetes.io~1component",
        "app.kubernetes.io~1part-of",
        "app.kubernetes.io~1managed-by",
    ] {
        allowed(DEPLOYMENT, &format!("{labels}/{key}"), json!("x"));
    }
}

#[test]
fn what_is_null_is_absent_in_what_is_admitted_too() {
    let mut objects = objects();
    for (at, pointer) in [
        (DEPLOYMENT, "/spec/template/spec/hostNetwork"),
        (
            DEPLOYMENT,
            "/spec/template/spec/automountServiceAccountToken",
        ),
        (
            DEPLOYMENT,
            "/spec/template/spec/containers/0/securityContext/privileged",
        ),
        (DEPLOYMENT, "/metadata/namespace"),
        (SERVICE, "/spec/type"),
        (SERVICE, "/spec/ports/0/nodePort"),
        (CLAIM, "/spec/storageClassName"),
        (CONFIG, "/data/nothing"),
    ] {
        set(&mut objects[at], pointer, Value::Null);
    }
    let admitted = admit(&objects, &policy()).unwrap();
    assert_eq!(admitted, admit(&super::objects(), &policy()).unwrap());
    let text = serde_json::to_string(&admitted.objects).unwrap();
    assert!(!text.contains("null"), "{text}");
}

#[test]
fn a_null_in_a_list_is_no_entry() {
    for (at, pointer) in [
        (DEPLOYMENT, format!("{POD}/containers/-")),
        (DEPLOYMENT, format!("{CONTAINER}/env/-")),
        (SERVICE, "/spec/ports/-".to_owned()),
    ] {
        let found = rules(&changed(at, &pointer, Value::Null));
        assert!(
            found.contains(&Rule::MalformedObject),
            "{pointer}: {found:?}"
        );
    }
}
