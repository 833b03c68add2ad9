//! `/wallet/*-coupon` for customers, `/admin/coupons` and `/admin/coupon-types` for administrators.

use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use dermaga_runtime::contract::{Kind, Place};
use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    CouponCode, CouponPreview, CouponTypeView, CouponView, Redeemed, RedemptionView,
    model::place_name, store,
};
use crate::{
    Error,
    app::AppState,
    catalog::Tier,
    http::{
        Admin, Body, Customer, Envelope, Id, IdempotencyKey, Keyed, PageQuery, Params, Reply,
        Success, failure_responses,
    },
    wallet::TransactionView,
};

failure_responses!(Redeeming: CouponNotFound, CouponNotActive, CouponUsedUp, CouponAlreadyUsed, CouponBudgetSpent,
    CouponNotApplicable, CouponRefused, Conflict, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended);
failure_responses!(Creating: PluginRefusedInput, Conflict, PluginFailed, PluginBusy, PluginSuspended);
failure_responses!(Missing: NotFound);

/// The routes of this domain.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(validate_coupon))
        .routes(routes!(redeem_coupon))
        .routes(routes!(coupon_history))
        .routes(routes!(list_coupons, create_coupon))
        .routes(routes!(get_coupon))
        .routes(routes!(coupon_types))
}

/// A coupon code, as typed.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CodeRequest {
    #[garde(skip)]
    code: CouponCode,
}

/// What a redemption gave.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RedeemedView {
    coupon: CouponPreview,
    transaction: TransactionView,
    /// The recorded decision; an administrator can replay it.
    decision_id: Uuid,
}

impl RedeemedView {
    fn answer(redeemed: Redeemed) -> Success<Self> {
        let message = format!(
            "{} have been added to your wallet.",
            redeemed.preview.amount
        );
        let view = Self {
            coupon: redeemed.preview,
            transaction: redeemed.transaction.into(),
            decision_id: redeemed.decision_id,
        };
        Success::created(message, view)
    }
}

/// What a coupon would give on the wallet page. Redeems nothing.
#[utoipa::path(post, path = "/wallet/validate-coupon", tag = "wallet", request_body = CodeRequest, security(("bearer" = [])),
    responses((status = 200, description = "What it would give", body = Envelope<CouponPreview>), Redeeming))]
async fn validate_coupon(
    State(state): State<AppState>,
    customer: Customer,
    Body(request): Body<CodeRequest>,
) -> Reply<CouponPreview> {
    let preview = super::preview(&state, customer.user_id, &request.code).await?;
    Ok(Success::ok("This coupon is good.", preview))
}

/// Redeems a credit coupon.
#[utoipa::path(post, path = "/wallet/redeem-coupon", tag = "wallet", params(IdempotencyKey), request_body = CodeRequest, security(("bearer" = [])),
    responses((status = 201, description = "Credit given", body = Envelope<RedeemedView>), Redeeming))]
async fn redeem_coupon(
    State(state): State<AppState>,
    customer: Customer,
    Keyed(request, once): Keyed<CodeRequest>,
) -> Result<Response, Error> {
    let user_id = customer.user_id;
    let redeem = async {
        let redeemed = super::redeem(&state, user_id, &request.code, Place::Wallet).await?;
        Ok(redeemed.map(RedeemedView::answer))
    };
    once.answer(&state, user_id, redeem).await
}

/// The coupons this customer has used, newest first.
#[utoipa::path(get, path = "/wallet/coupon-history", tag = "wallet", params(PageQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of redemptions", body = Envelope<Vec<RedemptionView>>)))]
async fn coupon_history(
    State(state): State<AppState>,
    customer: Customer,
    Params(page): Params<PageQuery>,
) -> Reply<Vec<RedemptionView>> {
    let mut conn = state.db.read().await?;
    let rows = store::redemptions_of_user(
        &mut conn,
        customer.user_id,
        page.limit.into(),
        page.offset(),
    )
    .await?;
    let total = store::count_redemptions_of_user(&mut conn, customer.user_id).await?;
    let views = rows.into_iter().map(RedemptionView::from).collect();
    Ok(Success::page(
        "The coupons you have used.",
        views,
        page.pagination(total),
    ))
}

/// How long a discount lasts: a number of periods, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Lasts {
    /// This many periods, the first one included.
    Periods(u32),
    /// The word `forever`.
    Forever(Forever),
}

/// The word `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Forever {
    Forever,
}

impl Default for Lasts {
    fn default() -> Self {
        Self::Periods(1)
    }
}

impl Lasts {
    pub(super) fn periods(self) -> Option<i64> {
        match self {
            Self::Periods(periods) => Some(periods.into()),
            Self::Forever(_) => None,
        }
    }
}

fn at_least_one(lasts: &Lasts, _: &()) -> garde::Result {
    match lasts {
        Lasts::Periods(0) => Err(garde::Error::new(
            "must be at least 1, or the word `forever`",
        )),
        _ => Ok(()),
    }
}

/// A coupon to create.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewCoupon {
    #[garde(skip)]
    pub(super) code: CouponCode,
    #[serde(default)]
    #[garde(length(chars, max = 200))]
    pub(super) description: String,
    /// Id of the coupon type, for example `coupon-credit-topup`.
    #[garde(length(chars, min = 3, max = 50))]
    pub(super) plugin: String,
    /// As the type's schema says.
    #[schema(value_type = Object)]
    #[garde(skip)]
    pub(super) parameters: Value,
    /// Now, when absent.
    #[garde(skip)]
    pub(super) starts_at: Option<DateTime<Utc>>,
    #[garde(skip)]
    pub(super) ends_at: Option<DateTime<Utc>>,
    #[garde(inner(range(min = 1)))]
    pub(super) max_uses: Option<i64>,
    #[garde(inner(range(min = 1)))]
    pub(super) max_uses_per_user: Option<i64>,
    /// Rupiah it may cost in all.
    #[garde(inner(range(min = 1, max = 1_000_000_000_000)))]
    pub(super) budget: Option<i64>,
    /// Slugs of the services it is good for; all, when empty.
    #[serde(default)]
    #[garde(length(max = 100))]
    pub(super) services: Vec<String>,
    /// Plan tiers it is good for; all, when empty.
    #[serde(default)]
    #[garde(length(max = 5))]
    pub(super) tiers: Vec<Tier>,
    /// How many periods a discount lasts, or `forever`; 1 when absent.
    #[serde(default)]
    #[garde(custom(at_least_one))]
    pub(super) lasts: Lasts,
}

/// Creates a coupon. Its type (a plugin) checks the parameters.
#[utoipa::path(post, path = "/admin/coupons", tag = "admin: coupons", params(IdempotencyKey), request_body = NewCoupon, security(("bearer" = [])),
    responses((status = 201, description = "Created", body = Envelope<CouponView>), Creating))]
async fn create_coupon(
    State(state): State<AppState>,
    admin: Admin,
    Keyed(new, once): Keyed<NewCoupon>,
) -> Result<Response, Error> {
    let create = async {
        let coupon = super::create(&state, admin.user_id, new).await?;
        let now = state.clock.now();
        Ok(coupon.map(|coupon| {
            let message = format!("The coupon {} is in use.", coupon.code);
            Success::created(message, CouponView::of(coupon, now))
        }))
    };
    once.answer(&state, admin.user_id, create).await
}

/// All coupons, newest first.
#[utoipa::path(get, path = "/admin/coupons", tag = "admin: coupons", params(PageQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of coupons", body = Envelope<Vec<CouponView>>)))]
async fn list_coupons(
    State(state): State<AppState>,
    _admin: Admin,
    Params(page): Params<PageQuery>,
) -> Reply<Vec<CouponView>> {
    let mut conn = state.db.read().await?;
    let rows = store::list(&mut conn, page.limit.into(), page.offset()).await?;
    let total = store::count(&mut conn).await?;
    let now = state.clock.now();
    let views = rows
        .into_iter()
        .map(|coupon| CouponView::of(coupon, now))
        .collect();
    Ok(Success::page("The coupons.", views, page.pagination(total)))
}

/// One coupon.
#[utoipa::path(get, path = "/admin/coupons/{id}", tag = "admin: coupons", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The coupon", body = Envelope<CouponView>), Missing))]
async fn get_coupon(State(state): State<AppState>, _admin: Admin, Id(id): Id) -> Reply<CouponView> {
    let coupon = store::by_id(&mut state.db.read().await?, id)
        .await?
        .ok_or_else(|| Error::not_found("coupon"))?;
    Ok(Success::ok(
        "The coupon.",
        CouponView::of(coupon, state.clock.now()),
    ))
}

/// The coupon types: active plugins that decide coupons.
#[utoipa::path(get, path = "/admin/coupon-types", tag = "admin: coupons", security(("bearer" = [])),
    responses((status = 200, description = "Coupon types by id", body = Envelope<Vec<CouponTypeView>>)))]
async fn coupon_types(State(state): State<AppState>, _admin: Admin) -> Reply<Vec<CouponTypeView>> {
    let types = state
        .plugins
        .all_active(Kind::Coupon)
        .into_iter()
        .filter_map(|plugin| {
            let description = plugin.coupon_description()?;
            let about = plugin.about();
            Some(CouponTypeView {
                plugin: about.id.clone(),
                version: about.version.clone(),
                title: about.title.clone(),
                summary: about.summary.clone(),
                parameters_schema: description.parameters_schema.clone(),
                places: description
                    .places
                    .iter()
                    .map(|place| place_name(*place).to_owned())
                    .collect(),
            })
        });
    Ok(Success::ok("The coupon types.", types.collect()))
}
