//! `/wallet/*-coupon`: what customers do with coupons.

use axum::{extract::State, response::Response};
use dermaga_runtime::contract::Place;
use dermaga_shop::{
    coupons::{self, CouponCode, CouponPreview, Redeemed, RedemptionView},
    ids::DecisionId,
    wallet::TransactionView,
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer, IdempotencyKey, Keyed},
    http::{
        Body, Cursor, Envelope, PageQuery, Paged, Refusal, Reply, Success, failure_responses,
        lists, routes,
    },
};

failure_responses!(Redeeming: CouponNotFound, CouponNotActive, CouponUsedUp, CouponAlreadyUsed, CouponBudgetSpent,
    CouponNotApplicable, CouponRefused, Conflict, TooManyRequests, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(validate_coupon))
        .routes(routes!(redeem_coupon))
        .routes(routes!(coupon_history))
}

/// A coupon code, as typed.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CouponRequest {
    #[garde(skip)]
    coupon_code: CouponCode,
}

/// Result of a redemption.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RedeemedView {
    coupon: CouponPreview,
    transaction: TransactionView,
    /// The recorded decision; an administrator can replay it.
    decision_id: DecisionId,
}

impl RedeemedView {
    fn answer(redeemed: Redeemed) -> Success<Self> {
        let message = format!("{} was added to your wallet.", redeemed.preview.amount);
        let view = Self {
            coupon: redeemed.preview,
            transaction: redeemed.transaction.into(),
            decision_id: redeemed.decision_id,
        };
        Success::created(message, view)
    }
}

/// Previews a coupon on the wallet page. Redeems nothing.
#[utoipa::path(post, path = "/wallet/validate-coupon", tag = "wallet", request_body = CouponRequest, security(("bearer" = [])),
    responses((status = 200, description = "The preview", body = Envelope<CouponPreview>), Redeeming))]
async fn validate_coupon(
    State(state): State<AppState>,
    customer: Customer,
    Body(request): Body<CouponRequest>,
) -> Reply<CouponPreview> {
    let preview = coupons::preview(&state.coupons, customer.user_id, &request.coupon_code).await?;
    Ok(Success::ok("This coupon is good.", preview))
}

/// Redeems a credit coupon.
#[utoipa::path(post, path = "/wallet/redeem-coupon", tag = "wallet", params(IdempotencyKey), request_body = CouponRequest, security(("bearer" = [])),
    responses((status = 201, description = "Credit given", body = Envelope<RedeemedView>), Redeeming))]
async fn redeem_coupon(
    State(state): State<AppState>,
    customer: Customer,
    Keyed(request, once): Keyed<CouponRequest>,
) -> Result<Response, Refusal> {
    let user_id = customer.user_id;
    let redeem = async {
        let redeemed =
            coupons::redeem(&state.coupons, user_id, &request.coupon_code, Place::Wallet).await?;
        Ok(redeemed.map(RedeemedView::answer))
    };
    once.answer(&state, user_id, redeem).await
}

/// Place in a list of used coupons.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UsedQuery {
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::OwnRedemptions>>,
}

/// The coupons this customer has used, newest first.
#[utoipa::path(get, path = "/wallet/coupon-history", tag = "wallet", params(PageQuery, UsedQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of redemptions", body = Envelope<Vec<RedemptionView>>)))]
async fn coupon_history(
    State(state): State<AppState>,
    customer: Customer,
    Paged(page, query): Paged<UsedQuery>,
) -> Reply<Vec<RedemptionView>> {
    let span = page.span(query.cursor)?;
    let found = coupons::redemptions_by(&state.db, customer.user_id, span).await?;
    Ok(Success::walk::<lists::OwnRedemptions>(
        "The coupons you have used.",
        page,
        found,
        RedemptionView::place,
    ))
}
