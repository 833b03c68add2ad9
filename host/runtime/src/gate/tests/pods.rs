//! Pods: apart from their node and without privileges.

use super::*;

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
