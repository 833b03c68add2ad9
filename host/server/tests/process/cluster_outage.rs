//! Purchases while the cluster is away: on a control plane that `DERMAGA_TEST_CONTROL_PLANE` names,
//! whose API server is killed and started again.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_shop::test_cluster::{ControlPlane, RECOVERY};
use dermaga_tests::at_most;
use futures::future::join_all;
use serde_json::Value;

use super::{
    market::{Market, Purchase, all_are, namespaces},
    servers::within,
    site::{Patient, Server, Site},
};

const CUSTOMERS: usize = 10;
/// Purchases of each customer.
const EACH: usize = 5;
/// Purchases that are answered when the API server is killed, amid the second of each customer.
const BEFORE: usize = 15;
/// Time between two purchases of a customer, which spreads them over the outage.
const PAUSE: Duration = Duration::from_secs(5);
const OUTAGE: Duration = Duration::from_secs(30);
/// Longest wait for the purchases before the outage.
const SOON: Duration = Duration::from_secs(120);
/// Longest wait for all instances, the scheduler's own rest of a pod included; the rule is [`RECOVERY`].
const RUNNING: Duration = Duration::from_secs(120);
/// Longest time until all instances and namespaces are removed.
const REMOVED: Duration = Duration::from_secs(240);

/// Buys again and again, with a pause before each but the first.
async fn buy_all(
    market: &Market,
    (number, customer): (usize, &Patient),
    answered: &AtomicUsize,
) -> Vec<Purchase> {
    let mut purchases = Vec::new();
    for turn in 0..EACH {
        if turn > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let request = format!("purchase-{number}-{turn}");
        purchases.push(market.buy(customer, &request).await);
        answered.fetch_add(1, Ordering::Relaxed);
    }
    purchases
}

/// Lets every customer buy, and takes the API server away meanwhile.
async fn bought_while_it_is_away(market: &Market, plane: &ControlPlane) -> Vec<Purchase> {
    let answered = AtomicUsize::new(0);
    let customers = market.customers.iter().enumerate();
    let buying = join_all(customers.map(|customer| buy_all(market, customer, &answered)));
    let killing = async {
        within(SOON, "the first purchases", async || {
            answered.load(Ordering::Relaxed) >= BEFORE
        })
        .await;
        plane.kill();
        Instant::now()
    };
    let (purchases, away) = tokio::join!(buying, killing);
    tokio::time::sleep(OUTAGE.saturating_sub(away.elapsed())).await;
    plane.start();
    purchases.into_iter().flatten().collect()
}

/// Lets nodes report as kubelets do, again and again.
async fn keep_reporting(plane: &ControlPlane) {
    loop {
        plane.nodes_report().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until all instances run.
async fn all_run(purchases: &[Purchase], plane: &ControlPlane) {
    tokio::select! {
        _ = all_are(purchases, "RUNNING", RUNNING) => {}
        () = keep_reporting(plane) => {}
    }
}

/// Returns the time from the moment at which the cluster worked until the last instance of a customer
/// was ready. The scheduler may let a pod wait that came before it had found the API server again:
/// that time is the control plane's own, and left out.
async fn lateness(customer: &Patient, plane: &ControlPlane, works: DateTime<Utc>) -> TimeDelta {
    let instances = customer.get("/api/instances").await;
    let instances = instances.as_array().unwrap();
    assert_eq!(instances.len(), EACH, "{instances:#?}");
    let ready = |instance: &Value| {
        let at = instance["readyAt"].as_str().unwrap();
        at.parse::<DateTime<Utc>>().unwrap()
    };
    let last = instances.iter().map(ready).max().unwrap();
    let id = instances[0]["id"].as_str().unwrap();
    let detail = customer.get(&format!("/api/instances/{id}")).await;
    let namespace = detail["namespace"].as_str().unwrap();
    let scheduled = plane.scheduled_at(namespace).await;
    last - scheduled.map_or(works, |at| at.max(works))
}

/// Each namespace has a workload for each instance of its customer, and nothing else.
async fn each_is_there_once(admin: &Patient, namespaces: &[String]) {
    for namespace in namespaces {
        let path = format!("/api/admin/k8s/deployments?namespace={namespace}");
        let workloads = admin.get(&path).await;
        assert_eq!(workloads.as_array().unwrap().len(), EACH, "{workloads:#}");
        let path = format!("/api/admin/instances/drift?namespace={namespace}");
        let drift = admin.get(&path).await;
        assert!(drift.as_array().unwrap().is_empty(), "{drift:#}");
    }
}

/// Cancels everything, and waits until no namespace is left.
async fn leave(admin: &Patient, purchases: &[Purchase], namespaces: &[String]) {
    for purchase in purchases {
        purchase.customer.delete(&purchase.subscription).await;
    }
    all_are(purchases, "TERMINATED", REMOVED).await;
    for namespace in namespaces {
        let path = format!("/api/admin/k8s/namespaces?namespace={namespace}");
        let left = admin.get(&path).await;
        assert!(left.as_array().unwrap().is_empty(), "{left:#}");
    }
}

async fn purchases_outlive_the_api_server(on_postgres: bool) {
    let Some(plane) = ControlPlane::take().await else {
        return;
    };
    let Some(mut site) = Site::on_cluster(on_postgres, &plane.kubeconfig()).await else {
        return;
    };
    // A request that takes its time on a busy machine is not cut off.
    site.set("DERMAGA_REQUEST_TIMEOUT", "30s");
    // No other test uses these nodes, and no order may be refused because they cannot be seen.
    site.set("DERMAGA_CAPACITY_CHECK", "true");
    let server = Server::start(&site);
    let market = Market::open(&site, CUSTOMERS).await;
    let purchases = Box::pin(bought_while_it_is_away(&market, &plane)).await;
    assert_eq!(purchases.len(), CUSTOMERS * EACH);
    let works = Box::pin(plane.works_at()).await;
    Box::pin(all_run(&purchases, &plane)).await;
    let recovery = at_most(RECOVERY, RUNNING);
    let recovery = TimeDelta::from_std(recovery).unwrap();
    for customer in &market.customers {
        let late = Box::pin(lateness(customer, &plane, works)).await;
        println!("ready {late} after the cluster worked");
        assert!(late < recovery, "{late}");
    }
    let namespaces = namespaces(&purchases).await;
    assert_eq!(namespaces.len(), CUSTOMERS, "{namespaces:?}");
    each_is_there_once(&market.admin, &namespaces).await;
    let books = site.books();
    let entries = CUSTOMERS + purchases.len();
    assert_eq!(books["entries"], entries, "each acted once: {books:#}");
    leave(&market.admin, &purchases, &namespaces).await;
    drop(server);
    site.books();
}

/// Fifty purchases, most of them while the API server is away for half a minute, on the embedded database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes three minutes, and the machine for itself; .ci/long runs it"]
async fn purchases_on_sqlite_outlive_the_api_server() {
    Box::pin(purchases_outlive_the_api_server(false)).await;
}

/// The same on PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes three minutes, and the machine for itself; .ci/long runs it"]
async fn purchases_on_postgresql_outlive_the_api_server() {
    Box::pin(purchases_outlive_the_api_server(true)).await;
}
