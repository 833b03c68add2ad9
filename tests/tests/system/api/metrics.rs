//! Tests of metrics, and that strangers cannot grow their memory.

use std::time::Duration;

use dermaga::config::{self, Sources};
use dermaga_tests::{Engine, Shop, checkout};
use reqwest::Method;
use sqlx::{Connection as _, PgConnection};

async fn metrics(shop: &Shop) -> String {
    shop.client().get("/metrics").await.text
}

fn value(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invented_method_is_no_label() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    for number in 0..20 {
        let invented = format!("INVENTED-{number}-{}", "X".repeat(10_000));
        let method = Method::from_bytes(invented.as_bytes()).unwrap();
        let request = shop.client().request(method, "/api/catalog/services");
        shop.client()
            .send(request)
            .await
            .fails(405, "METHOD_NOT_ALLOWED");
    }
    shop.client()
        .send(shop.client().request(Method::TRACE, "/healthz"))
        .await;
    let metrics = metrics(&shop).await;
    assert!(
        !metrics.contains("INVENTED"),
        "a stranger's word is a label"
    );
    let other = r#"http_requests_total{method="OTHER",route="/api/catalog/services",status="405"}"#;
    assert!(value(&metrics, other) >= 20, "{metrics}");
    assert!(metrics.contains(r#"method="TRACE""#), "{metrics}");
}

/// Durations take memory until they are sorted into buckets, which must also happen without a
/// reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measurements_are_sorted_without_being_read() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    for _ in 0..100 {
        let sorted = r#"dermaga_worker_runs_total{worker="metrics"}"#;
        if value(&metrics(&shop).await, sorted) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{}", metrics(&shop).await);
}

/// The first look into the database is taken at the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shown_is_documented_and_the_database_is_looked_into() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let last = "dermaga_job_overdue_seconds{";
    let mut shown = metrics(&shop).await;
    for _ in 0..1_200 {
        if shown.contains(last) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        shown = metrics(&shop).await;
    }
    for expected in [
        last,
        "dermaga_build_info{version=",
        "dermaga_database_connections_max{",
        "dermaga_instances{status=\"FAILED\"}",
        "dermaga_queue_oldest_seconds{queue=\"mails\"}",
    ] {
        assert!(shown.contains(expected), "{expected} is not in {shown}");
    }
    let document = std::fs::read_to_string(checkout().join("docs/OPERATIONS.md")).unwrap();
    let types = shown
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let mut count = 0;
    for (name, kind) in types.filter_map(|line| line.split_once(' ')) {
        let row = format!("| `{name}` | {kind} |");
        assert!(
            document.contains(&row),
            "{row} is not in docs/OPERATIONS.md"
        );
        count += 1;
    }
    assert!(count > 15, "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_of_postgresql_is_as_large_as_set() {
    let most = 4;
    let server = "postgres://dermaga@127.0.0.1/toko";
    let environment = [
        ("DATABASE_URL".to_owned(), server.to_owned()),
        ("DERMAGA_DATABASE_CONNECTIONS".to_owned(), most.to_string()),
    ];
    let sources = Sources {
        environment: environment.into(),
        ..Sources::default()
    };
    let set = config::load(sources).unwrap().config.database.connections;
    let Some(shop) =
        Shop::open_with(Engine::Postgres, |config| config.database.connections = set).await
    else {
        return;
    };
    let db = &shop.state().db;
    let asking = (0..40).map(|_| async {
        let mut conn = db.read().await.unwrap();
        dermaga_shop::fetch_one!(conn, (bool,), "SELECT pg_sleep(0.02) IS NULL").unwrap();
    });
    let watching = async {
        let mut conn = PgConnection::connect(&shop.state().config.database_url())
            .await
            .unwrap();
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let mut seen = 0_i64;
        for _ in 0..20 {
            seen = seen.max(sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen
    };
    let (_, seen) = tokio::join!(futures::future::join_all(asking), watching);
    assert_eq!(seen, most, "connections were open");
}
