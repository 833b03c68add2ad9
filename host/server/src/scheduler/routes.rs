//! `/admin/jobs`.

use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Job, JobView, RunView, Scheduler, store};
use crate::{
    Result,
    app::AppState,
    http::{Admin, Envelope, PageQuery, Params, Reply, Segment, Success, failure_responses},
};

failure_responses!(Missing: NotFound);
failure_responses!(Running: NotFound, Conflict);

/// The routes of this domain.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(runs))
        .routes(routes!(run))
}

/// The jobs that run by the clock, with the last run of each.
#[utoipa::path(get, path = "/admin/jobs", tag = "admin: jobs", security(("bearer" = [])),
    responses((status = 200, description = "The jobs", body = Envelope<Vec<JobView>>)))]
async fn list(State(state): State<AppState>, _admin: Admin) -> Reply<Vec<JobView>> {
    let mut views = Vec::new();
    for job in &state.scheduler.jobs {
        views.push(view(&state, &state.scheduler, job).await?);
    }
    Ok(Success::ok("The jobs.", views))
}

async fn view(state: &AppState, scheduler: &Scheduler, job: &Job) -> Result<JobView> {
    let now = state.clock.now();
    let last = store::runs(&mut state.db.read().await?, job.name, 1, 0).await?;
    Ok(JobView {
        name: job.name.to_owned(),
        summary: job.summary.to_owned(),
        schedule: job.schedule.to_string(),
        timezone: scheduler.zone.name().to_owned(),
        next_run: job.schedule.next(scheduler.zone, now),
        last_run: last.into_iter().next().map(|row| RunView::of(row, now)),
    })
}

/// A job's runs, newest first. They are kept for 90 days.
#[utoipa::path(get, path = "/admin/jobs/{name}/runs", tag = "admin: jobs", security(("bearer" = [])),
    params(("name" = String, Path, description = "Name of the job"), PageQuery),
    responses((status = 200, description = "A page of runs", body = Envelope<Vec<RunView>>), Missing))]
async fn runs(
    State(state): State<AppState>,
    _admin: Admin,
    Segment(name): Segment<String>,
    Params(page): Params<PageQuery>,
) -> Reply<Vec<RunView>> {
    let job = state.scheduler.job(&name)?;
    let mut conn = state.db.read().await?;
    let rows = store::runs(&mut conn, job.name, page.limit.into(), page.offset()).await?;
    let total = store::count_runs(&mut conn, job.name).await?;
    let now = state.clock.now();
    let views = rows.into_iter().map(|row| RunView::of(row, now)).collect();
    Ok(Success::page("The runs.", views, page.pagination(total)))
}

/// Runs a job now and answers when it has ended. It goes on when the request is given up.
#[utoipa::path(post, path = "/admin/jobs/{name}/run", tag = "admin: jobs", security(("bearer" = [])),
    params(("name" = String, Path, description = "Name of the job")),
    responses((status = 200, description = "The run, ended", body = Envelope<RunView>), Running))]
async fn run(
    State(state): State<AppState>,
    admin: Admin,
    Segment(name): Segment<String>,
) -> Reply<RunView> {
    let run = state
        .scheduler
        .run_now(&state, &name, admin.user_id)
        .await?;
    let message = format!("The job {name} ended: {}.", run.status);
    Ok(Success::ok(message, run))
}
