//! Time of a request that works on many things one after the other, each for itself: it ends between two of them, and says
//! how far it came, before it would be given up in the middle of one.

use std::time::{Duration, Instant};

/// Time that is left for further things.
#[derive(Debug, Clone, Copy)]
pub struct TimeBudget {
    time: Duration,
    begun: Instant,
    /// Begin of the latest thing.
    latest: Option<Instant>,
    /// Longest time that one took.
    slowest: Duration,
}

impl TimeBudget {
    /// Begins a budget of this time.
    pub fn begin(time: Duration) -> Self {
        Self {
            time,
            begun: Instant::now(),
            latest: None,
            slowest: Duration::ZERO,
        }
    }

    /// Returns true when another thing may be begun: the first always, so that a request comes further each time; a
    /// later one when there is time for one as slow as the slowest before it.
    pub fn allows_another(&mut self) -> bool {
        self.allows_another_at(Instant::now())
    }

    fn allows_another_at(&mut self, now: Instant) -> bool {
        let Some(latest) = self.latest.replace(now) else {
            return true;
        };
        self.slowest = self.slowest.max(now.duration_since(latest));
        now.duration_since(self.begun) + self.slowest <= self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_thing_has_to_fit_as_the_slowest_did() {
        let mut budget = TimeBudget::begin(Duration::from_secs(20));
        let at = |seconds| budget.begun + Duration::from_secs(seconds);
        let moments = [3, 5, 12, 13, 14].map(at);
        let allowed = moments.map(|moment| budget.allows_another_at(moment));
        // The second took 7 seconds, and 13 with 7 more are all there is.
        assert_eq!(allowed, [true, true, true, true, false]);
    }

    #[test]
    fn the_first_thing_is_done_without_any_time() {
        let mut budget = TimeBudget::begin(Duration::ZERO);
        let later = budget.begun + Duration::from_secs(60);
        assert!(budget.allows_another_at(later));
        assert!(!budget.allows_another_at(later));
    }
}
