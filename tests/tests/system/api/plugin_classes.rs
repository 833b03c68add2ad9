//! Tests of the size classes that administrators grant to plugins.

use dermaga_runtime::fixtures::{CouponFixture, Misdeed};
use dermaga_tests::{Client, Engine, Shop, both_engines};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;
const PAGES_PER_MIB: u32 = 16;
const CLASS: &str = "/api/admin/plugins/coupon-large/class";

/// Builds a coupon type that uses this much memory for every decision.
fn holding(mib: u32, version: &str) -> Vec<u8> {
    let mut fixture =
        CouponFixture::misbehaving("evaluate", Misdeed::GrowMemoryTo(mib * PAGES_PER_MIB));
    fixture.about.id = "coupon-large".to_owned();
    fixture.about.version = version.to_owned();
    fixture.component()
}

async fn activate(admin: &Client, staged: &Value) {
    let body = json!({ "digest": staged["digest"] });
    let path = "/api/admin/plugins/coupon-large/activate";
    admin.post(path, body).await.data(200);
}

async fn grant(admin: &Client, class: &str) -> Value {
    let body = json!({ "class": class, "reason": "It brings an interpreter." });
    admin.put(CLASS, body).await.data(200)
}

async fn class_shown(admin: &Client) -> Value {
    let plugin = admin.get("/api/admin/plugins/coupon-large").await;
    plugin.data(200)["class"].clone()
}

/// Makes a trial decision with the active version.
async fn try_it(admin: &Client) -> dermaga_tests::Answer {
    let input =
        json!({ "parameters": {}, "moment": 0, "place": "wallet", "purchase": null, "facts": {} });
    let body = json!({ "function": "evaluate", "input": input });
    let path = "/api/admin/plugins/coupon-large/dry-run";
    admin.post(path, body).await
}

both_engines!(
    Shop,
    [
        memory_above_the_standard_class_is_granted_with_an_upload,
        a_class_is_granted_and_taken_away_with_a_reason
    ]
);

/// A plugin that needs more memory than the standard class does not conform until an
/// administrator grants the large class, which then also holds for its next versions.
async fn memory_above_the_standard_class_is_granted_with_an_upload(shop: Shop) {
    let admin = shop.admin().await;
    let refused = admin.upload(holding(20, "1.0.0")).await;
    refused.fails(400, "COMPONENT_REFUSED");
    let wrong = admin
        .upload_with(holding(20, "1.0.0"), &[("class", "huge")])
        .await;
    wrong.fails(400, "VALIDATION_FAILED");
    assert!(wrong.detail("class").is_some());
    for (language, told) in [
        ("en", "`STANDARD` is none of: standard, large"),
        ("id", "`STANDARD` bukan salah satu dari: standard, large"),
    ] {
        let admin = admin.in_language(Some(language));
        let parts = [("class", "STANDARD")];
        let wrong = admin.upload_with(holding(20, "1.0.0"), &parts).await;
        assert_eq!(wrong.detail("class"), Some(told));
    }
    // A select without a choice, and fields that were left alone, are as none: the standard class.
    let nothing = [("class", ""), ("signature", ""), ("reason", "")];
    let refused = admin.upload_with(holding(20, "1.0.0"), &nothing).await;
    refused.fails(400, "COMPONENT_REFUSED");

    let staged = admin
        .upload_with(holding(20, "1.0.0"), &[("class", "large")])
        .await
        .data(201);
    assert_eq!(staged["report"]["subject"]["class"], "large");
    let shares = staged["report"]["shares"].as_array().unwrap();
    let memory = shares
        .iter()
        .find(|share| share["limit"] == "memory")
        .unwrap();
    assert_eq!(
        (&memory["used"], &memory["allowed"]),
        (&json!(20 * MIB), &json!(64 * MIB))
    );
    assert_eq!(class_shown(&admin).await, "large");
    activate(&admin, &staged).await;
    assert_eq!(
        try_it(&admin).await.data(200)["usage"]["memoryBytes"],
        20 * MIB
    );

    let next = admin.upload(holding(30, "2.0.0")).await.data(201);
    assert_eq!(next["report"]["subject"]["class"], "large");
}

/// Revoking a class takes effect from the next call; a reason and an installed plugin are
/// required.
async fn a_class_is_granted_and_taken_away_with_a_reason(shop: Shop) {
    let admin = shop.admin().await;
    let large = json!({ "class": "large", "reason": "It brings an interpreter." });
    admin
        .put(CLASS, large.clone())
        .await
        .fails(404, "NOT_FOUND");
    let staged = admin.upload(holding(16, "1.0.0")).await.data(201);
    assert_eq!(class_shown(&admin).await, "standard");
    activate(&admin, &staged).await;
    try_it(&admin).await.data(200);

    let customer = shop.customer("besar@example.com").await;
    customer.put(CLASS, large).await.fails(403, "FORBIDDEN");
    let hasty = json!({ "class": "large", "reason": "because" });
    admin
        .put(CLASS, hasty)
        .await
        .fails(400, "VALIDATION_FAILED");
    let wrong = json!({ "class": "huge", "reason": "It brings an interpreter." });
    admin
        .put(CLASS, wrong)
        .await
        .fails(400, "VALIDATION_FAILED");

    let granted = grant(&admin, "large").await;
    assert_eq!(
        (&granted["class"], &granted["before"]),
        (&json!("large"), &json!("standard"))
    );
    let usage = try_it(&admin).await.data(200)["usage"].clone();
    assert_eq!(usage["limits"]["memoryBytes"], 64 * MIB);
    grant(&admin, "standard").await;
    let usage = try_it(&admin).await.data(200)["usage"].clone();
    assert_eq!(usage["limits"]["memoryBytes"], 16 * MIB);
}

/// A class survives a restart, and holds on every server of the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_holds_on_every_server_and_after_a_restart() {
    let Some(one) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let admin = one.admin().await;
    let staged = admin
        .upload_with(holding(20, "1.0.0"), &[("class", "large")])
        .await
        .data(201);
    activate(&admin, &staged).await;
    let two = one.second_server().await;
    let elsewhere = two.admin().await;
    try_it(&elsewhere).await.data(200);
    assert_eq!(class_shown(&elsewhere).await, "large");

    let taken = json!({ "class": "standard", "reason": "It was a mistake." });
    elsewhere.put(CLASS, taken).await.data(200);
    try_it(&elsewhere).await.fails(502, "PLUGIN_FAILED");
    let mut waits = 0;
    while try_it(&admin).await.status == 200 {
        waits += 1;
        assert!(waits < 400, "the first server does not follow");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
