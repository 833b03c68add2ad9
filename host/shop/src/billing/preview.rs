//! The next charge of a subscription, ahead of it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Result,
    coupons::Continued,
    ids::{SubscriptionId, UserId},
    money::Rupiah,
    subscriptions::{
        self, PriceLineView, ShownStatus, SubscriptionRow, Subscriptions,
        renewal::{Next, price_at},
    },
    wallet,
};

/// Price of the next period of a subscription.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BillingInfo {
    pub status: ShownStatus,
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
        status: subscription.shown_status(),
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

/// Returns the next period, if there will be one.
async fn next(shop: &Subscriptions, row: &SubscriptionRow) -> Result<Option<Next>> {
    next_at(shop, row, shop.clock.now()).await
}

/// Returns the next period as it is if it is paid at a moment.
pub(super) async fn next_at(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    at: DateTime<Utc>,
) -> Result<Option<Next>> {
    let subscription = &row.subscription;
    if subscription.auto_renew && subscription.status.is_live() {
        Ok(Some(price_at(shop, row, at).await?))
    } else {
        Ok(None)
    }
}
