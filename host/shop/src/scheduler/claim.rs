//! Claims of runs: a run belongs to one server at a time, and ends once.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Job, KEPT, LEASE, Outcome, Schedule, Scheduler,
    model::{RunRow, RunStatus, Trigger},
    progress::{Counted, Progress},
    store,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, By, Event, Subject},
    db::{Clock, Conn, Db, Lease, Term, new_id},
    identity::Identity,
    ids::{RunId, UserId},
};

/// Failures kept in words; the others are counted.
const ERRORS_KEPT: usize = 20;

/// The right to run. Only its holder can renew or finish the run: a server that was taken for dead
/// and comes back changes nothing.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    lease: Lease,
    /// Part of the run that servers before this one have reported.
    earlier: Counted,
    db: Db,
    clock: Clock,
}

/// Result of looking at a scheduled instant.
#[derive(Debug)]
pub(super) enum Due {
    /// This server runs it.
    Ours(Claim),
    /// It was or is being run, or lies before the job was first known.
    Settled,
    /// An earlier run of the same job has not ended.
    Later,
}

/// Records all jobs with a schedule that are new as known since now.
///
/// A server that ends before its first look would otherwise leave nothing from which the next one
/// could see what it missed.
pub(super) async fn make_known(scheduler: &Scheduler) -> Result<()> {
    let now = scheduler.clock.now();
    let mut conn = scheduler.db.begin().await?;
    for job in &scheduler.jobs {
        // One that is off is known from the day on which it gets a schedule.
        if !matches!(job.schedule, Schedule::Off) {
            store::watched_since(&mut conn, job.name, now).await?;
        }
    }
    Ok(conn.commit().await?)
}

/// Takes a scheduled instant, unless it is taken.
pub(super) async fn scheduled(
    scheduler: &Scheduler,
    job: &Job,
    instant: DateTime<Utc>,
) -> Result<Due> {
    let now = scheduler.clock.now();
    let mut conn = scheduler.db.begin().await?;
    if store::watched_since(&mut conn, job.name, now).await? >= instant {
        conn.commit().await?;
        return Ok(Due::Settled);
    }
    store::forget(&mut conn, job.name, now - KEPT).await?;
    let claim = insert(&mut conn, scheduler, job, instant, Trigger::Schedule, None).await?;
    let taken = match claim {
        Some(claim) => Due::Ours(claim),
        None if store::is_recorded(&mut conn, job.name, instant).await? => Due::Settled,
        None => Due::Later,
    };
    conn.commit().await?;
    Ok(taken)
}

/// Claims a run that an administrator asks for.
///
/// # Errors
/// `CONFLICT` when the job is running.
pub(super) async fn by_hand(scheduler: &Scheduler, job: &Job, by: By<'_>) -> Result<Claim> {
    let now = scheduler.clock.now();
    let mut conn = scheduler.db.begin().await?;
    let claim = insert(
        &mut conn,
        scheduler,
        job,
        now,
        Trigger::Administrator,
        Some(by.actor_id),
    )
    .await?;
    let Some(claim) = claim else {
        let message = format!(
            "The job {} is already running. See /api/admin/jobs/{0}/runs.",
            job.name
        );
        return Err(Error::new(Code::Conflict, message).retry_after(5));
    };
    let details = json!({ "runId": claim.lease.id });
    let event = Event::new(AuditAct::JobRun, Subject::Job(job.name), details);
    audit::record_by(&mut conn, &scheduler.clock, by, event).await?;
    conn.commit().await?;
    Ok(claim)
}

/// Ends the leases of runs that an earlier run of this server left, so that they are taken up at
/// once. Call it before the first run of this one.
///
/// # Errors
/// When the database refuses.
pub async fn release_left_behind(db: &Db, identity: &Identity) -> Result<()> {
    if !identity.is_alone() {
        return Ok(());
    }
    let mut conn = db.begin().await?;
    let runs = store::drop_leases(&mut conn, identity.id).await?;
    conn.commit().await?;
    if runs > 0 {
        tracing::info!(runs, "scheduler.own_leases_dropped");
    }
    Ok(())
}

/// Takes up a run whose server sent no sign of life. Its counts continue the last report of that
/// server: things done after that report are missing in them.
pub(super) async fn abandoned(scheduler: &Scheduler, job: &Job) -> Result<Option<Claim>> {
    let now = scheduler.clock.now();
    let Some(run) = store::abandoned(&mut scheduler.db.read().await?, job.name, now).await? else {
        return Ok(None);
    };
    let mut conn = scheduler.db.begin().await?;
    let until = now + LEASE;
    let lease = store::RUNS
        .claim(&mut conn, &scheduler.clock, run.into(), Term { now, until })
        .await?;
    let Some(lease) = lease else {
        conn.commit().await?;
        return Ok(None);
    };
    let earlier = store::count_attempt(&mut conn, &lease, scheduler.server).await?;
    conn.commit().await?;
    Ok(Some(Claim {
        earlier,
        ..Claim::new(scheduler, lease)
    }))
}

async fn insert(
    conn: &mut Conn,
    scheduler: &Scheduler,
    job: &Job,
    scheduled_for: DateTime<Utc>,
    trigger: Trigger,
    requested_by: Option<UserId>,
) -> Result<Option<Claim>> {
    let now = scheduler.clock.now();
    let lease = Lease {
        id: new_id(&scheduler.clock),
        holder: new_id(&scheduler.clock),
        until: now + LEASE,
    };
    let row = RunRow {
        id: lease.id.into(),
        job: job.name.to_owned(),
        scheduled_for,
        trigger,
        attempts: 1,
        started_at: now,
        lease_until: Some(lease.until),
        finished_at: None,
        status: RunStatus::Running,
        total: 0,
        items: 0,
        error_count: 0,
        errors: sqlx::types::Json(Vec::new()),
    };
    let inserted = store::insert(conn, &row, (&lease, scheduler.server), requested_by).await?;
    Ok(inserted.then(|| Claim::new(scheduler, lease)))
}

impl Claim {
    fn new(scheduler: &Scheduler, lease: Lease) -> Self {
        Self {
            lease,
            earlier: Counted::default(),
            db: scheduler.db.clone(),
            clock: scheduler.clock.clone(),
        }
    }

    /// Returns the progress of the run, with what servers before this one have reported.
    pub(super) fn progress(&self) -> Progress {
        Progress::after(self.earlier)
    }

    pub(super) fn run_id(&self) -> RunId {
        self.lease.id.into()
    }

    /// Extends the lease; `false` when the run is no longer this server's.
    pub(super) async fn renew(&self) -> Result<bool> {
        let mut conn = self.db.begin().await?;
        let until = self.clock.now() + LEASE;
        let ours = store::RUNS.renew(&mut conn, &self.lease, until).await?;
        conn.commit().await?;
        Ok(ours)
    }

    /// Ends the lease now, so that the next look takes up the run.
    pub(super) async fn let_go(&self) -> Result<()> {
        let mut conn = self.db.begin().await?;
        store::RUNS.release(&mut conn, &self.lease).await?;
        Ok(conn.commit().await?)
    }

    /// Records the progress of the run.
    pub(super) async fn report(&self, counted: Counted) -> Result<()> {
        let mut conn = self.db.begin().await?;
        store::report(&mut conn, &self.lease, counted).await?;
        Ok(conn.commit().await?)
    }

    /// Records the result of the run.
    pub(super) async fn finish(
        &self,
        ended: Result<Outcome, String>,
        progress: &Progress,
    ) -> Result<()> {
        let (counted, earlier) = (progress.counted(), progress.earlier_items());
        let (status, outcome) = match ended {
            Ok(outcome) if outcome.errors.is_empty() => (RunStatus::Succeeded, outcome),
            Ok(outcome) => (RunStatus::Partial, outcome),
            Err(error) => {
                let items = u64::try_from(counted.items - earlier).unwrap_or_default();
                let errors = vec![error];
                (RunStatus::Failed, Outcome { items, errors })
            }
        };
        let items = i64::try_from(outcome.items).unwrap_or(i64::MAX);
        let kept: Vec<&str> = outcome
            .errors
            .iter()
            .take(ERRORS_KEPT)
            .map(String::as_str)
            .collect();
        let end = store::End {
            status,
            total: counted.total,
            items: items.saturating_add(earlier),
            error_count: i64::try_from(outcome.errors.len()).unwrap_or(i64::MAX),
            errors: &kept,
            now: self.clock.now(),
        };
        let mut conn = self.db.begin().await?;
        store::finish(&mut conn, &self.lease, &end).await?;
        Ok(conn.commit().await?)
    }
}
