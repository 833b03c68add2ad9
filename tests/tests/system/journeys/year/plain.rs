//! Plain calculation of the year: prices, periods and states of subscriptions, written from the documents
//! and without the shop's code.

use chrono::{DateTime, Days, Months, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

/// Days of grace after an unpaid period, and days for which a suspended service keeps its data.
const GRACE: u64 = 7;
const KEPT: u64 = 14;

/// Repeatable draws (SplitMix64).
pub(super) struct Draws(pub(super) u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most).unwrap()).unwrap()
    }

    /// True so many times of a thousand.
    pub(super) fn happens(&mut self, permille: usize) -> bool {
        self.below(1_000) < permille
    }

    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Moment of a wall time: the first of two where it is repeated, the end of the gap where it is skipped.
fn moment_of(zone: Tz, wall: NaiveDateTime) -> DateTime<Utc> {
    let whole = wall.format("%Y-%m-%d %H:%M").to_string();
    let whole = NaiveDateTime::parse_from_str(&whole, "%Y-%m-%d %H:%M").unwrap();
    let later = (1..=180).map(|minutes| whole + TimeDelta::minutes(minutes));
    let mut walls = std::iter::once(wall).chain(later);
    let found = walls.find_map(|wall| zone.from_local_datetime(&wall).earliest());
    found.unwrap().to_utc()
}

fn months_later(zone: Tz, from: DateTime<Utc>, months: u32) -> DateTime<Utc> {
    let wall = from.with_timezone(&zone).naive_local();
    moment_of(zone, wall + Months::new(months))
}

fn days_later(zone: Tz, from: DateTime<Utc>, days: u64) -> DateTime<Utc> {
    let wall = from.with_timezone(&zone).naive_local();
    moment_of(zone, wall + Days::new(days))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    Database,
    Basic,
    Pro,
}

impl Plan {
    /// Price of a month of its storage, where it can be frozen.
    pub(super) const fn storage(self) -> Option<i64> {
        match self {
            Self::Database => None,
            Self::Basic => Some(10_000),
            Self::Pro => Some(30_000),
        }
    }
}

/// Price list: a month of each plan. Two of them become dearer in the year.
pub(super) struct Prices {
    pub(super) database: i64,
    pub(super) basic: i64,
}

impl Prices {
    pub(super) fn month(&self, plan: Plan) -> i64 {
        match plan {
            Plan::Database => self.database,
            Plan::Basic => self.basic,
            Plan::Pro => 150_000,
        }
    }

    pub(super) fn term(&self, plan: Plan, months: u32) -> i64 {
        let full = self.month(plan) * i64::from(months);
        match (plan, months) {
            (Plan::Basic, 3) => full - full * 5 / 100,
            (Plan::Basic, 6) => full - full * 10 / 100,
            (Plan::Basic, 12) => full - full * 15 / 100,
            (Plan::Pro, 3) => 420_000,
            (Plan::Pro, 12) => 1_500_000,
            _ => full,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coupon {
    /// A seventh part off, more or less, for three months.
    Seventh,
    /// Two months free.
    Free,
}

impl Coupon {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Seventh => "SEPERTUJUH",
            Self::Free => "DUABULAN",
        }
    }

    pub(super) const fn months(self) -> u32 {
        match self {
            Self::Seventh => 3,
            Self::Free => 2,
        }
    }

    /// Returns the amount that it takes off the price of so many months, of which it lasts for some.
    pub(super) fn discount(self, price: i64, months: u32, left: u32) -> i64 {
        let off = match self {
            Self::Seventh => price * 14 / 100,
            Self::Free => price,
        };
        off * i64::from(left.min(months)) / i64::from(months)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freeze {
    None,
    /// From the next period on, at this price of the storage.
    Pending(i64),
    Frozen(i64),
}

#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) plan: Plan,
    pub(super) months: u32,
    /// Price of a period.
    pub(super) price: i64,
    /// Another price, of the periods that begin from a moment on.
    pub(super) next: Option<(i64, DateTime<Utc>)>,
    /// Coupon, and the months that it still lasts.
    pub(super) coupon: Option<(Coupon, u32)>,
    pub(super) freeze: Freeze,
    pub(super) suspended: Option<DateTime<Utc>>,
    pub(super) anchor: DateTime<Utc>,
    /// Months from the anchor to the end of the last paid period.
    pub(super) passed: u32,
    /// Begin and payment of the last paid period.
    pub(super) begun: DateTime<Utc>,
    pub(super) paid: i64,
    /// Day of the last change of it by its customer.
    pub(super) changed_on: usize,
}

impl Subscription {
    pub(super) fn end(&self, zone: Tz) -> DateTime<Utc> {
        months_later(zone, self.anchor, self.passed)
    }

    /// End of the grace of the period that is over.
    pub(super) fn grace(&self, zone: Tz) -> DateTime<Utc> {
        days_later(zone, self.end(zone), GRACE)
    }

    /// Moment until which its data is kept, while it is suspended.
    pub(super) fn kept_until(&self, zone: Tz) -> Option<DateTime<Utc>> {
        Some(days_later(zone, self.suspended?, KEPT))
    }

    pub(super) fn is_over(&self, zone: Tz, now: DateTime<Utc>) -> bool {
        self.end(zone) <= now
    }

    /// Time for which it was switched off: its periods move on by that.
    fn off(&self, now: DateTime<Utc>) -> TimeDelta {
        self.suspended
            .map_or(TimeDelta::zero(), |since| now - since)
    }

    const fn storage(&self) -> Option<i64> {
        match self.freeze {
            Freeze::None => None,
            Freeze::Pending(storage) | Freeze::Frozen(storage) => Some(storage),
        }
    }

    /// Returns the price of a period of the service that begins then, and its charge.
    fn charge_of(&self, begins: DateTime<Utc>) -> (i64, i64) {
        let price = match self.next {
            Some((price, from)) if begins >= from => price,
            _ => self.price,
        };
        let off = self.coupon.map_or(0, |(coupon, left)| {
            coupon.discount(price, self.months, left)
        });
        (price, price - off)
    }

    /// Returns the charge of the next period.
    pub(super) fn due(&self, zone: Tz, now: DateTime<Utc>) -> i64 {
        let begins = self.end(zone) + self.off(now);
        self.storage().unwrap_or_else(|| self.charge_of(begins).1)
    }

    /// Begins a period of the service; returns its charge.
    fn serve(&mut self, begins: DateTime<Utc>) -> i64 {
        let (price, due) = self.charge_of(begins);
        if self.next.is_some_and(|(_, from)| begins >= from) {
            (self.price, self.next) = (price, None);
        }
        if let Some((_, left)) = &mut self.coupon {
            *left = left.saturating_sub(self.months);
        }
        (self.begun, self.paid) = (begins, due);
        due
    }

    /// Moves to the next period; returns its charge. As long as it was switched off, its months move on.
    pub(super) fn go_on(&mut self, zone: Tz, now: DateTime<Utc>) -> i64 {
        let begins = self.end(zone) + self.off(now);
        self.anchor += self.off(now);
        self.suspended = None;
        if let Some(storage) = self.storage() {
            self.freeze = Freeze::Frozen(storage);
            (self.begun, self.paid) = (begins, storage);
            self.passed += 1;
            return storage;
        }
        self.passed += self.months;
        self.serve(begins)
    }

    /// Begins a period of the service now, after a freeze; returns its charge.
    pub(super) fn thaw(&mut self, now: DateTime<Utc>) -> i64 {
        self.freeze = Freeze::None;
        (self.anchor, self.passed) = (now, self.months);
        self.serve(now)
    }

    /// The charge of a thaw at this moment.
    pub(super) fn thaw_price(&self, now: DateTime<Utc>) -> i64 {
        self.charge_of(now).1
    }

    /// Returns the price of the rest of the period in another plan, which its months cost and its term, less
    /// the rest of the payment. Seconds are counted in whole ones.
    pub(super) fn upgrade(&self, (full, price): (i64, i64), now: DateTime<Utc>, zone: Tz) -> i64 {
        let (begun, end) = (self.begun.timestamp(), self.end(zone).timestamp());
        let part = |amount: i64| amount * (end - now.timestamp()) / (end - begun);
        let rest = part(full);
        let reduced = rest - rest * (full - price) / full;
        (reduced - part(self.paid)).max(0)
    }
}
