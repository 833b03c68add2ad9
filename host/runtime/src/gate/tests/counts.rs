//! Counts that the cluster pays for, and budgets that keep nodes from being emptied.

use super::*;

#[test]
fn what_a_workload_leaves_behind_is_bounded() {
    let job = "/spec/jobTemplate/spec";
    for (at, pointer, most) in [
        (DEPLOYMENT, "/spec/revisionHistoryLimit".to_owned(), 10_u64),
        (STATEFUL, "/spec/revisionHistoryLimit".to_owned(), 10),
        (CRON, "/spec/successfulJobsHistoryLimit".to_owned(), 10),
        (CRON, "/spec/failedJobsHistoryLimit".to_owned(), 10),
        (CRON, format!("{job}/completions"), 20),
        (CRON, format!("{job}/backoffLimit"), 10),
    ] {
        allowed(at, &pointer, json!(0));
        allowed(at, &pointer, json!(most));
        for beyond in [json!(most + 1), json!(2_147_483_647), json!(-1), json!("1")] {
            breaks(Rule::ValueNotAllowed, at, &pointer, beyond);
        }
    }
    let job = json!({"spec": {"template": template(), "completions": 21, "backoffLimit": 11}});
    let jobs = [
        object("batch/v1", "Job", "shop", job),
        objects()[CONFIG].clone(),
    ];
    let found = admit(&jobs, &policy()).unwrap_err();
    let of_counts = found.iter().filter(|it| it.rule == Rule::ValueNotAllowed);
    assert_eq!(of_counts.count(), 2, "{found:?}");
}

#[test]
fn every_count_fits_the_api() {
    for pointer in ["/spec/minReadySeconds", "/spec/progressDeadlineSeconds"] {
        allowed(DEPLOYMENT, pointer, json!(2_147_483_647));
        breaks(
            Rule::MalformedObject,
            DEPLOYMENT,
            pointer,
            json!(2_147_483_648_u64),
        );
    }
    let user = format!("{POD}/securityContext/runAsUser");
    breaks(Rule::MalformedObject, DEPLOYMENT, &user, json!(u64::MAX));
}

/// Returns the budget of the good set with this amount; one Deployment of 1 and one StatefulSet of
/// 2 pods have the labels that it selects, and a `CronJob` that does not always run.
fn budget(amounts: Value) -> BTreeSet<Rule> {
    let mut objects = objects();
    let mut spec = json!({"selector": {"matchLabels": {"app": "web"}}});
    spec.as_object_mut()
        .unwrap()
        .extend(amounts.as_object().unwrap().clone());
    objects[BUDGET]["spec"] = spec;
    rules(&objects)
}

#[test]
fn a_budget_lets_a_pod_go() {
    for moves in [
        json!({"maxUnavailable": 1}),
        json!({"maxUnavailable": "1%"}),
        json!({"minAvailable": 2}),
        json!({"minAvailable": 0}),
        json!({"minAvailable": "66%"}),
        json!({"minAvailable": 1, "maxUnavailable": null}),
    ] {
        assert_eq!(budget(moves.clone()), BTreeSet::new(), "{moves}");
    }
    for blocks in [
        json!({}),
        json!({"maxUnavailable": 0}),
        json!({"maxUnavailable": "0%"}),
        json!({"minAvailable": 3}),
        json!({"minAvailable": 4}),
        json!({"minAvailable": "100%"}),
        json!({"minAvailable": "67%"}),
        json!({"minAvailable": 1, "maxUnavailable": 1}),
        json!({"maxUnavailable": null}),
    ] {
        assert_eq!(
            budget(blocks.clone()),
            BTreeSet::from([Rule::DrainBlocked]),
            "{blocks}"
        );
    }
    for nonsense in ["x", "1", "-1%", "101%", "%", "1.5%", "00001%"] {
        let found = budget(json!({"minAvailable": nonsense}));
        assert_eq!(found, BTreeSet::from([Rule::MalformedObject]), "{nonsense}");
    }
}

#[test]
fn a_budget_is_measured_by_the_pods_it_selects() {
    let selecting = |selector: Value, least: u64| {
        let mut objects = objects();
        set(
            &mut objects[DEPLOYMENT],
            "/spec/template/metadata/labels/part",
            json!("front"),
        );
        objects[BUDGET]["spec"] = json!({"selector": selector, "minAvailable": least});
        rules(&objects)
    };
    let front = || json!({"matchLabels": {"part": "front"}});
    assert_eq!(selecting(front(), 1), BTreeSet::from([Rule::DrainBlocked]));
    assert_eq!(selecting(front(), 0), BTreeSet::new());
    assert_eq!(
        selecting(json!({}), 2),
        BTreeSet::new(),
        "all of the instance"
    );
    assert_eq!(
        selecting(json!({}), 3),
        BTreeSet::from([Rule::DrainBlocked])
    );
    let forced =
        json!({"matchLabels": {"app": "web", INSTANCE_LABEL: "shop", "dermaga.dev/user": "7f3a"}});
    assert_eq!(selecting(forced, 3), BTreeSet::from([Rule::DrainBlocked]));
}
