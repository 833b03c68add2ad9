//! Periods that are over before the nightly job has come to them.
//!
//! Until then the subscription is ACTIVE, and nothing of the time since is paid. Every operation on
//! it renews it first or refuses.

use chrono::{DateTime, Utc};

use super::{ATTEMPTS, Charge, charge, price};
use crate::{
    Code, Error, Result, coupons,
    ids::SubscriptionId,
    money::Rupiah,
    subscriptions::{self, Subscription, SubscriptionRow, Subscriptions, delivery},
    timekeeping, wallet,
};

/// The next period of a subscription whose period is over.
pub(in crate::subscriptions) struct Ahead {
    pub(in crate::subscriptions) starts_at: DateTime<Utc>,
    pub(in crate::subscriptions) ends_at: DateTime<Utc>,
    pub(in crate::subscriptions) due: Rupiah,
}

/// Returns the charge of [`renew_first`] and the time it is for. Writes nothing.
///
/// # Errors
/// `INVALID_STATE` when it would not renew, or more than one period is over; `PLUGIN_*`.
pub(in crate::subscriptions) async fn ahead(
    shop: &Subscriptions,
    row: &SubscriptionRow,
) -> Result<Ahead> {
    check_renews(shop, &row.subscription).await?;
    let next = price(shop, row).await?;
    if next.ends_at <= shop.clock.now() {
        return Err(not_charged_yet());
    }
    Ok(Ahead {
        starts_at: next.starts_at,
        ends_at: next.ends_at,
        due: next.due()?,
    })
}

/// Charges the next period now, as the nightly job would, if the running one is over. Nothing
/// changes when it cannot be paid: grace begins with the job.
///
/// # Errors
/// `INSUFFICIENT_CREDIT`; `INVALID_STATE` when it is not to be renewed, or more than one period is
/// over; `UNAVAILABLE` while the clock is in doubt; `PLUGIN_*`.
pub(in crate::subscriptions) async fn renew_first(
    shop: &Subscriptions,
    id: SubscriptionId,
) -> Result<()> {
    // A first period may end later by now.
    delivery::note_deliveries(shop).await?;
    for _ in 0..ATTEMPTS {
        let row = subscriptions::row(&mut shop.db.read().await?, id).await?;
        if !row.subscription.is_overdue(shop.clock.now()) {
            return Ok(());
        }
        timekeeping::trusted(&shop.clock)?;
        check_renews(shop, &row.subscription).await?;
        let next = price(shop, &row).await?;
        if next.ends_at <= shop.clock.now() {
            return Err(not_charged_yet());
        }
        match charge(shop, &row, next).await? {
            Charge::Paid => return Ok(()),
            Charge::Short(due) => {
                let mut conn = shop.db.read().await?;
                let balance = wallet::balance(&mut conn, row.subscription.user_id).await?;
                return Err(wallet::insufficient(due, balance)?);
            }
            Charge::Overtaken => {}
        }
    }
    Err(coupons::too_busy())
}

async fn check_renews(shop: &Subscriptions, subscription: &Subscription) -> Result<()> {
    if delivery::never_ran(&mut shop.db.read().await?, subscription).await? {
        let message = "The service never ran in the period that is over. Nothing is charged or changed until it runs.";
        return Err(Error::new(Code::InvalidState, message));
    }
    if !subscription.auto_renew {
        let message = "The period that was paid for is over, and the subscription is not renewed. \
                       Turn automatic renewal on first.";
        return Err(Error::new(Code::InvalidState, message));
    }
    if shop.settings.auto_renewal {
        Ok(())
    } else {
        Err(not_charged_yet())
    }
}

/// The refusal of what would need a paid period.
fn not_charged_yet() -> Error {
    let message = "The period that was paid for is over, and the next one is not charged yet. Try again later.";
    Error::new(Code::InvalidState, message)
}
