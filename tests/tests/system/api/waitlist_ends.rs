//! Tests of places that are not held for those who cannot take them.

use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use super::waitlist::{SoldOut, entry, join};

both_engines!(
    Shop,
    [
        a_disabled_account_gives_its_place_to_the_next,
        a_deleted_account_gives_its_place_to_the_next
    ]
);

const REASON: &str = "The account was misused.";

/// A place that is held for the first of two who wait.
struct Held {
    first: Client,
    second: Client,
}

impl Held {
    async fn open(shop: &Shop) -> Self {
        let sold_out = SoldOut::open(shop).await;
        let first = shop.customer("pertama@example.com").await;
        let second = shop.customer("kedua@example.com").await;
        for customer in [&first, &second] {
            join(customer, &sold_out.plan).await.data(201);
        }
        sold_out.cancel(shop).await;
        assert!(entry(&first).await["heldUntil"].is_string());
        assert_eq!(entry(&second).await["heldUntil"], Value::Null);
        Self { first, second }
    }

    async fn first_id(&self) -> String {
        let profile = self.first.get("/api/user/profile").await.data(200);
        profile["id"].as_str().unwrap().to_owned()
    }
}

async fn a_disabled_account_gives_its_place_to_the_next(shop: Shop) {
    let held = Held::open(&shop).await;
    let path = format!("/api/admin/users/{}/status", held.first_id().await);
    let disabled = json!({ "status": "DISABLED", "reason": REASON });
    let admin = shop.admin().await;
    admin.patch(&path, disabled).await.data(200);
    // At once: no look at the queues is needed.
    assert!(entry(&held.second).await["heldUntil"].is_string());
    let active = json!({ "status": "ACTIVE", "reason": REASON });
    admin.patch(&path, active).await.data(200);
    let first = shop.sign_in("pertama@example.com").await;
    let waits = first.get("/api/subscriptions/waitlist").await.data(200);
    assert_eq!(waits, json!([]));
}

async fn a_deleted_account_gives_its_place_to_the_next(shop: Shop) {
    let held = Held::open(&shop).await;
    let path = format!("/api/admin/users/{}", held.first_id().await);
    let body = json!({ "reason": REASON });
    let admin = shop.admin().await;
    admin.delete_with(&path, body).await.data(200);
    assert!(entry(&held.second).await["heldUntil"].is_string());
}
