//! Audit trail: acts of administrators with their reasons, and reads of secrets.
//!
//! A row is written in the transaction that it is about. The database refuses to change or delete
//! what was recorded.

mod by;
mod model;
mod store;
#[cfg(test)]
mod tests;

use serde_json::Value;
use sqlx::types::Json;

pub use by::{By, GivenReason};
pub use model::{AuditAct, AuditEvent, AuditFilter, Event, Subject};

use crate::{
    Code, Error, Result,
    db::{Clock, Conn, Db, Span, Walked, new_id},
    ids::{AuditEventId, UserId},
    owners,
};

/// Records what an administrator did, in the caller's transaction, which fails where the actor is none any
/// more: the role was read when the request began, or some seconds before.
///
/// # Errors
/// `FORBIDDEN` when the actor is no administrator any more.
pub async fn record(
    conn: &mut Conn,
    clock: &Clock,
    actor_id: UserId,
    event: Event<'_>,
) -> Result<()> {
    record_with_id(conn, clock, actor_id, event).await?;
    Ok(())
}

/// Records as [`record`] does, with the reason that the actor gave.
///
/// # Errors
/// As [`record`].
pub async fn record_by(conn: &mut Conn, clock: &Clock, by: By<'_>, event: Event<'_>) -> Result<()> {
    record(conn, clock, by.actor_id, event.given(by.reason)).await
}

/// Records as [`record`] does, and returns the row's id, which keys the notification of the act.
///
/// # Errors
/// As [`record`].
pub async fn record_with_id(
    conn: &mut Conn,
    clock: &Clock,
    actor_id: UserId,
    event: Event<'_>,
) -> Result<AuditEventId> {
    if !store::is_administrator(conn, actor_id).await? {
        let message = "You are no administrator any more.";
        return Err(Error::new(Code::Forbidden, message));
    }
    insert(conn, clock, Some(actor_id), event).await
}

/// Records what an owner did to what is its own, in the caller's transaction, which fails where the account was
/// disabled or deleted since the request began.
///
/// # Errors
/// `UNAUTHENTICATED` when the account is not active any more.
pub async fn record_of_owner(
    conn: &mut Conn,
    clock: &Clock,
    actor_id: UserId,
    event: Event<'_>,
) -> Result<()> {
    owners::check_active(conn, actor_id).await?;
    insert(conn, clock, Some(actor_id), event).await?;
    Ok(())
}

/// Records what the shop did by itself, in the caller's transaction.
///
/// # Errors
/// When the database refuses.
pub async fn record_of_shop(conn: &mut Conn, clock: &Clock, event: Event<'_>) -> Result<()> {
    insert(conn, clock, None, event).await?;
    Ok(())
}

async fn insert(
    conn: &mut Conn,
    clock: &Clock,
    actor_id: Option<UserId>,
    event: Event<'_>,
) -> Result<AuditEventId> {
    let id = new_id(clock);
    let row = store::NewEvent {
        id,
        actor_id,
        act: event.act,
        subject: event.subject.to_string(),
        reason: event.reason,
        details: Json(event.details),
        now: clock.now(),
    };
    store::insert(conn, row).await?;
    Ok(id)
}

/// Returns the details of all acts of a kind upon a subject, in no order.
///
/// # Errors
/// When the database does not answer.
pub async fn details_of(
    conn: &mut Conn,
    act: AuditAct,
    subject: Subject<'_>,
) -> Result<Vec<Value>> {
    let details = store::details_of(conn, &subject.to_string(), act).await?;
    Ok(details
        .into_iter()
        .map(|(Json(details),)| details)
        .collect())
}

/// Lists what was recorded, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    db: &Db,
    filter: &AuditFilter<'_>,
    span: Span<AuditEventId>,
) -> Result<Walked<AuditEvent>> {
    Ok(store::list(&mut db.read().await?, filter, span).await?)
}
