//! Shops with many customers and a plan so small that many of its instances fit on a node.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    servers::{make_coupon, register, within},
    site::{Patient, Site},
};

/// Pays for every purchase of a customer.
const RICH: i64 = 500_000;

/// A shop, the customers with their credit, and the order of the plan.
pub(super) struct Market {
    pub(super) admin: Patient,
    pub(super) customers: Vec<Patient>,
    order: Value,
}

/// A subscription that was bought.
pub(super) struct Purchase {
    pub(super) customer: Patient,
    /// Paths of the subscription and of its instance.
    pub(super) subscription: String,
    pub(super) instance: String,
}

impl Market {
    /// Opens the shop of a server that runs.
    pub(super) async fn open(site: &Site, customers: usize) -> Self {
        let stranger = Patient::new(site);
        let admin = stranger.administrator(site).await;
        make_coupon(&admin, "RICH", RICH).await;
        let order = small_plan(&admin).await;
        let mut market = Self {
            admin,
            customers: Vec::new(),
            order,
        };
        for number in 0..customers {
            let session = register(&stranger, &format!("c{number}@example.com")).await;
            let customer = stranger.signed_in(&session);
            let code = json!({ "couponCode": "RICH" });
            let redeem = "/api/wallet/redeem-coupon";
            customer.post(redeem, "rich", &code).await;
            market.customers.push(customer);
        }
        market
    }

    /// Buys by one request, which is answered by the purchase and by nothing else.
    pub(super) async fn buy(&self, customer: &Patient, request: &str) -> Purchase {
        let order = Some(self.order.to_string());
        let sent = customer.send(Method::POST, "/api/subscriptions", (request, order));
        let (status, answer) = sent.await;
        assert_eq!(status, 201, "{request}: {answer:#}");
        let id = |pointer: &str| {
            let id = answer.pointer(pointer).and_then(Value::as_str);
            id.unwrap().to_owned()
        };
        Purchase {
            customer: customer.clone(),
            subscription: format!("/api/subscriptions/{}", id("/data/subscription/id")),
            instance: format!("/api/instances/{}", id("/data/instanceId")),
        }
    }
}

impl Purchase {
    /// The same purchase, asked about at another server.
    pub(super) fn at(&self, listen: &str) -> Self {
        Self {
            customer: self.customer.at(listen),
            subscription: self.subscription.clone(),
            instance: self.instance.clone(),
        }
    }

    pub(super) async fn look(&self) -> Value {
        self.customer.get(&self.instance).await
    }

    /// Namespace of the customer.
    pub(super) async fn namespace(&self) -> String {
        let instance = self.look().await;
        instance["namespace"].as_str().unwrap().to_owned()
    }
}

/// Shrinks a plan; returns the order of it.
async fn small_plan(admin: &Patient) -> Value {
    let services = admin.get("/api/admin/services?q=valkey&limit=100").await;
    let named = |list: &Value, slug: &str| {
        let mut list = list.as_array().unwrap().iter();
        list.find(|one| one["slug"] == slug).unwrap().clone()
    };
    let id = |one: &Value| one["id"].as_str().unwrap().to_owned();
    let service = named(&services, "valkey");
    let plan = id(&named(&service["plans"], "basic"));
    let path = format!("/api/admin/services/{}/plans/{plan}", id(&service));
    let edit = json!({
        "resources": { "cpuMillis": 100, "memoryMib": 64, "storageGib": 1, "replicas": 1 },
        "reason": "Many of them must fit on one node.",
    });
    admin.put(&path, &edit).await;
    json!({ "planId": plan })
}

/// Waits until every instance has this status, at most for this time; returns the time that it took.
pub(super) async fn all_are(purchases: &[Purchase], status: &str, most: Duration) -> Duration {
    let mut left: Vec<&Purchase> = purchases.iter().collect();
    within(most, status, async || {
        while let Some(purchase) = left.last().copied() {
            if purchase.look().await["status"] != status {
                tokio::time::sleep(Duration::from_millis(200)).await;
                return false;
            }
            left.pop();
        }
        true
    })
    .await
}

/// Names of the namespaces of these purchases, each once.
pub(super) async fn namespaces(purchases: &[Purchase]) -> Vec<String> {
    let mut all = Vec::new();
    for purchase in purchases {
        all.push(purchase.namespace().await);
    }
    all.sort();
    all.dedup();
    all
}
