//! `/subscriptions/waitlist`: waiting for plans that are sold out.

use axum::extract::State;
use dermaga_shop::{
    catalog::waitlist::{self, WaitView},
    ids::{PlanId, WaitId},
};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer},
    http::{
        Body, Envelope, Id, Nothing, PageQuery, Params, Reply, Success, failure_responses, routes,
    },
};

failure_responses!(Joining: NotFound, PlanUnavailable, InvalidState, Conflict, InstanceLimitReached);
failure_responses!(Missing: NotFound);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, join))
        .routes(routes!(leave))
}

/// Plan to wait for.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WaitRequest {
    #[garde(skip)]
    plan_id: PlanId,
}

/// Lists the sold-out plans that this customer waits for, the longest wait first.
#[utoipa::path(get, path = "/subscriptions/waitlist", tag = "subscriptions", params(PageQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of entries", body = Envelope<Vec<WaitView>>)))]
async fn list(
    State(state): State<AppState>,
    customer: Customer,
    Params(page): Params<PageQuery>,
) -> Reply<Vec<WaitView>> {
    let found = waitlist::waits(&state.catalog, customer.user_id, page.part()).await?;
    Ok(Success::page("The plans you wait for.", page, found))
}

/// Waits for a plan that is sold out.
///
/// A place that comes free is held for the first who waits and may have one more of the plan, who gets a
/// notification and can buy the plan as usual until `heldUntil`.
#[utoipa::path(post, path = "/subscriptions/waitlist", tag = "subscriptions", request_body = WaitRequest, security(("bearer" = [])),
    responses((status = 201, description = "The entry", body = Envelope<WaitView>), Joining))]
async fn join(
    State(state): State<AppState>,
    customer: Customer,
    Body(request): Body<WaitRequest>,
) -> Reply<WaitView> {
    let entry = waitlist::join(&state.catalog, customer.user_id, request.plan_id).await?;
    let message = format!(
        "You wait for {} {}. You get a notification when a place is held for you.",
        entry.service_name, entry.plan_name
    );
    Ok(Success::created(message, entry))
}

/// Ends a wait. A place that was held goes to the next customer.
#[utoipa::path(delete, path = "/subscriptions/waitlist/{id}", tag = "subscriptions", security(("bearer" = [])), params(("id" = Uuid, Path)),
    responses((status = 200, description = "The wait is over", body = Envelope<Nothing>), Missing))]
async fn leave(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<WaitId>,
) -> Reply<Nothing> {
    waitlist::leave(&state.catalog, customer.user_id, id).await?;
    Ok(Success::ok("You do not wait any more.", Nothing {}))
}
