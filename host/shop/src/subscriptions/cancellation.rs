//! Cancellation by the customer: at once, or at the end of the period that is paid for.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Subscriptions, delivery,
    end_notice::{self, Cause},
    freezing::{self, FreezeState},
    model::Subscription,
    refund, store, upgrade,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    catalog,
    db::Conn,
    ids::{InstanceId, SubscriptionId, UserId},
    money::Rupiah,
    provisioning::{self, lifecycle},
    subscriptions::delivery::Ending,
    wallet::{self, LockedWallet},
};

/// Money side of a cancellation that took effect at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The service was delivered, so that its period stays paid.
    Paid,
    /// The service was never delivered, so that everything paid for it was given back.
    Undone,
}

/// Ends a subscription now: its resources are removed and its quota given back. That needs no paid
/// period, so one that is over is not renewed first. A first purchase that was not delivered yet is
/// undone.
///
/// # Errors
/// `NOT_FOUND` when it is not this customer's, `INVALID_STATE` when it has ended already.
pub async fn cancel(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
    reason: Option<&str>,
) -> Result<Cancelled> {
    let Ended {
        conn, cancelled, ..
    } = ended(shop, user_id, id, (reason, Cause::Customer)).await?;
    finish(shop, conn, id, cancelled).await
}

/// Ends any customer's subscription by its instance, as [`cancel`] does; by an administrator, with the
/// reason, audited.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` when it has ended already.
pub async fn end_instance(
    shop: &Subscriptions,
    actor_id: UserId,
    id: InstanceId,
    reason: &str,
) -> Result<Cancelled> {
    let whose = lifecycle::owner_of(&mut shop.db.read().await?, id).await?;
    let (user_id, subscription_id) = whose;
    let Ended {
        mut conn,
        cancelled,
        ..
    } = ended(
        shop,
        user_id,
        subscription_id,
        (Some(reason), Cause::Shop(reason)),
    )
    .await?;
    let details = json!({ "subscription": subscription_id });
    let event = Event::new(AuditAct::InstanceTerminated, Subject::Instance(id), details);
    audit::record(&mut conn, &shop.clock, actor_id, event.because(reason)).await?;
    finish(shop, conn, subscription_id, cancelled).await
}

async fn finish(
    shop: &Subscriptions,
    conn: Conn,
    id: SubscriptionId,
    cancelled: Cancelled,
) -> Result<Cancelled> {
    conn.commit().await?;
    shop.instances.handle.wake();
    tracing::info!(subscription.id = %id, undone = cancelled == Cancelled::Undone, "subscription.cancelled");
    Ok(cancelled)
}

/// A subscription that was ended by force, and what came back for it.
#[derive(Debug, Clone, Copy)]
pub struct ForceCancelled {
    pub cancelled: Cancelled,
    /// Cash of the unused time, given back to the wallet.
    pub refunded: Rupiah,
    /// All credit that came back to the wallet: that cash, and the price of what was undone.
    pub returned: Rupiah,
}

/// Ends any customer's subscription, as [`cancel`] does; by an administrator, with the reason, audited.
/// Cash that was paid for the rest of the period comes back to the wallet, where that is wanted.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` when it has ended already.
pub async fn force_cancel(
    shop: &Subscriptions,
    actor_id: UserId,
    id: SubscriptionId,
    (refunds, reason): (bool, &str),
) -> Result<ForceCancelled> {
    let clock = &shop.clock;
    let seen = super::row(&mut shop.db.read().await?, id).await?;
    let user_id = seen.subscription.user_id;
    let Ended {
        mut conn,
        mut wallet,
        held,
        cancelled,
    } = ended(shop, user_id, id, (Some(reason), Cause::Shop(reason))).await?;
    let mut refunded = Rupiah::ZERO;
    if refunds && cancelled == Cancelled::Paid {
        let row = super::row(&mut conn, id).await?;
        refunded = upgrade::unused_cash(&mut conn, &row, clock.now()).await?;
        if refunded.is_positive() {
            let number = row.subscription.period_number;
            refund::book(
                shop,
                &mut conn,
                &mut wallet,
                &row,
                (number, refunded, reason),
            )
            .await?;
        }
    }
    let returned = wallet.balance().total()?.minus(held)?;
    let details = json!({ "refunded": refunded, "undone": cancelled == Cancelled::Undone });
    let subject = Subject::Subscription(id);
    let event = Event::new(AuditAct::SubscriptionForceCancelled, subject, details).because(reason);
    audit::record(&mut conn, clock, actor_id, event).await?;
    finish(shop, conn, id, cancelled).await?;
    Ok(ForceCancelled {
        cancelled,
        refunded,
        returned,
    })
}

/// A subscription that has ended in a transaction which is still open.
struct Ended {
    conn: Conn,
    wallet: LockedWallet,
    /// Credit in the wallet before.
    held: Rupiah,
    cancelled: Cancelled,
}

/// Ends a subscription in a transaction that is still open.
async fn ended(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
    (reason, cause): (Option<&str>, Cause<'_>),
) -> Result<Ended> {
    // A delivery of this moment is noted first, so that the subscription shows why its payment stays.
    delivery::note_deliveries(shop).await?;
    let clock = &shop.clock;
    let mut conn = shop.db.begin().await?;
    let mut wallet = wallet::lock(&mut conn, user_id).await?;
    let held = wallet.balance().total()?;
    let undelivered = match store::owned(&mut conn, user_id, id).await? {
        Some(row) if delivery::is_undelivered(&mut conn, &row).await? => Some(row),
        _ => None,
    };
    let cancelled = if let Some(row) = &undelivered {
        let why = "Cancelled before it was set up.";
        let ending = Ending { why, reason, cause };
        delivery::take_back(shop, &mut conn, &mut wallet, row, ending).await?;
        Cancelled::Undone
    } else {
        let mut places = upgrade::abandon(shop, &mut conn, &mut wallet, id).await?;
        let Some(plan_id) = store::cancel(&mut conn, user_id, id, reason, clock.now()).await?
        else {
            return Err(not_live(&mut conn, user_id, id, clock.now()).await?);
        };
        provisioning::terminate(&mut conn, clock, id).await?;
        places.push(plan_id);
        catalog::give_back_places(&mut conn, clock, places).await?;
        end_notice::tell(&mut conn, clock, id, (cause, false)).await?;
        Cancelled::Paid
    };
    Ok(Ended {
        conn,
        wallet,
        held,
        cancelled,
    })
}

/// Lets a subscription run out at the end of the period that is paid for.
///
/// # Errors
/// As [`cancel`]; `INVALID_STATE` when that period is over, or it is frozen from the next one on.
pub async fn cancel_at_period_end(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
    reason: Option<&str>,
) -> Result<()> {
    let mut conn = shop.db.begin().await?;
    // A freeze at the same moment looks at the renewal under this lock.
    wallet::lock(&mut conn, user_id).await?;
    let now = shop.clock.now();
    if !store::set_auto_renew(&mut conn, user_id, id, false, reason, now).await? {
        return Err(not_live(&mut conn, user_id, id, now).await?);
    }
    Ok(conn.commit().await?)
}

/// Sets if a subscription is renewed when its period is over; `true` where it is over already.
///
/// # Errors
/// As [`cancel`]; `INVALID_STATE` when renewal is switched off and the period is over, or a freeze waits for
/// the next one.
pub async fn set_auto_renew(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
    auto_renew: bool,
) -> Result<bool> {
    let mut conn = shop.db.begin().await?;
    // A freeze at the same moment looks at the renewal under this lock.
    wallet::lock(&mut conn, user_id).await?;
    let now = shop.clock.now();
    if !store::set_auto_renew(&mut conn, user_id, id, auto_renew, None, now).await? {
        return Err(not_live(&mut conn, user_id, id, now).await?);
    }
    let row = store::owned(&mut conn, user_id, id).await?;
    conn.commit().await?;
    Ok(row.is_some_and(|row| row.subscription.is_overdue(now)))
}

/// Returns the reason why nothing was changed.
pub(super) async fn not_live(
    conn: &mut Conn,
    user_id: UserId,
    id: SubscriptionId,
    now: DateTime<Utc>,
) -> Result<Error> {
    Ok(match store::owned(conn, user_id, id).await? {
        None => Error::not_found("subscription"),
        Some(row) if row.subscription.is_overdue(now) => {
            let message = "The period that was paid for is over, and the next one is about to be charged. \
                           Cancel now to end the subscription instead.";
            Error::new(Code::InvalidState, message)
        }
        Some(row) if row.subscription.is_due(now) => {
            let message = "The period that was paid for is over, and the next one is not paid. It is renewed once \
                           your wallet holds enough. Cancel now to end the subscription instead.";
            Error::new(Code::InvalidState, message)
        }
        Some(row) if is_to_freeze(&row.subscription) => freezing::will_be_frozen(),
        Some(row) => {
            let message = format!(
                "This subscription is {}: it has ended.",
                row.subscription.status
            );
            Error::new(Code::InvalidState, message)
        }
    })
}

fn is_to_freeze(seen: &Subscription) -> bool {
    seen.status.is_live() && seen.freeze_state == FreezeState::Pending
}
