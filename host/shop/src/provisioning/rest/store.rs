//! The SQL of instances at rest.

use chrono::{DateTime, Utc};

use crate::{
    db::Conn,
    execute, fetch_all,
    ids::InstanceId,
    provisioning::model::{Status, status_digest},
};

/// An instance at rest, as far as a quiet look needs it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Resting {
    pub(super) id: InstanceId,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) generation: i64,
    plugin_digest: String,
    status: Status,
    message: String,
    pub(super) next_attempt_at: DateTime<Utc>,
}

impl Resting {
    /// Hash of its status, as that of [`Instance`](crate::provisioning::Instance).
    pub(super) fn status_digest(&self) -> u64 {
        status_digest(
            (self.generation, &self.plugin_digest),
            (self.status, &self.message),
        )
    }
}

/// Returns instances that only the clock asks a look for, after a place in their order, the earliest first.
pub(super) async fn resting(
    conn: &mut Conn,
    (at, id): (DateTime<Utc>, InstanceId),
    until: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Resting>> {
    let sql = "SELECT id, namespace, name, generation, plugin_digest, status, message, next_attempt_at FROM instances \
               WHERE next_attempt_at >= $1 AND next_attempt_at <= $3 AND (next_attempt_at, id) > ($1, $2) \
               AND rests_until = next_attempt_at AND observed_generation = generation \
               AND lease_until IS NULL AND due_by IS NULL AND reapply_asked_at IS NULL \
               ORDER BY next_attempt_at, id LIMIT $4";
    fetch_all!(conn, Resting, sql, at, id, until, limit)
}

/// Notes a quiet look at an instance, and when the next one is due. Does nothing when it is due by now, or
/// anything was asked of it since it was read.
pub(super) async fn put_off(
    conn: &mut Conn,
    seen: &Resting,
    now: DateTime<Utc>,
    next: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET next_attempt_at = $5, rests_until = $5, checked_at = $4, \
               last_ran_at = CASE WHEN status = 'RUNNING' THEN $4 ELSE last_ran_at END \
               WHERE id = $1 AND generation = $2 AND observed_generation = $2 \
               AND next_attempt_at = $3 AND rests_until = $3 AND next_attempt_at > $4 \
               AND lease_until IS NULL AND due_by IS NULL AND reapply_asked_at IS NULL";
    execute!(
        conn,
        sql,
        seen.id,
        seen.generation,
        seen.next_attempt_at,
        now,
        next
    )
}
