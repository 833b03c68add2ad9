//! Keys of requests that cannot be released.

use dermaga_shop::db::Db;
use dermaga_tests::{Shop, both_engines};
use serde_json::json;

both_engines!(Shop, [a_key_that_is_not_released_hides_no_refusal]);

const KEEP: &str = "CREATE TRIGGER keys_stay BEFORE DELETE ON idempotency_keys";

/// Lets the database refuse to release any key.
async fn keep_keys(shop: &Shop) {
    let statements = match shop.state().db {
        Db::Sqlite { .. } => vec![format!("{KEEP} BEGIN SELECT RAISE(ABORT, 'it stays'); END")],
        Db::Postgres(_) => vec![
            "CREATE FUNCTION keys_stay() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN RAISE EXCEPTION ''it stays''; END'"
                .to_owned(),
            format!("{KEEP} FOR EACH ROW EXECUTE FUNCTION keys_stay()"),
        ],
    };
    shop.rewrite(&statements).await.unwrap();
}

/// Lets the database release keys.
async fn free_keys(shop: &Shop) {
    let statement = match shop.state().db {
        Db::Sqlite { .. } => "DROP TRIGGER keys_stay",
        Db::Postgres(_) => "DROP TRIGGER keys_stay ON idempotency_keys",
    };
    shop.sql(statement).await.unwrap();
}

/// Tells the customer of the credit that is missing. The key is released soon afterwards.
async fn a_key_that_is_not_released_hides_no_refusal(shop: Shop) {
    let customer = shop.customer("tolak@example.com").await;
    let order = json!({ "planId": shop.plan("n8n", "basic").await });
    let keyed = customer.with_key("tolak");
    keep_keys(&shop).await;
    let short = keyed.post("/api/subscriptions", order.clone()).await;
    short.fails(402, "INSUFFICIENT_CREDIT");
    free_keys(&shop).await;
    let again = keyed.post("/api/subscriptions", order).await;
    again.fails(402, "INSUFFICIENT_CREDIT");
}
