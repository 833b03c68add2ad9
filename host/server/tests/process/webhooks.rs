//! `kill -9` while events are delivered: none is lost, and few come twice.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::HeaderMap};
use dermaga_shop::{
    db::{Clock, Db},
    outbox::{self, Topic},
};
use rand::RngExt as _;
use serde_json::json;
use uuid::Uuid;

use super::site::{Patient, Server, Site, end_leases, seeded};

const EVENTS: usize = 200;
const DEATHS: usize = 8;
/// Deaths that must fall within the deliveries, so that they show something.
const WITHIN: usize = 3;
/// Longest life of a server after it was ready, in milliseconds.
const LONGEST_LIFE: u64 = 700;
/// Time that the receiver takes for each request: [`IN_FLIGHT`] at a time, so many of the longest lives as [`WITHIN`]
/// says deliver half of [`EVENTS`].
const PAUSE: Duration = Duration::from_millis(80);
/// Deliveries to one endpoint that a server may be in the middle of.
const IN_FLIGHT: usize = 4;

type Ids = Arc<Mutex<Vec<String>>>;

async fn take(State(ids): State<Ids>, headers: HeaderMap) {
    let id = headers["webhook-id"].to_str().unwrap();
    ids.lock().unwrap().push(id.to_owned());
    tokio::time::sleep(PAUSE).await;
}

/// Starts a receiver, which outlives the servers; returns its address.
async fn receiver(ids: Ids) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(take).with_state(ids);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/")
}

/// Writes all events at once, so that no server delivers some before the last one is there.
async fn put(db: &Db, reader: Uuid) {
    let clock = Clock::system();
    let mut conn = db.begin().await.unwrap();
    for number in 0..EVENTS {
        let (topic, payload) = (Topic::QuotaFree, json!({ "number": number }));
        outbox::put(&mut conn, &clock, topic, reader, payload)
            .await
            .unwrap();
    }
    conn.commit().await.unwrap();
}

async fn delivered(db: &Db) -> i64 {
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT count(*) FROM webhook_deliveries WHERE state = 'DELIVERED'";
    let (count,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    count
}

async fn killed_while_it_delivers(on_postgres: bool) {
    let Some(mut site) = Site::new(on_postgres).await else {
        return;
    };
    site.set("DERMAGA_WEBHOOK_ALLOW_HTTP", "true");
    site.set("DERMAGA_WEBHOOK_PERMIT_LOOPBACK", "true");
    let mut random = seeded();
    let ids = Ids::default();
    let url = receiver(Arc::clone(&ids)).await;
    let register = async |site: &Site| Patient::new(site).registered("c@example.com").await;
    let session = site.opened(register).await;
    let mut server = Server::start(&site);
    let patient = Patient::new(&site);
    let reader = session["user"]["id"].as_str().unwrap().parse().unwrap();
    let hook = json!({ "url": url, "events": ["QUOTA_FREE"] });
    let patient = patient.signed_in(&session);
    patient.post("/api/webhooks", "hook", &hook).await;
    let db = site.database().await;
    put(&db, reader).await;
    // The first life ends within the deliveries, however long a busy machine takes to begin them.
    for _ in 0..600 {
        if delivered(&db).await > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut at_deaths = Vec::new();
    for _ in 0..DEATHS {
        let life = random.random_range(0..LONGEST_LIFE);
        tokio::time::sleep(Duration::from_millis(life)).await;
        drop(server);
        at_deaths.push(delivered(&db).await);
        end_leases(&db, "webhook_deliveries").await;
        server = Server::start(&site);
    }
    let all = i64::try_from(EVENTS).unwrap();
    for _ in 0..600 {
        if delivered(&db).await == all {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(delivered(&db).await, all);
    drop(server);
    println!("delivered at each death: {at_deaths:?}");
    let within = at_deaths.iter().filter(|number| **number < all).count();
    assert!(within >= WITHIN, "it died too late: {at_deaths:?}");
    let is_begun = at_deaths.iter().any(|number| (1..all).contains(number));
    assert!(is_begun, "it died too early: {at_deaths:?}");
    let ids = ids.lock().unwrap();
    let different: BTreeSet<&String> = ids.iter().collect();
    println!("{} requests for {EVENTS} events", ids.len());
    assert_eq!(different.len(), EVENTS, "none is lost");
    assert!(
        ids.len() <= EVENTS + DEATHS * IN_FLIGHT,
        "{} requests",
        ids.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_sqlite_that_is_killed_loses_no_event() {
    killed_while_it_delivers(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_postgresql_that_is_killed_loses_no_event() {
    killed_while_it_delivers(true).await;
}
