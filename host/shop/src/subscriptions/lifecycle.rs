//! Stop, start and restart of what a subscription runs, by its customer; restarts by administrators.

use serde_json::json;

use super::{Subscriptions, model::SubscriptionStatus, store};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::Conn,
    ids::{InstanceId, SubscriptionId, UserId},
    provisioning::{self, Act, lifecycle},
};

/// Service that a customer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Instance(InstanceId),
    Subscription(SubscriptionId),
}

/// Stops a customer's service: scaled to zero, its data kept, and still paid for. Returns false when
/// it is stopped already.
///
/// # Errors
/// `NOT_FOUND` when it is not this customer's, `INVALID_STATE` before it is set up, and once it has
/// ended.
pub async fn stop(shop: &Subscriptions, user_id: UserId, named: Named) -> Result<bool> {
    carry_out(shop, user_id, named, Act::Stop, "Being stopped.").await
}

/// Starts a customer's service that was stopped. Returns false when it was not.
///
/// # Errors
/// `NOT_FOUND` when it is not this customer's, `INVALID_STATE` while it is unpaid, and once it has
/// ended.
pub async fn start(shop: &Subscriptions, user_id: UserId, named: Named) -> Result<bool> {
    carry_out(shop, user_id, named, Act::Start, "Being started.").await
}

/// Restarts a customer's service: each of its pods is replaced. Returns false when a restart was
/// asked for within the last seconds.
///
/// # Errors
/// `NOT_FOUND` when it is not this customer's, `INVALID_STATE` while it is not running.
pub async fn restart(shop: &Subscriptions, user_id: UserId, named: Named) -> Result<bool> {
    carry_out(shop, user_id, named, Act::Restart, "Being restarted.").await
}

/// Restarts a service of any customer by its instance, as [`restart`] does; by an administrator, with
/// the reason, audited.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` while it is not running.
pub async fn restart_any(
    shop: &Subscriptions,
    actor_id: UserId,
    id: InstanceId,
    reason: &str,
) -> Result<bool> {
    let (user_id, subscription) = lifecycle::owner_of(&mut shop.db.read().await?, id).await?;
    let mut conn = shop.db.begin().await?;
    let message = "Being restarted.";
    let is_changed = change(
        shop,
        &mut conn,
        user_id,
        subscription,
        Act::Restart,
        message,
    )
    .await?;
    if is_changed {
        let details = json!({ "subscription": subscription });
        let event = Event::new(AuditAct::InstanceRestarted, Subject::Instance(id), details);
        audit::record(&mut conn, &shop.clock, actor_id, event.because(reason)).await?;
    }
    finish(shop, conn, subscription, (Act::Restart, is_changed)).await
}

async fn carry_out(
    shop: &Subscriptions,
    user_id: UserId,
    named: Named,
    act: Act,
    message: &str,
) -> Result<bool> {
    let mut conn = shop.db.begin().await?;
    let id = match named {
        Named::Subscription(id) => id,
        Named::Instance(id) => lifecycle::subscription_of(&mut conn, user_id, id).await?,
    };
    let is_changed = change(shop, &mut conn, user_id, id, act, message).await?;
    finish(shop, conn, id, (act, is_changed)).await
}

async fn change(
    shop: &Subscriptions,
    conn: &mut Conn,
    user_id: UserId,
    id: SubscriptionId,
    act: Act,
    message: &str,
) -> Result<bool> {
    let row = store::owned(conn, user_id, id).await?;
    let row = row.ok_or_else(|| Error::not_found("subscription"))?;
    lives(row.subscription.status)?;
    let is_changed = provisioning::change(conn, &shop.clock, id, act, message).await?;
    if is_changed {
        // A service that runs in its grace is left as it is, without a payment.
        is_paid_for(row.subscription.status, act)?;
    }
    Ok(is_changed)
}

async fn finish(
    shop: &Subscriptions,
    conn: Conn,
    id: SubscriptionId,
    (act, is_changed): (Act, bool),
) -> Result<bool> {
    conn.commit().await?;
    if is_changed {
        shop.instances.handle.wake();
        tracing::info!(subscription.id = %id, ?act, "subscription.life_changed");
    }
    Ok(is_changed)
}

/// Refuses what is done with a service whose subscription has ended.
pub(super) fn lives(status: SubscriptionStatus) -> Result<()> {
    if status.is_live() {
        return Ok(());
    }
    let why = format!("This subscription is {status}: it has ended.");
    Err(Error::new(Code::InvalidState, why))
}

/// Refuses to start what is not paid for. A suspension is a state of the instance too, which refuses
/// the start itself.
fn is_paid_for(status: SubscriptionStatus, act: Act) -> Result<()> {
    if (status, act) != (SubscriptionStatus::PastDue, Act::Start) {
        return Ok(());
    }
    let why = "The next month of this service is not paid yet. Top up your wallet, then start it.";
    Err(Error::new(Code::InvalidState, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_allows_and_refuses_each_act() {
        for &status in SubscriptionStatus::ALL {
            for act in [Act::Stop, Act::Start, Act::Restart] {
                let refused = match status {
                    SubscriptionStatus::Cancelled | SubscriptionStatus::Expired => true,
                    SubscriptionStatus::PastDue => act == Act::Start,
                    _ => false,
                };
                let allowed = lives(status).and_then(|()| is_paid_for(status, act));
                assert_eq!(allowed.is_err(), refused, "{act:?} of {status}");
            }
        }
    }
}
