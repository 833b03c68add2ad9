//! Tests of the time that a change has, without a cluster and a database.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dermaga_runtime::contract::{Health, HealthState};
use serde_json::json;
use sqlx::types::Json;

use super::{
    NewInstance,
    finality::{Refusal, RefusedBy},
    model::{Instance, NewStatus, Status},
    status::StatusDecider,
};
use crate::{
    Code, Error,
    catalog::Sizes,
    cluster::ClusterError,
    db::{Clock, new_id},
};

const LIMIT: Duration = Duration::from_secs(600);

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

/// An instance that was delivered, with a change that is not proven.
fn changing() -> Instance {
    let clock = Clock::movable();
    let new = NewInstance {
        subscription_id: new_id(&clock),
        user_id: new_id(&clock),
        plan_id: new_id(&clock),
        service: "test".to_owned(),
        plugin_digest: "0".repeat(64),
        settings: dermaga_runtime::contract::Settings::new(),
        images: [].into(),
        sizes: Sizes {
            cpu_millis: 500,
            memory_mib: 512,
            storage_gib: 1,
            replicas: 1,
        },
        config: json!({}),
        secrets: Vec::new(),
        given: [].into(),
        base_domain: None,
    };
    Instance {
        delivered_at: Some(at(-80_000)),
        status: Status::Running,
        unproven_generation: Some(1),
        ..super::draft(&clock, new)
    }
}

/// Plays a pass with this finding, and returns true when the change is given up.
fn pass(seen: &mut Instance, second: i64, find: impl Fn(&StatusDecider<'_>) -> NewStatus) -> bool {
    let now = at(second);
    let decider = StatusDecider {
        seen,
        now,
        resync: Duration::from_secs(300),
    };
    let new_status = decider.within(LIMIT, find(&decider));
    let time = new_status.rollout_time(seen, now);
    (seen.rollout_since, seen.rollout_held_since) = (time.since, time.held_since);
    seen.rollout_begun_at = time.begun_at;
    new_status.unproven.is_some()
}

fn starting(decider: &StatusDecider<'_>) -> NewStatus {
    let health = Health {
        state: HealthState::Starting,
        message: "It starts.".to_owned(),
    };
    decider.healthy(&health, &[], (&[], &[]))
}

fn away(decider: &StatusDecider<'_>) -> NewStatus {
    decider.provisioning_failed(&ClusterError::Unreachable("no route".to_owned()).into())
}

fn judged_by(code: &'static str) -> impl Fn(&StatusDecider<'_>) -> NewStatus {
    move |decider| {
        let error = Error::new(Code::PluginFailed, "The plugin failed.").with("code", code);
        decider.not_judged(&error)
    }
}

#[test]
fn an_outage_pauses_the_time_of_a_change_and_does_not_begin_it_again() {
    let mut seen = changing();
    assert!(!pass(&mut seen, 0, starting));
    for second in [300, 1_000, 7_000] {
        assert!(!pass(&mut seen, second, away), "{second}");
    }
    // Five minutes were used before the outage.
    assert!(!pass(&mut seen, 7_300, starting));
    assert_eq!(seen.rollout_since, Some(at(7_000)));
    assert_eq!(seen.rollout_begun_at, Some(at(0)));
    assert!(!pass(&mut seen, 7_599, starting));
    assert!(pass(&mut seen, 7_600, starting));
}

#[test]
fn short_outages_again_and_again_do_not_keep_a_failed_change() {
    let mut seen = changing();
    let is_given_up = (0..200).any(|turn| {
        let find = if turn % 10 == 9 { away } else { starting };
        pass(&mut seen, turn * 30, find)
    });
    assert!(is_given_up);
}

#[test]
fn a_version_that_cannot_judge_what_runs_is_given_up() {
    let mut seen = changing();
    let traps = judged_by("PLUGIN_TRAPPED");
    assert!(!pass(&mut seen, 0, &traps));
    assert!(!pass(&mut seen, 599, &traps));
    assert!(pass(&mut seen, 600, &traps));
    // A deadline depends on the machine.
    let mut seen = changing();
    let slow = judged_by("PLUGIN_DEADLINE_EXCEEDED");
    assert!(!pass(&mut seen, 0, &slow));
    assert!(!pass(&mut seen, 6_000, &slow));
}

#[test]
fn a_beginning_that_lies_ahead_is_of_a_clock_that_was_wrong() {
    let mut seen = changing();
    seen.rollout_since = Some(at(86_400));
    seen.rollout_begun_at = Some(at(86_400));
    assert!(!pass(&mut seen, 0, starting));
    assert_eq!(
        (seen.rollout_since, seen.rollout_begun_at),
        (Some(at(0)), Some(at(0)))
    );
    assert!(pass(&mut seen, 600, starting));
}

/// A change may mend what was refused before, and the first pass over it may find no place to ask the plugin.
#[test]
fn a_refusal_of_an_earlier_generation_gives_up_no_change() {
    let mut seen = changing();
    let busy = Error::new(Code::PluginBusy, "Too many decisions at once.");
    for (generation, is_final) in [(seen.generation - 1, false), (seen.generation, true)] {
        let by = || RefusedBy::Rendering("input".to_owned());
        let once = Refusal::again(None, generation, by(), at(0));
        seen.refusal = Some(Json(Refusal::again(Some(&once), generation, by(), at(1))));
        let decider = StatusDecider {
            seen: &seen,
            now: at(2),
            resync: Duration::from_secs(300),
        };
        let new_status = decider.host_failed(&busy);
        assert_eq!(new_status.is_final(at(2)), is_final, "{generation}");
    }
}
