//! SQL of jobs and their runs.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    model::{RunRow, RunStatus},
    progress::Counted,
};
use crate::{
    db::{
        Conn, Filter, Lease, LeasedTable, List, Span, Walked, fetch_first, fetch_span, find_where,
    },
    execute, fetch_one, fetch_optional,
    ids::{RunId, UserId},
    leased_table,
};

/// Runs, each of them one server's at a time.
pub(super) const RUNS: LeasedTable = leased_table!("job_runs", open: "finished_at IS NULL");

/// Returns the time since when a job is known; `now` when it is new.
pub(super) async fn watched_since(
    conn: &mut Conn,
    job: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<DateTime<Utc>> {
    let sql = "INSERT INTO jobs (name, watched_since) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET name = excluded.name
               RETURNING watched_since";
    let (since,) = fetch_one!(conn, (DateTime<Utc>,), sql, job, now)?;
    Ok(since)
}

/// Inserts a run; `false` when the instant has one, or the job has one that has not ended.
pub(super) async fn insert(
    conn: &mut Conn,
    row: &RunRow,
    (lease, server): (&Lease, Uuid),
    requested_by: Option<UserId>,
) -> sqlx::Result<bool> {
    let sql = "INSERT INTO job_runs (id, job, scheduled_for, trigger, requested_by, attempts, started_at, lease_holder, lease_until,
                 status, items, error_count, errors, lease_server)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING";
    let inserted = execute!(
        conn,
        sql,
        row.id,
        &row.job,
        row.scheduled_for,
        row.trigger,
        requested_by,
        row.attempts,
        row.started_at,
        lease.holder,
        lease.until,
        row.status,
        row.items,
        row.error_count,
        &row.errors,
        server,
    )?;
    Ok(inserted == 1)
}

pub(super) async fn is_recorded(
    conn: &mut Conn,
    job: &str,
    instant: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "SELECT count(*) FROM job_runs WHERE job = $1 AND scheduled_for = $2";
    let (count,) = fetch_one!(conn, (i64,), sql, job, instant)?;
    Ok(count > 0)
}

/// Returns the run of this job whose lease has run out.
pub(super) async fn abandoned(
    conn: &mut Conn,
    job: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<RunId>> {
    let sql = "SELECT id FROM job_runs WHERE job = $1 AND finished_at IS NULL AND (lease_until IS NULL OR lease_until <= $2)";
    let row = fetch_optional!(conn, (RunId,), sql, job, now)?;
    Ok(row.map(|(id,)| id))
}

/// Counts another attempt at a run, by this server; returns what the attempts before it expected and dealt with.
pub(super) async fn count_attempt(
    conn: &mut Conn,
    lease: &Lease,
    server: Uuid,
) -> sqlx::Result<Counted> {
    let sql = "UPDATE job_runs SET attempts = attempts + 1, lease_server = $3 WHERE id = $1 AND lease_holder = $2
               RETURNING total, items";
    let (total, items) = fetch_one!(conn, (i64, i64), sql, lease.id, lease.holder, server)?;
    Ok(Counted {
        total,
        items,
        errors: 0,
    })
}

/// Ends the leases of a server that is no more, under whose identity another one starts.
pub(super) async fn drop_leases(conn: &mut Conn, server: Uuid) -> sqlx::Result<u64> {
    let sql = "UPDATE job_runs SET lease_holder = NULL, lease_until = NULL \
               WHERE lease_server = $1 AND lease_until IS NOT NULL AND finished_at IS NULL";
    execute!(conn, sql, server)
}

/// Records the progress of a run.
pub(super) async fn report(conn: &mut Conn, lease: &Lease, counted: Counted) -> sqlx::Result<()> {
    let sql = "UPDATE job_runs SET total = $3, items = $4, error_count = $5
               WHERE id = $1 AND lease_holder = $2 AND finished_at IS NULL";
    let Counted {
        total,
        items,
        errors,
    } = counted;
    execute!(conn, sql, lease.id, lease.holder, total, items, errors).map(|_| ())
}

/// Result of a run that has ended.
pub(super) struct End<'a> {
    pub(super) status: RunStatus,
    pub(super) total: i64,
    pub(super) items: i64,
    pub(super) error_count: i64,
    pub(super) errors: &'a [&'a str],
    pub(super) now: DateTime<Utc>,
}

pub(super) async fn finish(conn: &mut Conn, lease: &Lease, end: &End<'_>) -> sqlx::Result<()> {
    execute!(
        conn,
        "UPDATE job_runs SET finished_at = $3, status = $4, items = $5, error_count = $6, errors = $7, total = $8,
           lease_holder = NULL, lease_until = NULL
         WHERE id = $1 AND lease_holder = $2 AND finished_at IS NULL",
        lease.id,
        lease.holder,
        end.now,
        end.status,
        end.items,
        end.error_count,
        Json(end.errors),
        end.total,
    )
    .map(|_| ())
}

pub(super) async fn forget(conn: &mut Conn, job: &str, before: DateTime<Utc>) -> sqlx::Result<()> {
    let sql = "DELETE FROM job_runs WHERE job = $1 AND finished_at < $2";
    execute!(conn, sql, job, before).map(|_| ())
}

const RUN_LIST: List = List {
    rows: "SELECT id, job, scheduled_for, trigger, attempts, started_at, lease_until, finished_at, status, total, items,
        error_count, errors FROM job_runs",
    from: "FROM job_runs",
    key: "id",
    order: "ORDER BY started_at DESC, id DESC",
};

/// Returns the instant for which a job's last run that succeeded was scheduled, and the time of its end.
pub(super) async fn last_success(
    conn: &mut Conn,
    job: &str,
) -> sqlx::Result<Option<(DateTime<Utc>, DateTime<Utc>)>> {
    let sql = "SELECT scheduled_for, finished_at FROM job_runs WHERE job = $1 AND status = 'SUCCEEDED' \
               ORDER BY started_at DESC LIMIT 1";
    fetch_optional!(conn, (DateTime<Utc>, DateTime<Utc>), sql, job)
}

/// Returns the time since when a job is known; `None` before its first look.
pub(super) async fn known_since(conn: &mut Conn, job: &str) -> sqlx::Result<Option<DateTime<Utc>>> {
    let sql = "SELECT watched_since FROM jobs WHERE name = $1";
    let row = fetch_optional!(conn, (DateTime<Utc>,), sql, job)?;
    Ok(row.map(|(since,)| since))
}

pub(super) async fn run(conn: &mut Conn, id: RunId) -> sqlx::Result<Option<RunRow>> {
    find_where(conn, RUN_LIST.rows, &Filter::of("id = ?", id)).await
}

/// A job's runs, newest first.
pub(super) async fn runs(
    conn: &mut Conn,
    job: &str,
    span: Span<RunId>,
) -> sqlx::Result<Walked<RunRow>> {
    let place = "(started_at, id) < (?, ?)";
    fetch_span(conn, RUN_LIST, place, Filter::of("job = ?", job), span).await
}

pub(super) async fn last_run(conn: &mut Conn, job: &str) -> sqlx::Result<Option<RunRow>> {
    let last = fetch_first(
        conn,
        RUN_LIST.rows,
        &Filter::of("job = ?", job),
        RUN_LIST.order,
        1,
    )
    .await?;
    Ok(last.into_iter().next())
}
