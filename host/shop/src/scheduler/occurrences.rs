//! Instants of a cron text in a time zone, changes of the clocks included.
//!
//! The crate that reads cron text only matches wall times here; one rule decides which instants
//! those are, for display and for running:
//!
//! - A job that names its hours (`30 2 * * *`) runs once for each wall time: in the first of two
//!   passes of a repeated hour, and at the end of the gap when its time is skipped.
//! - A job of every hour or of every so many (`0 * * * *`, `*/10 */2 * * *`) follows elapsed time:
//!   it runs in both passes of a repeated hour, and not in a skipped one.

use chrono::{
    DateTime, NaiveDateTime, Offset as _, SubsecRound as _, TimeDelta, TimeZone as _, Utc,
};
use chrono_tz::Tz;
use croner::Cron;

use crate::calendar;

/// Instants are whole seconds.
const SECOND: TimeDelta = TimeDelta::seconds(1);
/// Time within which no zone moves its clocks twice.
const STRIDE: TimeDelta = TimeDelta::days(1);

/// The first instant after `now`.
pub(super) fn next(cron: &Cron, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut from = now.trunc_subsecs(0);
    if names_its_hours(cron) {
        return next_named(cron, zone, from);
    }
    loop {
        let offset = offset_at(zone, from + SECOND);
        let wall = matched_after(cron, (from + offset).naive_utc())?;
        let found = wall.and_utc() - offset;
        match end_of_offset(zone, from + SECOND, found) {
            None => return Some(found),
            Some(change) => from = change - SECOND,
        }
    }
}

fn next_named(cron: &Cron, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut wall = now.with_timezone(&zone).naive_local();
    loop {
        wall = matched_after(cron, wall)?;
        let instant = calendar::moment(zone, wall);
        // In a second pass, the first one covered the rest of the hour.
        if instant > now {
            return Some(instant);
        }
    }
}

/// The last instant at or before `now`.
pub(super) fn latest(cron: &Cron, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut until = now.trunc_subsecs(0);
    if names_its_hours(cron) {
        return latest_named(cron, zone, until);
    }
    loop {
        let offset = offset_at(zone, until);
        let wall = matched_until(cron, (until + offset).naive_utc())?;
        let found = wall.and_utc() - offset;
        match start_of_offset(zone, found, until) {
            None => return Some(found),
            Some(change) => until = change - SECOND,
        }
    }
}

fn latest_named(cron: &Cron, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut wall = matched_until(cron, now.with_timezone(&zone).naive_local())?;
    // In a second pass, the first one covered later wall times.
    while let Some(later) = matched_after(cron, wall)
        && calendar::moment(zone, later) <= now
    {
        wall = later;
    }
    Some(calendar::moment(zone, wall))
}

fn names_its_hours(cron: &Cron) -> bool {
    let pattern = &cron.pattern;
    let is_left_out = |hour| !pattern.hour_match(hour).unwrap_or(false);
    !pattern.hours.from_wildcard && (0..24).any(is_left_out)
}

fn matched_after(cron: &Cron, wall: NaiveDateTime) -> Option<NaiveDateTime> {
    let found = cron.find_next_occurrence(&wall.and_utc(), false).ok()?;
    Some(found.naive_utc())
}

fn matched_until(cron: &Cron, wall: NaiveDateTime) -> Option<NaiveDateTime> {
    let found = cron.find_previous_occurrence(&wall.and_utc(), true).ok()?;
    Some(found.naive_utc())
}

fn offset_at(zone: Tz, at: DateTime<Utc>) -> TimeDelta {
    let offset = zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    TimeDelta::seconds(offset.local_minus_utc().into())
}

/// The first moment up to `until` at which clocks are not set as they were at `from`.
fn end_of_offset(zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let offset = offset_at(zone, from);
    let mut same = from;
    while same < until {
        let ahead = (same + STRIDE).min(until);
        if offset_at(zone, ahead) != offset {
            return Some(change_between(zone, same, ahead));
        }
        same = ahead;
    }
    None
}

/// Returns the moment at which clocks were set as they are at `until`, if it was after `from`.
fn start_of_offset(zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let offset = offset_at(zone, until);
    let mut same = until;
    while same > from {
        let back = (same - STRIDE).max(from);
        if offset_at(zone, back) != offset {
            return Some(change_between(zone, back, same));
        }
        same = back;
    }
    None
}

/// The first moment set as `after` is, between two that are set differently.
fn change_between(zone: Tz, before: DateTime<Utc>, after: DateTime<Utc>) -> DateTime<Utc> {
    let new = offset_at(zone, after);
    let (mut old, mut changed) = (before, after);
    // Offsets change at whole seconds, so that the search ends.
    while changed - old > SECOND {
        let middle = old + TimeDelta::seconds((changed - old).num_seconds() / 2);
        if offset_at(zone, middle) == new {
            changed = middle;
        } else {
            old = middle;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use chrono_tz::{Asia, Australia, Europe};

    use super::*;
    use crate::scheduler::Schedule;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// All instants after one moment until another, by `next`; `latest` finds the same ones.
    fn instants(cron: &str, zone: Tz, from: &str, until: &str) -> Vec<String> {
        let schedule: Schedule = cron.parse().unwrap();
        let (mut now, until) = (at(from), at(until));
        let mut found = Vec::new();
        while let Some(instant) = schedule.next(zone, now).filter(|instant| *instant <= until) {
            let shortly = TimeDelta::milliseconds(250);
            assert_eq!(schedule.latest(zone, instant), Some(instant), "{cron}");
            assert_eq!(
                schedule.latest(zone, instant + shortly),
                Some(instant),
                "{cron}"
            );
            let before = schedule.latest(zone, instant - shortly).unwrap();
            assert!(
                before <= now || found.is_empty(),
                "{cron}: {before} is between"
            );
            found.push(instant.format("%dT%H:%M:%S").to_string());
            now = instant;
        }
        let last = schedule.latest(zone, until);
        assert!(last <= Some(now), "{cron}: {last:?} is not shown");
        found
    }

    #[test]
    fn an_hour_that_is_repeated() {
        // From two to three, twice: 00:00Z to 02:00Z.
        let night = ("2027-10-30T22:30:00Z", "2027-10-31T03:30:00Z");
        let found = |cron: &str| instants(cron, Europe::Berlin, night.0, night.1);
        assert_eq!(
            found("0 * * * *"),
            [
                "30T23:00:00",
                "31T00:00:00",
                "31T01:00:00",
                "31T02:00:00",
                "31T03:00:00"
            ]
        );
        assert_eq!(found("0 0-23 * * *"), found("0 * * * *"));
        assert_eq!(
            found("*/30 */2 * * *"),
            [
                "31T00:00:00",
                "31T00:30:00",
                "31T01:00:00",
                "31T01:30:00",
                "31T03:00:00",
                "31T03:30:00"
            ]
        );
        // By name, once.
        assert_eq!(found("30 2 * * *"), ["31T00:30:00"]);
        assert_eq!(
            found("*/30 1-3 * * *"),
            [
                "30T23:00:00",
                "30T23:30:00",
                "31T00:00:00",
                "31T00:30:00",
                "31T02:00:00",
                "31T02:30:00"
            ]
        );
    }

    #[test]
    fn an_hour_that_is_skipped() {
        // From two to three, never: 01:00Z is three.
        let night = ("2027-03-27T23:30:00Z", "2027-03-28T02:30:00Z");
        let found = |cron: &str| instants(cron, Europe::Berlin, night.0, night.1);
        assert_eq!(
            found("0 * * * *"),
            ["28T00:00:00", "28T01:00:00", "28T02:00:00"]
        );
        assert_eq!(found("0 */2 * * *"), ["28T02:00:00"]);
        assert_eq!(found("30 2 * * *"), ["28T01:00:00"]);
        assert_eq!(found("*/20 2 * * *"), ["28T01:00:00"]);
        assert_eq!(found("0 2,3 * * *"), ["28T01:00:00"]);
    }

    #[test]
    fn half_hours_seconds_and_zones_that_never_change() {
        let lord_howe = ("2027-04-03T13:59:59Z", "2027-04-03T16:00:00Z");
        assert_eq!(
            instants(
                "*/30 * * * *",
                Australia::Lord_Howe,
                lord_howe.0,
                lord_howe.1
            ),
            [
                "03T14:00:00",
                "03T14:30:00",
                "03T15:00:00",
                "03T15:30:00",
                "03T16:00:00"
            ]
        );
        let seconds = ("2027-10-31T00:59:58Z", "2027-10-31T01:00:01Z");
        assert_eq!(
            instants("* * * * * *", Europe::Berlin, seconds.0, seconds.1),
            ["31T00:59:59", "31T01:00:00", "31T01:00:01"]
        );
        let jakarta = ("2027-10-30T17:00:00Z", "2027-10-31T20:00:00Z");
        assert_eq!(
            instants("0 2 * * *", Asia::Jakarta, jakarta.0, jakarta.1),
            ["30T19:00:00", "31T19:00:00"]
        );
    }

    #[test]
    fn what_comes_once_in_years_is_found_over_all_the_changes() {
        let leap: Schedule = "0 * 29 2 *".parse().unwrap();
        let found = leap.next(Europe::Berlin, at("2028-03-01T00:00:00Z"));
        assert_eq!(found, Some(at("2032-02-28T23:00:00Z")));
        let found = leap.latest(Europe::Berlin, at("2032-02-28T22:59:59Z"));
        assert_eq!(found, Some(at("2028-02-29T22:00:00Z")));
    }
}
