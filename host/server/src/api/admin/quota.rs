//! `/admin/quota`: how many of each plan can be sold.

use axum::extract::State;
use dermaga_shop::{
    audit::GivenReason,
    catalog::{
        self, MOST_PLANS, MOST_QUOTA, NewQuota, QuotaFilter, QuotaHealth, QuotaOverview,
        QuotaStatistics, QuotaView, Tier,
        waitlist::{self, QueueEntry},
    },
    ids::PlanId,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState},
    http::{
        Body, Cursor, Envelope, Id, PageQuery, Paged, Reply, Success, failure_responses, lists,
        routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Changing: NotFound, InvalidState, Conflict);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(overview))
        .routes(routes!(statistics))
        .routes(routes!(change_all))
        .routes(routes!(get, change))
        .routes(routes!(queue))
}

/// Filter of a list of quotas.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct QuotaQuery {
    /// Slug of the service.
    #[garde(length(chars, max = 50))]
    #[param(max_length = 50)]
    service: Option<String>,
    #[garde(skip)]
    #[param(inline)]
    tier: Option<Tier>,
    #[garde(skip)]
    #[param(inline)]
    health: Option<QuotaHealth>,
}

/// Lists the quotas of all plans, sold or not, by service.
#[utoipa::path(get, path = "/admin/quota", tag = "admin: quota", params(PageQuery, QuotaQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of quotas", body = Envelope<Vec<QuotaView>>)))]
async fn list(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<QuotaQuery>,
) -> Reply<Vec<QuotaView>> {
    let filter = QuotaFilter {
        service: query.service.as_deref(),
        tier: query.tier,
        health: query.health,
    };
    let found = catalog::quotas(&state.catalog, &filter, page.part()).await?;
    Ok(Success::page("The quotas.", page, found))
}

/// Sums all quotas, counts plans by health, and names those on sale that are not healthy.
#[utoipa::path(get, path = "/admin/quota/overview", tag = "admin: quota", security(("bearer" = [])),
    responses((status = 200, description = "All quotas together", body = Envelope<QuotaOverview>)))]
async fn overview(State(state): State<AppState>, _admin: Admin) -> Reply<QuotaOverview> {
    let overview = catalog::quota_overview(&state.catalog).await?;
    Ok(Success::ok("The quotas at a glance.", overview))
}

/// Sums quotas by service and by tier.
#[utoipa::path(get, path = "/admin/quota/statistics", tag = "admin: quota", security(("bearer" = [])),
    responses((status = 200, description = "Sums", body = Envelope<QuotaStatistics>)))]
async fn statistics(State(state): State<AppState>, _admin: Admin) -> Reply<QuotaStatistics> {
    let statistics = catalog::quota_statistics(&state.catalog).await?;
    Ok(Success::ok("The quotas by service and tier.", statistics))
}

/// Returns the quota of a plan.
#[utoipa::path(get, path = "/admin/quota/plans/{id}", tag = "admin: quota", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The quota", body = Envelope<QuotaView>), Missing))]
async fn get(State(state): State<AppState>, _: Admin, Id(id): Id<PlanId>) -> Reply<QuotaView> {
    let quota = catalog::quota(&state.catalog, id).await?;
    Ok(Success::ok("The quota.", quota))
}

/// Place in the queue of a plan.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct QueueQuery {
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Queue>>,
}

/// Lists the customers who wait for a plan, and those for whom a place is held, in their order.
#[utoipa::path(get, path = "/admin/quota/plans/{id}/waitlist", tag = "admin: quota", params(("id" = Uuid, Path), PageQuery, QueueQuery),
    security(("bearer" = [])), responses((status = 200, description = "A page of the queue", body = Envelope<Vec<QueueEntry>>), Missing))]
async fn queue(
    State(state): State<AppState>,
    _admin: Admin,
    Id(plan_id): Id<PlanId>,
    Paged(page, query): Paged<QueueQuery>,
) -> Reply<Vec<QueueEntry>> {
    let span = page.span(query.cursor)?;
    let found = waitlist::queue(&state.catalog, plan_id, span).await?;
    let place = QueueEntry::place;
    Ok(Success::walk::<lists::Queue>(
        "The queue.",
        page,
        found,
        place,
    ))
}

/// New quota of a plan.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct QuotaRequest {
    /// Most instances of the plan that can be sold; at least as many as are in use or held.
    #[garde(range(min = 0, max = MOST_QUOTA))]
    #[schema(minimum = 0, maximum = 1_000_000)]
    total_quota: i64,
    #[garde(dive)]
    reason: GivenReason,
}

/// Sets how many of a plan can be sold. It is never less than what is in use.
#[utoipa::path(put, path = "/admin/quota/plans/{id}", tag = "admin: quota", params(("id" = Uuid, Path)),
    request_body = QuotaRequest, security(("bearer" = [])),
    responses((status = 200, description = "The quota", body = Envelope<QuotaView>), Changing))]
async fn change(
    State(state): State<AppState>,
    admin: Admin,
    Id(plan_id): Id<PlanId>,
    Body(request): Body<QuotaRequest>,
) -> Reply<QuotaView> {
    let total_quota = request.total_quota;
    let new = vec![NewQuota {
        plan_id,
        total_quota,
    }];
    let changed =
        catalog::set_quotas(&state.catalog, admin.user_id, new, request.reason.as_str()).await?;
    let quota = changed.into_iter().next();
    let quota = quota.ok_or_else(|| dermaga_shop::Error::not_found("plan"))?;
    Ok(Success::ok(format!("The quota is {total_quota}."), quota))
}

/// A plan and its new quota.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PlanQuota {
    #[garde(skip)]
    plan_id: PlanId,
    /// Most instances of the plan that can be sold; at least as many as are in use or held.
    #[garde(range(min = 0, max = MOST_QUOTA))]
    #[schema(minimum = 0, maximum = 1_000_000)]
    total_quota: i64,
}

/// New quotas of several plans.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct QuotasRequest {
    /// Each plan once.
    #[garde(length(min = 1, max = MOST_PLANS), dive)]
    #[schema(min_items = 1, max_items = 50)]
    plans: Vec<PlanQuota>,
    #[garde(dive)]
    reason: GivenReason,
}

/// Sets the quotas of up to 50 plans: all of them, or none.
#[utoipa::path(put, path = "/admin/quota/bulk", tag = "admin: quota", request_body = QuotasRequest, security(("bearer" = [])),
    responses((status = 200, description = "The quotas, in the order of the plans' ids", body = Envelope<Vec<QuotaView>>), Changing))]
async fn change_all(
    State(state): State<AppState>,
    admin: Admin,
    Body(request): Body<QuotasRequest>,
) -> Reply<Vec<QuotaView>> {
    let wanted = request.plans.iter().map(|plan| NewQuota {
        plan_id: plan.plan_id,
        total_quota: plan.total_quota,
    });
    let wanted = wanted.collect();
    let changed = catalog::set_quotas(
        &state.catalog,
        admin.user_id,
        wanted,
        request.reason.as_str(),
    )
    .await?;
    let message = match changed.len() {
        1 => "1 quota changed.".to_owned(),
        many => format!("{many} quotas changed."),
    };
    Ok(Success::ok(message, changed))
}
