//! Jobs by the clock: each scheduled instant is run once, however many servers there are and
//! however often they die.
//!
//! `tokio-cron-scheduler` says when to look; what is due is worked out here, from the application's
//! clock and the true time zone (the crate fixes a zone's offset when a job is added), and claimed in
//! the database. A run carries a lease, so one whose server died is taken up by the next look. Rules
//! are therefore written to be repeatable: an item that was done is not done again.

mod claim;
mod model;
mod occurrences;
mod progress;
mod routes;
mod schedule;
mod store;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use futures::future::BoxFuture;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub use model::{JobView, RunStatus, RunView, Trigger};
pub use progress::Progress;
pub use routes::{Started, router, started};
pub use schedule::Schedule;
pub use worker::{StartError, work};

use crate::{
    Error, Result,
    app::AppState,
    timekeeping::{self, Watch},
};

/// How long a run is its server's without a sign of life.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// How often a run gives a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How long runs are remembered.
const KEPT: TimeDelta = TimeDelta::days(90);

/// What one run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many things it dealt with.
    pub items: u64,
    /// A sentence for each thing that failed; the others were dealt with all the same.
    pub errors: Vec<String>,
}

impl Outcome {
    /// So many items, and no failure.
    pub const fn of(items: u64) -> Self {
        Self {
            items,
            errors: Vec::new(),
        }
    }
}

/// A job's rule, bound to the application. The rule itself is a plain function of its domain that
/// takes a connection and a clock.
pub type Rule = fn(AppState, Progress) -> BoxFuture<'static, Result<Outcome>>;

/// Something to do by the clock.
#[derive(Debug, Clone)]
pub struct Job {
    /// Stable: runs are recorded under it. Lower case with hyphens.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    pub schedule: Schedule,
    pub rule: Rule,
}

/// The jobs of this server. Built once at start.
#[derive(Debug)]
pub struct Scheduler {
    jobs: Vec<Job>,
    zone: Tz,
    /// Whether the clock may be believed.
    clock: Watch,
    /// Per job, the latest instant that needs no more looking at.
    settled: Mutex<HashMap<&'static str, DateTime<Utc>>>,
    /// Runs under way.
    runs: TaskTracker,
    /// Ends runs that do not end in time when the server stops.
    cut_off: CancellationToken,
}

impl Scheduler {
    /// Jobs whose schedules are read in this time zone.
    pub fn new(jobs: Vec<Job>, zone: Tz) -> Self {
        Self {
            jobs,
            zone,
            clock: Watch::default(),
            settled: Mutex::default(),
            runs: TaskTracker::new(),
            cut_off: CancellationToken::new(),
        }
    }

    /// Runs a job now, outside its schedule, and waits for its end, up to a limit. The run continues
    /// when its caller waits no longer.
    ///
    /// # Errors
    /// `NOT_FOUND`; `CONFLICT` when the job is being run; `UNAVAILABLE` while the clock is in doubt.
    pub async fn run_now(
        &self,
        state: &AppState,
        name: &str,
        by: Uuid,
        limit: Duration,
    ) -> Result<RunView> {
        let job = self.job(name)?;
        timekeeping::trusted(&state.clock)?;
        let claim = claim::by_hand(state, job, by).await?;
        let run = claim.run_id();
        let task = self.launch(state, job, claim);
        if let Ok(ended) = timeout(limit, task).await {
            ended.map_err(Error::internal)?;
        }
        self.run(state, name, run).await
    }

    /// One run of a job as it is now.
    async fn run(&self, state: &AppState, name: &str, id: Uuid) -> Result<RunView> {
        let job = self.job(name)?;
        let row = store::run(&mut state.db.read().await?, id).await?;
        let row = row.filter(|row| row.job == job.name);
        let row = row.ok_or_else(|| Error::not_found("run"))?;
        Ok(RunView::of(row, state.clock.now()))
    }

    fn job(&self, name: &str) -> Result<&Job> {
        let found = self.jobs.iter().find(|job| job.name == name);
        found.ok_or_else(|| Error::not_found("job"))
    }

    /// Returns `true` when this instant, the latest there is, needs no more looking at. A later one was
    /// noted by a clock that was ahead, and says nothing.
    fn is_settled(&self, job: &Job, instant: DateTime<Utc>) -> bool {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.get(job.name) == Some(&instant)
    }

    fn settle(&self, job: &Job, instant: DateTime<Utc>) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.insert(job.name, instant);
    }
}
