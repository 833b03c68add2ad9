//! `/admin/subscriptions`: what administrators do for a customer.

use axum::{extract::State, response::Response};
use dermaga_shop::{
    ids::SubscriptionId,
    money::Rupiah,
    subscriptions::{SubscriptionDetail, refund::Refund},
    wallet::TransactionView,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{Admin, AppState, IdempotencyKey, Keyed},
    http::{Envelope, Id, Refusal, Reply, Success, failure_responses},
};

failure_responses!(Missing: NotFound);
failure_responses!(Refunding: NotFound, InvalidState, RefundTooLarge);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get))
        .routes(routes!(refund))
}

/// A customer's subscription, with what each period cost and what of it was given back.
#[utoipa::path(get, path = "/admin/subscriptions/{id}", tag = "admin: subscriptions", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The subscription", body = Envelope<SubscriptionDetail>), Missing))]
async fn get(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<SubscriptionId>,
) -> Reply<SubscriptionDetail> {
    let detail = dermaga_shop::subscriptions::any_detail(&mut state.db.read().await?, id).await?;
    Ok(Success::ok("The subscription.", detail))
}

/// Refund to the wallet, with its reason.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RefundRequest {
    /// Amount in rupiah; at most the cash that was paid for the period and not given back.
    #[garde(custom(positive))]
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_i64)]
    amount: Rupiah,
    #[garde(length(chars, min = 10, max = 500), custom(dermaga_shop::text::reason))]
    #[schema(min_length = 10, max_length = 500)]
    reason: String,
    /// Number of the period; the current one when absent, which must not be over then.
    #[garde(inner(range(min = 1, max = 100_000)))]
    #[schema(minimum = 1, maximum = 100_000)]
    period: Option<i64>,
}

fn positive(amount: &Rupiah, (): &()) -> garde::Result {
    match amount.get() {
        ..=0 => Err(garde::Error::new("must be more than zero")),
        1..=1_000_000_000_000 => Ok(()),
        _ => Err(garde::Error::new("must be at most 1000000000000")),
    }
}

/// Refunds cash to the customer's wallet.
#[utoipa::path(post, path = "/admin/subscriptions/{id}/refund", tag = "admin: subscriptions", security(("bearer" = [])),
    params(("id" = Uuid, Path), IdempotencyKey), request_body = RefundRequest,
    responses((status = 201, description = "Given back", body = Envelope<TransactionView>), Refunding))]
async fn refund(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<SubscriptionId>,
    Keyed(request, once): Keyed<RefundRequest>,
) -> Result<Response, Refusal> {
    let refund = Refund {
        amount: request.amount,
        reason: request.reason,
        period: request.period,
    };
    let act = async {
        let made =
            dermaga_shop::subscriptions::refund(&state.subscriptions, admin.user_id, id, &refund)
                .await?;
        Ok(made.map(|transaction| {
            let message = format!("{} are back in the wallet.", refund.amount);
            Success::created(message, TransactionView::from(transaction))
        }))
    };
    once.answer(&state, admin.user_id, act).await
}
