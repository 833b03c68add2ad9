//! Tests of the settings for images that grow old.

use std::fs;

use chrono::TimeDelta;
use dermaga_tests::{Client, Shop, checkout};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::shop;
use crate::api::notifications::{run, told_times};

/// End of an image's support, as a template says it.
#[derive(Debug, Clone, Copy)]
enum End {
    Ahead,
    Past,
    NonePublished,
}

/// Puts a template into the folder whose one image was checked so many days ago.
fn write_template(folder: &TempDir, shop: &Shop, days: i64, end: End) {
    let today = shop.clock().now().date_naive();
    let text = fs::read_to_string(checkout().join("service-templates/valkey.toml")).unwrap();
    let support = |line: &str| match line.split_once(" = ") {
        Some(("supported_until", _)) => match end {
            End::Ahead => format!("supported_until = {}", today + TimeDelta::days(3000)),
            End::Past => format!("supported_until = {}", today - TimeDelta::days(1)),
            End::NonePublished => "supported_until = \"none-published\"".to_owned(),
        },
        Some(("checked_on", _)) => format!("checked_on = {}", today - TimeDelta::days(days)),
        _ => line.to_owned(),
    };
    let lines: Vec<String> = text.lines().map(support).collect();
    fs::write(folder.path().join("valkey.toml"), lines.join("\n")).unwrap();
}

async fn reload(admin: &Client) {
    let path = "/api/admin/catalog/reload";
    let data = admin
        .post(path, json!({ "reason": "The templates were edited." }))
        .await
        .data(200);
    assert_eq!(data["refused"], json!([]), "{data}");
}

/// Runs the job; returns the open alerts and the one image.
async fn looked_at(admin: &Client) -> (Vec<Value>, Value) {
    let run = "/api/admin/jobs/image-ages/run";
    admin.post(run, json!({})).await.data(200);
    let path = "/api/admin/alerts?kind=IMAGE_OLD&state=OPEN";
    let alerts = admin.get(path).await.data(200);
    let images = admin.get("/api/admin/catalog/images").await.data(200);
    (alerts.as_array().unwrap().clone(), images[0].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_image_is_an_alert_until_its_template_is_renewed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    let shop = shop(&[
        ("DERMAGA_TEMPLATES_DIR", path),
        ("DERMAGA_IMAGE_CHECK_DAYS", "30"),
    ])
    .await;
    let admin = shop.admin().await;
    write_template(&folder, &shop, 30, End::Ahead);
    reload(&admin).await;
    let (alerts, image) = looked_at(&admin).await;
    assert_eq!((alerts.len(), &image["old"]), (0, &Value::Null), "{image}");
    assert_eq!(image["service"], "valkey");

    for (days, end, why) in [
        (31, End::Ahead, "was last looked for"),
        (0, End::Past, "support ended"),
        (31, End::NonePublished, "was last looked for"),
    ] {
        write_template(&folder, &shop, days, end);
        reload(&admin).await;
        let (alerts, image) = looked_at(&admin).await;
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert_eq!(alerts[0]["subject"], "valkey/valkey");
        assert!(
            alerts[0]["message"].as_str().unwrap().contains(why),
            "{alerts:?}"
        );
        assert!(image["old"].as_str().unwrap().contains(why), "{image}");
    }

    // Without a published end, the day of the last look decides alone.
    for (end, none) in [(End::NonePublished, true), (End::Ahead, false)] {
        write_template(&folder, &shop, 30, end);
        reload(&admin).await;
        let (alerts, image) = looked_at(&admin).await;
        assert_eq!((alerts.len(), &image["old"]), (0, &Value::Null), "{image}");
        assert_eq!(image["noEndPublished"], none, "{image}");
        assert_eq!(image["supportedUntil"].is_null(), none, "{image}");
    }
}

/// Counts the messages about old images that were written and are kept.
async fn written(shop: &Shop) -> u64 {
    let all = "UPDATE outbox SET created_at = created_at WHERE topic = 'IMAGE_OLD'";
    shop.sql(all).await.unwrap()
}

/// Administrators are told of an old image once for its reason, however often the job runs, and however long it lasts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_image_is_told_once_for_its_reason() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    let shop = shop(&[
        ("DERMAGA_TEMPLATES_DIR", path),
        ("DERMAGA_IMAGE_CHECK_DAYS", "30"),
    ])
    .await;
    let admin = shop.admin().await;
    for (told, (days, end)) in [
        (0, (30, End::Ahead)),
        (1, (31, End::Ahead)),
        (2, (0, End::Past)),
    ] {
        write_template(&folder, &shop, days, end);
        reload(&admin).await;
        for _ in 0..2 {
            looked_at(&admin).await;
        }
        assert_eq!(written(&shop).await, told, "{days}");
    }
    let messages = told_times(&admin, "IMAGE_OLD", 2).await;
    assert_eq!(messages.len(), 2, "{messages:#?}");
    for message in messages {
        let facts = &message["facts"];
        assert_eq!(
            (&facts["service"], &facts["image"]),
            (&json!("valkey"), &json!("valkey"))
        );
        assert!(facts["reason"].is_string(), "{facts:#}");
    }
    // Other messages of that age that were read are removed, and may be told again.
    shop.clock().advance(TimeDelta::days(60));
    let admin = shop.admin().await;
    for job in ["health-history", "image-ages"] {
        run(&admin, job).await;
    }
    assert_eq!(written(&shop).await, 2);
}
