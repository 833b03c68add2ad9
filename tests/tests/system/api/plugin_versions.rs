//! Tests that a version of a plugin always means the same bytes.

use dermaga_runtime::{
    contract::{Decision, Effect, Grant},
    fixtures::CouponFixture,
};
use dermaga_shop::{db::Conn, execute, plugins};
use dermaga_tests::{Engine, Shop, both_engines};
use serde_json::json;

use super::plugin_lifecycle::{PLUGIN, install};
use crate::races::checks::meanwhile;

fn giving(amount: i64, version: &str) -> Vec<u8> {
    let mut fixture = CouponFixture::deciding(Decision::Grant(Grant {
        effect: Effect::Credit(amount),
        reason: "A gift.".to_owned(),
    }));
    fixture.about.id = "coupon-gift".to_owned();
    fixture.about.version = version.to_owned();
    fixture.component()
}

both_engines!(Shop, [equal_versions_with_different_bytes_are_refused]);

/// Other bytes under an installed version are refused, also concurrently; the same bytes are
/// the same version; deleting frees the version.
async fn equal_versions_with_different_bytes_are_refused(shop: Shop) {
    let admin = shop.admin().await;
    let first = admin.upload(giving(1, "1.0.0")).await.data(201);
    assert_eq!(
        admin.upload(giving(1, "1.0.0")).await.data(201)["digest"],
        first["digest"]
    );
    let answer = admin.upload(giving(2, "1.0.0")).await;
    assert_eq!(
        answer.fails(400, "COMPONENT_REFUSED").detail("code"),
        Some("COMPONENT_VERSION_TAKEN")
    );
    assert!(
        answer
            .text
            .contains("coupon-gift 1.0.0 is installed already with other bytes"),
        "{}",
        answer.text
    );
    assert!(
        answer
            .text
            .contains("Raise its version, or delete the staged one."),
        "{}",
        answer.text
    );
    let path = format!(
        "/api/admin/plugins/coupon-gift/versions/{}",
        first["digest"].as_str().unwrap()
    );
    admin.delete(&path).await.data(200);
    admin.upload(giving(2, "1.0.0")).await.data(201);

    let (one, two) = tokio::join!(
        admin.upload(giving(3, "3.0.0")),
        admin.upload(giving(4, "3.0.0"))
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400]);
}

/// The request has found these bytes installed, and waits for their row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_deleted_meanwhile_are_not_said_to_be_there_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let admin = shop.admin().await;
    let staged = admin.upload(giving(1, "1.0.0")).await.data(201);
    let client = admin.clone();
    let request = async move { client.upload(giving(1, "1.0.0")).await };
    let delete = async |conn: &mut Conn| {
        let sql = "DELETE FROM plugin_versions WHERE plugin_id = 'coupon-gift'";
        assert_eq!(execute!(conn, sql).unwrap(), 1);
    };
    let again = meanwhile(&shop, "UPDATE plugin_versions SET state", delete, request).await;
    again.fails(409, "CONFLICT");
    let made = admin.upload(giving(1, "1.0.0")).await.data(201);
    assert_eq!(made["digest"], staged["digest"]);
}

/// Another version was active directly before the present one by the time that the request goes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_goes_to_the_version_before_the_present_one_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let admin = shop.admin().await;
    let mut digests = Vec::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        digests.push(install(&admin, giving(1, version)).await);
    }
    let client = admin.clone();
    let back = format!("{PLUGIN}/rollback");
    let request = {
        let back = back.clone();
        async move { client.post(&back, json!(null)).await }
    };
    let later = shop.clock().now() + chrono::TimeDelta::hours(1);
    let first = digests[0].as_str();
    let activate = async |conn: &mut Conn| {
        let sql = "UPDATE plugin_versions SET activated_at = $2 WHERE digest = $1";
        assert_eq!(execute!(conn, sql, first, later).unwrap(), 1);
    };
    let refused = meanwhile(&shop, "UPDATE plugin_versions SET state", activate, request).await;
    refused.fails(409, "CONFLICT");
    let gone_back = admin.post(&back, json!(null)).await.data(200);
    assert_eq!(gone_back["digest"], json!(first), "{gone_back:#}");
}

/// Two requests that keep a plugin from being retired take its versions in one order, so that neither has one that the
/// other waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_taken_in_the_order_of_their_digests_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let admin = shop.admin().await;
    let first = install(&admin, giving(1, "1.0.0")).await;
    // It comes before the first one by its digest, and behind it in the table.
    let mut later = first.clone();
    for number in 1..20 {
        later = install(&admin, giving(1, &format!("1.{number}.0"))).await;
        if later < first {
            break;
        }
    }
    assert!(later < first);

    let touch = "UPDATE plugin_versions SET state = state WHERE digest = $1";
    let mut held = shop.state().db.begin().await.unwrap();
    execute!(held, touch, &later).unwrap();
    let db = shop.state().db.clone();
    let keeping = tokio::spawn(async move {
        let mut conn = db.begin().await.unwrap();
        plugins::keep_active(&mut conn, "coupon-gift").await
    });
    shop.statements_wait("%plugin_versions%", 1).await;
    let mut other = shop.state().db.begin().await.unwrap();
    execute!(other, "SET LOCAL lock_timeout = '1s'").unwrap();
    assert_eq!(execute!(other, touch, &first).unwrap(), 1, "it is free");
    other.rollback().await.unwrap();
    held.rollback().await.unwrap();
    assert!(keeping.await.unwrap().unwrap());
}
