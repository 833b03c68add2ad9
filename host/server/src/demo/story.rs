//! Real purchase through the public API, step by step with ids to follow.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dermaga_shop::{crypto, money::Rupiah};
use serde_json::{Value, json};

use super::samples;
use crate::client::{Api, ApiError};

/// Time the demo waits for an instance to become ready.
const LONGEST_SETUP: Duration = Duration::from_secs(180);

/// Accounts of the story, with passwords that are shown once.
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

/// Results of the story to look at.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) coupon_decision: String,
    pub(super) customer_token: String,
}

/// Plays the purchase. Prints as it goes.
pub(super) async fn play(api: &Api, cast: &Cast, now: DateTime<Utc>) -> Result<Outcome, ApiError> {
    let admin = sign_in(api, &cast.administrator).await?;
    chapter("The administrator looks at the plugins");
    plugins(&admin).await?;

    chapter("and creates two coupons, each decided by a plugin");
    let (credit, half) = create_coupons(&admin).await?;

    chapter("Ten sample coupons to try");
    create_samples(&admin, now).await?;

    chapter("A customer registers");
    let customer = register(api, &cast.customer).await?;

    if is_sandbox(&admin).await? {
        chapter("tops up on the sandbox's payment page");
        top_up(&customer).await?;
    }

    chapter("redeems credit");
    redeem(&customer, &credit).await?;

    chapter("asks what N8N Basic costs with the other coupon");
    let plan = plan(api, "n8n", "basic").await?;
    let order = json!({ "planId": plan, "couponCode": half });
    let quote = customer.post("/api/subscriptions/quote", &order).await?;
    price(&quote);

    chapter("and buys it");
    let order = json!({ "planId": plan, "couponCode": half, "quoteId": text_at(&quote, "/id") });
    let bought = buy(&customer, &order).await?;

    chapter("The service plugin renders it, the gate admits it, the reconciler applies it");
    instance(&customer, &text_at(&bought, "/instanceId")).await?;

    chapter("The customer's wallet says");
    wallet(&customer).await?;

    chapter("The administrator asks why, and replays the very decision");
    let decision = text_at(&bought, "/couponDecisionId");
    replay(&admin, &decision).await?;
    Ok(Outcome {
        coupon_decision: decision,
        customer_token: customer_token(api, &cast.customer).await?,
    })
}

async fn plugins(admin: &Api) -> Result<(), ApiError> {
    for plugin in list(&admin.get("/api/admin/plugins").await?) {
        let version = plugin.pointer("/versions/0").cloned().unwrap_or_default();
        line(&format!(
            "{:<30} {} sha256 {:.12}",
            text_at(&plugin, "/id"),
            text_at(&version, "/version"),
            text_at(&plugin, "/active")
        ));
    }
    Ok(())
}

async fn create_samples(admin: &Api, now: DateTime<Utc>) -> Result<(), ApiError> {
    for sample in samples::create(admin, now).await? {
        let state = if sample.is_new {
            ""
        } else {
            " (there already)"
        };
        line(&format!(
            "{:<14} {}{state}",
            sample.code, sample.description
        ));
    }
    Ok(())
}

/// Returns true when the shop plays the gateway itself.
async fn is_sandbox(admin: &Api) -> Result<bool, ApiError> {
    let gateway = admin.get("/api/admin/payments/gateway").await?;
    Ok(gateway.get("isSandbox") == Some(&Value::Bool(true)))
}

async fn redeem(customer: &Api, code: &str) -> Result<(), ApiError> {
    let body = json!({ "couponCode": code });
    let redeemed = customer.post("/api/wallet/redeem-coupon", &body).await?;
    line(&format!(
        "{} for {code}: {}",
        rupiah_at(&redeemed, "/coupon/amount"),
        text_at(&redeemed, "/coupon/reason")
    ));
    line(&format!(
        "transaction {}, decision {}",
        text_at(&redeemed, "/transaction/number"),
        text_at(&redeemed, "/decisionId")
    ));
    Ok(())
}

async fn buy(customer: &Api, order: &Value) -> Result<Value, ApiError> {
    let bought = customer.post("/api/subscriptions", order).await?;
    line(&format!("charged {}", rupiah_at(&bought, "/charged")));
    for (name, place) in [
        ("transaction   ", "/transaction"),
        ("subscription  ", "/subscription/id"),
        ("instance      ", "/instanceId"),
        ("price decision", "/priceDecisionId"),
        ("coupon decision", "/couponDecisionId"),
    ] {
        line(&format!("{name} {}", text_at(&bought, place)));
    }
    Ok(bought)
}

async fn replay(admin: &Api, decision: &str) -> Result<(), ApiError> {
    let path = format!("/api/admin/decisions/{decision}/replay");
    let replay = admin.post(&path, &Value::Null).await?;
    line(&format!("recorded {}", text_at(&replay, "/recorded")));
    line(if replay.get("identical") == Some(&Value::Bool(true)) {
        "replayed: identical, byte for byte"
    } else {
        "replayed: DIFFERENT"
    });
    Ok(())
}

async fn sign_in(api: &Api, login: &Login) -> Result<Api, ApiError> {
    Ok(api.signed_in(&customer_token(api, login).await?))
}

async fn customer_token(api: &Api, login: &Login) -> Result<String, ApiError> {
    let body = json!({ "email": login.email, "password": login.password });
    Ok(text_at(
        &api.post("/api/auth/login", &body).await?,
        "/accessToken",
    ))
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
    line(&format!(
        "{half}    by coupon-subscription-discount, N8N only"
    ));
    Ok((credit, half))
}

async fn register(api: &Api, login: &Login) -> Result<Api, ApiError> {
    let body = json!({ "email": login.email, "password": login.password, "name": "Demo Customer" });
    let registered = api.post("/api/auth/register", &body).await?;
    line(&format!(
        "{} is customer {}",
        login.email,
        text_at(&registered, "/user/id")
    ));
    sign_in(api, login).await
}

/// Pays a top-up on its page and waits for the gateway's notice.
async fn top_up(customer: &Api) -> Result<(), ApiError> {
    let body = json!({ "amount": 100_000, "paymentMethod": "QRIS" });
    let open = customer.post("/api/wallet/topup", &body).await?;
    let page = text_at(&open, "/redirectUrl");
    line(&format!("{} opens {page}", text_at(&open, "/number")));
    customer.press(&page, "pay").await?;
    line("Pay is pressed on that page");
    let mut waited = Duration::ZERO;
    while waited < LONGEST_SETUP {
        let wallet = customer.get("/api/wallet/info").await?;
        if wallet.get("paidBalance").and_then(Value::as_i64) > Some(0) {
            let balance = rupiah_at(&wallet, "/paidBalance");
            line(&format!(
                "the gateway's notice arrived: {balance} are there"
            ));
            return Ok(());
        }
        let pause = Duration::from_millis(100);
        tokio::time::sleep(pause).await;
        waited += pause;
    }
    line("the gateway's notice did NOT arrive");
    Ok(())
}

async fn plan(api: &Api, service: &str, slug: &str) -> Result<String, ApiError> {
    let plans = api
        .get(&format!("/api/catalog/services/{service}/plans"))
        .await?;
    Ok(list(&plans)
        .iter()
        .find(|plan| text_at(plan, "/slug") == slug)
        .map(|plan| text_at(plan, "/id"))
        .unwrap_or_default())
}

fn price(quote: &Value) {
    for item in list_at(quote, "/lines") {
        line(&format!(
            "{:>12}  {}: {}",
            rupiah_at(&item, "/amount"),
            text_at(&item, "/label"),
            text_at(&item, "/reason")
        ));
    }
    line(&format!("{:>12}  due", rupiah_at(quote, "/due")));
}

async fn instance(customer: &Api, id: &str) -> Result<(), ApiError> {
    let path = format!("/api/instances/{id}");
    let mut said = String::new();
    let mut waited = Duration::ZERO;
    let last = loop {
        let instance = customer.get(&path).await?;
        let status = format!(
            "{}: {}",
            text_at(&instance, "/status"),
            text_at(&instance, "/message")
        );
        if status != said {
            line(&status);
            said = status;
        }
        let status = text_at(&instance, "/status");
        if matches!(status.as_str(), "RUNNING" | "WRITTEN" | "FAILED") || waited >= LONGEST_SETUP {
            break instance;
        }
        let pause = Duration::from_millis(300);
        tokio::time::sleep(pause).await;
        waited += pause;
    };
    line(&format!(
        "{} in namespace {}",
        text_at(&last, "/name"),
        text_at(&last, "/namespace")
    ));
    let manifests = customer.get(&format!("{path}/manifests")).await?;
    for object in list_at(&manifests, "/objects") {
        line(&format!(
            "  {:<24} {}",
            text_at(&object, "/kind"),
            text_at(&object, "/metadata/name")
        ));
    }
    Ok(())
}

async fn wallet(customer: &Api) -> Result<(), ApiError> {
    let wallet = customer.get("/api/wallet/info").await?;
    for transaction in list_at(&wallet, "/recentTransactions").iter().rev() {
        line(&format!(
            "{}  {:>12}  {}, balance {}",
            text_at(transaction, "/number"),
            rupiah_at(transaction, "/amount"),
            text_at(transaction, "/description"),
            rupiah_at(transaction, "/balanceAfter")
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

fn list_at(value: &Value, pointer: &str) -> Vec<Value> {
    value.pointer(pointer).map(list).unwrap_or_default()
}

/// The text at a JSON pointer; empty when there is none.
fn text_at(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The amount at a JSON pointer.
fn rupiah_at(value: &Value, pointer: &str) -> String {
    Rupiah::new(
        value
            .pointer(pointer)
            .and_then(Value::as_i64)
            .unwrap_or_default(),
    )
    .to_string()
}
