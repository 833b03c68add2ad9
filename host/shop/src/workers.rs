//! Workers: the steps that a server takes again and again beside its requests, until it stops.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::Result;

/// A step, a rest of one period, the next step, and so on.
///
/// The period begins at the end of a step: steps never overlap, and none is missed, because a long
/// step makes the next one later. A step that fails or panics is logged and counted, and the next
/// one follows after a rest.
#[derive(Debug, Clone, Copy)]
pub struct Worker {
    name: &'static str,
    period: Duration,
    rests_first: bool,
    ends_steps: bool,
}

/// Time of the next step, after one that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    AfterRest,
    /// At once, because there is more to do.
    AtOnce,
}

impl Worker {
    /// Returns a worker that takes its first step at once, and drops the step under way when it is
    /// stopped.
    pub const fn new(name: &'static str, period: Duration) -> Self {
        Self {
            name,
            period,
            rests_first: false,
            ends_steps: false,
        }
    }

    /// Makes the first step wait for a period.
    #[must_use]
    pub const fn resting_first(self) -> Self {
        Self {
            rests_first: true,
            ..self
        }
    }

    /// Lets a step under way end when the worker is stopped: for steps that are short.
    #[must_use]
    pub const fn ending_steps(self) -> Self {
        Self {
            ends_steps: true,
            ..self
        }
    }

    /// Takes steps until `stop`.
    pub async fn run<S>(self, stop: CancellationToken, step: impl Fn() -> S)
    where
        S: Future<Output = Result<Next>>,
    {
        self.run_with(stop, step, sleep).await;
    }

    async fn run_with<S, R>(
        self,
        stop: CancellationToken,
        step: impl Fn() -> S,
        rest: impl Fn(Duration) -> R,
    ) where
        S: Future<Output = Result<Next>>,
        R: Future<Output = ()>,
    {
        let mut rests = self.rests_first;
        loop {
            if rests {
                stop.run_until_cancelled(rest(self.period)).await;
            }
            if stop.is_cancelled() {
                return;
            }
            // In a box, because a step is large and a worker rests for most of its time.
            let taken = self.take(Box::pin(step()));
            let next = if self.ends_steps {
                Some(taken.await)
            } else {
                stop.run_until_cancelled(taken).await
            };
            rests = next != Some(Next::AtOnce);
        }
    }

    /// Takes one step and notes its end.
    async fn take(self, step: impl Future<Output = Result<Next>>) -> Next {
        let (worker, started) = (self.name, Instant::now());
        // A panic would end this worker for as long as the server runs.
        let ended = AssertUnwindSafe(step).catch_unwind().await;
        metrics::counter!("dermaga_worker_runs_total", "worker" => worker).increment(1);
        metrics::histogram!("dermaga_worker_run_seconds", "worker" => worker)
            .record(started.elapsed());
        match ended {
            Ok(Ok(next)) => return next,
            Ok(Err(error)) => {
                tracing::warn!(worker, %error, cause = ?error.source, "worker.failed");
            }
            Err(panic) => {
                let error = format!("panicked: {}", panic_message(&*panic));
                tracing::error!(worker, %error, "worker.failed");
            }
        }
        metrics::counter!("dermaga_worker_failures_total", "worker" => worker).increment(1);
        Next::AfterRest
    }
}

/// Returns the text that a panic was raised with.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::Error;

    const PERIOD: Duration = Duration::from_secs(3600);

    /// Runs a worker whose steps follow a script, and which is stopped in the rest after the last
    /// one; returns the diary of steps and rests.
    async fn diary(worker: Worker, script: &[fn() -> Result<Next>]) -> String {
        let stop = CancellationToken::new();
        let (diary, taken) = (RefCell::new(String::new()), Cell::new(0));
        let step = || async {
            let step = script[taken.get()];
            taken.set(taken.get() + 1);
            diary.borrow_mut().push_str("step ");
            tokio::task::yield_now().await;
            step()
        };
        let rest = |period| {
            assert_eq!(period, PERIOD);
            rest_after(&diary, taken.get() < script.len(), &stop)
        };
        worker.run_with(stop.clone(), step, rest).await;
        diary.into_inner().trim_end().to_owned()
    }

    async fn rest_after(diary: &RefCell<String>, is_more: bool, stop: &CancellationToken) {
        diary.borrow_mut().push_str("rest ");
        if !is_more {
            stop.cancel();
            std::future::pending::<()>().await;
        }
    }

    fn done() -> Result<Next> {
        Ok(Next::AfterRest)
    }

    #[tokio::test]
    async fn a_period_follows_each_step() {
        let worker = Worker::new("test", PERIOD);
        let seen = diary(worker, &[done, done]).await;
        assert_eq!(seen, "step rest step rest");
        let seen = diary(worker.resting_first(), &[done, done]).await;
        assert_eq!(seen, "rest step rest step rest");
    }

    #[tokio::test]
    async fn a_step_with_more_to_do_is_followed_at_once() {
        let worker = Worker::new("test", PERIOD);
        let seen = diary(worker, &[|| Ok(Next::AtOnce), done]).await;
        assert_eq!(seen, "step step rest");
    }

    #[tokio::test]
    async fn a_failed_step_ends_nothing() {
        let worker = Worker::new("test", PERIOD);
        let failing = || Err(Error::not_found("anything"));
        let seen = diary(worker, &[failing, done]).await;
        assert_eq!(seen, "step rest step rest");
    }

    #[tokio::test]
    async fn a_panicking_step_ends_nothing() {
        let worker = Worker::new("test", PERIOD);
        let seen = diary(worker, &[|| panic!("a panic of a test"), done]).await;
        assert_eq!(seen, "step rest step rest");
    }

    #[tokio::test]
    async fn a_stop_drops_the_step_under_way_or_lets_it_end() {
        for (worker, ended) in [
            (Worker::new("test", PERIOD), 0),
            (Worker::new("test", PERIOD).ending_steps(), 1),
        ] {
            let (stop, ends) = (CancellationToken::new(), Cell::new(0));
            let step = || async {
                stop.cancel();
                tokio::task::yield_now().await;
                ends.set(ends.get() + 1);
                Ok(Next::AtOnce)
            };
            worker.run(stop.clone(), step).await;
            assert_eq!(ends.get(), ended);
        }
    }

    #[tokio::test]
    async fn a_worker_that_was_stopped_takes_no_step() {
        let stop = CancellationToken::new();
        stop.cancel();
        let steps = Cell::new(0);
        let step = || async {
            steps.set(steps.get() + 1);
            Ok(Next::AfterRest)
        };
        let worker = Worker::new("test", PERIOD).ending_steps();
        worker.run(stop, step).await;
        assert_eq!(steps.get(), 0);
    }

    #[test]
    fn panics_are_told_by_their_message() {
        let texts: [Box<dyn Any + Send>; 3] = [
            Box::new("borrowed"),
            Box::new("owned".to_owned()),
            Box::new(7),
        ];
        let told = texts.each_ref().map(|text| panic_message(&**text));
        assert_eq!(told, ["borrowed", "owned", "no message"]);
    }
}
