//! The end of the journey: an account that is deleted, and keys that are purged.

use dermaga_shop::idempotency;
use serde_json::json;

use crate::api::payments::Till;

/// Sends the statements that no other request sends.
pub(super) async fn play(till: &Till) {
    let shop = &till.shop;
    let customer = shop.customer("pamit@example.com").await;
    let proof = json!({ "password": "kata sandi yang panjang" });
    let deleted = customer.delete_with("/api/user", proof).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    idempotency::purge(&shop.state().db, shop.clock())
        .await
        .unwrap();
}
