//! `/admin/jobs`.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderName, header},
    response::{IntoResponse as _, Response},
};
use dermaga_shop::{
    Result,
    audit::By,
    ids::RunId,
    scheduler::{JobView, RunView},
};
use garde::Validate;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        Admin, AppState,
        admin::reasons::{OptionalReason, Reason},
    },
    http::{
        Cursor, Envelope, PageQuery, Paged, Refusal, Reply, Segment, Success, failure_responses,
        lists, routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Running: NotFound, Conflict, Unavailable);

/// The longest that a request waits for a run's end.
const WAIT: Duration = Duration::from_secs(15);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(runs))
        .routes(routes!(run))
        .routes(routes!(one))
}

/// The jobs that run by the clock, with the last run of each.
#[utoipa::path(get, path = "/admin/jobs", tag = "admin: jobs", security(("bearer" = [])),
    responses((status = 200, description = "The jobs", body = Envelope<Vec<JobView>>)))]
async fn list(State(state): State<AppState>, _admin: Admin) -> Reply<Vec<JobView>> {
    let jobs = state.scheduler.overview().await?;
    Ok(Success::ok("The jobs.", jobs))
}

/// Place in a list of runs.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RunQuery {
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Runs>>,
}

/// A job's runs, newest first. They are kept for 90 days.
#[utoipa::path(get, path = "/admin/jobs/{name}/runs", tag = "admin: jobs", security(("bearer" = [])),
    params(("name" = String, Path, description = "Name of the job"), PageQuery, RunQuery),
    responses((status = 200, description = "A page of runs", body = Envelope<Vec<RunView>>), Missing))]
async fn runs(
    State(state): State<AppState>,
    _admin: Admin,
    Segment(name): Segment<String>,
    Paged(page, query): Paged<RunQuery>,
) -> Reply<Vec<RunView>> {
    let span = page.span(query.cursor)?;
    let runs = state.scheduler.runs(&name, span).await?;
    Ok(Success::walk::<lists::Runs>(
        "The runs.",
        page,
        runs,
        RunView::place,
    ))
}

/// A job's run, as it is now: how many things there are to look at, how many were dealt with, how
/// many failed.
#[utoipa::path(get, path = "/admin/jobs/{name}/runs/{id}", tag = "admin: jobs", security(("bearer" = [])),
    params(("name" = String, Path, description = "Name of the job"), ("id" = Uuid, Path)),
    responses((status = 200, description = "The run", body = Envelope<RunView>), Missing))]
async fn one(
    State(state): State<AppState>,
    _admin: Admin,
    Segment((name, id)): Segment<(String, RunId)>,
) -> Reply<RunView> {
    let run = state.scheduler.run(&name, id).await?;
    Ok(Success::ok(told(&run), run))
}

fn told(run: &RunView) -> String {
    match run.finished_at {
        Some(_) => format!("The job {} ended: {}.", run.job, run.status),
        None => format!("The job {} is {}.", run.job, run.status),
    }
}

/// A run that was started: `Location` says where to read how far it has come.
pub(crate) type Started = ([(HeaderName, String); 1], Success<RunView>);

/// Starts a job's run and does not wait for it.
///
/// # Errors
/// `NOT_FOUND`; `CONFLICT` when the job is being run; `UNAVAILABLE` while the clock is in doubt.
pub(crate) async fn started(state: &AppState, by: By<'_>, name: &str) -> Result<Started> {
    let run = state.scheduler.run_now(name, by, Duration::ZERO).await?;
    Ok(begun(run))
}

fn begun(run: RunView) -> Started {
    let location = format!("/api/admin/jobs/{}/runs/{}", run.job, run.id);
    let message = format!("The job {} has been started.", run.job);
    (
        [(header::LOCATION, location)],
        Success::accepted(message, run),
    )
}

/// Runs a job and waits for its end, or answers 202 after a while.
///
/// # Errors
/// As [`started`].
pub(crate) async fn ran(state: &AppState, by: By<'_>, name: &str) -> Result<Response> {
    let limit = WAIT.min(state.config.http.request_timeout / 2);
    let run = state.scheduler.run_now(name, by, limit).await?;
    Ok(match run.finished_at {
        Some(_) => Success::ok(told(&run), run).into_response(),
        None => begun(run).into_response(),
    })
}

/// Runs a job now and answers when it has ended, or 202 after 15 seconds. It continues when the
/// request is given up.
#[utoipa::path(post, path = "/admin/jobs/{name}/run", tag = "admin: jobs", security(("bearer" = [])),
    params(("name" = String, Path, description = "Name of the job")), request_body = Option<OptionalReason>,
    responses((status = 200, description = "The run, ended", body = Envelope<RunView>),
        (status = 202, description = "The run, not ended yet; `Location` says where to look", body = Envelope<RunView>), Running))]
async fn run(
    State(state): State<AppState>,
    admin: Admin,
    Segment(name): Segment<String>,
    reason: Reason,
) -> Result<Response, Refusal> {
    Ok(ran(&state, reason.of(admin), &name).await?)
}
