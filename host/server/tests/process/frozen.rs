//! A server that is frozen within a renewal, and continues when another one has charged it.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use dermaga_shop::db::{Conn, Db};
use rustix::process::Signal;

use super::{
    servers::{Bought, Turns, buy, periods, register, two_periods_were_paid, within},
    site::{Patient, Server, Site, free_address},
};

/// Longest wait for what a server does within seconds.
const SOON: Duration = Duration::from_secs(60);
/// A minute, after which the run's lease is over and PostgreSQL has ended the abandoned transaction, and as much
/// again for a busy machine.
const TAKING_OVER: Duration = Duration::from_secs(120);
/// A renewal that waits for a wallet within its transaction.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM wallets%'
      AND EXISTS (SELECT 1 FROM job_runs WHERE job = 'daily-renewals' AND finished_at IS NULL)";
/// A run of renewals that one server began and another one ended.
const TAKEN_OVER: &str = "SELECT count(*) FROM job_runs
    WHERE job = 'daily-renewals' AND attempts = 2 AND status = 'SUCCEEDED'";

async fn count(db: &Db, sql: &'static str) -> i64 {
    let mut conn = db.read().await.unwrap();
    dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap().0
}

/// Returns all that is kept of the only subscription.
async fn subscription(db: &Db) -> String {
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT to_json(s)::text FROM subscriptions s";
    dermaga_shop::fetch_one!(conn, (String,), sql).unwrap().0
}

/// Locks every wallet until the transaction ends, however long it waits.
async fn keep_wallets(db: &Db) -> Conn {
    let mut conn = db.begin().await.unwrap();
    let sql = "SET LOCAL idle_in_transaction_session_timeout = 0";
    dermaga_shop::execute!(conn, sql).unwrap();
    let sql = "SELECT 1 FROM wallets FOR UPDATE";
    dermaga_shop::fetch_all!(conn, (i32,), sql).unwrap();
    conn
}

/// Buys at a server that ends afterwards; the next one finds the nightly renewals missed.
async fn bought(site: &Site, db: &Db) -> Bought {
    let server = Server::start(site);
    let patient = Patient::new(site);
    let admin = patient.administrator(site).await;
    let session = register(&patient, "c@example.com").await;
    let customer = patient.signed_in(&session);
    let bought = buy(&Turns::of(vec![admin]), &Turns::of(vec![customer])).await;
    // A job that no server has looked at yet would be new a month later, and nothing of it missed.
    let known = "SELECT count(*) FROM jobs WHERE name = 'daily-renewals'";
    within(SOON, "the job is known", async || {
        count(db, known).await == 1
    })
    .await;
    // A subscription is renewed only once it was delivered.
    let delivered = "SELECT count(*) FROM subscriptions WHERE delivered_at IS NOT NULL";
    within(SOON, "the purchase is delivered", async || {
        count(db, delivered).await == 1
    })
    .await;
    drop(server);
    bought
}

/// Starts a server, and freezes it while its renewal waits for the wallet; the wallet is its own then.
async fn frozen_within_a_renewal(site: &Site, db: &Db, log: &Path) -> Server {
    let wallets = keep_wallets(db).await;
    let server = Server::start_logging(site, fs::File::create(log).unwrap());
    within(SOON, "a renewal waits", async || {
        count(db, WAITING).await == 1
    })
    .await;
    server.send(Signal::STOP);
    wallets.rollback().await.unwrap();
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_within_which_its_server_was_frozen_is_charged_once() {
    let Some(mut site) = Site::new(true).await else {
        return;
    };
    // A sign-in that takes its time on a busy machine is not cut off.
    site.set("DERMAGA_REQUEST_TIMEOUT", "30s");
    let db = site.database().await;
    let bought = Box::pin(bought(&site, &db)).await;
    site.set("DERMAGA_CLOCK", "+32d");
    let log = site.path().join("frozen.log");
    let mut frozen = frozen_within_a_renewal(&site, &db, &log).await;
    let began = Instant::now();
    let other = Server::start_at(&site, &free_address());
    assert_eq!(periods(&db).await, 1);
    within(TAKING_OVER, "the other server renews", async || {
        count(&db, TAKEN_OVER).await == 1
    })
    .await;
    println!("renewed {:?} after the other froze", began.elapsed());
    assert_eq!(periods(&db).await, 2);
    let renewed = subscription(&db).await;

    frozen.send(Signal::CONT);
    within(SOON, "the frozen renewal ends", async || {
        let log = fs::read_to_string(&log).unwrap();
        // The run may be found to be another's before its own statement fails.
        ["renewal.failed", "job.lost"]
            .iter()
            .any(|end| log.contains(end))
    })
    .await;
    // It ends when all that it had begun has ended.
    frozen.send(Signal::TERM);
    let status = frozen.ended().await;
    assert!(status.success(), "{status}");
    assert_eq!(periods(&db).await, 2);
    assert_eq!(subscription(&db).await, renewed);
    assert_eq!(count(&db, TAKEN_OVER).await, 1);
    db.close().await;
    two_periods_were_paid(&site, bought.price);
    drop(other);
}
