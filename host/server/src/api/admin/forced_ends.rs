//! `/admin/subscriptions/{id}/expire` and `force-cancel`: ends of subscriptions that administrators decide on.

use axum::extract::State;
use dermaga_shop::{
    audit::GivenReason,
    billing,
    ids::SubscriptionId,
    money::Rupiah,
    subscriptions::{
        self, SubscriptionDetail,
        cancellation::{self, Cancelled, ForceCancelled},
    },
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState, admin::reasons::RequiredReason},
    http::{Body, Envelope, Id, Reply, Success, failure_responses, routes},
};

failure_responses!(Ending: NotFound, InvalidState, Conflict);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(expire))
        .routes(routes!(force_cancel))
}

/// Says what became of a subscription that an administrator has ended, and of its money.
pub(super) const fn ended(cancelled: Cancelled) -> &'static str {
    match cancelled {
        Cancelled::Paid => "The subscription has ended.",
        Cancelled::Undone => {
            "The subscription has ended before it was set up; everything paid for it is back in the wallet."
        }
    }
}

/// Ends a subscription now, as if its time were over; the same as `POST /admin/billing/expire/{id}`. A
/// purchase that was not set up yet is undone instead, with all its money: it becomes `CANCELLED`.
#[utoipa::path(put, path = "/admin/subscriptions/{id}/expire", tag = "admin: subscriptions", params(("id" = Uuid, Path)),
    request_body = RequiredReason, security(("bearer" = [])),
    responses((status = 200, description = "The subscription", body = Envelope<SubscriptionDetail>), Ending))]
async fn expire(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<SubscriptionId>,
    Body(request): Body<RequiredReason>,
) -> Reply<SubscriptionDetail> {
    let (shop, by) = (&state.subscriptions, admin.user_id);
    let cancelled = billing::expire(shop, by, id, request.reason.as_str()).await?;
    let detail = subscriptions::any_detail(&mut state.db.read().await?, id).await?;
    Ok(Success::ok(ended(cancelled), detail))
}

/// End of a subscription by force.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ForceCancelRequest {
    /// Give the cash that was paid for the rest of the period back to the wallet.
    #[serde(default)]
    #[garde(skip)]
    process_refund: bool,
    #[garde(dive)]
    reason: GivenReason,
}

/// A subscription that was ended by force.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ForceCancelledView {
    /// Cash of the unused time that is back in the wallet.
    refunded: Rupiah,
    /// All credit that is back in the wallet, paid and bonus: that cash, and the price of a purchase or an
    /// upgrade that was undone.
    returned: Rupiah,
    subscription: SubscriptionDetail,
}

/// Ends a subscription now, with or without a refund of the unused time's cash. A purchase that was not
/// set up yet is undone, with all its money.
#[utoipa::path(delete, path = "/admin/subscriptions/{id}/force-cancel", tag = "admin: subscriptions",
    params(("id" = Uuid, Path)), request_body = ForceCancelRequest, security(("bearer" = [])),
    responses((status = 200, description = "Ended", body = Envelope<ForceCancelledView>), Ending))]
async fn force_cancel(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<SubscriptionId>,
    Body(request): Body<ForceCancelRequest>,
) -> Reply<ForceCancelledView> {
    let (shop, by) = (&state.subscriptions, admin.user_id);
    let how = (request.process_refund, request.reason.as_str());
    let done = cancellation::force_cancel(shop, by, id, how).await?;
    let subscription = subscriptions::any_detail(&mut state.db.read().await?, id).await?;
    let message = match (done.cancelled, done.returned) {
        (Cancelled::Undone, _) | (Cancelled::Paid, Rupiah::ZERO) => {
            ended(done.cancelled).to_owned()
        }
        (Cancelled::Paid, back) => {
            format!("The subscription has ended. {back} are back in the wallet.")
        }
    };
    let ForceCancelled {
        refunded, returned, ..
    } = done;
    Ok(Success::ok(
        message,
        ForceCancelledView {
            refunded,
            returned,
            subscription,
        },
    ))
}
