//! Tests of broken plugin versions: they replace nothing, and one that keeps failing is suspended.

use chrono::TimeDelta;
use dermaga_runtime::fixtures::{CouponFixture, Misdeed};
use dermaga_tests::{Engine, Shop, both_engines};
use serde_json::json;

use super::plugin_lifecycle::{
    PLUGIN, activate, eventually, following, gift, giving, install, open_alerts, redeem_gift,
    version,
};

/// Builds a version of the coupon type whose rule traps.
fn trapping() -> Vec<u8> {
    let misdeed = Some(("evaluate".to_owned(), Misdeed::Trap));
    CouponFixture {
        misdeed,
        ..gift(1_000, "6.6.6")
    }
    .component()
}

both_engines!(
    Shop,
    [
        a_broken_version_replaces_nothing,
        a_version_that_keeps_failing_is_suspended
    ]
);

/// A version that does not load never replaces a working one: it is shown with an alert until
/// one loads. After a restart there is no version to keep, and the rest works.
async fn a_broken_version_replaces_nothing(shop: Shop) {
    let admin = shop.admin().await;
    let good = install(&admin, giving(1_000, "1.0.0")).await;
    let broken = shop.put_in_place("coupon-gift", b"not a component").await;
    eventually("the poll meets the broken version", async || {
        !shop.state().plugins.failures().is_empty()
    })
    .await;
    redeem_gift(&shop, &admin).await;
    let plugin = admin.get(PLUGIN).await.data(200);
    assert_eq!(
        (&plugin["active"], &plugin["running"]),
        (&json!(broken), &json!(good))
    );
    let failing = plugin["versions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|version| version["digest"] == broken.as_str());
    assert!(failing.unwrap()["failure"].is_string(), "{plugin:#}");
    let alerts = open_alerts(&admin, "PLUGIN_NOT_LOADED").await;
    assert_eq!(alerts[0]["subject"], "coupon-gift");

    let shop = shop.restart().await;
    let admin = shop.admin().await;
    let coupon = json!({ "code": "GIFT2", "plugin": "coupon-gift", "parameters": {} });
    admin
        .post("/api/admin/coupons", coupon)
        .await
        .fails(400, "VALIDATION_FAILED");
    shop.state().plugins.active("service-n8n").unwrap();
    activate(&admin, &good).await.data(200);
    assert!(open_alerts(&admin, "PLUGIN_NOT_LOADED").await.is_empty());
}

/// A version that keeps failing is suspended, with an alert; it is tried again after the pause,
/// or at once when an administrator resumes it.
async fn a_version_that_keeps_failing_is_suspended(shop: Shop) {
    let admin = shop.admin().await;
    let good = install(&admin, giving(1_000, "1.0.0")).await;
    redeem_gift(&shop, &admin).await;
    let customer = shop.customer("sabar@example.com").await;
    let bad = shop.put_in_place("coupon-gift", &trapping()).await;
    shop.state().plugins.refresh().await.unwrap();
    let redeem = async || {
        customer
            .post("/api/wallet/redeem-coupon", json!({ "couponCode": "GIFT" }))
            .await
    };
    let suspended = async || {
        let answer = redeem().await;
        answer.fails(503, "PLUGIN_SUSPENDED");
        assert_eq!(answer.detail("plugin"), Some("coupon-gift"));
        assert!(answer.headers.contains_key("retry-after"));
    };
    for _ in 0..5 {
        redeem().await.fails(502, "PLUGIN_FAILED");
    }
    suspended().await;
    assert_eq!(open_alerts(&admin, "PLUGIN_SUSPENDED").await.len(), 1);
    assert!(admin.get(&version(&bad)).await.data(200)["suspendedUntil"].is_string());

    shop.clock().advance(TimeDelta::seconds(61));
    redeem().await.fails(502, "PLUGIN_FAILED");
    suspended().await;
    assert_eq!(
        open_alerts(&admin, "PLUGIN_SUSPENDED").await[0]["occurrences"],
        2
    );
    let reset = format!("{}/reset", version(&bad));
    let because = json!({ "reason": "Its database is back." });
    assert_eq!(
        admin.post(&reset, because.clone()).await.data(200)["wasSuspended"],
        true
    );
    let resumed = admin.get("/api/admin/audit?act=plugin.resumed").await;
    let resumed = resumed.data(200);
    assert_eq!(resumed.as_array().unwrap().len(), 1, "{resumed:#}");
    assert_eq!(resumed[0]["reason"], because["reason"]);
    assert!(open_alerts(&admin, "PLUGIN_SUSPENDED").await.is_empty());
    redeem().await.fails(502, "PLUGIN_FAILED");
    activate(&admin, &good).await.data(200);
    redeem().await.data(201);
    shop.books_balance().await;
}

/// The settings decide the number of failures and the length of a suspension.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspensions_are_as_an_operator_decides() {
    for (failures, pause) in [(2, 600), (0, 600)] {
        let shop = following(Engine::Sqlite, 3_600, |config| {
            config.plugins.breaker.failures = failures;
            config.plugins.breaker.pause = TimeDelta::seconds(pause);
        });
        let shop = shop.await.unwrap();
        let admin = shop.admin().await;
        install(&admin, giving(1_000, "1.0.0")).await;
        redeem_gift(&shop, &admin).await;
        let customer = shop.customer("coba@example.com").await;
        shop.put_in_place("coupon-gift", &trapping()).await;
        shop.state().plugins.refresh().await.unwrap();
        let redeem = async || {
            customer
                .post("/api/wallet/redeem-coupon", json!({ "couponCode": "GIFT" }))
                .await
                .status
        };
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(redeem().await);
        }
        shop.clock().advance(TimeDelta::seconds(599));
        seen.push(redeem().await);
        shop.clock().advance(TimeDelta::seconds(1));
        seen.push(redeem().await);
        let expected = if failures == 0 {
            [502; 6]
        } else {
            [502, 502, 503, 503, 503, 502]
        };
        assert_eq!(seen, expected, "{failures}");
    }
}
