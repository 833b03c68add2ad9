//! The page on which a person plays the payer, and their bank.

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use dermaga_shop::money::Rupiah;
use serde::Deserialize;

use super::{Action, Sandbox, lock, orders::Order};

pub(super) fn routes() -> Router<Sandbox> {
    Router::new().route("/snap/v2/vtweb/{token}", get(show).post(press))
}

/// The buttons, with what they are called and what they do.
const BUTTONS: [(&str, &str, Action); 9] = [
    ("pay", "Pay", Action::Pay),
    ("wait", "Choose, and pay later", Action::Choose),
    ("challenge", "Pay with a suspicious card", Action::Challenge),
    ("deny", "Deny", Action::Deny),
    ("accept", "Accept the suspicious payment", Action::Accept),
    ("settle", "Let it settle", Action::Settle),
    ("cancel", "Cancel", Action::Cancel),
    ("refund", "Refund", Action::Refund(0)),
    ("chargeback", "Charge it back", Action::Chargeback),
];

#[derive(Debug, Deserialize)]
struct Pressed {
    action: String,
    /// Amount of a refund; all that is left when absent.
    amount: Option<i64>,
}

async fn show(State(sandbox): State<Sandbox>, Path(token): Path<String>) -> Response {
    let orders = lock(&sandbox.0.orders);
    match orders.values().find(|order| order.token == token) {
        Some(order) => page(StatusCode::OK, &body(order, &sandbox)),
        None => page(
            StatusCode::NOT_FOUND,
            "<p>There is no such payment. A sandbox forgets when its server stops.</p>",
        ),
    }
}

async fn press(
    State(sandbox): State<Sandbox>,
    Path(token): Path<String>,
    form: String,
) -> Response {
    let Ok(pressed) = serde_urlencoded::from_str::<Pressed>(&form) else {
        return page(StatusCode::BAD_REQUEST, "<p>Press one of the buttons.</p>");
    };
    let found = {
        let orders = lock(&sandbox.0.orders);
        let order = orders.values().find(|order| order.token == token);
        order.map(|order| (order.order_id.clone(), order.amount - order.refunded()))
    };
    let Some((order_id, left)) = found else {
        return page(StatusCode::NOT_FOUND, "<p>There is no such payment.</p>");
    };
    let button = BUTTONS.iter().find(|(name, ..)| *name == pressed.action);
    let acted = match button {
        Some((_, _, Action::Refund(_))) => {
            sandbox.act(&order_id, Action::Refund(pressed.amount.unwrap_or(left)))
        }
        Some((_, _, action)) => sandbox.act(&order_id, *action),
        None => Err("There is no such button"),
    };
    match acted {
        // The page again, by an address that does nothing when it is reloaded.
        Ok(()) => Redirect::to(&format!(
            "{}/snap/v2/vtweb/{token}",
            sandbox.0.base.get().map_or("", String::as_str)
        ))
        .into_response(),
        Err(refused) => page(
            StatusCode::CONFLICT,
            &format!("<p>{}.</p>", escaped(refused)),
        ),
    }
}

fn body(order: &Order, sandbox: &Sandbox) -> String {
    let is_payable = order.is_payable(sandbox.0.clock.now());
    let shown = |action: Action| match action {
        Action::Pay | Action::Choose | Action::Challenge => is_payable,
        Action::Deny => is_payable || order.is_challenged(),
        Action::Accept => order.is_challenged(),
        Action::Settle | Action::Cancel => {
            order.status == Some("capture") && !order.is_challenged()
        }
        Action::Refund(_) | Action::Chargeback => {
            matches!(order.status, Some("settlement" | "partial_refund"))
        }
        Action::Expire => false,
    };
    let buttons: String = BUTTONS
        .iter()
        .filter(|(.., action)| shown(*action))
        .map(|(name, title, _)| {
            format!("<button name=\"action\" value=\"{name}\">{title}</button>")
        })
        .collect();
    let (way, title) = match order.status {
        None | Some("pending") => (&order.callbacks.unfinish, "Leave without paying"),
        Some("deny") => (&order.callbacks.error, "Back to the shop"),
        Some(_) => (&order.callbacks.finish, "Back to the shop"),
    };
    let back = way.as_deref().map_or_else(String::new, |url| {
        format!("<p><a href=\"{}\">{title}</a></p>", escaped(url))
    });
    format!(
        "<p>{}</p><p class=\"amount\">{}</p><dl><dt>Order</dt><dd>{}</dd><dt>Pay by</dt><dd>{}</dd>\
         <dt>Status</dt><dd>{}</dd></dl><form method=\"post\">{buttons}</form>{back}",
        escaped(&order.name),
        Rupiah::new(order.amount),
        escaped(&order.order_id),
        escaped(&order.channels.join(", ")),
        order.status.unwrap_or("nothing chosen yet"),
    )
}

fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Sandbox payment</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:30rem;margin:3rem auto;padding:0 1rem}}\
         .amount{{font-size:2rem}}dt{{color:#666}}dd{{margin:0 0 .5rem}}button{{font:inherit;margin:0 .5rem .5rem 0;\
         padding:.5rem 1rem}}</style><h1>Sandbox payment</h1><p>No money moves here.</p>{body}</html>"
    );
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, Html(html)).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
