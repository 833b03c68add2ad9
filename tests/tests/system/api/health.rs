//! Tests of the health of instances: summary, history, figures, and checks that are asked for.

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_shop::db::new_id;
use dermaga_tests::{Client, Engine, Shop, both_engines};
use serde_json::{Value, json};
use uuid::Uuid;

both_engines!(
    Shop,
    [
        an_administrator_sees_the_health_of_instances_and_its_history,
        the_figures_of_a_time_range_come_from_the_history,
        sums_are_those_that_a_plain_count_finds,
        checks_are_made_at_once_and_counted_once
    ]
);

pub(super) async fn buy(shop: &Shop, customer: &Client) -> String {
    let order = json!({ "planId": shop.plan("postgresql", "basic").await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let id = bought["instanceId"].as_str().unwrap().to_owned();
    shop.instance_becomes(customer, &id, "RUNNING").await;
    id
}

/// A span of the history, in minutes before now.
pub(super) struct Past {
    state: &'static str,
    since: i64,
    until: Option<i64>,
    unwell_since: Option<i64>,
    given_up: bool,
}

pub(super) fn past(state: &'static str, since: i64, until: Option<i64>) -> Past {
    Past {
        state,
        since,
        until,
        unwell_since: None,
        given_up: false,
    }
}

/// Replaces the history of an instance; its passes wait for an hour meanwhile.
pub(super) async fn remember(shop: &Shop, id: &str, spans: &[Past]) {
    let id: Uuid = id.parse().unwrap();
    let now = shop.clock().now();
    let ago = |minutes: i64| -> DateTime<Utc> { now - TimeDelta::minutes(minutes) };
    let mut conn = shop.state().db.begin().await.unwrap();
    let quiet = "UPDATE instances SET next_attempt_at = $2, ready_at = $3, lease_until = NULL, lease_holder = NULL
                 WHERE id = $1";
    let hour = now + TimeDelta::hours(1);
    dermaga_shop::execute!(conn, quiet, id, hour, ago(100_000)).unwrap();
    let forget = "DELETE FROM health_spans WHERE instance_id = $1";
    dermaga_shop::execute!(conn, forget, id).unwrap();
    for span in spans {
        let sql = "INSERT INTO health_spans (id, instance_id, state, is_new_state, reason, detail, source, since, until,
                   unwell_since, given_up_at) VALUES ($1, $2, $3, TRUE, $4, $5, 'PERIODIC', $6, $7, $8, $9)";
        let reason = format!("It is {}.", span.state);
        let detail = format!("Pod a-0 is {}.", span.state);
        dermaga_shop::execute!(
            conn,
            sql,
            new_id::<Uuid>(shop.clock()),
            id,
            span.state,
            reason,
            detail,
            ago(span.since),
            span.until.map(ago),
            span.unwell_since.map(ago),
            span.given_up.then_some(now)
        )
        .unwrap();
    }
    conn.commit().await.unwrap();
}

async fn attempt(shop: &Shop, id: &str, act: &str, minutes: i64) {
    let id: Uuid = id.parse().unwrap();
    let at = shop.clock().now() - TimeDelta::minutes(minutes);
    let mut conn = shop.state().db.begin().await.unwrap();
    let sql = "INSERT INTO healing_acts (id, instance_id, act, at) VALUES ($1, $2, $3, $4)";
    dermaga_shop::execute!(conn, sql, new_id::<Uuid>(shop.clock()), id, act, at).unwrap();
    conn.commit().await.unwrap();
}

async fn an_administrator_sees_the_health_of_instances_and_its_history(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("sehat@example.com", 400_000)
        .await;
    let (id, other) = (buy(&shop, &customer).await, buy(&shop, &customer).await);
    let path = format!("/api/admin/health/instances/{id}");
    let first = admin.get(&path).await.data(200);
    // The folder shows nothing of what runs.
    assert_eq!(
        (first.as_array().unwrap().len(), &first[0]["state"]),
        (1, &json!("UNKNOWN")),
        "{first:#}"
    );
    assert!(first[0]["until"].is_null() && first[0]["lastSeenAt"].is_string());
    let own = customer
        .get(&format!("/api/instances/{id}"))
        .await
        .data(200);
    assert_eq!(
        (&own["health"], own["lastCheckedAt"].is_string()),
        (&json!("WRITTEN"), true)
    );
    assert_eq!(own["healthReason"], own["message"]);

    let failed = Past {
        unwell_since: Some(12),
        given_up: true,
        ..past("FAILED", 10, None)
    };
    remember(
        &shop,
        &id,
        &[
            past("HEALTHY", 60, Some(12)),
            past("STARTING", 12, Some(10)),
            failed,
        ],
    )
    .await;
    remember(&shop, &other, &[past("HEALTHY", 60, None)]).await;
    attempt(&shop, &id, "RESTART", 8).await;
    attempt(&shop, &id, "RECREATION", 4).await;
    attempt(&shop, &id, "RESTART", 90).await;
    let summary = admin.get("/api/admin/health/summary").await;
    assert!(
        summary.text.contains("1 instance is not well."),
        "{}",
        summary.text
    );
    let summary = summary.data(200);
    assert_eq!(
        (&summary["total"], &summary["givenUp"]),
        (&json!(2), &json!(1))
    );
    let counts = &summary["byHealth"];
    assert_eq!(
        (&counts["healthy"], &counts["failed"], &counts["unknown"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(
        summary["lastHour"],
        json!({ "restarts": 1, "recreations": 1 })
    );
    let limits = json!({ "patienceSeconds": 180, "restartsPerHour": 3, "recreationsPerHour": 1 });
    assert_eq!(summary["limits"], limits);
    assert_eq!(summary["unwell"].as_array().unwrap().len(), 1);
    let unwell = &summary["unwell"][0];
    assert_eq!(
        (&unwell["id"], &unwell["health"]),
        (&json!(id), &json!("FAILED"))
    );
    assert_eq!(unwell["detail"], "Pod a-0 is FAILED.");

    let page = admin.get(&format!("{path}?limit=2&page=2")).await;
    assert_eq!(page.body["pagination"]["totalItems"], 3);
    assert_eq!(page.data(200)[0]["state"], "HEALTHY");
    let failed = admin.get(&format!("{path}?state=FAILED")).await.data(200);
    assert_eq!(failed.as_array().unwrap().len(), 1);
    assert!(failed[0]["givenUpAt"].is_string());
    admin
        .get(&format!("{path}?state=SICK"))
        .await
        .fails(400, "VALIDATION_FAILED");
    let unknown = format!("/api/admin/health/instances/{}", Uuid::nil());
    admin.get(&unknown).await.fails(404, "NOT_FOUND");
    for path in [
        "/api/admin/health/summary",
        "/api/admin/health/stats",
        &path,
    ] {
        customer.get(path).await.fails(403, "FORBIDDEN");
        shop.client().get(path).await.fails(401, "UNAUTHENTICATED");
    }
}

async fn the_figures_of_a_time_range_come_from_the_history(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("angka@example.com", 400_000)
        .await;
    let (id, other) = (buy(&shop, &customer).await, buy(&shop, &customer).await);
    let back = Past {
        unwell_since: Some(40),
        ..past("HEALTHY", 30, None)
    };
    let spans = [
        past("HEALTHY", 3000, Some(40)),
        past("FAILED", 40, Some(30)),
        back,
    ];
    remember(&shop, &id, &spans).await;
    remember(&shop, &other, &[past("STOPPED", 3000, None)]).await;
    attempt(&shop, &id, "RESTART", 35).await;
    let stats = async |query: &str| {
        let path = format!("/api/admin/health/stats{query}");
        admin.get(&path).await.data(200)
    };
    let hour = stats("?timeRange=1h").await;
    assert_eq!(
        (&hour["timeRange"], &hour["failures"], &hour["recoveries"]),
        (&json!("1h"), &json!(1), &json!(1)),
        "{hour:#}"
    );
    assert_eq!(hour["meanSecondsToRecovery"], 600);
    assert_eq!(hour["attempts"], json!({ "restarts": 1, "recreations": 0 }));
    let percent = |value: &Value| value["availabilityPercent"].as_f64().unwrap();
    let share = percent(&hour);
    assert!(share > 83.0 && share < 84.0, "{hour:#}");
    assert_eq!(
        hour["leastAvailable"].as_array().unwrap().len(),
        1,
        "{hour:#}"
    );
    assert_eq!(hour["leastAvailable"][0]["id"], id.as_str());
    for (query, range) in [
        ("", "24h"),
        ("?timeRange=6h", "6h"),
        ("?timeRange=7d", "7d"),
    ] {
        let longer = stats(query).await;
        assert_eq!(longer["timeRange"], range);
        assert!(percent(&longer) > percent(&hour), "{longer:#}");
    }
    for query in ["timeRange=2h", "timeRange=week", "range=1h"] {
        let refused = admin.get(&format!("/api/admin/health/stats?{query}")).await;
        if query.starts_with("timeRange") {
            for known in ["1h", "6h", "24h", "7d"] {
                assert!(refused.text.contains(known), "{}", refused.text);
            }
        }
        refused.fails(400, "VALIDATION_FAILED");
    }
    // A span that lasts from before the range counts as much as one that begins in it.
    assert_eq!(hour["instances"], 2);
    remember(&shop, &other, &[past("HEALTHY", 3000, None)]).await;
    let both = stats("?timeRange=1h").await;
    assert_eq!(both["instances"], 2);
    let share = percent(&both);
    assert!(share > 91.0 && share < 92.0, "{both:#}");
    remember(&shop, &other, &[past("FAILED", 3000, None)]).await;
    let failing = stats("?timeRange=1h").await;
    assert_eq!(
        (&failing["failures"], &failing["leastAvailable"][0]["id"]),
        (&json!(1), &json!(other)),
        "{failing:#}"
    );
}

/// Sums that are counted span by span, in minutes.
#[derive(Debug, Default)]
struct Plain {
    instances: usize,
    healthy: i64,
    measured: i64,
    failures: i64,
    recoveries: i64,
}

impl Plain {
    /// Adds an instance that was first ready so many minutes ago.
    fn add(&mut self, ready: Option<i64>, spans: &[Past], range: i64) {
        let is_in_range = |span: &&Past| span.until.is_none_or(|until| until < range);
        self.instances += usize::from(spans.iter().any(|span| is_in_range(&span)));
        for span in spans.iter().filter(is_in_range) {
            let begins = span.since < range;
            self.failures += i64::from(begins && span.state == "FAILED");
            self.recoveries += i64::from(begins && span.unwell_since.is_some());
            let begin = span.since.min(range).min(ready.unwrap_or(0));
            let length = (begin - span.until.unwrap_or(0)).max(0);
            if !matches!(span.state, "STOPPED" | "UNKNOWN") {
                self.measured += length;
            }
            if span.state == "HEALTHY" {
                self.healthy += length;
            }
        }
    }

    /// Returns true for these figures; a few seconds have passed since.
    fn is(&self, figures: &Value) -> bool {
        let share = figures["availabilityPercent"].as_f64().unwrap();
        let thousandths: i64 = format!("{share:.3}").replace('.', "").parse().unwrap();
        let expected = self.healthy * 100_000 / self.measured;
        figures["failures"] == self.failures
            && figures["recoveries"] == self.recoveries
            && (thousandths - expected).abs() < 500
    }
}

async fn sums_are_those_that_a_plain_count_finds(shop: Shop) {
    let admin = shop.admin().await;
    let mut ids = Vec::new();
    for email in ["satu@example.com", "dua@example.com"] {
        let customer = shop.customer_with_credit(email, 400_000).await;
        ids.push(buy(&shop, &customer).await);
        ids.push(buy(&shop, &customer).await);
    }
    let back = |since, until, unwell_since| Past {
        unwell_since: Some(unwell_since),
        ..past("HEALTHY", since, until)
    };
    let faulty = || {
        vec![
            past("HEALTHY", 9_000, Some(500)),
            past("FAILED", 500, Some(450)),
            back(450, Some(300), 500),
            past("STOPPED", 300, Some(50)),
            past("HEALTHY", 50, Some(40)),
            past("DEGRADED", 40, Some(30)),
            back(30, None, 40),
        ]
    };
    let gone = || {
        vec![
            past("STARTING", 9_010, Some(9_000)),
            past("HEALTHY", 9_000, Some(10)),
        ]
    };
    let calm = || vec![past("HEALTHY", 9_000, None)];
    let away = || {
        vec![
            past("HEALTHY", 9_000, Some(700)),
            past("UNKNOWN", 700, None),
        ]
    };
    for (ready, histories) in [
        ([Some(9_000); 4], [faulty(), gone(), calm(), away()]),
        // Two were ready within the range, and one never.
        (
            [Some(9_000), Some(45), Some(35), None],
            [faulty(), gone(), calm(), gone()],
        ),
        ([Some(9_000); 4], [gone(), faulty(), away(), calm()]),
    ] {
        for ((id, ready), spans) in ids.iter().zip(ready).zip(&histories) {
            remember(&shop, id, spans).await;
            let (id, now): (Uuid, _) = (id.parse().unwrap(), shop.clock().now());
            let ready_at = ready.map(|minutes| now - TimeDelta::minutes(minutes));
            let mut conn = shop.state().db.begin().await.unwrap();
            let sql = "UPDATE instances SET ready_at = $2 WHERE id = $1";
            dermaga_shop::execute!(conn, sql, id, ready_at).unwrap();
            conn.commit().await.unwrap();
        }
        for (query, range) in [("1h", 60), ("6h", 360), ("24h", 1_440), ("7d", 10_080)] {
            let path = format!("/api/admin/health/stats?timeRange={query}");
            let stats = admin.get(&path).await.data(200);
            let mut all = Plain::default();
            for (ready, spans) in ready.iter().zip(&histories) {
                all.add(*ready, spans, range);
            }
            assert!(all.is(&stats), "{all:?} of {query}: {stats:#}");
            assert_eq!(stats["instances"], all.instances, "{query}: {stats:#}");
            let place = usize::from(histories[1].len() > 2);
            let mut one = Plain::default();
            one.add(ready[place], &histories[place], range);
            let named = stats["leastAvailable"].as_array().unwrap();
            let shown = named
                .iter()
                .find(|shown| shown["id"] == ids[place].as_str());
            assert!(one.is(shown.unwrap()), "{one:?} of {query}: {stats:#}");
        }
    }
}

async fn checks_are_made_at_once_and_counted_once(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("periksa@example.com", 400_000)
        .await;
    let (id, other) = (buy(&shop, &customer).await, buy(&shop, &customer).await);
    remember(&shop, &id, &[past("HEALTHY", 60, None)]).await;
    remember(&shop, &other, &[past("HEALTHY", 60, None)]).await;
    let check = async |body: Value| admin.post("/api/admin/health/check", body).await;
    let nobody = Uuid::nil().to_string();
    let named = json!({ "instanceIds": [id, nobody, id] });
    let (one, two) = tokio::join!(check(named.clone()), check(named));
    for answer in [one, two] {
        assert!(
            answer.text.contains("1 instance is being checked."),
            "{}",
            answer.text
        );
        assert_eq!(answer.data(202), json!({ "due": 1, "unknown": [nobody] }));
    }
    let path = format!("/api/admin/health/instances/{id}");
    let mut history = admin.get(&path).await.data(200);
    for _ in 0..100 {
        if history.as_array().unwrap().len() > 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        history = admin.get(&path).await.data(200);
    }
    // Two requests for one check, and one change.
    let spans = history.as_array().unwrap();
    assert_eq!(spans.len(), 2, "{history:#}");
    assert_eq!(
        (&spans[0]["state"], &spans[0]["source"]),
        (&json!("UNKNOWN"), &json!("REQUEST"))
    );
    let untouched = admin
        .get(&format!("/api/admin/health/instances/{other}"))
        .await;
    assert_eq!(untouched.data(200)[0]["state"], "HEALTHY");

    assert_eq!(check(json!({})).await.data(202)["due"], 2);
    let many = vec![nobody; 101];
    for wrong in [
        json!({ "instanceIds": [] }),
        json!({ "instanceIds": many }),
        json!({ "instanceIds": ["x"] }),
    ] {
        check(wrong).await.fails(400, "VALIDATION_FAILED");
    }
    let refused = customer.post("/api/admin/health/check", json!({})).await;
    refused.fails(403, "FORBIDDEN");
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM audit_events WHERE act = 'health.check_requested'";
    let (audited,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    assert_eq!(audited, 3);
}

/// Ended spans are purged after their retention; a lasting one stays, however old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_history_is_removed_by_its_job() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("lampau@example.com", 200_000)
        .await;
    let id = buy(&shop, &customer).await;
    let day = 24 * 60;
    let spans = [
        past("HEALTHY", 90 * day, Some(50 * day)),
        past("FAILED", 50 * day, Some(29 * day)),
        past("HEALTHY", 29 * day, None),
    ];
    remember(&shop, &id, &spans).await;
    attempt(&shop, &id, "RESTART", 31 * day).await;
    attempt(&shop, &id, "RESTART", 20 * day).await;
    let run = admin
        .post("/api/admin/jobs/health-history/run", json!({}))
        .await
        .data(200);
    assert_eq!(
        (&run["status"], &run["items"]),
        (&json!("SUCCEEDED"), &json!(2))
    );
    let history = admin
        .get(&format!("/api/admin/health/instances/{id}"))
        .await;
    assert_eq!(history.body["pagination"]["totalItems"], 2);
}
