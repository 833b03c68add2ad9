//! Tests of wrong clocks, which must not charge or stop anything, and of the movable clock of
//! `--dev`.

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_shop::{
    billing::{process_grace, renew_due},
    db::HOLD,
};
use dermaga_tests::{Client, Engine, Shop, both_engines};
use serde_json::{Value, json};

use super::jobs::ended_runs;
use crate::journeys::{calendar::delivered, upgrade::customer_with_cash};

const CLOCK: &str = "/api/admin/clock";
const AHEAD: TimeDelta = TimeDelta::days(100);

async fn look(shop: &Shop) {
    shop.state().scheduler.look().await;
}

/// Buys a plan with credit for years; returns the subscription's id.
async fn buy(shop: &Shop, email: &str) -> String {
    let customer = customer_with_cash(shop, email, 1_000_000).await;
    let plan = shop.plan("postgresql", "basic").await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await;
    let bought = delivered(shop, &customer, &bought.data(201)).await;
    bought["id"].as_str().unwrap().to_owned()
}

async fn periods(shop: &Shop, id: &str) -> Vec<Value> {
    let admin = shop.admin().await;
    let seen = admin
        .get(&format!("/api/admin/subscriptions/{id}"))
        .await
        .data(200);
    seen["periods"].as_array().unwrap().clone()
}

/// Returns the hourly job's runs, once none is under way.
async fn runs(shop: &Shop) -> Vec<Value> {
    ended_runs(&shop.admin().await).await
}

/// Returns the alerts about clocks, as (state, message).
async fn warned(shop: &Shop) -> Vec<(String, String)> {
    let admin = shop.admin().await;
    let alerts = admin.get("/api/admin/alerts").await.data(200);
    let alerts = alerts.as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    alerts
        .filter(|alert| alert["kind"] == "CLOCK_JUMPED")
        .map(|alert| (text(&alert["state"]), text(&alert["message"])))
        .collect()
}

both_engines!(
    Shop,
    [
        a_clock_that_was_wrong_for_seconds,
        a_clock_that_stays_wrong,
        marks_in_the_future_are_refused,
        a_renewal_is_priced_for_the_periods_beginning
    ]
);

/// A jump of months ahead and back: nothing is charged, suspended or purged meanwhile,
/// administrators are warned, and then the jobs run as before.
async fn a_clock_that_was_wrong_for_seconds(shop: Shop) {
    let id = buy(&shop, "lompat@example.com").await;
    look(&shop).await;
    shop.clock().step(AHEAD);
    look(&shop).await;
    let admin = shop.admin().await;
    for path in [
        "/api/admin/billing/process-renewals",
        "/api/admin/jobs/coupon-statuses/run",
    ] {
        let refused = admin.post(path, json!({})).await;
        refused.fails(503, "UNAVAILABLE");
        let wait: i64 = refused.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=HOLD.num_seconds() + 1).contains(&wait), "{wait}");
    }
    assert_eq!(
        renew_due(&shop.state().subscriptions)
            .await
            .unwrap_err()
            .code
            .as_str(),
        "UNAVAILABLE"
    );
    assert_eq!(
        process_grace(&shop.state().subscriptions)
            .await
            .unwrap_err()
            .code
            .as_str(),
        "UNAVAILABLE"
    );
    let warning = "A server's clock was set ahead by 100 days. Jobs wait until it is set right, or has run steadily for 10 minutes. Check its time server.";
    assert_eq!(
        warned(&shop).await,
        [("OPEN".to_owned(), warning.to_owned())]
    );
    assert_eq!(runs(&shop).await, Vec::<Value>::new());

    shop.clock().step(-AHEAD);
    look(&shop).await;
    assert_eq!(periods(&shop, &id).await.len(), 1);
    assert_eq!(warned(&shop).await.len(), 1);
    shop.clock().advance(TimeDelta::hours(1));
    look(&shop).await;
    let ran = runs(&shop).await;
    assert_eq!(
        (ran.len(), &ran[0]["status"]),
        (1, &json!("SUCCEEDED")),
        "{ran:#?}"
    );
    assert_eq!(
        renew_due(&shop.state().subscriptions).await.unwrap().items,
        0
    );
    shop.books_balance().await;
}

/// A wrong clock that is accepted in the end charges one period a run; once it is right again,
/// the jobs do not wait for the wrong time.
async fn a_clock_that_stays_wrong(shop: Shop) {
    let id = buy(&shop, "lama@example.com").await;
    look(&shop).await;
    shop.clock().step(AHEAD);
    look(&shop).await;
    shop.clock().advance(HOLD);
    look(&shop).await;
    assert!(!runs(&shop).await.is_empty(), "it is believed");
    for _ in 0..2 {
        let before = periods(&shop, &id).await.len();
        renew_due(&shop.state().subscriptions).await.unwrap();
        // The nightly job may have run in between.
        assert!(periods(&shop, &id).await.len() <= before + 2);
    }
    assert!(periods(&shop, &id).await.len() <= 4);

    shop.clock().step(-AHEAD);
    look(&shop).await;
    shop.clock().advance(HOLD);
    look(&shop).await;
    let now = shop.clock().now();
    let scheduled = |run: &Value| {
        run["scheduledFor"]
            .as_str()
            .unwrap()
            .parse::<DateTime<Utc>>()
            .unwrap()
    };
    let left = runs(&shop).await;
    assert!(left.iter().all(|run| scheduled(run) <= now), "{left:#?}");
    shop.clock().advance(TimeDelta::hours(1));
    look(&shop).await;
    let ran = runs(&shop).await;
    assert_eq!(ran.len(), left.len() + 1, "{ran:#?}");
    assert!(scheduled(&ran[0]) > now, "{ran:#?}");
}

/// A first start years ahead leaves records in the future; a start with the right clock refuses
/// them.
async fn marks_in_the_future_are_refused(shop: Shop) {
    let id = buy(&shop, "boot@example.com").await;
    let later = shop.clock().now() + TimeDelta::days(3_650);
    let mut conn = shop.state().db.begin().await.unwrap();
    let since = "INSERT INTO jobs (name, watched_since) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET watched_since = excluded.watched_since";
    for job in ["coupon-statuses", "daily-renewals"] {
        dermaga_shop::execute!(conn, since, job, later).unwrap();
    }
    // A server that crashed with the wrong clock held the run, and a failed renewal waits for
    // it.
    let run = "INSERT INTO job_runs (id, job, scheduled_for, trigger, attempts, started_at, lease_until, status, items, error_count, errors)
               VALUES ($1, 'coupon-statuses', $2, 'SCHEDULE', 1, $2, $3, 'RUNNING', 0, 0, $4)";
    let errors = sqlx::types::Json(Vec::<String>::new());
    dermaga_shop::execute!(
        conn,
        run,
        uuid::Uuid::from_u128(7),
        later,
        later + TimeDelta::seconds(60),
        &errors
    )
    .unwrap();
    let retry = "UPDATE subscriptions SET renewal_retry_at = $1";
    dermaga_shop::execute!(conn, retry, later).unwrap();
    // An hour ahead is far too long for a lease, though not for a pause.
    let soon = shop.clock().now() + TimeDelta::hours(1);
    let leased = "UPDATE instances SET lease_until = $1, next_attempt_at = $1, lease_holder = id";
    dermaga_shop::execute!(conn, leased, soon).unwrap();
    conn.commit().await.unwrap();

    let shop = shop.restart().await;
    look(&shop).await;
    look(&shop).await;
    let warned = warned(&shop).await;
    assert_eq!(
        (warned.len(), warned[0].0.as_str()),
        (1, "OPEN"),
        "{warned:?}"
    );
    assert!(
        warned[0].1.contains("in the future had to be reset"),
        "{warned:?}"
    );
    let taken_up = runs(&shop).await;
    assert_eq!(
        (taken_up.len(), &taken_up[0]["attempts"]),
        (1, &json!(2)),
        "{taken_up:#?}"
    );
    shop.clock().advance(TimeDelta::hours(1));
    look(&shop).await;
    assert_eq!(runs(&shop).await.len(), 2);
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT renewal_retry_at FROM subscriptions";
    let (at,) = dermaga_shop::fetch_one!(conn, (DateTime<Utc>,), sql).unwrap();
    assert!(at <= shop.clock().now(), "{at}");
    let sql = "SELECT count(*) FROM instances WHERE lease_until = $1";
    let (left,) = dermaga_shop::fetch_one!(conn, (i64,), sql, soon).unwrap();
    assert_eq!(left, 0, "a lease of an hour is kept");
    drop(conn);
    shop.clock().advance(TimeDelta::days(32));
    renew_due(&shop.state().subscriptions).await.unwrap();
    assert_eq!(periods(&shop, &id).await.len(), 2);
}

/// A late renewal is priced for the beginning of its period, like its forecast.
async fn a_renewal_is_priced_for_the_periods_beginning(shop: Shop) {
    let coupon = json!({
        "code": "TIGA", "plugin": "coupon-subscription-discount", "parameters": { "percent": 50 }, "lasts": 3,
    });
    shop.admin()
        .await
        .post("/api/admin/coupons", coupon)
        .await
        .data(201);
    let customer = customer_with_cash(&shop, "saat@example.com", 100_000).await;
    let plan = shop.plan("postgresql", "basic").await;
    let order = json!({ "planId": plan, "couponCode": "TIGA" });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let bought = delivered(&shop, &customer, &bought).await;
    let end: DateTime<Utc> = bought["periodEnd"].as_str().unwrap().parse().unwrap();
    shop.clock()
        .advance(end - shop.clock().now() + TimeDelta::hours(9));
    renew_due(&shop.state().subscriptions).await.unwrap();
    let id = bought["id"].as_str().unwrap();
    assert_eq!(periods(&shop, id).await.len(), 2);
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT function, input FROM decisions WHERE function IN ('price', 'evaluate') ORDER BY created_at DESC, id DESC LIMIT 2";
    let decided = dermaga_shop::fetch_all!(conn, (String, String), sql).unwrap();
    for (function, input) in &decided {
        let input: Value = serde_json::from_str(input).unwrap();
        assert_eq!(input["moment"], end.timestamp(), "{function}");
    }
    assert_ne!(decided[0].0, decided[1].0);
}

async fn put(admin: &Client, body: Value) -> Value {
    admin.put(CLOCK, body).await.data(200)
}

/// With `--dev` an operator moves the clock by a month and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_is_rehearsed() {
    let dev = |config: &mut dermaga::config::Config| config.payments.sandbox = true;
    let shop = Shop::open_with(Engine::Sqlite, dev).await.unwrap();
    let id = buy(&shop, "gladi@example.com").await;
    let admin = shop.admin().await;
    let before = admin.get(CLOCK).await.data(200);
    assert_eq!(
        (&before["offsetSeconds"], &before["timezone"]),
        (&json!(0), &json!("Asia/Jakarta"))
    );

    let moved = put(&admin, json!({ "offset": "+31d" })).await;
    assert_eq!(moved["offsetSeconds"], 31 * 86_400);
    // The token has expired meanwhile.
    admin.get(CLOCK).await.fails(401, "TOKEN_EXPIRED");
    let admin = shop.admin().await;
    for _ in 0..100 {
        // The nightly job may be running.
        admin
            .post("/api/admin/billing/process-renewals", json!({}))
            .await;
        if periods(&shop, &id).await.len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(periods(&shop, &id).await.len(), 2);
    assert!(warned(&shop).await.is_empty(), "moved on purpose");

    let set = put(&admin, json!({ "now": "2031-12-31T23:30:00+07:00" })).await;
    assert_eq!(set["local"], "2031-12-31 23:30 WIB");
    let admin = shop.admin().await;
    let back = json!({ "offset": "0s", "reason": "The rehearsal is over." });
    put(&admin, back.clone()).await;
    look(&shop).await;
    let admin = shop.admin().await;
    let acts = admin.get("/api/admin/audit?act=clock.set").await.data(200);
    let reasons = acts.as_array().unwrap().iter().map(|act| &act["reason"]);
    let given: Vec<_> = reasons.filter(|reason| reason.is_string()).collect();
    assert_eq!(
        (acts.as_array().unwrap().len(), given),
        (3, vec![&back["reason"]])
    );
    for body in [
        json!({}),
        json!({ "offset": "+31d", "now": "2031-12-31T23:30:00Z" }),
        json!({ "offset": "soon" }),
        json!({ "offset": "40000d" }),
        json!({ "now": "9999-12-31T00:00:00Z" }),
        json!({ "now": "1960-01-01T00:00:00Z" }),
        json!({ "now": "1999-12-31T23:59:59Z" }),
        json!({ "now": "2200-01-01T00:00:00Z" }),
        json!({ "offset": "-36525d" }),
        json!({ "now": "soon" }),
        json!({ "day": 1 }),
    ] {
        admin.put(CLOCK, body).await.fails(400, "VALIDATION_FAILED");
    }
    let customer = shop.sign_in("gladi@example.com").await;
    customer.get(CLOCK).await.fails(403, "FORBIDDEN");
    customer
        .put(CLOCK, json!({ "offset": "0s" }))
        .await
        .fails(403, "FORBIDDEN");
    shop.books_balance().await;
}

/// Without `--dev` there is no such route.
#[tokio::test]
async fn the_clock_of_a_shop_is_not_moved() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await;
    admin.get(CLOCK).await.fails(404, "NOT_FOUND");
    admin
        .put(CLOCK, json!({ "offset": "+31d" }))
        .await
        .fails(404, "NOT_FOUND");
}
