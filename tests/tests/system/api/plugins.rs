//! Tests of new plugin versions in a running shop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use dermaga_runtime::{
    contract::{Decision, Effect, Grant},
    fixtures::CouponFixture,
};
use dermaga_shop::crypto::Secret;
use dermaga_tests::{Client, Engine, Shop, both_engines, postgres, skip};
use serde_json::{Value, json};

/// Builds a version of a coupon type that grants this amount.
pub(super) fn giving(amount: i64, version: &str) -> Vec<u8> {
    let mut fixture = CouponFixture::deciding(Decision::Grant(Grant {
        effect: Effect::Credit(amount),
        reason: format!("A gift of {amount}."),
    }));
    fixture.about.id = "coupon-gift".to_owned();
    fixture.about.version = version.to_owned();
    fixture.component()
}

pub(super) async fn install(admin: &Client, component: Vec<u8>) -> Value {
    let staged = admin.upload(component).await.data(201);
    let body = json!({ "digest": staged["digest"] });
    admin
        .post("/api/admin/plugins/coupon-gift/activate", body)
        .await
        .data(200);
    staged["digest"].clone()
}

both_engines!(
    Shop,
    [
        a_coupon_type_is_hot_loaded,
        swapping_under_load_fails_nobody
    ]
);

/// A fifth coupon type is uploaded, activated and used at once; its next version replaces it
/// and is rolled back; all without a restart.
async fn a_coupon_type_is_hot_loaded(shop: Shop) {
    let admin = shop.admin().await;
    let coupon = json!({ "code": "GIFT", "plugin": "coupon-gift", "parameters": {} });
    admin
        .post("/api/admin/coupons", coupon.clone())
        .await
        .fails(400, "VALIDATION_FAILED");
    let staged = admin.upload(giving(1_000, "1.0.0")).await.data(201);
    assert_eq!(staged["state"], "STAGED");
    assert!(
        staged["report"]["checks"]
            .as_array()
            .is_some_and(|checks| !checks.is_empty()),
        "{staged:#}"
    );
    admin
        .post("/api/admin/coupons", coupon.clone())
        .await
        .fails(400, "VALIDATION_FAILED");
    let first = install(&admin, giving(1_000, "1.0.0")).await;
    let types = admin.get("/api/admin/coupon-types").await.data(200);
    assert!(
        types
            .as_array()
            .unwrap()
            .iter()
            .any(|kind| kind["plugin"] == "coupon-gift")
    );
    admin.post("/api/admin/coupons", coupon).await.data(201);

    let customer = shop.customer("hadiah@example.com").await;
    let redeem = async || {
        let data = customer
            .post("/api/wallet/redeem-coupon", json!({ "couponCode": "GIFT" }))
            .await
            .data(201);
        data["coupon"]["amount"].as_i64().unwrap()
    };
    assert_eq!(redeem().await, 1_000);
    let second = install(&admin, giving(2_000, "2.0.0")).await;
    assert_eq!(redeem().await, 2_000);
    let back = admin
        .post("/api/admin/plugins/coupon-gift/rollback", json!(null))
        .await
        .data(200);
    assert_eq!((&back["digest"], &back["superseded"]), (&first, &second));
    admin
        .post("/api/admin/plugins/coupon-hantu/rollback", json!(null))
        .await
        .fails(404, "NOT_FOUND");
    assert_eq!(redeem().await, 1_000);

    let plugin = admin.get("/api/admin/plugins/coupon-gift").await.data(200);
    assert_eq!(plugin["active"], first);
    assert_eq!(plugin["versions"].as_array().unwrap().len(), 2);
    let path = format!(
        "/api/admin/plugins/coupon-gift/versions/{}",
        second.as_str().unwrap()
    );
    admin.delete(&path).await.fails(409, "INVALID_STATE");
    shop.books_balance().await;
}

/// A hundred activations under constant requests of two customers: no request fails, and each
/// answer is entirely from one version.
async fn swapping_under_load_fails_nobody(shop: Shop) {
    let admin = shop.admin().await;
    let digests = [
        install(&admin, giving(1_000, "1.0.0")).await,
        install(&admin, giving(2_000, "2.0.0")).await,
    ];
    admin
        .post(
            "/api/admin/coupons",
            json!({ "code": "GIFT", "plugin": "coupon-gift", "parameters": {} }),
        )
        .await
        .data(201);
    let done = Arc::new(AtomicBool::new(false));
    let customers = shop.many_customers(2).await;
    let loads = customers.into_iter().map(|customer| {
        let done = Arc::clone(&done);
        tokio::spawn(async move {
            let mut seen = [0, 0];
            while !done.load(Ordering::SeqCst) {
                let preview = customer
                    .post(
                        "/api/wallet/validate-coupon",
                        json!({ "couponCode": "GIFT" }),
                    )
                    .await
                    .data(200);
                match (preview["amount"].as_i64(), preview["reason"].as_str()) {
                    (Some(1_000), Some("A gift of 1000.")) => seen[0] += 1,
                    (Some(2_000), Some("A gift of 2000.")) => seen[1] += 1,
                    other => panic!("neither version answers {other:?}"),
                }
            }
            seen
        })
    });
    let loads: Vec<_> = loads.collect();
    for swap in 0..100 {
        let body = json!({ "digest": digests[swap % 2] });
        admin
            .post("/api/admin/plugins/coupon-gift/activate", body)
            .await
            .data(200);
    }
    done.store(true, Ordering::SeqCst);
    for load in loads {
        let seen: [u32; 2] = load.await.unwrap();
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }
}

/// A version activated on one of two servers is used by the other a moment later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_agree_on_what_is_active() {
    let Some(one) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let two = one.second_server().await;
    let admin = one.admin().await;
    install(&admin, giving(1_000, "1.0.0")).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while two.state().plugins.active("coupon-gift").is_err() {
        assert!(
            Instant::now() < deadline,
            "the second server does not follow"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let body = json!({ "code": "GIFT", "plugin": "coupon-gift", "parameters": {} });
    admin.post("/api/admin/coupons", body).await.data(201);
    let customer = two.customer("kedua@example.com").await;
    let redeemed = customer
        .post("/api/wallet/redeem-coupon", json!({ "couponCode": "GIFT" }))
        .await
        .data(201);
    assert_eq!(redeemed["coupon"]["amount"], 1_000);
    one.books_balance().await;
}

/// Two servers that start at once on an empty database both succeed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_start_at_once_on_an_empty_database() {
    let server = match postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("PostgreSQL", why),
    };
    let url = server.empty_database().await;
    let start = || {
        Shop::open_with(Engine::Sqlite, |config| {
            config.database_url = Some(Secret::new(url.clone()));
            config.admin_email = Some("first@example.com".to_owned());
            config.admin_password = Some(Secret::new("kata sandi yang panjang"));
        })
    };
    let (one, two) = tokio::join!(start(), start());
    let (one, two) = (one.unwrap(), two.unwrap());
    for shop in [&one, &two] {
        shop.state().plugins.active("service-n8n").unwrap();
        let admin = shop.sign_in("first@example.com").await;
        let plugins = admin.get("/api/admin/plugins").await.data(200);
        assert_eq!(plugins.as_array().unwrap().len(), 8);
    }
}
