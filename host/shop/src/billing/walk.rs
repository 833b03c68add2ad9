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
    subscriptions::{
        self, Settings, ShownStatus, Subscription, SubscriptionRow, Subscriptions, delivery,
        renewal::Next,
    },
    wallet,
};

/// Extent of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Periods that end before it are walked through.
    pub(super) until: DateTime<Utc>,
    /// Periods of one subscription, at most.
    pub(super) periods: i64,
    /// True for warnings: they tell of the first period that is not paid in time, and of its price. Lines of
    /// subscriptions that are suspended are not read, and need no price of a later day.
    pub(super) warns: bool,
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

/// A subscription as a step of the walk leaves it.
struct Ahead {
    row: SubscriptionRow,
    present: Present,
    /// Moment of its next step.
    at: DateTime<Utc>,
    /// True where it is suspended, and another price is in force for it from that moment on.
    is_tried_again: bool,
}

/// Result of a step.
#[derive(Default)]
struct Stepped {
    /// Absent where a further try changes nothing, and the line of the first one stays.
    line: Option<ForecastLine>,
    ahead: Option<Ahead>,
}

/// A subscription on its way.
struct Walker {
    id: SubscriptionId,
    email: String,
    /// Periods that were renewed on the way.
    renewals: i64,
    /// The subscription as the last step has left it.
    ahead: Option<Ahead>,
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
    /// Moment at which it is tried again, during its suspension.
    tried_at: Option<DateTime<Utc>>,
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
    let mut lines: BTreeMap<usize, ForecastLine> = BTreeMap::new();
    while let Some(((_, place), mut walker)) = due.pop_first() {
        let stand = stand(shop, &mut walker).await?;
        if stand.row.subscription.period_end >= extent.until {
            continue;
        }
        let Stepped { line, ahead } = step(shop, (&mut walker, stand), &mut before, extent).await?;
        let is_told = extent.warns && lines.get(&place).is_some_and(is_short);
        if let Some(line) = line.filter(|_| !is_told) {
            lines.insert(place, line);
        }
        if let Some(ahead) = ahead
            && walker.renewals < extent.periods
            && ahead.at < extent.until
        {
            due.insert(
                (ahead.at, place),
                Walker {
                    ahead: Some(ahead),
                    ..walker
                },
            );
        }
    }
    Ok(lines.into_values().collect())
}

/// Returns true for the line of a period that the wallet does not hold enough for.
pub(super) fn is_short(line: &ForecastLine) -> bool {
    line.missing.is_some_and(Rupiah::is_positive)
}

/// Returns a subscription as the walk has left it, or as it is.
async fn stand(shop: &Subscriptions, walker: &mut Walker) -> Result<Stand> {
    if let Some(ahead) = walker.ahead.take() {
        return Ok(Stand {
            row: ahead.row,
            present: ahead.present,
            // It is taken to run in periods that have not begun.
            is_held: false,
            balance: Rupiah::ZERO,
            tried_at: ahead.is_tried_again.then_some(ahead.at),
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
        tried_at: None,
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

/// Returns a subscription as it is at a moment if its next period is not paid until then.
fn unpaid(
    seen: &Subscription,
    billing: &Settings,
    (zone, now, at): (Tz, DateTime<Utc>, DateTime<Utc>),
) -> Subscription {
    match Course::of(seen, billing) {
        Course::Charged => dunning::unpaid_by(seen, billing, (zone, now.min(at), at)),
        Course::Ends | Course::Waits => seen.clone(),
    }
}

/// Returns a subscription that is not paid as the move of its price finds it, if it is suspended then and its data is
/// kept. The job of each night tries what is suspended at the price of that night, and the price of a suspended
/// subscription changes with such a move alone.
fn until_price_moves(
    shop: &Subscriptions,
    (row, present): (&SubscriptionRow, Present),
    (zone, now, at): (Tz, DateTime<Utc>, DateTime<Utc>),
) -> Option<Ahead> {
    let (seen, billing) = (&row.subscription, &shop.settings);
    if Course::of(seen, billing) != Course::Charged {
        return None;
    }
    let later = unpaid(seen, billing, (zone, now, at));
    let (since, from) = (later.suspended_at?, later.next_price_from?);
    // The beginning of its next period, which decides about the price, moves on while it is suspended.
    let moves_at = from + (since - later.period_end);
    let ended = calendar::add_days(zone, since, billing.retention);
    let is_kept = ended.is_none_or(|ended| moves_at <= ended);
    if moves_at <= since.max(now) || moves_at > at || !is_kept {
        return None;
    }
    let mut row = row.clone();
    row.subscription = later;
    Some(Ahead {
        row,
        present,
        at: moves_at,
        is_tried_again: true,
    })
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
    let later = unpaid(seen, billing, (zone, now, at));
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

/// Next period of a subscription, as far as its price is known.
struct Priced {
    /// Price of the period; nothing where none follows.
    due: Result<Option<Rupiah>>,
    plan: String,
    /// Coupon of the period, and the discount that it takes from its budget.
    taken: Option<(CouponId, Rupiah)>,
    /// The subscription within the period.
    renewed: Option<SubscriptionRow>,
}

/// Prices the next period of a subscription, if it is paid at a moment.
async fn priced(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    before: &Before,
    at: DateTime<Utc>,
) -> Result<Priced> {
    let next = next_after(shop, row, before, at).await;
    let known = next.as_ref().ok().and_then(Option::as_ref);
    let plan = known.map_or(&*row.plan_slug, |next| next.plan_slug(row));
    Ok(Priced {
        plan: plan.to_owned(),
        taken: known.and_then(Next::taken_from),
        renewed: known.map(|next| next.advanced(row)).transpose()?,
        due: next.and_then(|next| next.map(|next| next.due()).transpose()),
    })
}

/// Forecasts the end of one period of a subscription, and the move of its price during a suspension that follows.
async fn step(
    shop: &Subscriptions,
    (walker, stand): (&mut Walker, Stand),
    before: &mut Before,
    extent: Extent,
) -> Result<Stepped> {
    let seen = &stand.row.subscription;
    let balance = *before.balances.get(&seen.user_id).unwrap_or(&stand.balance);
    let now = shop.clock.now();
    let at = stand.tried_at.unwrap_or(now);
    let priced = Box::pin(priced(shop, &stand.row, before, at)).await?;
    let facts = Facts {
        is_held: stand.is_held,
        price: &priced.due,
        balance,
    };
    // Rules are asked about the last moment, which is the finest that both engines keep.
    let at = extent.until - TimeDelta::milliseconds(1);
    let moments = (shop.clock.zone(), now, at);
    let forecast = foreseen(&shop.settings, seen, &facts, moments)?;
    let renews = forecast == Forecast::Renews;
    if stand.tried_at.is_some() && !renews {
        return Ok(Stepped::default());
    }
    let due = priced.due.as_ref().ok().copied().flatten();
    let mut due = due.filter(|_| forecast != Forecast::Held);
    let charged = due.filter(|_| renews);
    before.note((seen.user_id, balance), charged, priced.taken)?;
    if due.is_some() && !renews && !extent.warns {
        due = due_when_suspended(shop, &stand.row, before, moments)
            .await?
            .or(due);
    }
    let ahead = match priced.renewed {
        Some(renewed) if renews => Some(Ahead {
            at: renewed.subscription.period_end,
            row: renewed,
            present: stand.present,
            is_tried_again: false,
        }),
        _ if due.is_some() => until_price_moves(shop, (&stand.row, stand.present), moments),
        _ => None,
    };
    walker.renewals += i64::from(renews);
    let found = Found {
        plan: priced.plan,
        forecast,
        due,
        missing: due.map(|due| due.minus(balance)).transpose()?,
        problem: priced.due.err().map(|error| error.message),
    };
    Ok(Stepped {
        line: Some(line(walker, stand, found)),
        ahead,
    })
}

/// Outcome of the end of a period.
struct Found {
    plan: String,
    forecast: Forecast,
    due: Option<Rupiah>,
    missing: Option<Rupiah>,
    problem: Option<String>,
}

fn line(walker: &Walker, stand: Stand, found: Found) -> ForecastLine {
    let Stand { row, present, .. } = stand;
    let seen = &row.subscription;
    ForecastLine {
        subscription_id: walker.id,
        user_id: seen.user_id,
        email: walker.email.clone(),
        service: row.service_slug,
        plan: found.plan,
        status: present.status,
        term_months: seen.next_months(),
        period_end: present.period_end,
        forecast: found.forecast,
        expected_at: seen.period_end,
        renewals: walker.renewals,
        due: found.due,
        missing: found.missing.map(|missing| missing.max(Rupiah::ZERO)),
        problem: found
            .problem
            .filter(|_| found.forecast == Forecast::Unknown),
    }
}
