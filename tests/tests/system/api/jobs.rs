//! Tests of scheduled jobs: one run for each instant, with several servers and after crashes.

use chrono::TimeDelta;
use dermaga_tests::{Client, Engine, Shop, both_engines};
use serde_json::{Value, json};

const RUNS: &str = "/api/admin/jobs/coupon-statuses/runs";
const RUN: &str = "/api/admin/jobs/coupon-statuses/run";

/// Returns the job's runs, once none is under way.
pub(super) async fn ended_runs(admin: &Client) -> Vec<Value> {
    for _ in 0..600 {
        let runs = admin.get(RUNS).await.data(200);
        let runs = runs.as_array().unwrap();
        if runs.iter().all(|run| !run["finishedAt"].is_null()) {
            return runs.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("a run does not end");
}

async fn look(shop: &Shop) {
    shop.state().scheduler.look().await;
}

/// Creates a coupon that expires in an hour.
async fn short_coupon(shop: &Shop, admin: &Client) -> String {
    let ends = shop.clock().now() + TimeDelta::minutes(30);
    let coupon = json!({
        "code": "SEBENTAR", "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 }, "endsAt": ends,
    });
    let coupon = admin.post("/api/admin/coupons", coupon).await.data(201);
    coupon["id"].as_str().unwrap().to_owned()
}

async fn stored_status(shop: &Shop) -> String {
    let mut conn = shop.state().db.read().await.unwrap();
    let (status,) = dermaga_shop::fetch_one!(
        conn,
        (String,),
        "SELECT status FROM coupons WHERE code = 'SEBENTAR'"
    )
    .unwrap();
    status
}

both_engines!(
    Shop,
    [
        each_instant_is_run_once,
        an_abandoned_run_is_taken_up,
        a_server_that_starts_again_takes_up_its_own_run,
        administrators_run_jobs_now
    ]
);

/// The first look only records the job; each later instant is run once.
async fn each_instant_is_run_once(shop: Shop) {
    let admin = shop.admin().await;
    short_coupon(&shop, &admin).await;
    look(&shop).await;
    assert!(
        ended_runs(&admin).await.is_empty(),
        "nothing is made up for"
    );

    shop.clock().advance(TimeDelta::hours(1));
    tokio::join!(look(&shop), look(&shop), look(&shop));
    look(&shop).await;
    let runs = ended_runs(&admin).await;
    assert_eq!(runs.len(), 1, "{runs:#?}");
    assert_eq!(
        (
            &runs[0]["status"],
            &runs[0]["items"],
            &runs[0]["trigger"],
            &runs[0]["attempts"]
        ),
        (
            &json!("SUCCEEDED"),
            &json!(1),
            &json!("SCHEDULE"),
            &json!(1)
        )
    );
    assert_eq!(stored_status(&shop).await, "EXPIRED");

    // Missed hours are one run, not many.
    shop.clock().advance(TimeDelta::hours(5));
    look(&shop).await;
    let runs = ended_runs(&admin).await;
    assert_eq!((runs.len(), &runs[0]["items"]), (2, &json!(0)), "{runs:#?}");
    let shop = shop.restart().await;
    look(&shop).await;
    let admin = admin.moved_to(shop.client());
    assert_eq!(
        ended_runs(&admin).await.len(),
        2,
        "a restart runs nothing again"
    );
}

/// A run whose server crashed is taken over after its lease, and ends once.
async fn an_abandoned_run_is_taken_up(shop: Shop) {
    let admin = shop.admin().await;
    look(&shop).await;
    shop.clock().advance(TimeDelta::hours(1));
    look(&shop).await;
    assert_eq!(ended_runs(&admin).await.len(), 1);
    shop.sql("UPDATE job_runs SET finished_at = NULL, status = 'RUNNING'")
        .await
        .unwrap();
    admin.post(RUN, json!({})).await.fails(409, "CONFLICT");
    shop.clock().advance(TimeDelta::minutes(2));
    assert_eq!(admin.get(RUNS).await.data(200)[0]["status"], "ABANDONED");
    tokio::join!(look(&shop), look(&shop));
    let runs = ended_runs(&admin).await;
    let taken_up = runs.iter().filter(|run| run["attempts"] == 2).count();
    assert_eq!(taken_up, 1, "{runs:#?}");
    assert!(
        runs.iter().all(|run| run["status"] == "SUCCEEDED"),
        "{runs:#?}"
    );
}

/// Runs the job, and makes the run look as one that its server has just begun.
async fn begin_a_run(shop: &Shop, admin: &Client) {
    admin.post(RUN, json!({})).await.data(200);
    let sql = "UPDATE job_runs SET finished_at = NULL, status = 'RUNNING', lease_until = $1 WHERE job = 'coupon-statuses'";
    let until = shop.clock().now() + TimeDelta::minutes(1);
    let mut conn = shop.state().db.begin().await.unwrap();
    let begun = dermaga_shop::execute!(conn, sql, until).unwrap();
    conn.commit().await.unwrap();
    assert_eq!(begun, 1);
}

/// A server that was killed does not wait for the end of its own lease when it starts again.
async fn a_server_that_starts_again_takes_up_its_own_run(shop: Shop) {
    let admin = shop.admin().await;
    begin_a_run(&shop, &admin).await;
    look(&shop).await;
    admin.post(RUN, json!({})).await.fails(409, "CONFLICT");

    let shop = shop.restart().await;
    let admin = admin.moved_to(shop.client());
    let started = std::time::Instant::now();
    let runs = ended_runs(&admin).await;
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
    let seen = (runs.len(), &runs[0]["attempts"], &runs[0]["status"]);
    assert_eq!(seen, (1, &json!(2), &json!("SUCCEEDED")), "{runs:#?}");
    let by_hand = admin.post(RUN, json!({})).await.data(200);
    assert_eq!(by_hand["status"], "SUCCEEDED");
}

/// Only administrators run a job by hand; they receive its result.
async fn administrators_run_jobs_now(shop: Shop) {
    let admin = shop.admin().await;
    short_coupon(&shop, &admin).await;
    shop.clock().advance(TimeDelta::minutes(40));
    let run = admin.post(RUN, json!({})).await.data(200);
    assert_eq!(
        (&run["status"], &run["items"], &run["trigger"]),
        (&json!("SUCCEEDED"), &json!(1), &json!("ADMINISTRATOR"))
    );
    assert_eq!(stored_status(&shop).await, "EXPIRED");
    let jobs = admin.get("/api/admin/jobs").await.data(200);
    let job = jobs
        .as_array()
        .unwrap()
        .iter()
        .find(|job| job["name"] == "coupon-statuses")
        .unwrap();
    assert_eq!(
        (&job["schedule"], &job["timezone"]),
        (&json!("0 * * * *"), &json!("Asia/Jakarta"))
    );
    assert_eq!(job["lastRun"]["id"], run["id"]);
    assert!(job["nextRun"].is_string());

    admin
        .post("/api/admin/jobs/nothing/run", json!({}))
        .await
        .fails(404, "NOT_FOUND");
    admin
        .get("/api/admin/jobs/nothing/runs")
        .await
        .fails(404, "NOT_FOUND");
    let customer = shop.customer("ingin-tahu@example.com").await;
    customer
        .get("/api/admin/jobs")
        .await
        .fails(403, "FORBIDDEN");
    customer.post(RUN, json!({})).await.fails(403, "FORBIDDEN");
}

/// A server that starts beside another one leaves the other's run alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_that_starts_takes_up_no_run_of_a_living_one() {
    let Some(one) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let admin = one.admin().await;
    begin_a_run(&one, &admin).await;
    let two = one.second_server().await;
    look(&two).await;
    let run = admin.get(RUNS).await.data(200)[0].clone();
    let seen = (&run["attempts"], &run["status"]);
    assert_eq!(seen, (&json!(1), &json!("RUNNING")), "{run:#}");
    admin.post(RUN, json!({})).await.fails(409, "CONFLICT");
}

/// Two servers on one database look at the same instant: one of them runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_run_it_once() {
    let Some(one) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let two = one.second_server().await;
    let admin = one.admin().await;
    tokio::join!(look(&one), look(&two));
    one.clock().advance(TimeDelta::hours(1));
    two.clock().advance(TimeDelta::hours(1));
    tokio::join!(look(&one), look(&two), look(&one), look(&two));
    let runs = ended_runs(&admin).await;
    assert_eq!(runs.len(), 1, "{runs:#?}");
}
