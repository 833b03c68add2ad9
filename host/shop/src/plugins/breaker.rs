//! Suspends a function of a version that fails again and again, so that it is not called for
//! nothing.
//!
//! Functions are counted apart: a `price` that works says nothing about `manifests`, and one that
//! fails leaves the others callable. Each server counts for itself: what one has suspended, another
//! may still call. Nothing else is called instead; the refusal names the plugin, the function and
//! the time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::{Digest, Failure};

/// Rules for when a function of a version is suspended, and for how long.
#[derive(Debug, Clone, Copy, Default)]
pub struct BreakerRules {
    /// Failures in a row that suspend; 0 never does.
    pub failures: u32,
    /// Time until one call is let through to see if it works again.
    pub pause: TimeDelta,
}

impl BreakerRules {
    /// Returns `true` until a suspension is over. One that is longer than any began by a clock that
    /// was ahead.
    fn holds(self, until: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        until > now && until - now <= self.pause
    }
}

/// The breakers of every version that has failed here. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Breakers {
    rules: BreakerRules,
    states: Arc<Mutex<States>>,
}

/// State by version and function; a version without failures has no entry.
type States = HashMap<Digest, HashMap<&'static str, State>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Called as usual, after this many failures in a row.
    Closed(u32),
    /// Not called until then.
    Open(DateTime<Utc>),
    /// One call is under way; its result decides.
    Trying,
}

/// Permission to call a function of a version. Dropped without [`Permit::succeeded`] or
/// [`Permit::failed`], nothing was learned.
#[derive(Debug)]
pub(super) struct Permit {
    breakers: Breakers,
    digest: Digest,
    function: &'static str,
    is_trial: bool,
}

/// Not before then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suspended {
    pub(super) until: DateTime<Utc>,
}

/// Returns true for a failure of the version's own: a trap, a limit, an answer that breaks the
/// contract. A machine without a free place and an input of the wrong shape are not; a refusal by
/// its rule is no failure at all. A deadline counts on a slow machine too: more calls would make it
/// slower.
pub(super) const fn counts(failure: &Failure) -> bool {
    match failure {
        Failure::FuelExhausted { .. }
        | Failure::MemoryExceeded { .. }
        | Failure::OutputTooLarge { .. }
        | Failure::StackOverflow { .. }
        | Failure::DeadlineExceeded { .. }
        | Failure::Trapped(_)
        | Failure::MalformedOutput { .. } => true,
        // Faults of the host or of the caller, by which no version is judged.
        Failure::BadInput(_)
        | Failure::UnknownFunction { .. }
        | Failure::Busy { .. }
        | Failure::Engine(_) => false,
    }
}

impl Breakers {
    pub(super) fn new(rules: BreakerRules) -> Self {
        Self {
            rules,
            states: Arc::default(),
        }
    }

    /// Permission to call a function of a version, unless it is suspended. After the pause one call
    /// is let through; until it has ended, others are not.
    pub(super) fn admit(
        &self,
        digest: Digest,
        function: &'static str,
        now: DateTime<Utc>,
    ) -> Result<Permit, Suspended> {
        let mut states = self.lock();
        let state = states
            .get_mut(&digest)
            .and_then(|functions| functions.get_mut(function));
        let is_trial = match state {
            None | Some(State::Closed(_)) => false,
            Some(State::Open(until)) if self.rules.holds(*until, now) => {
                return Err(Suspended { until: *until });
            }
            Some(open @ State::Open(_)) => {
                *open = State::Trying;
                true
            }
            Some(State::Trying) => return Err(Suspended { until: now }),
        };
        Ok(Permit {
            breakers: self.clone(),
            digest,
            function,
            is_trial,
        })
    }

    /// The latest moment until which a function of a version is suspended; `now` while one is tried
    /// again.
    pub(super) fn suspended_until(
        &self,
        digest: Digest,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let states = self.lock();
        let states = states.get(&digest)?.values();
        states.filter_map(|state| state.until(now)).max()
    }

    /// Forgets the failures of a version, whatever functions they were in; returns true when one of
    /// them was suspended.
    pub(super) fn reset(&self, digest: Digest) -> bool {
        let before = self.lock().remove(&digest).unwrap_or_default();
        before
            .values()
            .any(|state| matches!(state, State::Open(_) | State::Trying))
    }

    fn lock(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Open(until) => Some(*until),
            Self::Trying => Some(now),
            Self::Closed(_) => None,
        }
    }
}

impl Permit {
    /// Notes that the function answered; returns true when that ends a suspension.
    pub(super) fn succeeded(mut self) -> bool {
        let was_trial = std::mem::take(&mut self.is_trial);
        let mut states = self.breakers.lock();
        let Some(functions) = states.get_mut(&self.digest) else {
            return false;
        };
        // Of calls that overlap, one that began before the suspension does not end it.
        let is_over = match functions.get(self.function) {
            Some(State::Closed(_)) => false,
            Some(State::Trying) if was_trial => true,
            _ => return false,
        };
        functions.remove(self.function);
        if functions.is_empty() {
            states.remove(&self.digest);
        }
        is_over
    }

    /// Notes a failure by the version's own fault; returns until when that suspends the function,
    /// if it does.
    pub(super) fn failed(mut self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let was_trial = std::mem::take(&mut self.is_trial);
        let BreakerRules { failures, pause } = self.breakers.rules;
        let mut states = self.breakers.lock();
        let functions = states.entry(self.digest).or_default();
        let state = functions.entry(self.function).or_insert(State::Closed(0));
        let reached = match state {
            State::Closed(count) => {
                *count = count.saturating_add(1);
                failures > 0 && *count >= failures
            }
            State::Trying => was_trial,
            State::Open(_) => false,
        };
        if !reached {
            return None;
        }
        let until = now.checked_add_signed(pause).unwrap_or(now);
        *state = State::Open(until);
        Some(until)
    }
}

impl Drop for Permit {
    /// A trial that came to nothing leaves the next call to try.
    fn drop(&mut self) {
        if !self.is_trial {
            return;
        }
        let mut states = self.breakers.lock();
        let state = states
            .get_mut(&self.digest)
            .and_then(|functions| functions.get_mut(self.function));
        if let Some(state @ State::Trying) = state {
            *state = State::Open(DateTime::<Utc>::MIN_UTC);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn breakers() -> (Breakers, Digest) {
        let rules = BreakerRules {
            failures: 3,
            pause: TimeDelta::seconds(60),
        };
        (Breakers::new(rules), Digest::of(b"a component"))
    }

    /// Fails so often that the version is suspended from second 0 to 60.
    fn suspended() -> (Breakers, Digest) {
        let (breakers, digest) = breakers();
        for expected in [None, None, Some(moment(60))] {
            let permit = breakers.admit(digest, "price", moment(0)).unwrap();
            assert_eq!(permit.failed(moment(0)), expected);
        }
        (breakers, digest)
    }

    #[test]
    fn only_failures_in_a_row_suspend() {
        let (breakers, digest) = breakers();
        for _ in 0..10 {
            for _ in 0..2 {
                let permit = breakers.admit(digest, "price", moment(0)).unwrap();
                assert_eq!(permit.failed(moment(0)), None);
            }
            assert!(
                !breakers
                    .admit(digest, "price", moment(0))
                    .unwrap()
                    .succeeded()
            );
        }
        assert!(
            breakers
                .admit(Digest::of(b"another"), "price", moment(0))
                .is_ok()
        );
    }

    #[test]
    fn functions_are_counted_apart() {
        let (breakers, digest) = breakers();
        for _ in 0..3 {
            assert!(
                !breakers
                    .admit(digest, "price", moment(0))
                    .unwrap()
                    .succeeded()
            );
            breakers
                .admit(digest, "manifests", moment(0))
                .unwrap()
                .failed(moment(0));
        }
        assert!(breakers.admit(digest, "manifests", moment(1)).is_err());
        assert!(breakers.admit(digest, "price", moment(1)).is_ok());
        assert_eq!(
            breakers.suspended_until(digest, moment(1)),
            Some(moment(60))
        );
        // A version is reset whole.
        assert!(breakers.reset(digest));
        assert!(breakers.admit(digest, "manifests", moment(1)).is_ok());
    }

    #[test]
    fn one_call_tries_after_the_pause_and_decides() {
        let (breakers, digest) = suspended();
        let until = Suspended { until: moment(60) };
        assert_eq!(
            breakers.admit(digest, "price", moment(59)).unwrap_err(),
            until
        );
        let trial = breakers.admit(digest, "price", moment(60)).unwrap();
        assert!(breakers.admit(digest, "price", moment(61)).is_err());
        assert_eq!(trial.failed(moment(61)), Some(moment(121)));
        assert!(breakers.admit(digest, "price", moment(120)).is_err());
        assert!(
            breakers
                .admit(digest, "price", moment(121))
                .unwrap()
                .succeeded()
        );
        assert!(breakers.admit(digest, "price", moment(121)).is_ok());
    }

    #[test]
    fn a_trial_that_comes_to_nothing_leaves_the_next_to_try() {
        let (breakers, digest) = suspended();
        drop(breakers.admit(digest, "price", moment(60)).unwrap());
        assert!(breakers.suspended_until(digest, moment(60)).is_some());
        assert!(
            breakers
                .admit(digest, "price", moment(60))
                .unwrap()
                .succeeded()
        );
    }

    #[test]
    fn calls_that_began_before_the_suspension_change_nothing() {
        let (breakers, digest) = breakers();
        let permits: Vec<_> = (0..5)
            .map(|_| breakers.admit(digest, "price", moment(0)).unwrap())
            .collect();
        let suspensions = permits
            .into_iter()
            .filter_map(|permit| permit.failed(moment(0)));
        assert_eq!(suspensions.count(), 1);
        let (breakers, digest) = suspended();
        assert!(breakers.reset(digest) && !breakers.reset(digest));
        let late = breakers.admit(digest, "price", moment(0)).unwrap();
        for _ in 0..3 {
            breakers
                .admit(digest, "price", moment(0))
                .unwrap()
                .failed(moment(0));
        }
        assert!(!late.succeeded());
        assert!(breakers.admit(digest, "price", moment(1)).is_err());
    }

    #[test]
    fn zero_never_suspends() {
        let rules = BreakerRules {
            failures: 0,
            pause: TimeDelta::seconds(60),
        };
        let (breakers, digest) = (Breakers::new(rules), Digest::of(b"a component"));
        for _ in 0..100 {
            let permit = breakers.admit(digest, "price", moment(0)).unwrap();
            assert_eq!(permit.failed(moment(0)), None);
        }
    }

    #[test]
    fn a_suspension_by_a_clock_that_was_ahead_is_over_when_it_is_right() {
        let (breakers, digest) = breakers();
        let ahead = moment(100 * 86_400);
        for _ in 0..3 {
            breakers
                .admit(digest, "price", ahead)
                .unwrap()
                .failed(ahead);
        }
        assert!(breakers.admit(digest, "price", ahead).is_err());
        assert!(breakers.admit(digest, "price", moment(0)).is_ok());
    }
}
