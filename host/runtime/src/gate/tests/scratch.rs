//! Scratch space on the node's disk: every container has a limit, and no pod more than its share.

use super::*;

const VOLUME: &str = "/spec/template/spec/volumes/1/emptyDir";
const LIMIT: &str = "/spec/template/spec/containers/0/resources/limits/ephemeral-storage";

/// Returns the limits and requests of the Deployment's containers after the host has forced its
/// own.
fn forced(objects: &[Value]) -> Vec<(String, String)> {
    let admitted = admit(objects, &policy()).unwrap().objects;
    let pod = admitted[DEPLOYMENT].pointer(POD).unwrap();
    let lists = ["containers", "initContainers"].map(|list| pod[list].as_array());
    let amount = |container: &Value, side: &str| {
        let amount = &container["resources"][side]["ephemeral-storage"];
        amount.as_str().unwrap().to_owned()
    };
    lists
        .into_iter()
        .flatten()
        .flatten()
        .map(|container| (amount(container, "limits"), amount(container, "requests")))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(limit, request): &(&str, &str)| ((*limit).to_owned(), (*request).to_owned());
    expected.iter().map(owned).collect()
}

#[test]
fn every_container_has_a_limit() {
    assert_eq!(
        forced(&objects()),
        pairs(&[("1984Mi", "64Mi")]),
        "64Mi are a volume's"
    );
    let three = changed(
        DEPLOYMENT,
        &format!("{POD}/initContainers"),
        json!([container("one"), container("two")]),
    );
    assert_eq!(forced(&three), pairs(&[("661Mi", "64Mi"); 3]));
    for (volumes, limit) in [("896Mi", "1152Mi"), ("1Gi", "1280Mi"), ("2Gi", "2304Mi")] {
        let large = changed(DEPLOYMENT, VOLUME, json!({"sizeLimit": volumes}));
        assert_eq!(
            forced(&large),
            pairs(&[(limit, "64Mi")]),
            "{volumes} and room for logs"
        );
    }
    let memory = json!({"sizeLimit": "1Gi", "medium": "Memory"});
    assert_eq!(
        forced(&changed(DEPLOYMENT, VOLUME, memory)),
        pairs(&[("2048Mi", "64Mi")])
    );
    for at in [STATEFUL, CRON] {
        let admitted = admit(&objects(), &policy()).unwrap().objects;
        let text = admitted[at].to_string();
        assert!(text.contains(r#""ephemeral-storage":"1984Mi""#), "{text}");
    }
}

#[test]
fn what_a_container_states_is_kept_and_the_others_get_the_rest() {
    let mut objects = objects();
    let mut other = container("other");
    for side in ["requests", "limits"] {
        other["resources"][side] = json!({"cpu": "1m", "memory": "1Mi"});
    }
    set(
        &mut objects[DEPLOYMENT],
        &format!("{POD}/containers/-"),
        other,
    );
    set(&mut objects[DEPLOYMENT], LIMIT, json!("1Gi"));
    assert_eq!(
        forced(&objects),
        pairs(&[("1Gi", "64Mi"), ("960Mi", "64Mi")])
    );
    let request = LIMIT.replace("limits", "requests");
    set(&mut objects[DEPLOYMENT], &request, json!("1Gi"));
    set(&mut objects[DEPLOYMENT], LIMIT, Value::Null);
    assert_eq!(
        forced(&objects),
        pairs(&[("1024Mi", "1Gi"), ("960Mi", "64Mi")]),
        "a request without a limit is both"
    );
    set(&mut objects[DEPLOYMENT], LIMIT, json!("32Mi"));
    assert_eq!(rules(&objects), BTreeSet::from([Rule::RequestOverLimit]));
    set(&mut objects[DEPLOYMENT], &request, Value::Null);
    assert_eq!(forced(&objects)[0], ("32Mi".to_owned(), "32Mi".to_owned()));
}

#[test]
fn limits_and_volumes_are_added_up() {
    allowed(DEPLOYMENT, LIMIT, json!("1984Mi"));
    for beyond in ["1985Mi", "2Gi", "0", "some", "-1", "9999999Pi"] {
        breaks(Rule::EphemeralStorage, DEPLOYMENT, LIMIT, json!(beyond));
    }
    let request = LIMIT.replace("limits", "requests");
    breaks(Rule::EphemeralStorage, DEPLOYMENT, &request, json!("2Gi"));
    let mut init = container("init");
    init["resources"]["limits"]["ephemeral-storage"] = json!("1Gi");
    let mut objects = changed(DEPLOYMENT, &format!("{POD}/initContainers"), json!([init]));
    assert_eq!(rules(&objects), BTreeSet::new());
    set(&mut objects[DEPLOYMENT], LIMIT, json!("1Gi"));
    assert_eq!(
        rules(&objects),
        BTreeSet::from([Rule::EphemeralStorage]),
        "2Gi and a volume"
    );
}
