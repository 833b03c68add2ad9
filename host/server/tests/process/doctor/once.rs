//! `doctor` says each thing once.

use std::fs;

use dermaga_tests::{postgres, skip};

use super::{Patient, Report};
use crate::{dermaga, site::free_address, stderr};

/// Returns the text and the advice of the failure of a part.
fn failure(report: &Report, part: &str) -> (String, String) {
    let mut findings = report.findings.iter();
    let found = findings.find(|one| one["part"] == part && one["state"] == "FAILED");
    let found = found.unwrap_or_else(|| panic!("{part}: {:#?}", report.findings));
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("message"), text("todo"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_names_its_part_its_place_and_its_advice_once() {
    let patient = Patient::new().await;
    let url = format!("postgres://toko@{}/toko", free_address());
    let report = patient.with(&[("DATABASE_URL", &url)], &[]).await;
    let (message, todo) = failure(&report, "database");
    assert_eq!(message.matches("database").count(), 1, "{message}");
    assert!(!message.contains("Check"), "{message}");
    assert!(todo.contains("DATABASE_URL"), "{todo}");

    let file = patient.data.path().join("a-file");
    fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let report = patient.with(&[("DERMAGA_ATTACHMENTS", file)], &[]).await;
    let (message, todo) = failure(&report, "attachments");
    assert_eq!(message.matches(file).count(), 1, "{message}");
    assert!(!message.contains("DERMAGA_ATTACHMENTS"), "{message}");
    assert!(todo.contains("DERMAGA_ATTACHMENTS"), "{todo}");

    let cache = patient.data.path().join("plugin-cache");
    let _ = fs::remove_dir_all(&cache);
    fs::write(&cache, "").unwrap();
    let report = patient.with(&[], &[]).await;
    let (message, _) = failure(&report, "plugins");
    assert!(message.starts_with("the folder "), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentence_says_nothing_twice() {
    let patient = Patient::new().await;
    let report = patient.with(&[("DERMAGA_LISTN", "127.0.0.1:1")], &[]).await;
    let (message, todo) = failure(&report, "configuration");
    let place = "environment";
    assert!(message.contains(place), "{message}");
    assert!(!todo.contains(place), "{todo}");

    let texts = tempfile::tempdir().unwrap();
    fs::write(texts.path().join("hantu.id.txt"), "Halo").unwrap();
    let texts = texts.path().to_str().unwrap();
    let setting = "DERMAGA_NOTIFICATION_TEMPLATES_DIR";
    let report = patient.with(&[(setting, texts)], &[]).await;
    let (message, _) = failure(&report, "templates");
    for said in [texts, "notifications"] {
        assert_eq!(message.matches(said).count(), 1, "{message}");
    }

    // A component of one byte, with its digest.
    patient
        .sql(
            "INSERT INTO plugin_versions (digest, plugin_id, kind, version, contract, title, component, size_bytes, state,
               report, created_at)
             SELECT '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d', 'coupon-lain', kind, version,
               contract, title, x'00', 1, 'ACTIVE', report, created_at
             FROM plugin_versions WHERE plugin_id = 'coupon-credit-topup' LIMIT 1",
        )
        .await;
    let report = patient.with(&[], &[]).await;
    let (message, _) = failure(&report, "plugins");
    assert!(
        message.starts_with("coupon-lain: The plugin version 6e34"),
        "{message}"
    );
    assert_eq!(message.matches("load").count(), 1, "{message}");
}

/// A file does not run, and without DATABASE_URL there is no setting to correct.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_database_is_what_to_look_at() {
    let patient = Patient::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dermaga.db");
    fs::write(&file, "no database\n".repeat(1_000)).unwrap();
    let data = [("DERMAGA_DATA_DIR", folder.path().to_str().unwrap())];
    let (message, todo) = failure(&patient.with(&data, &[]).await, "database");
    assert_eq!(
        message,
        "the sqlite database cannot be used: its file is no database"
    );
    assert!(
        todo.contains("dermaga.db") && !todo.contains("runs"),
        "{todo}"
    );
    let url = dermaga_shop::db::url_of(&file);
    let report = patient.with(&[("DATABASE_URL", &url)], &[]).await;
    let (_, todo) = failure(&report, "database");
    assert!(
        todo.contains("DATABASE_URL") && !todo.contains("runs"),
        "{todo}"
    );
}

/// Neither the driver nor the server puts its own words into the sentence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_has_a_plain_reason() {
    let server = match postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("PostgreSQL", why),
    };
    let url = format!("{}_lain", server.empty_database().await);
    let patient = Patient::new().await;
    let report = patient.with(&[("DATABASE_URL", &url)], &[]).await;
    let (message, todo) = failure(&report, "database");
    assert_eq!(
        message,
        "the postgres database cannot be used: its server has none of this name"
    );
    assert!(
        todo.contains("DATABASE_URL") && !todo.contains("runs"),
        "{todo}"
    );
    // Its server offers no TLS.
    let encrypted = [
        ("DATABASE_URL", url.as_str()),
        ("DERMAGA_DATABASE_TLS", "verify-ca"),
    ];
    let report = patient.with(&encrypted, &[]).await;
    let (message, todo) = failure(&report, "database");
    assert!(message.contains("(TLS)"), "{message}");
    assert!(
        todo.contains("DERMAGA_DATABASE_TLS") && !todo.contains("runs"),
        "{todo}"
    );
}

/// A database in which no shop was made has no schema that could be old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_database_is_said_to_be_empty_on_postgresql() {
    let server = match postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("PostgreSQL", why),
    };
    let url = server.empty_database().await;
    let patient = Patient::new().await;
    let report = patient.with(&[("DATABASE_URL", &url)], &[]).await;
    report.blames("database", "WARNING", &["is empty", "`dermaga migrate`"]);
    let unchanged = [("DATABASE_URL", url.as_str()), ("DERMAGA_MIGRATE", "false")];
    let report = patient.with(&unchanged, &[]).await;
    report.blames("database", "FAILED", &["is empty", "`dermaga migrate`"]);

    let refused = dermaga(patient.data.path(), &["backup", "copy"], &unchanged);
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the postgres database is empty: run `dermaga migrate` first"),
        "{said}"
    );
}
