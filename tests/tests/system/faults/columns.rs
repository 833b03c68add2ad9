//! Tests of tables that a server of a later release expands while this one works. An SQLite file has one server, which
//! migrates before it reads.

use dermaga_shop::{Code, Result, fetch_one};
use dermaga_tests::{Engine, Shop};

/// Connections that keep a statement from before.
const CONNECTIONS: usize = 2;
const READS: usize = 10;

async fn read(shop: &Shop) -> Result<i64> {
    let mut conn = shop.state().db.read().await?;
    let (id,) = fetch_one!(conn, (i64,), "SELECT * FROM grown")?;
    Ok(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_added_costs_one_statement_at_most() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    shop.sql("CREATE TABLE grown (id BIGINT)").await.unwrap();
    shop.sql("INSERT INTO grown VALUES (1)").await.unwrap();
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut conn = shop.state().db.read().await.unwrap();
        fetch_one!(conn, (i64,), "SELECT * FROM grown").unwrap();
        held.push(conn);
    }
    drop(held);
    let grow = "ALTER TABLE grown ADD COLUMN more BIGINT";
    shop.sql(grow).await.unwrap();
    let mut refused = Vec::new();
    for _ in 0..READS {
        match read(&shop).await {
            Ok(id) => assert_eq!(id, 1),
            Err(error) => refused.push(error),
        }
    }
    assert!(refused.len() <= 1, "{refused:?}");
    for error in refused {
        assert_eq!(error.code, Code::Unavailable, "{error:?}");
        assert!(error.retry_after.is_some(), "it may be tried again");
    }
}
