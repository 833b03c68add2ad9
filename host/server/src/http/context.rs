//! The clock of the request being answered, wherever in its task one asks.

use std::future::Future;

use chrono::{DateTime, Utc};
use dermaga_shop::db::Clock;

tokio::task_local! {
    static CLOCK: Clock;
}

/// Runs `work` by this clock.
pub(crate) fn within<F: Future>(clock: Clock, work: F) -> impl Future<Output = F::Output> {
    CLOCK.scope(clock, work)
}

/// Moment written on an answer: by the application's clock, which tests move.
pub(super) fn now() -> DateTime<Utc> {
    CLOCK
        .try_with(Clock::now)
        .unwrap_or_else(|_| Clock::system().now())
}
