//! Clock of the application, passed as an argument.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::steadiness::{Jump, Reading, Steadiness};
use crate::calendar;

/// Source of "now": the system, or a clock that runs like it and is moved on purpose.
///
/// Moments are cut to milliseconds, which both engines store exactly. Clones are one clock.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Arc<Source>,
    zone: Tz,
}

#[derive(Debug)]
struct Source {
    /// Milliseconds that it was moved by on purpose; `None` when it is the system's.
    shift: Option<AtomicI64>,
    /// Milliseconds by which the system's time is taken to be wrong.
    fault: AtomicI64,
    started: Instant,
    steadiness: Mutex<Steadiness>,
}

impl Clock {
    pub fn system() -> Self {
        Self::of(None)
    }

    /// A clock that runs like the system's and can be moved with [`Clock::advance`].
    pub fn movable() -> Self {
        Self::of(Some(AtomicI64::new(0)))
    }

    fn of(shift: Option<AtomicI64>) -> Self {
        let started = Instant::now();
        let first = Reading {
            wall: system_millis(),
            steady: 0,
        };
        Self {
            source: Arc::new(Source {
                shift,
                fault: AtomicI64::new(0),
                started,
                steadiness: Mutex::new(Steadiness::from(first)),
            }),
            zone: Tz::UTC,
        }
    }

    /// The same clock, whose days and dates are those of a zone: `BILLING_TIMEZONE`.
    #[must_use]
    pub fn in_zone(&self, zone: Tz) -> Self {
        Self {
            source: Arc::clone(&self.source),
            zone,
        }
    }

    /// Zone whose days and months are counted; UTC by default.
    pub const fn zone(&self) -> Tz {
        self.zone
    }

    /// A moment as people read it: `2027-01-01 00:00 WIB`.
    pub fn written(&self, at: DateTime<Utc>) -> String {
        calendar::written(self.zone, at)
    }

    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.read().wall).unwrap_or_default()
    }

    /// Reads the wall clock beside a monotonic one. A move on purpose changes both.
    fn read(&self) -> Reading {
        let shift = self.shift_millis();
        let fault = self.source.fault.load(Ordering::SeqCst);
        let counted = self.source.started.elapsed().as_millis();
        Reading {
            wall: system_millis().saturating_add(shift).saturating_add(fault),
            steady: i64::try_from(counted)
                .unwrap_or(i64::MAX)
                .saturating_add(shift),
        }
    }

    fn shift_millis(&self) -> i64 {
        let shift = self.source.shift.as_ref();
        shift.map_or(0, |shift| shift.load(Ordering::SeqCst))
    }

    /// Returns the jump that makes this clock doubtful, compared with a monotonic one: nothing that
    /// depends on the time may be done meanwhile.
    pub fn jump(&self) -> Option<Jump> {
        let steadiness = self.source.steadiness.lock();
        let mut steadiness = steadiness.unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that readings are compared in their order.
        steadiness.check(self.read())
    }

    /// Returns the offset by which it was moved on purpose; `None` when it cannot be moved.
    pub fn offset(&self) -> Option<TimeDelta> {
        self.source.shift.as_ref()?;
        Some(TimeDelta::milliseconds(self.shift_millis()))
    }

    /// Moves a movable clock by `by` on purpose; the system's clock stays.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(shift) = &self.source.shift {
            shift.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }

    /// Sets a movable clock's offset from the system's time on purpose; the system's clock stays.
    pub fn set_offset(&self, offset: TimeDelta) {
        if let Some(shift) = &self.source.shift {
            shift.store(offset.num_milliseconds(), Ordering::SeqCst);
        }
    }

    /// Lets a movable clock step as a wrong time server makes the system's: without time passing.
    pub fn step(&self, by: TimeDelta) {
        if self.source.shift.is_some() {
            let fault = &self.source.fault;
            fault.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }
}

fn system_millis() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the system for the time"
    )]
    Utc::now().timestamp_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_clock_is_not_moved() {
        let clock = Clock::system();
        let before = clock.now();
        clock.advance(TimeDelta::days(1));
        clock.set_offset(TimeDelta::days(1));
        clock.step(TimeDelta::days(1));
        assert_eq!(clock.offset(), None);
        assert!(clock.now() - before < TimeDelta::hours(1));
    }

    #[test]
    fn moves_add_up_and_an_offset_replaces_them() {
        let clock = Clock::movable();
        assert_eq!(clock.offset(), Some(TimeDelta::zero()));
        clock.advance(TimeDelta::days(1));
        clock.advance(TimeDelta::hours(-1));
        assert_eq!(clock.offset(), Some(TimeDelta::hours(23)));
        clock.set_offset(TimeDelta::days(-3));
        assert_eq!(clock.offset(), Some(TimeDelta::days(-3)));
    }

    /// Copies show one time: a server has one clock.
    #[test]
    fn a_copy_moves_with_its_clock() {
        let clock = Clock::movable();
        let copy = clock.clone();
        clock.advance(TimeDelta::days(7));
        assert_eq!(copy.offset(), Some(TimeDelta::days(7)));
    }

    #[test]
    fn a_wrong_time_server_is_no_move_on_purpose() {
        let clock = Clock::movable();
        let before = clock.now();
        clock.step(TimeDelta::days(2));
        assert_eq!(clock.offset(), Some(TimeDelta::zero()));
        assert!(clock.now() - before >= TimeDelta::days(2));
    }
}
