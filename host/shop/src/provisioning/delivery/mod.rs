//! Delivery of instances, as billing asks for it: was the service ever running, will it ever be.

mod store;

use chrono::{DateTime, Utc};

use super::model::Desired;
use crate::{
    Result,
    db::{Clock, Conn},
    ids::{SubscriptionId, UserId},
};

/// An instance that was never delivered and never will be.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Undeliverable {
    pub subscription_id: SubscriptionId,
    pub user_id: UserId,
    /// The reason, in a sentence for the customer.
    pub message: String,
}

/// Instances that were never delivered and never will be.
///
/// # Errors
/// When the database does not answer.
pub async fn undeliverable(conn: &mut Conn) -> Result<Vec<Undeliverable>> {
    Ok(store::undeliverable(conn).await?)
}

/// Returns true when a subscription's instance was never delivered and never will be.
///
/// # Errors
/// When the database does not answer.
pub async fn is_undeliverable(conn: &mut Conn, subscription_id: SubscriptionId) -> Result<bool> {
    Ok(store::is_undeliverable(conn, subscription_id).await?)
}

/// Returns true when a subscription's instance ran at least once, or was handed over where clusters
/// are folders.
///
/// # Errors
/// When the database does not answer.
pub async fn was_delivered(conn: &mut Conn, subscription_id: SubscriptionId) -> Result<bool> {
    Ok(store::was_delivered(conn, subscription_id).await?)
}

/// Returns false for an instance that should run and did not once since this moment. While its
/// cluster does not answer, an instance that ran before counts as running.
///
/// # Errors
/// When the database does not answer.
pub async fn ran_since(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
    since: DateTime<Utc>,
) -> Result<bool> {
    let Some(seen) = store::life(conn, subscription_id).await? else {
        return Ok(true);
    };
    Ok(seen.desired != Desired::Running
        || seen.status.is_delivered()
        || seen.last_ran_at.is_some_and(|at| at >= since))
}

/// Makes a subscription's instance due now, if it waits or failed; call [`super::Handle::wake`] after the commit.
/// Returns false when it is as it should be, or was removed.
///
/// # Errors
/// When the database does not answer.
pub async fn try_again(
    conn: &mut Conn,
    clock: &Clock,
    subscription_id: SubscriptionId,
) -> Result<bool> {
    Ok(store::try_again(conn, subscription_id, clock.now()).await?)
}
