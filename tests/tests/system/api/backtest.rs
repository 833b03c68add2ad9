//! Tests of backtests, which compare another version's decisions to the recorded ones.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::{
    contract::{Decision, Effect, Grant},
    fixtures::CouponFixture,
};
use dermaga_shop::plugins::backtest::{Window, backtest};
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

/// Builds a version of `coupon-gift` that grants this amount.
fn giving(amount: i64, reason: &str, version: &str) -> Vec<u8> {
    let mut fixture = CouponFixture::deciding(Decision::Grant(Grant {
        effect: Effect::Credit(amount),
        reason: reason.to_owned(),
    }));
    fixture.about.id = "coupon-gift".to_owned();
    fixture.about.version = version.to_owned();
    fixture.component()
}

async fn stage(admin: &Client, component: Vec<u8>) -> Value {
    admin.upload(component).await.data(201)["digest"].clone()
}

/// A shop with three decisions of a coupon, a second apart.
struct Decided {
    admin: Client,
    customer: Client,
    /// Digest of the version that decided.
    active: Value,
    since: DateTime<Utc>,
}

impl Decided {
    async fn three(shop: &Shop) -> Self {
        let admin = shop.admin().await;
        let active = stage(&admin, giving(1_000, "A gift.", "1.0.0")).await;
        let activate = json!({ "digest": active });
        let path = "/api/admin/plugins/coupon-gift/activate";
        admin.post(path, activate).await.data(200);
        let coupon = json!({ "code": "GIFT", "plugin": "coupon-gift", "parameters": {} });
        admin.post("/api/admin/coupons", coupon).await.data(201);
        let customer = shop.customer("uji@example.com").await;
        // Registration also decided the coupon.
        shop.clock().advance(TimeDelta::seconds(1));
        let since = shop.clock().now();
        for _ in 0..3 {
            let code = json!({ "couponCode": "GIFT" });
            let path = "/api/wallet/redeem-coupon";
            customer.post(path, code).await.data(201);
            shop.clock().advance(TimeDelta::seconds(1));
        }
        Self {
            admin,
            customer,
            active,
            since,
        }
    }
}

both_engines!(
    Shop,
    [
        a_candidate_is_measured_by_what_was_decided,
        a_backtest_has_bounds
    ]
);

/// A backtest compares a candidate's decisions: more, less, the same amount with another
/// reason, or the same; with their cost, and without writing anything.
async fn a_candidate_is_measured_by_what_was_decided(shop: Shop) {
    let Decided {
        admin,
        customer,
        active,
        since,
    } = Decided::three(&shop).await;
    let decided = admin.get("/api/admin/decisions").await.body["pagination"]["totalItems"].clone();

    let path = "/api/admin/coupon-types/coupon-gift/backtest";
    let expected = [
        (active.clone(), json!([3, 3, 0, 0, 0, 0]), 0),
        (
            stage(&admin, giving(1_500, "A gift.", "2.0.0")).await,
            json!([3, 0, 3, 0, 0, 0]),
            1_500,
        ),
        (
            stage(&admin, giving(400, "A gift.", "3.0.0")).await,
            json!([3, 0, 0, 3, 0, 0]),
            -1_800,
        ),
        (
            stage(&admin, giving(1_000, "A present.", "4.0.0")).await,
            json!([3, 0, 0, 0, 3, 0]),
            0,
        ),
    ];
    for (digest, counts, difference) in &expected {
        let found = admin
            .post(path, json!({ "digest": digest, "since": since }))
            .await
            .data(200);
        let seen: Value = ["decisions", "same", "won", "lost", "changed", "errors"]
            .map(|key| found[key].clone())
            .to_vec()
            .into();
        assert_eq!(
            (&seen, &found["difference"]),
            (counts, &json!(difference)),
            "{found:#}"
        );
        assert_eq!(
            (&found["recordedCost"], &found["candidateCost"]),
            (&json!(3_000), &json!(3_000 + difference))
        );
        assert!(
            found["hungriest"]["candidate"]
                .as_u64()
                .is_some_and(|fuel| fuel > 0)
        );
        let shown = if *digest == active { 0 } else { 3 };
        assert_eq!(found["differences"].as_array().unwrap().len(), shown);
    }
    let later = json!({ "digest": active, "since": since + TimeDelta::seconds(1), "until": since + TimeDelta::seconds(2) });
    assert_eq!(admin.post(path, later).await.data(200)["decisions"], 1);

    admin
        .post(
            path,
            json!({ "digest": active, "since": shop.clock().now() + TimeDelta::days(1) }),
        )
        .await
        .fails(400, "VALIDATION_FAILED");
    admin
        .post(path, json!({ "digest": "0".repeat(64), "since": since }))
        .await
        .fails(404, "NOT_FOUND");
    let other = "/api/admin/coupon-types/coupon-credit-topup/backtest";
    admin
        .post(other, json!({ "digest": active, "since": since }))
        .await
        .fails(404, "NOT_FOUND");
    customer
        .post(path, json!({ "digest": active, "since": since }))
        .await
        .fails(403, "FORBIDDEN");
    assert_eq!(
        admin.get("/api/admin/decisions").await.body["pagination"]["totalItems"],
        decided
    );
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["totalBalance"],
        4_000
    );
    shop.books_balance().await;
}

/// A backtest bounds a candidate's amounts, its time, and the decisions of one request.
async fn a_backtest_has_bounds(shop: Shop) {
    let Decided {
        admin,
        active,
        since,
        ..
    } = Decided::three(&shop).await;
    let path = "/api/admin/coupon-types/coupon-gift/backtest";
    let lavish = stage(&admin, giving(i64::MAX - 1_000, "All there is.", "2.0.0")).await;
    let found = admin
        .post(path, json!({ "digest": lavish, "since": since }))
        .await
        .data(200);
    assert_eq!(
        (&found["decisions"], &found["won"], &found["errors"]),
        (&json!(3), &json!(1), &json!(2)),
        "{found:#}"
    );
    assert_eq!(found["failures"][0]["code"], "AMOUNT_TOO_LARGE");
    assert_eq!(
        (&found["candidateCost"], &found["stoppedAt"]),
        (&json!(i64::MAX - 1_000), &json!(null))
    );

    let state = shop.state();
    let candidate = state
        .plugins
        .version(active.as_str().unwrap())
        .await
        .unwrap();
    let window = Window {
        since,
        until: shop.clock().now(),
    };
    let found = backtest(&state.db, &candidate, window, Some(Duration::ZERO), |_| {})
        .await
        .unwrap();
    let first = found.stopped_at.unwrap();
    assert!(
        found.decisions == 0 && first >= since && first < since + TimeDelta::seconds(1),
        "{found:#?}"
    );

    let more = match state.db.engine_name() {
        "sqlite" => "randomblob(16)",
        _ => "gen_random_uuid()",
    };
    shop.rewrite(&[format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 19998)
        INSERT INTO decisions (id, digest, plugin_id, plugin_version, contract, function, user_id, input, output, failure,
          logs, fuel, duration_us, created_at, coupon_id)
        SELECT {more}, digest, plugin_id, plugin_version, contract, function, user_id, input, output, failure, logs, fuel,
          duration_us, created_at, coupon_id
        FROM n, (SELECT * FROM decisions WHERE function = 'evaluate' ORDER BY created_at DESC LIMIT 1) AS d")]).await.unwrap();
    let many = admin
        .post(path, json!({ "digest": active, "since": since }))
        .await;
    assert_eq!(
        many.fails(400, "VALIDATION_FAILED").detail("since"),
        Some("reaches too far back")
    );
    assert!(
        many.body["message"]
            .as_str()
            .unwrap()
            .starts_with("There are 20001 decisions"),
        "{:#}",
        many.body
    );
    let fewer = admin
        .post(
            path,
            json!({ "digest": active, "since": since + TimeDelta::seconds(1) }),
        )
        .await
        .data(200);
    let window = Window {
        since: since + TimeDelta::seconds(1),
        until: shop.clock().now(),
    };
    let all = backtest(&state.db, &candidate, window, None, |_| {});
    let all = all.await.unwrap();
    assert_eq!(
        (all.decisions, all.same, all.stopped_at),
        (20_000, 20_000, None)
    );
    // A busy machine does not come to the last one within the time of a request, and says so.
    assert_eq!(fewer["decisions"], fewer["same"]);
    assert_eq!(
        fewer["decisions"] == 20_000,
        fewer["stoppedAt"].is_null(),
        "{fewer:#}"
    );
}
