//! Audit log: actions of administrators, and reads of secrets.

use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    Result,
    db::{Clock, Conn, new_id},
    execute,
    ids::UserId,
};

/// Records an action in the caller's transaction: `action` such as `subscription.refunded`,
/// `subject` such as `subscription:0199...`.
///
/// # Errors
/// When the database refuses.
pub async fn record(
    conn: &mut Conn,
    clock: &Clock,
    actor_id: UserId,
    action: &str,
    subject: &str,
    details: Value,
) -> Result<()> {
    let sql = "INSERT INTO audit_events (id, actor_id, action, subject, details, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    let (id, now) = (new_id::<Uuid>(clock), clock.now());
    execute!(conn, sql, id, actor_id, action, subject, Json(details), now)?;
    Ok(())
}
