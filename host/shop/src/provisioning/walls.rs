//! Isolation between customers in the cluster: mended when it changes, reported when it is opened.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use tokio::time::{Duration, Instant, sleep_until};

use super::{
    cluster_watcher::SETTLE,
    model::{Instance, NewStatus},
    reconciler::PASS_TIMEOUT,
    store::{self, Living},
};
use crate::{
    Result,
    alerts::{self, AlertKind},
    cluster::{ObjectRef, PolicyRef, WallChange},
    db::{Clock, Conn, Db},
};

const KIND: AlertKind = AlertKind::ForeignNetworkPolicy;
/// Delay while a namespace is changed again and again.
const QUIET: TimeDelta = TimeDelta::seconds(60);
/// Changes within [`RECENT`] of one another that are mended at once.
const AT_ONCE: u32 = 10;
const RECENT: Duration = Duration::from_secs(60);
const POLICY: &str = "NetworkPolicy";
/// Time within which a policy that a pass has applied is recorded, or is gone again.
const RECORDED: Duration = PASS_TIMEOUT.saturating_add(Duration::from_secs(15));

/// Recent changes of each namespace that others made. Another controller that insists on its own walls would
/// otherwise keep this server busy.
#[derive(Debug, Default)]
pub(super) struct Corrections(HashMap<String, (Instant, u32)>);

impl Corrections {
    /// Counts a change by another.
    fn count(&mut self, namespace: &str, now: Instant) {
        self.forget_old(now);
        let (last, count) = self.0.entry(namespace.to_owned()).or_insert((now, 0));
        *last = now;
        *count = count.saturating_add(1);
    }

    /// Returns the time to wait before a namespace is mended.
    fn delay(&mut self, namespace: &str, now: Instant) -> TimeDelta {
        self.forget_old(now);
        let count = self.0.get(namespace).map_or(0, |(_, count)| *count);
        if count <= AT_ONCE { SETTLE } else { QUIET }
    }

    fn forget_old(&mut self, now: Instant) {
        self.0
            .retain(|_, (last, _)| now.duration_since(*last) < RECENT);
    }
}

/// Policies that were not judged for good, each with the moment at which it is judged again.
///
/// A pass applies its objects before it records them: a policy with the labels of a living instance is
/// not foreign before that time is over.
#[derive(Debug, Default)]
pub(super) struct Doubts(BTreeMap<PolicyRef, Instant>);

impl Doubts {
    fn note(&mut self, policy: PolicyRef, now: Instant) {
        self.0.entry(policy).or_insert(now + RECORDED);
    }

    fn forget(&mut self, policy: &PolicyRef) {
        self.0.remove(policy);
    }

    /// Waits for the moment of the next one; returns nothing when there is none.
    async fn next(&mut self) -> Option<PolicyRef> {
        let (policy, at) = self.0.iter().min_by_key(|(_, at)| **at)?;
        let (policy, at) = (policy.clone(), *at);
        sleep_until(at).await;
        self.forget(&policy);
        Some(policy)
    }
}

/// Memory of the watch over what separates customers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    corrections: Corrections,
    doubts: Doubts,
}

impl Memory {
    /// Waits for a policy that is to be judged again; returns nothing when there is none.
    pub(super) async fn next_doubt(&mut self) -> Option<PolicyRef> {
        self.doubts.next().await
    }
}

/// Makes an instance due that brings its namespace back, or notes a foreign network policy in a
/// customer's namespace. Returns true when an instance is due.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn attend(
    db: &Db,
    clock: &Clock,
    memory: &mut Memory,
    change: WallChange,
) -> Result<bool> {
    let is_touched = match change {
        WallChange::Ours {
            namespace,
            was_there,
        } => {
            let now = Instant::now();
            // The walls of a new namespace appear at once, and those that were mended appear again.
            if was_there {
                memory.corrections.count(&namespace, now);
            }
            let mut conn = db.begin_together().await?;
            let soon = clock.now() + memory.corrections.delay(&namespace, now);
            let touched = store::touch_namespace(&mut conn, &namespace, soon).await?;
            conn.commit().await?;
            touched > 0
        }
        WallChange::Foreign { policy, instance } => {
            judge(db, clock, memory, &policy, instance.as_deref()).await?;
            false
        }
        WallChange::ForeignGone(policy) => {
            memory.doubts.forget(&policy);
            let mut conn = db.begin().await?;
            alerts::resolve(&mut conn, clock, KIND, &subject(&policy)).await?;
            conn.commit().await?;
            false
        }
        WallChange::AllForeign(policies) => {
            memory.doubts.0.retain(|one, _| policies.contains(one));
            resolve_others(db, clock, &policies).await?;
            false
        }
    };
    Ok(is_touched)
}

/// Reports a policy that is foreign by what the database knows. One that may be an instance's by its
/// labels, and one that could not be judged, is judged again later.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn judge(
    db: &Db,
    clock: &Clock,
    memory: &mut Memory,
    policy: &PolicyRef,
    instance: Option<&str>,
) -> Result<()> {
    memory.doubts.note(policy.clone(), Instant::now());
    match standing(db, policy, instance).await? {
        Standing::Doubtful => return Ok(()),
        Standing::Foreign => report(db, clock, policy).await?,
        Standing::Elsewhere | Standing::Recorded => {}
    }
    memory.doubts.forget(policy);
    Ok(())
}

/// Standing of a network policy by what the database knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// No instance lives in its namespace.
    Elsewhere,
    /// It was applied for an instance.
    Recorded,
    /// It carries the labels of a living instance, which is not recorded to have it, or has the name of one
    /// that may not have been applied yet.
    Doubtful,
    Foreign,
}

async fn standing(db: &Db, policy: &PolicyRef, instance: Option<&str>) -> Result<Standing> {
    let living = store::living(&mut db.read().await?, &policy.namespace).await?;
    let is_it = |object: &ObjectRef| object.kind == POLICY && object.name == policy.name;
    let has_it = |one: &Living| one.applied.iter().any(is_it);
    let may_be_of = |one: &Living| has_it(one) || instance == Some(one.name.as_str());
    Ok(if living.is_empty() {
        Standing::Elsewhere
    } else if living.iter().any(|one| one.is_applied && has_it(one)) {
        Standing::Recorded
    } else if living.iter().any(may_be_of) {
        Standing::Doubtful
    } else {
        Standing::Foreign
    })
}

/// Subject of the alert about a policy.
fn subject(policy: &PolicyRef) -> String {
    format!("{}/{}", policy.namespace, policy.name)
}

async fn report(db: &Db, clock: &Clock, policy: &PolicyRef) -> Result<()> {
    let PolicyRef { namespace, name } = policy;
    let message = format!(
        "The network policy {name} in the customer's namespace {namespace} was not made by Dermaga, and may open \
         what Dermaga's policies close. Delete it unless you mean it."
    );
    let mut conn = db.begin().await?;
    alerts::raise(&mut conn, clock, KIND, &subject(policy), &message).await?;
    Ok(conn.commit().await?)
}

/// Ends the alerts about policies that an instance has from this pass on. A pass that takes too long applies
/// policies and records none, so that they look foreign until a later one does.
///
/// # Errors
/// When the database refuses.
pub(super) async fn recorded(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    new_status: &NewStatus,
) -> Result<()> {
    // A pass that failed records what it may have applied: a policy of that name may be foreign.
    if !new_status.is_applied {
        return Ok(());
    }
    let were_applied = seen.observed_generation == seen.generation && seen.failure_cause.is_none();
    let is_known = |one: &ObjectRef| were_applied && seen.applied.contains(one);
    let is_new = |one: &&ObjectRef| one.kind == POLICY && !is_known(one);
    for object in new_status.applied.iter().filter(is_new) {
        let policy = PolicyRef {
            namespace: seen.namespace.clone(),
            name: object.name.clone(),
        };
        alerts::resolve(conn, clock, KIND, &subject(&policy)).await?;
    }
    Ok(())
}

/// Ends the alerts about policies that went away while this server did not look, and about those that
/// an instance is recorded to have meanwhile.
async fn resolve_others(db: &Db, clock: &Clock, present: &[PolicyRef]) -> Result<()> {
    let open = alerts::open_subjects(&mut db.read().await?, KIND).await?;
    for told in open {
        let policy = present.iter().find(|one| subject(one) == told);
        let is_over = match policy {
            Some(policy) => standing(db, policy, None).await? == Standing::Recorded,
            None => true,
        };
        if is_over {
            let mut conn = db.begin().await?;
            alerts::resolve(&mut conn, clock, KIND, &told).await?;
            conn.commit().await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dermaga_runtime::contract;
    use serde_json::{Value, json};
    use sqlx::types::Json;

    use super::*;
    use crate::{
        execute,
        provisioning::{
            model::Status,
            test_service::objects,
            test_shop::{GOOD_IMAGE, Shop},
        },
    };

    /// The usual objects, and a policy.
    fn with_policy(instance: &contract::Instance) -> Vec<Value> {
        let name = &instance.name;
        let pods = json!({"matchLabels": {"app.kubernetes.io/name": name}});
        let mut all = objects(instance);
        all.push(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": POLICY, "metadata": {"name": name},
            "spec": {"podSelector": pods, "ingress": [{"from": [{"podSelector": pods}]}]},
        }));
        all
    }

    /// A shop with one instance, for which the policy `of-instance` was applied.
    async fn scene() -> (Shop, String, String) {
        let shop = Shop::open(GOOD_IMAGE).await;
        let instance = shop.buy().await;
        let applied = vec![ObjectRef::new(
            "networking.k8s.io/v1",
            POLICY,
            "of-instance",
        )];
        let mut conn = shop.db.begin().await.unwrap();
        let sql = "UPDATE instances SET applied = $1, observed_generation = generation";
        execute!(conn, sql, Json(applied)).unwrap();
        conn.commit().await.unwrap();
        (shop, instance.namespace, instance.name)
    }

    fn policy(namespace: &str, name: &str) -> PolicyRef {
        PolicyRef {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    async fn told(shop: &Shop) -> Vec<String> {
        let mut conn = shop.db.read().await.unwrap();
        alerts::open_subjects(&mut conn, KIND).await.unwrap()
    }

    async fn see(shop: &Shop, memory: &mut Memory, change: WallChange) {
        let attended = attend(&shop.db, &shop.clock, memory, change).await;
        assert!(!attended.unwrap(), "no instance is due");
    }

    #[tokio::test]
    async fn a_policy_is_ours_by_its_name_among_what_was_applied_and_not_by_its_labels() {
        let (shop, namespace, _) = scene().await;
        let mut memory = Memory::default();
        for (policy, instance, is_told) in [
            (policy("elsewhere", "open"), None, false),
            (policy(&namespace, "of-instance"), None, false),
            (policy(&namespace, "of-instance"), Some("unknown"), false),
            (policy(&namespace, "open"), Some("unknown"), true),
            (policy(&namespace, "dermaga-open"), None, true),
        ] {
            let about = subject(&policy);
            let instance = instance.map(str::to_owned);
            see(&shop, &mut memory, WallChange::Foreign { policy, instance }).await;
            assert_eq!(told(&shop).await.contains(&about), is_told, "{about}");
        }
        assert!(memory.doubts.0.is_empty());
        let present = vec![policy(&namespace, "open")];
        see(&shop, &mut memory, WallChange::AllForeign(present)).await;
        assert_eq!(told(&shop).await, [format!("{namespace}/open")]);
        let gone = WallChange::ForeignGone(policy(&namespace, "open"));
        see(&shop, &mut memory, gone).await;
        assert!(told(&shop).await.is_empty());
    }

    #[tokio::test]
    async fn a_policy_with_the_labels_of_a_living_instance_is_told_when_no_pass_records_it() {
        let (shop, namespace, name) = scene().await;
        let mut memory = Memory::default();
        let smuggled = policy(&namespace, "smuggled");
        let change = || WallChange::Foreign {
            policy: smuggled.clone(),
            instance: Some(name.clone()),
        };
        see(&shop, &mut memory, change()).await;
        assert!(told(&shop).await.is_empty());
        let at = memory.doubts.0[&smuggled];
        // Edits do not put it off.
        see(&shop, &mut memory, change()).await;
        assert_eq!(memory.doubts.0[&smuggled], at);
        memory.doubts.0.insert(smuggled.clone(), Instant::now());
        let due = memory.next_doubt().await.unwrap();
        judge(&shop.db, &shop.clock, &mut memory, &due, None)
            .await
            .unwrap();
        assert_eq!(told(&shop).await, [subject(&smuggled)]);
        assert!(memory.next_doubt().await.is_none());

        // One that the reconciler has removed by then is nothing to tell.
        let pruned = policy(&namespace, "pruned");
        let change = WallChange::Foreign {
            policy: pruned.clone(),
            instance: Some(name),
        };
        see(&shop, &mut memory, change).await;
        see(&shop, &mut memory, WallChange::ForeignGone(pruned)).await;
        assert!(memory.next_doubt().await.is_none());
    }

    #[tokio::test]
    async fn a_policy_that_is_recorded_late_is_told_no_more() {
        let shop = Shop::open(GOOD_IMAGE).await;
        shop.services.script().render = Some(with_policy);
        let instance = shop.buy().await;
        let late = policy(&instance.namespace, &instance.name);
        let change = WallChange::Foreign {
            policy: late.clone(),
            instance: None,
        };
        see(&shop, &mut Memory::default(), change).await;
        assert_eq!(told(&shop).await, [subject(&late)]);
        let server = shop.server(shop.in_folder());
        server.handle.wake();
        shop.is(&instance, Status::Written).await;
        assert!(told(&shop).await.is_empty());
        server.stop().await;
    }

    /// A pass that fails records what it may have applied.
    #[tokio::test]
    async fn a_foreign_policy_stays_told_when_one_of_its_name_could_not_be_applied() {
        let shop = Shop::open(GOOD_IMAGE).await;
        shop.services.script().render = Some(with_policy);
        let instance = shop.buy().await;
        let foreign = policy(&instance.namespace, &instance.name);
        let change = WallChange::Foreign {
            policy: foreign.clone(),
            instance: None,
        };
        see(&shop, &mut Memory::default(), change).await;
        // Nothing can be written into a folder that is a file.
        std::fs::write(shop.files(), "").unwrap();
        let server = shop.server(shop.in_folder());
        server.handle.wake();
        let failed = shop.is(&instance, Status::Failed).await;
        assert!(failed.applied.iter().any(|object| object.kind == POLICY));
        assert_eq!(told(&shop).await, [subject(&foreign)]);
        let present = WallChange::AllForeign(vec![foreign.clone()]);
        see(&shop, &mut Memory::default(), present).await;
        assert_eq!(told(&shop).await, [subject(&foreign)]);

        std::fs::remove_file(shop.files()).unwrap();
        shop.clock.advance(TimeDelta::hours(1));
        server.handle.wake();
        shop.is(&instance, Status::Written).await;
        assert!(told(&shop).await.is_empty());
        server.stop().await;
    }

    #[tokio::test]
    async fn a_policy_that_could_not_be_judged_is_judged_again() {
        let (shop, namespace, _) = scene().await;
        let mut memory = Memory::default();
        let mut conn = shop.db.begin().await.unwrap();
        let broken = "CREATE TRIGGER broken BEFORE INSERT ON alerts BEGIN SELECT RAISE(ABORT, 'broken'); END";
        execute!(conn, broken).unwrap();
        conn.commit().await.unwrap();
        let open = policy(&namespace, "open");
        let change = WallChange::Foreign {
            policy: open.clone(),
            instance: None,
        };
        let attended = attend(&shop.db, &shop.clock, &mut memory, change).await;
        assert!(attended.is_err());
        assert!(memory.doubts.0.contains_key(&open));
    }

    #[test]
    fn a_namespace_that_changes_again_and_again_waits() {
        let (mut corrections, start) = (Corrections::default(), Instant::now());
        for _ in 0..AT_ONCE {
            corrections.count("user-1", start);
            assert_eq!(corrections.delay("user-1", start), SETTLE);
        }
        corrections.count("user-1", start);
        assert_eq!(corrections.delay("user-1", start), QUIET);
        assert_eq!(corrections.delay("user-2", start), SETTLE);
        let still = start + RECENT / 2;
        corrections.count("user-1", still);
        assert_eq!(corrections.delay("user-1", still), QUIET);
        assert_eq!(corrections.delay("user-1", still + RECENT), SETTLE);
    }

    #[tokio::test]
    async fn walls_that_appear_do_not_make_their_namespace_wait() {
        let shop = Shop::open(GOOD_IMAGE).await;
        let instance = shop.buy().await;
        let mut memory = Memory::default();
        for was_there in [false, true] {
            for _ in 0..=AT_ONCE {
                let later = shop.clock.now() + TimeDelta::hours(1);
                let mut conn = shop.db.begin().await.unwrap();
                execute!(conn, "UPDATE instances SET next_attempt_at = $1", later).unwrap();
                conn.commit().await.unwrap();
                let change = WallChange::Ours {
                    namespace: instance.namespace.clone(),
                    was_there,
                };
                let attended = attend(&shop.db, &shop.clock, &mut memory, change).await;
                assert!(attended.unwrap());
            }
            let next = shop.now(&instance).await.next_attempt_at - shop.clock.now();
            assert_eq!(next > SETTLE, was_there, "{next}");
        }
    }
}
