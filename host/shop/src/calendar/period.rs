//! The current day, week, month or year, and its parts.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{date, start_of_day};

/// Period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Day,
    /// Week from Monday.
    Week,
    #[default]
    Month,
    Year,
}

impl Period {
    /// Returns the moments that divide the current period into its parts: hours of a day, days of a
    /// week or month, months of a year. The first is its start, the last its end.
    pub fn parts(self, zone: Tz, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let today = date(zone, now);
        let (first, end) = self.dates(today);
        match self {
            Self::Day => hours(start_of_day(zone, first), start_of_day(zone, end)),
            Self::Week | Self::Month => dates(first, end, |day| day.checked_add_days(Days::new(1)))
                .map(|day| start_of_day(zone, day))
                .collect(),
            Self::Year => dates(first, end, |day| day.checked_add_months(Months::new(1)))
                .map(|day| start_of_day(zone, day))
                .collect(),
        }
    }

    /// Returns its first date, and the first date after it.
    pub(super) fn dates(self, today: NaiveDate) -> (NaiveDate, NaiveDate) {
        let back = u64::from(today.weekday().num_days_from_monday());
        let (first, end) = match self {
            Self::Day => (Some(today), today.succ_opt()),
            Self::Week => {
                let monday = today.checked_sub_days(Days::new(back));
                (
                    monday,
                    monday.and_then(|day| day.checked_add_days(Days::new(7))),
                )
            }
            Self::Month => {
                let first = today.with_day(1);
                (
                    first,
                    first.and_then(|day| day.checked_add_months(Months::new(1))),
                )
            }
            Self::Year => {
                let first = NaiveDate::from_ymd_opt(today.year(), 1, 1);
                (
                    first,
                    first.and_then(|day| day.checked_add_months(Months::new(12))),
                )
            }
        };
        (first.unwrap_or(today), end.unwrap_or(today))
    }
}

fn dates(
    first: NaiveDate,
    end: NaiveDate,
    next: impl Fn(NaiveDate) -> Option<NaiveDate>,
) -> impl Iterator<Item = NaiveDate> {
    std::iter::successors(Some(first), move |day| next(*day)).take_while(move |day| *day <= end)
}

/// Returns the hours of a day: 23, 24 or 25 of them when the clocks change.
fn hours(first: DateTime<Utc>, end: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    std::iter::successors(Some(first), |at| at.checked_add_signed(TimeDelta::hours(1)))
        .take_while(|at| *at <= end)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn ends(period: Period, zone: Tz, now: &str) -> (usize, String, String) {
        let parts = period.parts(zone, at(now));
        let text = |moment: &DateTime<Utc>| moment.format("%FT%H:%M").to_string();
        (
            parts.len() - 1,
            text(parts.first().unwrap()),
            text(parts.last().unwrap()),
        )
    }

    #[test]
    fn periods_are_the_shops_own() {
        // 1 March, half past midnight in Jakarta; still February in Greenwich.
        let now = "2026-02-28T17:30:00Z";
        let jakarta = chrono_tz::Asia::Jakarta;
        for (period, parts, start, end) in [
            (Period::Day, 24, "2026-02-28T17:00", "2026-03-01T17:00"),
            (Period::Week, 7, "2026-02-22T17:00", "2026-03-01T17:00"),
            (Period::Month, 31, "2026-02-28T17:00", "2026-03-31T17:00"),
            (Period::Year, 12, "2025-12-31T17:00", "2026-12-31T17:00"),
        ] {
            let expected = (parts, start.to_owned(), end.to_owned());
            assert_eq!(ends(period, jakarta, now), expected, "{period:?}");
        }
    }

    #[test]
    fn days_are_as_long_as_clocks_make_them() {
        let berlin = chrono_tz::Europe::Berlin;
        assert_eq!(ends(Period::Day, berlin, "2026-03-29T12:00:00Z").0, 23);
        assert_eq!(ends(Period::Day, berlin, "2026-10-25T12:00:00Z").0, 25);
        // Clocks in Santiago skip from midnight to one.
        let skipped = start_of_day(chrono_tz::America::Santiago, "2026-09-06".parse().unwrap());
        assert_eq!(skipped, at("2026-09-06T04:00:00Z"));
    }
}
