//! One real purchase through the public API, told step by step with ids to follow.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{Api, ApiError};
use crate::{crypto, money::Rupiah};

/// How long an instance may take to become ready before the demo stops waiting for it.
const PATIENCE: Duration = Duration::from_secs(180);

/// Who acts in the story, with passwords that are shown once.
#[derive(Debug, Clone)]
pub(super) struct Cast {
    pub(super) administrator: Login,
    pub(super) customer: Login,
}

#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) email: String,
    pub(super) password: String,
}

/// What the story leaves to look at.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) coupon_decision: String,
    pub(super) customer_token: String,
}

/// Plays the purchase. Prints as it goes.
pub(super) async fn play(api: &Api, cast: &Cast) -> Result<Outcome, ApiError> {
    let admin = sign_in(api, &cast.administrator).await?;
    chapter("The administrator looks at the plugins");
    for plugin in list(&admin.get("/api/admin/plugins").await?) {
        let version = plugin["versions"].get(0).cloned().unwrap_or_default();
        line(&format!("{:<30} {} sha256 {:.12}", text(&plugin["id"]), text(&version["version"]), text(&plugin["active"])));
    }
    chapter("and creates two coupons, each decided by a plugin");
    let (credit, half) = create_coupons(&admin).await?;

    chapter("A customer registers");
    let customer = register(api, &cast.customer).await?;

    chapter("redeems credit");
    let redeemed = customer.post("/api/wallet/redeem-coupon", &json!({ "code": credit })).await?;
    line(&format!("{} for {credit}: {}", rupiah(&redeemed["coupon"]["amount"]), text(&redeemed["coupon"]["reason"])));
    line(&format!("transaction {}, decision {}", text(&redeemed["transaction"]["number"]), text(&redeemed["decisionId"])));

    chapter("asks what N8N Basic costs with the other coupon");
    let plan = plan(api, "n8n", "basic").await?;
    let order = json!({ "planId": plan, "couponCode": half });
    let quote = customer.post("/api/subscriptions/quote", &order).await?;
    price(&quote);

    chapter("and buys it");
    let order = json!({ "planId": plan, "couponCode": half, "quoteId": quote["id"] });
    let bought = customer.post("/api/subscriptions", &order).await?;
    line(&format!("charged {}", rupiah(&bought["charged"])));
    line(&format!("transaction    {}", text(&bought["transaction"])));
    line(&format!("subscription   {}", text(&bought["subscription"]["id"])));
    line(&format!("instance       {}", text(&bought["instanceId"])));
    line(&format!("price decision {}", text(&bought["priceDecisionId"])));
    line(&format!("coupon decision {}", text(&bought["couponDecisionId"])));

    chapter("The service plugin renders it, the gate admits it, the reconciler applies it");
    instance(&customer, &text(&bought["instanceId"])).await?;

    chapter("The customer's wallet says");
    wallet(&customer).await?;

    chapter("The administrator asks why, and replays the very decision");
    let decision = text(&bought["couponDecisionId"]);
    let replay = admin.post(&format!("/api/admin/decisions/{decision}/replay"), &Value::Null).await?;
    line(&format!("recorded {}", text(&replay["recorded"])));
    line(if replay["identical"] == true { "replayed: identical, byte for byte" } else { "replayed: DIFFERENT" });
    Ok(Outcome { coupon_decision: decision, customer_token: customer_token(api, &cast.customer).await? })
}

async fn sign_in(api: &Api, login: &Login) -> Result<Api, ApiError> {
    Ok(api.signed_in(&customer_token(api, login).await?))
}

async fn customer_token(api: &Api, login: &Login) -> Result<String, ApiError> {
    let body = json!({ "email": login.email, "password": login.password });
    Ok(text(&api.post("/api/auth/login", &body).await?["accessToken"]))
}

/// New codes each time, so that the demo can be run again on the same data.
async fn create_coupons(admin: &Api) -> Result<(String, String), ApiError> {
    let suffix = crypto::random_hex(3).to_uppercase();
    let credit = format!("CREDIT-{suffix}");
    let half = format!("HALF-{suffix}");
    let new = json!({
        "code": credit, "description": "Rp100.000 to begin with", "plugin": "coupon-credit-topup",
        "parameters": { "amount": 100_000 }, "maxUses": 50, "maxUsesPerUser": 1,
    });
    admin.post("/api/admin/coupons", &new).await?;
    line(&format!("{credit}  by coupon-credit-topup, 50 uses"));
    let new = json!({
        "code": half, "description": "Half price on N8N", "plugin": "coupon-subscription-discount",
        "parameters": { "percent": 50 }, "maxUsesPerUser": 1, "services": ["n8n"],
    });
    admin.post("/api/admin/coupons", &new).await?;
    line(&format!("{half}    by coupon-subscription-discount, N8N only"));
    Ok((credit, half))
}

async fn register(api: &Api, login: &Login) -> Result<Api, ApiError> {
    let body = json!({ "email": login.email, "password": login.password, "name": "Demo Customer" });
    let registered = api.post("/api/auth/register", &body).await?;
    line(&format!("{} is customer {}", login.email, text(&registered["user"]["id"])));
    sign_in(api, login).await
}

async fn plan(api: &Api, service: &str, slug: &str) -> Result<String, ApiError> {
    let plans = api.get(&format!("/api/catalog/services/{service}/plans")).await?;
    Ok(list(&plans).iter().find(|plan| plan["slug"] == slug).map(|plan| text(&plan["id"])).unwrap_or_default())
}

fn price(quote: &Value) {
    for item in list(&quote["lines"]) {
        line(&format!("{:>12}  {}: {}", rupiah(&item["amount"]), text(&item["label"]), text(&item["reason"])));
    }
    line(&format!("{:>12}  due", rupiah(&quote["due"])));
}

async fn instance(customer: &Api, id: &str) -> Result<(), ApiError> {
    let path = format!("/api/instances/{id}");
    let mut said = String::new();
    let mut waited = Duration::ZERO;
    let last = loop {
        let instance = customer.get(&path).await?;
        let status = format!("{}: {}", text(&instance["status"]), text(&instance["message"]));
        if status != said {
            line(&status);
            said = status;
        }
        if matches!(instance["status"].as_str(), Some("RUNNING" | "FAILED")) || waited >= PATIENCE {
            break instance;
        }
        let pause = Duration::from_millis(300);
        tokio::time::sleep(pause).await;
        waited += pause;
    };
    line(&format!("{} in namespace {}", text(&last["name"]), text(&last["namespace"])));
    let manifests = customer.get(&format!("{path}/manifests")).await?;
    for object in list(&manifests["objects"]) {
        line(&format!("  {:<24} {}", text(&object["kind"]), text(&object["metadata"]["name"])));
    }
    Ok(())
}

async fn wallet(customer: &Api) -> Result<(), ApiError> {
    let wallet = customer.get("/api/wallet/info").await?;
    for transaction in list(&wallet["recentTransactions"]).iter().rev() {
        line(&format!(
            "{}  {:>12}  {}, balance {}",
            text(&transaction["number"]),
            rupiah(&transaction["amount"]),
            text(&transaction["description"]),
            rupiah(&transaction["balanceAfter"])
        ));
    }
    Ok(())
}

fn chapter(title: &str) {
    println!("\n{title}");
}

fn line(text: &str) {
    println!("    {text}");
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn rupiah(value: &Value) -> String {
    Rupiah::new(value.as_i64().unwrap_or_default()).to_string()
}
