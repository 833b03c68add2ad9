//! The reconciler on a real database, with a scripted service.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    model::Cause,
    test_shop::{DIGEST, GOOD_IMAGE, Shop, in_cluster},
    *,
};
use crate::{
    cluster::{Load, pods_of},
    db::Term,
    execute, fetch_all,
};

#[tokio::test]
async fn a_folder_holds_what_was_bought_until_it_is_cancelled() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    server.handle.wake();
    let running = shop.is(&instance, Status::Written).await;
    let folder = shop.files().join(&instance.namespace).join(&instance.name);
    let expected = "Your service is prepared and waits to be put into operation.";
    assert_eq!(running.message, expected);
    assert!(running.delivered_at.is_some() && running.last_ran_at.is_some());
    assert_eq!(running.ready_at, None, "nothing tells whether it runs");
    assert_eq!((running.observed_generation, running.failures), (1, 0));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4);
    let mut conn = shop.db.read().await.unwrap();
    let secret = secret_manifest(&mut conn, &shop.vault, &instance.name)
        .await
        .unwrap();
    assert_eq!(secret["metadata"]["name"], instance.secret_object());
    assert!(secret["data"]["password"].as_str().unwrap().len() >= 24);
    drop(conn);
    shop.cancel(&instance).await;
    let gone = shop.is(&instance, Status::Terminated).await;
    assert!(gone.applied.is_empty() && !folder.parent().unwrap().exists());
    assert_eq!((gone.generation, gone.observed_generation), (2, 2));
    let sql = "SELECT kind FROM instance_events ORDER BY created_at, id";
    let events: Vec<(String,)> = fetch_all!(shop.db.read().await.unwrap(), (String,), sql).unwrap();
    let events: Vec<_> = events.iter().map(|(kind,)| kind.as_str()).collect();
    assert_eq!(events, ["PENDING", "WRITTEN", "TERMINATING", "TERMINATED"]);
    server.stop().await;
}

#[tokio::test]
async fn the_same_rendering_is_asked_for_and_recorded_once() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    shop.is(&instance, Status::Written).await;
    shop.set_desired(&instance, Desired::Stopped).await;
    let stopped = shop.is(&instance, Status::Stopped).await;
    assert_eq!(shop.services.script().calls[&instance.name], 1);
    assert_eq!(shop.count("SELECT count(*) FROM decisions").await, 1);
    assert!(stopped.manifests_decision_id.is_some());
    let folder = shop.files().join(&instance.namespace).join(&instance.name);
    let deployment = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let deployment = deployment
        .into_iter()
        .find(|path| path.to_string_lossy().contains("-deployment-"))
        .unwrap();
    assert!(
        std::fs::read_to_string(deployment)
            .unwrap()
            .contains("replicas: 0")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_names_the_plugin_and_its_reason_and_is_tried_again() {
    let shop = Shop::open(GOOD_IMAGE).await;
    shop.services.script().problem = Some("The time zone is unknown.".to_owned());
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    let failed = shop.is(&instance, Status::Failed).await;
    assert_eq!(
        failed.message,
        "The plugin service-test 1.0.0 cannot make this service: The time zone is unknown."
    );
    assert_eq!(failed.failures, 1);
    assert!(failed.next_attempt_at > shop.clock.now());
    server.stop().await;
}

#[tokio::test]
async fn images_the_template_does_not_name_are_refused_by_the_gate() {
    let shop = Shop::open("docker.io/library/app:latest").await;
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    let failed = shop.is(&instance, Status::Failed).await;
    assert_eq!(
        failed.message,
        "The plugin service-test 1.0.0 asks for what is not allowed."
    );
    // The rule that it breaks is for administrators.
    assert!(shop.alert(&instance).await.contains("GATE_"));
    assert!(
        !shop
            .files()
            .join(&instance.namespace)
            .join(&instance.name)
            .exists()
    );
    server.stop().await;
}

/// The room that an order needs is that of the pods as they are applied, not as the plugin renders them.
#[tokio::test]
async fn pods_need_the_room_that_the_operator_lets_them_request() {
    let mut shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let load = |cpu_millis, memory_bytes| Load {
        cpu_millis,
        memory_bytes,
    };
    let needed = pods_of(&shop.rendered(&instance, 2).await);
    assert_eq!(needed, [load(100, 64 << 20)]);
    shop.classes.pods.request_percent = Some(25);
    let needed = pods_of(&shop.rendered(&instance, 2).await);
    assert_eq!(needed, [load(25, 16 << 20)]);
}

/// Another controller's changes are corrected later and later, and the alert names who changes
/// what; when that controller stops, the alert ends.
#[tokio::test]
async fn a_fight_is_told_and_left_alone_for_longer_and_longer() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let other = crate::cluster::Contested {
        object: crate::cluster::ObjectRef::new("apps/v1", "Deployment", "shop"),
        field: ".spec.replicas".to_owned(),
        manager: "keda-operator".to_owned(),
    };
    let pass = async |fields: &[crate::cluster::Contested]| {
        let now = shop.clock.now();
        let mut conn = shop.db.begin().await.unwrap();
        let sql = "UPDATE instances SET next_attempt_at = $1, lease_until = NULL WHERE id = $2";
        execute!(conn, sql, now, instance.id).unwrap();
        let until = now + reconciler::LEASE;
        let term = Term { now, until };
        let leases = store::PASSES.claim_due(&mut conn, &shop.clock, term, 1);
        let lease = leases.await.unwrap().remove(0);
        conn.commit().await.unwrap();
        let seen = shop.now(&instance).await;
        let decider = status::StatusDecider {
            seen: &seen,
            now,
            resync: Duration::from_secs(600),
        };
        let new_status = decider.contested(decider.written(&[], None), fields);
        let next = now + new_status.after;
        let mut conn = shop.db.begin().await.unwrap();
        // A change that is seen in the cluster during the pass does not shorten the wait.
        store::touch(&mut conn, &seen.name, now).await.unwrap();
        store::finish(&mut conn, &lease, &seen, &new_status, now, next)
            .await
            .unwrap();
        attention::tell(&mut conn, &shop.clock, &seen, &new_status)
            .await
            .unwrap();
        conn.commit().await.unwrap();
        new_status.after.as_secs()
    };
    let touched = async || {
        let mut conn = shop.db.begin().await.unwrap();
        let soon = shop.clock.now();
        let rows = store::touch(&mut conn, &instance.name, soon).await.unwrap();
        conn.rollback().await.unwrap();
        rows
    };
    for wait in [4, 8, 16] {
        let length = chrono::TimeDelta::seconds(wait);
        let waits = pass(std::slice::from_ref(&other)).await;
        assert_eq!(waits, u64::try_from(wait).unwrap());
        let left = shop.now(&instance).await.next_attempt_at - shop.clock.now();
        assert!(left <= length && left > length - chrono::TimeDelta::seconds(1));
        assert_eq!(touched().await, 0, "{wait}");
        shop.clock.advance(length);
    }
    let told = shop.alert(&instance).await;
    assert!(
        told.contains("keda-operator changes .spec.replicas of Deployment/shop"),
        "{told}"
    );
    assert_eq!(pass(&[]).await, 600);
    assert_eq!(shop.alert(&instance).await, "");
    // The instance is due at once again for a change seen meanwhile.
    let now = shop.now(&instance).await;
    assert!(now.next_attempt_at <= shop.clock.now());
}

/// A move to a version that will never be set up goes back by itself; administrators are alerted,
/// and running instances stay as they are.
#[tokio::test]
async fn a_move_that_can_never_be_made_is_undone() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    let written = shop.is(&instance, Status::Written).await;
    let other = "1".repeat(64);
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "INSERT INTO plugin_versions (digest, plugin_id, kind, version, contract, title, component, \
        size_bytes, state, report, created_at) SELECT $1, plugin_id, kind, '2.0.0', contract, title, component, \
        size_bytes, 'STAGED', report, created_at FROM plugin_versions";
    execute!(conn, sql, &other).unwrap();
    shop.services.script().problem = Some("No more.".to_owned());
    let now = shop.clock.now();
    let sql = "UPDATE subscriptions SET period_end = $1";
    execute!(conn, sql, now + chrono::TimeDelta::days(30)).unwrap();
    let recipe = recipe::Recipe {
        plugin_digest: other.clone(),
        ..recipe::Recipe::of(&written)
    };
    shop.change(&mut conn, &written, recipe).await;
    conn.commit().await.unwrap();
    let failed = shop.is(&instance, Status::Failed).await;
    assert_eq!(
        (failed.plugin_digest.as_str(), failed.final_generation),
        (other.as_str(), None)
    );
    assert!(shop.alert(&instance).await.contains("No more."));
    // The second answer to the same question is the last.
    shop.services.script().problem = None;
    shop.clock.advance(chrono::TimeDelta::minutes(1));
    let back = shop
        .until(&instance, |now| now.plugin_digest == DIGEST)
        .await;
    assert_eq!(back.unproven_generation, None);
    let undone = back.undone.unwrap().0;
    assert_eq!(
        (undone.change, undone.reason.contains("No more.")),
        (ChangeKind::Version, true)
    );
    let back = shop.is(&instance, Status::Written).await;
    assert_eq!((back.failures, back.final_generation), (0, None));
    let alert = shop.alert(&instance).await;
    assert!(alert.contains("(VERSION) was undone"), "{alert}");
    let events = shop.count(
        "SELECT count(*) FROM instance_events WHERE message LIKE 'The move to another%No more.'",
    );
    assert_eq!(events.await, 1);
    server.stop().await;
}

#[tokio::test]
async fn without_its_cluster_an_instance_waits_and_says_why() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let path = shop.closed_kubeconfig();
    let server = shop.server(in_cluster(&path).await.0);
    let instance = shop.buy().await;
    let waiting = shop.until(&instance, |now| now.failures > 0).await;
    assert_eq!(waiting.status, Status::Pending);
    assert_eq!(
        waiting.message,
        "The cluster does not answer. Your service is set up as soon as it is back."
    );
    assert!(!server.handle.status().is_available);
    server.stop().await;
}

#[tokio::test]
async fn auto_keeps_to_a_cluster_that_is_away_once_instances_live_there() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let kubeconfig = shop.closed_kubeconfig();
    let instance = shop.buy().await;
    let chosen = async || {
        let lives_in_cluster = lives_in_cluster(&shop.db, &shop.files()).await;
        let kubeconfig = Some(kubeconfig.clone());
        let directory = directory::Directory::new(shop.files(), None);
        Provisioner::select(Choice::Auto, kubeconfig, directory, lives_in_cluster)
            .await
            .unwrap()
            .name()
    };
    assert_eq!(chosen().await, "directory", "nothing was applied yet");
    let server = shop.server(shop.in_folder());
    shop.is(&instance, Status::Written).await;
    server.stop().await;
    assert_eq!(chosen().await, "directory", "it was applied to the folder");
    std::fs::remove_dir_all(shop.files()).unwrap();
    assert_eq!(
        chosen().await,
        "kubernetes",
        "it was applied, and not to the folder"
    );
}

#[tokio::test]
async fn two_servers_share_the_work_and_never_double_it() {
    let shop = Shop::open(GOOD_IMAGE).await;
    shop.services.script().delay = Duration::from_millis(100);
    let mut instances = Vec::new();
    for _ in 0..12 {
        instances.push(shop.buy().await);
    }
    let servers = [shop.server(shop.in_folder()), shop.server(shop.in_folder())];
    for instance in &instances {
        shop.is(instance, Status::Written).await;
    }
    {
        let script = shop.services.script();
        assert!(script.doubled.is_empty(), "{:?}", script.doubled);
        assert!(
            script.calls.values().all(|calls| *calls == 1),
            "{:?}",
            script.calls
        );
    }
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn what_a_stopped_server_left_is_taken_over_when_its_lease_ends() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let now = shop.clock.now();
    let mut conn = shop.db.begin().await.unwrap();
    let until = now + reconciler::LEASE;
    let term = Term { now, until };
    let taken = store::PASSES
        .claim_due(&mut conn, &shop.clock, term, 10)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    assert_eq!(taken.len(), 1);
    let server = shop.server(shop.in_folder());
    sleep(Duration::from_millis(300)).await;
    assert_eq!(shop.now(&instance).await.status, Status::Pending);
    shop.clock.advance(reconciler::LEASE);
    server.handle.wake();
    shop.is(&instance, Status::Written).await;
    let decider = status::StatusDecider {
        seen: &instance,
        now,
        resync: Duration::ZERO,
    };
    let mut conn = shop.db.begin().await.unwrap();
    let late = store::finish(&mut conn, &taken[0], &instance, &decider.gone(), now, now)
        .await
        .unwrap();
    assert_eq!(
        late, None,
        "whoever lost the lease has nothing to say any more"
    );
    drop(conn);
    server.stop().await;
}

/// A pass that lost its lease asks for another one, which writes over what it wrote late; what it wrote of an
/// instance that is gone by then is removed.
#[tokio::test]
async fn what_a_pass_without_its_lease_wrote_is_made_good() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let server = shop.server(shop.in_folder());
    shop.is(&instance, Status::Written).await;
    server.stop().await;
    let late = shop.reconciler(shop.in_folder());
    let lost = crate::db::Lease {
        id: instance.id.into(),
        holder: crate::db::new_id(&shop.clock),
        until: shop.clock.now(),
    };
    let asks = late.pass(&lost).await.unwrap();
    assert!(asks, "it is due again at its end");
    let asked = shop.now(&instance).await;
    assert!(asked.reapply_asked_at.is_some());
    assert!(asked.next_attempt_at <= shop.clock.now());
    assert_eq!(asked.status, Status::Written, "it changed nothing itself");

    let server = shop.server(shop.in_folder());
    shop.until(&instance, |now| now.reapply_asked_at.is_none())
        .await;
    shop.cancel(&instance).await;
    server.handle.wake();
    let gone = shop.is(&instance, Status::Terminated).await;
    server.stop().await;
    let folder = shop.files().join(&instance.namespace).join(&instance.name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("00-configmap-late.yaml"), "late").unwrap();
    late.make_good(&asked).await.unwrap();
    assert!(!folder.exists());
    assert_eq!(shop.now(&instance).await.status, gone.status);
}

/// A server that was killed continues at once when it starts again, and leaves alone what another
/// one of the same data folder works on.
#[tokio::test]
async fn a_server_that_starts_again_ends_its_own_leases() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let folder = tempfile::tempdir().unwrap();
    let killed = Identity::of_folder(folder.path(), &shop.clock);
    let now = shop.clock.now();
    let mut conn = shop.db.begin().await.unwrap();
    let until = now + reconciler::LEASE;
    let term = Term { now, until };
    let taken = store::PASSES.claim_due_by(&mut conn, &shop.clock, term, 10, killed.id);
    assert_eq!(taken.await.unwrap().len(), 1);
    conn.commit().await.unwrap();
    let second = Identity::of_folder(folder.path(), &shop.clock);
    let server = shop.server_as(shop.in_folder(), second);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(shop.now(&instance).await.status, Status::Pending);
    server.stop().await;

    drop(killed);
    let again = Identity::of_folder(folder.path(), &shop.clock);
    let server = shop.server_as(shop.in_folder(), again);
    let started = Instant::now();
    shop.is(&instance, Status::Written).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    server.stop().await;
}

/// A pass that does not end in time is cut off; its instance is due at once, for any server.
#[tokio::test]
async fn a_server_that_stops_leaves_no_lease() {
    let shop = Shop::open(GOOD_IMAGE).await;
    shop.services.script().delay = Duration::from_secs(600);
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    server.handle.wake();
    let leased = "SELECT count(*) FROM instances WHERE lease_until IS NOT NULL";
    while shop.services.script().calls.is_empty() {
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(shop.count(leased).await, 1);
    server.stop().await;
    assert_eq!(shop.count(leased).await, 0);
    shop.services.script().delay = Duration::ZERO;
    let other = shop.server(shop.in_folder());
    shop.is(&instance, Status::Written).await;
    other.stop().await;
}

/// Failures are counted by cause: what a cluster that was away left does not slow down what comes
/// after it.
#[tokio::test]
async fn failures_of_a_cluster_that_was_away_are_forgotten() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "UPDATE instances SET failures = 9, failure_cause = 'AWAY', next_attempt_at = $1";
    let later = shop.clock.now() + chrono::TimeDelta::minutes(5);
    execute!(conn, sql, later).unwrap();
    conn.commit().await.unwrap();
    let seen = shop.now(&instance).await;
    let again = |cause| model::Failure::again(&seen, cause).times;
    assert_eq!((again(Cause::Away), again(Cause::NotYet)), (10, 1));
    let mut conn = shop.db.begin().await.unwrap();
    let now = shop.clock.now();
    let touched = store::touch(&mut conn, &instance.name, now).await.unwrap();
    assert_eq!(touched, 1, "the cluster answers");
    execute!(conn, sql, later).unwrap();
    store::touch_failed(&mut conn, now).await.unwrap();
    conn.commit().await.unwrap();
    let back = shop.now(&instance).await;
    assert_eq!((back.failures, back.next_attempt_at), (0, now));
}

/// Names are drawn, so that the refusal of one is no answer for good to a purchase.
#[tokio::test]
async fn a_name_that_is_taken_is_no_reason_not_to_try_again() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let (first, second) = (shop.buy().await, shop.buy().await);
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "UPDATE instances SET name = $1 WHERE id = $2";
    let taken = execute!(conn, sql, &first.name, second.id).unwrap_err();
    let refused = Error::from(taken);
    let told = (refused.code, refused.retry_after);
    assert_eq!(told, (Code::Conflict, Some(1)), "{refused}");
}
