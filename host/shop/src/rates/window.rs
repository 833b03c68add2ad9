//! Window of one party on this server: which requests may pass without a word of the database.

use std::time::{Duration, Instant};

use super::store::Taken;

/// Part of a limit that a server admits before it asks, so that quiet parties cost the database nothing. Three
/// servers exceed a limit by less than a tenth through it.
const FREE: u32 = 40;

/// Requests of one party in one window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) began: Instant,
    pub(super) ends: Instant,
    /// Requests admitted here.
    admitted: u32,
    /// Requests that may be admitted here: the free ones, and the portions.
    allowed: u32,
    /// Requests that no server had taken when the database was asked last.
    untaken: u32,
    /// Free requests that the database does not know of.
    owed: u32,
    /// Number of requests left at which the next portion is taken.
    low: u32,
    is_asking: bool,
}

/// Result of [`Window::admit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Admitted,
    Refused,
    /// The next portion decides.
    Wait,
}

impl Window {
    /// Begins a window that other servers count in, too.
    pub(super) fn shared(now: Instant, limit: u32, length: Duration) -> Self {
        let free = limit / FREE;
        Self {
            allowed: free,
            untaken: limit - free,
            owed: free,
            ..Self::alone(now, limit, length)
        }
    }

    /// Begins a window of this server alone.
    pub(super) fn alone(now: Instant, limit: u32, length: Duration) -> Self {
        Self {
            began: now,
            ends: now + length,
            admitted: 0,
            allowed: limit,
            untaken: 0,
            owed: 0,
            low: 0,
            is_asking: false,
        }
    }

    /// Admits a request if one is left.
    pub(super) fn admit(&mut self) -> Step {
        if self.admitted < self.allowed {
            self.admitted += 1;
            Step::Admitted
        } else if self.untaken == 0 {
            Step::Refused
        } else {
            Step::Wait
        }
    }

    /// Returns the requests that may still be admitted, as far as this server knows.
    pub(super) fn remaining(&self) -> u32 {
        (self.allowed - self.admitted).saturating_add(self.untaken)
    }

    /// Returns the free requests to be counted, when the next portion is to be taken; once for each portion.
    pub(super) fn ask(&mut self) -> Option<u32> {
        let is_low = self.allowed - self.admitted <= self.low;
        let is_due = is_low && self.untaken > 0 && !self.is_asking;
        self.is_asking |= is_due;
        is_due.then_some(self.owed)
    }

    /// Adds a portion, if it was asked for in this window.
    pub(super) fn take(&mut self, began: Instant, taken: Taken, limit: u32, now: Instant) {
        if self.began != began || !self.is_asking {
            return;
        }
        let count = |number: i64| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
        let portion = count(taken.portion);
        self.is_asking = false;
        self.owed = 0;
        self.low = portion / 4;
        self.allowed = self.allowed.saturating_add(portion);
        self.untaken = limit.saturating_sub(count(taken.used));
        self.ends = now + Duration::from_millis(taken.left.max(0).unsigned_abs());
    }

    /// Holds the whole limit on this server, since the database does not answer.
    pub(super) fn count_alone(&mut self, limit: u32) {
        self.is_asking = false;
        self.allowed = self.allowed.max(limit);
        self.untaken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn drain(window: &mut Window) -> u32 {
        let steps = std::iter::from_fn(|| Some(window.admit()));
        let admitted = steps.take_while(|step| *step == Step::Admitted).count();
        u32::try_from(admitted).unwrap()
    }

    #[test]
    fn a_quiet_party_is_admitted_without_asking() {
        let now = Instant::now();
        let mut window = Window::shared(now, 100, MINUTE);
        assert_eq!(window.admit(), Step::Admitted);
        assert_eq!(window.ask(), None);
        assert_eq!(window.remaining(), 99);
        assert_eq!(window.admit(), Step::Admitted);
        assert_eq!(window.ask(), Some(2), "the free ones are used up");
        assert_eq!(window.ask(), None, "one question at a time");
        assert_eq!(window.admit(), Step::Wait);
    }

    #[test]
    fn a_small_limit_has_no_free_requests() {
        let mut window = Window::shared(Instant::now(), 1, MINUTE);
        assert_eq!(window.admit(), Step::Wait);
        assert_eq!(window.ask(), Some(0));
    }

    #[test]
    fn portions_are_admitted_until_none_is_left() {
        let now = Instant::now();
        let mut window = Window::shared(now, 60, MINUTE);
        assert_eq!(drain(&mut window), 1);
        assert_eq!(window.ask(), Some(1));
        let taken = |used, portion, left| Taken {
            used,
            portion,
            left,
        };
        window.take(now, taken(40, 20, 5_000), 60, now);
        assert_eq!(window.ends, now + Duration::from_secs(5), "the database's");
        assert_eq!(window.remaining(), 40);
        assert_eq!(drain(&mut window), 20);
        assert_eq!(window.ask(), Some(0));
        window.take(now, taken(60, 0, 5_000), 60, now);
        assert_eq!(window.admit(), Step::Refused);
        assert_eq!(window.ask(), None, "refused without another question");
    }

    #[test]
    fn an_answer_to_an_earlier_window_changes_nothing() {
        let now = Instant::now();
        let mut window = Window::shared(now + MINUTE, 60, MINUTE);
        window.admit();
        window.ask();
        let taken = Taken {
            used: 60,
            portion: 9,
            left: 1,
        };
        window.take(now, taken, 60, now + MINUTE);
        assert_eq!(window.remaining(), 59);
        window.count_alone(60);
        window.take(now + MINUTE, taken, 60, now + MINUTE);
        assert_eq!(drain(&mut window), 59, "the limit, and no portion on top");
    }
}
