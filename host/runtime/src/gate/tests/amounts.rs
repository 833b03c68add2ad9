//! Amounts: stated by every container, within the plan.

use super::*;

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
