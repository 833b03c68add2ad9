//! Looks for due runs, and runs them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_cron_scheduler::{JobScheduler, JobSchedulerError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use super::{
    HEARTBEAT, Job, Outcome, Rule, Scheduler,
    claim::{self, Claim, Due},
    model::RunStatus,
    progress::Progress,
};
use crate::{
    Code, Error, Result, timekeeping,
    traces::TARGET,
    workers::{Next, Worker},
};

/// Interval between looks at all jobs, beside the instants at which they are due: finds runs that a
/// server missed while it was down, and runs whose server died.
const WATCH: Duration = Duration::from_secs(5);
/// Longest time that runs under way may take to end when the server stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(15);
/// Interval between records of a run's progress.
const REPORT: Duration = Duration::from_secs(1);
/// Pauses before a rule begins again that the database kept waiting, each shorter than [`SHUTDOWN_GRACE`].
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(9),
];

/// Failure to set up the schedule of the jobs.
#[derive(Debug, thiserror::Error)]
#[error("the jobs cannot be scheduled: {0}")]
pub struct StartError(#[from] JobSchedulerError);

/// Runs jobs as they are due, until `stop`. Lets the runs under way end when the `door` is closed:
/// until then administrators may start some.
///
/// # Errors
/// When the timer cannot be set up.
pub async fn work(
    scheduler: Arc<Scheduler>,
    stop: CancellationToken,
    door: CancellationToken,
) -> Result<(), StartError> {
    let mut ticker = JobScheduler::new().await?;
    for job in &scheduler.jobs {
        let Some(text) = job.schedule.with_seconds() else {
            continue;
        };
        let (due, zone) = (Arc::clone(&scheduler), scheduler.clock.zone());
        let until = stop.clone();
        let tick = tokio_cron_scheduler::Job::new_async_tz(text, zone, move |_, _| {
            let (scheduler, stop) = (Arc::clone(&due), until.clone());
            Box::pin(async move { scheduler.look_until(&stop).await })
        })?;
        ticker.add(tick).await?;
    }
    ticker.start().await?;
    scheduler.take_up(&stop).await;
    let watch = || async {
        scheduler.look_until(&stop).await;
        Ok(Next::AfterRest)
    };
    let worker = Worker::new("scheduler", WATCH).resting_first();
    worker.ending_steps().run(stop.clone(), watch).await;
    ticker.shutdown().await?;
    door.cancelled().await;
    scheduler.drain().await;
    Ok(())
}

impl Scheduler {
    /// Starts every due, unclaimed run; one job's failure does not affect others.
    pub async fn look(&self) {
        self.look_until(&CancellationToken::new()).await;
    }

    /// Does the same, and begins with no other job after `stop`: while the database is away each would wait for a
    /// connection in vain.
    pub(super) async fn look_until(&self, stop: &CancellationToken) {
        if self.runs.is_closed() {
            return;
        }
        match self.watch.is_steady().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::error!(%error, "clock.not_checked");
                return;
            }
        }
        for job in &self.jobs {
            if stop.is_cancelled() {
                return;
            }
            if let Err(error) = self.look_at(job).await {
                not_started(job, &error);
            }
        }
    }

    /// Makes the jobs known, and takes up runs that no server works on, such as those of an earlier
    /// run of this one, without the rest before the first look.
    async fn take_up(&self, stop: &CancellationToken) {
        if timekeeping::trusted(&self.clock).is_err() {
            return;
        }
        if let Err(error) = claim::make_known(self).await {
            tracing::error!(%error, "jobs.not_known");
        }
        for job in &self.jobs {
            if stop.is_cancelled() {
                return;
            }
            if let Err(error) = self.take_up_run(job).await {
                not_started(job, &error);
            }
        }
    }

    /// Takes up the job's run that no server works on; returns false when there is none.
    async fn take_up_run(&self, job: &Job) -> Result<bool> {
        let Some(claim) = claim::abandoned(self, job).await? else {
            return Ok(false);
        };
        tracing::warn!(job = job.name, run = %claim.run_id(), "job.taken_over");
        drop(self.launch(job, claim));
        Ok(true)
    }

    async fn look_at(&self, job: &Job) -> Result<()> {
        if self.take_up_run(job).await? {
            return Ok(());
        }
        let Some(instant) = job.schedule.latest(self.clock.zone(), self.clock.now()) else {
            return Ok(());
        };
        if self.is_settled(job, instant) {
            return Ok(());
        }
        match claim::scheduled(self, job, instant).await? {
            Due::Ours(claim) => {
                self.settle(job, instant);
                drop(self.launch(job, claim));
            }
            Due::Settled => self.settle(job, instant),
            Due::Later => {}
        }
        Ok(())
    }

    /// Runs a claim in a task of its own.
    pub(super) fn launch(&self, job: &Job, claim: Claim) -> JoinHandle<()> {
        let name = job.name;
        // A task of its own, so that a panic ends this run and nothing else.
        let progress = claim.progress();
        let span = tracing::info_span!(target: TARGET, parent: None, "job", otel.name = name);
        let (steps, runs) = (job.rule.clone(), self.runs.clone());
        let rule = tokio::spawn(tried(name, steps, progress.clone(), runs).instrument(span));
        let cut_off = self.cut_off.clone();
        self.runs.spawn(async move {
            let started = Instant::now();
            let ended = supervise(name, &claim, (rule, &progress), cut_off).await;
            count(name, ended.as_ref(), started.elapsed());
            if let Some(ended) = ended
                && let Err(error) = claim.finish(ended, &progress).await
            {
                tracing::error!(job = name, %error, "job.not_recorded");
            }
        })
    }

    /// Waits for the runs under way; those that do not end in time are left to another server.
    async fn drain(&self) {
        self.runs.close();
        if timeout(SHUTDOWN_GRACE, self.runs.wait()).await.is_err() {
            self.cut_off.cancel();
            self.runs.wait().await;
        }
    }
}

/// Follows a rule to its end, and begins again after a failure that passes, as that of a database under high
/// load: the next instant of the schedule may be a day away. An item that was done is not done again. `None` when
/// this server stops meanwhile: the run is another one's to try again, and has not failed.
async fn tried(
    name: &'static str,
    rule: Rule,
    progress: Progress,
    runs: TaskTracker,
) -> Option<Result<Outcome>> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let error = match (rule.0)(progress.clone()).await {
            Err(error) if passes(&error) => error,
            ended => return Some(ended),
        };
        if !runs.is_closed() {
            let Some(pause) = pauses.next() else {
                return Some(Err(error));
            };
            tracing::warn!(job = name, %error, cause = ?error.source, "job.tried_again");
            sleep(pause).await;
        }
        // A server that stops does not wait for the database once more.
        if runs.is_closed() {
            tracing::warn!(job = name, %error, "job.left");
            return None;
        }
        progress.begin_again();
    }
}

/// Returns true for a failure that says when to ask again.
fn passes(error: &Error) -> bool {
    error.code == Code::Unavailable && error.retry_after.is_some()
}

/// Logs a look that failed. The next one comes in seconds, so that one which passes is no fault.
fn not_started(job: &Job, error: &Error) {
    let job = job.name;
    if passes(error) {
        tracing::warn!(job, %error, "job.not_started");
    } else {
        tracing::error!(job, %error, "job.not_started");
    }
}

/// Keeps a run's lease until the run ends; `None` when it is no longer this server's, or is left to another.
async fn supervise(
    name: &'static str,
    claim: &Claim,
    (mut rule, progress): (JoinHandle<Option<Result<Outcome>>>, &Progress),
    cut_off: CancellationToken,
) -> Option<Result<Outcome, String>> {
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat.tick().await;
    let (mut reports, mut reported) = (interval(REPORT), claim.progress().counted());
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ended = &mut rule => {
                let ended = ended.transpose().map(|ended| told(name, ended));
                if ended.is_none() {
                    let_go(name, claim).await;
                }
                return ended;
            }
            _ = heartbeat.tick() => {
                if let Ok(false) = claim.renew().await {
                    tracing::warn!(job = name, "job.lost");
                    rule.abort();
                    return None;
                }
            }
            _ = reports.tick() => {
                let counted = progress.counted();
                if counted != reported {
                    reported = counted;
                    if let Err(error) = claim.report(counted).await {
                        tracing::warn!(job = name, %error, "job.progress_not_noted");
                    }
                }
            }
            () = cut_off.cancelled() => {
                rule.abort();
                // Another server may take the run at once, so this one must not be at it any more.
                let _ = (&mut rule).await;
                let_go(name, claim).await;
                return None;
            }
        }
    }
}

/// Leaves a run to another server, which may take it at once.
async fn let_go(name: &'static str, claim: &Claim) {
    if let Err(error) = claim.let_go().await {
        tracing::warn!(job = name, %error, "job.not_let_go");
    }
}

/// Counts a run that ended on this server: one that it no longer has is another's to end.
fn count(name: &'static str, ended: Option<&Result<Outcome, String>>, took: Duration) {
    let status = match ended {
        Some(Ok(outcome)) if outcome.errors.is_empty() => RunStatus::Succeeded,
        Some(Ok(_)) => RunStatus::Partial,
        Some(Err(_)) => RunStatus::Failed,
        None => RunStatus::Abandoned,
    };
    metrics::counter!("dermaga_job_runs_total", "job_name" => name, "status" => status.as_str())
        .increment(1);
    metrics::histogram!("dermaga_job_run_seconds", "job_name" => name).record(took);
}

fn told(
    name: &'static str,
    ended: Result<Result<Outcome>, tokio::task::JoinError>,
) -> Result<Outcome, String> {
    match ended {
        Ok(Ok(outcome)) => {
            let errors = outcome.errors.len();
            tracing::info!(job = name, items = outcome.items, errors, "job.done");
            Ok(outcome)
        }
        Ok(Err(error)) => {
            tracing::error!(job = name, %error, cause = ?error.source, "job.failed");
            Err(error.message)
        }
        Err(error) => {
            tracing::error!(job = name, %error, "job.panicked");
            Err("The job stopped unexpectedly. It has been logged.".to_owned())
        }
    }
}
