//! Quiet looks on a real database, beside a cluster that is pretended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dermaga_runtime::contract::{Health, HealthState};

use super::*;
use crate::{
    cluster::pretended::Pretended,
    db::Term,
    execute, fetch_one,
    provisioning::{
        contest::Contest,
        health,
        kubernetes::Kubernetes,
        model::{Desired, Instance, NewStatus, Status},
        provisioner::Provisioner,
        reconciler::LEASE,
        status::StatusDecider,
        store as instances,
        test_service::Scripted,
        test_shop::{GOOD_IMAGE, Shop},
    },
};

/// Time until the next look at an instance at rest: soon enough for a quiet one.
const SOON: TimeDelta = TimeDelta::seconds(25);

/// A shop with instances at rest, and the quiet looks of the server that left them so.
struct Rest {
    shop: Shop,
    pretended: Pretended,
    quiet: QuietLooks<Scripted>,
    status: watch::Sender<ProvisionerStatus>,
}

fn quiet_looks(
    shop: &Shop,
    pretended: &Pretended,
    status: watch::Receiver<ProvisionerStatus>,
) -> QuietLooks<Scripted> {
    let cluster = pretended.cluster.clone();
    let provisioner = Provisioner::Kubernetes(Kubernetes::new(cluster.clone()));
    QuietLooks {
        reconciler: Arc::new(shop.reconciler(provisioner)),
        cluster,
        status,
    }
}

impl Rest {
    async fn new() -> Self {
        let shop = Shop::open(GOOD_IMAGE).await;
        let pretended = Pretended::new();
        let (status, receiver) = watch::channel(ProvisionerStatus {
            provisioner: "kubernetes",
            is_available: true,
            detail: "v1.33.4".to_owned(),
        });
        Self {
            quiet: quiet_looks(&shop, &pretended, receiver),
            shop,
            pretended,
            status,
        }
    }

    /// Adds an instance that a pass of this server left at rest just now.
    async fn add(&self, desired: Desired, status: Status) -> Instance {
        let instance = self.shop.buy().await;
        let mut conn = self.shop.db.begin().await.unwrap();
        let sql = "UPDATE instances SET desired = $2, status = $3, message = 'As it was.', \
                   observed_generation = generation WHERE id = $1";
        execute!(conn, sql, instance.id, desired, status).unwrap();
        conn.commit().await.unwrap();
        let instance = self.shop.now(&instance).await;
        let soon = self.shop.clock.now() + SOON;
        self.rest_until(&instance, soon).await;
        let seen = self.shop.now(&instance).await;
        let digest = seen.status_digest(seen.status, &seen.message);
        self.pretended.settle(&seen.namespace, &seen.name, digest);
        let looks = &self.quiet.reconciler.looks;
        looks.note(seen.id, seen.generation, Instant::now());
        seen
    }

    async fn running(&self) -> Instance {
        self.add(Desired::Running, Status::Running).await
    }

    /// Lets an instance be at rest until a moment.
    async fn rest_until(&self, instance: &Instance, at: DateTime<Utc>) {
        let mut conn = self.shop.db.begin().await.unwrap();
        let sql = "UPDATE instances SET next_attempt_at = $2, rests_until = $2, generation = $3, observed_generation = $3, \
                   desired = $4, due_by = NULL, reapply_asked_at = NULL, lease_until = NULL, lease_holder = NULL \
                   WHERE id = $1";
        let Instance {
            id,
            generation,
            desired,
            ..
        } = *instance;
        execute!(conn, sql, id, at, generation, desired).unwrap();
        conn.commit().await.unwrap();
    }

    async fn rests_until(&self, instance: &Instance) -> Option<DateTime<Utc>> {
        let conn = self.shop.db.read().await;
        let sql = "SELECT rests_until FROM instances WHERE id = $1";
        let row = fetch_one!(conn.unwrap(), (Option<DateTime<Utc>>,), sql, instance.id);
        row.unwrap().0
    }

    async fn look(&self) -> u64 {
        self.quiet.look(Instant::now()).await.unwrap()
    }

    /// Reads the one instance as a quiet look does.
    async fn read(&self) -> Resting {
        let mut conn = self.shop.db.read().await.unwrap();
        let now = self.shop.clock.now();
        let place = (now, InstanceId::MIN);
        let mut found = store::resting(&mut conn, place, now + SOON * 2, PAGE)
            .await
            .unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// Puts the next look at an instance off by an hour, at a moment; returns false when it does not.
    async fn put_off(&self, seen: &Resting, now: DateTime<Utc>) -> bool {
        let mut conn = self.shop.db.begin().await.unwrap();
        let next = now + TimeDelta::hours(1);
        let rows = store::put_off(&mut conn, seen, now, next).await.unwrap();
        conn.commit().await.unwrap();
        rows == 1
    }

    /// Rows that passes write.
    async fn written(&self) -> i64 {
        let sql = "SELECT (SELECT count(*) FROM instance_events) + (SELECT count(*) FROM health_spans) \
                   + (SELECT count(*) FROM decisions) + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM alerts)";
        self.shop.count(sql).await
    }
}

#[tokio::test]
async fn a_quiet_look_puts_the_next_one_off_and_changes_nothing_else() {
    let rest = Rest::new().await;
    let running = rest.running().await;
    let stopped = rest.add(Desired::Stopped, Status::Stopped).await;
    let names = [running.name.as_str(), stopped.name.as_str()];
    let cluster = &rest.pretended.cluster;
    let looked = cluster.look_at_secrets_of(&running.namespace, &names);
    looked.await.unwrap();
    let (asked, written) = (rest.pretended.requests(), rest.written().await);
    let now = rest.shop.clock.now();
    assert_eq!(rest.look().await, 2);
    assert_eq!(rest.pretended.requests(), asked);
    assert_eq!(rest.written().await, written);
    assert!(rest.shop.services.script().calls.is_empty());
    for before in [running, stopped] {
        let after = rest.shop.now(&before).await;
        let wait = after.next_attempt_at - now;
        assert!(
            wait >= TimeDelta::minutes(48) && wait <= TimeDelta::minutes(73),
            "{wait}"
        );
        assert_eq!(rest.rests_until(&before).await, Some(after.next_attempt_at));
        assert!(after.checked_at.is_some_and(|at| at >= now));
        let ran_at = match before.status {
            Status::Running => after.checked_at,
            _ => before.last_ran_at,
        };
        let expected = Instance {
            next_attempt_at: after.next_attempt_at,
            checked_at: after.checked_at,
            last_ran_at: ran_at,
            ..before
        };
        assert_eq!(format!("{after:?}"), format!("{expected:?}"));
    }
    assert_eq!(rest.look().await, 0, "their time is far away");
}

#[tokio::test]
async fn one_request_looks_at_the_secrets_of_a_namespace() {
    let rest = Rest::new().await;
    let (one, two) = (rest.running().await, rest.running().await);
    assert_eq!((rest.look().await, rest.pretended.requests()), (2, 1));
    for instance in [&one, &two] {
        let soon = rest.shop.clock.now() + SOON;
        rest.rest_until(instance, soon).await;
    }
    assert_eq!(rest.look().await, 2);
    assert_eq!(rest.pretended.requests(), 1, "within a minute");
}

#[tokio::test]
async fn a_secret_that_was_edited_is_left_to_a_pass() {
    let rest = Rest::new().await;
    let (edited, other) = (rest.running().await, rest.running().await);
    rest.pretended.edit_secret(&edited.namespace, &edited.name);
    assert_eq!(rest.look().await, 1);
    let due = rest.shop.now(&edited).await.next_attempt_at;
    assert_eq!(due, edited.next_attempt_at);
    assert!(rest.shop.now(&other).await.next_attempt_at > due);
}

#[tokio::test]
async fn what_changed_in_the_cluster_is_left_to_a_pass() {
    let rest = Rest::new().await;
    let (changed, _other) = (rest.running().await, rest.running().await);
    rest.pretended.show(&changed.namespace, &changed.name, 2);
    assert_eq!(rest.look().await, 1);
    let due = rest.shop.now(&changed).await.next_attempt_at;
    assert_eq!(due, changed.next_attempt_at);
}

#[tokio::test]
async fn a_server_that_may_miss_changes_makes_no_quiet_looks() {
    let rest = Rest::new().await;
    let instance = rest.running().await;
    let away = |is_available| {
        rest.status
            .send_modify(|status| status.is_available = is_available);
    };
    away(false);
    assert_eq!(rest.look().await, 0, "the cluster does not answer");
    away(true);
    let other = quiet_looks(&rest.shop, &rest.pretended, rest.status.subscribe());
    let looked = other.look(Instant::now()).await;
    assert_eq!(looked.unwrap(), 0, "a server that has not looked yet");
    rest.shop.clock.step(TimeDelta::minutes(5));
    let soon = rest.shop.clock.now() + SOON;
    rest.rest_until(&instance, soon).await;
    assert_eq!(rest.look().await, 0, "the clock jumped");
    rest.shop.clock.step(-TimeDelta::minutes(5));
    let soon = rest.shop.clock.now() + SOON;
    rest.rest_until(&instance, soon).await;
    assert_eq!(rest.look().await, 1);

    rest.rest_until(&instance, soon).await;
    rest.pretended.begin_walls();
    assert_eq!(rest.look().await, 0, "walls are not seen");
    rest.pretended.list_walls();
    rest.pretended.begin_objects();
    assert_eq!(rest.look().await, 0, "objects are not seen");
}

#[tokio::test]
async fn what_the_api_server_refuses_is_left_to_a_pass() {
    let rest = Rest::new().await;
    let instance = rest.running().await;
    rest.pretended.go_away();
    assert_eq!(rest.look().await, 0);
    assert!(rest.pretended.requests() > 0);
    let due = rest.shop.now(&instance).await.next_attempt_at;
    assert_eq!(due, instance.next_attempt_at);
}

#[tokio::test]
async fn an_hour_after_a_full_look_the_next_one_is_full() {
    let rest = Rest::new().await;
    let instance = rest.running().await;
    let looked = async |minutes: u64| {
        let at = Instant::now() + Duration::from_secs(60 * minutes);
        rest.quiet.look(at).await.unwrap()
    };
    assert_eq!(looked(39).await, 1);
    let soon = rest.shop.clock.now() + SOON;
    rest.rest_until(&instance, soon).await;
    assert_eq!(looked(60).await, 0);
}

/// Requests for a pass.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Event,
    Wall,
    Reapply,
    Change,
    Claim,
}

impl Rest {
    /// Asks for a pass over an instance at a moment.
    async fn ask(&self, ask: Ask, instance: &Instance, now: DateTime<Utc>) {
        let mut conn = self.shop.db.begin().await.unwrap();
        match ask {
            Ask::Event => {
                let touched = instances::touch(&mut conn, &instance.name, now).await;
                assert_eq!(touched.unwrap(), 1);
            }
            Ask::Wall => {
                let touched = instances::touch_namespace(&mut conn, &instance.namespace, now).await;
                assert_eq!(touched.unwrap(), 1);
            }
            Ask::Reapply => {
                let asked = instances::ask_to_reapply(&mut conn, instance.id, now).await;
                assert_eq!(asked.unwrap(), 1);
            }
            Ask::Change => {
                let sql = "UPDATE instances SET desired = 'STOPPED', generation = generation + 1, \
                           next_attempt_at = $2 WHERE id = $1";
                execute!(conn, sql, instance.id, now).unwrap();
            }
            Ask::Claim => {
                let until = now + LEASE;
                let term = Term { now, until };
                let claimed = instances::PASSES.claim_due(&mut conn, &self.shop.clock, term, 1);
                assert_eq!(claimed.await.unwrap().len(), 1);
            }
        }
        conn.commit().await.unwrap();
    }
}

/// A request between the read of a quiet look and its statement stays, also where the instance is due
/// by then and the clock of the server that looks is behind.
#[tokio::test]
async fn what_is_asked_meanwhile_is_never_lost() {
    let rest = Rest::new().await;
    let instance = rest.running().await;
    let start = rest.shop.clock.now();
    let due = start + SOON;
    let second = TimeDelta::seconds(1);
    for (ask, asked_at) in [
        (Ask::Event, start),
        (Ask::Event, due + second),
        (Ask::Wall, start),
        (Ask::Wall, due + second),
        (Ask::Reapply, start),
        (Ask::Reapply, due + second),
        (Ask::Change, start),
        (Ask::Change, due),
        (Ask::Change, due + second),
        (Ask::Claim, due),
        (Ask::Claim, due + second),
    ] {
        rest.rest_until(&instance, due).await;
        let seen = rest.read().await;
        rest.ask(ask, &instance, asked_at).await;
        let asked = rest.shop.now(&instance).await;
        assert!(!rest.put_off(&seen, due - second).await, "{ask:?}");
        let after = rest.shop.now(&instance).await;
        assert_eq!(format!("{after:?}"), format!("{asked:?}"), "{ask:?}");
    }
}

/// The other way round, a request after the statement of a quiet look makes the instance due.
#[tokio::test]
async fn what_is_asked_after_a_quiet_look_is_due() {
    let rest = Rest::new().await;
    let instance = rest.running().await;
    let due = rest.shop.clock.now() + SOON;
    for ask in [Ask::Event, Ask::Wall, Ask::Reapply, Ask::Change] {
        rest.rest_until(&instance, due).await;
        let seen = rest.read().await;
        assert!(rest.put_off(&seen, due - SOON).await, "{ask:?}");
        assert!(!rest.put_off(&seen, due - SOON).await, "it was put off");
        rest.ask(ask, &instance, due).await;
        let asked = rest.shop.now(&instance).await;
        assert_eq!(asked.next_attempt_at, due, "{ask:?}");
    }
}

#[tokio::test]
async fn what_is_due_is_left_to_a_pass() {
    let rest = Rest::new().await;
    let instance = rest.running().await;
    let due = rest.shop.clock.now() + SOON;
    rest.rest_until(&instance, due).await;
    let seen = rest.read().await;
    assert!(!rest.put_off(&seen, due).await);
    assert!(rest.put_off(&seen, due - SOON).await);
}

/// A pass writes that an instance is at rest with the time of its next look, unless something changes
/// meanwhile.
#[tokio::test]
async fn a_pass_that_leaves_an_instance_at_rest_writes_so() {
    let rest = Rest::new().await;
    let instance = rest.shop.buy().await;
    let reconciler = &rest.quiet.reconciler;
    for (rests, is_touched) in [(true, false), (true, true), (false, false)] {
        let now = rest.shop.clock.now();
        let mut conn = rest.shop.db.begin().await.unwrap();
        let sql = "UPDATE instances SET next_attempt_at = $1 WHERE id = $2";
        execute!(conn, sql, now, instance.id).unwrap();
        let until = now + LEASE;
        let term = Term { now, until };
        let leases = instances::PASSES.claim_due(&mut conn, &rest.shop.clock, term, 1);
        let lease = leases.await.unwrap().remove(0);
        if is_touched {
            let touched = instances::touch(&mut conn, &instance.name, now).await;
            assert_eq!(touched.unwrap(), 1);
        }
        conn.commit().await.unwrap();
        let seen = rest.shop.now(&instance).await;
        let new_status = NewStatus {
            rests,
            ..well(&seen, now)
        };
        let mut conn = rest.shop.db.read().await.unwrap();
        let plan = health::load(&mut conn, &seen, &new_status, TimeDelta::minutes(3), now).await;
        let plan = plan.unwrap();
        drop(conn);
        let wrote = reconciler.write(&lease, &seen, &new_status, &plan).await;
        assert!(wrote.unwrap());
        let after = rest.shop.now(&instance).await;
        let is_at_rest = rest.rests_until(&instance).await == Some(after.next_attempt_at);
        assert_eq!(is_at_rest, rests && !is_touched);
        assert_eq!(after.next_attempt_at == now, is_touched);
    }
}

/// Returns the findings of a pass over an instance that is well.
fn well(seen: &Instance, now: DateTime<Utc>) -> NewStatus {
    let health = Health {
        state: HealthState::Ready,
        message: "Ready.".to_owned(),
    };
    let decider = StatusDecider {
        seen,
        now,
        resync: Duration::from_secs(300),
    };
    NewStatus {
        is_complete: true,
        ..decider.healthy(&health, &[], (&[], &[]))
    }
}

#[tokio::test]
async fn an_instance_with_anything_to_wait_for_is_not_at_rest() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let seen = shop.buy().await;
    let now = shop.clock.now();
    assert!(well(&seen, now).is_at_rest(&seen));
    let left = NewStatus {
        is_complete: false,
        ..well(&seen, now)
    };
    let contested = NewStatus {
        contest: Contest::default().after(true, now),
        ..well(&seen, now)
    };
    let faulty = NewStatus {
        trouble: Some("A fault.".to_owned()),
        ..well(&seen, now)
    };
    for new_status in [left, contested, faulty] {
        assert!(!new_status.is_at_rest(&seen), "{new_status:?}");
    }
    let unproven = Instance {
        unproven_generation: Some(1),
        ..seen.clone()
    };
    assert!(!well(&unproven, now).is_at_rest(&unproven));
    let stopping = Instance {
        desired: Desired::Stopped,
        ..seen
    };
    assert!(!well(&stopping, now).is_at_rest(&stopping), "it still runs");
}

/// The walls of a namespace become smaller by a pass over a neighbour, which a removal asks for.
#[tokio::test]
async fn a_removal_asks_for_a_pass_over_a_neighbour() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(shop.in_folder());
    let (left, gone) = (shop.buy().await, shop.buy().await);
    for instance in [&left, &gone] {
        shop.is(instance, Status::Written).await;
    }
    let before = shop.clock.now();
    shop.cancel(&gone).await;
    shop.is(&gone, Status::Terminated).await;
    shop.until(&left, |now| now.checked_at.is_some_and(|at| at > before))
        .await;
    server.stop().await;
}
