//! Tests of healing over time, without a cluster and a database.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::contract::{Health, HealthState};
use serde_json::{Value, json};

use super::{
    Act, CheckSource, Finding, InstanceHealth, Plan, Span, limits::Attempt, plan::Situation,
};
use crate::{
    catalog::Sizes,
    db::new_id,
    ids::{HealthSpanId, UserId},
    provisioning::{
        self, NewInstance,
        model::{Instance, NewStatus, Status},
        status::StatusDecider,
    },
};

const PATIENCE: TimeDelta = TimeDelta::minutes(3);

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn workload(ready: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "a", "uid": "u", "generation": 1},
        "spec": {"replicas": 1}, "status": {"observedGeneration": 1, "readyReplicas": ready},
    })
}

fn pod(container: &Value) -> Value {
    json!({"kind": "Pod", "metadata": {"name": "a"}, "status": {
        "containerStatuses": [container], "conditions": [{"type": "Ready", "status": "False"}],
    }})
}

fn crashing() -> Vec<Value> {
    vec![
        workload(0),
        pod(&json!({
            "name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"reason": "Error", "exitCode": 1}},
        })),
    ]
}

fn hanging() -> Vec<Value> {
    let container = json!({"name": "app", "state": {"running": {}}, "started": true});
    vec![workload(0), pod(&container)]
}

fn without_image() -> Vec<Value> {
    let container = json!({"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff"}}});
    vec![workload(0), pod(&container)]
}

fn well() -> Vec<Value> {
    vec![workload(1)]
}

/// An instance whose passes are played one after another.
struct Story {
    instance: Instance,
    span: Option<Span>,
    attempts: Vec<Attempt>,
    given_up: usize,
    recovered: usize,
    last: NewStatus,
}

impl Story {
    fn new() -> Self {
        let clock = crate::db::Clock::movable();
        let user_id: UserId = new_id(&clock);
        let mut instance = provisioning::draft(
            &clock,
            NewInstance {
                subscription_id: new_id(&clock),
                user_id,
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
            },
        );
        instance.created_at = at(-86_400);
        instance.updated_at = at(-86_400);
        instance.delivered_at = Some(at(-80_000));
        instance.observed_generation = 1;
        instance.status = Status::Running;
        let last = decider(&instance, at(0)).unchanged();
        Self {
            instance,
            span: None,
            attempts: Vec::new(),
            given_up: 0,
            recovered: 0,
            last,
        }
    }

    /// Plays a pass over these objects.
    fn sees(&mut self, now: DateTime<Utc>, observed: &[Value]) -> Option<Act> {
        let is_ready = observed == well();
        let health = Health {
            state: if is_ready {
                HealthState::Ready
            } else {
                HealthState::Degraded
            },
            message: if is_ready {
                "It runs."
            } else {
                "It does not answer."
            }
            .to_owned(),
        };
        let new_status = decider(&self.instance, now).healthy(&health, observed, (&[], &[]));
        self.finds(now, new_status)
    }

    fn finds(&mut self, now: DateTime<Utc>, new_status: NewStatus) -> Option<Act> {
        let plan = Plan::of(Situation {
            seen: &self.instance,
            before: self.span.take(),
            attempts: &self.attempts,
            finding: Finding::of(&self.instance, &new_status),
            is_changing: self.instance.generation != self.instance.observed_generation,
            patience: PATIENCE,
            now,
        });
        self.last = plan.shape(new_status);
        self.instance.observed_generation = self.instance.generation;
        self.instance.status = self.last.status;
        self.given_up += usize::from(plan.gives_up);
        self.recovered += usize::from(plan.recovers());
        if let Some(act) = plan.act {
            self.attempts.push(Attempt { act, at: now });
            self.instance.generation += i64::from(act == Act::Restart);
        }
        let is_same = |span: &Span| span.state == plan.finding.state;
        let since = plan
            .before
            .as_ref()
            .filter(|span| is_same(span))
            .map_or(now, |span| span.since);
        self.span = Some(Span {
            id: HealthSpanId::MIN,
            state: plan.finding.state,
            reason: plan.finding.reason.clone(),
            detail: plan.finding.detail.clone(),
            source: CheckSource::Periodic,
            since,
            until: None,
            unwell_since: plan.course.unwell_since,
            ailing_since: plan.course.ailing_since,
            given_up_at: plan.course.given_up_at,
        });
        plan.act
    }

    fn state(&self) -> InstanceHealth {
        self.span.as_ref().unwrap().state
    }
}

fn decider(seen: &Instance, now: DateTime<Utc>) -> StatusDecider<'_> {
    StatusDecider {
        seen,
        now,
        resync: Duration::from_secs(300),
    }
}

#[test]
fn a_lasting_fault_is_restarted_thrice_made_again_once_and_given_up_once() {
    for fault in [crashing(), hanging()] {
        let mut story = Story::new();
        story.sees(at(0), &well());
        let acts: Vec<_> = (1..400)
            .filter_map(|turn| {
                let now = at(turn * 10);
                story.sees(now, &fault).map(|act| (turn * 10, act))
            })
            .collect();
        let kinds: Vec<_> = acts.iter().take(4).map(|(_, act)| *act).collect();
        assert_eq!(
            kinds,
            [Act::Restart, Act::Restart, Act::Restart, Act::Recreation]
        );
        assert!(acts[0].0 > 180 && acts[0].0 < 210, "{acts:?}");
        assert!(
            acts.iter()
                .zip(&acts[1..])
                .all(|(one, next)| next.0 - one.0 >= 180),
            "{acts:?}"
        );
        assert_eq!((acts.len(), story.given_up), (4, 1), "{acts:?}");
        assert_eq!(
            (story.state(), story.last.status),
            (InstanceHealth::Failed, Status::Failed)
        );
        assert!(
            story.last.message.contains("did not help"),
            "{}",
            story.last.message
        );

        // The cause is gone: it runs at once, and the fault is over after a while.
        assert_eq!(story.sees(at(4000), &well()), None);
        assert_eq!((story.last.status, story.recovered), (Status::Running, 0));
        assert!(
            story.last.after <= Duration::from_secs(60),
            "{:?}",
            story.last.after
        );
        story.sees(at(4061), &well());
        assert_eq!((story.given_up, story.recovered), (1, 1));
        assert_eq!(story.last.after, Duration::from_secs(300));
    }
}

/// It is tried again by itself, for a fault whose cause is gone and which only a restart mends.
#[test]
fn one_that_was_given_up_is_restarted_once_an_hour() {
    let mut story = Story::new();
    story.sees(at(0), &well());
    let mut acts = Vec::new();
    for turn in 1..(6 * 360) {
        let now = turn * 10;
        acts.extend(story.sees(at(now), &hanging()).map(|_| now));
    }
    let later = &acts[4..];
    assert_eq!(
        (later.len(), story.given_up, story.recovered),
        (5, 1, 0),
        "{acts:?}"
    );
    assert!(
        later
            .iter()
            .zip(&later[1..])
            .all(|(one, next)| next - one >= 3600),
        "{acts:?}"
    );
}

#[test]
fn a_pod_that_is_well_for_moments_between_crashes_is_one_fault() {
    let mut story = Story::new();
    story.sees(at(0), &well());
    for turn in 1..500 {
        let observed = if turn % 9 == 0 { well() } else { crashing() };
        story.sees(at(turn * 5), &observed);
    }
    assert_eq!(
        (story.attempts.len(), story.given_up, story.recovered),
        (4, 1, 0)
    );
}

#[test]
fn a_fault_that_mends_itself_in_time_is_left_alone() {
    let mut story = Story::new();
    for turn in 0..500 {
        // Two minutes of a fault, ten of health.
        let observed = if turn % 72 < 12 { hanging() } else { well() };
        assert_eq!(story.sees(at(turn * 10), &observed), None);
    }
    assert_eq!(story.given_up, 0);
}

#[test]
fn a_missing_image_an_outage_and_a_stop_are_never_healed() {
    let mut story = Story::new();
    story.sees(at(0), &well());
    for turn in 1..500 {
        assert_eq!(story.sees(at(turn * 10), &without_image()), None);
    }
    assert_eq!(story.state(), InstanceHealth::Failed);

    let mut story = Story::new();
    story.sees(at(0), &hanging());
    let away = || crate::cluster::ClusterError::Unreachable("no route".to_owned()).into();
    for turn in 1..500 {
        let now = at(turn * 10);
        let new_status = decider(&story.instance, now).provisioning_failed(&away());
        assert_eq!(story.finds(now, new_status), None);
    }
    assert_eq!(story.state(), InstanceHealth::Unknown);
    // Its patience begins when the cluster is back.
    assert_eq!(story.sees(at(5000), &hanging()), None);
    assert_eq!(story.sees(at(5170), &hanging()), None);
    assert_eq!(story.sees(at(5180), &hanging()), Some(Act::Restart));

    let mut story = Story::new();
    story.sees(at(0), &hanging());
    story.instance.desired = provisioning::Desired::Stopped;
    for turn in 1..500 {
        let now = at(turn * 10);
        let new_status = decider(&story.instance, now).stopped(turn < 100);
        assert_eq!(story.finds(now, new_status), None);
    }
    assert_eq!(story.state(), InstanceHealth::Stopped);
}

#[test]
fn a_first_start_is_given_ten_minutes() {
    let mut story = Story::new();
    story.instance.delivered_at = None;
    let first = (1..200).find(|turn| story.sees(at(turn * 10), &crashing()).is_some());
    assert_eq!(first, Some(61));
}

#[test]
fn another_controllers_hand_and_a_new_generation_begin_the_patience_again() {
    let mut story = Story::new();
    story.sees(at(0), &hanging());
    story.instance.generation += 1;
    assert_eq!(story.sees(at(170), &hanging()), None);
    assert_eq!(story.sees(at(340), &hanging()), None);
    assert_eq!(story.sees(at(350), &hanging()), Some(Act::Restart));
}
