//! Tests of harmful plugins: each is refused with its own code, and the server keeps serving.

use dermaga_runtime::{
    contract::{Decision, Effect, Grant},
    fixtures::{self, CouponFixture, Misdeed},
};
use dermaga_tests::{Client, Engine, Shop};
use serde_json::json;

/// Checks that the server still makes decisions for customers.
async fn still_serves(shop: &Shop) {
    shop.client().get("/api/catalog/services").await.data(200);
    let admin = shop.admin().await;
    let evaluation = json!({
        "function": "evaluate",
        "input": { "parameters": { "amount": 7 }, "moment": 0, "place": "wallet" },
    });
    admin
        .post("/api/admin/plugins/coupon-credit-topup/dry-run", evaluation)
        .await
        .data(200);
}

async fn refused(admin: &Client, name: &str, component: Vec<u8>, code: &str) {
    let answer = admin.upload(component).await;
    answer.fails(400, "COMPONENT_REFUSED");
    assert_eq!(
        answer.detail("code"),
        Some(code),
        "{name}: {:#}",
        answer.body
    );
    // Words of the parser are for the log.
    let is_plain = !answer.text.contains("offset") && !answer.text.contains("magic");
    assert!(is_plain, "{name}: {}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_plugin_is_refused_at_the_door() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await;
    let many_bytes = |mib: usize| vec![0; mib * 1024 * 1024 + 1];
    for (name, component, code) in [
        ("nothing", Vec::new(), "COMPONENT_EMPTY"),
        ("text", b"<html></html>".to_vec(), "COMPONENT_IS_TEXT"),
        (
            "a gzip file",
            b"\x1f\x8b\x08\0".to_vec(),
            "COMPONENT_COMPRESSED",
        ),
        ("noise", vec![0xff; 64], "COMPONENT_MALFORMED"),
        (
            "half a component",
            fixtures::truncated(),
            "COMPONENT_MALFORMED",
        ),
        (
            "a compile bomb",
            fixtures::compile_bomb(10_000, 6_500),
            "COMPONENT_TOO_COMPLEX",
        ),
        ("above its class", many_bytes(4), "COMPONENT_ABOVE_CLASS"),
        ("too large", many_bytes(16), "COMPONENT_TOO_LARGE"),
        (
            "a core module",
            fixtures::core_module(),
            "COMPONENT_IS_CORE_MODULE",
        ),
        (
            "machine code",
            fixtures::precompiled(),
            "COMPONENT_PRECOMPILED",
        ),
        (
            "a clock",
            fixtures::forbidden_import(),
            "COMPONENT_FORBIDDEN_IMPORT",
        ),
        (
            "another world",
            fixtures::wrong_world(),
            "COMPONENT_WRONG_WORLD",
        ),
        (
            "another contract",
            fixtures::wrong_contract(),
            "COMPONENT_WRONG_CONTRACT",
        ),
    ] {
        refused(&admin, name, component, code).await;
    }
    let beyond = vec![0; 18 * 1024 * 1024];
    admin.upload(beyond).await.fails(413, "PAYLOAD_TOO_LARGE");
    still_serves(&shop).await;
    let plugins = admin.get("/api/admin/plugins").await.data(200);
    assert!(
        plugins
            .as_array()
            .unwrap()
            .iter()
            .all(|plugin| plugin["id"] != "coupon-fixture"),
        "nothing of them stays"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_misbehaves_does_not_conform() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await;
    for (misdeed, code) in MISDEEDS {
        let component = CouponFixture::misbehaving("evaluate", misdeed).component();
        let answer = admin.upload(component).await;
        answer.fails(400, "COMPONENT_REFUSED");
        assert!(
            answer.body.to_string().contains(code),
            "{misdeed:?}: {:#}",
            answer.body
        );
        let component = CouponFixture::misbehaving("describe", misdeed).component();
        let answer = admin.upload(component).await;
        answer.fails(400, "COMPONENT_REFUSED");
    }
    still_serves(&shop).await;
}

const MISDEEDS: [(Misdeed, &str); 5] = [
    (Misdeed::LoopForever, "PLUGIN_FUEL_EXHAUSTED"),
    (Misdeed::GrowMemory, "PLUGIN_MEMORY_EXCEEDED"),
    (Misdeed::Recurse, "PLUGIN_STACK_OVERFLOW"),
    (Misdeed::Trap, "PLUGIN_TRAPPED"),
    (Misdeed::WildPointer, "PLUGIN_MALFORMED_OUTPUT"),
];

/// A plugin that passes every check and turns bad later, put into the database by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeper_fails_the_request_and_nothing_else() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await;
    let customer = shop.customer("korban@example.com").await;
    admin
        .upload(CouponFixture::default().component())
        .await
        .data(201);
    let digest = admin
        .get("/api/admin/plugins/coupon-fixture")
        .await
        .data(200)["versions"][0]["digest"]
        .clone();
    admin
        .post(
            "/api/admin/plugins/coupon-fixture/activate",
            json!({ "digest": digest }),
        )
        .await
        .data(200);
    admin
        .post(
            "/api/admin/coupons",
            json!({ "code": "SLEEPER", "plugin": "coupon-fixture", "parameters": {} }),
        )
        .await
        .data(201);
    let huge = Decision::Grant(Grant {
        effect: Effect::Credit(5),
        reason: "x".repeat(40_000),
    });
    let misplaced = Decision::Grant(Grant {
        effect: Effect::Discount(5),
        reason: "A discount.".to_owned(),
    });
    let negative = Decision::Grant(Grant {
        effect: Effect::Credit(-5),
        reason: "A trick.".to_owned(),
    });
    let mut sleepers: Vec<(Vec<u8>, &str)> = MISDEEDS
        .iter()
        .map(|(misdeed, code)| {
            (
                CouponFixture::misbehaving("evaluate", *misdeed).component(),
                *code,
            )
        })
        .collect();
    for (decision, code) in [
        (huge, "PLUGIN_OUTPUT_TOO_LARGE"),
        (negative, "PLUGIN_MALFORMED_OUTPUT"),
        (misplaced, "EFFECT_OUT_OF_PLACE"),
    ] {
        sleepers.push((
            CouponFixture {
                decision,
                ..CouponFixture::default()
            }
            .component(),
            code,
        ));
    }
    for (component, code) in sleepers {
        shop.put_in_place("coupon-fixture", &component).await;
        shop.state().plugins.refresh().await.unwrap();
        let answer = customer
            .post(
                "/api/wallet/redeem-coupon",
                json!({ "couponCode": "SLEEPER" }),
            )
            .await;
        answer.fails(502, "PLUGIN_FAILED");
        assert_eq!(answer.detail("code"), Some(code), "{:#}", answer.body);
        assert!(answer.detail("plugin").is_some());
        still_serves(&shop).await;
    }
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["totalBalance"],
        0
    );
    let failed = admin
        .get("/api/admin/decisions?plugin=coupon-fixture&function=evaluate")
        .await
        .data(200);
    assert!(
        failed
            .as_array()
            .unwrap()
            .iter()
            .any(|decision| decision["failure"] == "PLUGIN_FUEL_EXHAUSTED")
    );
    shop.books_balance().await;
}
