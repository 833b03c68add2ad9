//! A server of the release before beside one of this release, on one PostgreSQL. `.ci/rolling` builds the first and
//! names it.

use std::{fs, path::PathBuf, time::Duration};

use chrono::{Months, TimeDelta};
use dermaga_shop::db::{Clock, Db};
use dermaga_tests::plugins_folder;
use reqwest::multipart::Form;
use serde_json::{Value, json};
use uuid::Uuid;

use super::site::{Patient, Server, Site, free_address};

const PREVIOUS: &str = "DERMAGA_TEST_PREVIOUS";
const RICH: i64 = 9_000_000;
/// Age of the subscriptions when they are renewed, in months.
const PERIODS: u32 = 12;
const COUPON: &str = "coupon-credit-topup";

/// Both servers, asked by the same person.
struct Both {
    before: Patient,
    now: Patient,
}

impl Both {
    fn signed_in(&self, session: &Value) -> Self {
        Self {
            before: self.before.signed_in(session),
            now: self.now.signed_in(session),
        }
    }

    /// The server of the release before and this one, then the other way round.
    fn turns(&self) -> [(&Patient, &Patient); 2] {
        [(&self.before, &self.now), (&self.now, &self.before)]
    }
}

/// A customer with credit, from one of the servers.
async fn customer(both: &Both, from: &Patient, email: &str) -> Both {
    let account =
        json!({ "email": email, "password": "kata sandi yang panjang", "name": "Pelanggan" });
    let session = from.post("/api/auth/register", "register", &account).await;
    let customer = both.signed_in(&session);
    let code = json!({ "couponCode": "RICH" });
    let path = "/api/wallet/redeem-coupon";
    from.signed_in(&session).post(path, "rich", &code).await;
    customer
}

/// Buys from each server, and finds what was bought at the other one, delivered.
async fn purchases(both: &Both, plan: &str) -> Vec<Both> {
    let order = json!({ "planId": plan });
    let mut customers = Vec::new();
    for (number, (at, _)) in both.turns().into_iter().enumerate() {
        let customer = customer(both, at, &format!("c{number}@example.com")).await;
        let (buyer, looker) = customer.turns()[number];
        let bought = buyer.post("/api/subscriptions", "buy", &order).await;
        let id = bought["subscription"]["id"].as_str().unwrap();
        looker
            .until(&format!("/api/subscriptions/{id}"), "/status", "ACTIVE")
            .await;
        let instance = bought["instanceId"].as_str().unwrap();
        looker
            .until(&format!("/api/instances/{instance}"), "/status", "WRITTEN")
            .await;
        customers.push(customer);
    }
    customers
}

async fn periods(db: &Db) -> i64 {
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT count(*) FROM subscription_periods";
    let (periods,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    periods
}

/// Starts a run of renewals at a server; returns the server that ran it, and the number of renewals, once it has ended.
async fn run_renewals(at: &Patient, key: &str, db: &Db) -> (Option<Uuid>, i64) {
    let path = "/api/admin/billing/process-renewals";
    let started = at.post(path, key, &json!({})).await;
    let id: Uuid = started["id"].as_str().unwrap().parse().unwrap();
    for _ in 0..600 {
        let mut conn = db.read().await.unwrap();
        let sql =
            "SELECT lease_server, items FROM job_runs WHERE id = $1 AND finished_at IS NOT NULL";
        let ended = dermaga_shop::fetch_optional!(conn, (Option<Uuid>, i64), sql, id).unwrap();
        if let Some(ended) = ended {
            return ended;
        }
        drop(conn);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the run {id} does not end");
}

/// Lets a year pass, and renews one period of each subscription by runs of either server. A run records its server: the
/// first one has the identity of the data folder, and this one, which shares the folder, another.
async fn renewals(admin: &Both, db: &Db, first: Uuid) {
    let bought = periods(db).await;
    let anchor = Clock::system().now() - Months::new(PERIODS) - TimeDelta::days(1);
    let mut conn = db.begin().await.unwrap();
    let sql = "UPDATE subscriptions SET anchor_at = $1, period_start = $1, period_end = $2, delivered_at = $1";
    dermaga_shop::execute!(conn, sql, anchor, anchor + Months::new(1)).unwrap();
    conn.commit().await.unwrap();
    for (number, (at, _)) in admin.turns().into_iter().enumerate() {
        let before = periods(db).await;
        let mut renewed = 0;
        for attempt in 0..300 {
            if renewed >= bought {
                break;
            }
            let (server, items) = run_renewals(at, &format!("run-{number}-{attempt}"), db).await;
            let is_first = server.map(|server| server == first);
            assert_eq!(is_first, Some(number == 0), "another server ran it");
            renewed += items;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(renewed >= bought, "it renews {renewed} of {bought}");
        assert!(periods(db).await >= before + bought, "it writes no period");
    }
}

/// Returns the coupons' plugin as a later version.
fn later_version(next: &[u8]) -> Vec<u8> {
    let version = b"0.1.0";
    let mut component = fs::read(plugins_folder().join(format!("{COUPON}.wasm"))).unwrap();
    let mut found = 0;
    for at in 1..component.len() - version.len() {
        // An @ before the version means that it is the contract's.
        if component[at..].starts_with(version) && component[at - 1] != b'@' {
            component[at..at + next.len()].copy_from_slice(next);
            found += 1;
        }
    }
    assert!(found > 0, "the plugin does not say its version");
    component
}

/// Activates a plugin version at each server; the other one runs it and calls it.
async fn activations(both: &Both, admin: &Both) {
    let path = format!("/api/admin/plugins/{COUPON}");
    let activate = format!("{path}/activate");
    let turns = admin.turns().into_iter().zip(both.turns());
    for (next, ((at, other), (_, caller))) in [b"0.1.8", b"0.1.9"].into_iter().zip(turns) {
        let uploaded = at.upload(later_version(next), "wait=60").await.unwrap();
        assert_eq!(uploaded.status().as_u16(), 201);
        let staged: Value = uploaded.json().await.unwrap();
        let digest = staged["data"]["digest"].as_str().unwrap();
        let body = json!({ "digest": digest });
        at.post(&activate, digest, &body).await;
        other.until(&path, "/running", digest).await;
        customer(both, caller, &format!("{}@example.com", &digest[..12])).await;
    }
}

/// Asks at one server, answers at the other.
async fn ticket(customer: &Both, admin: &Both) {
    for (number, ((asks, reads), (_, answers))) in
        customer.turns().into_iter().zip(admin.turns()).enumerate()
    {
        let form = Form::new()
            .text("subject", "My domain shows another page")
            .text("description", "It has done so since yesterday evening.");
        let made = asks.form("/api/tickets", form).await.unwrap();
        assert_eq!(made.status().as_u16(), 201);
        let made: Value = made.json().await.unwrap();
        let id = made["data"]["id"].as_str().unwrap();
        let message = format!("Please try again now, for time {number}.");
        let form = Form::new().text("message", message.clone());
        let path = format!("/api/admin/tickets/{id}/messages");
        let answered = answers.form(&path, form).await.unwrap();
        assert_eq!(answered.status().as_u16(), 201);
        for reader in [asks, reads] {
            let seen = reader.get(&format!("/api/tickets/{id}")).await;
            assert!(seen.to_string().contains(&message), "{seen:#}");
        }
    }
}

/// The release before starts and sells; this one starts beside it and brings the schema up to date; both work, and the
/// first one starts once more on what is newer than itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a binary of the release before: .ci/rolling builds one"]
async fn two_releases_work_beside_each_other() {
    let previous = PathBuf::from(std::env::var_os(PREVIOUS).expect(PREVIOUS));
    let Some(mut site) = Site::new(true).await else {
        return;
    };
    site.set("DERMAGA_REQUEST_TIMEOUT", "30s");
    let (before, now) = (free_address(), free_address());
    let first = Server::start_program(&site, &previous, &before);
    let identity = fs::read_to_string(site.path().join("data/server.id")).unwrap();
    let second = Server::start_at(&site, &now);
    let patient = Patient::new(&site);
    let both = Both {
        before: patient.at(&before),
        now: patient.at(&now),
    };
    let admin = both.now.administrator(&site).await;
    let admin = Both {
        before: admin.at(&before),
        now: admin,
    };
    let rich = json!({ "code": "RICH", "plugin": COUPON, "parameters": { "amount": RICH } });
    let path = "/api/admin/coupons";
    admin.before.post(path, "rich", &rich).await;
    let plans = both.now.get("/api/catalog/services/postgresql/plans").await;
    let mut plans = plans.as_array().unwrap().iter();
    let plan = plans.find(|plan| plan["slug"] == "basic").unwrap();
    let db = site.database().await;
    let customers = purchases(&both, plan["id"].as_str().unwrap()).await;
    renewals(&admin, &db, identity.trim().parse().unwrap()).await;
    activations(&both, &admin).await;
    ticket(&customers[0], &admin).await;

    drop(first);
    let again = free_address();
    let first = Server::start_program(&site, &previous, &again);
    let moved = customers[0].before.at(&again);
    let seen = moved.get("/api/subscriptions").await;
    assert_eq!(seen.as_array().map(Vec::len), Some(1), "{seen:#}");
    drop((first, second));
    db.close().await;
    site.books();
}
