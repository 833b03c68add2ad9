//! `/admin/health`: the health of instances, its history and its figures.

use axum::extract::State;
use dermaga_shop::{
    audit::GivenReason,
    db::MOST_COUNTED,
    ids::InstanceId,
    provisioning::health::{
        self, HealthSpanView, HealthStatistics, HealthSummary, InstanceHealth, MOST_AT_ONCE,
        Requested, TimeRange,
    },
    text::counted,
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState},
    http::{
        Body, Cursor, Envelope, Id, PageQuery, Paged, Params, Reply, Success, failure_responses,
        lists, routes,
    },
};

failure_responses!(Missing: NotFound);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(summary))
        .routes(routes!(check))
        .routes(routes!(history))
        .routes(routes!(statistics))
}

/// Returns the health of all instances, and names those that are not well.
#[utoipa::path(get, path = "/admin/health/summary", tag = "admin: health", security(("bearer" = [])),
    responses((status = 200, description = "Their health", body = Envelope<HealthSummary>)))]
async fn summary(State(state): State<AppState>, _: Admin) -> Reply<HealthSummary> {
    let summary = health::summary(&state.instances).await?;
    let faults = summary.by_health.failed + summary.by_health.degraded;
    let message = match faults {
        0 => "No instance has failed.".to_owned(),
        1 => "1 instance is not well.".to_owned(),
        many => format!("{many} instances are not well."),
    };
    Ok(Success::ok(message, summary))
}

/// Instances to check.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CheckRequest {
    /// Ids, a hundred at most; all instances when absent.
    #[garde(inner(length(min = 1, max = MOST_AT_ONCE)))]
    #[schema(min_items = 1, max_items = 100)]
    instance_ids: Option<Vec<InstanceId>>,
    /// Reason of the act, for the audit trail.
    #[garde(dive)]
    reason: Option<GivenReason>,
}

/// Checks that are under way.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CheckAnswer {
    /// Number of instances that are being checked.
    due: u64,
    /// Those of the named ones that are unknown or removed.
    unknown: Vec<InstanceId>,
}

/// Checks instances now, some or all. A check that is asked for twice at once is one check.
#[utoipa::path(post, path = "/admin/health/check", tag = "admin: health", request_body = CheckRequest, security(("bearer" = [])),
    responses((status = 202, description = "Being checked", body = Envelope<CheckAnswer>)))]
async fn check(
    State(state): State<AppState>,
    admin: Admin,
    Body(request): Body<CheckRequest>,
) -> Reply<CheckAnswer> {
    let (by, named) = (
        admin.by(request.reason.as_ref()),
        request.instance_ids.as_deref(),
    );
    let Requested { due, unknown } = health::check(&state.instances, by, named).await?;
    let message = match due {
        1 => "1 instance is being checked.".to_owned(),
        many => format!("{many} instances are being checked."),
    };
    Ok(Success::accepted(message, CheckAnswer { due, unknown }))
}

/// Filter of the history of an instance.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    #[garde(skip)]
    #[param(inline)]
    state: Option<InstanceHealth>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::HealthSpans>>,
}

/// Lists the history of an instance's health, newest first: an entry from one change to the next.
#[utoipa::path(get, path = "/admin/health/instances/{id}", tag = "admin: health",
    params(("id" = Uuid, Path), PageQuery, HistoryQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of it", body = Envelope<Vec<HealthSpanView>>), Missing))]
async fn history(
    State(state): State<AppState>,
    _: Admin,
    Id(id): Id<InstanceId>,
    Paged(page, query): Paged<HistoryQuery>,
) -> Reply<Vec<HealthSpanView>> {
    let span = page.span(query.cursor)?;
    let found = health::history(&state.db, id, query.state, span).await?;
    let message = match found.total {
        Some(total) => format!("{} of health.", counted(total.min(MOST_COUNTED), "span")),
        None => "Earlier spans of health.".to_owned(),
    };
    Ok(Success::walk::<lists::HealthSpans>(
        message,
        page,
        found,
        HealthSpanView::place,
    ))
}

/// Time range of the statistics.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StatisticsQuery {
    /// Range until now; a day when absent.
    #[garde(skip)]
    #[param(inline)]
    time_range: Option<TimeRange>,
}

/// Returns the figures of a time range: availability, failures, recoveries, attempts to mend.
#[utoipa::path(get, path = "/admin/health/stats", tag = "admin: health", params(StatisticsQuery), security(("bearer" = [])),
    responses((status = 200, description = "The figures", body = Envelope<HealthStatistics>)))]
async fn statistics(
    State(state): State<AppState>,
    _: Admin,
    Params(query): Params<StatisticsQuery>,
) -> Reply<HealthStatistics> {
    let time_range = query.time_range.unwrap_or(TimeRange::Day);
    let statistics = health::statistics(&state.instances, time_range).await?;
    let message = format!("The health of the last {time_range}.");
    Ok(Success::ok(message, statistics))
}
