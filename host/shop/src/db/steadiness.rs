//! Compares a wall clock that may be set with a monotonic one beside it.

use chrono::TimeDelta;

/// Milliseconds by which a slowly disciplined clock may drift between two looks.
const TOLERANCE: i64 = 60_000;
/// Time for which a clock must run steadily after a jump before it is believed again.
pub const HOLD: TimeDelta = TimeDelta::minutes(10);

/// Both clocks at one moment, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// Milliseconds since 1970, by the system's clock.
    pub(super) wall: i64,
    /// Milliseconds since some moment; never set.
    pub(super) steady: i64,
}

/// A wall clock that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// Amount ahead of the time that has passed; negative when behind it.
    pub by: TimeDelta,
    /// Time until it is believed again, if it runs steadily.
    pub believed_in: TimeDelta,
}

#[derive(Debug)]
pub(super) struct Steadiness {
    /// The last moment at which the clock was believed.
    base: Reading,
    doubt: Option<Doubt>,
}

#[derive(Debug, Clone, Copy)]
struct Doubt {
    by: i64,
    since: i64,
}

impl Steadiness {
    pub(super) const fn from(base: Reading) -> Self {
        Self { base, doubt: None }
    }

    /// Returns the jump that is in doubt, if the clock is not believed now. A clock that jumps back
    /// is believed at once; one that stays is believed when [`HOLD`] has passed.
    pub(super) fn check(&mut self, now: Reading) -> Option<Jump> {
        let passed = now.steady.saturating_sub(self.base.steady);
        let by = now
            .wall
            .saturating_sub(self.base.wall)
            .saturating_sub(passed);
        if by.saturating_abs() < TOLERANCE {
            *self = Self::from(now);
            return None;
        }
        let fresh = Doubt {
            by,
            since: now.steady,
        };
        let is_same = |doubt: &Doubt| doubt.by.saturating_sub(by).saturating_abs() < TOLERANCE;
        let doubt = self.doubt.filter(is_same).unwrap_or(fresh);
        let held = TimeDelta::milliseconds(now.steady.saturating_sub(doubt.since));
        if held >= HOLD {
            *self = Self::from(now);
            return None;
        }
        self.doubt = Some(doubt);
        Some(Jump {
            by: TimeDelta::milliseconds(doubt.by),
            believed_in: HOLD - held,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 1_440 * MINUTE;

    /// Returns the jumps in readings of (minutes passed, milliseconds the wall clock is ahead).
    fn jumps(readings: &[(i64, i64)]) -> Vec<Option<i64>> {
        let mut steadiness = Steadiness::from(Reading { wall: 0, steady: 0 });
        let seen = readings.iter().map(|(minutes, ahead)| {
            let steady = minutes * MINUTE;
            let wall = steady + ahead;
            let jump = steadiness.check(Reading { wall, steady });
            jump.map(|jump| jump.by.num_milliseconds())
        });
        seen.collect()
    }

    #[test]
    fn a_clock_that_is_disciplined_is_believed() {
        // Half a minute an hour, for a day.
        let slow: Vec<_> = (0..24).map(|hour| (hour * 60, hour * 30_000)).collect();
        assert!(jumps(&slow).iter().all(Option::is_none));
        assert_eq!(jumps(&[(1, 59_000), (2, 0), (3, -59_000)]), [None; 3]);
    }

    #[test]
    fn a_jump_is_doubted_until_it_is_taken_back() {
        let ahead = 100 * DAY;
        assert_eq!(
            jumps(&[(1, 0), (2, ahead), (3, ahead + 5), (4, 5), (5, 5)]),
            [None, Some(ahead), Some(ahead), None, None]
        );
        let behind = -20_000 * DAY;
        assert_eq!(jumps(&[(1, behind), (2, 0)]), [Some(behind), None]);
    }

    #[test]
    fn a_jump_that_stays_is_believed_after_a_while() {
        assert_eq!(
            jumps(&[(0, DAY), (9, DAY), (10, DAY), (11, DAY)]),
            [Some(DAY), Some(DAY), None, None]
        );
        // Another jump restarts the wait, and comparison is no longer with the first one.
        assert_eq!(
            jumps(&[
                (0, DAY),
                (9, 2 * DAY),
                (11, 2 * DAY),
                (19, 2 * DAY),
                (20, DAY)
            ]),
            [Some(DAY), Some(2 * DAY), Some(2 * DAY), None, Some(-DAY)]
        );
    }
}
