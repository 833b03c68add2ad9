//! `/subscriptions`: upgrade, freeze, thaw.

use axum::{extract::State, response::Response};
use dermaga_shop::{
    ids::{PlanId, SubscriptionId},
    money::Rupiah,
    subscriptions::{
        self, SubscriptionDetail, ThawView, UpgradeQuote, UpgradeView, upgrade::Charging,
    },
};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::subscriptions::charged;
use crate::{
    api::{AppState, Customer, IdempotencyKey, Keyed},
    http::{Body, Envelope, Id, Refusal, Reply, Success, failure_responses, routes},
};

failure_responses!(PricingUpgrade: NotFound, InvalidState, PlanUnavailable, PluginRefusedInput, PluginFailed,
    PluginUnavailable, PluginBusy, PluginSuspended, NotDeliverable);
failure_responses!(Upgrading: NotFound, InvalidState, PlanUnavailable, PluginRefusedInput, InsufficientCredit,
    QuotaExhausted, InstanceLimitReached, QuoteChanged, Conflict, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended,
    NotDeliverable);
failure_responses!(Freezing: NotFound, InvalidState, InsufficientCredit, Unavailable, PluginRefusedInput, PluginFailed,
    PluginUnavailable, PluginBusy, PluginSuspended);
failure_responses!(Thawing: NotFound, InvalidState, InsufficientCredit, QuoteChanged, Conflict, Unavailable,
    PluginRefusedInput, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended);

/// The routes of changes of a subscription.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(upgrade))
        .routes(routes!(quote_upgrade))
        .routes(routes!(freeze))
        .routes(routes!(thaw))
}

/// Plan to move to.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpgradeQuoteRequest {
    #[garde(skip)]
    plan_id: PlanId,
}

/// Quotes an upgrade now: the rest of the period in the higher plan, less the unused part of each
/// payment of the period. For a period that is over: the whole next month.
#[utoipa::path(post, path = "/subscriptions/{id}/upgrade-quote", tag = "subscriptions", request_body = UpgradeQuoteRequest,
    params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "What it costs now", body = Envelope<UpgradeQuote>), PricingUpgrade))]
async fn quote_upgrade(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
    Body(request): Body<UpgradeQuoteRequest>,
) -> Reply<UpgradeQuote> {
    let quote =
        subscriptions::upgrade::quote(&state.subscriptions, customer.user_id, id, request.plan_id)
            .await?;
    Ok(Success::ok(format!("This costs {} now.", quote.due), quote))
}

/// Plan to move to, with the highest price.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpgradeRequest {
    #[garde(skip)]
    plan_id: PlanId,
    /// Refuse to charge more than this for the upgrade. A renewal that is due is charged besides.
    #[garde(inner(custom(chargeable)))]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000_000_000_i64)]
    max_charge: Option<Rupiah>,
}

fn chargeable(most: &Rupiah, (): &()) -> garde::Result {
    if (0..=1_000_000_000_000).contains(&most.get()) {
        Ok(())
    } else {
        Err(garde::Error::new("must be from 0 to 1000000000000"))
    }
}

/// Moves a subscription to a higher plan of its service, at once, for the rest of the period.
///
/// When the instance cannot be made so, plan, money and quota are restored exactly, and the
/// instance's events say why. A period that is over is renewed first, and refused where it cannot
/// be.
#[utoipa::path(put, path = "/subscriptions/{id}/upgrade", tag = "subscriptions", request_body = UpgradeRequest,
    params(("id" = Uuid, Path), IdempotencyKey), security(("bearer" = [])),
    responses((status = 200, description = "Upgraded", body = Envelope<UpgradeView>), Upgrading))]
async fn upgrade(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
    Keyed(request, once): Keyed<UpgradeRequest>,
) -> Result<Response, Refusal> {
    let (user_id, most) = (customer.user_id, request.max_charge);
    let act = async {
        let upgrading = subscriptions::upgrade::upgrade(
            &state.subscriptions,
            user_id,
            id,
            request.plan_id,
            Charging::AtMost(most),
        );
        let made = Box::pin(upgrading).await?;
        Ok(made.map(|view| {
            let (plan, charged) = (&view.subscription.plan_name, view.charged);
            Success::ok(
                format!("The plan is now {plan}. {}", self::charged(charged)),
                view,
            )
        }))
    };
    once.answer(&state, user_id, act).await
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
            let message = if view.transaction_id.is_some() {
                format!("It is being started. {}", charged(view.charged))
            } else {
                "It will not be frozen.".to_owned()
            };
            Success::ok(message, view)
        }))
    };
    once.answer(&state, user_id, act).await
}
