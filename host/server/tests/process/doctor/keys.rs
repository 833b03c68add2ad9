//! `doctor` and the master key.

use std::fs;

use dermaga_shop::crypto::random_hex;
use dermaga_tests::{Engine, Shop};
use serde_json::json;

use super::Patient;
use crate::{dermaga, stderr};

/// A start refuses a master key that opens no secret of an instance, and makes none where there are secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_key_is_compared_with_the_database() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let customer = shop.customer("kunci@example.com").await;
    let order = json!({ "planId": shop.plan("n8n", "free").await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let patient = Patient::of(shop.close().await).await;
    let report = patient.with(&[], &[]).await;
    assert_eq!(report.code, Some(0), "{:#?}", report.findings);
    let keys = report.findings.iter().find(|one| one["part"] == "keys");
    let said = keys.unwrap()["message"].as_str().unwrap();
    assert!(said.starts_with("the master key opens "), "{said}");

    let other = random_hex(32);
    let report = patient.with(&[("DERMAGA_MASTER_KEY", &other)], &[]).await;
    report.blames("keys", "FAILED", &["that sealed", "DERMAGA_MASTER_KEY"]);
    let file = patient.data.path().join("master.key");
    let own = fs::read_to_string(&file).unwrap();
    let both = format!("{other},{}", own.trim());
    let report = patient.with(&[("DERMAGA_MASTER_KEY", &both)], &[]).await;
    assert_eq!(report.code, Some(0), "{:#?}", report.findings);
    patient
        .sql("INSERT INTO instance_secrets (instance_id, name, sealed) SELECT instance_id, 'lama', x'00' FROM instance_secrets LIMIT 1")
        .await;
    let report = patient.with(&[], &[]).await;
    report.blames("keys", "WARNING", &["opens 1 of", "DERMAGA_MASTER_KEY"]);

    fs::write(&file, "short").unwrap();
    let report = patient.with(&[], &[]).await;
    report.blames("keys", "FAILED", &["master.key", "is damaged", "backup"]);
    let mut of_keys = report.findings.iter().filter(|one| one["part"] == "keys");
    assert!(of_keys.all(|one| !one.to_string().contains("remove")));
    fs::remove_file(&file).unwrap();
    let report = patient.with(&[], &[]).await;
    let words = ["key file", file.to_str().unwrap(), "is missing"];
    report.blames("keys", "FAILED", &words);
    assert!(!file.exists(), "none is made");

    let create = [
        "admin",
        "create",
        "--email",
        "ani@example.com",
        "--name",
        "Ani",
    ];
    let environment = patient.environment.iter();
    let environment = environment.map(|(name, value)| (*name, value.as_str()));
    let environment: Vec<(&str, &str)> = environment.collect();
    let refused = dermaga(patient.data.path(), &create, &environment);
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("master.key is missing"), "{said}");
    assert!(!file.exists(), "none is made");
}
