//! Window of one party on this server: which requests may pass without a word of the database.
//!
//! Windows follow each other without a gap. Requests of the window before count for the part of it that the
//! last minute still covers, so that the end of one window and the beginning of the next share one limit.

use std::time::{Duration, Instant};

use super::store::Taken;

/// Part of a limit that a server admits before it asks, so that quiet parties cost the database nothing. Three
/// servers exceed a limit by less than a tenth through it.
const FREE: u32 = 40;
/// Smallest portion whose rest asks for the next one. The rest of a smaller one would be kept from other servers.
const ASKS_AHEAD: u32 = 4;

/// Limit of a class, and how it is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Requests in a window.
    pub(super) limit: u32,
    pub(super) length: Duration,
    /// True when other servers count in the same windows.
    pub(super) is_shared: bool,
}

impl Rule {
    fn millis(&self) -> u128 {
        self.length.as_millis().max(1)
    }

    /// Returns how many of `before` requests still count when `left` of the window is to come, as the statement
    /// of the database does.
    fn fading(&self, before: u32, left: Duration) -> u32 {
        // The millisecond that has begun is over, so that a party at the very limit loses nothing at the edge.
        let covered = millis_up(left).saturating_sub(1);
        let counted = u128::from(before) * covered / self.millis();
        u32::try_from(counted).unwrap_or(u32::MAX)
    }

    /// Returns how much of a window is left when no more than `most` of `before` requests count any more.
    fn left_when(&self, before: u32, most: u32) -> Duration {
        let millis = self.millis();
        // The longest time of which no more than `most` count, by the division of `fading`, and its millisecond.
        let left = ((u128::from(most) + 1) * millis - 1).checked_div(u128::from(before));
        let left = left.map_or(millis, |covered| millis.min(covered + 1));
        Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

fn millis_up(duration: Duration) -> u128 {
    duration.as_nanos().div_ceil(1_000_000)
}

/// Requests of one party in one window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Beginning by this server's clock, which names the window.
    pub(super) began: Instant,
    ends: Instant,
    /// Requests in the window before.
    before: u32,
    /// Requests admitted here.
    admitted: u32,
    /// Requests that may be admitted here: the free ones, and the portions.
    allowed: u32,
    /// Requests that all servers had taken when the database was asked last.
    taken: u32,
    /// Free requests that the database does not know of.
    owed: u32,
    /// Number of requests left at which the next portion is taken before a request waits for it.
    low: Option<u32>,
    is_asking: bool,
    /// True when the database is not asked, and all requests are those admitted here.
    is_alone: bool,
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
    /// Begins the first window of a party.
    pub(super) fn begin(now: Instant, rule: Rule) -> Self {
        Self::after(0, now, now, rule)
    }

    /// Begins the window that follows one with `before` requests.
    fn after(before: u32, began: Instant, now: Instant, rule: Rule) -> Self {
        let mut window = Self {
            began,
            ends: began + rule.length,
            before,
            admitted: 0,
            allowed: 0,
            taken: 0,
            owed: 0,
            low: Some(0),
            is_asking: false,
            is_alone: !rule.is_shared,
        };
        if rule.is_shared {
            window.owed = window.room(now, rule) / FREE;
            window.allowed = window.owed;
        }
        window
    }

    /// Begins the next window when this one has ended.
    pub(super) fn follow(&mut self, now: Instant, rule: Rule) {
        if now < self.ends {
            return;
        }
        // After a whole window without a request, none of an earlier one counts.
        *self = if now < self.ends + rule.length {
            Self::after(self.past(), self.ends, now, rule)
        } else {
            Self::begin(now, rule)
        };
    }

    /// Returns the requests that count in the next window.
    fn past(&self) -> u32 {
        if self.is_alone || self.owed > 0 {
            self.admitted
        } else {
            self.taken
        }
    }

    /// Returns the requests of this window that no other may take.
    fn counted(&self) -> u32 {
        if self.is_alone {
            self.admitted
        } else {
            self.taken.saturating_add(self.owed)
        }
    }

    fn left(&self, now: Instant) -> Duration {
        self.ends.saturating_duration_since(now)
    }

    /// Returns the requests that no server has taken, as far as this one knows.
    fn room(&self, now: Instant, rule: Rule) -> u32 {
        let fading = rule.fading(self.before, self.left(now));
        rule.limit
            .saturating_sub(fading.saturating_add(self.counted()))
    }

    /// Admits a request if one is left.
    pub(super) fn admit(&mut self, now: Instant, rule: Rule) -> Step {
        let has_room = self.room(now, rule) > 0;
        if self.admitted < self.allowed || (self.is_alone && has_room) {
            self.admitted = self.admitted.saturating_add(1);
            Step::Admitted
        } else if has_room {
            Step::Wait
        } else {
            Step::Refused
        }
    }

    /// Returns the requests that may still be admitted, as far as this server knows.
    pub(super) fn remaining(&self, now: Instant, rule: Rule) -> u32 {
        let held = self.allowed.saturating_sub(self.admitted);
        held.saturating_add(self.room(now, rule))
    }

    /// Returns the time after which one request more may be admitted than now.
    pub(super) fn more_in(&self, now: Instant, rule: Rule) -> Duration {
        let left = self.left(now);
        let more = self.room(now, rule).saturating_add(1);
        let most = rule.limit.checked_sub(self.counted());
        match most.and_then(|rest| rest.checked_sub(more)) {
            Some(most) => left.saturating_sub(rule.left_when(self.before, most)),
            // All that is left of this window cannot help: the next one sees these requests fade.
            None => {
                let most = rule.limit.saturating_sub(more);
                let until = rule.length - rule.left_when(self.counted(), most).min(rule.length);
                left + until
            }
        }
    }

    /// Returns the free requests to be counted, when the next portion is to be taken; once for each portion.
    pub(super) fn ask(&mut self, step: Step, now: Instant, rule: Rule) -> Option<u32> {
        let held = self.allowed.saturating_sub(self.admitted);
        let is_low = step == Step::Wait || self.low.is_some_and(|low| held <= low);
        let is_due = is_low && !self.is_asking && !self.is_alone && self.room(now, rule) > 0;
        self.is_asking |= is_due;
        is_due.then_some(self.owed)
    }

    /// Adds a portion, if it was asked for in this window.
    pub(super) fn take(&mut self, began: Instant, taken: Taken, now: Instant) {
        // Its window is over, or this server counts alone since it did not come in time.
        if self.began != began || !self.is_asking {
            return;
        }
        let count = |number: i64| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
        let portion = count(taken.portion);
        self.is_asking = false;
        self.owed = 0;
        self.low = (portion >= ASKS_AHEAD).then_some(portion / 4);
        self.allowed = self.allowed.saturating_add(portion);
        self.taken = count(taken.used);
        self.before = count(taken.used_before);
        self.ends = now + Duration::from_millis(taken.left.max(0).unsigned_abs());
    }

    /// Holds the whole limit on this server, since the database does not answer.
    pub(super) fn count_alone(&mut self) {
        self.is_asking = false;
        self.is_alone = true;
        self.allowed = self.admitted;
    }
}

#[cfg(test)]
mod tests;
