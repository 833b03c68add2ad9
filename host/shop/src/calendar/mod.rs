//! Days, months and dates as `BILLING_TIMEZONE` counts them.
//!
//! Moments are kept in UTC; every day or month that is added, and every date that a person reads,
//! goes through here. When the clocks change, an ambiguous wall time is the first of the two, and a
//! skipped one is the first moment after the gap.

mod json;
mod period;

use chrono::{DateTime, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

pub use json::{in_json, in_json_if_any, json_text};
pub use period::Period;

/// Returns the moment at which clocks in this zone show a wall time.
pub fn moment(zone: Tz, wall: NaiveDateTime) -> DateTime<Utc> {
    zone.from_local_datetime(&wall)
        .earliest()
        .or_else(|| GapInfo::new(&wall, &zone).and_then(|gap| gap.end))
        .map_or_else(|| wall.and_utc(), |found| found.to_utc())
}

/// Returns the same wall time some calendar months later: on the same day, or on the month's last.
/// `None` beyond the calendar.
pub fn add_months(zone: Tz, at: DateTime<Utc>, months: u32) -> Option<DateTime<Utc>> {
    shift(zone, at, |wall| {
        wall.checked_add_months(Months::new(months))
    })
}

/// Returns the same wall time some days later. `None` beyond the calendar.
pub fn add_days(zone: Tz, at: DateTime<Utc>, days: Days) -> Option<DateTime<Utc>> {
    shift(zone, at, |wall| wall.checked_add_days(days))
}

/// Returns the same wall time some days before. `None` beyond the calendar.
pub fn sub_days(zone: Tz, at: DateTime<Utc>, days: Days) -> Option<DateTime<Utc>> {
    shift(zone, at, |wall| wall.checked_sub_days(days))
}

fn shift(
    zone: Tz,
    at: DateTime<Utc>,
    by: impl Fn(NaiveDateTime) -> Option<NaiveDateTime>,
) -> Option<DateTime<Utc>> {
    let wall = at.with_timezone(&zone).naive_local();
    let shifted = by(wall)?;
    // Adding nothing must not move the second pass of a repeated hour back into the first.
    Some(if shifted == wall {
        at
    } else {
        moment(zone, shifted)
    })
}

/// Returns the whole days from one moment to a later one; 0 when it is not later.
pub fn days_between(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> u32 {
    let days = (date(zone, to) - date(zone, from)).num_days();
    let Ok(days) = u32::try_from(days) else {
        return 0;
    };
    let is_whole = add_days(zone, from, Days::new(days.into())).is_some_and(|at| at <= to);
    days.saturating_sub(u32::from(!is_whole))
}

/// Returns the date on the shop's calendar.
pub fn date(zone: Tz, at: DateTime<Utc>) -> NaiveDate {
    at.with_timezone(&zone).date_naive()
}

/// Formats a moment for people: `2027-01-01 00:00 WIB`.
pub fn written(zone: Tz, at: DateTime<Utc>) -> String {
    at.with_timezone(&zone)
        .format("%Y-%m-%d %H:%M %Z")
        .to_string()
}

/// Returns the first moment of a date; where clocks skip midnight, the first after it.
pub fn start_of_day(zone: Tz, date: NaiveDate) -> DateTime<Utc> {
    moment(zone, date.and_time(NaiveTime::MIN))
}

/// Returns the beginning of the current month.
pub fn start_of_month(zone: Tz, now: DateTime<Utc>) -> DateTime<Utc> {
    start_of_day(zone, Period::Month.dates(date(zone, now)).0)
}

#[cfg(test)]
mod tests {
    use chrono_tz::{America, Asia, Australia, Europe, Pacific};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn months_are_the_shops_own() {
        // 1 October and 31 March in Jakarta; still the day before in Greenwich.
        for (from, months, expected) in [
            ("2027-09-30T22:00:00Z", 1, "2027-10-31T22:00:00Z"),
            ("2027-03-30T19:00:00Z", 1, "2027-04-29T19:00:00Z"),
            ("2027-01-30T19:00:00Z", 1, "2027-02-27T19:00:00Z"),
            ("2027-01-30T19:00:00Z", 2, "2027-03-30T19:00:00Z"),
            ("2027-12-31T17:00:00.250Z", 12, "2028-12-31T17:00:00.250Z"),
        ] {
            let found = add_months(Asia::Jakarta, at(from), months);
            assert_eq!(found, Some(at(expected)), "{from} and {months} months");
        }
        let greenwich = add_months(Tz::UTC, at("2027-09-30T22:00:00Z"), 1);
        assert_eq!(greenwich, Some(at("2027-10-30T22:00:00Z")));
        assert_eq!(
            add_months(Asia::Jakarta, at("2027-01-01T00:00:00Z"), u32::MAX),
            None
        );
    }

    #[test]
    fn the_hour_stays_when_the_offset_changes() {
        let noon = at("2027-03-20T11:00:00Z");
        let expected = Some(at("2027-04-20T10:00:00Z"));
        assert_eq!(add_months(Europe::Berlin, noon, 1), expected);
        let days = Days::new(7);
        let later = at("2027-04-03T10:00:00Z");
        assert_eq!(
            add_days(Europe::Berlin, at("2027-03-27T11:00:00Z"), days),
            Some(at("2027-04-03T10:00:00Z"))
        );
        assert_eq!(
            sub_days(Europe::Berlin, later, days),
            Some(at("2027-03-27T11:00:00Z"))
        );
        assert_eq!(add_days(Europe::Berlin, noon, Days::new(u64::MAX)), None);
    }

    #[test]
    fn a_wall_time_that_is_skipped_is_the_first_moment_after_the_gap() {
        for (zone, wall, expected) in [
            (
                Europe::Berlin,
                "2027-03-28T02:30:00",
                "2027-03-28T01:00:00Z",
            ),
            (
                Europe::Berlin,
                "2027-03-28T02:00:00",
                "2027-03-28T01:00:00Z",
            ),
            (
                America::Santiago,
                "2026-09-06T00:00:00",
                "2026-09-06T04:00:00Z",
            ),
            (
                Australia::Lord_Howe,
                "2027-10-03T02:10:00",
                "2027-10-02T15:30:00Z",
            ),
            // The whole of 30 December 2011 was skipped.
            (Pacific::Apia, "2011-12-30T12:00:00", "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(
                moment(zone, wall.parse().unwrap()),
                at(expected),
                "{zone} {wall}"
            );
        }
        // A period that would end within the gap ends with it.
        let bought = at("2027-02-28T01:30:00Z");
        assert_eq!(
            add_months(Europe::Berlin, bought, 1),
            Some(at("2027-03-28T01:00:00Z"))
        );
    }

    #[test]
    fn a_wall_time_that_comes_twice_is_the_first_of_the_two() {
        let wall = "2027-10-31T02:30:00".parse().unwrap();
        assert_eq!(moment(Europe::Berlin, wall), at("2027-10-31T00:30:00Z"));
        let second = at("2027-10-31T01:30:00Z");
        assert_eq!(add_months(Europe::Berlin, second, 0), Some(second));
        assert_eq!(
            add_months(Europe::Berlin, second, 1),
            Some(at("2027-11-30T01:30:00Z"))
        );
    }

    #[test]
    fn days_are_whole_ones() {
        for (zone, from, to, expected) in [
            (
                Asia::Jakarta,
                "2027-01-01T10:00:00Z",
                "2027-01-02T09:59:59Z",
                0,
            ),
            (
                Asia::Jakarta,
                "2027-01-01T10:00:00Z",
                "2027-01-02T10:00:00Z",
                1,
            ),
            (
                Asia::Jakarta,
                "2027-01-02T10:00:00Z",
                "2027-01-01T10:00:00Z",
                0,
            ),
            // 23 hours are a day when clocks go forward, and 24 are not when they go back.
            (
                Europe::Berlin,
                "2027-03-27T11:00:00Z",
                "2027-03-28T10:00:00Z",
                1,
            ),
            (
                Europe::Berlin,
                "2027-10-30T10:00:00Z",
                "2027-10-31T10:00:00Z",
                0,
            ),
        ] {
            assert_eq!(
                days_between(zone, at(from), at(to)),
                expected,
                "{zone} {from} {to}"
            );
        }
    }

    #[test]
    fn people_read_the_shops_own_dates() {
        let new_year = at("2026-12-31T17:00:00Z");
        assert_eq!(written(Asia::Jakarta, new_year), "2027-01-01 00:00 WIB");
        assert_eq!(written(Europe::Berlin, new_year), "2026-12-31 18:00 CET");
        assert_eq!(date(Asia::Jakarta, new_year).to_string(), "2027-01-01");
        assert_eq!(start_of_month(Asia::Jakarta, new_year), new_year);
        assert_eq!(
            start_of_month(Tz::UTC, new_year),
            at("2026-12-01T00:00:00Z")
        );
    }
}
