//! SQL of instances that change in the cluster.

use chrono::{DateTime, Utc};

use super::Moving;
use crate::{db::Conn, fetch_all};

/// Instances that were not delivered before `since`, or whose change is not proven to work: their pods may
/// be in the cluster, in part or in another size.
pub(super) async fn moving(conn: &mut Conn, since: DateTime<Utc>) -> sqlx::Result<Vec<Moving>> {
    let sql = "SELECT subscription_id, name, plan_id, cpu_millis, memory_mib, storage_gib, replicas FROM instances
               WHERE delivered_at IS NULL AND desired = 'RUNNING' AND (final_generation IS NULL OR final_generation < generation)
               UNION ALL
               SELECT subscription_id, name, plan_id, cpu_millis, memory_mib, storage_gib, replicas FROM instances
               WHERE delivered_at >= $1 AND desired = 'RUNNING'
               UNION ALL
               SELECT subscription_id, name, plan_id, cpu_millis, memory_mib, storage_gib, replicas FROM instances
               WHERE unproven_generation IS NOT NULL AND delivered_at < $1 AND desired = 'RUNNING'";
    fetch_all!(conn, Moving, sql, since)
}
