//! Two controllers that disagree about one object: the other is corrected later and later, so that
//! the customer's pods are not restarted every few seconds for ever.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::model::Instance;

const FIRST_WAIT: TimeDelta = TimeDelta::seconds(4);
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);
/// Corrections in a row that make a fight, which administrators must end; one is a repair.
const FIGHT: i64 = 3;

/// Corrections in a row, and the time until which further changes are left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Contest {
    pub(super) corrections: i64,
    pub(super) quiet_until: Option<DateTime<Utc>>,
}

impl Contest {
    pub(super) const fn of(instance: &Instance) -> Self {
        Self {
            corrections: instance.corrections,
            quiet_until: instance.quiet_until,
        }
    }

    /// Returns the state after a pass that corrected something, or found nothing to correct. Only a
    /// quiet time without another change ends the row.
    pub(super) fn after(self, corrected: bool, now: DateTime<Utc>) -> Self {
        if !corrected {
            let is_over = self.quiet_until.is_none_or(|until| until <= now);
            return if is_over { Self::default() } else { self };
        }
        let corrections = self.corrections.saturating_add(1);
        let doublings = u32::try_from(corrections.clamp(1, 16)).unwrap_or(16) - 1;
        let wait = FIRST_WAIT
            .checked_mul(2_i32.saturating_pow(doublings))
            .map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT));
        Self {
            corrections,
            quiet_until: Some(now + wait),
        }
    }

    pub(super) const fn is_fight(self) -> bool {
        self.corrections >= FIGHT
    }

    /// Returns the time left to leave the instance alone; `None` when there is none.
    pub(super) fn wait(self, now: DateTime<Utc>) -> Option<Duration> {
        let until = self.quiet_until?;
        (until - now).to_std().ok().filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn corrections_come_later_and_later_and_a_quiet_time_ends_them() {
        let mut contest = Contest::default();
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..14 {
            contest = contest.after(true, now);
            let wait = contest.wait(now).unwrap().as_secs();
            // Looking in between finds nothing to correct and does not end the row.
            assert_eq!(contest.after(false, now), contest);
            waits.push(wait);
            now += TimeDelta::seconds(i64::try_from(wait).unwrap());
        }
        assert_eq!(waits[..5], [4, 8, 16, 32, 64]);
        assert_eq!(waits[13], 3600);
        assert!(contest.is_fight());
        assert_eq!(contest.after(false, now), Contest::default());
    }
}
