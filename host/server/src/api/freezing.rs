//! `/subscriptions/{id}/freeze` and `/subscriptions/{id}/thaw`.

use axum::{extract::State, response::Response};
use dermaga_shop::{
    ids::SubscriptionId,
    money::Rupiah,
    subscriptions::{self, SubscriptionDetail, ThawView},
};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        AppState, Customer, IdempotencyKey, Keyed, subscriptions::charged, upgrades::chargeable,
    },
    http::{Envelope, Id, Refusal, Reply, Success, failure_responses, routes},
};

failure_responses!(Freezing: NotFound, InvalidState, InsufficientCredit, Unavailable, PluginRefusedInput, PluginFailed,
    PluginUnavailable, PluginBusy, PluginSuspended);
failure_responses!(Thawing: NotFound, InvalidState, InsufficientCredit, QuoteChanged, Conflict, Unavailable,
    PluginRefusedInput, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(freeze))
        .routes(routes!(thaw))
}

/// Freezes a subscription from its next period on: its instance is stopped, its data and its place are kept, and
/// each month costs the price of the storage that its plan names. A freeze that waits can be called back by a thaw.
/// When the period before is over and the nightly job has not come to it, the one that runs is charged first.
#[utoipa::path(post, path = "/subscriptions/{id}/freeze", tag = "subscriptions", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "Frozen from the next period on", body = Envelope<SubscriptionDetail>), Freezing))]
async fn freeze(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
) -> Reply<SubscriptionDetail> {
    let freezing = subscriptions::freeze(&state.subscriptions, customer.user_id, id).await?;
    let detail = subscriptions::detail(&mut state.db.read().await?, customer.user_id, id).await?;
    let message = match freezing {
        subscriptions::Freezing::Asked => {
            "It will be frozen when the period that is paid for is over."
        }
        subscriptions::Freezing::AskedAfterRenewal => {
            "The period that runs was not charged yet; it is now, and the service will be frozen when it is over."
        }
        subscriptions::Freezing::Already => "It is frozen already, or will be.",
    };
    Ok(Success::ok(message, detail))
}

/// Highest price of a thaw.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ThawRequest {
    /// Refuse to charge more than this.
    #[garde(inner(custom(chargeable)))]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000_000_000_i64)]
    max_charge: Option<Rupiah>,
}

/// Thaws a subscription: a new period begins at once and is charged at the customer's price; quota never refuses
/// it. A freeze that waits for its period is called back, and costs nothing.
#[utoipa::path(post, path = "/subscriptions/{id}/thaw", tag = "subscriptions", params(("id" = Uuid, Path), IdempotencyKey),
    request_body = ThawRequest, security(("bearer" = [])),
    responses((status = 200, description = "Thawed", body = Envelope<ThawView>), Thawing))]
async fn thaw(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
    Keyed(request, once): Keyed<ThawRequest>,
) -> Result<Response, Refusal> {
    let user_id = customer.user_id;
    let act = async {
        let (shop, most) = (&state.subscriptions, request.max_charge);
        let thawed = Box::pin(subscriptions::thaw(shop, user_id, id, most)).await?;
        Ok(thawed.map(|view| {
            let begun = match view.transaction_id {
                Some(_) => "It is being started.",
                None => "It will not be frozen.",
            };
            let charged = charged(view.charged);
            let end = state.clock.written(view.subscription.period_end);
            let end = format!("The period ends on {end}.");
            let message = format!("{begun} {charged} {end}");
            Success::ok(message, view)
        }))
    };
    once.answer(&state, user_id, act).await
}
