//! `/admin/billing`: renewals and what happens to unpaid subscriptions.

use axum::{extract::State, response::Response};
use dermaga_shop::{
    Error, Result,
    audit::GivenReason,
    billing::{self, BillingStatistics, ForecastLine},
    calendar,
    ids::SubscriptionId,
    scheduler::{JobView, RunView},
    subscriptions::{MOST_GRACE_DAYS, SubscriptionDetail},
    text::counted,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        Admin, AppState,
        admin::{
            forced_ends::ended,
            jobs::{self, Started},
            reasons::{OptionalReason, Reason, RequiredReason},
        },
    },
    http::{
        Body, Envelope, Id, PageQuery, Paged, Refusal, Reply, Segment, Success, When,
        failure_responses, routes,
    },
};

failure_responses!(Running: Conflict, Unavailable);
failure_responses!(RunningAny: NotFound, Conflict, Unavailable);
failure_responses!(Changing: NotFound, InvalidState, Conflict);
failure_responses!(Foreseeing: ValidationFailed);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(statistics))
        .routes(routes!(low_credit))
        .routes(routes!(job_status))
        .routes(routes!(run_job))
        .routes(routes!(preview))
        .routes(routes!(process_renewals))
        .routes(routes!(process_grace_period))
        .routes(routes!(send_low_credit_notifications))
        .routes(routes!(set_grace_period))
        .routes(routes!(expire))
}

/// Returns billing in numbers: what is paid and not, what comes next, and what was charged today and this
/// month.
#[utoipa::path(get, path = "/admin/billing/stats", tag = "admin: billing", security(("bearer" = [])),
    responses((status = 200, description = "As things are", body = Envelope<BillingStatistics>)))]
async fn statistics(State(state): State<AppState>, _admin: Admin) -> Reply<BillingStatistics> {
    let found = billing::statistics(&state.subscriptions).await?;
    Ok(Success::ok("Billing in numbers.", found))
}

/// Bound of a look ahead.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LowCreditQuery {
    /// Days within which a period ends; LOW_CREDIT_WARNING_DAYS when absent.
    #[garde(inner(range(min = 1, max = 90)))]
    #[param(minimum = 1, maximum = 90)]
    days: Option<u64>,
}

/// Lists active subscriptions that are due soon and whose wallet does not hold enough. Each is followed through its
/// periods as by `GET /admin/billing/preview`, and what is renewed before is paid.
#[utoipa::path(get, path = "/admin/billing/low-credit", tag = "admin: billing", params(PageQuery, LowCreditQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of subscriptions, the first to end first", body = Envelope<Vec<ForecastLine>>)))]
async fn low_credit(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<LowCreditQuery>,
) -> Reply<Vec<ForecastLine>> {
    let days = query
        .days
        .unwrap_or(state.config.subscriptions.low_credit_days);
    let lines = billing::low_credit_page(&state.subscriptions, days, page.part()).await?;
    let message = format!(
        "Due within {} and not covered: {}.",
        counted(days, "day"),
        lines.counted()
    );
    Ok(Success::page(message, page, lines))
}

/// The jobs of billing, with the last run of each; a part of `GET /admin/jobs`.
#[utoipa::path(get, path = "/admin/billing/job-status", tag = "admin: billing", security(("bearer" = [])),
    responses((status = 200, description = "The jobs", body = Envelope<Vec<JobView>>)))]
async fn job_status(State(state): State<AppState>, _admin: Admin) -> Reply<Vec<JobView>> {
    let mut jobs = state.scheduler.overview().await?;
    jobs.retain(|job| billing::JOBS.contains(&job.name.as_str()));
    Ok(Success::ok("The jobs of billing.", jobs))
}

/// Runs a job of billing now and answers when it has ended, or 202 after 15 seconds; as
/// `POST /admin/jobs/{name}/run` runs any job.
#[utoipa::path(post, path = "/admin/billing/run-job/{name}", tag = "admin: billing", security(("bearer" = [])),
    params(("name" = String, Path, description = "Name of the job")), request_body = Option<OptionalReason>,
    responses((status = 200, description = "The run, ended", body = Envelope<RunView>),
        (status = 202, description = "The run, not ended yet; `Location` says where to look", body = Envelope<RunView>), RunningAny))]
async fn run_job(
    State(state): State<AppState>,
    admin: Admin,
    Segment(name): Segment<String>,
    reason: Reason,
) -> Result<Response, Refusal> {
    if !billing::JOBS.contains(&name.as_str()) {
        return Err(Error::not_found("job of billing").into());
    }
    Ok(jobs::ran(&state, reason.of(admin), &name).await?)
}

/// End of a forecast.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PreviewQuery {
    /// The last date, where the shop is; today, when absent. A moment counts as its date. From 31
    /// days before today to two years after it.
    #[garde(skip)]
    #[param(inline)]
    date: Option<When>,
}

/// Forecasts renewals, failures, suspensions and ends until the end of a date: every subscription whose
/// period is over by then, with the prices of its plugins and the wallets as they are, by the rules of the jobs.
///
/// Each subscription is followed from period to period, in the order in which all of them end: what is renewed is not
/// in the wallet for what comes after it. Its line tells of the first period that is not renewed, or else of the last
/// one that is over by the date. Instances are taken to run in periods that have not begun.
#[utoipa::path(get, path = "/admin/billing/preview", tag = "admin: billing", params(PageQuery, PreviewQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of subscriptions, the first to end first", body = Envelope<Vec<ForecastLine>>), Foreseeing))]
async fn preview(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<PreviewQuery>,
) -> Reply<Vec<ForecastLine>> {
    let zone = state.clock.zone();
    let today = || calendar::date(zone, state.clock.now());
    let date = query.date.map_or_else(today, |date| date.date(zone));
    let lines = billing::forecast(&state.subscriptions, date, page.part()).await?;
    let message = format!("Periods that end until {date}: {}.", lines.counted());
    Ok(Success::page(message, page, lines))
}

/// Starts the job `daily-renewals` and answers at once; the run says how far it has come. A run
/// charges one period of each subscription at most.
#[utoipa::path(post, path = "/admin/billing/process-renewals", tag = "admin: billing", request_body = Option<OptionalReason>,
    security(("bearer" = [])),
    responses((status = 202, description = "The run; `Location` says where to read how far it has come", body = Envelope<RunView>), Running))]
async fn process_renewals(
    State(state): State<AppState>,
    admin: Admin,
    reason: Reason,
) -> Result<Started, Refusal> {
    Ok(jobs::started(&state, reason.of(admin), billing::DAILY_RENEWALS).await?)
}

/// Starts the job `grace-period` and answers at once; the run says how far it has come.
#[utoipa::path(post, path = "/admin/billing/process-grace-period", tag = "admin: billing", request_body = Option<OptionalReason>,
    security(("bearer" = [])),
    responses((status = 202, description = "The run; `Location` says where to read how far it has come", body = Envelope<RunView>), Running))]
async fn process_grace_period(
    State(state): State<AppState>,
    admin: Admin,
    reason: Reason,
) -> Result<Started, Refusal> {
    Ok(jobs::started(&state, reason.of(admin), billing::GRACE_PERIOD).await?)
}

/// Starts the job `low-credit-notifications` and answers at once; the run says how far it has come.
/// Each customer is warned once of each period.
#[utoipa::path(post, path = "/admin/billing/send-low-credit-notifications", tag = "admin: billing", request_body = Option<OptionalReason>,
    security(("bearer" = [])),
    responses((status = 202, description = "The run; `Location` says where to read how far it has come", body = Envelope<RunView>), Running))]
async fn send_low_credit_notifications(
    State(state): State<AppState>,
    admin: Admin,
    reason: Reason,
) -> Result<Started, Refusal> {
    let by = reason.of(admin);
    Ok(jobs::started(&state, by, billing::LOW_CREDIT_NOTIFICATIONS).await?)
}

/// Extension of an unpaid subscription.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GraceRequest {
    /// Days from now on; the shop may set narrower bounds (GRACE_PERIOD_MIN_DAYS,
    /// GRACE_PERIOD_MAX_DAYS).
    #[garde(range(min = 1, max = MOST_GRACE_DAYS))]
    #[schema(minimum = 1, maximum = 90)]
    grace_days: u64,
    /// Reason for the audit trail.
    #[garde(dive)]
    reason: GivenReason,
}

/// Grants a subscription in grace so many days from now.
#[utoipa::path(post, path = "/admin/billing/set-grace-period/{id}", tag = "admin: billing", params(("id" = Uuid, Path)),
    request_body = GraceRequest, security(("bearer" = [])),
    responses((status = 200, description = "The subscription", body = Envelope<SubscriptionDetail>), Changing))]
async fn set_grace_period(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<SubscriptionId>,
    Body(request): Body<GraceRequest>,
) -> Reply<SubscriptionDetail> {
    let (shop, by) = (&state.subscriptions, admin.user_id);
    let grace = (request.grace_days, request.reason.as_str());
    let until = billing::set_grace(shop, by, id, grace).await?;
    let detail = dermaga_shop::subscriptions::any_detail(&mut state.db.read().await?, id).await?;
    let message = format!("Its grace ends on {}.", state.clock.written(until));
    Ok(Success::ok(message, detail))
}

/// Ends a subscription now: its resources are removed with their data, and its quota is given back.
/// A purchase that was not set up yet is undone, with all its money: it becomes `CANCELLED`.
#[utoipa::path(post, path = "/admin/billing/expire/{id}", tag = "admin: billing", params(("id" = Uuid, Path)),
    request_body = RequiredReason, security(("bearer" = [])),
    responses((status = 200, description = "The subscription", body = Envelope<SubscriptionDetail>), Changing))]
async fn expire(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<SubscriptionId>,
    Body(request): Body<RequiredReason>,
) -> Reply<SubscriptionDetail> {
    let (shop, by) = (&state.subscriptions, admin.user_id);
    let cancelled = billing::expire(shop, by, id, request.reason.as_str()).await?;
    let detail = dermaga_shop::subscriptions::any_detail(&mut state.db.read().await?, id).await?;
    Ok(Success::ok(ended(cancelled), detail))
}
