//! `doctor` and a database that may have several servers.

use dermaga_shop::db::Db;
use dermaga_tests::{pgbouncer, postgres, skip};

use super::Patient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_attachments_and_a_pooler_are_told_of_on_postgresql() {
    let url = match postgres::shared() {
        Ok(server) => server.empty_database().await,
        Err(why) => return skip("PostgreSQL", why),
    };
    let db = Db::connect(&url).await.unwrap();
    db.migrate().await.unwrap();
    db.close().await;
    let patient = Patient::new().await;
    let report = patient.with(&[("DATABASE_URL", &url)], &[]).await;
    let words = ["other servers on this PostgreSQL", "DERMAGA_ATTACHMENTS"];
    report.blames("attachments", "WARNING", &words);
    let is_about = |one: &serde_json::Value| one["message"].to_string().contains("pooler");
    assert!(
        !report.findings.iter().any(is_about),
        "{:#?}",
        report.findings
    );

    let bouncer = match pgbouncer::start(&url, "transaction", "") {
        Ok(bouncer) => bouncer,
        Err(why) => return skip("PgBouncer", &why),
    };
    let report = patient.with(&[("DATABASE_URL", bouncer.url())], &[]).await;
    let mut findings = report.findings.iter();
    let pooler = findings.find(|one| is_about(one));
    let pooler = pooler.unwrap_or_else(|| panic!("{:#?}", report.findings));
    assert_eq!(
        (&pooler["part"], &pooler["state"]),
        (&"database".into(), &"OK".into())
    );
    assert!(
        pooler["message"].to_string().contains("every 2s"),
        "{pooler:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_that_postgresql_cannot_keep_are_told_of() {
    let url = match postgres::shared() {
        Ok(server) => server.empty_database().await,
        Err(why) => return skip("PostgreSQL", why),
    };
    let db = Db::connect(&url).await.unwrap();
    db.migrate().await.unwrap();
    // Of its 400, PostgreSQL keeps 3 for its administrators.
    assert_eq!(db.room_for_connections().await.unwrap(), Some(397));
    db.close().await;
    let patient = Patient::new().await;
    let url = ("DATABASE_URL", url.as_str());
    for (setting, good, bad, word) in [
        ("DERMAGA_DATABASE_CONNECTIONS", "397", "398", "room for 397"),
        ("DERMAGA_DATABASE_STATEMENT_TIMEOUT", "61s", "30s", "30s"),
    ] {
        let report = patient.with(&[url, (setting, bad)], &[]).await;
        report.blames("database", "WARNING", &[setting, word]);
        let report = patient.with(&[url, (setting, good)], &[]).await;
        let warns = |one: &serde_json::Value| one["message"].to_string().contains(setting);
        assert!(!report.findings.iter().any(warns), "{:#?}", report.findings);
    }
}
