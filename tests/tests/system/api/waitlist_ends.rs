//! Tests of places that are not held for those who cannot take them.

use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use super::waitlist::{SoldOut, buy, entry, join, settle};

both_engines!(
    Shop,
    [
        a_disabled_account_gives_its_place_to_the_next,
        a_deleted_account_gives_its_place_to_the_next,
        no_place_is_held_for_one_who_may_not_have_it
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

/// Of this plan one is the most. Its owner does not join the queue; one who came to the most while waiting is
/// passed over, and keeps no other customer from a free place.
async fn no_place_is_held_for_one_who_may_not_have_it(shop: Shop) {
    let sold_out = SoldOut::open(&shop).await;
    shop.leave_quota(&sold_out.plan, 0).await;
    let (first, plan) = (&sold_out.owner, &sold_out.plan);
    let refused = join(first, plan).await;
    refused.fails(409, "INSTANCE_LIMIT_REACHED");
    shop.sql("UPDATE service_plans SET max_instances_per_user = 2")
        .await
        .unwrap();
    let second = shop.customer("kedua@example.com").await;
    for customer in [first, &second] {
        join(customer, plan).await.data(201);
    }
    shop.sql("UPDATE service_plans SET max_instances_per_user = 1")
        .await
        .unwrap();
    shop.leave_quota(plan, 1).await;
    settle(&shop).await;
    assert_eq!(entry(first).await["heldUntil"], Value::Null);
    assert!(entry(&second).await["heldUntil"].is_string());
    buy(&second, plan).await.data(201);

    // Only the first waits now.
    shop.leave_quota(plan, 1).await;
    settle(&shop).await;
    assert_eq!(entry(first).await["heldUntil"], Value::Null);
    let third = shop.customer("ketiga@example.com").await;
    join(&third, plan).await.fails(409, "INVALID_STATE");
    buy(&third, plan).await.data(201);
}
