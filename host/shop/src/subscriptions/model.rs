//! Rows and views of subscriptions, their periods and purchases.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::{freezing::FreezeState, quote::PriceLineView};
use crate::{
    Error, Result,
    catalog::{SoldTerm, Tier},
    db::Place,
    ids::{CouponId, DecisionId, InstanceId, PlanId, SubscriptionId, TransactionId, UserId},
    money::Rupiah,
    text_enum,
    wallet::TransactionNumber,
};

text_enum! {
    /// Status of a subscription as it is stored and moved; people see its [`ShownStatus`].
    pub enum SubscriptionStatus {
        Active = "ACTIVE",
        /// In grace: not paid, still running.
        PastDue = "PAST_DUE",
        /// Scaled to zero, data kept.
        Suspended = "SUSPENDED",
        Cancelled = "CANCELLED",
        Expired = "EXPIRED",
    }
}

impl SubscriptionStatus {
    /// Holds quota and an instance.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Active | Self::PastDue | Self::Suspended)
    }
}

text_enum! {
    /// Status of a subscription. PENDING: paid, and not delivered yet, so that its first period has not begun.
    /// ACTIVE: paid and delivered. PAST_DUE: in grace. SUSPENDED: scaled to zero, data kept.
    #[schema(as = SubscriptionStatus)]
    pub enum ShownStatus {
        /// Stored as active, and waits for its first delivery.
        Pending = "PENDING",
        Active = "ACTIVE",
        PastDue = "PAST_DUE",
        Suspended = "SUSPENDED",
        Cancelled = "CANCELLED",
        Expired = "EXPIRED",
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub user_id: UserId,
    pub plan_id: PlanId,
    pub status: SubscriptionStatus,
    pub monthly_price: Rupiah,
    /// Months of each of its periods.
    pub term_months: i64,
    /// Price of the plan for a term that the customer bought at; absent where its months cost their price.
    pub term_price: Option<Rupiah>,
    pub freeze_state: FreezeState,
    /// Price of a frozen month, from when a freeze is asked for.
    pub storage_price: Option<Rupiah>,
    pub config: Json<Value>,
    pub auto_renew: bool,
    pub anchor_at: DateTime<Utc>,
    /// Months from the anchor to the end of the period.
    pub anchor_months: i64,
    pub period_number: i64,
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    pub coupon_id: Option<CouponId>,
    /// Further months the coupon still reduces; `None` with a coupon means for ever.
    pub coupon_periods_left: Option<i64>,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub cancel_reason: Option<String>,
    /// End of the grace in which it runs unpaid.
    pub grace_until: Option<DateTime<Utc>>,
    pub suspended_at: Option<DateTime<Utc>>,
    /// Price of its next period, when that is due and not paid.
    pub unpaid: Option<Rupiah>,
    /// Another price of a month that the customer was told of.
    pub next_price: Option<Rupiah>,
    /// Price of the term that comes with it; absent where the term keeps its share.
    pub next_term_price: Option<Rupiah>,
    /// The first period that begins then or later has that price.
    pub next_price_from: Option<DateTime<Utc>>,
    /// Moment of the instance's first delivery.
    pub delivered_at: Option<DateTime<Utc>>,
    /// The end of a period in which its instance never ran.
    pub held_since: Option<DateTime<Utc>>,
    /// The plan that comes with the next period; its place is taken already.
    pub next_plan_id: Option<PlanId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Subscription {
    /// Returns its term at the price of this customer.
    ///
    /// # Errors
    /// When its months in the database are beyond their range.
    pub fn term(&self) -> Result<SoldTerm> {
        Ok(SoldTerm {
            months: u32::try_from(self.term_months).map_err(Error::internal)?,
            monthly_price: self.monthly_price,
            price: self.term_price,
        })
    }

    /// Months of its next period: a frozen one is a month, whatever the term.
    pub const fn next_months(&self) -> i64 {
        match self.freeze_state {
            FreezeState::None => self.term_months,
            FreezeState::Pending | FreezeState::Frozen => 1,
        }
    }

    /// Returns true when the period is over and nothing has ended the subscription.
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.status.is_live() && self.period_end <= now
    }

    /// Returns true when the period is over and the nightly job has not come to it: nothing of the
    /// time since is paid.
    pub fn is_overdue(&self, now: DateTime<Utc>) -> bool {
        self.status == SubscriptionStatus::Active && self.is_due(now)
    }

    /// Returns true while its first period waits for the delivery, with which it begins.
    pub const fn awaits_delivery(&self) -> bool {
        self.delivered_at.is_none() && self.period_number == 1
    }

    /// Returns the status that people see: a paid one is pending until it is delivered.
    pub const fn shown_status(&self) -> ShownStatus {
        match self.status {
            SubscriptionStatus::Active if self.awaits_delivery() => ShownStatus::Pending,
            SubscriptionStatus::Active => ShownStatus::Active,
            SubscriptionStatus::PastDue => ShownStatus::PastDue,
            SubscriptionStatus::Suspended => ShownStatus::Suspended,
            SubscriptionStatus::Cancelled => ShownStatus::Cancelled,
            SubscriptionStatus::Expired => ShownStatus::Expired,
        }
    }

    /// Returns the moment that the running period is used up to: none of a first one is before its delivery.
    pub fn used_until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.awaits_delivery() {
            self.period_start
        } else {
            now
        }
    }

    /// Returns true when nothing happened to it since it was seen so.
    pub(super) fn is_as_seen(&self, seen: &Self) -> bool {
        let state = |one: &Self| {
            (
                (
                    one.status,
                    one.period_number,
                    one.plan_id,
                    one.monthly_price,
                ),
                (one.auto_renew, one.coupon_periods_left, one.suspended_at),
                (one.period_end, one.next_plan_id, one.term_price),
                (one.freeze_state, one.storage_price),
                (one.next_price, one.next_term_price, one.next_price_from),
            )
        };
        state(self) == state(seen)
    }

    /// Returns true while its coupon still has periods left to reduce.
    pub const fn has_coupon_left(&self) -> bool {
        self.coupon_id.is_some() && !matches!(self.coupon_periods_left, Some(..=0))
    }
}

/// A subscription with the names of what it is for.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct SubscriptionRow {
    #[sqlx(flatten)]
    pub subscription: Subscription,
    pub service_slug: String,
    pub service_name: String,
    pub plan_slug: String,
    pub plan_name: String,
    pub tier: Tier,
    pub instance_id: Option<InstanceId>,
    pub instance_status: Option<String>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct PeriodRow {
    pub(super) number: i64,
    pub(super) starts_at: DateTime<Utc>,
    pub(super) ends_at: DateTime<Utc>,
    /// Months that were paid for.
    pub(super) months: i64,
    /// Only the storage was paid for.
    pub(super) frozen: bool,
    /// The end that was paid for, when the period was made longer.
    pub(super) paid_until: Option<DateTime<Utc>>,
    pub(super) price: Rupiah,
    /// Part of the price for storage of the time before, which a thaw paid for.
    pub(super) storage: Rupiah,
    pub(super) discount: Rupiah,
    pub(super) paid_cash: Rupiah,
    pub(super) paid_bonus: Rupiah,
    pub(super) refunded_cash: Rupiah,
    pub(super) transaction_id: Option<TransactionId>,
    pub(super) price_decision_id: DecisionId,
}

impl PeriodRow {
    /// Amounts that were paid for it and given back of it.
    pub(super) const fn sums(&self) -> [Rupiah; 3] {
        [self.paid_cash, self.paid_bonus, self.refunded_cash]
    }
}

/// Price and bounds of one period.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeriodView {
    /// 1, 2, 3, ...
    pub number: i64,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub starts_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub ends_at: DateTime<Utc>,
    /// Calendar months that were paid for.
    pub months: i64,
    /// True for a period in which it was frozen: only its storage was paid for.
    pub frozen: bool,
    /// The end that was paid for, where an administrator made the period longer.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub paid_until: Option<DateTime<Utc>>,
    pub price: Rupiah,
    pub discount: Rupiah,
    /// Paid from topped-up credit; the most that can be refunded.
    pub paid_cash: Rupiah,
    pub paid_bonus: Rupiah,
    /// Given back to the wallet.
    pub refunded_cash: Rupiah,
    pub transaction_id: Option<TransactionId>,
    pub price_decision_id: DecisionId,
}

impl From<PeriodRow> for PeriodView {
    fn from(row: PeriodRow) -> Self {
        Self {
            number: row.number,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            months: row.months,
            frozen: row.frozen,
            paid_until: row.paid_until,
            price: row.price,
            discount: row.discount,
            paid_cash: row.paid_cash,
            paid_bonus: row.paid_bonus,
            refunded_cash: row.refunded_cash,
            transaction_id: row.transaction_id,
            price_decision_id: row.price_decision_id,
        }
    }
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionView {
    pub id: SubscriptionId,
    pub service: String,
    pub service_name: String,
    pub plan_id: PlanId,
    pub plan: String,
    pub plan_name: String,
    pub tier: Tier,
    pub status: ShownStatus,
    /// The price of a month that the customer bought at, before coupons.
    pub monthly_price: Rupiah,
    /// Calendar months of each period: one payment is for so many.
    pub term_months: i64,
    /// Price of the plan for a term that the customer bought at, before coupons; absent where it is the price
    /// of its months.
    pub term_price: Option<Rupiah>,
    /// PENDING until the end of the period that is paid for; FROZEN while only the storage is charged.
    pub freeze_state: FreezeState,
    /// Rupiah for a frozen month; absent where it is not to be frozen.
    pub storage_price: Option<Rupiah>,
    /// Another price of a month that an administrator moves it to; absent without one.
    pub next_price: Option<Rupiah>,
    /// Price of the plan for a term that comes with it; absent where it is the price of its months.
    pub next_term_price: Option<Rupiah>,
    /// Moment of that price: the first period that begins then or later has it.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub next_price_from: Option<DateTime<Utc>>,
    pub auto_renew: bool,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub period_start: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub period_end: DateTime<Utc>,
    /// End of the grace in which it runs unpaid.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub grace_until: Option<DateTime<Utc>>,
    /// Start of the suspension: it is scaled to zero; its data is kept for
    /// `SUSPENSION_RETENTION_DAYS`.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub suspended_at: Option<DateTime<Utc>>,
    /// Moment of the instance's first delivery. The first period moves by the time it waited for
    /// that.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub delivered_at: Option<DateTime<Utc>>,
    /// The end of a period in which its instance never ran: nothing is charged until it runs.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub held_since: Option<DateTime<Utc>>,
    /// The plan that comes with the next period, at its price then.
    pub next_plan_id: Option<PlanId>,
    /// Price of its next period, when that is due and not paid. A wallet that holds as much renews
    /// it.
    pub unpaid: Option<Rupiah>,
    /// Further months that its coupon reduces; absent without a coupon, and for one that never
    /// ends.
    pub coupon_periods_left: Option<i64>,
    #[schema(value_type = Object)]
    pub config: Value,
    pub instance_id: Option<InstanceId>,
    pub instance_status: Option<String>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub cancelled_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub cancel_reason: Option<String>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
}

impl SubscriptionView {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<SubscriptionId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

impl From<SubscriptionRow> for SubscriptionView {
    fn from(row: SubscriptionRow) -> Self {
        let subscription = row.subscription;
        let is_live = subscription.status.is_live();
        // A price that was announced is not charged in another plan.
        let stays = subscription.next_plan_id.is_none();
        let next_term = subscription.next_term().ok().flatten();
        let next_term = next_term.filter(|_| stays);
        Self {
            id: subscription.id,
            service: row.service_slug,
            service_name: row.service_name,
            plan_id: subscription.plan_id,
            plan: row.plan_slug,
            plan_name: row.plan_name,
            tier: row.tier,
            status: subscription.shown_status(),
            monthly_price: subscription.monthly_price,
            term_months: subscription.term_months,
            term_price: subscription.term_price,
            freeze_state: subscription.freeze_state,
            storage_price: subscription.storage_price,
            next_price: next_term.map(|term| term.monthly_price),
            next_term_price: next_term.and_then(|term| term.price),
            next_price_from: subscription.next_price_from.filter(|_| stays),
            auto_renew: subscription.auto_renew,
            period_start: subscription.period_start,
            period_end: subscription.period_end,
            grace_until: subscription.grace_until.filter(|_| is_live),
            suspended_at: subscription.suspended_at,
            delivered_at: subscription.delivered_at,
            held_since: subscription.held_since,
            next_plan_id: subscription.next_plan_id,
            unpaid: subscription.unpaid.filter(|_| is_live),
            coupon_periods_left: subscription.coupon_periods_left,
            config: subscription.config.0,
            instance_id: row.instance_id,
            instance_status: row.instance_status,
            cancelled_at: subscription.cancelled_at,
            cancel_reason: subscription.cancel_reason,
            created_at: subscription.created_at,
        }
    }
}

/// A subscription with what its periods cost.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionDetail {
    #[serde(flatten)]
    pub subscription: SubscriptionView,
    pub periods: Vec<PeriodView>,
}

/// Result of a purchase, with ids to follow.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PurchaseView {
    pub subscription: SubscriptionView,
    pub instance_id: InstanceId,
    /// `TXMP-101`
    #[schema(value_type = String)]
    pub transaction: TransactionNumber,
    pub transaction_id: TransactionId,
    #[serde(serialize_with = "crate::subscriptions::lines_in_words")]
    pub lines: Vec<PriceLineView>,
    pub price: Rupiah,
    pub discount: Rupiah,
    pub charged: Rupiah,
    pub paid_cash: Rupiah,
    pub paid_bonus: Rupiah,
    pub price_decision_id: DecisionId,
    pub coupon_decision_id: Option<DecisionId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_database::ended;

    #[test]
    fn only_what_is_active_and_waits_for_its_first_delivery_is_pending() {
        for &status in SubscriptionStatus::ALL {
            for (is_delivered, period_number) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
                let delivered = ended(status);
                let seen = Subscription {
                    period_number,
                    delivered_at: delivered.delivered_at.filter(|_| is_delivered),
                    ..delivered
                };
                let waits = !is_delivered && period_number == 1;
                let expected = match status {
                    SubscriptionStatus::Active if waits => "PENDING",
                    other => other.as_str(),
                };
                let shown = seen.shown_status();
                assert_eq!(
                    shown.as_str(),
                    expected,
                    "{status} {is_delivered} {period_number}"
                );
            }
        }
    }
}
