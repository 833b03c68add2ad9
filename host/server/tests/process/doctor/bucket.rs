//! `doctor` and a bucket for attachments.

use dermaga_tests::Bucket;
use serde_json::{Value, json};

use super::Patient;
use crate::site::free_address;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_tried_with_a_file() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let patient = Patient::new().await;
    let good = bucket.settings();
    let report = patient.with(&good, &[]).await;
    assert_eq!(report.code, Some(0), "{:#?}", report.findings);
    let mut findings = report.findings.iter();
    let kept = findings.find(|one| one["part"] == "attachments").unwrap();
    let said = json!("s3://toko takes, returns and deletes a file");
    assert_eq!(
        (&kept["state"], &kept["message"], &kept["todo"]),
        (&json!("OK"), &said, &Value::Null)
    );
    let left = bucket.names().await;
    assert!(left.is_empty(), "the probe is deleted: {left:?}");

    let nowhere = format!("http://{}", free_address());
    for (setting, wrong, words) in [
        (
            "DERMAGA_ATTACHMENTS",
            "s3://bukan-toko",
            ["s3://bukan-toko", "NoSuchBucket"],
        ),
        (
            "DERMAGA_S3_ENDPOINT",
            nowhere.as_str(),
            ["s3://toko", nowhere.as_str()],
        ),
    ] {
        let mut settings = good.clone();
        settings.push((setting, wrong));
        let report = patient.with(&settings, &[]).await;
        report.blames("attachments", "FAILED", &words);
        let todo = [
            "DERMAGA_ATTACHMENTS",
            "DERMAGA_S3_ENDPOINT",
            "put, get and delete",
        ];
        report.blames("attachments", "FAILED", &todo);
        let told = Value::from(report.findings).to_string();
        assert!(!told.contains("rahasia"), "{told}");
    }
}
