//! Settings of a movable clock, for rehearsals.

use std::{ops::RangeInclusive, str::FromStr};

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};

/// Years that a rehearsal may show: times of tokens stay positive, and no sum of times overflows.
const YEARS: RangeInclusive<i32> = 2000..=2199;
/// Longest offset that is read, in days: a hundred years.
const MOST_DAYS: i64 = 36_525;

/// Position of a movable clock, from which it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockSetting {
    /// Offset from the system's time.
    Offset(TimeDelta),
    /// Moment at the time of setting.
    Now(DateTime<Utc>),
}

impl ClockSetting {
    /// Returns the offset from the system's time that the clock has to have.
    pub fn offset(self, system: DateTime<Utc>) -> TimeDelta {
        match self {
            Self::Offset(offset) => offset,
            Self::Now(moment) => moment - system,
        }
    }

    /// Returns true when the clock would show a year that a shop can work in.
    pub fn is_usable(self, system: DateTime<Utc>) -> bool {
        let shown = match self {
            Self::Offset(offset) => system.checked_add_signed(offset),
            Self::Now(moment) => Some(moment),
        };
        shown.is_some_and(|shown| YEARS.contains(&shown.year()))
    }
}

impl FromStr for ClockSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let moment = text.parse::<DateTime<Utc>>();
        match moment {
            Ok(moment) if YEARS.contains(&moment.year()) => Ok(Self::Now(moment)),
            _ => offset(text).map(Self::Offset),
        }
    }
}

/// Reads `+31d`, `-2h`, `90m` or `0s`.
///
/// # Errors
/// A sentence that describes the right form.
pub fn offset(text: &str) -> Result<TimeDelta, String> {
    let wrong = || {
        "must be an offset such as +31d, -2h or 90m, up to 36525 days, or a moment such as 2027-01-31T10:00:00+07:00".to_owned()
    };
    let (sign, length) = match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(length), _) => (-1, length),
        (None, Some(length)) => (1, length),
        (None, None) => (1, text),
    };
    let digits = length.trim_end_matches(|c: char| !c.is_ascii_digit());
    let seconds = match length.strip_prefix(digits) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        _ => return Err(wrong()),
    };
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: i64 = digits.parse().map_err(|_| wrong())?;
    let total = count.checked_mul(seconds).filter(|_| is_plain);
    total
        .filter(|total| *total <= MOST_DAYS * 86_400)
        .map(|total| TimeDelta::seconds(sign * total))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_moments() {
        for (text, seconds) in [
            ("+31d", 31 * 86_400),
            ("-2h", -7_200),
            ("90m", 5_400),
            ("0s", 0),
            ("+36525d", 36_525 * 86_400),
        ] {
            let expected = ClockSetting::Offset(TimeDelta::seconds(seconds));
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        let moment = "2027-01-31T03:00:00Z".parse().unwrap();
        let expected = Ok(ClockSetting::Now(moment));
        assert_eq!("2027-01-31T10:00:00+07:00".parse(), expected);
        let system = "2027-01-01T03:00:00Z".parse().unwrap();
        let setting = ClockSetting::Now(moment);
        assert_eq!(setting.offset(system), TimeDelta::days(30));
        assert!(setting.is_usable(system));
        for wrong in [DateTime::<Utc>::MAX_UTC, DateTime::UNIX_EPOCH] {
            assert!(!ClockSetting::Now(wrong).is_usable(system));
        }
        assert!(!ClockSetting::Offset(TimeDelta::days(-MOST_DAYS)).is_usable(system));
        assert!(ClockSetting::Offset(TimeDelta::days(MOST_DAYS)).is_usable(system));
    }

    #[test]
    fn odd_text_is_refused() {
        for wrong in [
            "",
            "+",
            "d",
            "31",
            "+-2h",
            "1.5h",
            "2w",
            "36526d",
            "99999999999999999999d",
            "9223372036854775807d",
            "2027-13-01T00:00:00Z",
            "9999-01-01T00:00:00Z",
            "1999-12-31T00:00:00Z",
            "tomorrow",
        ] {
            let refused = wrong.parse::<ClockSetting>().unwrap_err();
            assert!(
                refused.starts_with("must be an offset"),
                "{wrong}: {refused}"
            );
        }
    }
}
