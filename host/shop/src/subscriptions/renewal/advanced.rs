//! A subscription as it is once its next period is paid, for forecasts of the periods after it.

use super::{Next, Subscription, SubscriptionRow};
use crate::{Result, subscriptions::SubscriptionStatus};

impl Next {
    /// Returns the months that the coupon still reduces once this period is paid.
    pub(super) fn coupon_left(&self, seen: &Subscription) -> Option<i64> {
        seen.coupon_periods_left
            // A frozen month is not reduced, and uses up none of the coupon's.
            .filter(|_| !self.kind.is_frozen())
            // A longer term may take more months than the coupon has.
            .map(|left| left.saturating_sub(self.term.months.into()).max(0))
            .or(seen.coupon_periods_left)
    }

    /// Returns its subscription as the charge leaves it. Writes nothing.
    ///
    /// # Errors
    /// When its months in the database are beyond their range.
    pub(crate) fn advanced(&self, row: &SubscriptionRow) -> Result<SubscriptionRow> {
        let mut row = row.clone();
        let has_new_price = self.to.is_some() || self.term != row.subscription.term()?;
        let coupon_periods_left = self.coupon_left(&row.subscription);
        let it = &mut row.subscription;
        it.status = SubscriptionStatus::Active;
        it.anchor_at = self.anchor_at;
        it.anchor_months = self.anchor_months.into();
        it.period_number = self.number;
        it.period_start = self.starts_at;
        it.period_end = self.ends_at;
        it.coupon_periods_left = coupon_periods_left;
        it.grace_until = None;
        it.suspended_at = None;
        it.unpaid = None;
        it.held_since = None;
        it.monthly_price = self.term.monthly_price;
        it.term_price = self.term.price;
        it.freeze_state = self.freeze_state();
        it.storage_price = self.storage_price();
        if has_new_price {
            it.next_price = None;
            it.next_term_price = None;
            it.next_price_from = None;
        }
        if let Some(to) = &self.to {
            it.plan_id = to.id;
            it.monthly_price = to.monthly_price;
            it.next_plan_id = None;
            row.plan_slug.clone_from(&to.slug);
            row.plan_name.clone_from(&to.name);
            row.tier = to.tier;
        }
        Ok(row)
    }
}
