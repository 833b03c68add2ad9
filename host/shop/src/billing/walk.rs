//! Walk through the periods that end until a moment: all subscriptions together, in the order in which their periods
//! end, since what one is charged is not there for those after it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{
    Course, dunning,
    forecast::{Facts, Forecast, ForecastLine, foreseen},
    preview::next_at,
    store::Ending,
};
use crate::{
    Result, calendar,
    ids::{CouponId, SubscriptionId, UserId},
    money::Rupiah,
    subscriptions::{self, ShownStatus, SubscriptionRow, Subscriptions, delivery, renewal::Next},
    wallet,
};

/// Extent of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Periods that end before it are walked through.
    pub(super) until: DateTime<Utc>,
    /// Periods of one subscription, at most.
    pub(super) periods: i64,
    /// False where lines of subscriptions that are suspended already are not read, and need no price of then.
    pub(super) tells_of_suspended: bool,
}

/// Effects that the steps of a walk have on those after them.
#[derive(Debug, Default)]
struct Before {
    /// Credit that is left to customers.
    balances: HashMap<UserId, Rupiah>,
    /// Discounts, since customers share the budget of a coupon.
    given: HashMap<CouponId, Rupiah>,
}

impl Before {
    fn keep_to_budget(&self, next: &mut Next) {
        if let Some((coupon, _)) = next.taken_from() {
            next.keep_to_budget(self.given.get(&coupon).copied().unwrap_or(Rupiah::ZERO));
        }
    }

    /// Notes what a customer is charged, and what a coupon takes off.
    fn note(
        &mut self,
        (user_id, balance): (UserId, Rupiah),
        charged: Option<Rupiah>,
        taken: Option<(CouponId, Rupiah)>,
    ) -> Result<()> {
        let left = match charged {
            Some(due) => balance.minus(due)?,
            None => balance,
        };
        self.balances.insert(user_id, left);
        if let (Some(_), Some((coupon, amount))) = (charged, taken) {
            let sum = self.given.entry(coupon).or_insert(Rupiah::ZERO);
            *sum = sum.plus(amount)?;
        }
        Ok(())
    }
}

/// State of a subscription before the walk.
#[derive(Debug, Clone, Copy)]
struct Present {
    status: ShownStatus,
    period_end: DateTime<Utc>,
}

/// A subscription on its way.
struct Walker {
    id: SubscriptionId,
    email: String,
    /// Periods that were renewed on the way.
    renewals: i64,
    /// The subscription as they leave it.
    ahead: Option<(SubscriptionRow, Present)>,
}

impl From<Ending> for Walker {
    fn from(ending: Ending) -> Self {
        Self {
            id: ending.id,
            email: ending.email,
            renewals: 0,
            ahead: None,
        }
    }
}

/// A subscription at the end of a period.
struct Stand {
    row: SubscriptionRow,
    present: Present,
    is_held: bool,
    /// Credit before the walk began.
    balance: Rupiah,
}

/// Forecasts these subscriptions, in their order, as far as their periods still end before a moment: they may
/// be renewed meanwhile. A line tells of the last period of a subscription that was come to.
pub(super) async fn walk(
    shop: &Subscriptions,
    ending: Vec<Ending>,
    extent: Extent,
) -> Result<Vec<ForecastLine>> {
    let places = ending.into_iter().enumerate();
    let mut due: BTreeMap<(DateTime<Utc>, usize), Walker> = places
        .map(|(place, one)| ((one.period_end, place), one.into()))
        .collect();
    let mut before = Before::default();
    let mut lines = BTreeMap::new();
    while let Some(((_, place), mut walker)) = due.pop_first() {
        let stand = stand(shop, &mut walker).await?;
        let present = stand.present;
        if stand.row.subscription.period_end >= extent.until {
            continue;
        }
        let (line, renewed) = step(shop, (&mut walker, stand), &mut before, extent).await?;
        lines.insert(place, line);
        if let Some(row) = renewed {
            let end = row.subscription.period_end;
            if walker.renewals < extent.periods && end < extent.until {
                walker.ahead = Some((row, present));
                due.insert((end, place), walker);
            }
        }
    }
    Ok(lines.into_values().collect())
}

/// Returns a subscription as the walk has left it, or as it is.
async fn stand(shop: &Subscriptions, walker: &mut Walker) -> Result<Stand> {
    if let Some((row, present)) = walker.ahead.take() {
        return Ok(Stand {
            row,
            present,
            // It is taken to run in periods that have not begun.
            is_held: false,
            balance: Rupiah::ZERO,
        });
    }
    // As of one moment, or a renewal in between would be paid for twice.
    let mut conn = shop.db.snapshot().await?;
    let row = subscriptions::row(&mut conn, walker.id).await?;
    let seen = &row.subscription;
    let is_held = super::may_be_held(seen) && delivery::never_ran(&mut conn, seen).await?;
    let balance = wallet::balance(&mut conn, seen.user_id).await?.total()?;
    let present = Present {
        status: seen.shown_status(),
        period_end: seen.period_end,
    };
    Ok(Stand {
        present,
        is_held,
        balance,
        row,
    })
}

/// Returns the next period of a subscription if it is paid at a moment, whose coupon has what the steps before it
/// leave.
async fn next_after(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    before: &Before,
    at: DateTime<Utc>,
) -> Result<Option<Next>> {
    let mut next = next_at(shop, row, at).await?;
    if let Some(next) = &mut next {
        before.keep_to_budget(next);
    }
    Ok(next)
}

/// Returns the price of the next period of a subscription that is not renewed by a moment, if it is suspended by then:
/// the period begins when it is paid, which is after moves of its price meanwhile.
async fn due_when_suspended(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    before: &Before,
    (zone, now, at): (Tz, DateTime<Utc>, DateTime<Utc>),
) -> Result<Option<Rupiah>> {
    let (seen, billing) = (&row.subscription, &shop.settings);
    let later = match Course::of(seen, billing) {
        Course::Charged => dunning::unpaid_by(seen, billing, (zone, now.min(at), at)),
        Course::Ends | Course::Waits => seen.clone(),
    };
    let Some(since) = later.suspended_at else {
        return Ok(None);
    };
    // It is tried for the last time when it ends.
    let ended = calendar::add_days(zone, since, billing.retention);
    let at = ended.map_or(at, |ended| at.min(ended)).max(now);
    let mut row = row.clone();
    row.subscription = later;
    match Box::pin(next_after(shop, &row, before, at)).await {
        Ok(next) => next.map(|next| next.due()).transpose(),
        // The plugin has answered for an earlier beginning.
        Err(_) => Ok(None),
    }
}

/// Forecasts the end of one period of a subscription; returns it as it is then, if it is renewed.
async fn step(
    shop: &Subscriptions,
    (walker, stand): (&mut Walker, Stand),
    before: &mut Before,
    extent: Extent,
) -> Result<(ForecastLine, Option<SubscriptionRow>)> {
    let Stand {
        row,
        present,
        is_held,
        balance,
    } = stand;
    let seen = &row.subscription;
    let balance = *before.balances.get(&seen.user_id).unwrap_or(&balance);
    let now = shop.clock.now();
    let next = next_after(shop, &row, before, now).await;
    let priced = next.as_ref().ok().and_then(Option::as_ref);
    let plan = priced.map_or(&*row.plan_slug, |next| next.plan_slug(&row));
    let plan = plan.to_owned();
    let taken = priced.and_then(Next::taken_from);
    let after = priced.map(|next| next.advanced(&row)).transpose()?;
    let price = next.and_then(|next| next.map(|next| next.due()).transpose());
    let facts = Facts {
        is_held,
        price: &price,
        balance,
    };
    // Rules are asked about the last moment, which is the finest that both engines keep.
    let at = extent.until - TimeDelta::milliseconds(1);
    let moments = (shop.clock.zone(), now, at);
    let forecast = foreseen(&shop.settings, seen, &facts, moments)?;
    let renews = forecast == Forecast::Renews;
    let due = price.as_ref().ok().copied().flatten();
    let mut due = due.filter(|_| forecast != Forecast::Held);
    before.note((seen.user_id, balance), due.filter(|_| renews), taken)?;
    let is_told = extent.tells_of_suspended || present.status != ShownStatus::Suspended;
    if due.is_some() && !renews && is_told {
        due = due_when_suspended(shop, &row, before, moments)
            .await?
            .or(due);
    }
    let missing = due.map(|due| due.minus(balance)).transpose()?;
    let problem = price.err().map(|error| error.message);
    walker.renewals += i64::from(renews);
    let line = ForecastLine {
        subscription_id: walker.id,
        user_id: seen.user_id,
        email: walker.email.clone(),
        service: row.service_slug,
        plan,
        status: present.status,
        term_months: seen.next_months(),
        period_end: present.period_end,
        forecast,
        expected_at: seen.period_end,
        renewals: walker.renewals,
        due,
        missing: missing.map(|missing| missing.max(Rupiah::ZERO)),
        problem: problem.filter(|_| forecast == Forecast::Unknown),
    };
    Ok((line, after.filter(|_| renews)))
}
