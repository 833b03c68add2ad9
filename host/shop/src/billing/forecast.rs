//! Forecast of what the jobs will do with periods that end.

use std::collections::HashSet;

use chrono::{DateTime, Days, Months, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Course, dunning, lanes, store,
    store::Ending,
    walk::{Extent, is_short, walk},
};
use crate::{
    Error, Result, calendar,
    db::{Page, Part},
    ids::{SubscriptionId, UserId},
    money::Rupiah,
    subscriptions::{Settings, ShownStatus, Subscription, SubscriptionStatus, Subscriptions},
    text_enum,
};

/// Time before today within which the last date of a forecast may be: periods that are over are
/// renewed within days.
const LOOK_BACK: Days = Days::new(31);
/// Time from today within which it may be: prices and wallets of later years are not known.
const LOOK_AHEAD: Months = Months::new(24);
/// Periods of one subscription that a forecast follows: as many months, and those that it may be behind.
const MOST_PERIODS: i64 = 36;

text_enum! {
    /// Expected course of a subscription whose period is over.
    pub enum Forecast {
        /// The wallet holds enough when its period ends, or later, when the price falls while it is suspended.
        Renews = "RENEWS",
        /// The wallet does not hold enough, and a grace begins.
        Fails = "FAILS",
        /// It is not paid, and its grace is over: it stops, and its data is kept for a while.
        Suspends = "SUSPENDS",
        /// Nothing changes: its grace runs on, it stays suspended, or renewals are switched off.
        Waits = "WAITS",
        /// It is not to be renewed, or was suspended for as long as its data is kept.
        Ends = "ENDS",
        /// The instance has not run in this period: nothing is charged until it does.
        Held = "HELD",
        /// A plugin fails, or a change of plan is under way.
        Unknown = "UNKNOWN",
    }
}

/// A subscription whose period ends, and what is to be expected of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForecastLine {
    pub subscription_id: SubscriptionId,
    pub user_id: UserId,
    pub email: String,
    pub service: String,
    /// Plan of the next period.
    pub plan: String,
    /// Status of now.
    pub status: ShownStatus,
    /// Calendar months of the next period.
    pub term_months: i64,
    /// End of the period that runs.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub period_end: DateTime<Utc>,
    pub forecast: Forecast,
    /// End of the period that the forecast is of, and after which the next one is priced: the first that is not
    /// renewed, or else the last that is over by the date.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub expected_at: DateTime<Utc>,
    /// Periods that are expected to be renewed by the date.
    pub renewals: i64,
    /// Price of the next period, as long as one is to come; of a subscription that is suspended by the date, which
    /// begins it when it is paid, the price of that day.
    pub due: Option<Rupiah>,
    /// Amount missing for it, after all that is renewed before it was paid.
    pub missing: Option<Rupiah>,
    /// Reason why it is not known.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub problem: Option<String>,
}

/// Forecasts a part of the subscriptions whose period ends until the end of a date, with the wallets as they
/// are; the first to end first. Each is followed through all of its periods until then, or to the first that is not
/// renewed.
///
/// # Errors
/// `VALIDATION_FAILED` for a date of which a forecast says nothing.
pub async fn forecast(
    shop: &Subscriptions,
    date: NaiveDate,
    part: Part,
) -> Result<Page<ForecastLine>> {
    let zone = shop.clock.zone();
    check_foreseeable(calendar::date(zone, shop.clock.now()), date)?;
    let after = date.succ_opt().unwrap_or(date);
    let until = calendar::start_of_day(zone, after);
    let ending = store::ending(&mut shop.db.read().await?, until).await?;
    let total = i64::try_from(ending.len()).unwrap_or(i64::MAX);
    let offset = usize::try_from(part.offset).unwrap_or(usize::MAX);
    let limit = usize::try_from(part.limit).unwrap_or_default();
    let shown = ending.iter().skip(offset).take(limit);
    let shown: HashSet<SubscriptionId> = shown.map(|one| one.id).collect();
    let periods = MOST_PERIODS;
    let extent = Extent {
        until,
        periods,
        warns: false,
    };
    let mut lines = walk(shop, that_matter(ending, &shown), extent).await?;
    lines.retain(|line| shown.contains(&line.subscription_id));
    Ok(Page {
        items: lines,
        total,
    })
}

/// Returns those that are shown, and those that leave less to them: they share a wallet or a coupon's budget
/// with them, or with others that do. Also one whose period ends later may be renewed before they are renewed again.
fn that_matter(ending: Vec<Ending>, shown: &HashSet<SubscriptionId>) -> Vec<Ending> {
    if shown.len() == ending.len() {
        return ending;
    }
    let all: Vec<store::Due> = ending.iter().map(store::Due::from).collect();
    let lanes = lanes::of(&all).into_iter();
    let lanes = lanes.filter(|lane| lane.iter().any(|id| shown.contains(id)));
    let related: HashSet<SubscriptionId> = lanes.flatten().collect();
    let ending = ending.into_iter();
    ending.filter(|one| related.contains(&one.id)).collect()
}

fn check_foreseeable(today: NaiveDate, date: NaiveDate) -> Result<()> {
    let first = today.checked_sub_days(LOOK_BACK).unwrap_or(today);
    let last = today.checked_add_months(LOOK_AHEAD).unwrap_or(today);
    if (first..=last).contains(&date) {
        return Ok(());
    }
    let message = format!("must be between {first} and {last}");
    Err(Error::invalid("date", message))
}

/// Returns all active subscriptions of which a period ends within so many days that the wallet does not hold enough
/// to renew, the first to end first. They are walked through as for a [`forecast`]: what is renewed meanwhile is paid.
///
/// # Errors
/// When the database does not answer.
pub async fn low_credit(shop: &Subscriptions, days: u64) -> Result<Vec<ForecastLine>> {
    let until = calendar::add_days(shop.clock.zone(), shop.clock.now(), Days::new(days));
    let until = until.ok_or_else(|| Error::invalid("days", "reaches beyond the calendar"))?;
    let ending = store::ending(&mut shop.db.read().await?, until).await?;
    // Unpaid ones are in it, since they are paid first when money comes. Within the days of a warning nearly none of
    // them has a second period, and none is priced.
    let periods = MOST_PERIODS;
    let extent = Extent {
        until,
        periods,
        warns: true,
    };
    let mut lines = walk(shop, ending, extent).await?;
    lines.retain(|line| {
        matches!(line.status, ShownStatus::Pending | ShownStatus::Active) && is_short(line)
    });
    Ok(lines)
}

/// Returns a part of the list of [`low_credit`].
///
/// # Errors
/// As [`low_credit`].
pub async fn low_credit_page(
    shop: &Subscriptions,
    days: u64,
    part: Part,
) -> Result<Page<ForecastLine>> {
    // Only prices and wallets say who is on it, so that a part costs as much as the whole.
    Ok(Page::of(low_credit(shop, days).await?, part))
}

/// Facts about a subscription whose period is over, besides its own row.
pub(super) struct Facts<'a> {
    /// The instance has not run in this period, and nothing is charged before it does.
    pub(super) is_held: bool,
    /// Price of the next period, if there will be one.
    pub(super) price: &'a Result<Option<Rupiah>>,
    /// Credit that is left for it.
    pub(super) balance: Rupiah,
}

/// Returns the course of a subscription until a moment: the steps of the nightly jobs, decided by their rules.
pub(super) fn foreseen(
    billing: &Settings,
    seen: &Subscription,
    facts: &Facts<'_>,
    (zone, now, at): (Tz, DateTime<Utc>, DateTime<Utc>),
) -> Result<Forecast> {
    if facts.is_held {
        return Ok(Forecast::Held);
    }
    let course = Course::of(seen, billing);
    let later = match (course, facts.price) {
        (Course::Ends, _) | (_, Ok(None)) => return Ok(Forecast::Ends),
        (Course::Charged, Ok(Some(due))) if *due <= facts.balance => return Ok(Forecast::Renews),
        (Course::Charged, Ok(Some(_))) => {
            dunning::unpaid_by(seen, billing, (zone, now.min(at), at))
        }
        // A plugin that fails puts no customer into arrears.
        (Course::Charged, Err(_)) | (Course::Waits, _) => seen.clone(),
    };
    let kept_since = dunning::kept_since(billing, (zone, at))?;
    Ok(match (seen.status, later.status) {
        _ if dunning::is_forgotten(&later, kept_since) => Forecast::Ends,
        _ if course == Course::Charged && facts.price.is_err() => Forecast::Unknown,
        (before, after) if before == after => Forecast::Waits,
        (_, SubscriptionStatus::PastDue) => Forecast::Fails,
        _ => Forecast::Suspends,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, ids::CouponId, test_database::ended};

    const PRICE: Rupiah = Rupiah::new(50_000);

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn billing() -> Settings {
        Settings {
            auto_renewal: true,
            grace_period: true,
            grace_days: 7,
            retention: Days::new(14),
            ..Settings::default()
        }
    }

    fn course(
        billing: &Settings,
        seen: &Subscription,
        price: &Result<Option<Rupiah>>,
        (now, until): (&str, &str),
    ) -> Forecast {
        let facts = Facts {
            is_held: false,
            price,
            balance: Rupiah::new(49_999),
        };
        foreseen(billing, seen, &facts, (Tz::UTC, at(now), at(until))).unwrap()
    }

    /// Each step is taken at its moment, and by the moment of the next one that one is taken.
    #[test]
    fn what_is_not_paid_goes_through_all_steps() {
        use SubscriptionStatus::{Active, PastDue, Suspended};
        let over = at("2028-01-17T12:00:00Z");
        let state = |status: SubscriptionStatus| Subscription {
            grace_until: (status == PastDue).then_some(over),
            suspended_at: (status == Suspended).then_some(over),
            ..ended(status)
        };
        let steps = [
            (
                "2028-01-10T12:00:00Z",
                [Forecast::Fails, Forecast::Waits, Forecast::Waits],
            ),
            (
                "2028-01-17T11:59:59Z",
                [Forecast::Fails, Forecast::Waits, Forecast::Waits],
            ),
            (
                "2028-01-17T12:00:00Z",
                [Forecast::Suspends, Forecast::Suspends, Forecast::Waits],
            ),
            (
                "2028-01-31T11:59:59Z",
                [Forecast::Suspends, Forecast::Suspends, Forecast::Waits],
            ),
            ("2028-01-31T12:00:00Z", [Forecast::Ends; 3]),
        ];
        for (until, expected) in steps {
            for (status, expected) in [Active, PastDue, Suspended].into_iter().zip(expected) {
                let moments = ("2028-01-09T00:00:00Z", until);
                let found = course(&billing(), &state(status), &Ok(Some(PRICE)), moments);
                assert_eq!(found, expected, "{status} {until}");
            }
        }
        // A job that was late keeps the data from its own day on.
        for (until, expected) in [
            ("2028-01-31T12:00:00Z", Forecast::Suspends),
            ("2028-02-03T00:00:00Z", Forecast::Ends),
        ] {
            let moments = ("2028-01-20T00:00:00Z", until);
            let found = course(&billing(), &state(PastDue), &Ok(Some(PRICE)), moments);
            assert_eq!(found, expected, "{until}");
        }
    }

    #[test]
    fn every_course_has_a_name() {
        let moments = ("2028-01-11T00:00:00Z", "2028-01-12T00:00:00Z");
        let (active, priced) = (ended(SubscriptionStatus::Active), Ok(Some(PRICE)));
        let of = |billing: &Settings, seen: &Subscription, price: &Result<Option<Rupiah>>| {
            course(billing, seen, price, moments)
        };
        let cheap = Ok(Some(Rupiah::new(49_999)));
        assert_eq!(of(&billing(), &active, &cheap), Forecast::Renews);
        let without_grace = Settings {
            grace_period: false,
            ..billing()
        };
        assert_eq!(of(&without_grace, &active, &priced), Forecast::Suspends);
        let switched_off = Settings {
            auto_renewal: false,
            ..billing()
        };
        assert_eq!(of(&switched_off, &active, &cheap), Forecast::Waits);
        let not_renewed = Subscription {
            auto_renew: false,
            ..ended(SubscriptionStatus::PastDue)
        };
        assert_eq!(of(&billing(), &not_renewed, &Ok(None)), Forecast::Ends);
        let failing = || Err(Error::new(Code::PluginFailed, "It failed."));
        assert_eq!(of(&billing(), &active, &failing()), Forecast::Unknown);
        let forgotten = Subscription {
            suspended_at: Some(at("2027-12-29T00:00:00Z")),
            ..ended(SubscriptionStatus::Suspended)
        };
        for billing in [billing(), switched_off] {
            assert_eq!(of(&billing, &forgotten, &failing()), Forecast::Ends);
        }
        let facts = Facts {
            is_held: true,
            price: &priced,
            balance: PRICE,
        };
        let moments = (Tz::UTC, at(moments.0), at(moments.1));
        let held = foreseen(&billing(), &active, &facts, moments).unwrap();
        assert_eq!(held, Forecast::Held);
    }

    fn ending(id: u128, user: u128, coupon: Option<u128>) -> Ending {
        Ending {
            id: SubscriptionId::from_u128(id),
            user_id: UserId::from_u128(user),
            coupon_id: coupon.map(CouponId::from_u128),
            email: String::new(),
            period_end: at("2028-01-10T12:00:00Z"),
        }
    }

    #[test]
    fn others_matter_where_they_leave_less_to_what_is_shown() {
        let all = vec![
            ending(1, 7, None),
            ending(2, 8, Some(5)),
            ending(3, 9, None),
            ending(4, 10, Some(5)),
            ending(5, 7, None),
            ending(6, 10, None),
            ending(7, 9, None),
            ending(8, 7, None),
        ];
        let shown = [5, 6].map(SubscriptionId::from_u128).into_iter().collect();
        let found = that_matter(all, &shown);
        let found: Vec<_> = found.iter().map(|one| one.id).collect();
        let expected = [1, 2, 4, 5, 6, 8].map(SubscriptionId::from_u128);
        assert_eq!(
            found, expected,
            "a budget is shared through another customer"
        );
    }

    #[test]
    fn a_forecast_is_for_dates_of_which_it_says_something() {
        let date = |text: &str| text.parse().unwrap();
        let today = date("2027-03-31");
        for good in ["2027-02-28", "2027-03-31", "2029-03-31"] {
            check_foreseeable(today, date(good)).unwrap();
        }
        for wrong in ["1970-01-01", "2027-02-27", "2029-04-01", "9999-12-31"] {
            let refused = check_foreseeable(today, date(wrong)).unwrap_err();
            let detail = &refused.details[0];
            assert_eq!(
                (&*detail.field, &*detail.message),
                ("date", "must be between 2027-02-28 and 2029-03-31"),
                "{wrong}"
            );
        }
    }
}
