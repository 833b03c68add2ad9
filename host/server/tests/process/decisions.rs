//! `replay` and `backtest` beside a running shop: what was decided, and what another version would.

use chrono::{SecondsFormat, TimeDelta};
use dermaga_runtime::{
    contract::{Decision, Effect, Grant},
    fixtures::CouponFixture,
};
use dermaga_tests::{Engine, Shop};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{dermaga, stderr, stdout};

/// Component of a coupon type that credits this amount.
pub(super) fn giving(amount: i64, version: &str) -> Vec<u8> {
    let mut fixture = CouponFixture::deciding(Decision::Grant(Grant {
        effect: Effect::Credit(amount),
        reason: "A gift.".to_owned(),
    }));
    fixture.about.id = "coupon-gift".to_owned();
    fixture.about.version = version.to_owned();
    fixture.component()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_asks_recorded_decisions_again() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await;
    let staged = admin.upload(giving(1_000, "1.0.0")).await.data(201);
    let activate = "/api/admin/plugins/coupon-gift/activate";
    let body = json!({ "digest": staged["digest"] });
    admin.post(activate, body).await.data(200);
    let coupon = json!({ "code": "GIFT", "plugin": "coupon-gift", "parameters": {} });
    admin.post("/api/admin/coupons", coupon).await.data(201);
    let customer = shop.customer("ulang@example.com").await;
    shop.clock().advance(TimeDelta::seconds(1));
    let moment =
        |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let since = moment(shop.clock().now());
    let code = json!({ "couponCode": "GIFT" });
    let redeemed = customer
        .post("/api/wallet/redeem-coupon", code)
        .await
        .data(201);
    shop.clock().advance(TimeDelta::seconds(1));
    let until = moment(shop.clock().now());

    let folder = TempDir::new().unwrap();
    let data = shop.data_dir().display().to_string();
    let run =
        |arguments: &[&str]| dermaga(folder.path(), arguments, &[("DERMAGA_DATA_DIR", &data)]);
    let id = redeemed["decisionId"].as_str().unwrap();
    let same = run(&["replay", id]);
    assert!(same.status.success(), "{}", stderr(&same));
    assert!(stdout(&same).contains("identical"), "{}", stdout(&same));

    let candidate = folder.path().join("candidate.wasm");
    std::fs::write(&candidate, giving(1_500, "2.0.0")).unwrap();
    let candidate = candidate.display().to_string();
    let window = [
        "backtest", "--plugin", &candidate, "--since", &since, "--until", &until,
    ];
    let told = run(&window);
    assert!(told.status.success(), "{}", stderr(&told));
    for line in [
        "coupon-gift 2.0.0 over 1 decision",
        "customer gets more",
        "hungriest call",
    ] {
        assert!(
            stdout(&told).contains(line),
            "{line} is missing:\n{}",
            stdout(&told)
        );
    }
    let found = run(&[&window[..], &["--json"]].concat());
    let found: Value = serde_json::from_str(&stdout(&found)).unwrap();
    assert_eq!(
        (&found["won"], &found["difference"]),
        (&json!(1), &json!(500)),
        "{found:#}"
    );
    let backwards = [
        "backtest", "--plugin", &candidate, "--since", &until, "--until", &since,
    ];
    assert_eq!(run(&backwards).status.code(), Some(2));

    shop.drop_decision_triggers().await;
    let changed = "UPDATE decisions SET output = replace(output, ':1000', ':1001') WHERE function = 'evaluate'";
    shop.sql(changed).await.unwrap();
    let other = run(&["replay", id]);
    assert_eq!(other.status.code(), Some(1), "{}", stdout(&other));
    assert!(
        stdout(&other).contains("/grant/effect/credit"),
        "{}",
        stdout(&other)
    );
    shop.close().await;
}
