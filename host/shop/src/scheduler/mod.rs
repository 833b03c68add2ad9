//! Jobs by the clock: each scheduled instant is run once, however many servers there are and
//! however often they die.
//!
//! `tokio-cron-scheduler` triggers the looks. The due instants are computed here, from the
//! application's clock and the true time zone (the crate fixes a zone's offset when a job is
//! added), and claimed in the database. A run carries a lease, so one whose server died is taken up
//! by the next look. Rules must therefore be repeatable: an item that was done is not done again.

mod claim;
mod model;
mod occurrences;
mod progress;
mod schedule;
mod store;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub use claim::release_left_behind;
pub use model::{JobView, RunStatus, RunView, Trigger};
pub use progress::Progress;
pub use schedule::Schedule;
pub use worker::{StartError, work};

use crate::{
    Error, Result,
    audit::By,
    db::{Clock, Db, Span, Walked},
    ids::RunId,
    timekeeping::{self, Watch},
};

/// Lease of a run, without a sign of life from its server.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// Interval between signs of life of a run.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Time for which runs are remembered.
const KEPT: TimeDelta = TimeDelta::days(90);

/// Result of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number of things it dealt with.
    pub items: u64,
    /// A sentence for each thing that failed; the others were dealt with all the same.
    pub errors: Vec<String>,
}

impl Outcome {
    /// Returns an outcome of `items` items without a failure.
    pub const fn of(items: u64) -> Self {
        Self {
            items,
            errors: Vec::new(),
        }
    }
}

/// Rule of a job, bound to the parts of the application that it needs.
#[derive(Clone)]
pub struct Rule(Arc<dyn Fn(Progress) -> BoxFuture<'static, Result<Outcome>> + Send + Sync>);

impl Rule {
    /// Binds an asynchronous closure.
    pub fn new<F, R>(rule: F) -> Self
    where
        F: Fn(Progress) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Outcome>> + Send + 'static,
    {
        Self(Arc::new(move |progress| Box::pin(rule(progress))))
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rule")
    }
}

/// Task on a schedule.
#[derive(Debug, Clone)]
pub struct Job {
    /// Stable name, under which runs are recorded. Lower case with hyphens.
    pub name: &'static str,
    /// Description in a sentence.
    pub summary: &'static str,
    pub schedule: Schedule,
    pub rule: Rule,
}

/// The jobs of this server. Built once at start.
#[derive(Debug)]
pub struct Scheduler {
    db: Db,
    pub clock: Clock,
    pub jobs: Vec<Job>,
    /// Identity of this server, under which its runs are leased.
    server: Uuid,
    /// Watch that decides if the clock may be believed.
    watch: Watch,
    /// Latest instant of each job that needs no further look.
    settled: Mutex<HashMap<&'static str, DateTime<Utc>>>,
    /// Runs under way.
    runs: TaskTracker,
    /// Ends runs that do not end in time when the server stops.
    cut_off: CancellationToken,
}

impl Scheduler {
    /// Returns a server's scheduler of these jobs, whose schedules are read in the zone of the
    /// clock.
    pub fn new(db: Db, clock: Clock, jobs: Vec<Job>, server: Uuid) -> Self {
        Self {
            watch: Watch::new(db.clone(), clock.clone()),
            db,
            clock,
            jobs,
            server,
            settled: Mutex::default(),
            runs: TaskTracker::new(),
            cut_off: CancellationToken::new(),
        }
    }

    /// Returns the identity of this server.
    pub const fn server(&self) -> Uuid {
        self.server
    }

    /// Runs a job now, outside its schedule, and waits for its end, up to a limit. The run
    /// continues after the limit.
    ///
    /// # Errors
    /// `NOT_FOUND`; `CONFLICT` when the job is running; `UNAVAILABLE` while the clock is in doubt.
    pub async fn run_now(&self, name: &str, by: By<'_>, limit: Duration) -> Result<RunView> {
        let job = self.job(name)?;
        timekeeping::trusted(&self.clock)?;
        let claim = claim::by_hand(self, job, by).await?;
        let run = claim.run_id();
        let task = self.launch(job, claim);
        if let Ok(ended) = timeout(limit, task).await {
            ended.map_err(Error::internal)?;
        }
        self.run(name, run).await
    }

    /// Lists the jobs, with the last run of each.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn overview(&self) -> Result<Vec<JobView>> {
        let (now, zone) = (self.clock.now(), self.clock.zone());
        let mut conn = self.db.read().await?;
        let mut views = Vec::with_capacity(self.jobs.len());
        for job in &self.jobs {
            let last = store::last_run(&mut conn, job.name).await?;
            views.push(JobView {
                name: job.name.to_owned(),
                summary: job.summary.to_owned(),
                schedule: job.schedule.to_string(),
                timezone: zone.name().to_owned(),
                next_run: job.schedule.next(zone, now),
                last_run: last.map(|row| RunView::of(row, now)),
            });
        }
        Ok(views)
    }

    /// Shows as metrics when each job last succeeded, and for how long it should have since.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn show(&self) -> Result<()> {
        let (now, zone) = (self.clock.now(), self.clock.zone());
        let mut conn = self.db.read().await?;
        for job in &self.jobs {
            let success = store::last_success(&mut conn, job.name).await?;
            let since = match success {
                Some((scheduled_for, _)) => Some(scheduled_for),
                None => store::known_since(&mut conn, job.name).await?,
            };
            let overdue = since.map_or(TimeDelta::zero(), |since| {
                job.schedule.overdue(zone, since, now)
            });
            let ended = success.map_or(0, |(_, ended)| ended.timestamp());
            metrics::gauge!("dermaga_job_overdue_seconds", "job_name" => job.name)
                .set(overdue.as_seconds_f64());
            metrics::gauge!("dermaga_job_last_success_timestamp_seconds", "job_name" => job.name)
                .set(ended as f64);
        }
        Ok(())
    }

    /// Lists the runs of a job, newest first.
    ///
    /// # Errors
    /// `NOT_FOUND` for an unknown job.
    pub async fn runs(&self, name: &str, span: Span<RunId>) -> Result<Walked<RunView>> {
        let job = self.job(name)?;
        let found = store::runs(&mut self.db.read().await?, job.name, span).await?;
        let now = self.clock.now();
        Ok(found.map(|row| RunView::of(row, now)))
    }

    /// Returns the current state of one run of a job.
    pub async fn run(&self, name: &str, id: RunId) -> Result<RunView> {
        let job = self.job(name)?;
        let row = store::run(&mut self.db.read().await?, id).await?;
        let row = row.filter(|row| row.job == job.name);
        let row = row.ok_or_else(|| Error::not_found("run"))?;
        Ok(RunView::of(row, self.clock.now()))
    }

    pub fn job(&self, name: &str) -> Result<&Job> {
        let found = self.jobs.iter().find(|job| job.name == name);
        found.ok_or_else(|| Error::not_found("job"))
    }

    /// Returns `true` when this instant, the latest there is, needs no further look. A later one
    /// was recorded by a clock that was ahead, and does not count.
    fn is_settled(&self, job: &Job, instant: DateTime<Utc>) -> bool {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.get(job.name) == Some(&instant)
    }

    fn settle(&self, job: &Job, instant: DateTime<Utc>) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.insert(job.name, instant);
    }
}
