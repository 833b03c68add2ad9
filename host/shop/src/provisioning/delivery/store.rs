//! SQL of delivered instances, and of those that never will be.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Undeliverable;
use crate::{
    db::Conn,
    execute, fetch_all, fetch_optional,
    ids::SubscriptionId,
    provisioning::model::{Desired, Status},
};

/// Every change of an instance raises its generation, so that a final one is tried again.
macro_rules! undeliverable {
    () => {
        "SELECT subscription_id, user_id, message FROM instances WHERE final_generation IS NOT NULL
         AND final_generation = generation AND delivered_at IS NULL AND desired = 'RUNNING'"
    };
}

pub(super) async fn undeliverable(conn: &mut Conn) -> sqlx::Result<Vec<Undeliverable>> {
    fetch_all!(conn, Undeliverable, undeliverable!())
}

pub(super) async fn is_undeliverable(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
) -> sqlx::Result<bool> {
    let sql = concat!(undeliverable!(), " AND subscription_id = $1");
    let found = fetch_optional!(conn, Undeliverable, sql, subscription_id)?;
    Ok(found.is_some())
}

pub(super) async fn was_delivered(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
) -> sqlx::Result<bool> {
    let sql = "SELECT id FROM instances WHERE subscription_id = $1 AND delivered_at IS NOT NULL";
    let delivered: Option<(Uuid,)> = fetch_optional!(conn, (Uuid,), sql, subscription_id)?;
    Ok(delivered.is_some())
}

/// Delivery state of an instance, for billing.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Life {
    pub(super) desired: Desired,
    pub(super) status: Status,
    pub(super) last_ran_at: Option<DateTime<Utc>>,
}

pub(super) async fn life(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
) -> sqlx::Result<Option<Life>> {
    let sql = "SELECT desired, status, last_ran_at FROM instances WHERE subscription_id = $1";
    fetch_optional!(conn, Life, sql, subscription_id)
}

/// Makes the instance due now; returns false when none of the subscription waits or fails.
pub(super) async fn try_again(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE instances SET next_attempt_at = $2 WHERE subscription_id = $1 AND desired <> 'TERMINATED'
               AND (failures > 0 OR status IN ('PENDING', 'PROVISIONING', 'FAILED', 'DEGRADED'))";
    Ok(execute!(conn, sql, subscription_id, now)? > 0)
}
