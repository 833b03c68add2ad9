//! Figures of services in a stretch of time: those of days that are over are kept, the rest is counted.
//!
//! Figures of a day that is over stay as they are: a subscription begins and ends once, and what was posted
//! is never changed.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    statistics::{MOST_MONTHS, bounds},
    store::{self, KeptFigures},
};
use crate::{
    Result, calendar,
    db::{Clock, Conn, Db},
    ids::ServiceId,
    money::Rupiah,
    timekeeping::{self, SETTLED},
    wallet::Account,
};

/// Longest day.
const DAY: TimeDelta = TimeDelta::hours(26);

/// Begin, and the moment after the end.
type Stretch = (DateTime<Utc>, DateTime<Utc>);

/// Figures of services, by their slugs.
#[derive(Debug, Default)]
pub(super) struct Figures(BTreeMap<String, KeptFigures>);

impl Figures {
    /// Returns the figures of a service; none where nothing happened.
    pub(super) fn of(&self, service: &str) -> Option<&KeptFigures> {
        self.0.get(service)
    }

    fn service(&mut self, service_id: ServiceId, service: String) -> &mut KeptFigures {
        self.0
            .entry(service.clone())
            .or_insert_with(|| KeptFigures {
                service_id,
                service,
                began: 0,
                ended: 0,
                paid: Rupiah::ZERO,
                bonus: Rupiah::ZERO,
            })
    }

    fn add(&mut self, more: KeptFigures) -> Result<()> {
        let sum = self.service(more.service_id, more.service);
        sum.began = sum.began.saturating_add(more.began);
        sum.ended = sum.ended.saturating_add(more.ended);
        sum.paid = sum.paid.plus(more.paid)?;
        sum.bonus = sum.bonus.plus(more.bonus)?;
        Ok(())
    }

    /// Adds what happened in a stretch of time, read from subscriptions and the ledger.
    async fn count(&mut self, conn: &mut Conn, (from, until): Stretch) -> Result<()> {
        for new in store::count_new(conn, from, until).await? {
            let sum = self.service(new.service_id, new.service);
            sum.began = sum.began.saturating_add(new.number);
        }
        for lost in store::count_lost(conn, from, until).await? {
            let sum = self.service(lost.service_id, lost.service);
            sum.ended = sum.ended.saturating_add(lost.number);
        }
        for paid in store::revenue(conn, from, until).await? {
            let sum = self.service(paid.service_id, paid.service);
            let kind = match paid.account {
                Account::WalletBonus => &mut sum.bonus,
                _ => &mut sum.paid,
            };
            *kind = kind.plus(paid.amount)?;
        }
        Ok(())
    }
}

/// Returns the figures of a stretch of time. The connection sees one moment, so that no day is kept between
/// two of its statements.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn figures(conn: &mut Conn, stretch: Stretch) -> Result<Figures> {
    let (from, until) = stretch;
    let days = store::kept_days(conn, from, until).await?;
    let mut figures = Figures::default();
    if !days.is_empty() {
        for kept in store::kept_figures(conn, from, until).await? {
            figures.add(kept)?;
        }
    }
    for gap in gaps(stretch, &days) {
        figures.count(conn, gap).await?;
    }
    Ok(figures)
}

/// Returns the parts of a stretch that are in none of these days, which are in their order.
fn gaps((from, until): Stretch, days: &[Stretch]) -> Vec<Stretch> {
    let mut gaps = Vec::new();
    let mut at = from;
    for (begin, end) in days {
        if *begin > at {
            gaps.push((at, *begin));
        }
        at = at.max(*end);
    }
    if at < until {
        gaps.push((at, until));
    }
    gaps
}

/// Keeps the figures of all days that are over and that statistics may ask for; returns the number of days.
/// Nothing is kept while the clock is in doubt.
///
/// # Errors
/// When the database does not answer; the days before are kept.
pub(crate) async fn keep_days(db: &Db, clock: &Clock) -> Result<u64> {
    if timekeeping::trusted(clock).is_err() {
        return Ok(0);
    }
    let (zone, now) = (clock.zone(), clock.now());
    let mut conn = db.read().await?;
    let Some(first) = store::first(&mut conn).await? else {
        return Ok(0);
    };
    let (begin, _) = bounds(clock, MOST_MONTHS.saturating_sub(1))?;
    // One of another time zone may begin before, and last until after it.
    let kept = store::kept_days(&mut conn, begin - DAY, now).await?;
    drop(conn);
    let mut days = 0;
    let mut date = calendar::date(zone, first.max(begin));
    while let Some(next) = date.succ_opt() {
        let day = (
            calendar::start_of_day(zone, date),
            calendar::start_of_day(zone, next),
        );
        if day.1 > now - SETTLED {
            break;
        }
        date = next;
        // Days of another time zone stay, and are not kept twice.
        let is_kept = kept
            .iter()
            .any(|(from, until)| *from < day.1 && day.0 < *until);
        if !is_kept && keep(db, day).await? {
            days += 1;
        }
    }
    Ok(days)
}

/// Keeps the figures of a day; false when another server has.
async fn keep(db: &Db, day: Stretch) -> Result<bool> {
    let mut figures = Figures::default();
    figures.count(&mut db.read().await?, day).await?;
    let mut conn = db.begin().await?;
    if !store::insert_day(&mut conn, day.0, day.1).await? {
        conn.rollback().await?;
        return Ok(false);
    }
    for one in figures.0.values() {
        store::insert_figures(&mut conn, day.0, one).await?;
    }
    conn.commit().await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_database::TestDatabase;

    async fn put(database: &TestDatabase, (from, until): Stretch) {
        let mut conn = database.db.begin().await.unwrap();
        assert!(store::insert_day(&mut conn, from, until).await.unwrap());
        conn.commit().await.unwrap();
    }

    /// A right clock keeps a day an hour after its end, or five minutes before that.
    #[tokio::test]
    async fn a_day_that_was_kept_before_its_time_is_forgotten() {
        let database = TestDatabase::open().await;
        for (ended, is_left) in [(-300, false), (0, false), (50, false), (60, true)] {
            let now = database.clock.now();
            let end = now - TimeDelta::minutes(ended);
            put(&database, (end - TimeDelta::hours(24), end)).await;
            let mended = timekeeping::mend(&database.db, &database.clock).await;
            assert_eq!(mended.unwrap() == 0, is_left, "{ended} minutes ago");
            let left = database.number("SELECT count(*) FROM kept_days").await;
            assert_eq!(left == 1, is_left, "{ended} minutes ago");
        }
    }

    #[tokio::test]
    async fn a_day_of_another_time_zone_is_not_kept_twice() {
        let database = TestDatabase::open().await;
        let digest = "0".repeat(64);
        let plugin = ("service-test", "service");
        database.install(plugin, &digest, b"").await;
        let plan = database.sell("service-test", "image").await;
        let clock = &database.clock;
        database.subscribe(plan, "ACTIVE", clock.now()).await;
        clock.advance(TimeDelta::days(1_200));
        let (begin, _) = bounds(clock, MOST_MONTHS - 1).unwrap();
        let (hours, days) = (TimeDelta::hours, TimeDelta::days);
        put(&database, (begin - hours(3), begin + hours(21))).await;
        // Most is kept, so that this takes no time.
        put(&database, (begin + days(5), clock.now() - days(5))).await;
        let kept = keep_days(&database.db, clock).await.unwrap();
        assert!((6..=9).contains(&kept), "{kept} days");
        let twice = "SELECT count(*) FROM kept_days a JOIN kept_days b ON b.from_at > a.from_at AND b.from_at < a.until_at";
        assert_eq!(database.number(twice).await, 0);
    }

    #[test]
    fn what_is_not_kept_is_counted() {
        let at = |hour: i64| DateTime::UNIX_EPOCH + TimeDelta::hours(hour);
        let stretch = |from, until| (at(from), at(until));
        let month = stretch(0, 720);
        assert_eq!(gaps(month, &[]), [month]);
        assert!(gaps(month, &[month]).is_empty());
        let days = [stretch(0, 24), stretch(24, 48), stretch(72, 96)];
        assert_eq!(gaps(month, &days), [stretch(48, 72), stretch(96, 720)]);
        let later = [stretch(24, 48)];
        assert_eq!(gaps(month, &later), [stretch(0, 24), stretch(48, 720)]);
    }
}
