//! Tests of probes of the database, and of readiness while it does not answer.

use std::time::{Duration, Instant};

use dermaga_tests::{Engine, Shop, both_engines};
use tokio::time::timeout;

both_engines!(Shop, [a_database_tells_its_time_and_takes_writes]);

/// Probes of an operator, on either engine: the time to the second, and a write that is taken back.
async fn a_database_tells_its_time_and_takes_writes(shop: Shop) {
    let db = &shop.state().db;
    db.check_writable().await.unwrap();
    let told = db.now().await.unwrap();
    let apart = shop.clock().now() - told;
    assert!(apart.num_seconds().abs() <= 5, "{apart}");
}

/// A standby takes no writes, and says so.
#[tokio::test]
async fn a_database_that_only_reads_is_found() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let url = shop.state().config.database_url();
    let mark = if url.contains('?') { '&' } else { '?' };
    let reading = format!("{url}{mark}options=-c%20default_transaction_read_only%3Don");
    let db = dermaga_shop::db::Db::connect(&reading).await.unwrap();
    db.now().await.unwrap();
    let refused = db.check_writable().await.unwrap_err();
    assert!(refused.to_string().contains("read-only"), "{refused}");
    db.close().await;
}

/// A probe ends long before a connection would be had.
#[tokio::test]
async fn readiness_is_answered_while_no_connection_is_free() {
    let open = Shop::open_with(Engine::Postgres, |config| config.database.connections = 2);
    let Some(shop) = open.await else {
        return;
    };
    let db = &shop.state().db;
    let mut held = Vec::new();
    // The shop's own workers give theirs back, and get no other.
    while let Ok(conn) = timeout(Duration::from_secs(1), db.begin()).await {
        held.push(conn.unwrap());
    }
    let asked = Instant::now();
    let answer = shop.client().get("/readyz").await;
    assert_eq!(answer.status, 503, "{:#}", answer.body);
    assert_eq!(answer.body["checks"][0]["status"], "failed");
    assert!(asked.elapsed() < Duration::from_secs(8));
    drop(held);
    assert_eq!(shop.client().get("/readyz").await.status, 200);
}
