//! Cron text as a type: a text accepted at start cannot fail later.

use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use super::occurrences;

/// Schedule of a job, to be read in a time zone.
#[derive(Debug, Clone, Default)]
pub enum Schedule {
    /// Run by hand only: the word `off`.
    #[default]
    Off,
    /// Cron: minute, hour, day, month, weekday, and optionally seconds in front.
    Cron(Box<Cron>),
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        // A year would end the job without a word.
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(text).map_err(|error| {
            format!(
                "must be cron text of five fields such as `0 2 * * *` (two o'clock every night), of six with seconds in \
                 front, or `off`: {error}"
            )
        })?;
        let schedule = Self::Cron(Box::new(cron));
        // Dates such as 30 February are well-formed and never come.
        match schedule.next(Tz::UTC, DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err("must be cron text that is due at some time; this one never is".into()),
        }
    }
}

impl Schedule {
    /// The last instant at or before `now` at which it was due.
    pub fn latest(&self, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Self::Cron(cron) = self else { return None };
        occurrences::latest(cron, zone, now)
    }

    /// The first instant after `now` at which it is due.
    pub fn next(&self, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Self::Cron(cron) = self else { return None };
        occurrences::next(cron, zone, now)
    }

    /// Returns the time since it was first due after `since`; zero when it was not yet.
    pub(super) fn overdue(&self, zone: Tz, since: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
        let due = self.next(zone, since);
        due.map_or(TimeDelta::zero(), |due| (now - due).max(TimeDelta::zero()))
    }

    /// Returns the text with seconds, as `tokio-cron-scheduler` wants it; `None` when it is off.
    pub(super) fn with_seconds(&self) -> Option<String> {
        let Self::Cron(cron) = self else { return None };
        let text = cron.pattern.to_string();
        let fields = text.split_whitespace().count();
        Some(if fields == 5 {
            format!("0 {text}")
        } else {
            text
        })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Cron(cron) => f.write_str(&cron.pattern.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_schedule_is_read_in_its_zone() {
        let nightly: Schedule = "0 2 * * *".parse().unwrap();
        let jakarta: Tz = "Asia/Jakarta".parse().unwrap();
        let now = at("2026-11-23T18:59:59Z");
        assert_eq!(
            nightly.latest(jakarta, now),
            Some(at("2026-11-22T19:00:00Z"))
        );
        assert_eq!(nightly.next(jakarta, now), Some(at("2026-11-23T19:00:00Z")));
        assert_eq!(
            nightly.latest(Tz::UTC, now),
            Some(at("2026-11-23T02:00:00Z"))
        );
    }

    #[test]
    fn an_instant_is_due_when_it_comes() {
        let nightly: Schedule = "0 2 * * *".parse().unwrap();
        let two = at("2026-11-23T02:00:00Z");
        assert_eq!(nightly.latest(Tz::UTC, two), Some(two));
        assert_eq!(nightly.next(Tz::UTC, two), Some(at("2026-11-24T02:00:00Z")));
    }

    #[test]
    fn a_job_is_overdue_from_the_first_instant_that_was_missed() {
        let nightly: Schedule = "0 2 * * *".parse().unwrap();
        let (done, now) = (at("2026-11-20T02:00:00Z"), at("2026-11-23T03:30:00Z"));
        let missed = nightly.overdue(Tz::UTC, done, now);
        assert_eq!(missed, TimeDelta::minutes(49 * 60 + 30));
        let early = nightly.overdue(Tz::UTC, at("2026-11-23T02:00:00Z"), now);
        assert_eq!(early, TimeDelta::zero());
        assert_eq!(Schedule::Off.overdue(Tz::UTC, done, now), TimeDelta::zero());
    }

    #[test]
    fn instants_are_whole_seconds_whenever_one_looks() {
        let hourly: Schedule = "0 * * * *".parse().unwrap();
        let now = at("2026-11-23T10:13:37.435Z");
        assert_eq!(
            hourly.latest(Tz::UTC, now),
            Some(at("2026-11-23T10:00:00Z"))
        );
        assert_eq!(hourly.next(Tz::UTC, now), Some(at("2026-11-23T11:00:00Z")));
    }

    #[test]
    fn the_zone_changes_its_offset_and_the_hour_stays() {
        let nightly: Schedule = "0 9 * * *".parse().unwrap();
        let berlin: Tz = "Europe/Berlin".parse().unwrap();
        assert_eq!(
            nightly.latest(berlin, at("2026-07-01T12:00:00Z")),
            Some(at("2026-07-01T07:00:00Z"))
        );
        assert_eq!(
            nightly.latest(berlin, at("2026-12-01T12:00:00Z")),
            Some(at("2026-12-01T08:00:00Z"))
        );
    }

    #[test]
    fn a_sixth_field_in_front_is_seconds() {
        let six: Schedule = "30 0 2 * * *".parse().unwrap();
        let now = at("2026-11-23T02:00:00Z");
        assert_eq!(six.next(Tz::UTC, now), Some(at("2026-11-23T02:00:30Z")));
    }

    #[test]
    fn odd_text_is_refused() {
        for wrong in [
            "",
            "nightly",
            "0 2 * *",
            "61 * * * *",
            "0 25 * * *",
            "0 0 30 2 *",
            "0 0 2 * * * 2027",
            "60 0 2 * * *",
        ] {
            let refused = wrong.parse::<Schedule>().unwrap_err();
            assert!(
                refused.starts_with("must be cron text"),
                "{wrong}: {refused}"
            );
        }
    }

    #[test]
    fn the_crate_that_ticks_reads_the_same_text() {
        for (text, expected) in [
            ("*/5 * * * *", "0 */5 * * * *"),
            ("10 0 2 * * *", "10 0 2 * * *"),
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule.with_seconds().as_deref(), Some(expected));
            tokio_cron_scheduler::Job::new(expected, |_, _| {}).unwrap();
        }
    }
}
