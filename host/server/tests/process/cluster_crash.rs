//! Servers that die or freeze while they apply to a real cluster: with a disposable one that
//! `DERMAGA_TEST_KUBECONFIG` names.

use std::time::Duration;

use dermaga_shop::test_cluster::RECOVERY;
use dermaga_tests::at_most;
use rand::RngExt as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    market::{Market, Purchase, all_are, namespaces},
    servers::within,
    site::{Patient, Server, Site, free_address},
};

const DEATHS: usize = 6;
/// The longest that a server lives after it was ready, in milliseconds.
const LONGEST_LIFE: u64 = 500;
/// Customers of the server that is frozen, and purchases of each.
const CUSTOMERS: usize = 2;
const EACH: usize = 5;
/// Two leases and the time after which PostgreSQL ends an abandoned transaction.
const TAKEN_OVER: Duration = Duration::from_secs(150);
/// Longest time for what many instances do one after the other.
const SETTLED: Duration = Duration::from_secs(120);

/// Returns the longest time until an instance is ready, from the moment at which its server is back.
fn recovery() -> Duration {
    at_most(RECOVERY, Duration::from_secs(90))
}

/// Returns the same until an instance is gone: its namespace is removed by the cluster, in its own time.
fn removal() -> Duration {
    at_most(Duration::from_secs(30), Duration::from_secs(120))
}

async fn list(admin: &Patient, path: &str) -> Vec<Value> {
    admin.get(path).await.as_array().unwrap().clone()
}

/// A customer, and the PostgreSQL that was just bought.
struct Bought {
    admin: Patient,
    customer: Patient,
    /// Paths of the subscription and of its instance.
    subscription: String,
    path: String,
    namespace: String,
}

async fn bought(site: &Site) -> Bought {
    let patient = Patient::new(site);
    let admin = patient.administrator(site).await;
    let coupon = json!({ "code": "RICH", "plugin": "coupon-credit-topup", "parameters": { "amount": 500_000 } });
    admin.post("/api/admin/coupons", "rich", &coupon).await;
    let person = json!({
        "email": "c@example.com", "password": "kata sandi yang panjang", "name": "Pelanggan",
    });
    let session = patient
        .post("/api/auth/register", "register", &person)
        .await;
    let customer = patient.signed_in(&session);
    let code = json!({ "couponCode": "RICH" });
    customer
        .post("/api/wallet/redeem-coupon", "rich", &code)
        .await;
    let plans = patient.get("/api/catalog/services/postgresql/plans").await;
    let mut plans = plans.as_array().unwrap().iter();
    let plan = plans.find(|plan| plan["slug"] == "basic").unwrap();
    let order = json!({ "planId": plan["id"] });
    let bought = customer.post("/api/subscriptions", "buy", &order).await;
    let path = format!("/api/instances/{}", bought["instanceId"].as_str().unwrap());
    let instance = customer.get(&path).await;
    let namespace = instance["namespace"].as_str().unwrap().to_owned();
    let subscription = bought["subscription"]["id"].as_str().unwrap();
    Bought {
        subscription: format!("/api/subscriptions/{subscription}"),
        admin,
        customer,
        path,
        namespace,
    }
}

async fn killed_while_it_applies(on_postgres: bool) {
    let Some(mut site) = Site::in_cluster(on_postgres).await else {
        return;
    };
    // A sign-in that takes its time on a busy machine is not cut off.
    site.set("DERMAGA_REQUEST_TIMEOUT", "30s");
    let mut server = Server::start(&site);
    let Bought {
        admin,
        customer,
        subscription,
        path,
        namespace,
    } = bought(&site).await;

    let die = async |mut server: Server, path: &str, word: &str, most: Duration| {
        for _ in 0..DEATHS {
            let life = rand::rng().random_range(0..LONGEST_LIFE);
            tokio::time::sleep(Duration::from_millis(life)).await;
            drop(server);
            server = Server::start(&site);
        }
        let took = within(most, word, async || {
            customer.get(path).await["status"] == word
        })
        .await;
        println!("{word} {took:?} after the last start");
        server
    };
    server = die(server, &path, "RUNNING", recovery()).await;
    let scope = format!("namespace={namespace}");
    let workloads = list(&admin, &format!("/api/admin/k8s/deployments?{scope}")).await;
    assert_eq!(workloads.len(), 1, "{workloads:#?}");
    let drift = format!("/api/admin/instances/drift?{scope}");
    assert_eq!(list(&admin, &drift).await, Vec::<Value>::new());

    customer.delete(&subscription).await;
    let server = die(server, &path, "TERMINATED", removal()).await;
    let namespaces = format!("/api/admin/k8s/namespaces?{scope}");
    assert_eq!(list(&admin, &namespaces).await, Vec::<Value>::new());
    assert_eq!(list(&admin, &drift).await, Vec::<Value>::new());
    drop(server);
}

/// A server that is killed while it applies leaves no object twice and none behind, and its next run
/// continues at once, although its leases have not ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_while_it_applies_leaves_nothing_twice_and_nothing_behind() {
    Box::pin(killed_while_it_applies(false)).await;
}

/// The same on PostgreSQL, where nothing but the leases says that the server is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_postgresql_that_is_killed_while_it_applies_leaves_nothing_either() {
    Box::pin(killed_while_it_applies(true)).await;
}

/// Buys at both servers in turns, which then share the instances.
async fn shared(market: &Market, other: &str) -> Vec<Purchase> {
    let mut purchases = Vec::new();
    for turn in 0..EACH {
        for (number, customer) in market.customers.iter().enumerate() {
            let is_at_other = (turn + number) % 2 == 1;
            let at_other = customer.at(other);
            let customer = if is_at_other { &at_other } else { customer };
            let request = format!("purchase-{number}-{turn}");
            purchases.push(market.buy(customer, &request).await);
        }
    }
    purchases
}

/// Generation of each instance.
async fn generations(purchases: &[Purchase]) -> Vec<i64> {
    let mut all = Vec::new();
    for purchase in purchases {
        all.push(purchase.look().await["generation"].as_i64().unwrap());
    }
    all
}

/// Every instance is there once and has no pod, and nothing else is there.
async fn each_is_stopped_once(admin: &Patient, namespaces: &[String]) {
    for namespace in namespaces {
        let scope = format!("namespace={namespace}");
        let workloads = list(admin, &format!("/api/admin/k8s/deployments?{scope}")).await;
        assert_eq!(workloads.len(), EACH, "{workloads:#?}");
        let pods = format!("/api/admin/k8s/pods?{scope}");
        within(recovery(), "no pod is left", async || {
            list(admin, &pods).await.is_empty()
        })
        .await;
        let drift = list(admin, &format!("/api/admin/instances/drift?{scope}")).await;
        assert!(drift.is_empty(), "{drift:#?}");
    }
}

/// A server that shares ten instances with another one, freezes in the middle of its work, and comes
/// back when its leases are the other's, does nothing twice and takes nothing back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_frozen_past_its_leases_does_no_harm() {
    let Some(mut site) = Site::in_cluster(true).await else {
        return;
    };
    // A request that takes its time on a busy machine is not cut off.
    site.set("DERMAGA_REQUEST_TIMEOUT", "30s");
    let frozen = Server::start(&site);
    let listen = free_address();
    let other = Server::start_at(&site, &listen);
    let market = Market::open(&site, CUSTOMERS).await;
    let purchases = Box::pin(shared(&market, &listen)).await;
    let life = rand::rng().random_range(0..LONGEST_LIFE);
    tokio::time::sleep(Duration::from_millis(life)).await;
    frozen.send(Signal::STOP);

    let admin = market.admin.at(&listen);
    let purchases: Vec<_> = purchases.iter().map(|one| one.at(&listen)).collect();
    let took = all_are(&purchases, "RUNNING", TAKEN_OVER).await;
    println!("RUNNING {took:?} after the other froze");
    let seen = generations(&purchases).await;
    for purchase in &purchases {
        let stop = format!("{}/stop", purchase.instance);
        purchase.customer.put(&stop, &json!({})).await;
    }
    all_are(&purchases, "STOPPED", SETTLED).await;

    frozen.send(Signal::CONT);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let stopped: Vec<_> = seen.iter().map(|generation| generation + 1).collect();
    assert_eq!(generations(&purchases).await, stopped);
    let namespaces = namespaces(&purchases).await;
    assert_eq!(namespaces.len(), CUSTOMERS, "{namespaces:?}");
    // A request that a pass was about to send goes out late; it is made good at once.
    all_are(&purchases, "STOPPED", recovery()).await;
    each_is_stopped_once(&admin, &namespaces).await;
    for purchase in &purchases {
        purchase.customer.delete(&purchase.subscription).await;
    }
    all_are(&purchases, "TERMINATED", SETTLED).await;
    for namespace in &namespaces {
        let drift = format!("/api/admin/instances/drift?namespace={namespace}");
        assert_eq!(list(&admin, &drift).await, Vec::<Value>::new());
    }
    site.books();
    drop((frozen, other));
}
