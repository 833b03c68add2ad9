//! Servers that die or freeze while they apply to a real cluster: with a disposable one that
//! `DERMAGA_TEST_KUBECONFIG` names.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::site::{Patient, Server, Site, free_address};

const DEATHS: usize = 6;
/// The longest that a server lives after it was ready, in milliseconds.
const LONGEST_LIFE: u64 = 500;

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

/// A server that is killed while it applies leaves no object twice and none behind, and its next run
/// continues at once, although its leases have not ended. The times are printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_while_it_applies_leaves_nothing_twice_and_nothing_behind() {
    let Some(site) = Site::in_cluster(false).await else {
        return;
    };
    let mut server = Server::start(&site);
    let Bought {
        admin,
        customer,
        subscription,
        path,
        namespace,
    } = bought(&site).await;

    let die = async |mut server: Server, path: &str, word: &str| {
        for _ in 0..DEATHS {
            let life = rand::rng().random_range(0..LONGEST_LIFE);
            tokio::time::sleep(Duration::from_millis(life)).await;
            drop(server);
            server = Server::start(&site);
        }
        let began = Instant::now();
        customer.until(path, "/status", word).await;
        println!("{word} {:?} after the last start", began.elapsed());
        server
    };
    server = die(server, &path, "RUNNING").await;
    let scope = format!("namespace={namespace}");
    let workloads = list(&admin, &format!("/api/admin/k8s/deployments?{scope}")).await;
    assert_eq!(workloads.len(), 1, "{workloads:#?}");
    let drift = format!("/api/admin/instances/drift?{scope}");
    assert_eq!(list(&admin, &drift).await, Vec::<Value>::new());

    customer.delete(&subscription).await;
    let server = die(server, &path, "TERMINATED").await;
    let namespaces = format!("/api/admin/k8s/namespaces?{scope}");
    assert_eq!(list(&admin, &namespaces).await, Vec::<Value>::new());
    assert_eq!(list(&admin, &drift).await, Vec::<Value>::new());
    drop(server);
}

/// A server that freezes in the middle of its work, and comes back when its leases are others', does
/// nothing twice and takes nothing back. The times are printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_frozen_past_its_leases_does_no_harm() {
    let Some(site) = Site::in_cluster(true).await else {
        return;
    };
    let frozen = Server::start(&site);
    let Bought {
        admin,
        customer,
        subscription,
        path,
        namespace,
    } = bought(&site).await;
    let life = rand::rng().random_range(0..LONGEST_LIFE);
    tokio::time::sleep(Duration::from_millis(life)).await;
    frozen.send(Signal::STOP);

    let listen = free_address();
    let other = Server::start_at(&site, &listen);
    let (admin, customer) = (admin.at(&listen), customer.at(&listen));
    let began = Instant::now();
    let is_running = async || customer.get(&path).await["status"] == "RUNNING";
    while !is_running().await {
        // Two leases and the time after which PostgreSQL ends an abandoned transaction.
        assert!(began.elapsed() < Duration::from_secs(150), "never RUNNING");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("RUNNING {:?} after the other froze", began.elapsed());
    let seen = customer.get(&path).await;
    let stop = format!("{path}/stop");
    customer.put(&stop, &json!({})).await;
    customer.until(&path, "/status", "STOPPED").await;

    frozen.send(Signal::CONT);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = customer.get(&path).await;
    assert_eq!(after["status"], "STOPPED", "{after:#}");
    assert_eq!(
        after["generation"].as_i64().unwrap(),
        seen["generation"].as_i64().unwrap() + 1
    );
    let scope = format!("namespace={namespace}");
    let workloads = list(&admin, &format!("/api/admin/k8s/deployments?{scope}")).await;
    assert_eq!(workloads.len(), 1, "{workloads:#?}");
    let pods = list(&admin, &format!("/api/admin/k8s/pods?{scope}")).await;
    assert!(pods.is_empty(), "{pods:#?}");
    let drift = format!("/api/admin/instances/drift?{scope}");
    assert_eq!(list(&admin, &drift).await, Vec::<Value>::new());
    customer.delete(&subscription).await;
    customer.until(&path, "/status", "TERMINATED").await;
    assert_eq!(list(&admin, &drift).await, Vec::<Value>::new());
    site.books();
    drop((frozen, other));
}
