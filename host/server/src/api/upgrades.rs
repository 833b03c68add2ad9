//! `/subscriptions/{id}/upgrade` and `/subscriptions/{id}/upgrade-quote`.

use axum::{extract::State, response::Response};
use dermaga_shop::{
    ids::{PlanId, SubscriptionId},
    money::Rupiah,
    subscriptions::{self, UpgradeQuote, UpgradeView, upgrade::Charging},
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
    QuotaExhausted, ClusterFull, InstanceLimitReached, QuoteChanged, Conflict, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended,
    NotDeliverable);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(upgrade))
        .routes(routes!(quote_upgrade))
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
    responses((status = 200, description = "The price at this moment", body = Envelope<UpgradeQuote>), PricingUpgrade))]
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

pub(super) fn chargeable(most: &Rupiah, (): &()) -> garde::Result {
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
