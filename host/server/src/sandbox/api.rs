//! The API of Snap and Core as shops use them, with Midtrans' own codes and sentences.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use dermaga_shop::{crypto, db::new_id};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Action, Fault, Sandbox, lock,
    orders::{Callbacks, NewOrder, Order, REFUSED},
};

/// A gateway forgets nothing; this one, whose orders live in memory, forgets the oldest.
const ORDERS_KEPT: usize = 10_000;
/// Longest time for which a page can be asked for: its end is a moment that a clock can show.
const LONGEST_EXPIRY: TimeDelta = TimeDelta::days(365);
/// Message for an order whose id was used before, in Midtrans' words.
const USED: &str = "transaction_details.order_id sudah digunakan";
/// Message for an order that is not there, in Midtrans' words.
const UNKNOWN: &str = "Transaction doesn't exist.";

pub(super) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/snap/v1/transactions", post(create))
        .route("/snap/v1/transactions/{token}/cancel", post(close_page))
        .route("/v2/{id}/status", get(status))
        .route("/v2/{id}/refund", post(refund))
        .route("/v2/{id}/{action}", post(modify))
}

/// Refuses strangers, and answers wrongly when a test asked for it.
pub(super) async fn go_wrong(
    State(sandbox): State<Sandbox>,
    request: Request,
    next: Next,
) -> Response {
    sandbox.0.asked.fetch_add(1, Ordering::SeqCst);
    if !is_authorized(&sandbox, request.headers()) {
        let message =
            "Access denied due to unauthorized transaction, please check client or server key";
        let body =
            json!({ "status_code": "401", "status_message": message, "error_messages": [message] });
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    }
    let fault = lock(&sandbox.0.faults).pop_front();
    match fault {
        None => next.run(request).await,
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::ServerError) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(Fault::TooMany(seconds)) => {
            let pause = [(header::RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, pause).into_response()
        }
        Some(Fault::AnswerLost) => {
            next.run(request).await;
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Some(Fault::Late) => {
            let answer = next.run(request).await;
            sandbox.0.held.fetch_add(1, Ordering::SeqCst);
            if let Ok(permit) = sandbox.0.late.acquire().await {
                permit.forget();
            }
            sandbox.0.held.fetch_sub(1, Ordering::SeqCst);
            answer
        }
        Some(Fault::Garbage) => Html("<h1>It works!</h1>").into_response(),
        Some(Fault::Refused) => refusal(412, REFUSED),
        Some(Fault::OrderUsed) => refuse(&[USED.to_owned()]),
        Some(Fault::Unknown) => refusal(404, UNKNOWN),
    }
}

/// Basic authentication: the server key is the user, and there is no password.
fn is_authorized(sandbox: &Sandbox, headers: &HeaderMap) -> bool {
    let sent = headers.get(header::AUTHORIZATION);
    let sent = sent.and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let expected = STANDARD.encode(format!("{}:", sandbox.0.server_key.reveal()));
    sent == Some(expected.as_str())
}

#[derive(Debug, Deserialize)]
struct SnapRequest {
    transaction_details: Details,
    #[serde(default)]
    enabled_payments: Vec<String>,
    #[serde(default)]
    item_details: Vec<Item>,
    expiry: Option<Expiry>,
    #[serde(default)]
    callbacks: Callbacks,
}

#[derive(Debug, Deserialize)]
struct Details {
    order_id: String,
    gross_amount: i64,
}

#[derive(Debug, Deserialize)]
struct Item {
    name: String,
    price: i64,
    quantity: i64,
}

#[derive(Debug, Deserialize)]
struct Expiry {
    duration: i64,
    unit: String,
}

impl Expiry {
    /// Returns the time for which the page is open; `None` for one that no page has.
    fn length(&self) -> Option<TimeDelta> {
        let length = match self.unit.trim_end_matches('s') {
            "minute" => TimeDelta::try_minutes(self.duration),
            "hour" => TimeDelta::try_hours(self.duration),
            _ => TimeDelta::try_days(self.duration),
        };
        length.filter(|length| *length > TimeDelta::zero() && *length <= LONGEST_EXPIRY)
    }
}

async fn create(
    State(sandbox): State<Sandbox>,
    headers: HeaderMap,
    Json(sent): Json<Value>,
) -> Response {
    let request: SnapRequest = match serde_json::from_value(sent) {
        Ok(request) => request,
        Err(error) => return refuse(&[error.to_string()]),
    };
    let faults = faults(&request);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let clock = &sandbox.0.clock;
    let notify = headers.get("x-override-notification");
    let notify = notify.and_then(|url| url.to_str().ok()).map(str::to_owned);
    let order_id = request.transaction_details.order_id;
    let length = request.expiry.as_ref().and_then(Expiry::length);
    let length = length.unwrap_or(TimeDelta::hours(24));
    let new = NewOrder {
        order_id: order_id.clone(),
        token: Uuid::from_bytes(crypto::random_bytes()).to_string(),
        transaction_id: new_id(clock),
        amount: request.transaction_details.gross_amount,
        name: request
            .item_details
            .into_iter()
            .map(|item| item.name)
            .collect(),
        channels: request.enabled_payments,
        notify,
        callbacks: request.callbacks,
        expires_at: clock.now() + length,
    };
    let base = sandbox.0.base.get().map_or("", String::as_str);
    let answer = json!({
        "token": new.token, "redirect_url": format!("{base}/snap/v2/vtweb/{}", new.token),
    });
    let mut orders = lock(&sandbox.0.orders);
    if orders
        .get(&order_id)
        .is_some_and(|known| known.status.is_some())
    {
        return refuse(&[USED.to_owned()]);
    }
    make_room(&mut orders);
    orders.insert(order_id, Order::new(new, clock.now()));
    (StatusCode::CREATED, Json(answer)).into_response()
}

/// Refuses an order as Snap does.
fn refuse(messages: &[String]) -> Response {
    let body = json!({ "error_messages": messages });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// Forgets the oldest order, where as many are kept as this gateway's memory is meant for.
fn make_room(orders: &mut BTreeMap<String, Order>) {
    if orders.len() < ORDERS_KEPT {
        return;
    }
    let oldest = orders.values().min_by_key(|order| order.created_at());
    if let Some(id) = oldest.map(|order| order.order_id.clone()) {
        orders.remove(&id);
    }
}

fn faults(request: &SnapRequest) -> Vec<String> {
    let details = &request.transaction_details;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~.".contains(&byte);
    let mut faults = Vec::new();
    if details.order_id.is_empty()
        || details.order_id.len() > 50
        || !details.order_id.bytes().all(allowed)
    {
        faults.push("transaction_details.order_id is not valid".to_owned());
    }
    if details.gross_amount < 1 {
        let message = "transaction_details.gross_amount must be greater than or equal to 0.01";
        faults.push(message.to_owned());
    }
    let mut items = request.item_details.iter();
    // A sum that does not fit is none that was asked for.
    let total = items.try_fold(0_i64, |sum, item| {
        sum.checked_add(item.price.checked_mul(item.quantity)?)
    });
    if !request.item_details.is_empty() && total != Some(details.gross_amount) {
        let message = "transaction_details.gross_amount is not equal to the sum of item_details";
        faults.push(message.to_owned());
    }
    let expiry = request.expiry.as_ref();
    if expiry.is_some_and(|expiry| expiry.length().is_none()) {
        faults.push("expiry.duration is not valid".to_owned());
    }
    faults
}

async fn close_page(State(sandbox): State<Sandbox>, Path(token): Path<String>) -> Response {
    let mut orders = lock(&sandbox.0.orders);
    let order = orders.values_mut().find(|order| order.token == token);
    let refused = match order {
        None => "token not found",
        Some(order) if order.is_page_closed => "token already canceled",
        Some(order) if order.status.is_some() => "Transaction is on progress",
        Some(order) => {
            order.is_page_closed = true;
            let body = json!({ "canceled_at": sandbox.0.clock.now() });
            return Json(body).into_response();
        }
    };
    let body = json!({ "error_messages": [refused] });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// Runs `act` on the order with this id (ours or Midtrans') that its payer has begun to pay.
fn with_order(
    sandbox: &Sandbox,
    id: &str,
    act: impl FnOnce(&mut Order) -> Result<&'static str, (u16, String)>,
) -> Response {
    let mut orders = lock(&sandbox.0.orders);
    let known = orders.values_mut().find(|order| order.is_called(id));
    let Some(order) = known.filter(|order| order.status.is_some()) else {
        return refusal(404, UNKNOWN);
    };
    match act(order) {
        Ok(message) => Json(order.told(sandbox.0.server_key.reveal(), message)).into_response(),
        Err((code, message)) => refusal(code, &message),
    }
}

fn refusal(code: u16, message: &str) -> Response {
    let body =
        json!({ "status_code": code.to_string(), "status_message": message, "id": Uuid::nil() });
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
    (status, Json(body)).into_response()
}

async fn status(State(sandbox): State<Sandbox>, Path(id): Path<String>) -> Response {
    with_order(&sandbox, &id, |order| {
        Ok(match order.status {
            Some("expire") => "Success, transaction is expired",
            _ => "Success, transaction is found",
        })
    })
}

async fn modify(
    State(sandbox): State<Sandbox>,
    Path((id, action)): Path<(String, String)>,
) -> Response {
    let (action, message) = match action.as_str() {
        "cancel" => (Action::Cancel, "Success, transaction is canceled"),
        "expire" => (Action::Expire, "Success, transaction has expired"),
        "deny" => (Action::Deny, "Success, transaction is denied"),
        "approve" => (Action::Accept, "Success, transaction is approved"),
        _ => return refusal(404, "The requested resource is not found"),
    };
    let Some(order_id) = sandbox.order_called(&id) else {
        return refusal(404, UNKNOWN);
    };
    match sandbox.act(&order_id, action) {
        Ok(()) => with_order(&sandbox, &id, |_| Ok(message)),
        Err(refused) => refusal(412, refused),
    }
}

#[derive(Debug, Deserialize)]
struct RefundRequest {
    refund_key: Option<String>,
    amount: Option<i64>,
    #[serde(default)]
    reason: String,
}

async fn refund(
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
    Json(request): Json<RefundRequest>,
) -> Response {
    let Some(order_id) = sandbox.order_called(&id) else {
        return refusal(404, UNKNOWN);
    };
    let key = request.refund_key.unwrap_or_default();
    let amount = {
        let orders = lock(&sandbox.0.orders);
        let order = orders.get(&order_id);
        if order.is_some_and(|order| !key.is_empty() && order.has_refund(&key)) {
            return refusal(406, "Duplicate refund key");
        }
        order.map_or(0, |order| order.amount - order.refunded())
    };
    let refund = Action::Refund(request.amount.unwrap_or(amount));
    if sandbox.act(&order_id, refund).is_err() {
        return refusal(412, REFUSED);
    }
    with_order(&sandbox, &id, |order| {
        order.name_refund(&key, &request.reason);
        Ok("Success, refund request is approved")
    })
}

impl Sandbox {
    /// The order with this id, the shop's or Midtrans' own, once its payer has begun.
    fn order_called(&self, id: &str) -> Option<String> {
        let orders = lock(&self.0.orders);
        let order = orders.values().find(|order| order.is_called(id));
        order
            .filter(|order| order.status.is_some())
            .map(|order| order.order_id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for a page over 10,000 rupiah, with these fields in place of its own.
    fn asked(order_id: &str, more: &Value) -> Vec<String> {
        let mut body =
            json!({ "transaction_details": { "order_id": order_id, "gross_amount": 10_000 } });
        for (field, value) in more.as_object().unwrap() {
            body[field] = value.clone();
        }
        faults(&serde_json::from_value(body).unwrap())
    }

    #[test]
    fn an_order_has_a_short_and_plain_name() {
        let longest = "a".repeat(50);
        for good in ["a", "TXMP-101_b~c.d", &longest] {
            assert!(asked(good, &json!({})).is_empty(), "{good}");
        }
        let too_long = "a".repeat(51);
        for bad in ["", "a b", "a/b", "é", &too_long] {
            assert_eq!(
                asked(bad, &json!({})),
                ["transaction_details.order_id is not valid"]
            );
        }
    }

    #[test]
    fn items_add_up_to_the_amount() {
        let item =
            |price: i64, quantity: i64| json!({ "name": "", "price": price, "quantity": quantity });
        for (items, is_good) in [
            (json!([]), true),
            (json!([item(10_000, 1)]), true),
            (json!([item(2_500, 4)]), true),
            (json!([item(12_000, 1), item(-2_000, 1)]), true),
            (json!([item(10_001, 1)]), false),
            (json!([item(i64::MAX, 2)]), false),
            (json!([item(i64::MAX, 1), item(i64::MAX, 1)]), false),
        ] {
            let faults = asked("a", &json!({ "item_details": items }));
            assert_eq!(faults.is_empty(), is_good, "{items}");
        }
    }

    #[test]
    fn a_page_is_open_for_minutes_hours_or_days() {
        for (duration, unit, minutes) in [
            (60, "minutes", Some(60)),
            (1, "minute", Some(1)),
            (2, "hours", Some(120)),
            (1, "day", Some(1_440)),
            (365, "days", Some(525_600)),
            (366, "days", None),
            (0, "minutes", None),
            (-1, "hours", None),
            (i64::MAX, "minutes", None),
            (i64::MIN, "days", None),
        ] {
            let expiry = json!({ "duration": duration, "unit": unit });
            let read: Expiry = serde_json::from_value(expiry.clone()).unwrap();
            let length = read.length().map(|length| length.num_minutes());
            assert_eq!(length, minutes, "{duration} {unit}");
            let faults = asked("a", &json!({ "expiry": expiry }));
            assert_eq!(faults.is_empty(), minutes.is_some(), "{duration} {unit}");
        }
    }
}
