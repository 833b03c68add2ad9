//! Tests of changes that keep apart, on a database without a cluster.

use chrono::TimeDelta;
use serde_json::json;

use super::{
    change_plan,
    model::Instance,
    pinned,
    recipe::Recipe,
    test_shop::{GOOD_IMAGE, Shop},
};
use crate::{Code, execute};

/// Buys an instance that was delivered, and gives it a configuration that is not proven to work.
async fn unproven(shop: &Shop) -> Instance {
    let instance = shop.buy().await;
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "UPDATE instances SET delivered_at = $1, observed_generation = generation";
    execute!(conn, sql, shop.clock.now()).unwrap();
    let sql = "UPDATE subscriptions SET period_end = $1";
    execute!(conn, sql, shop.clock.now() + TimeDelta::days(30)).unwrap();
    conn.commit().await.unwrap();
    let seen = shop.now(&instance).await;
    let recipe = Recipe {
        config: json!({ "greeting": "hai" }),
        ..Recipe::of(&seen)
    };
    let mut conn = shop.db.begin().await.unwrap();
    shop.change(&mut conn, &seen, recipe).await;
    conn.commit().await.unwrap();
    shop.now(&instance).await
}

/// An upgrade does not begin while another change is not proven: undoing that would count as its
/// proof.
#[tokio::test]
async fn a_plan_does_not_change_while_another_change_is_not_proven() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let seen = unproven(&shop).await;
    assert!(seen.unproven_generation.is_some());
    let mut conn = shop.db.begin().await.unwrap();
    let of = (seen.subscription_id, seen.plan_id);
    let refused = change_plan(&mut conn, &shop.clock, of.0, of.1, "Being moved.").await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code, Code::InvalidState);
    assert!(refused.message.contains("Another change"), "{refused}");
    drop(conn);
    assert_eq!(shop.now(&seen).await.generation, seen.generation);
}

/// A period is not priced by a configuration that may be undone.
#[tokio::test]
async fn a_configuration_is_paid_for_once_it_is_proven() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let seen = unproven(&shop).await;
    let mut conn = shop.db.begin().await.unwrap();
    let before = pinned(&mut conn, seen.subscription_id).await.unwrap();
    assert_eq!(Some(before.config.0), seen.good_config.map(|good| good.0));
    let sql = "UPDATE instances SET unproven_generation = NULL, good_config = config";
    execute!(conn, sql).unwrap();
    let after = pinned(&mut conn, seen.subscription_id).await.unwrap();
    assert_eq!(after.config.0, json!({ "greeting": "hai" }));
}
