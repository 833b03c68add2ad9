//! Tests of the halt of a roll: the failures that keep others from its target, and those that do not.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_runtime::contract::{Health, HealthState};
use serde_json::json;

use super::{
    Order, Target,
    halt::{HaltedBy, Roll},
};
use crate::{
    Code, Error,
    cluster::ClusterError,
    db::{Conn, Lease},
    execute,
    provisioning::{
        health,
        model::{Instance, NewStatus, Status},
        provisioner::ProvisionError,
        recipe::Recipe,
        status::StatusDecider,
        store,
        test_shop::{DIGEST, GOOD_IMAGE, Server, Shop},
    },
};

/// A shop with two versions of its plugin, whose server writes into a folder, and two instances of the first.
struct Scene {
    shop: Shop,
    server: Server,
    first: Instance,
    second: Instance,
}

fn other() -> String {
    "1".repeat(64)
}

impl Scene {
    async fn open() -> Self {
        let shop = Shop::open(GOOD_IMAGE).await;
        let server = shop.server(shop.in_folder());
        let (first, second) = (shop.buy().await, shop.buy().await);
        let mut conn = shop.db.begin().await.unwrap();
        let sql = "INSERT INTO plugin_versions (digest, plugin_id, kind, version, contract, title, component, \
            size_bytes, state, report, created_at) SELECT $1, plugin_id, kind, '2.0.0', contract, title, component, \
            size_bytes, 'STAGED', report, created_at FROM plugin_versions";
        execute!(conn, sql, other()).unwrap();
        let sql = "UPDATE subscriptions SET period_end = $1";
        execute!(conn, sql, shop.clock.now() + TimeDelta::days(30)).unwrap();
        conn.commit().await.unwrap();
        server.handle.wake();
        let first = shop.is(&first, Status::Written).await;
        let second = shop.is(&second, Status::Written).await;
        Self {
            shop,
            server,
            first,
            second,
        }
    }

    /// Puts another recipe into the first instance.
    async fn change(&self, recipe: impl FnOnce(Recipe) -> Recipe) {
        let seen = self.shop.now(&self.first).await;
        let mut conn = self.shop.db.begin().await.unwrap();
        let recipe = recipe(Recipe::of(&seen));
        self.shop.change(&mut conn, &seen, recipe).await;
        conn.commit().await.unwrap();
        self.server.handle.wake();
    }

    /// Puts another recipe into the first instance, which the plugin refuses until it is undone.
    async fn change_in_vain(&self, recipe: impl FnOnce(Recipe) -> Recipe) {
        self.shop.services.script().problem = Some("No more.".to_owned());
        self.change(recipe).await;
        self.shop.is(&self.first, Status::Failed).await;
    }

    /// Lets the server ask the plugin once more, and undo the change.
    async fn until_undone(&self) {
        // The answer is recorded, and asked for no second time.
        self.shop.services.script().problem = None;
        self.shop.clock.advance(TimeDelta::minutes(1));
        self.server.handle.wake();
        let is_back =
            |now: &Instance| now.unproven_generation.is_none() && now.status == Status::Written;
        let back = self.shop.until(&self.first, is_back).await;
        assert!(back.undone.is_some());
    }

    /// Keeps the server from all instances.
    async fn hold(&self) {
        let mut conn = self.shop.db.begin().await.unwrap();
        self.hold_in(&mut conn).await;
        conn.commit().await.unwrap();
    }

    async fn hold_in(&self, conn: &mut Conn) {
        let sql = "UPDATE instances SET lease_holder = id, lease_until = $1";
        execute!(conn, sql, self.shop.clock.now() + TimeDelta::days(1)).unwrap();
    }

    /// Writes a pass with this finding over the first instance, and keeps the server from it.
    async fn pass(&self, find: impl FnOnce(&StatusDecider<'_>) -> NewStatus) {
        let seen = self.shop.now(&self.first).await;
        let now = self.shop.clock.now();
        let new_status = find(&StatusDecider {
            seen: &seen,
            now,
            resync: Duration::from_secs(300),
        });
        let patience = TimeDelta::minutes(3);
        let mut conn = self.shop.db.read().await.unwrap();
        let plan = health::load(&mut conn, &seen, &new_status, patience, now).await;
        let plan = plan.unwrap();
        drop(conn);
        let lease = Lease {
            id: seen.id.into(),
            holder: seen.id.into(),
            until: now,
        };
        let mut conn = self.shop.db.begin().await.unwrap();
        let finished = store::finish(&mut conn, &lease, &seen, &new_status, now, now).await;
        assert!(finished.unwrap().is_some());
        health::record(&mut conn, &self.shop.clock, &seen, &new_status, &plan)
            .await
            .unwrap();
        self.hold_in(&mut conn).await;
        conn.commit().await.unwrap();
    }

    /// Writes what a pass would, into the first instance.
    async fn write(&self, sql: &'static str) {
        let mut conn = self.shop.db.begin().await.unwrap();
        execute!(conn, sql, self.first.id).unwrap();
        conn.commit().await.unwrap();
    }

    /// Writes a pass over the first instance that saw it so.
    async fn looks(&self, state: HealthState, message: &str) {
        let health = Health {
            state,
            message: message.to_owned(),
        };
        self.pass(|decider| decider.healthy(&health, &[], (&[], &[])))
            .await;
    }

    /// Writes a pass over the first instance that ends with this failure of the cluster.
    async fn fails_by(&self, error: ClusterError) {
        let error = ProvisionError::from(error);
        self.pass(|decider| decider.provisioning_failed(&error))
            .await;
    }

    async fn until_proven(&self) {
        let is_proven = |now: &Instance| {
            now.unproven_generation.is_none() && now.generation == now.observed_generation
        };
        let proven = self.shop.until(&self.first, is_proven).await;
        assert!(proven.undone.is_none());
    }

    /// Returns the failures that halt a move of all instances to this version.
    async fn halted_by(&self, to: &str) -> Vec<HaltedBy> {
        let order = Order {
            target: Target::Version {
                plugin_id: "service-test".to_owned(),
                to: to.to_owned(),
                from: None,
            },
            instances: None,
            after: None,
            limit: 100,
            share: None,
            dry_run: false,
            despite_failures: false,
        };
        let mut conn = self.shop.db.read().await.unwrap();
        let roll = Roll::of(&mut conn, &order).await.unwrap();
        roll.failures(&mut conn).await.unwrap()
    }

    /// Asserts that the first instance halts the move to the other version.
    async fn is_halted(&self) {
        let halted_by = self.halted_by(&other()).await;
        let names: Vec<_> = halted_by.iter().map(|one| &one.name).collect();
        assert_eq!(names, [&self.first.name], "{halted_by:?}");
    }

    async fn template_has(&self, settings: &'static str) {
        let mut conn = self.shop.db.begin().await.unwrap();
        execute!(conn, "UPDATE services SET settings = $1", settings).unwrap();
        conn.commit().await.unwrap();
    }
}

fn to_other(recipe: Recipe) -> Recipe {
    Recipe {
        plugin_digest: other(),
        ..recipe
    }
}

fn greeting(recipe: Recipe) -> Recipe {
    Recipe {
        config: json!({ "greeting": "hai" }),
        ..recipe
    }
}

#[tokio::test]
async fn a_version_that_failed_halts_its_roll_until_it_works() {
    let scene = Scene::open().await;
    assert_eq!(scene.halted_by(&other()).await, []);
    scene.change_in_vain(to_other).await;
    scene.is_halted().await;
    scene.until_undone().await;
    scene.is_halted().await;
    let halted_by = scene.halted_by(&other()).await;
    assert!(halted_by[0].reason.contains("No more."), "{halted_by:?}");

    // Other targets: another version, and the same one with other settings.
    assert_eq!(scene.halted_by(&"2".repeat(64)).await, []);
    scene.template_has(r#"{"a": 1}"#).await;
    assert_eq!(scene.halted_by(&other()).await, []);
    scene.template_has("{}").await;
    scene.is_halted().await;

    // A change by its owner proves nothing.
    scene.change(greeting).await;
    scene.until_proven().await;
    scene.is_halted().await;

    scene.change(to_other).await;
    scene.until_proven().await;
    assert_eq!(scene.halted_by(&other()).await, []);
    let second = scene.shop.now(&scene.second).await;
    assert_eq!(
        (second.plugin_digest.as_str(), second.generation),
        (DIGEST, 1)
    );
    scene.server.stop().await;
}

#[tokio::test]
async fn the_configuration_of_an_owner_halts_nothing() {
    let scene = Scene::open().await;
    scene.change(to_other).await;
    scene.until_proven().await;
    scene.change_in_vain(greeting).await;
    assert_eq!(scene.halted_by(&other()).await, []);
    scene.until_undone().await;
    assert_eq!(scene.halted_by(&other()).await, []);
    scene.server.stop().await;
}

/// A move to a version that mends them would end with the first of many.
#[tokio::test]
async fn a_failure_from_before_the_move_halts_nothing() {
    let scene = Scene::open().await;
    scene.hold().await;
    let fails = "UPDATE instances SET status = 'FAILED', failures = 3, failure_cause = 'REFUSED' WHERE id = $1";
    scene.write(fails).await;
    let ails = "UPDATE health_spans SET state = 'FAILED' WHERE instance_id = $1 AND until IS NULL";
    scene.write(ails).await;
    scene.change(to_other).await;
    assert_eq!(scene.halted_by(&other()).await, []);
    // A pass looks at what runs, and it fails as before.
    scene.shop.clock.advance(TimeDelta::minutes(1));
    let mut conn = scene.shop.db.begin().await.unwrap();
    let begins = "UPDATE instances SET rollout_since = $2 WHERE id = $1";
    execute!(conn, begins, scene.first.id, scene.shop.clock.now()).unwrap();
    conn.commit().await.unwrap();
    assert_eq!(scene.halted_by(&other()).await, []);
    let anew = "UPDATE health_spans SET since = (SELECT rollout_since FROM instances WHERE id = $1) \
        WHERE instance_id = $1 AND until IS NULL";
    scene.write(anew).await;
    scene.is_halted().await;
    scene.server.stop().await;
}

/// One that was delivered is not shown as failed then.
#[tokio::test]
async fn an_instance_that_the_cluster_refuses_halts_its_roll_at_once() {
    let scene = Scene::open().await;
    scene.hold().await;
    scene.change(to_other).await;
    assert_eq!(scene.halted_by(&other()).await, []);
    let refused = ClusterError::Refused {
        object: "Deployment/a".to_owned(),
        message: "no such field".to_owned(),
    };
    scene.fails_by(refused).await;
    assert_eq!(scene.shop.now(&scene.first).await.status, Status::Degraded);
    scene.is_halted().await;
    scene.server.stop().await;
}

/// Credentials that ran out say nothing about the target, and would halt every roll.
#[tokio::test]
async fn a_cluster_that_denies_access_halts_nothing() {
    let scene = Scene::open().await;
    scene.hold().await;
    scene.change(to_other).await;
    let denied = || ClusterError::Denied("Unauthorized".to_owned());
    scene.fails_by(denied()).await;
    assert_eq!(scene.halted_by(&other()).await, []);
    let undelivered = "UPDATE instances SET delivered_at = NULL WHERE id = $1";
    scene.write(undelivered).await;
    scene.fails_by(denied()).await;
    let failed = "SELECT count(*) FROM health_spans WHERE until IS NULL AND state = 'FAILED'";
    assert_eq!(scene.shop.count(failed).await, 1);
    assert_eq!(scene.halted_by(&other()).await, []);
    scene.server.stop().await;
}

/// A hold of the host moves the time of the change on, and leaves the failure as it was.
#[tokio::test]
async fn an_instance_that_failed_before_a_hold_halts_its_roll_after_it() {
    let scene = Scene::open().await;
    scene.hold().await;
    scene.change(to_other).await;
    let (starts, crashes) = (HealthState::Starting, HealthState::Failed);
    let clock = scene.shop.clock.clone();
    scene.looks(starts, "It starts.").await;
    assert_eq!(scene.halted_by(&other()).await, []);
    clock.advance(TimeDelta::minutes(1));
    scene.looks(crashes, "It crashes.").await;
    scene.is_halted().await;
    clock.advance(TimeDelta::seconds(10));
    let busy = Error::new(Code::PluginBusy, "Too many decisions at once.");
    scene.pass(|decider| decider.host_failed(&busy)).await;
    assert_eq!(scene.halted_by(&other()).await, []);
    clock.advance(TimeDelta::minutes(5));
    scene.looks(crashes, "It crashes.").await;
    scene.is_halted().await;
    scene.server.stop().await;
}

/// A folder that cannot be written and data that are gone are not the target's fault.
#[tokio::test]
async fn a_failure_of_the_host_halts_nothing() {
    let scene = Scene::open().await;
    scene.hold().await;
    scene.change(to_other).await;
    let begins = "UPDATE instances SET rollout_since = (SELECT since FROM health_spans h \
        WHERE h.instance_id = instances.id AND h.until IS NULL) WHERE id = $1";
    scene.write(begins).await;
    let ails = "UPDATE health_spans SET state = 'FAILED' WHERE instance_id = $1 AND until IS NULL";
    scene.write(ails).await;
    scene.is_halted().await;
    for fails in [
        "UPDATE instances SET status = 'FAILED', failures = 1, failure_cause = 'HOST' WHERE id = $1",
        "UPDATE instances SET status = 'FAILED', failures = 1, failure_cause = 'DATA_LOST' WHERE id = $1",
        "UPDATE instances SET status = 'FAILED', failures = 1, failure_cause = 'AWAY' WHERE id = $1",
    ] {
        scene.write(fails).await;
        assert_eq!(scene.halted_by(&other()).await, [], "{fails}");
    }
    scene.server.stop().await;
}

#[tokio::test]
async fn an_instance_that_is_gone_halts_nothing() {
    let scene = Scene::open().await;
    scene.change_in_vain(to_other).await;
    scene.until_undone().await;
    scene.is_halted().await;
    scene.shop.cancel(&scene.first).await;
    assert_eq!(scene.halted_by(&other()).await, []);
    scene.server.stop().await;
}
