//! Requests to a real cluster, counted by its audit log: with a disposable one that
//! `DERMAGA_TEST_KUBECONFIG` names, in whose folder is `logs/audit.log`.

use std::{
    collections::{BTreeMap, HashSet},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use dermaga_runtime::contract;
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    model::{Instance, Status},
    test_shop::{GOOD_IMAGE, Server, Shop, in_cluster},
};
use crate::{
    db::{Clock, new_id},
    execute,
    ids::UserId,
    test_cluster::named_by,
};

const PURCHASES: usize = 100;
/// Most requests that a purchase may cost, and most writes among them.
const REQUESTS: usize = 25;
const WRITES: usize = 12;
/// Customers, where there are many, and purchases of each.
const CUSTOMERS: usize = 6;
const EACH: usize = 3;
/// Objects around the instances of a customer: namespace, quota, limits and five network policies.
const AROUND: usize = 8;
/// Those among them that each purchase changes: the namespace names its instances, and the quota has
/// room for them.
const CHANGED: usize = 2;
/// Events in the cluster about a purchase: that it was applied, and that it was started.
const TOLD: usize = 2;
/// Purchases of a service that is shipped.
const SHIPPED: usize = 20;
/// Rendering of that service, N8N, on its free plan, to which a test of the bundled plugins holds it.
const N8N: &str = include_str!("../../../../plugins/service-n8n/cases/manifests-free.json");
/// Instances at rest whose looks are counted.
const RESTING: usize = 8;

/// The audit log of the test cluster, and a user of it whose requests are counted.
struct Audit {
    log: PathBuf,
    user: String,
    kubeconfig: PathBuf,
    #[expect(dead_code, reason = "held")]
    folder: tempfile::TempDir,
    /// Two measures at once would not find room on the node.
    #[expect(dead_code, reason = "held")]
    turn: MutexGuard<'static, ()>,
}

#[derive(Debug, Default)]
struct Requests {
    reads: usize,
    writes: usize,
    /// By verb and resource.
    kinds: BTreeMap<String, usize>,
}

impl Requests {
    /// Counts the reads without those of the cluster's version, by which the server asks every few seconds if it is
    /// there, however many instances it has.
    fn reads_of_objects(&self) -> usize {
        self.reads - self.kinds.get("get other").copied().unwrap_or_default()
    }

    /// Counts all but those questions.
    fn all(&self) -> usize {
        self.reads_of_objects() + self.writes
    }

    /// Counts the writes of what is around the instances of customers.
    fn writes_around(&self) -> usize {
        let kinds = [
            "patch namespaces",
            "patch resourcequotas",
            "patch limitranges",
            "patch networkpolicies",
        ];
        kinds.iter().filter_map(|kind| self.kinds.get(*kind)).sum()
    }

    /// Returns those that came after others had been counted.
    fn since(&self, before: &Self) -> Self {
        let earlier = |kind: &str| before.kinds.get(kind).copied().unwrap_or_default();
        let kinds = self.kinds.iter();
        Self {
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
            kinds: kinds
                .map(|(kind, count)| (kind.clone(), count - earlier(kind)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}

impl Audit {
    /// Waits for its turn; returns nothing when no cluster is named, or it keeps no audit log.
    async fn open() -> Option<Self> {
        static TURN: Mutex<()> = Mutex::const_new(());
        let admin = named_by("DERMAGA_TEST_KUBECONFIG")?;
        let log = admin.parent()?.join("logs/audit.log");
        if !log.exists() {
            let must_run = std::env::var("DERMAGA_TEST_REQUIRE").as_deref() == Ok("all");
            assert!(
                !must_run,
                "this test must run, and {} is absent",
                log.display()
            );
            let _ = writeln!(std::io::stderr(), "skipped: the cluster keeps no audit log");
            return None;
        }
        let id: Uuid = new_id(&Clock::system());
        let user = format!("counted-{id}");
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, as_user(&admin, &user).to_string()).unwrap();
        Some(Self {
            log,
            user,
            kubeconfig,
            folder,
            turn: TURN.lock().await,
        })
    }

    /// Counts the requests so far.
    fn requests(&self) -> Requests {
        let text = std::fs::read(&self.log).unwrap();
        let (mut counted, mut ids) = (Requests::default(), HashSet::new());
        for line in text.split(|byte| *byte == b'\n') {
            let Ok(event) = serde_json::from_slice::<Value>(line) else {
                continue;
            };
            let is_its = event["impersonatedUser"]["username"] == self.user.as_str();
            if !is_its || !ids.insert(event["auditID"].as_str().unwrap_or_default().to_owned()) {
                continue;
            }
            let verb = event["verb"].as_str().unwrap_or_default();
            let resource = event["objectRef"]["resource"].as_str().unwrap_or("other");
            *counted
                .kinds
                .entry(format!("{verb} {resource}"))
                .or_default() += 1;
            if matches!(verb, "get" | "list" | "watch") {
                counted.reads += 1;
            } else {
                counted.writes += 1;
            }
        }
        counted
    }
}

/// The same access as the administrator has, under another name.
fn as_user(admin: &Path, user: &str) -> Value {
    let mut config = serde_json::to_value(Kubeconfig::read_from(admin).unwrap()).unwrap();
    for one in config["users"].as_array_mut().unwrap() {
        one["user"]["as"] = json!(user);
        one["user"]["as-groups"] = json!(["system:masters"]);
    }
    config
}

/// Makes every instance due, and waits until each was looked at.
async fn resync(shop: &Shop, instances: &[Instance]) {
    let now = shop.clock.now();
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "UPDATE instances SET next_attempt_at = $1";
    execute!(conn, sql, now).unwrap();
    conn.commit().await.unwrap();
    for instance in instances {
        let is_looked_at = |one: &Instance| one.last_ran_at.is_some_and(|at| at > now);
        shop.until(instance, is_looked_at).await;
    }
}

/// Checks that instances which are as they were applied are read once at a resync, and not written.
async fn resync_costs_no_write(shop: &Shop, audit: &Audit, instances: &[Instance]) {
    let before = audit.requests();
    resync(shop, instances).await;
    let after = audit.requests();
    let reads = after.reads_of_objects() - before.reads_of_objects();
    println!("resync of {} instances: {reads} reads", instances.len());
    assert_eq!(after.writes - before.writes, 0, "{:?}", after.kinds);
    assert!(reads <= instances.len(), "{:?}", after.kinds);
}

/// Takes all instances away, then the server.
async fn end(shop: &Shop, server: Server, instances: &[Instance]) {
    for instance in instances {
        shop.cancel(instance).await;
    }
    server.handle.wake();
    for instance in instances {
        shop.is(instance, Status::Terminated).await;
    }
    server.stop().await;
}

/// Waits until nothing was asked for a while.
async fn quiet(audit: &Audit) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut before = usize::MAX;
    while Instant::now() < deadline {
        let Requests { reads, writes, .. } = audit.requests();
        if reads + writes == before {
            return;
        }
        before = reads + writes;
        sleep(Duration::from_secs(2)).await;
    }
}

/// A purchase costs a few requests, and an instance that is as it was applied costs none.
#[tokio::test]
async fn purchases_cost_few_requests_and_a_resync_none() {
    let Some(audit) = Audit::open().await else {
        return;
    };
    let (provisioner, _) = in_cluster(&audit.kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(provisioner);
    sleep(Duration::from_secs(1)).await;
    let mut instances = Vec::new();
    for _ in 0..PURCHASES {
        instances.push(shop.buy().await);
        server.handle.wake();
    }
    for instance in &instances {
        shop.is(instance, Status::Running).await;
    }
    quiet(&audit).await;
    let bought = audit.requests();
    println!("{PURCHASES} purchases: {bought:?}");

    for _ in 0..2 {
        resync_costs_no_write(&shop, &audit, &instances).await;
    }
    end(&shop, server, &instances).await;
    assert!(bought.writes <= WRITES * PURCHASES, "{bought:?}");
    let all = bought.reads + bought.writes;
    assert!(all <= REQUESTS * PURCHASES, "{bought:?}");
}

/// Buys once for each of these customers, and counts the requests until all is at rest.
async fn bought_by(
    customers: &[UserId],
    shop: &Shop,
    (server, audit): (&Server, &Audit),
) -> (Vec<Instance>, Requests) {
    quiet(audit).await;
    let before = audit.requests();
    let mut instances = Vec::new();
    for customer in customers {
        instances.push(shop.buy_as(*customer).await);
        server.handle.wake();
    }
    for instance in &instances {
        shop.is(instance, Status::Running).await;
    }
    quiet(audit).await;
    (instances, audit.requests().since(&before))
}

/// The first purchase of a customer costs the objects around the instances, each written once; those
/// that follow write two of them again.
#[tokio::test]
async fn what_is_around_a_customers_instances_is_written_once() {
    let Some(audit) = Audit::open().await else {
        return;
    };
    let (provisioner, _) = in_cluster(&audit.kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(provisioner);
    sleep(Duration::from_secs(1)).await;
    let mut customers = Vec::new();
    for number in 0..CUSTOMERS {
        let email = format!("customer-{number}@example.org");
        customers.push(shop.customer(&email).await);
    }
    let parts = (&server, &audit);
    let (mut instances, first) = bought_by(&customers, &shop, parts).await;
    let again = customers.repeat(EACH - 1);
    let (others, further) = bought_by(&again, &shop, parts).await;
    println!("{CUSTOMERS} first purchases: {first:?}");
    println!("{} further ones: {further:?}", again.len());
    instances.extend(others);
    end(&shop, server, &instances).await;

    assert!(first.writes_around() <= AROUND * CUSTOMERS, "{first:?}");
    assert!(
        further.writes_around() <= CHANGED * again.len(),
        "{further:?}"
    );
    // Around the first instance of each, the namespace is looked for once.
    let (writes, requests) = (AROUND + WRITES, AROUND + 1 + REQUESTS);
    assert!(first.writes <= writes * CUSTOMERS, "{first:?}");
    assert!(first.all() <= requests * CUSTOMERS, "{first:?}");
    assert!(further.writes <= WRITES * again.len(), "{further:?}");
    assert!(further.all() <= REQUESTS * again.len(), "{further:?}");
}

/// Returns the objects of an instance as the plugin of N8N renders them.
fn n8n(instance: &contract::Instance) -> Vec<Value> {
    let case: Value = serde_json::from_str(N8N).unwrap();
    let of_case = |pointer: &str| case.pointer(pointer).unwrap().as_str().unwrap();
    let objects = case["output"]["ok"].to_string();
    // Its host name and its Secret begin with its name.
    let objects = objects
        .replace(of_case("/input/name"), &instance.name)
        .replace(
            of_case("/input/images/0/reference"),
            &instance.images[0].reference,
        )
        .replace(of_case("/input/secrets/0"), &instance.secrets[0]);
    serde_json::from_str(&objects).unwrap()
}

/// A service that is shipped costs a write for each of its objects and for its Secret, besides two events and
/// what is around it, and no more requests than another.
#[tokio::test]
async fn purchases_of_a_shipped_service_cost_a_write_for_each_object() {
    let Some(audit) = Audit::open().await else {
        return;
    };
    let (provisioner, _) = in_cluster(&audit.kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    shop.services.script().render = Some(n8n);
    let mut conn = shop.db.begin().await.unwrap();
    // The gate admits what is rendered on its own plan.
    let sql = "UPDATE service_plans SET cpu_millis = 250, memory_mib = 768";
    execute!(conn, sql).unwrap();
    conn.commit().await.unwrap();
    let server = shop.server(provisioner);
    sleep(Duration::from_secs(1)).await;
    let customer = shop.customer("customer@example.org").await;
    let customers = [customer; SHIPPED];
    let (instances, bought) = bought_by(&customers, &shop, (&server, &audit)).await;
    println!("{SHIPPED} purchases of N8N: {bought:?}");
    resync_costs_no_write(&shop, &audit, &instances).await;
    end(&shop, server, &instances).await;

    let kinds = [
        "secrets",
        "persistentvolumeclaims",
        "deployments",
        "services",
        "ingresses",
    ];
    for kind in kinds {
        let written = bought.kinds.get(&format!("patch {kind}")).copied();
        assert!(written >= Some(SHIPPED), "{kind}: {bought:?}");
    }
    let writes = kinds.len() + TOLD + CHANGED;
    assert!(bought.writes <= writes * SHIPPED + AROUND, "{bought:?}");
    assert!(bought.all() <= REQUESTS * SHIPPED, "{bought:?}");
}

/// Waits until this many instances are at rest.
async fn at_rest(shop: &Shop, wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let resting = "SELECT count(*) FROM instances WHERE rests_until = next_attempt_at";
    while usize::try_from(shop.count(resting).await).unwrap() < wanted {
        assert!(Instant::now() < deadline, "instances do not rest");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Instances at rest are looked at before their time, by one request for the Secrets of their
/// namespace at most, and stay at rest.
#[tokio::test]
async fn quiet_looks_cost_one_request_for_a_namespace() {
    let Some(audit) = Audit::open().await else {
        return;
    };
    let (provisioner, _) = in_cluster(&audit.kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(provisioner);
    let mut instances = Vec::new();
    for _ in 0..RESTING {
        instances.push(shop.buy().await);
    }
    server.handle.wake();
    for instance in &instances {
        shop.is(instance, Status::Running).await;
    }
    quiet(&audit).await;
    at_rest(&shop, RESTING).await;
    let (before, asked) = (audit.requests(), shop.services.script().calls.clone());
    let now = shop.clock.now();
    // A round comes every 15 seconds, and looks at what is due within 30.
    let due = now + chrono::TimeDelta::seconds(25);
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "UPDATE instances SET next_attempt_at = $1, rests_until = $1";
    execute!(conn, sql, due).unwrap();
    conn.commit().await.unwrap();
    for instance in &instances {
        let is_looked_at = |one: &Instance| one.checked_at.is_some_and(|at| at > now);
        let looked = shop.until(instance, is_looked_at).await;
        assert!(looked.checked_at.is_some_and(|at| at < due), "{looked:?}");
    }
    let after = audit.requests();
    at_rest(&shop, RESTING).await;
    let lists = |requests: &Requests| requests.kinds.get("list secrets").copied();
    let looks = lists(&after).unwrap_or(0) - lists(&before).unwrap_or(0);
    println!("{RESTING} instances at rest: {looks} lists of Secrets");
    assert_eq!(after.writes, before.writes, "{:?}", after.kinds);
    assert!(looks <= 1, "{:?}", after.kinds);
    assert_eq!(shop.services.script().calls, asked);
    end(&shop, server, &instances).await;
}
