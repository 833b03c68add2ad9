//! Prices that customers of a plan pay, and their moves to the present one.

use axum::{extract::State, response::Response};
use dermaga_shop::{
    Error,
    audit::GivenReason,
    ids::{PlanId, ServiceId, SubscriptionId},
    subscriptions::{
        SubscriptionDetail,
        price_moves::{self, MOST_MOVES, PlanPrices, PriceMove, PriceOrder},
    },
    text::counted,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState, IdempotencyKey, Keyed, admin::reasons::RequiredReason},
    http::{Body, Envelope, Id, Refusal, Reply, Segment, Success, When, failure_responses, routes},
};

failure_responses!(Missing: NotFound);
failure_responses!(Moving: NotFound, InvalidState);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(prices))
        .routes(routes!(move_prices))
        .routes(routes!(keep_price))
}

/// Returns the price of a plan for new customers, and the prices that its customers pay.
#[utoipa::path(get, path = "/admin/services/{id}/plans/{planId}/prices", tag = "admin: catalogue", params(("id" = Uuid, Path), ("planId" = Uuid, Path)),
    security(("bearer" = [])), responses((status = 200, description = "The prices", body = Envelope<PlanPrices>), Missing))]
async fn prices(
    State(state): State<AppState>,
    _admin: Admin,
    Segment((id, plan_id)): Segment<(ServiceId, PlanId)>,
) -> Reply<PlanPrices> {
    let prices = price_moves::plan_prices(&state.subscriptions, id, plan_id).await?;
    Ok(Success::ok("The prices.", prices))
}

/// Subscriptions to move to the plan's present price, when, and why.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PriceMoveRequest {
    #[garde(length(min = 1, max = MOST_MOVES))]
    #[schema(min_items = 1, max_items = 100)]
    subscription_ids: Vec<SubscriptionId>,
    /// The first period that begins then or later has the new price; a date begins where the shop is.
    /// At least 30 days from now, and at most 2 years.
    #[garde(skip)]
    // Inlined, a described field becomes both its own type and an object.
    #[schema(value_type = String, format = "date-or-date-time", examples("2026-12-31", "2026-12-31T17:00:00Z"))]
    effective_at: When,
    #[garde(dive)]
    reason: GivenReason,
}

/// Moves chosen customers to the plan's present price, and tells them: all of them, or none.
///
/// Who pays for several months at once gets the plan's present price of that term, and keeps the share of the monthly
/// price where the plan does not sell the term any more. A period that is paid keeps its price. A later move takes the place of an earlier one; the same once more
/// changes nothing.
#[utoipa::path(post, path = "/admin/services/{id}/plans/{planId}/price-moves", tag = "admin: catalogue",
    params(("id" = Uuid, Path), ("planId" = Uuid, Path), IdempotencyKey), request_body = PriceMoveRequest, security(("bearer" = [])),
    responses((status = 201, description = "The moves", body = Envelope<Vec<PriceMove>>), Moving))]
async fn move_prices(
    State(state): State<AppState>,
    admin: Admin,
    Segment(ids): Segment<(ServiceId, PlanId)>,
    Keyed(request, once): Keyed<PriceMoveRequest>,
) -> Result<Response, Refusal> {
    let order = PriceOrder {
        subscriptions: request.subscription_ids,
        effective_at: request.effective_at.start(state.clock.zone()),
        reason: request.reason.as_str(),
    };
    let act = async {
        let moved =
            price_moves::move_prices(&state.subscriptions, admin.user_id, ids, order).await?;
        Ok::<_, Error>(moved.map(|moved| {
            let moved_count = counted(moved.len(), "subscription");
            Success::created(
                format!("Another price is on its way for {moved_count}."),
                moved,
            )
        }))
    };
    once.answer(&state, admin.user_id, act).await
}

/// Lets a customer keep the price: takes back a move that is not in force yet, and tells the customer.
#[utoipa::path(delete, path = "/admin/subscriptions/{id}/price-move", tag = "admin: subscriptions", params(("id" = Uuid, Path)), request_body = RequiredReason,
    security(("bearer" = [])), responses((status = 200, description = "The subscription", body = Envelope<SubscriptionDetail>), Moving))]
async fn keep_price(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<SubscriptionId>,
    Body(request): Body<RequiredReason>,
) -> Reply<SubscriptionDetail> {
    let (actor, reason) = (admin.user_id, request.reason.as_str());
    price_moves::keep_price(&state.subscriptions, actor, id, reason).await?;
    let detail = dermaga_shop::subscriptions::any_detail(&mut state.db.read().await?, id).await?;
    Ok(Success::ok("The price stays.", detail))
}
