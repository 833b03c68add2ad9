//! Lists whose entries have a key: none twice, none without.

use super::*;

#[test]
fn no_two_entries_have_the_same_key() {
    let claim = objects()[STATEFUL]["spec"]["volumeClaimTemplates"][0].clone();
    let mut second_claim = claim;
    second_claim["spec"]["resources"]["requests"]["storage"] = json!("0");
    let duplicates = [
        (
            DEPLOYMENT,
            format!("{CONTAINER}/env/-"),
            json!({"name": "MODE", "value": "y"}),
        ),
        (
            DEPLOYMENT,
            format!("{CONTAINER}/ports/-"),
            json!({"name": "other", "containerPort": 8080}),
        ),
        (
            DEPLOYMENT,
            format!("{CONTAINER}/ports/-"),
            json!({"containerPort": 8080, "protocol": "TCP"}),
        ),
        (
            DEPLOYMENT,
            format!("{CONTAINER}/ports/-"),
            json!({"name": "http", "containerPort": 8081}),
        ),
        (
            DEPLOYMENT,
            format!("{CONTAINER}/volumeMounts/-"),
            json!({"name": "tmp", "mountPath": "/data"}),
        ),
        (
            DEPLOYMENT,
            format!("{POD}/volumes/-"),
            json!({"name": "tmp", "emptyDir": {"sizeLimit": "1Mi"}}),
        ),
        (
            DEPLOYMENT,
            format!("{POD}/initContainers"),
            json!([container("web")]),
        ),
        (
            SERVICE,
            "/spec/ports/-".to_owned(),
            json!({"name": "other", "port": 80}),
        ),
        (
            SERVICE,
            "/spec/ports/-".to_owned(),
            json!({"name": "http", "port": 81}),
        ),
        (
            STATEFUL,
            "/spec/volumeClaimTemplates/-".to_owned(),
            second_claim,
        ),
    ];
    for (at, pointer, entry) in duplicates {
        breaks(Rule::DuplicateKey, at, &pointer, entry);
    }
    let mut two = objects();
    let mut second = container("web");
    for side in ["requests", "limits"] {
        second["resources"][side] = json!({"cpu": "1m", "memory": "1Mi"});
    }
    set(&mut two[DEPLOYMENT], &format!("{POD}/containers/-"), second);
    assert_eq!(rules(&two), BTreeSet::from([Rule::DuplicateKey]));
}

#[test]
fn entries_with_keys_of_their_own_are_allowed() {
    for (at, pointer, entry) in [
        (
            DEPLOYMENT,
            format!("{CONTAINER}/ports/-"),
            json!({"name": "dns", "containerPort": 8080, "protocol": "UDP"}),
        ),
        (
            DEPLOYMENT,
            format!("{CONTAINER}/volumeMounts/-"),
            json!({"name": "data", "mountPath": "/other", "subPath": "x"}),
        ),
        (
            SERVICE,
            "/spec/ports/-".to_owned(),
            json!({"name": "dns", "port": 80, "protocol": "UDP"}),
        ),
    ] {
        allowed(at, &pointer, entry);
    }
}

#[test]
fn no_entry_is_without_its_key() {
    for pointer in [
        format!("{CONTAINER}/name"),
        format!("{CONTAINER}/env/0/name"),
        format!("{CONTAINER}/ports/0/containerPort"),
        format!("{CONTAINER}/volumeMounts/0/mountPath"),
    ] {
        breaks(Rule::MalformedObject, DEPLOYMENT, &pointer, Value::Null);
    }
    breaks(
        Rule::MalformedObject,
        SERVICE,
        "/spec/ports/0/port",
        Value::Null,
    );
    let name = "/spec/volumeClaimTemplates/0/metadata/name";
    breaks(Rule::MalformedObject, STATEFUL, name, Value::Null);
}
