//! `doctor` and settings that name a folder or a file which is something else.

use std::fs;

use dermaga_shop::crypto::random_hex;
use tempfile::TempDir;

use super::{Patient, Report};
use crate::{dermaga, site::free_address, stderr};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_the_place_of_a_folder_is_a_failure() {
    let patient = Patient::new().await;
    let file = patient.data.path().join("a-file");
    fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let inside = format!("{file}/manifests");
    let setting = "DERMAGA_MANIFESTS_DIR";
    for place in [file, inside.as_str()] {
        let report = patient.with(&[(setting, place)], &[]).await;
        report.blames("cluster", "FAILED", &[setting, place]);
    }
    for (setting, part) in [
        ("DERMAGA_ATTACHMENTS", "attachments"),
        ("DERMAGA_PLUGINS_DIR", "plugins"),
        ("DERMAGA_TEMPLATES_DIR", "templates"),
        ("DERMAGA_NOTIFICATION_TEMPLATES_DIR", "templates"),
    ] {
        let report = patient.with(&[(setting, file)], &[]).await;
        report.blames(part, "FAILED", &[setting, file]);
    }
    let manifests = patient.data.path().join("manifests");
    let _ = fs::remove_dir_all(&manifests);
    fs::write(&manifests, "").unwrap();
    let manifests = manifests.to_str().unwrap();
    let report = patient.with(&[], &[]).await;
    report.blames("cluster", "FAILED", &[setting, manifests]);
    // No cluster is found at home.
    let automatic = [("DERMAGA_PROVISIONER", "auto"), ("HOME", file)];
    let report = patient.with(&automatic, &[]).await;
    report.blames("cluster", "FAILED", &[setting, manifests]);
}

/// A folder that is not there has no lines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_notifications_that_is_not_there_is_said_to_be_none() {
    let (patient, folder) = (Patient::new().await, TempDir::new().unwrap());
    let missing = folder.path().join("missing");
    let missing = missing.to_str().unwrap();
    let setting = "DERMAGA_NOTIFICATION_TEMPLATES_DIR";
    let report = patient.with(&[(setting, missing)], &[]).await;
    let said = format!("{setting} names {missing}, which is not a folder");
    report.blames("templates", "FAILED", &[&said, "Correct the setting"]);
}

/// Advice about what lies in a data folder is about that one where it can be neither written nor made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_that_cannot_be_made_is_what_to_look_at() {
    let patient = Patient::new().await;
    let file = patient.data.path().join("a-file");
    fs::write(&file, "").unwrap();
    let data = file.join("data");
    let data = ("DERMAGA_DATA_DIR", data.to_str().unwrap());
    let advice = |report: &Report, part: &str| {
        let mut findings = report.findings.iter();
        let found = findings.find(|one| one["part"] == part && !one["todo"].is_null());
        let found = found.unwrap_or_else(|| panic!("{part}: {:#?}", report.findings));
        found["todo"].as_str().unwrap().to_owned()
    };
    let report = patient.with(&[data], &[]).await;
    for part in ["database", "attachments"] {
        let todo = advice(&report, part);
        assert_eq!(
            todo, "Run this again once the data folder is well.",
            "{part}"
        );
    }
    let url = dermaga_shop::db::url_of(&patient.data.path().join("dermaga.db"));
    let elsewhere = [data, ("DATABASE_URL", url.as_str())];
    let report = patient.with(&elsewhere, &[]).await;
    let todo = advice(&report, "plugins");
    assert!(todo.contains("DERMAGA_DATA_DIR"), "{todo}");
    assert!(!todo.contains("DERMAGA_PLUGIN_"), "{todo}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_of_notifications_that_stops_a_start_is_a_failure() {
    let (patient, folder) = (Patient::new().await, TempDir::new().unwrap());
    fs::write(folder.path().join("hantu.id.txt"), "Halo").unwrap();
    let setting = "DERMAGA_NOTIFICATION_TEMPLATES_DIR";
    let named = (setting, folder.path().to_str().unwrap());
    let report = patient.with(&[named], &[]).await;
    report.blames("templates", "FAILED", &[setting, "hantu.id.txt"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_key_is_a_failure_also_without_a_database() {
    let patient = Patient::new().await;
    let key = patient.data.path().join("jwt.key");
    let own = fs::read(&key).ok();
    fs::write(&key, "short").unwrap();
    let report = patient.with(&[], &[]).await;
    report.blames("keys", "FAILED", &["jwt.key", "JWT_SECRET"]);
    let given = random_hex(32);
    let report = patient.with(&[("JWT_SECRET", &given)], &[]).await;
    assert_eq!(report.code, Some(0), "{:#?}", report.findings);
    match own {
        Some(own) => fs::write(&key, own).unwrap(),
        None => fs::remove_file(&key).unwrap(),
    }
    fs::write(patient.data.path().join("master.key"), "short").unwrap();
    let elsewhere = patient.data.path().join("new.db");
    let elsewhere = format!("sqlite://{}", elsewhere.display());
    let report = patient.with(&[("DATABASE_URL", &elsewhere)], &[]).await;
    report.blames("keys", "FAILED", &["master.key"]);
}

/// The client of the cluster logs an answer that does not come, which is a finding here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_away_is_no_line_of_a_log() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("kubeconfig");
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: a, clusters: [{{name: a, cluster: {{server: 'http://{}'}}}}], \
         users: [{{name: a, user: {{token: x}}}}], contexts: [{{name: a, context: {{cluster: a, user: a}}}}]}}",
        free_address()
    );
    fs::write(&config, text).unwrap();
    let environment = [
        ("DERMAGA_PROVISIONER", "kubernetes"),
        ("KUBECONFIG", config.to_str().unwrap()),
    ];
    let output = dermaga(folder.path(), &["doctor"], &environment);
    assert_eq!(stderr(&output), "dermaga: 1 check failed\n");
}
