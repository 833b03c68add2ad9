//! Time as an argument.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};

/// Where "now" comes from: the system, or a clock that tests move by hand.
///
/// Moments are cut to milliseconds, which both engines store exactly.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    /// Milliseconds to add to the system's time.
    Shifted(Arc<AtomicI64>),
}

impl Clock {
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that goes on like the system's and can be moved with [`Clock::advance`].
    pub fn movable() -> Self {
        Self(Source::Shifted(Arc::new(AtomicI64::new(0))))
    }

    pub fn now(&self) -> DateTime<Utc> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that asks the system for the time"
        )]
        let system = Utc::now();
        let shift = match &self.0 {
            Source::System => 0,
            Source::Shifted(shift) => shift.load(Ordering::SeqCst),
        };
        let millis = system.timestamp_millis().saturating_add(shift);
        DateTime::from_timestamp_millis(millis).unwrap_or(system)
    }

    /// Moves a movable clock; the system's clock stays.
    pub fn advance(&self, by: TimeDelta) {
        if let Source::Shifted(shift) = &self.0 {
            shift.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }
}
