//! The end of the journey: an account that is deleted, keys that are purged, and a login with a second factor.

use dermaga_shop::idempotency;
use dermaga_tests::Shop;
use serde_json::json;

use crate::api::payments::Till;

const PASSWORD: &str = "kata sandi yang panjang";

/// Sends the statements that no other request sends.
pub(super) async fn play(till: &Till) {
    let shop = &till.shop;
    let customer = shop.customer("pamit@example.com").await;
    let proof = json!({ "password": PASSWORD });
    let deleted = customer.delete_with("/api/user", proof).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    idempotency::purge(&shop.state().db, shop.clock())
        .await
        .unwrap();
    log_in_with_a_second_factor(shop).await;
}

/// Begins a login that waits for a code, which removes challenges that are too old.
async fn log_in_with_a_second_factor(shop: &Shop) {
    let email = "faktor@example.com";
    let proof = json!({ "password": PASSWORD });
    let customer = shop.customer(email).await;
    let begun = customer.post("/api/user/two-factor", proof).await;
    begun.data(201);
    let enabled = "UPDATE two_factor SET enabled_at = created_at";
    assert_eq!(shop.sql(enabled).await.unwrap(), 1);
    let login = json!({ "email": email, "password": PASSWORD });
    let challenged = shop.client().post("/api/auth/login", login).await;
    challenged.data(202);
}
