//! A gateway that does not answer is left alone for a while, so that requests fail at once and it
//! can recover.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;
/// Time it stays open before one question is let through.
const PAUSE: TimeDelta = TimeDelta::seconds(30);

#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// No questions before this moment; the first one after it is a trial.
    closed_until: Option<DateTime<Utc>>,
}

impl Breaker {
    /// Returns true when a question may be asked now. After the pause exactly one may, until its
    /// answer closes the breaker or another pause has passed.
    pub(super) fn admits(&self, now: DateTime<Utc>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.closed_until {
            None => true,
            Some(until) if is_pause(now, until) => false,
            Some(_) => {
                state.closed_until = Some(now + PAUSE);
                true
            }
        }
    }

    pub(super) fn succeeded(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// Notes a failure; true when it opened the breaker.
    pub(super) fn failed(&self, now: DateTime<Utc>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES {
            return false;
        }
        let was_closed = state.closed_until.is_none();
        state.closed_until = Some(now + PAUSE);
        was_closed
    }

    /// Returns true when the last answers were failures in a row; also while a trial is due.
    pub(super) fn is_open(&self) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed_until.is_some()
    }

    /// Returns the moment at which the next question is let through, while it is open.
    pub(super) fn open_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed_until.filter(|until| is_pause(now, *until))
    }
}

/// Returns `true` while a pause lasts. One that is longer than any began by a clock that was ahead.
fn is_pause(now: DateTime<Utc>, until: DateTime<Utc>) -> bool {
    now < until && until - now <= PAUSE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_tries_once_after_the_pause() {
        let breaker = Breaker::default();
        let now = DateTime::UNIX_EPOCH;
        for _ in 1..FAILURES {
            assert!(!breaker.failed(now));
        }
        breaker.succeeded();
        for _ in 1..FAILURES {
            assert!(!breaker.failed(now) && breaker.admits(now));
        }
        assert!(breaker.failed(now), "the fifth in a row opens it");
        assert!(!breaker.admits(now + PAUSE - TimeDelta::seconds(1)));
        let later = now + PAUSE;
        assert!(breaker.admits(later) && !breaker.admits(later), "one trial");
        assert!(!breaker.failed(later), "it was open already");
        assert!(!breaker.admits(later + TimeDelta::seconds(29)));
        assert!(breaker.admits(later + PAUSE));
        breaker.succeeded();
        assert!(breaker.admits(later) && breaker.open_until(later).is_none());
    }

    #[test]
    fn a_pause_by_a_clock_that_was_ahead_is_over_when_it_is_right() {
        let (breaker, now) = (Breaker::default(), DateTime::UNIX_EPOCH);
        let ahead = now + TimeDelta::days(100);
        for _ in 0..FAILURES {
            breaker.failed(ahead);
        }
        assert!(!breaker.admits(ahead));
        assert!(breaker.open_until(now).is_none() && breaker.admits(now));
    }
}
