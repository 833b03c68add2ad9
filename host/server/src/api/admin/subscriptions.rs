//! `/admin/subscriptions`: what administrators do for a customer.

use axum::{extract::State, response::Response};
use dermaga_shop::{
    audit::GivenReason,
    ids::{PlanId, SubscriptionId, UserId},
    money::Rupiah,
    subscriptions::{
        self, Order, PurchaseView, ShownStatus, SubscriptionDetail,
        administration::{self, Edit, MOST_EXTENSION_DAYS},
        granting,
        overview::{
            self, AnySubscriptionFilter, MOST_MONTHS, OwnedSubscription, SubscriptionStatistics,
        },
        refund::Refund,
        upgrade::{self, AdminPlanChange, PlanChangeAt, WantedPlan},
    },
    wallet::TransactionView,
};
use garde::Validate;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState, IdempotencyKey, Keyed},
    http::{
        Body, Cursor, Envelope, Id, PageQuery, Paged, Params, Refusal, Reply, Success, When,
        failure_responses, lists, range, routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Refunding: NotFound, InvalidState, RefundTooLarge);
failure_responses!(Editing: NotFound, InvalidState);
failure_responses!(ChangingPlan: NotFound, InvalidState, PlanUnavailable, PluginRefusedInput, InsufficientCredit,
    QuotaExhausted, ClusterFull, InstanceLimitReached, QuoteChanged, Conflict, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended,
    NotDeliverable);
failure_responses!(Granting: NotFound, PlanUnavailable, PluginRefusedInput, InsufficientCredit, QuotaExhausted, ClusterFull,
    InstanceLimitReached, QuoteChanged, Conflict, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended, NotDeliverable);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, grant))
        .routes(routes!(statistics))
        .routes(routes!(get, edit))
        .routes(routes!(refund))
        .routes(routes!(change_plan))
        .routes(routes!(extend))
}

/// Filter of a list of all subscriptions.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AnySubscriptionQuery {
    /// PENDING finds those that wait for their first delivery, ACTIVE those that do not.
    #[garde(skip)]
    #[param(inline)]
    status: Option<ShownStatus>,
    #[garde(skip)]
    user_id: Option<UserId>,
    /// Slug of the service.
    #[garde(length(chars, max = 100))]
    #[param(max_length = 100)]
    service: Option<String>,
    #[garde(skip)]
    plan_id: Option<PlanId>,
    #[garde(skip)]
    auto_renew: Option<bool>,
    /// Text within the customer's e-mail address, in any case.
    #[garde(length(chars, max = 200))]
    #[param(max_length = 200)]
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_search")]
    q: Option<String>,
    /// Bought at or after this moment, or on this date or later where the shop is.
    #[garde(skip)]
    #[param(inline)]
    from: Option<When>,
    /// Bought before this moment, or on this date or earlier.
    #[garde(skip)]
    #[param(inline)]
    to: Option<When>,
    /// Its period ends before this moment, or on this date or earlier.
    #[garde(skip)]
    #[param(inline)]
    ends_by: Option<When>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Subscriptions>>,
}

/// Lists the subscriptions of all customers, newest first.
#[utoipa::path(get, path = "/admin/subscriptions", tag = "admin: subscriptions", params(PageQuery, AnySubscriptionQuery),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of subscriptions", body = Envelope<Vec<OwnedSubscription>>)))]
async fn list(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<AnySubscriptionQuery>,
) -> Reply<Vec<OwnedSubscription>> {
    let zone = state.clock.zone();
    let (from, until) = range(("from", query.from), ("to", query.to), zone)?;
    let filter = AnySubscriptionFilter {
        status: query.status,
        user_id: query.user_id,
        service: query.service.as_deref(),
        plan_id: query.plan_id,
        auto_renew: query.auto_renew,
        email: query.q.as_deref(),
        from,
        until,
        ends_before: query.ends_by.map(|at| at.end(zone)),
    };
    let found = overview::list_all(&state.db, &filter, page.span(query.cursor)?).await?;
    let place = |row: &OwnedSubscription| row.subscription.place();
    Ok(Success::walk::<lists::Subscriptions>(
        "Subscriptions.",
        page,
        found,
        place,
    ))
}

/// Length of the statistics.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StatisticsQuery {
    /// Number of months, the present one included; 12 when absent.
    #[garde(inner(range(min = 1, max = MOST_MONTHS)))]
    #[param(minimum = 1, maximum = 36)]
    months: Option<u32>,
}

/// Returns all subscriptions in numbers: by status and service today, and new, lost, active and revenue
/// of each service in each month.
#[utoipa::path(get, path = "/admin/subscriptions/stats", tag = "admin: subscriptions", params(StatisticsQuery),
    security(("bearer" = [])),
    responses((status = 200, description = "As things are", body = Envelope<SubscriptionStatistics>)))]
async fn statistics(
    State(state): State<AppState>,
    _admin: Admin,
    Params(query): Params<StatisticsQuery>,
) -> Reply<SubscriptionStatistics> {
    let months = query.months.unwrap_or(12);
    let found = overview::statistics(&state.db, &state.clock, months).await?;
    let message = format!("Live subscriptions: {}.", found.live);
    Ok(Success::ok(message, found))
}

/// Subscription to make for a customer.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GrantRequest {
    #[garde(skip)]
    user_id: UserId,
    #[garde(skip)]
    plan_id: PlanId,
    /// Calendar months that one payment is for, of the terms that the plan is sold for; 1 when absent.
    #[garde(range(min = 1, max = 12))]
    #[schema(minimum = 1, maximum = 12)]
    term_months: Option<u32>,
    /// As the service's configuration schema says; empty when absent.
    #[serde(default)]
    #[schema(value_type = Object)]
    #[garde(skip)]
    config: Map<String, Value>,
    /// The first period is a gift: nothing is charged for it, and the wallet is not asked. Otherwise the
    /// customer's wallet pays, as in a purchase.
    #[serde(default)]
    #[garde(skip)]
    skip_credit_check: bool,
    #[garde(dive)]
    reason: GivenReason,
}

/// Makes a subscription for a customer, as a purchase or as a gift, and starts its instance.
///
/// Quota and the customer's limit hold as in a purchase. Periods after the first are charged as usual.
#[utoipa::path(post, path = "/admin/subscriptions", tag = "admin: subscriptions", security(("bearer" = [])),
    params(IdempotencyKey), request_body = GrantRequest,
    responses((status = 201, description = "Made", body = Envelope<PurchaseView>), Granting))]
async fn grant(
    State(state): State<AppState>,
    admin: Admin,
    Keyed(request, once): Keyed<GrantRequest>,
) -> Result<Response, Refusal> {
    let order = Order {
        user_id: request.user_id,
        plan_id: request.plan_id,
        term_months: request.term_months.unwrap_or(1),
        coupon: None,
        config: Value::Object(request.config),
        is_gift: request.skip_credit_check,
    };
    let act = async {
        let (shop, by) = (&state.subscriptions, admin.user_id);
        let made = Box::pin(granting::grant(shop, by, &order, request.reason.as_str())).await?;
        Ok(made.map(|made| {
            let message = if made.charged.is_positive() {
                format!("The subscription was made. {} were charged.", made.charged)
            } else {
                "The subscription was made. Nothing was charged.".to_owned()
            };
            Success::created(message, made)
        }))
    };
    once.answer(&state, admin.user_id, act).await
}

/// A customer's subscription, with what each period cost and what of it was given back.
#[utoipa::path(get, path = "/admin/subscriptions/{id}", tag = "admin: subscriptions", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The subscription", body = Envelope<SubscriptionDetail>), Missing))]
async fn get(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<SubscriptionId>,
) -> Reply<SubscriptionDetail> {
    let detail = subscriptions::any_detail(&mut state.db.read().await?, id).await?;
    Ok(Success::ok("The subscription.", detail))
}

/// Changes of a subscription; what is absent stays.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EditRequest {
    /// It is renewed, or ends with its period.
    #[garde(skip)]
    auto_renew: Option<bool>,
    /// Price of a month from the next period on, in rupiah; not higher than now.
    #[garde(inner(custom(price)))]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000_000_000_i64)]
    monthly_price: Option<Rupiah>,
    #[garde(dive)]
    reason: GivenReason,
}

fn price(amount: &Rupiah, (): &()) -> garde::Result {
    match amount.get() {
        0..=1_000_000_000_000 => Ok(()),
        _ => Err(garde::Error::new("must be from 0 to 1000000000000")),
    }
}

/// Changes if a subscription is renewed, and its price from the next period on, which can only fall.
#[utoipa::path(put, path = "/admin/subscriptions/{id}", tag = "admin: subscriptions", params(("id" = Uuid, Path)),
    request_body = EditRequest, security(("bearer" = [])),
    responses((status = 200, description = "The subscription", body = Envelope<SubscriptionDetail>), Editing))]
async fn edit(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<SubscriptionId>,
    Body(request): Body<EditRequest>,
) -> Reply<SubscriptionDetail> {
    let edit = Edit {
        auto_renew: request.auto_renew,
        monthly_price: request.monthly_price,
    };
    let (shop, by) = (&state.subscriptions, admin.user_id);
    let detail = administration::edit(shop, by, id, edit, request.reason.as_str()).await?;
    Ok(Success::ok("The subscription was changed.", detail))
}

/// Plan that a subscription is moved to.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PlanChangeRequest {
    #[garde(skip)]
    plan_id: PlanId,
    #[serde(default)]
    #[garde(skip)]
    at: PlanChangeAt,
    /// A higher plan costs nothing until the period ends, and the wallet is not asked.
    #[serde(default)]
    #[garde(skip)]
    skip_credit_check: bool,
    #[garde(dive)]
    reason: GivenReason,
}

/// Moves a subscription to another plan of its service, higher or lower, at once or with the next period.
///
/// At once, a higher plan is charged as the customer's own upgrade, unless it is a gift; for a lower plan, the
/// cash of the rest comes back once the instance is changed: what is left of all payments less what the rest
/// costs in the lower plan, and never more than the cash that was paid for the rest. A change with the next
/// period takes its place in the plan now; the present plan with `period_end` takes it back.
#[utoipa::path(put, path = "/admin/subscriptions/{id}/upgrade", tag = "admin: subscriptions", security(("bearer" = [])),
    params(("id" = Uuid, Path), IdempotencyKey), request_body = PlanChangeRequest,
    responses((status = 200, description = "Changed, or to be changed with the next period", body = Envelope<AdminPlanChange>), ChangingPlan))]
async fn change_plan(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<SubscriptionId>,
    Keyed(request, once): Keyed<PlanChangeRequest>,
) -> Result<Response, Refusal> {
    let wanted = WantedPlan {
        plan_id: request.plan_id,
        at: request.at,
        is_gift: request.skip_credit_check,
    };
    let act = async {
        let (shop, by) = (&state.subscriptions, admin.user_id);
        let made = Box::pin(upgrade::change_plan(
            shop,
            by,
            id,
            wanted,
            request.reason.as_str(),
        ))
        .await?;
        Ok(made.map(|made| Success::ok(told(&made), made)))
    };
    once.answer(&state, admin.user_id, act).await
}

fn told(made: &AdminPlanChange) -> String {
    match (made.at, made.subscription.next_plan_id) {
        (PlanChangeAt::PeriodEnd, Some(_)) => "The plan changes with the next period.".to_owned(),
        (PlanChangeAt::PeriodEnd, None) => "The plan stays as it is.".to_owned(),
        (PlanChangeAt::Now, _) if made.gives_back.is_positive() => format!(
            "The plan is now {}. {} come back to the wallet once the instance is changed.",
            made.subscription.plan_name, made.gives_back
        ),
        (PlanChangeAt::Now, _) => format!("The plan is now {}.", made.subscription.plan_name),
    }
}

/// Extension of a period.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExtendRequest {
    /// Days that are added to the end of the running period.
    #[garde(range(min = 1, max = MOST_EXTENSION_DAYS))]
    #[schema(minimum = 1, maximum = 365)]
    days: u64,
    #[garde(dive)]
    reason: GivenReason,
}

/// Moves the end of the running period, without a charge; later periods follow it. A subscription in
/// grace is paid for again until then.
#[utoipa::path(put, path = "/admin/subscriptions/{id}/extend", tag = "admin: subscriptions", security(("bearer" = [])),
    params(("id" = Uuid, Path), IdempotencyKey), request_body = ExtendRequest,
    responses((status = 200, description = "The subscription", body = Envelope<SubscriptionDetail>), Editing))]
async fn extend(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<SubscriptionId>,
    Keyed(request, once): Keyed<ExtendRequest>,
) -> Result<Response, Refusal> {
    let act = async {
        let (shop, by) = (&state.subscriptions, admin.user_id);
        let made =
            administration::extend(shop, by, id, request.days, request.reason.as_str()).await?;
        Ok(made.map(|detail| {
            let end = state.clock.written(detail.subscription.period_end);
            Success::ok(format!("Its period ends on {end}."), detail)
        }))
    };
    once.answer(&state, admin.user_id, act).await
}

/// Refund to the wallet, with its reason.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RefundRequest {
    /// Amount in rupiah; at most the cash that was paid for the period and not given back.
    #[garde(custom(positive))]
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_i64)]
    amount: Rupiah,
    #[garde(dive)]
    reason: GivenReason,
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
        reason: request.reason.into(),
        period: request.period,
    };
    let act = async {
        let made = subscriptions::refund(&state.subscriptions, admin.user_id, id, &refund).await?;
        Ok(made.map(|transaction| {
            let message = format!("{} are back in the wallet.", refund.amount);
            Success::created(message, TransactionView::from(transaction))
        }))
    };
    once.answer(&state, admin.user_id, act).await
}
