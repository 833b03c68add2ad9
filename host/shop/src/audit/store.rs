//! SQL of the audit trail.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;

use super::model::{AuditAct, AuditEvent, AuditFilter};
use crate::{
    db::{Conn, Filter, List, Span, Walked, fetch_span},
    execute, fetch_all, fetch_one,
    ids::{AuditEventId, UserId},
};

/// Fields of a row.
pub(super) struct NewEvent<'a> {
    pub(super) id: AuditEventId,
    pub(super) actor_id: Option<UserId>,
    pub(super) act: AuditAct,
    pub(super) subject: String,
    pub(super) reason: Option<&'a str>,
    pub(super) details: Json<Value>,
    pub(super) now: DateTime<Utc>,
}

pub(super) async fn insert(conn: &mut Conn, new: NewEvent<'_>) -> sqlx::Result<()> {
    let sql = "INSERT INTO audit_events (id, actor_id, act, subject, reason, details, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    execute!(
        conn,
        sql,
        new.id,
        new.actor_id,
        new.act,
        new.subject,
        new.reason,
        new.details,
        new.now
    )?;
    Ok(())
}

/// Returns true for an active account with the role.
pub(super) async fn is_administrator(conn: &mut Conn, id: UserId) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1 AND role = 'ADMINISTRATOR' AND status = 'ACTIVE')";
    let (is_administrator,) = fetch_one!(conn, (bool,), sql, id)?;
    Ok(is_administrator)
}

/// Details of all acts of a kind upon a subject.
pub(super) async fn details_of(
    conn: &mut Conn,
    subject: &str,
    act: AuditAct,
) -> sqlx::Result<Vec<(Json<Value>,)>> {
    let sql = "SELECT details FROM audit_events WHERE subject = $1 AND act = $2";
    fetch_all!(conn, (Json<Value>,), sql, subject, act)
}

const EVENTS: List = List {
    rows: "SELECT e.id, e.actor_id, u.email AS actor_email, e.act, e.subject, e.reason, e.details, e.created_at \
           FROM audit_events e LEFT JOIN users u ON u.id = e.actor_id",
    from: "FROM audit_events e",
    key: "e.id",
    order: "ORDER BY e.created_at DESC, e.id DESC",
};

pub(super) async fn list(
    conn: &mut Conn,
    wanted: &AuditFilter<'_>,
    span: Span<AuditEventId>,
) -> sqlx::Result<Walked<AuditEvent>> {
    let filter = Filter::default()
        .with_some("e.actor_id = ?", wanted.actor_id)
        .with_some("e.act = ?", wanted.act)
        .with_some("e.subject = ?", wanted.subject)
        .with_some("e.created_at >= ?", wanted.from)
        .with_some("e.created_at < ?", wanted.until)
        // For the index of reasons, which has those alone.
        .and_some(wanted.reason.map(|_| "e.reason IS NOT NULL"))
        .containing(&["e.reason"], wanted.reason);
    let place = "(e.created_at, e.id) < (?, ?)";
    fetch_span(conn, EVENTS, place, filter, span).await
}
