//! Tests of SQLite's files: locked by others, grown, or mixed up by hand.

use std::{fs, path::Path};

use dermaga::app::StartError;
use dermaga_shop::{
    crypto::Secret,
    db::{Db, Schema},
};
use dermaga_tests::{Engine, Shop};
use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;

fn url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("dermaga.db").display())
}

/// Opens a connection of another program.
async fn other_program(folder: &Path) -> SqliteConnection {
    SqliteConnection::connect(&url(folder)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_another_program_locks_is_busy_and_not_broken() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let mut other = other_program(shop.data_dir()).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let body =
        json!({ "email": "kunci@example.com", "password": "kata sandi panjang", "name": "Kunci" });
    let request = shop
        .client()
        .request(Method::POST, "/api/auth/register")
        .json(&body);
    let refused = shop.client().send(request).await;
    refused.fails(503, "UNAVAILABLE");
    assert!(refused.headers.contains_key("retry-after"));
    // Readers do not wait for writers.
    shop.client().get("/api/catalog/services").await.data(200);
    other.execute("ROLLBACK").await.unwrap();
    shop.client()
        .post("/api/auth/register", body)
        .await
        .data(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grew_is_cut() {
    let folder = TempDir::new().unwrap();
    let db = Db::connect(&url(folder.path())).await.unwrap();
    let write = async |sql: &'static str| {
        let mut conn = db.begin().await.unwrap();
        dermaga_shop::execute!(conn, sql).unwrap();
        conn.commit().await.unwrap();
    };
    let length = || {
        fs::metadata(folder.path().join("dermaga.db-wal"))
            .unwrap()
            .len()
    };
    write("CREATE TABLE filler (bytes BLOB)").await;
    let mut reader = db.snapshot().await.unwrap();
    dermaga_shop::fetch_one!(reader, (i64,), "SELECT count(*) FROM filler").unwrap();
    for _ in 0..20 {
        write("INSERT INTO filler VALUES (zeroblob(1048576))").await;
    }
    assert!(length() > 20 << 20, "{}", length());
    drop(reader);
    for _ in 0..20 {
        write("UPDATE filler SET bytes = randomblob(8) WHERE rowid = 1").await;
    }
    assert!(length() <= 16 << 20, "{}", length());
    db.close().await;
}

/// A start refuses a write-ahead log from before a restore, which would be replayed into the
/// restored file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_another_file_is_refused() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let (crashed, restored) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    shop.register("lama@example.com").await;
    let mut other = other_program(shop.data_dir()).await;
    let backup = format!(
        "VACUUM INTO '{}'",
        restored.path().join("dermaga.db").display()
    );
    other.execute(AssertSqlSafe(backup)).await.unwrap();
    shop.register("sesudahnya@example.com").await;
    other
        .execute("PRAGMA wal_checkpoint(TRUNCATE)")
        .await
        .unwrap();
    for number in 0..3 {
        shop.register(&format!("baru-{number}@example.com")).await;
    }
    other.close().await.unwrap();
    for name in ["dermaga.db", "dermaga.db-wal"] {
        fs::copy(shop.data_dir().join(name), crashed.path().join(name)).unwrap();
    }
    let log = restored.path().join("dermaga.db-wal");
    fs::copy(crashed.path().join("dermaga.db-wal"), &log).unwrap();
    let before = fs::read(restored.path().join("dermaga.db")).unwrap();

    let named = url(restored.path());
    let refused = shop
        .restart_with(|config| config.database_url = Some(Secret::new(named)))
        .await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, StartError::ForeignLog(_)), "{refused}");
    let sentence = refused.to_string();
    assert!(
        sentence.contains("was left by another database than")
            && sentence.contains(log.to_str().unwrap()),
        "{sentence}"
    );
    assert_eq!(
        fs::read(restored.path().join("dermaga.db")).unwrap(),
        before,
        "nothing was replayed"
    );

    // The log is accepted with its own file, as after a crash; the restored file starts without it.
    fs::remove_file(&log).unwrap();
    for (folder, customers) in [(&crashed, 5), (&restored, 1)] {
        let db = Db::connect(&url(folder.path())).await.unwrap();
        assert_eq!(db.schema().await.unwrap(), Schema::Current);
        let mut conn = db.read().await.unwrap();
        let sql = "SELECT count(*) FROM users WHERE role = 'USER'";
        assert_eq!(
            dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap(),
            (customers,)
        );
        drop(conn);
        db.close().await;
    }
}
