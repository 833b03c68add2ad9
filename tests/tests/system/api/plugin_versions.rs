//! Tests that a version of a plugin always means the same bytes.

use dermaga_runtime::{
    contract::{Decision, Effect, Grant},
    fixtures::CouponFixture,
};
use dermaga_tests::{Shop, both_engines};

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
