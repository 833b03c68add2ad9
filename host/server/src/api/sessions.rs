//! `/user/sessions`.

use axum::extract::State;
use dermaga_shop::{accounts::SessionView, ids::SessionId};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer},
    http::{Envelope, Id, Nothing, Reply, Success, failure_responses, routes},
};

failure_responses!(Missing: NotFound);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, end_others))
        .routes(routes!(end))
}

/// Lists the sessions of one's own account that can be used, with device and address, the last used
/// first.
#[utoipa::path(get, path = "/user/sessions", tag = "accounts", security(("bearer" = [])),
    responses((status = 200, description = "The sessions", body = Envelope<Vec<SessionView>>)))]
async fn list(State(state): State<AppState>, customer: Customer) -> Reply<Vec<SessionView>> {
    let sessions = state.accounts.sessions(customer.identity()).await?;
    Ok(Success::ok("Your sessions.", sessions))
}

/// Ends all sessions but the one that asks, within seconds. API tokens stay.
#[utoipa::path(delete, path = "/user/sessions", tag = "accounts", security(("bearer" = [])),
    responses((status = 200, description = "The others have ended", body = Envelope<Nothing>)))]
async fn end_others(State(state): State<AppState>, customer: Customer) -> Reply<Nothing> {
    let accounts = &state.accounts;
    let ended = accounts.end_other_sessions(customer.identity()).await?;
    let message = format!("Other sessions ended: {ended}.");
    Ok(Success::ok(message, Nothing {}))
}

/// Ends a session, within seconds. One's own present session is logged out.
#[utoipa::path(delete, path = "/user/sessions/{id}", tag = "accounts", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses((status = 200, description = "It has ended", body = Envelope<Nothing>), Missing))]
async fn end(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SessionId>,
) -> Reply<Nothing> {
    state.accounts.end_session(customer.user_id, id).await?;
    Ok(Success::ok("The session has ended.", Nothing {}))
}
