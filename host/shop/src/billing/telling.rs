//! Jobs that tell people of what is due: warnings and reminders for customers, a summary for
//! administrators. Each goes out once for its cause and its period, however often a job runs.

use chrono::{DateTime, Days, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::json;

use super::{ForecastLine, low_credit, note, store};
use crate::{
    Result, calendar,
    db::Conn,
    ids::SubscriptionId,
    money::Rupiah,
    outbox::{self, ADMINISTRATORS, Topic},
    scheduler::{Outcome, Progress},
    subscriptions::{
        self, FreezeState, SubscriptionStatus as Status, Subscriptions,
        overview::keep_days,
        renewal::{is_as_seen, price},
    },
    timekeeping,
    wallet::{self, TransactionStatus, TransactionType, TypeTotal},
};

/// Names of the jobs.
pub const LOW_CREDIT_NOTIFICATIONS: &str = "low-credit-notifications";
pub const GRACE_PERIOD_REMINDERS: &str = "grace-period-reminders";
pub const BILLING_STATS: &str = "billing-stats";

/// Longest time between the moment of a payment and its commit: a summary ends so long before it is told, or
/// it would miss those under way.
const WRITTEN_WITHIN: TimeDelta = TimeDelta::minutes(1);
/// Shortest time that a summary tells of. A run that comes sooner after another leaves it to the next one.
const SHORTEST: TimeDelta = TimeDelta::minutes(10);
/// Longest time before today that the first summary tells of.
const LOOK_BACK: Days = Days::new(366);

/// The job [`LOW_CREDIT_NOTIFICATIONS`]: warns customers whose next period is due soon and whose
/// wallet does not hold enough for it, once for each period.
///
/// # Errors
/// When the database does not answer; `UNAVAILABLE` while the clock is in doubt.
pub async fn warn_of_low_credit(shop: &Subscriptions, progress: &Progress) -> Result<Outcome> {
    if !shop.settings.low_credit_warning {
        return Ok(Outcome::default());
    }
    timekeeping::trusted(&shop.clock)?;
    let mut lines = low_credit(shop, shop.settings.low_credit_days).await?;
    // A warning names the end of the period that runs: a later one is warned of while it runs.
    lines.retain(|line| line.renewals == 0);
    progress.expect(lines.len());
    let mut outcome = Outcome::default();
    for line in lines {
        let told = warn(shop, &line).await;
        let told = told.as_ref().copied();
        note(&mut outcome, progress, line.subscription_id, told);
    }
    Ok(outcome)
}

async fn warn(shop: &Subscriptions, line: &ForecastLine) -> Result<bool> {
    let mut conn = shop.db.begin().await?;
    // A renewal takes this lock, too: what it has paid for since the forecast needs no warning.
    wallet::lock(&mut conn, line.user_id).await?;
    let row = subscriptions::row(&mut conn, line.subscription_id).await?;
    let seen = &row.subscription;
    if seen.period_end != line.period_end || seen.status != Status::Active {
        return Ok(false);
    }
    let payload = json!({
        "subscriptionId": seen.id,
        "service": row.service_name,
        "plan": subscriptions::next_plan_name(&mut conn, &row).await?,
        "periodEnd": calendar::json_text(line.period_end),
        "due": line.due,
        "missing": line.missing,
        "isFrozen": seen.freeze_state != FreezeState::None,
    });
    let key = super::once_until(seen);
    let what = (Topic::LowCreditWarning, seen.user_id.into());
    let is_new = outbox::put_once(&mut conn, &shop.clock, what, &key, payload).await?;
    conn.commit().await?;
    Ok(is_new)
}

/// The job [`GRACE_PERIOD_REMINDERS`]: reminds customers, once a day, of unpaid services that run on
/// for a while.
///
/// # Errors
/// When the database does not answer; `UNAVAILABLE` while the clock is in doubt.
pub async fn remind_of_grace(shop: &Subscriptions, progress: &Progress) -> Result<Outcome> {
    timekeeping::trusted(&shop.clock)?;
    let ids = store::in_grace(&mut shop.db.read().await?, shop.clock.now()).await?;
    progress.expect(ids.len());
    let mut outcome = Outcome::default();
    for id in ids {
        let told = remind(shop, id).await;
        note(&mut outcome, progress, id, told.as_ref().copied());
    }
    Ok(outcome)
}

async fn remind(shop: &Subscriptions, id: SubscriptionId) -> Result<bool> {
    let now = shop.clock.now();
    let row = subscriptions::row(&mut shop.db.read().await?, id).await?;
    let due = match price(shop, &row).await {
        Ok(next) => next.due()?,
        // That of the last attempt, when the plugin does not answer.
        Err(_) => row.subscription.unpaid.unwrap_or(Rupiah::ZERO),
    };
    let mut conn = shop.db.begin().await?;
    let seen = &row.subscription;
    if !is_as_seen(&mut conn, seen).await? {
        // It is paid for by now, or changed: the next run tells of it.
        return Ok(false);
    }
    let Some(until) = seen.grace_until.filter(|until| *until > now) else {
        return Ok(false);
    };
    let balance = wallet::balance(&mut conn, seen.user_id).await?.total()?;
    let missing = due.minus(balance)?;
    // It is renewed within seconds.
    if seen.status != Status::PastDue || !missing.is_positive() {
        return Ok(false);
    }
    let payload = json!({
        "subscriptionId": seen.id,
        "service": row.service_name,
        "plan": subscriptions::next_plan_name(&mut conn, &row).await?,
        "due": due,
        "missing": missing,
        "isFrozen": seen.freeze_state != FreezeState::None,
        "graceUntil": calendar::json_text(until),
    });
    let today = calendar::date(shop.clock.zone(), now);
    let key = format!("{id}:{}:{today}", seen.period_number);
    let what = (Topic::GracePeriodReminder, seen.user_id.into());
    let is_new = outbox::put_once(&mut conn, &shop.clock, what, &key, payload).await?;
    conn.commit().await?;
    Ok(is_new)
}

/// The job [`BILLING_STATS`]: tells administrators the figures of the time since the last summary, and keeps those
/// of days that are over.
///
/// # Errors
/// When the database does not answer; `UNAVAILABLE` while the clock is in doubt.
pub async fn summarise(shop: &Subscriptions) -> Result<Outcome> {
    let clock = &shop.clock;
    keep_days(&shop.db, clock).await?;
    timekeeping::trusted(clock)?;
    let what = (Topic::AdminBillingSummary, ADMINISTRATORS);
    let mut conn = shop.db.snapshot().await?;
    let last = outbox::covered_until(&mut conn, what).await?;
    let now = clock.now();
    let first = match last {
        Some(_) => None,
        None => wallet::first_since(&mut conn, days_before(clock.zone(), now, LOOK_BACK)).await?,
    };
    let Some((since, until)) = untold(clock.zone(), now, (last, first)) else {
        return Ok(Outcome::default());
    };
    let figures = figures(&mut conn, (since, until)).await?;
    drop(conn);
    let short = low_credit(shop, shop.settings.low_credit_days).await?.len();
    let since = calendar::json_text(since);
    let payload = json!({
        "date": calendar::date(clock.zone(), until),
        "since": since,
        "until": calendar::json_text(until),
        "paid": figures.paid.0,
        "paidAmount": figures.paid.1,
        "topUps": figures.top_ups.0,
        "topUpAmount": figures.top_ups.1,
        "pending": figures.pending,
        "active": figures.of(Status::Active).saturating_sub(figures.pending),
        "pastDue": figures.of(Status::PastDue),
        "suspended": figures.of(Status::Suspended),
        "lowCredit": short,
        "warningDays": shop.settings.low_credit_days,
    });
    let mut conn = shop.db.begin().await?;
    // Each summary begins where the last one ends: of two servers at the same instant one tells what begins there.
    let is_new = outbox::put_once(&mut conn, clock, what, &since, payload).await?;
    conn.commit().await?;
    Ok(Outcome::of(is_new.into()))
}

/// Returns the time that a summary covers, if there is enough of it to tell of: from the end of the last summary on,
/// or else from the beginning of the day before, or from the first transaction where that came earlier.
fn untold(
    zone: Tz,
    now: DateTime<Utc>,
    (last, first): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let until = now - WRITTEN_WITHIN;
    // A clock that was far ahead may have written it down: it silences no summary until then.
    let last = last.filter(|last| *last - now <= TimeDelta::days(1));
    let since = last.unwrap_or_else(|| {
        let yesterday = days_before(zone, now, Days::new(1));
        first.map_or(yesterday, |first| first.min(yesterday))
    });
    (until - since >= SHORTEST).then_some((since, until))
}

/// Returns the beginning of the day so many days before today.
fn days_before(zone: Tz, now: DateTime<Utc>, days: Days) -> DateTime<Utc> {
    let today = calendar::date(zone, now);
    calendar::start_of_day(zone, today.checked_sub_days(days).unwrap_or(today))
}

struct Figures {
    by_status: Vec<(Status, i64)>,
    /// Active ones that wait for their first delivery.
    pending: i64,
    /// Periods that were paid and not undone since: how many, and how much. A purchase that is undone, since it could
    /// not be set up, counts as none.
    paid: (i64, Rupiah),
    /// Top-ups that were received, also those that were taken back since: that is no part of a summary.
    top_ups: (i64, Rupiah),
}

impl Figures {
    fn of(&self, status: Status) -> i64 {
        let found = self.by_status.iter().find(|(other, _)| *other == status);
        found.map_or(0, |(_, count)| *count)
    }
}

async fn figures(
    conn: &mut Conn,
    (since, until): (DateTime<Utc>, DateTime<Utc>),
) -> Result<Figures> {
    let totals = wallet::totals_between(conn, since, until).await?;
    // A payment leaves its wallet, so that its amount is negative.
    let (periods, charged) = sum(&totals, |one| {
        one.kind == TransactionType::Subscription && one.status == TransactionStatus::Completed
    })?;
    Ok(Figures {
        paid: (periods, charged.negated()),
        top_ups: sum(&totals, |one| {
            one.kind == TransactionType::TopUp && one.status.took_effect()
        })?,
        by_status: store::count_by_status(conn).await?,
        pending: subscriptions::count_waiting(conn).await?,
    })
}

/// Returns the number and the amount of the transactions that are meant.
fn sum(totals: &[TypeTotal], is_meant: impl Fn(&TypeTotal) -> bool) -> Result<(i64, Rupiah)> {
    let meant: Vec<&TypeTotal> = totals.iter().filter(|one| is_meant(one)).collect();
    let number = meant.iter().map(|one| one.count).sum();
    let amount = Rupiah::total(meant.iter().map(|one| one.amount))?;
    Ok((number, amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_summary_begins_where_the_last_one_ends() {
        // 23:00 and 01:00 in Jakarta.
        for now in ["2028-01-10T16:00:00Z", "2028-01-10T18:00:00Z"].map(at) {
            let last = at("2028-01-09T15:59:00Z");
            let expected = Some((last, now - TimeDelta::minutes(1)));
            let found = untold(Tz::Asia__Jakarta, now, (Some(last), None));
            assert_eq!(found, expected);
        }
        // Without one, or with one by a clock that was a year ahead.
        for last in [None, Some(at("2029-01-09T15:59:00Z"))] {
            let now = at("2028-01-10T16:00:00Z");
            let first = untold(Tz::Asia__Jakarta, now, (last, None));
            let expected = ("2028-01-08T17:00:00Z", "2028-01-10T15:59:00Z");
            assert_eq!(first, Some((at(expected.0), at(expected.1))));
        }
    }

    #[test]
    fn the_first_summary_begins_with_the_first_transaction() {
        let now = at("2028-01-10T16:00:00Z");
        for (first, since) in [
            ("2027-12-24T03:04:05Z", "2027-12-24T03:04:05Z"),
            ("2028-01-10T10:00:00Z", "2028-01-08T17:00:00Z"),
        ] {
            let found = untold(Tz::Asia__Jakarta, now, (None, Some(at(first))));
            assert_eq!(found.map(|(since, _)| since), Some(at(since)), "{first}");
        }
        let earliest = days_before(Tz::Asia__Jakarta, now, LOOK_BACK);
        assert_eq!(earliest, at("2027-01-08T17:00:00Z"));
    }

    #[test]
    fn a_run_right_after_another_tells_nothing() {
        let last = at("2028-01-10T15:59:00Z");
        for (now, is_told) in [
            // A clock that was put back.
            ("2028-01-10T15:00:00Z", false),
            ("2028-01-10T16:00:30Z", false),
            ("2028-01-10T16:09:59Z", false),
            ("2028-01-10T16:10:00Z", true),
        ] {
            let found = untold(Tz::UTC, at(now), (Some(last), None));
            assert_eq!(found.is_some(), is_told, "{now}");
        }
    }
}
