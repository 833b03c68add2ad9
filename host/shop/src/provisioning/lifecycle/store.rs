//! SQL of the life cycle of instances.

use chrono::{DateTime, Utc};

use crate::{
    db::Conn,
    execute, fetch_one, fetch_optional,
    ids::{InstanceId, SubscriptionId, UserId},
    provisioning::model::{Desired, Halt, Instance},
};

/// Reads a subscription's instance. An update that changes nothing takes the row's lock on both
/// engines.
pub(super) async fn lock(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
) -> sqlx::Result<Option<Instance>> {
    let sql = "UPDATE instances SET updated_at = updated_at WHERE subscription_id = $1 RETURNING *";
    fetch_optional!(conn, Instance, sql, subscription_id)
}

/// Changes the desired state of an instance that is locked.
pub(super) async fn change(
    conn: &mut Conn,
    seen: &Instance,
    (desired, halt): (Desired, Option<Halt>),
    restarted_at: Option<DateTime<Utc>>,
    message: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Instance> {
    // The removal is the one change whose status does not wait for the first pass.
    let sql = "UPDATE instances SET desired = $2, halt = $3, restarted_at = coalesce($4, restarted_at), message = $5, \
               status = CASE WHEN $2 = 'TERMINATED' THEN 'TERMINATING' ELSE status END, \
               failures = 0, generation = generation + 1, next_attempt_at = $6, updated_at = $6 \
               WHERE id = $1 RETURNING *";
    let id = seen.id;
    fetch_one!(
        conn,
        Instance,
        sql,
        id,
        desired,
        halt,
        restarted_at,
        message,
        now
    )
}

pub(super) async fn subscription_of(
    conn: &mut Conn,
    user_id: UserId,
    id: InstanceId,
) -> sqlx::Result<Option<SubscriptionId>> {
    let sql = "SELECT subscription_id FROM instances WHERE id = $1 AND user_id = $2";
    let found = fetch_optional!(conn, (SubscriptionId,), sql, id, user_id)?;
    Ok(found.map(|(id,)| id))
}

pub(super) async fn owner_of_name(conn: &mut Conn, name: &str) -> sqlx::Result<Option<UserId>> {
    let sql = "SELECT user_id FROM instances WHERE name = $1";
    let found = fetch_optional!(conn, (UserId,), sql, name)?;
    Ok(found.map(|(user_id,)| user_id))
}

/// Removes what a customer gave to the instances, all of which are gone, and what was told of them.
pub(super) async fn forget(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    let sql = "DELETE FROM instance_secrets WHERE instance_id IN (SELECT id FROM instances WHERE user_id = $1)";
    execute!(conn, sql, user_id)?;
    let sql = "DELETE FROM instance_events WHERE instance_id IN (SELECT id FROM instances WHERE user_id = $1)";
    execute!(conn, sql, user_id)?;
    // Reasons and messages of plugins and clusters may repeat the configuration.
    let sql = "UPDATE instances SET config = '{}', good_config = NULL, message = '', undone = NULL, refusal = NULL \
               WHERE user_id = $1";
    execute!(conn, sql, user_id)
}
