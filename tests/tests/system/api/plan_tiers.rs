//! Tests that a service has one plan of each tier, also when one comes back.

use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use super::services::{because, new_plan, path_of, plan_path, service};

both_engines!(
    Shop,
    [
        a_retired_plan_stays_so_beside_one_of_its_tier,
        of_two_retired_plans_of_a_tier_one_comes_back
    ]
);

/// Retires the plan `basic` of n8n, and makes another one of its tier; returns the paths of both.
async fn basic_and_second(admin: &Client) -> [String; 2] {
    let n8n = service(admin, "n8n").await;
    let basic = plan_path(&n8n, "basic");
    retire(admin, &basic).await;
    let body = because(json!({ "plan": new_plan("second", "BASIC", 10_000) }));
    let made = admin.post(&format!("{}/plans", path_of(&n8n)), body).await;
    let id = made.data(201)["id"].clone();
    let second = format!("{}/plans/{}", path_of(&n8n), id.as_str().unwrap());
    [basic, second]
}

async fn retire(admin: &Client, path: &str) {
    let gone = admin.delete_with(path, because(json!({}))).await.data(200);
    assert_eq!(gone["outcome"], "RETIRED");
}

async fn number_of_basic(admin: &Client) -> usize {
    let n8n = service(admin, "n8n").await;
    let plans = n8n["plans"].as_array().unwrap().iter();
    let basic = plans.filter(|plan| plan["tier"] == "BASIC" && plan["retiredAt"].is_null());
    basic.count()
}

async fn a_retired_plan_stays_so_beside_one_of_its_tier(shop: Shop) {
    let admin = shop.admin().await;
    let [basic, second] = basic_and_second(&admin).await;
    let toggle = format!("{basic}/toggle");
    for wanted in [json!({}), json!({ "active": true })] {
        let refused = admin.patch(&toggle, because(wanted)).await;
        refused.fails(409, "CONFLICT");
        assert_eq!(
            refused.body["message"],
            "The service has a plan of this slug or tier already."
        );
    }
    let seen = admin.get(&basic).await.data(200);
    assert!(seen["retiredAt"].is_string(), "{seen:#}");

    // The one beside it is no other one to itself.
    let own = format!("{second}/toggle");
    for active in [false, true] {
        let seen = admin.patch(&own, because(json!({}))).await.data(200);
        assert_eq!(seen["active"], active);
    }
    admin
        .delete_with(&second, because(json!({})))
        .await
        .data(200);
    let back = admin.patch(&toggle, because(json!({}))).await.data(200);
    assert_eq!(
        (&back["active"], &back["retiredAt"]),
        (&json!(true), &Value::Null)
    );
}

async fn of_two_retired_plans_of_a_tier_one_comes_back(shop: Shop) {
    let admin = shop.admin().await;
    let [basic, second] = basic_and_second(&admin).await;
    let buyer = shop
        .customer_with_credit("tingkat@example.com", 10_000)
        .await;
    let order = json!({ "planId": shop.plan("n8n", "second").await });
    buyer.post("/api/subscriptions", order).await.data(201);
    retire(&admin, &second).await;
    let toggles = [format!("{basic}/toggle"), format!("{second}/toggle")];
    let on = because(json!({ "active": true }));
    for round in 0..4 {
        let (one, other) = tokio::join!(
            admin.patch(&toggles[0], on.clone()),
            admin.patch(&toggles[1], on.clone()),
        );
        let (back, refused, path) = match one.status {
            200 => (one, other, &basic),
            _ => (other, one, &second),
        };
        assert_eq!(back.data(200)["retiredAt"], Value::Null, "{round}");
        refused.fails(409, "CONFLICT");
        assert_eq!(number_of_basic(&admin).await, 1, "{round}");
        retire(&admin, path).await;
    }
}
