//! Limits of self-healing: three restarts and one recreation in any hour.

use chrono::{DateTime, TimeDelta, Utc};

use crate::text_enum;

/// Time in which the attempts are counted.
pub(super) const WINDOW: TimeDelta = TimeDelta::hours(1);
pub(super) const MOST_RESTARTS: usize = 3;
pub(super) const MOST_RECREATIONS: usize = 1;

text_enum! {
    /// Attempt to mend an instance.
    pub enum Act {
        /// Its pods are replaced.
        Restart = "RESTART",
        /// Its silent workloads are removed and made again; its data stays.
        Recreation = "RECREATION",
    }
}

/// An attempt that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Attempt {
    pub(super) act: Act,
    pub(super) at: DateTime<Utc>,
}

/// Attempts that count against the limits at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) restarts: usize,
    pub(super) recreations: usize,
    pub(super) last: Option<DateTime<Utc>>,
}

impl Used {
    /// Counts the attempts of the last hour. One that lies ahead is of a clock that was wrong, and
    /// counts for an hour on both sides.
    pub(super) fn at(now: DateTime<Utc>, attempts: &[Attempt]) -> Self {
        let counted: Vec<_> = attempts
            .iter()
            .filter(|attempt| (now - attempt.at).abs() < WINDOW)
            .collect();
        let of = |act| counted.iter().filter(|attempt| attempt.act == act).count();
        Self {
            restarts: of(Act::Restart),
            recreations: of(Act::Recreation),
            last: counted.iter().map(|attempt| attempt.at).max(),
        }
    }

    /// Returns the next attempt; `None` when all are used. One that was given up is tried again when
    /// the hour is over, once.
    pub(super) const fn next(self, is_given_up: bool, may_recreate: bool) -> Option<Act> {
        if is_given_up {
            let is_over = self.restarts == 0 && self.recreations == 0;
            return if is_over { Some(Act::Restart) } else { None };
        }
        if self.restarts < MOST_RESTARTS {
            Some(Act::Restart)
        } else if self.recreations < MOST_RECREATIONS && may_recreate {
            Some(Act::Recreation)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    /// Asks at intervals of all kinds for days, and counts every hour.
    #[test]
    fn no_hour_has_more_than_three_restarts_and_one_recreation() {
        for (step, flips) in [
            (1, 0),
            (7, 0),
            (61, 3),
            (599, 2),
            (1201, 5),
            (3599, 0),
            (3600, 1),
        ] {
            let mut attempts: Vec<Attempt> = Vec::new();
            let mut is_given_up = false;
            for turn in 0..2000_i64 {
                let now = at(turn * step);
                match Used::at(now, &attempts).next(is_given_up, turn % 2 == 0) {
                    Some(act) => attempts.push(Attempt { act, at: now }),
                    None => is_given_up = true,
                }
                // It is well again from time to time, which must not widen the limits.
                if flips > 0 && turn % flips == 0 {
                    is_given_up = false;
                }
            }
            assert!(!attempts.is_empty());
            for begin in &attempts {
                let hour = attempts
                    .iter()
                    .filter(|other| other.at >= begin.at && other.at - begin.at < WINDOW);
                let (restarts, recreations): (Vec<&Attempt>, Vec<&Attempt>) =
                    hour.partition(|one| one.act == Act::Restart);
                assert!(restarts.len() <= MOST_RESTARTS, "{step}: {restarts:?}");
                assert!(recreations.len() <= MOST_RECREATIONS, "{step}");
            }
        }
    }

    #[test]
    fn restarts_come_first_then_the_recreation_then_nothing_until_the_hour_is_over() {
        let mut attempts = Vec::new();
        for (minute, act) in [
            (0, Act::Restart),
            (3, Act::Restart),
            (6, Act::Restart),
            (9, Act::Recreation),
        ] {
            let now = at(minute * 60);
            assert_eq!(Used::at(now, &attempts).next(false, true), Some(act));
            attempts.push(Attempt { act, at: now });
        }
        assert_eq!(Used::at(at(720), &attempts).next(false, true), None);
        assert_eq!(Used::at(at(3660), &attempts).next(true, true), None);
        let later = Used::at(at(540 + 3600), &attempts);
        assert_eq!(later.next(true, true), Some(Act::Restart));
    }
}
