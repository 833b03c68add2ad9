//! Servers behind PgBouncer, which lends a connection to PostgreSQL for one transaction.

use std::fs::{self, File};

use dermaga_shop::db::{
    Db, Pooler, Settings, notify,
    transfer::{Transfer, TransferError},
    url_of,
};
use dermaga_tests::{pgbouncer, postgres, skip};
use tempfile::TempDir;

use super::{
    servers::{Servers, are_one_shop},
    site::{Server, Site},
};

/// Sells, renews, activates and tells what happens, by connections that are lent; the server says so at its start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_work_behind_pgbouncer() {
    let Some(mut site) = Site::new(true).await else {
        return;
    };
    let bouncer = match pgbouncer::start(&site.database_url(), "transaction", "") {
        Ok(bouncer) => bouncer,
        Err(why) => return skip("PgBouncer", &why),
    };
    site.set("DATABASE_URL", bouncer.url());
    // No message comes through it: servers that look every second know of an activation in the two that are promised.
    site.set("DERMAGA_PLUGIN_POLL", "1s");
    let log = site.path().join("log");
    let server = Server::start_logging(&site, File::create(&log).unwrap());
    drop(server);
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("database.behind_pooler"), "{said}");
    Box::pin(are_one_shop(Servers::of(site))).await;
}

/// A connection that is lent is found out whether its pooler refuses the mark of a session or forgets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poolers_are_found_out() {
    let postgres = match postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("PostgreSQL", why),
    };
    let url = postgres.empty_database().await;
    let forgetting = "ignore_startup_parameters = options";
    let mut bouncers = Vec::new();
    for (mode, more) in [
        ("transaction", ""),
        ("transaction", forgetting),
        ("session", ""),
    ] {
        match pgbouncer::start(&url, mode, more) {
            Ok(bouncer) => bouncers.push(bouncer),
            Err(why) => return skip("PgBouncer", &why),
        }
    }
    let direct = Db::connect(&url).await.unwrap();
    assert!(direct.keeps_sessions());
    limits_hold(&direct).await;
    direct.migrate().await.unwrap();
    for bouncer in &bouncers {
        let db = Db::connect(bouncer.url()).await.unwrap();
        assert!(!db.keeps_sessions());
        // The schema is there, and asking for it leaves nothing behind that a second time would meet.
        db.migrate().await.unwrap();
        db.migrate().await.unwrap();
        assert!(db.listen("dermaga_test").await.unwrap().is_none());
        limits_hold(&db).await;
        db.close().await;
    }
    let settings = |pooler| Settings {
        pooler,
        ..Settings::default()
    };
    let kept = settings(Pooler::None);
    let kept = Db::connect_with(bouncers[2].url(), &kept).await.unwrap();
    assert!(kept.keeps_sessions());
    limits_hold(&kept).await;
    let mut listener = kept.listen("dermaga_test").await.unwrap().unwrap();
    let mut conn = direct.begin().await.unwrap();
    notify(&mut conn, "dermaga_test", "heard").await.unwrap();
    conn.commit().await.unwrap();
    let heard = format!("{:?}", listener.next().await.unwrap());
    assert!(heard.contains("heard"), "{heard}");
    drop(listener);
    kept.close().await;
    let lent = settings(Pooler::Transaction);
    let lent = Db::connect_with(&url, &lent).await.unwrap();
    assert!(!lent.keeps_sessions());
    limits_hold(&lent).await;
    is_not_filled(&lent).await;
    lent.close().await;
    direct.close().await;
}

/// Statements end in time, and when their client is gone; so do transactions in which nothing is asked.
async fn limits_hold(db: &Db) {
    let sql = "SELECT concat_ws(' ', current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'),
                 current_setting('client_connection_check_interval'))";
    for mut conn in [db.begin().await.unwrap(), db.read().await.unwrap()] {
        let (limits,) = dermaga_shop::fetch_one!(conn, (String,), sql).unwrap();
        assert_eq!(limits, "5min 1min 5s");
    }
}

/// A copy from SQLite needs a session, and is refused without one.
async fn is_not_filled(lent: &Db) {
    let folder = TempDir::new().unwrap();
    let source = Db::connect(&url_of(&folder.path().join("shop.db")))
        .await
        .unwrap();
    source.migrate().await.unwrap();
    let refused = Transfer::begin(&source, lent).await;
    assert!(matches!(refused, Err(TransferError::Pooler)), "{refused:?}");
    assert!(!lent.is_half_filled().await.unwrap());
    source.close().await;
}
