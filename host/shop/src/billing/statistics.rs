//! Billing in numbers: what is paid, what is not, what comes next.

use chrono::{DateTime, Days, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::store::{self, TypeSum};
use crate::{
    Error, Result, calendar,
    db::Conn,
    money::Rupiah,
    subscriptions::{self, SubscriptionStatus, Subscriptions},
    wallet::TransactionType,
};

/// Days that are looked ahead.
const AHEAD: Days = Days::new(7);

/// Billing in numbers.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BillingStatistics {
    /// Paid, and not delivered yet.
    pub pending: i64,
    /// Paid and delivered.
    pub active: i64,
    /// In grace.
    pub past_due: i64,
    pub suspended: i64,
    /// Price of the periods that are due and not paid.
    pub unpaid: Rupiah,
    /// Price of a month of all pending and active subscriptions that are renewed, before coupons.
    pub recurring: Rupiah,
    /// Subscriptions to be renewed within the next seven days.
    pub due_within_seven_days: i64,
    /// Subscriptions whose period is over and that the nightly job has not come to.
    pub overdue: i64,
    /// Since the beginning of the day where the shop is.
    pub today: ChargesView,
    /// Since the beginning of the month where the shop is.
    pub this_month: ChargesView,
}

/// Charges and refunds since a moment.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChargesView {
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub since: DateTime<Utc>,
    /// Periods and upgrades that were charged, also those that were undone since: what came back is in `refunded`.
    pub charges: i64,
    pub charged: Rupiah,
    /// Transactions that gave back what was charged, whenever that was.
    pub refunds: i64,
    pub refunded: Rupiah,
    /// Subscriptions that ended.
    pub ended: i64,
}

/// Returns billing in numbers.
///
/// # Errors
/// When the database does not answer.
pub async fn statistics(shop: &Subscriptions) -> Result<BillingStatistics> {
    let (zone, now) = (shop.clock.zone(), shop.clock.now());
    let week = calendar::add_days(zone, now, AHEAD);
    let week = week.ok_or_else(|| Error::internal("a week ends beyond the calendar"))?;
    // As of one moment, or one that is bought in between would be subtracted without having been counted.
    let mut conn = shop.db.snapshot().await?;
    let sums = store::sums_by_status(&mut conn).await?;
    let of = |status: SubscriptionStatus| sums.iter().filter(move |sum| sum.status == status);
    let number = |status| of(status).map(|sum| sum.number).sum::<i64>();
    let pending = subscriptions::count_waiting(&mut conn).await?;
    let unpaid = sums.iter().map(|sum| sum.unpaid);
    let recurring = of(SubscriptionStatus::Active).filter(|sum| sum.auto_renew);
    let today = calendar::start_of_day(zone, calendar::date(zone, now));
    Ok(BillingStatistics {
        pending,
        active: number(SubscriptionStatus::Active).saturating_sub(pending),
        past_due: number(SubscriptionStatus::PastDue),
        suspended: number(SubscriptionStatus::Suspended),
        unpaid: Rupiah::total(unpaid)?,
        recurring: Rupiah::total(recurring.map(|sum| sum.monthly_price))?,
        due_within_seven_days: store::count_due(&mut conn, now, week).await?,
        overdue: store::count_due(&mut conn, DateTime::UNIX_EPOCH, now).await?,
        today: charges(&mut conn, today).await?,
        this_month: charges(&mut conn, calendar::start_of_month(zone, now)).await?,
    })
}

async fn charges(conn: &mut Conn, since: DateTime<Utc>) -> Result<ChargesView> {
    let sums = store::charged_since(conn, since).await?;
    let is_charge = |sum: &&TypeSum| {
        matches!(
            sum.kind,
            TransactionType::Subscription | TransactionType::Upgrade
        )
    };
    let is_refund = |sum: &&TypeSum| sum.kind == TransactionType::Refund;
    let charged = sums.iter().filter(is_charge);
    let refunded = sums.iter().filter(is_refund);
    Ok(ChargesView {
        since,
        charges: charged.clone().map(|sum| sum.number).sum(),
        charged: Rupiah::total(charged.map(|sum| sum.amount.negated()))?,
        refunds: refunded.clone().map(|sum| sum.number).sum(),
        refunded: Rupiah::total(refunded.map(|sum| sum.amount))?,
        ended: store::count_ended(conn, since).await?,
    })
}
