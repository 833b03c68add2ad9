//! Moments as people ask for them: a date where the shop is, or a date with a time.

use std::str::FromStr;

use chrono::{DateTime, FixedOffset, NaiveDate, Utc};
use chrono_tz::Tz;
use dermaga_shop::{Error, calendar, input, schema};
use serde::{Deserialize, Deserializer, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, SchemaFormat, Type},
    },
};

/// A date (a day in `BILLING_TIMEZONE`) or a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Date(NaiveDate),
    Moment(DateTime<Utc>),
}

impl When {
    /// The first moment of it, for the beginning of a range.
    pub fn start(self, zone: Tz) -> DateTime<Utc> {
        match self {
            Self::Date(date) => calendar::start_of_day(zone, date),
            Self::Moment(moment) => moment,
        }
    }

    /// The end of a range, itself not in it: a date is in the range to its last moment.
    pub fn end(self, zone: Tz) -> DateTime<Utc> {
        match self {
            Self::Date(date) => {
                let next = date.succ_opt().unwrap_or(date);
                calendar::start_of_day(zone, next).min(input::last_moment())
            }
            Self::Moment(moment) => moment,
        }
    }

    /// The date it is on where the shop is.
    pub fn date(self, zone: Tz) -> NaiveDate {
        match self {
            Self::Date(date) => date,
            Self::Moment(moment) => {
                calendar::date(zone, moment).min(input::last_moment().date_naive())
            }
        }
    }
}

type Bound = Option<DateTime<Utc>>;

/// The moments from the first to the last of a range, each by its field's name; the end is not in
/// it.
///
/// # Errors
/// `VALIDATION_FAILED` when it ends before it begins.
pub fn range(
    (first, from): (&str, Option<When>),
    (last, to): (&str, Option<When>),
    zone: Tz,
) -> Result<(Bound, Bound), Error> {
    if let (Some(from), Some(to)) = (from, to) {
        let (start, end) = (from.start(zone), to.end(zone));
        let is_date = matches!(to, When::Date(_));
        if start > end || (start == end && is_date) {
            let message = format!("must not be after `{last}`");
            return Err(Error::invalid(first, message));
        }
    }
    Ok((from.map(|from| from.start(zone)), to.map(|to| to.end(zone))))
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.parse::<NaiveDate>().is_ok() {
            return input::date(text).map(Self::Date);
        }
        // The `+` of an offset that is not escaped in an address arrives as a blank.
        let offset = text.replace(' ', "+");
        let texts = [offset.as_str(), text];
        let readable = |text: &&str| text.parse::<DateTime<FixedOffset>>().is_ok();
        match texts.into_iter().find(readable) {
            Some(text) => input::moment(text).map(Self::Moment),
            None => Err(format!(
                "must be {}",
                schema::of_format("date-or-date-time")
            )),
        }
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl PartialSchema for When {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::Custom("date-or-date-time".into())))
            .examples(["2026-12-31", "2026-12-31T17:00:00Z"])
            .into()
    }
}

impl ToSchema for When {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_does_not_end_before_it_begins() {
        let of = |from: &str, to: &str| {
            let when = |text: &str| Some(text.parse().unwrap());
            range(("from", when(from)), ("to", when(to)), Tz::Asia__Jakarta)
        };
        for (from, to) in [
            ("2026-01-01", "2026-01-01"),
            ("2026-01-01T12:00:00Z", "2026-01-01"),
            ("2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z"),
        ] {
            of(from, to).unwrap();
        }
        for (from, to) in [
            ("2026-01-02", "2026-01-01"),
            ("2026-01-02", "2026-01-01T12:00:00Z"),
            ("2026-01-01T17:00:00Z", "2026-01-01"),
            ("2026-01-01T12:00:01Z", "2026-01-01T12:00:00Z"),
        ] {
            let refused = of(from, to).unwrap_err();
            assert_eq!(
                refused.details[0].message, "must not be after `to`",
                "{from} {to}"
            );
        }
    }

    #[test]
    fn no_range_ends_beyond_the_bounds() {
        let last = input::last_moment();
        for zone in [Tz::Asia__Jakarta, Tz::America__New_York] {
            for text in ["9999-12-31", "9999-12-31T23:59:59Z"] {
                let when: When = text.parse().unwrap();
                assert!(when.end(zone) <= last && when.date(zone) <= last.date_naive());
            }
        }
        for wrong in [
            "-9999-12-31",
            "-4713-01-01",
            "9999-12-31T23:59:59-23:59",
            "1960-01-01T00:00:00Z",
        ] {
            let refused = wrong.parse::<When>().unwrap_err();
            assert!(
                refused.starts_with("must be between 1970-01-01"),
                "{wrong}: {refused}"
            );
        }
    }

    #[test]
    fn a_date_is_a_day_of_the_shop() {
        let zone = Tz::Asia__Jakarta;
        let day: When = "2026-12-31".parse().unwrap();
        assert_eq!(day.start(zone).to_rfc3339(), "2026-12-30T17:00:00+00:00");
        assert_eq!(day.end(zone).to_rfc3339(), "2026-12-31T17:00:00+00:00");
        for text in [
            "2026-12-31T17:30:00Z",
            "2027-01-01T00:30:00+07:00",
            "2027-01-01T00:30:00 07:00",
        ] {
            let moment: When = text.parse().unwrap();
            assert_eq!(moment.start(zone), moment.end(zone));
            assert_eq!(moment.start(zone).to_rfc3339(), "2026-12-31T17:30:00+00:00");
            assert_eq!(moment.date(zone).to_string(), "2027-01-01");
        }
        for wrong in [
            "",
            "besok",
            "2026-13-01",
            "2026-12-31T25:00:00Z",
            "31-12-2026",
        ] {
            assert!(
                wrong
                    .parse::<When>()
                    .unwrap_err()
                    .starts_with("must be a date"),
                "{wrong}"
            );
        }
    }
}
