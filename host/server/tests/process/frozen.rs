//! A server that is frozen while it holds leases, and continues when they are others', does no harm.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dermaga_shop::db::{Conn, Db};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    servers::{
        Bought, Servers, buy, periods, register, sign_in, start_all, two_periods_were_paid, within,
    },
    site::{Patient, Server},
};

const EMAIL: &str = "c@example.com";
/// Time in which a server begins its work.
const BEGINNING: Duration = Duration::from_secs(90);
/// The lease of a run and of an instance, the time after which PostgreSQL ends an abandoned transaction, and as much
/// again for a busy machine.
const TAKING_OVER: Duration = Duration::from_secs(240);
/// Time in which a server that continues ends what it had begun.
const CONTINUING: Duration = Duration::from_secs(10);

/// Begins a transaction that PostgreSQL does not end however long it waits.
async fn long(db: &Db) -> Conn {
    let mut conn = db.begin().await.unwrap();
    let sql = "SET LOCAL idle_in_transaction_session_timeout = 0";
    dermaga_shop::execute!(conn, sql).unwrap();
    conn
}

/// Keeps every wallet, so that a renewal waits in the middle of its transaction.
async fn keep_wallets(db: &Db) -> Conn {
    let mut conn = long(db).await;
    dermaga_shop::fetch_all!(conn, (i32,), "SELECT 1 FROM wallets FOR UPDATE").unwrap();
    conn
}

/// Keeps the secrets of instances, so that a pass waits between its lease and its work.
async fn keep_secrets(db: &Db) -> Conn {
    let mut conn = long(db).await;
    let sql = "LOCK TABLE instance_secrets IN ACCESS EXCLUSIVE MODE";
    dermaga_shop::execute!(conn, sql).unwrap();
    conn
}

async fn make_due(db: &Db) {
    let mut conn = db.begin().await.unwrap();
    let sql = "UPDATE instances SET next_attempt_at = created_at";
    dermaga_shop::execute!(conn, sql).unwrap();
    conn.commit().await.unwrap();
}

async fn count(db: &Db, sql: &'static str) -> i64 {
    let mut conn = db.read().await.unwrap();
    dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap().0
}

/// Starts a server that renews and works on an instance, and freezes it in the middle of both.
async fn frozen_at_work(servers: &Servers, db: &Db) -> Server {
    let wallets = keep_wallets(db).await;
    let server = Server::start(&servers.sites[0]);
    let waiting = "SELECT count(*) FROM job_runs WHERE job = 'daily-renewals' AND finished_at IS NULL \
                   AND EXISTS (SELECT 1 FROM pg_stat_activity \
                     WHERE datname = current_database() AND wait_event_type = 'Lock')";
    within(BEGINNING, "a renewal waits", async || {
        count(db, waiting).await == 1
    })
    .await;
    let secrets = keep_secrets(db).await;
    make_due(db).await;
    let leased = "SELECT count(*) FROM instances WHERE lease_until IS NOT NULL";
    within(BEGINNING, "an instance is leased", async || {
        count(db, leased).await == 1
    })
    .await;
    server.send(Signal::STOP);
    secrets.rollback().await.unwrap();
    wallets.rollback().await.unwrap();
    server
}

/// Returns the content of every file below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else {
            let content = fs::read_to_string(&path).unwrap();
            found.insert(path, content);
        }
    }
    found
}

/// State that a frozen server must not change when it continues.
#[derive(Debug, PartialEq)]
struct Seen {
    manifests: BTreeMap<PathBuf, String>,
    status: Value,
    generation: Value,
    period_end: Value,
    periods: i64,
    runs: Vec<(String, i64, String)>,
}

async fn seen(customer: &Patient, (servers, db): (&Servers, &Db), bought: &Bought) -> Seen {
    let instance = customer.get(&bought.instance).await;
    let subscription = customer.get(&bought.subscription).await;
    let mut conn = db.read().await.unwrap();
    let sql =
        "SELECT id::text, attempts, status FROM job_runs WHERE job = 'daily-renewals' ORDER BY id";
    let runs = dermaga_shop::fetch_all!(conn, (String, i64, String), sql).unwrap();
    drop(conn);
    Seen {
        manifests: files(&servers.sites[0].path().join("manifests")),
        status: instance["status"].clone(),
        generation: instance["generation"].clone(),
        period_end: subscription["periodEnd"].clone(),
        periods: periods(db).await,
        runs,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_frozen_with_jobs_and_instances_does_no_harm() {
    let Some(mut servers) = Servers::open(&[]).await else {
        return;
    };
    let admin = servers.stranger().administrator(&servers.sites[0]).await;
    let session = register(&servers.stranger(), EMAIL).await;
    let customer = servers.stranger().signed_in(&session);
    let bought = buy(&servers.turns(&admin), &servers.turns(&customer)).await;
    servers.stop_and_set("DERMAGA_CLOCK", "+32d");
    let db = servers.sites[0].database().await;
    let frozen = frozen_at_work(&servers, &db).await;
    let began = Instant::now();

    servers.running = start_all(&servers.sites[1..]);
    within(TAKING_OVER, "another server renews", async || {
        let open = "SELECT count(*) FROM job_runs WHERE finished_at IS NULL";
        periods(&db).await == 2 && count(&db, open).await == 0
    })
    .await;
    println!("renewed {:?} after the other froze", began.elapsed());
    let here = sign_in(&Patient::new(&servers.sites[1]), EMAIL).await;
    here.put(&format!("{}/stop", bought.instance), &json!({}))
        .await;
    within(TAKING_OVER, "another server stops it", async || {
        here.get(&bought.instance).await["status"] == "STOPPED"
    })
    .await;
    println!("stopped {:?} after the other froze", began.elapsed());
    let before = seen(&here, (&servers, &db), &bought).await;

    frozen.send(Signal::CONT);
    let back = here.at(servers.sites[0].listen());
    assert_eq!(back.get(&bought.instance).await["status"], "STOPPED");
    tokio::time::sleep(CONTINUING).await;
    let after = seen(&back, (&servers, &db), &bought).await;
    assert_eq!(before, after);
    db.close().await;
    two_periods_were_paid(&servers.sites[1], bought.price);
    drop(frozen);
}
