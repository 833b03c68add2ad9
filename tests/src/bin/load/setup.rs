//! Preparations: an administrator, customers with a coupon each, and a plan that is never sold out.

use std::time::Duration;

use dermaga_shop::ids::UserId;
use dermaga_tests::wire::{Request, Wire};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{Outcome, text_at};

pub(crate) const ADMINISTRATOR: &str = "pengurus@example.com";
pub(crate) const PASSWORD: &str = "kata sandi yang panjang";
/// Rupiah that a redemption grants.
const REDEEMED: i64 = 1_000;
/// Rupiah that each customer has for purchases: the most that is added at once.
const CREDIT: i64 = 1_000_000_000;
/// Most that an administrator may set, for quota and instances.
const ENOUGH: i64 = 1_000_000;
const SERVICE: &str = "postgresql";
const PLAN: &str = "basic";
const REASON: &str = "Room for a measurement";
/// Customers that are made at the same time.
const AT_ONCE: usize = 8;
/// Pause between two looks at a job.
const PAUSE: Duration = Duration::from_millis(200);

/// A customer with a session, credit, and a coupon that was redeemed once.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) token: String,
    pub(crate) coupon: String,
}

/// Body of a registration.
pub(crate) fn registration(name: &str) -> Value {
    json!({ "email": format!("{name}@example.com"), "password": PASSWORD, "name": "Pelanggan" })
}

/// Signs the administrator in; returns the access token.
pub(crate) async fn administrator(host: &str) -> Outcome<String> {
    session(host, ADMINISTRATOR).await
}

/// Signs in an account with the administrator's password; returns the access token.
pub(crate) async fn session(host: &str, email: &str) -> Outcome<String> {
    let body = json!({ "email": email, "password": PASSWORD });
    let session = send(host, None, ("POST", "/api/auth/login"), &body, 200).await?;
    Ok(text_at(&session, "/data/accessToken")?.to_owned())
}

/// Makes customers.
pub(crate) async fn users(host: &str, admin: &str, count: usize) -> Outcome<Vec<User>> {
    stream::iter(0..count)
        .map(|number| user(host, admin, number))
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn user(host: &str, admin: &str, number: usize) -> Outcome<User> {
    let body = registration(&format!("beban-{number}"));
    let welcome = send(host, None, ("POST", "/api/auth/register"), &body, 201).await?;
    let token = text_at(&welcome, "/data/accessToken")?.to_owned();
    let id = text_at(&welcome, "/data/user/id")?;
    let coupon = format!("BEBAN-{number}");
    let new = json!({
        "code": coupon, "plugin": "coupon-credit-topup", "parameters": { "amount": REDEEMED },
    });
    let route = ("POST", "/api/admin/coupons");
    send(host, Some(admin), route, &new, 201).await?;
    let code = json!({ "couponCode": coupon });
    let route = ("POST", "/api/wallet/redeem-coupon");
    send(host, Some(&token), route, &code, 201).await?;
    let credit = json!({ "amount": CREDIT, "reason": REASON });
    let path = format!("/api/admin/wallets/{id}/add-credit");
    send(host, Some(admin), ("POST", path.as_str()), &credit, 201).await?;
    let id = id.parse::<UserId>();
    let id = id.map_err(|_| "a customer without an id")?;
    Ok(User { id, token, coupon })
}

/// Lets a plan be sold without an end; returns its id.
pub(crate) async fn plan(host: &str, admin: &str) -> Outcome<String> {
    let path = format!("/api/catalog/services/{SERVICE}/plans");
    let plans = read(host, None, &path).await?;
    let plan = named(&plans, PLAN)?;
    let services = read(host, Some(admin), "/api/admin/services?q=postgresql").await?;
    let service = named(&services, SERVICE)?;
    let quota = json!({ "totalQuota": ENOUGH, "reason": REASON });
    let path = format!("/api/admin/quota/plans/{plan}");
    send(host, Some(admin), ("PUT", path.as_str()), &quota, 200).await?;
    let limit = json!({ "maxInstancesPerUser": ENOUGH, "reason": REASON });
    let path = format!("/api/admin/services/{service}/plans/{plan}");
    send(host, Some(admin), ("PUT", path.as_str()), &limit, 200).await?;
    Ok(plan.to_owned())
}

/// Runs a job, and waits until it has ended.
pub(crate) async fn run_job(host: &str, admin: &str, name: &str) -> Outcome<()> {
    let path = format!("/api/admin/jobs/{name}/run");
    let request = Request {
        method: "POST",
        path: &path,
        token: Some(admin),
        body: Some("{}"),
        ..Request::default()
    };
    let mut wire = Wire::connect(host).await?;
    let answered = wire.ask(&request.to_text(host)).await?;
    if !matches!(answered.status, 200 | 202) {
        return Err(crate::refusal(&path, answered).into());
    }
    let mut run: Value = serde_json::from_slice(answered.body)?;
    let path = format!("/api/admin/jobs/{name}/runs/{}", text_at(&run, "/data/id")?);
    while text_at(&run, "/data/status")? == "RUNNING" {
        sleep(PAUSE).await;
        run = read(host, Some(admin), &path).await?;
    }
    match text_at(&run, "/data/status")? {
        "SUCCEEDED" => Ok(()),
        status => Err(format!("the job {name} ended: {status}").into()),
    }
}

/// Returns the id of the row with this slug in an answer.
fn named<'a>(answer: &'a Value, slug: &str) -> Outcome<&'a str> {
    let rows = answer.get("data").and_then(Value::as_array);
    let mut rows = rows.into_iter().flatten();
    let row = rows.find(|row| row.get("slug").and_then(Value::as_str) == Some(slug));
    text_at(row.ok_or_else(|| format!("no `{slug}` is on sale"))?, "/id")
}

pub(crate) async fn read(host: &str, token: Option<&str>, path: &str) -> Outcome<Value> {
    let request = Request {
        method: "GET",
        path,
        token,
        ..Request::default()
    };
    ask(host, request, 200).await
}

async fn send(
    host: &str,
    token: Option<&str>,
    (method, path): (&str, &str),
    body: &Value,
    expected: u16,
) -> Outcome<Value> {
    let body = body.to_string();
    let request = Request {
        method,
        path,
        token,
        body: Some(&body),
        ..Request::default()
    };
    ask(host, request, expected).await
}

/// Asks on a connection of its own, and returns the whole answer.
async fn ask(host: &str, request: Request<'_>, expected: u16) -> Outcome<Value> {
    let mut wire = Wire::connect(host).await?;
    let answered = wire.ask(&request.to_text(host)).await?;
    if answered.status != expected {
        return Err(crate::refusal(request.path, answered).into());
    }
    Ok(serde_json::from_slice(answered.body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_slug() {
        let answer = json!({ "data": [{ "slug": "a", "id": "1" }, { "slug": "b", "id": "2" }] });
        assert_eq!(named(&answer, "b").unwrap(), "2");
        assert!(named(&answer, "c").is_err());
        assert!(named(&json!({}), "a").is_err());
    }
}
