//! What is known of the request being answered, wherever in its task one asks.

use std::future::Future;

use chrono::{DateTime, Utc};

use crate::db::Clock;

#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) request_id: String,
    pub(super) clock: Clock,
}

tokio::task_local! {
    static CURRENT: Context;
}

/// Runs `work` as part of the request that `context` describes.
pub(super) fn within<F: Future>(context: Context, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(context, work)
}

/// The id of the request being answered, for records that shall be traceable to it.
pub fn request_id() -> Option<String> {
    CURRENT.try_with(|context| context.request_id.clone()).ok()
}

/// The moment that goes on an answer: by the application's clock, which tests move.
pub(super) fn now() -> DateTime<Utc> {
    CURRENT
        .try_with(|context| context.clock.now())
        .unwrap_or_else(|_| Clock::system().now())
}
