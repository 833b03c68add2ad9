//! Forecast of the next periods' prices.

use std::collections::HashMap;

use chrono::{DateTime, Days, Months, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::store;
use crate::{
    Error, Result, calendar,
    coupons::Continued,
    ids::{CouponId, SubscriptionId, UserId},
    money::Rupiah,
    subscriptions::{
        self, PriceLineView, SubscriptionRow, SubscriptionStatus, Subscriptions, delivery,
        renewal::{Next, price},
    },
    text_enum, wallet,
};

/// Most subscriptions that one forecast looks at.
const MOST_LINES: i64 = 500;
/// Time before today within which the last date of a forecast may be: periods that are over are
/// renewed within days.
const LOOK_BACK: Days = Days::new(31);
/// Time from today within which it may be: prices and wallets of later years are not known.
const LOOK_AHEAD: Months = Months::new(60);

/// Price of the next period of a subscription.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BillingInfo {
    pub status: SubscriptionStatus,
    pub auto_renew: bool,
    /// Calendar months of the next period.
    pub term_months: i64,
    /// End of the period that is paid for.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub period_end: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub grace_until: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub suspended_at: Option<DateTime<Utc>>,
    /// Moment since which nothing is charged, because the instance has not run in this period.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub held_since: Option<DateTime<Utc>>,
    /// They add up to `due`. Empty when there is no next period.
    #[serde(serialize_with = "crate::subscriptions::lines_in_words")]
    pub lines: Vec<PriceLineView>,
    /// Price of the next period as things are; absent when there is none.
    pub due: Option<Rupiah>,
    /// Reason why a coupon that is left takes nothing off.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub coupon_gives_nothing: Option<String>,
    /// Price of a new period that begins now, of a service that is frozen.
    pub thaw: Option<Rupiah>,
    pub balance: Rupiah,
    /// Amount to top up before.
    pub missing: Rupiah,
}

/// Returns the next charge of a customer's subscription.
///
/// # Errors
/// `NOT_FOUND` when it is not this customer's; `PLUGIN_*` when a plugin fails.
pub async fn billing_info(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
) -> Result<BillingInfo> {
    let mut conn = shop.db.read().await?;
    let row = subscriptions::owned(&mut conn, user_id, id).await?;
    let balance = wallet::balance(&mut conn, user_id).await?.total()?;
    drop(conn);
    let next = next(shop, &row).await?;
    let due = next.as_ref().map(Next::due).transpose()?;
    let missing = due.unwrap_or(Rupiah::ZERO).minus(balance)?;
    let thaw = subscriptions::price_of_thaw(shop, &row).await?;
    let subscription = row.subscription;
    Ok(BillingInfo {
        status: subscription.status,
        auto_renew: subscription.auto_renew,
        term_months: subscription.next_months(),
        period_end: subscription.period_end,
        grace_until: subscription.grace_until,
        suspended_at: subscription.suspended_at,
        held_since: subscription.held_since,
        lines: next.as_ref().map(Next::explained).unwrap_or_default(),
        due,
        coupon_gives_nothing: next.and_then(|next| match next.coupon {
            Some(Continued::Nothing { reason, .. }) => Some(reason),
            _ => None,
        }),
        thaw,
        balance,
        missing: missing.max(Rupiah::ZERO),
    })
}

/// The next period, if there will be one.
async fn next(shop: &Subscriptions, row: &SubscriptionRow) -> Result<Option<Next>> {
    let subscription = &row.subscription;
    if subscription.auto_renew && subscription.status.is_live() {
        Ok(Some(price(shop, row).await?))
    } else {
        Ok(None)
    }
}

text_enum! {
    /// Expected step of a subscription when its period is over.
    pub enum Forecast {
        Renews = "RENEWS",
        /// The wallet does not hold enough.
        Fails = "FAILS",
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
    pub status: SubscriptionStatus,
    /// Calendar months of the next period.
    pub term_months: i64,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub period_end: DateTime<Utc>,
    pub forecast: Forecast,
    /// Amount that will be charged.
    pub due: Option<Rupiah>,
    /// Amount missing for it, after the customer's subscriptions before this one were paid.
    pub missing: Option<Rupiah>,
    /// Reason why it is not known.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub problem: Option<String>,
}

/// Forecasts the subscriptions whose period ends until the end of a date, with the wallets as they
/// are; the first to end first, at most 500.
///
/// # Errors
/// `VALIDATION_FAILED` for a date of which a forecast says nothing.
pub async fn forecast(shop: &Subscriptions, date: NaiveDate) -> Result<Vec<ForecastLine>> {
    let zone = shop.clock.zone();
    check_foreseeable(calendar::date(zone, shop.clock.now()), date)?;
    let after = date.succ_opt().unwrap_or(date);
    let until = calendar::start_of_day(zone, after);
    let ending = store::ending(&mut shop.db.read().await?, until, MOST_LINES).await?;
    forecast_each(shop, ending, until).await
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

/// Returns all active subscriptions whose period ends within so many days and whose wallet does not
/// hold enough for the next one, the first to end first.
///
/// # Errors
/// When the database does not answer.
pub async fn low_credit(shop: &Subscriptions, days: u64) -> Result<Vec<ForecastLine>> {
    let until = calendar::add_days(shop.clock.zone(), shop.clock.now(), Days::new(days));
    let until = until.ok_or_else(|| Error::invalid("days", "reaches beyond the calendar"))?;
    let ending = store::ending(&mut shop.db.read().await?, until, i64::MAX).await?;
    // Unpaid ones are in it, since they are paid first when money comes.
    let mut lines = forecast_each(shop, ending, until).await?;
    lines.retain(|line| {
        line.status == SubscriptionStatus::Active && line.forecast == Forecast::Fails
    });
    Ok(lines)
}

/// Effects that the lines of a forecast have on those after them.
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

/// Returns what is to be expected of a period of this price, its price where it is charged, and the reason why it
/// is not known.
fn foreseen(
    price: Result<Option<Rupiah>>,
    is_held: bool,
    balance: Rupiah,
) -> (Forecast, Option<Rupiah>, Option<String>) {
    match price {
        Ok(None) => (Forecast::Ends, None, None),
        Ok(Some(_)) if is_held => (Forecast::Held, None, None),
        Ok(Some(due)) if due <= balance => (Forecast::Renews, Some(due), None),
        Ok(Some(due)) => (Forecast::Fails, Some(due), None),
        Err(error) => (Forecast::Unknown, None, Some(error.message)),
    }
}

/// Forecasts these subscriptions, in their order, as far as their periods still end before a moment: they may
/// be renewed meanwhile.
async fn forecast_each(
    shop: &Subscriptions,
    ending: Vec<(SubscriptionId, String)>,
    until: DateTime<Utc>,
) -> Result<Vec<ForecastLine>> {
    let mut before = Before::default();
    let mut lines = Vec::with_capacity(ending.len());
    for (id, email) in ending {
        // As of one moment, or a renewal in between would be paid for twice.
        let mut conn = shop.db.snapshot().await?;
        let row = subscriptions::row(&mut conn, id).await?;
        if row.subscription.period_end >= until {
            continue;
        }
        let user_id = row.subscription.user_id;
        let is_held = delivery::never_ran(&mut conn, &row.subscription).await?;
        let balance = match before.balances.get(&user_id) {
            Some(left) => *left,
            None => wallet::balance(&mut conn, user_id).await?.total()?,
        };
        drop(conn);
        let mut next = next(shop, &row).await;
        if let Ok(Some(next)) = &mut next {
            before.keep_to_budget(next);
        }
        let taken = next.as_ref().ok().and_then(Option::as_ref);
        let plan = taken.map_or(&*row.plan_slug, |next| next.plan_slug(&row));
        let plan = plan.to_owned();
        let taken = taken.and_then(Next::taken_from);
        let price = next.and_then(|next| next.map(|next| next.due()).transpose());
        let (forecast, due, problem) = foreseen(price, is_held, balance);
        let charged = due.filter(|_| forecast == Forecast::Renews);
        before.note((user_id, balance), charged, taken)?;
        let missing = due.map(|due| due.minus(balance)).transpose()?;
        lines.push(ForecastLine {
            subscription_id: id,
            user_id,
            email,
            service: row.service_slug,
            plan,
            status: row.subscription.status,
            term_months: row.subscription.next_months(),
            period_end: row.subscription.period_end,
            forecast,
            due,
            missing: missing.map(|missing| missing.max(Rupiah::ZERO)),
            problem,
        });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_is_for_dates_of_which_it_says_something() {
        let date = |text: &str| text.parse().unwrap();
        let today = date("2027-03-31");
        for good in ["2027-02-28", "2027-03-31", "2032-03-31"] {
            check_foreseeable(today, date(good)).unwrap();
        }
        for wrong in ["1970-01-01", "2027-02-27", "2032-04-01", "9999-12-31"] {
            let refused = check_foreseeable(today, date(wrong)).unwrap_err();
            let detail = &refused.details[0];
            assert_eq!(
                (&*detail.field, &*detail.message),
                ("date", "must be between 2027-02-28 and 2032-03-31"),
                "{wrong}"
            );
        }
    }
}
