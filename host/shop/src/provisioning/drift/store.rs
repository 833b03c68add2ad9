//! SQL of the comparison with the cluster.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    cluster::{ClaimRef, ObjectRef},
    db::Conn,
    fetch_all, fetch_optional,
    ids::{InstanceId, SubscriptionId, UserId},
    provisioning::model::Desired,
};

/// An instance, as far as the cluster is compared with it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Entry {
    pub(super) id: InstanceId,
    pub(super) subscription_id: SubscriptionId,
    pub(super) user_id: UserId,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) desired: Desired,
    pub(super) observed_generation: i64,
    pub(super) applied: Json<Vec<ObjectRef>>,
    pub(super) claims: Json<Vec<ClaimRef>>,
    pub(super) updated_at: DateTime<Utc>,
}

/// Returns every instance that is not proven to be gone.
pub(super) async fn live(conn: &mut Conn) -> sqlx::Result<Vec<Entry>> {
    let sql = "SELECT id, subscription_id, user_id, name, namespace, desired, observed_generation, applied, \
               claims, updated_at FROM instances WHERE status <> 'TERMINATED'";
    fetch_all!(conn, Entry, sql)
}

/// Returns an instance that is proven to be gone.
pub(super) async fn ended(conn: &mut Conn, name: &str) -> sqlx::Result<Option<Entry>> {
    let sql = "SELECT id, subscription_id, user_id, name, namespace, desired, observed_generation, applied, \
               claims, updated_at FROM instances WHERE name = $1 AND status = 'TERMINATED'";
    fetch_optional!(conn, Entry, sql, name)
}

/// Returns true when a customer had an instance in a namespace.
pub(super) async fn had_instances(
    conn: &mut Conn,
    user_id: UserId,
    namespace: &str,
) -> sqlx::Result<bool> {
    let sql = "SELECT id FROM instances WHERE user_id = $1 AND namespace = $2 LIMIT 1";
    let found: Option<(Uuid,)> = fetch_optional!(conn, (Uuid,), sql, user_id, namespace)?;
    Ok(found.is_some())
}
