//! `/subscriptions`: quote, buy, look at, cancel.

use axum::{extract::State, response::Response};
use dermaga_shop::{
    billing::{self, BillingInfo},
    coupons::CouponCode,
    ids::{PlanId, QuoteId, SubscriptionId, UserId},
    money::Rupiah,
    provisioning::watching::{self, UsageView},
    subscriptions::{
        self, Order, PriceLineView, PurchaseView, QuoteView, ShownStatus, SubscriptionDetail,
        SubscriptionView, cancellation, checkout,
        lifecycle::{self, Named},
        quoting,
    },
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        AppState, Customer, IdempotencyKey, Keyed,
        lifecycle::{RESTART, START, STOP, answer, removed},
    },
    http::{
        Body, Cursor, Envelope, Id, PageQuery, Paged, Refusal, Reply, Success, failure_responses,
        lists, routes,
    },
};

failure_responses!(Pricing: NotFound, PlanUnavailable, PluginRefusedInput, CouponNotFound, CouponNotActive, CouponUsedUp,
    CouponAlreadyUsed, CouponBudgetSpent, CouponNotApplicable, CouponRefused, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended);
failure_responses!(Buying: NotFound, PlanUnavailable, PluginRefusedInput, InsufficientCredit, QuotaExhausted, ClusterFull,
    InstanceLimitReached, QuoteChanged, QuoteUsed, Conflict, CouponNotFound, CouponNotActive, CouponUsedUp, CouponAlreadyUsed,
    CouponBudgetSpent, CouponNotApplicable, CouponRefused, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended,
    NotDeliverable);
failure_responses!(Foreseeing: NotFound, InvalidState, PluginRefusedInput, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended);
failure_responses!(Missing: NotFound);
failure_responses!(Cancelling: NotFound, InvalidState);
failure_responses!(Measuring: NotFound, InvalidState, NoCluster, ClusterUnavailable);
failure_responses!(Living: NotFound, InvalidState);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(quote))
        .routes(routes!(validate))
        .routes(routes!(get, cancel))
        .routes(routes!(billing_info))
        .routes(routes!(retry_provisioning))
        .routes(routes!(set_auto_renew))
        .routes(routes!(metrics))
        .routes(routes!(stop))
        .routes(routes!(start))
        .routes(routes!(restart))
}

/// Order of a plan.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OrderRequest {
    #[garde(skip)]
    plan_id: PlanId,
    /// Calendar months that one payment is for, of the terms that the plan is sold for; 1 when absent.
    #[garde(range(min = 1, max = 12))]
    #[schema(minimum = 1, maximum = 12)]
    term_months: Option<u32>,
    #[garde(skip)]
    coupon_code: Option<CouponCode>,
    /// As the service's configuration schema says; empty when absent.
    #[serde(default)]
    #[schema(value_type = Object)]
    #[garde(skip)]
    config: Map<String, Value>,
}

impl OrderRequest {
    fn order(self, user_id: UserId) -> Order {
        Order {
            user_id,
            plan_id: self.plan_id,
            term_months: self.term_months.unwrap_or(1),
            coupon: self.coupon_code,
            config: Value::Object(self.config),
            is_gift: false,
        }
    }
}

/// Order of a plan, with the quote it was promised at.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PurchaseRequest {
    #[garde(skip)]
    plan_id: PlanId,
    /// Calendar months that one payment is for, of the terms that the plan is sold for; 1 when absent.
    #[garde(range(min = 1, max = 12))]
    #[schema(minimum = 1, maximum = 12)]
    term_months: Option<u32>,
    #[garde(skip)]
    coupon_code: Option<CouponCode>,
    /// As the service's configuration schema says; empty when absent.
    #[serde(default)]
    #[schema(value_type = Object)]
    #[garde(skip)]
    config: Map<String, Value>,
    /// Charge what this quote said, or refuse. A quote buys once.
    #[garde(skip)]
    quote_id: Option<QuoteId>,
}

impl PurchaseRequest {
    fn order(self, user_id: UserId) -> Order {
        let Self {
            plan_id,
            term_months,
            coupon_code,
            config,
            ..
        } = self;
        OrderRequest {
            plan_id,
            term_months,
            coupon_code,
            config,
        }
        .order(user_id)
    }
}

/// Quotes an order, every rupiah explained.
#[utoipa::path(post, path = "/subscriptions/quote", tag = "subscriptions", request_body = OrderRequest, security(("bearer" = [])),
    responses((status = 200, description = "The quote", body = Envelope<QuoteView>), Pricing))]
async fn quote(
    State(state): State<AppState>,
    customer: Customer,
    Body(request): Body<OrderRequest>,
) -> Reply<QuoteView> {
    let order = request.order(customer.user_id);
    let quote = Box::pin(quoting::quote(&state.subscriptions, &order)).await?;
    Ok(Success::ok(format!("This costs {}.", quote.due), quote))
}

/// An order that can be bought now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ValidOrder {
    #[serde(serialize_with = "dermaga_shop::subscriptions::lines_in_words")]
    lines: Vec<PriceLineView>,
    due: Rupiah,
}

/// Checks that an order can be bought now: configuration, coupon, quota, limits and credit.
#[utoipa::path(post, path = "/subscriptions/validate", tag = "subscriptions", request_body = OrderRequest, security(("bearer" = [])),
    responses((status = 200, description = "It can be bought", body = Envelope<ValidOrder>), Buying))]
async fn validate(
    State(state): State<AppState>,
    customer: Customer,
    Body(request): Body<OrderRequest>,
) -> Reply<ValidOrder> {
    let priced = checkout::validate(&state.subscriptions, &request.order(customer.user_id)).await?;
    let view = ValidOrder {
        lines: priced.explained(),
        due: priced.due()?,
    };
    Ok(Success::ok("This can be bought.", view))
}

/// Buys a plan and starts its instance in the background.
#[utoipa::path(post, path = "/subscriptions", tag = "subscriptions", params(IdempotencyKey), request_body = PurchaseRequest, security(("bearer" = [])),
    responses((status = 201, description = "Bought", body = Envelope<PurchaseView>), Buying))]
async fn create(
    State(state): State<AppState>,
    customer: Customer,
    Keyed(request, once): Keyed<PurchaseRequest>,
) -> Result<Response, Refusal> {
    let user_id = customer.user_id;
    let quote_id = request.quote_id;
    let order = request.order(user_id);
    let buy = async {
        let purchase = checkout::buy(&state.subscriptions, &order, quote_id).await?;
        Ok(purchase.map(|purchase| {
            let name = &purchase.subscription.service_name;
            let begun = format!("{name} is being set up.");
            let message = format!("{begun} {}", charged(purchase.charged));
            Success::created(message, purchase)
        }))
    };
    once.answer(&state, user_id, buy).await
}

/// Filter of a list of subscriptions.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// PENDING finds those that wait for their first delivery, ACTIVE those that do not.
    #[garde(skip)]
    #[param(inline)]
    status: Option<ShownStatus>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::OwnSubscriptions>>,
}

/// Lists this customer's subscriptions, newest first.
#[utoipa::path(get, path = "/subscriptions", tag = "subscriptions", params(PageQuery, ListQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of subscriptions", body = Envelope<Vec<SubscriptionView>>)))]
async fn list(
    State(state): State<AppState>,
    customer: Customer,
    Paged(page, query): Paged<ListQuery>,
) -> Reply<Vec<SubscriptionView>> {
    let span = page.span(query.cursor)?;
    let found = subscriptions::list(&state.db, customer.user_id, query.status, span).await?;
    Ok(Success::walk::<lists::OwnSubscriptions>(
        "Your subscriptions.",
        page,
        found,
        SubscriptionView::place,
    ))
}

/// Returns a subscription, with the price of each period.
#[utoipa::path(get, path = "/subscriptions/{id}", tag = "subscriptions", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The subscription", body = Envelope<SubscriptionDetail>), Missing))]
async fn get(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
) -> Reply<SubscriptionDetail> {
    let detail = subscriptions::detail(&mut state.db.read().await?, customer.user_id, id).await?;
    Ok(Success::ok("The subscription.", detail))
}

/// The sentence about the money of a purchase or an upgrade.
pub(super) fn charged(amount: Rupiah) -> String {
    if amount.is_positive() {
        format!("{amount} was charged.")
    } else {
        "Nothing was charged.".to_owned()
    }
}

/// Moment at which a cancellation takes effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CancelAt {
    /// Resources are removed at once and the quota is given back. A purchase that was not set up
    /// yet is undone, with all its money.
    #[default]
    Now,
    /// It runs until the period that is paid for is over; refused when that is over already.
    PeriodEnd,
}

/// Options of a cancellation.
#[derive(Debug, Default, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CancelRequest {
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_prose")]
    #[garde(inner(length(chars, max = 500), custom(dermaga_shop::text::prose)))]
    #[schema(max_length = 500)]
    reason: Option<String>,
    #[serde(default)]
    #[garde(skip)]
    at: CancelAt,
}

/// Cancels a subscription, now or at the end of its period. Without a body: now. A purchase that was
/// not set up yet is undone, with all its money.
#[utoipa::path(delete, path = "/subscriptions/{id}", tag = "subscriptions", params(("id" = Uuid, Path)), request_body = Option<CancelRequest>,
    security(("bearer" = [])),
    responses((status = 200, description = "Cancelled", body = Envelope<SubscriptionDetail>), Cancelling))]
async fn cancel(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
    body: Option<Body<CancelRequest>>,
) -> Reply<SubscriptionDetail> {
    let request = body.map(|Body(request)| request).unwrap_or_default();
    let reason = request.reason.as_deref();
    let message = match request.at {
        CancelAt::Now => {
            let (shop, user_id) = (&state.subscriptions, customer.user_id);
            removed(cancellation::cancel(shop, user_id, id, reason).await?)
        }
        CancelAt::PeriodEnd => {
            cancellation::cancel_at_period_end(&state.subscriptions, customer.user_id, id, reason)
                .await?;
            "The subscription will end with the period that is paid for."
        }
    };
    let detail = subscriptions::detail(&mut state.db.read().await?, customer.user_id, id).await?;
    Ok(Success::ok(message, detail))
}

/// Returns the price of a subscription's next period, every rupiah explained, and the wallet's
/// balance.
#[utoipa::path(get, path = "/subscriptions/{id}/billing-info", tag = "subscriptions", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "As things are", body = Envelope<BillingInfo>), Foreseeing))]
async fn billing_info(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
) -> Reply<BillingInfo> {
    let info = billing::billing_info(&state.subscriptions, customer.user_id, id).await?;
    let message = match (info.due, info.term_months) {
        (Some(due), 1) => format!("The next month costs {due}."),
        (Some(due), months) => format!("The next {months} months cost {due}."),
        (None, _) => "There is no next period.".to_owned(),
    };
    Ok(Success::ok(message, info))
}

/// Choice between renewal and end.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AutoRenewRequest {
    #[garde(skip)]
    auto_renew: bool,
}

/// Sets if a subscription is charged for its next period, or ends with the one that is paid for.
/// When that period is over, turning renewal on charges the next one at once, and turning it off is
/// refused, as it is while a freeze waits for the next period.
#[utoipa::path(put, path = "/subscriptions/{id}/auto-renew", tag = "subscriptions", request_body = AutoRenewRequest,
    params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "Noted", body = Envelope<SubscriptionDetail>), Cancelling))]
async fn set_auto_renew(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
    Body(request): Body<AutoRenewRequest>,
) -> Reply<SubscriptionDetail> {
    let user_id = customer.user_id;
    billing::set_auto_renew(&state.subscriptions, user_id, id, request.auto_renew).await?;
    let detail = subscriptions::detail(&mut state.db.read().await?, user_id, id).await?;
    let message = if request.auto_renew {
        "The subscription will be renewed."
    } else {
        "The subscription will end with the period that is paid for."
    };
    Ok(Success::ok(message, detail))
}

/// Tries at once to set up an instance that waits or failed.
///
/// It is tried again anyhow, later and later. A first purchase that can never be set up is undone:
/// money, quota and the coupon's use come back.
#[utoipa::path(post, path = "/subscriptions/{id}/retry-provisioning", tag = "subscriptions",
    params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 202, description = "Being tried", body = Envelope<SubscriptionDetail>), Cancelling))]
async fn retry_provisioning(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
) -> Reply<SubscriptionDetail> {
    let detail =
        subscriptions::delivery::retry_provisioning(&state.subscriptions, customer.user_id, id)
            .await?;
    Ok(Success::accepted("It is being tried again.", detail))
}

/// Returns the usage of a subscription's instance against the limits of its plan.
#[utoipa::path(get, path = "/subscriptions/{id}/metrics", tag = "subscriptions", params(("id" = Uuid, Path)),
    security(("bearer" = [])),
    responses((status = 200, description = "As it is now", body = Envelope<UsageView>), Measuring))]
async fn metrics(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
) -> Reply<UsageView> {
    let usage = watching::usage(&state.instances, customer.user_id, id).await?;
    let message = if usage.usage.is_some() {
        "The usage of this moment."
    } else {
        "Its usage is not measured now."
    };
    Ok(Success::ok(message, usage))
}

/// Stops the instance of a subscription: scaled to zero, its data kept, and still paid for. One that is stopped stays so.
#[utoipa::path(put, path = "/subscriptions/{id}/stop", tag = "subscriptions", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "So already", body = Envelope<SubscriptionDetail>),
        (status = 202, description = "Being stopped", body = Envelope<SubscriptionDetail>), Living))]
async fn stop(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
) -> Reply<SubscriptionDetail> {
    let named = Named::Subscription(id);
    let is_changed = lifecycle::stop(&state.subscriptions, customer.user_id, named).await?;
    let detail = subscriptions::detail(&mut state.db.read().await?, customer.user_id, id).await?;
    Ok(answer(STOP, is_changed, detail))
}

/// Starts the instance of a subscription that was stopped. Refused while it is unpaid.
#[utoipa::path(put, path = "/subscriptions/{id}/start", tag = "subscriptions", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "So already", body = Envelope<SubscriptionDetail>),
        (status = 202, description = "Being started", body = Envelope<SubscriptionDetail>), Living))]
async fn start(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
) -> Reply<SubscriptionDetail> {
    let named = Named::Subscription(id);
    let is_changed = lifecycle::start(&state.subscriptions, customer.user_id, named).await?;
    let detail = subscriptions::detail(&mut state.db.read().await?, customer.user_id, id).await?;
    Ok(answer(START, is_changed, detail))
}

/// Restarts the instance of a subscription: each of its pods is replaced. A second call within ten seconds is the same
/// restart.
#[utoipa::path(post, path = "/subscriptions/{id}/restart", tag = "subscriptions", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "So already", body = Envelope<SubscriptionDetail>),
        (status = 202, description = "Being restarted", body = Envelope<SubscriptionDetail>), Living))]
async fn restart(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<SubscriptionId>,
) -> Reply<SubscriptionDetail> {
    let named = Named::Subscription(id);
    let is_changed = lifecycle::restart(&state.subscriptions, customer.user_id, named).await?;
    let detail = subscriptions::detail(&mut state.db.read().await?, customer.user_id, id).await?;
    Ok(answer(RESTART, is_changed, detail))
}
