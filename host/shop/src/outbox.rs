//! Messages to people about what happened, written in the transaction of its cause.
//!
//! A message is there if and only if its cause is, whatever happens to the server in between.
//! Nothing delivers it yet; those that are too old to be of use are purged.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    Result,
    db::{Clock, Conn, new_id},
    execute, text_enum,
};

text_enum! {
    /// Kind of what happened.
    pub enum Topic {
        /// Restarts did not mend an instance. The subject is its customer.
        InstanceFailed = "INSTANCE_FAILED",
    }
}

/// Writes what happened to a subject, in the caller's transaction.
///
/// # Errors
/// When the database refuses.
pub async fn put(
    conn: &mut Conn,
    clock: &Clock,
    topic: Topic,
    subject_id: Uuid,
    payload: Value,
) -> Result<()> {
    let sql = "INSERT INTO outbox (id, topic, subject_id, payload, created_at) VALUES ($1, $2, $3, $4, $5)";
    let (id, now) = (new_id::<Uuid>(clock), clock.now());
    execute!(conn, sql, id, topic, subject_id, Json(payload), now)?;
    Ok(())
}

/// Removes a number of rows that are older than a moment; returns how many there were.
///
/// # Errors
/// When the database refuses.
pub async fn purge(conn: &mut Conn, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    let sql = "DELETE FROM outbox WHERE id IN \
               (SELECT id FROM outbox WHERE created_at < $1 ORDER BY created_at LIMIT $2)";
    Ok(execute!(conn, sql, before, limit)?)
}
