//! The commands for subscriptions, their instances and their billing.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_tests::{Client, Shop};
use serde_json::json;

use super::{Desk, WHY, row, text};

/// Buys a plan and waits until it is delivered; returns the ids of subscription and instance.
pub(super) async fn bought(
    shop: &Shop,
    customer: &Client,
    service: &str,
    plan: &str,
) -> (String, String) {
    let plan = shop.plan(service, plan).await;
    let body = json!({ "planId": plan });
    let bought = customer.post("/api/subscriptions", body).await.data(201);
    let [id, instance] = ["/subscription/id", "/instanceId"].map(|at| text(&bought, at).to_owned());
    shop.instance_becomes(customer, &instance, "RUNNING").await;
    // The subscription is pending until its delivery is noted.
    let path = format!("/api/subscriptions/{id}");
    for _ in 0..600 {
        if customer.get(&path).await.data(200)["status"] == "ACTIVE" {
            return (id, instance);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the delivery of {id} is not noted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_looked_after() {
    let desk = Desk::open().await;
    let customer = desk
        .shop
        .customer_with_credit("sari@example.com", 900_000)
        .await;
    let (id, _) = bought(&desk.shop, &customer, "postgresql", "basic").await;
    let (other, _) = bought(&desk.shop, &customer, "postgresql", "basic").await;
    let list = ["subscription", "list", "--user", "sari@example.com"];
    let table = desk.told(&list).await;
    let line = row(&table, &id);
    assert_eq!(
        line[1..5],
        ["sari@example.com", "postgresql", "basic", "ACTIVE"]
    );
    assert!(line[5].starts_with("Rp"), "{line:?}");
    assert_eq!(desk.data(&list).await.as_array().unwrap().len(), 2);
    let shown = desk.told(&["subscription", "show", &id]).await;
    assert!(shown.contains("\nPeriods\n"), "{shown}");

    let before = desk.data(&["subscription", "show", &id]).await;
    let extend = [
        "subscription",
        "extend",
        &id,
        "--days",
        "7",
        "--reason",
        WHY,
    ];
    let extended = desk.data(&extend).await;
    assert_ne!(extended["periodEnd"], before["periodEnd"]);
    let plan = desk.shop.plan("postgresql", "pro").await;
    let upgrade = [
        "subscription",
        "upgrade",
        &id,
        "--plan",
        &plan,
        "--gift",
        "--reason",
        WHY,
    ];
    let upgraded = desk.told(&upgrade).await;
    assert_eq!(row(&upgraded, "CHARGED"), ["CHARGED", "Rp0"]);
    // Everything was paid with bonus credit, which is never refunded.
    let refund = [
        "subscription",
        "refund",
        &id,
        "--amount",
        "Rp1.000",
        "--reason",
        WHY,
    ];
    let refused = desk.refused(&refund, 1).await;
    assert!(refused.contains('('), "{refused}");
    let cancel = [
        "subscription",
        "force-cancel",
        &id,
        "--refund",
        "--reason",
        WHY,
    ];
    let cancelled = desk.told(&cancel).await;
    assert_eq!(row(&cancelled, "STATUS"), ["STATUS", "CANCELLED"]);
    assert_eq!(row(&cancelled, "RETURNED"), ["RETURNED", "Rp0"]);
    let expire = ["subscription", "expire", &other, "--reason", WHY];
    assert_eq!(desk.data(&expire).await["status"], "EXPIRED");
    let again = desk.refused(&expire, 1).await;
    assert!(again.contains("(INVALID_STATE)"), "{again}");
    let counted = desk.told(&["subscription", "statistics"]).await;
    assert_eq!(row(&counted, "LIVE"), ["LIVE", "0"]);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_and_billing_are_looked_after() {
    let desk = Desk::open().await;
    let customer = desk
        .shop
        .customer_with_credit("sari@example.com", 60_000)
        .await;
    let (subscription, id) = bought(&desk.shop, &customer, "postgresql", "basic").await;
    let list = desk.told(&["instances", "list"]).await;
    assert!(list.starts_with("Instances.\n"), "{list}");
    assert_eq!(
        row(&list, &id),
        [
            &id,
            "WRITTEN",
            "sari@example.com",
            "postgresql",
            "basic",
            &subscription,
            "ACTIVE"
        ]
    );
    let listed = desk.data(&["instances", "list"]).await;
    assert_eq!(text(&listed, "/0/instanceId"), id);
    assert_eq!(text(&listed, "/0/id"), subscription);
    let shown = desk.data(&["instances", "show", &id]).await;
    assert_eq!(text(&shown, "/subscriptionId"), subscription);
    let shown = desk.told(&["instances", "show", &id]).await;
    assert_eq!(row(&shown, "SERVICE"), ["SERVICE", "postgresql"]);
    let events = desk.data(&["instances", "events", &id]).await;
    assert!(!events.as_array().unwrap().is_empty());
    let health = desk.told(&["instances", "health"]).await;
    assert_eq!(row(&health, "INSTANCES"), ["INSTANCES", "1"]);
    desk.data(&["instances", "history", &id]).await;
    desk.data(&["instances", "statistics", "--time-range", "1h"])
        .await;
    let drift = desk.refused(&["instances", "drift"], 1).await;
    assert!(drift.contains("(NO_CLUSTER)"), "{drift}");
    let restart = ["instances", "restart", &id, "--reason", WHY];
    let restarted = desk.told(&restart).await;
    assert!(
        restarted.starts_with("It is being restarted.\n"),
        "{restarted}"
    );
    let audit = format!("/api/admin/audit?subject=instance:{id}");
    let acts = desk.admin.get(&audit).await.data(200);
    assert_eq!(acts[0]["act"], "instance.restarted");
    let name = text(&desk.data(&["instances", "show", &id]).await, "/name").to_owned();
    let data = desk.shop.data_dir().to_str().unwrap();
    let secret = ["instances", "secret", &name, "--data-dir", data];
    let secret = desk.told(&secret).await;
    assert!(secret.contains("kind: Secret"), "{secret}");
    let empty = tempfile::tempdir().unwrap();
    let folder = empty.path().join("data");
    let folder = folder.to_str().unwrap();
    let nothing = ["instances", "secret", &name, "--data-dir", folder];
    let nothing = desk.refused(&nothing, 1).await;
    assert!(nothing.contains("There is no data in"), "{nothing}");

    let statistics = desk.told(&["billing", "stats"]).await;
    assert!(statistics.contains("\nThis month\n"), "{statistics}");
    let in_a_year = desk.shop.clock().now() + TimeDelta::days(365);
    let in_a_year = in_a_year.format("%Y-%m-%d").to_string();
    let preview = ["billing", "preview", "--date", &in_a_year];
    let forecast = row(&desk.told(&preview).await, &subscription);
    assert_eq!(forecast[1], "sari@example.com");
    let jobs = desk.told(&["billing", "job-status"]).await;
    assert!(row(&jobs, "daily-renewals").len() > 3, "{jobs}");
    let run = desk.data(&["billing", "run-job", "daily-renewals"]).await;
    assert_eq!(run["status"], "SUCCEEDED");
    let unknown = desk.refused(&["billing", "run-job", "a/b"], 1).await;
    assert!(unknown.contains("(NOT_FOUND)"), "{unknown}");
    let short = ["billing", "low-credit", "--days", "90", "--limit", "5"];
    desk.data(&short).await;
    let grace = [
        "billing",
        "grace",
        &subscription,
        "--days",
        "5",
        "--reason",
        WHY,
    ];
    let grace = desk.refused(&grace, 1).await;
    assert!(grace.contains("(INVALID_STATE)"), "{grace}");
    let remove = ["instances", "remove", &id, "--reason", WHY];
    assert!(
        desk.told(&remove)
            .await
            .starts_with("The instance is being removed.")
    );
    desk.close().await;
}
