//! `/events`: what changes for a customer, as it happens.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, Method},
    response::Response,
};
use dermaga_shop::events::{CustomerEvent, Sent};
use futures::StreamExt as _;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer, auth::bearer_token},
    http::{self, Refusal, failure_responses, routes},
};

failure_responses!(Following: TooManyRequests);

/// Pattern of the route, which a token is asked about again while its stream lasts.
const ROUTE: &str = "/api/events";

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// Sends one's own changes as server-sent events: `instance`, `notification`, `subscription`, `ticket` and `wallet`.
///
/// The first event is `ready`: from its id on, nothing is missed; changes of the moment before may follow it. A client
/// that comes back sends the id of the last event that it saw as `Last-Event-ID`, and continues from there, on any
/// server of the shop. `reset` says that this is not possible, since the id is no such id or more than six days old:
/// read everything again. `end` comes after 15 minutes, when the server stops, and when the token is not valid any
/// more.
#[utoipa::path(get, path = "/events", tag = "events", security(("bearer" = [])),
    params(("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that was seen")),
    responses((status = 200, description = "The stream; the data of each change", body = CustomerEvent,
        content_type = "text/event-stream"), Following))]
async fn follow(
    State(state): State<AppState>,
    customer: Customer,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let place = state.streams.enter(customer.user_id)?;
    let token: Arc<str> = bearer_token(&headers)?.into();
    let accounts = Arc::clone(&state.accounts);
    let is_welcome = move || {
        let (accounts, token) = (Arc::clone(&accounts), Arc::clone(&token));
        async move {
            let known = accounts.authenticate(&token, &Method::GET, ROUTE).await;
            known.is_ok()
        }
    };
    let seen = http::last_event_id(&headers);
    let events = &state.events;
    let events = events.follow(customer.user_id, seen, is_welcome).await?;
    let sent = events.map(|(cursor, sent)| {
        let (name, data) = match sent {
            Sent::Ready => ("ready", json!({})),
            Sent::Reset => ("reset", json!({})),
            Sent::Event(event) => (event.kind.as_str(), json!(event)),
        };
        http::Sent {
            id: Some(cursor.to_string()),
            name,
            data,
        }
    });
    Ok(http::events(place, sent))
}
