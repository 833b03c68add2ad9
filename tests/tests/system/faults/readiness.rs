//! Tests of readiness while the database does not answer.

use std::time::{Duration, Instant};

use dermaga_tests::{Engine, Shop};
use tokio::time::timeout;

/// A probe ends long before a connection would be had.
#[tokio::test]
async fn readiness_is_answered_while_no_connection_is_free() {
    let open = Shop::open_with(Engine::Postgres, |config| config.database_connections = 2);
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
