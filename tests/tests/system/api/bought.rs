//! A service that a customer bought, for tests of what is done with it.

use dermaga_tests::{Client, Shop};
use serde_json::{Value, json};

pub(super) struct Bought {
    pub(super) customer: Client,
    pub(super) subscription: String,
    pub(super) instance: String,
}

impl Bought {
    /// Registers a customer with credit, buys a service in its plan `basic` and waits until it runs.
    pub(super) async fn by(shop: &Shop, email: &str, (service, credit): (&str, i64)) -> Self {
        let customer = shop.customer_with_credit(email, credit).await;
        let plan = shop.plan(service, "basic").await;
        let order = json!({ "planId": plan });
        let bought = customer.post("/api/subscriptions", order).await.data(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let bought = Self {
            customer,
            subscription: text(&bought["subscription"]["id"]),
            instance: text(&bought["instanceId"]),
        };
        bought.becomes(shop, "RUNNING").await;
        bought
    }

    pub(super) async fn becomes(&self, shop: &Shop, status: &str) -> Value {
        shop.instance_becomes(&self.customer, &self.instance, status)
            .await
    }
}
