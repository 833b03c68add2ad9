//! SQL of deliveries: what is due, what became of it, and what administrators see of it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;

use super::super::model::{Channel, Delivery, DeliveryState, Language};
use crate::{
    crypto::Hidden,
    db::{Conn, Filter, Lease, List, Span, Walked, fetch_span},
    delete_free, execute, fetch_one, fetch_optional,
    ids::{DeliveryId, NotificationId, UserId},
    outbox::{Backlog, Topic},
};

/// Values of a delivery to store.
#[derive(Debug)]
pub(in crate::notifications) struct NewDelivery<'a> {
    pub(in crate::notifications) id: DeliveryId,
    pub(in crate::notifications) notification_id: NotificationId,
    pub(in crate::notifications) address: &'a str,
    pub(in crate::notifications) unsubscribe_token: Option<Hidden>,
    pub(in crate::notifications) now: DateTime<Utc>,
    pub(in crate::notifications) retry_until: DateTime<Utc>,
}

pub(in crate::notifications) async fn insert(
    conn: &mut Conn,
    new: &NewDelivery<'_>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO notification_deliveries (id, notification_id, channel, address, state, attempts, next_try_at, \
                 retry_until, unsubscribe_token, created_at, updated_at) \
               VALUES ($1, $2, 'EMAIL', $3, 'PENDING', 0, $4, $5, $6, $4, $4)";
    execute!(
        conn,
        sql,
        new.id,
        new.notification_id,
        new.address,
        new.now,
        new.retry_until,
        &new.unsubscribe_token
    )
}

/// A delivery with everything that its mail is made of.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::notifications) struct Due {
    pub(in crate::notifications) id: DeliveryId,
    pub(in crate::notifications) state: DeliveryState,
    pub(in crate::notifications) attempts: i64,
    pub(in crate::notifications) retry_until: DateTime<Utc>,
    pub(in crate::notifications) address: String,
    pub(in crate::notifications) unsubscribe_token: Option<Hidden>,
    pub(in crate::notifications) user_id: UserId,
    pub(in crate::notifications) kind: Topic,
    pub(in crate::notifications) payload: Json<Value>,
    pub(in crate::notifications) name: String,
    pub(in crate::notifications) language: Language,
}

/// Returns a leased delivery.
pub(in crate::notifications) async fn due(
    conn: &mut Conn,
    lease: &Lease,
) -> sqlx::Result<Option<Due>> {
    let sql = "SELECT d.id, d.state, d.attempts, d.retry_until, d.address, d.unsubscribe_token, n.user_id, n.kind, n.payload, \
                 u.name, u.language \
               FROM notification_deliveries d JOIN notifications n ON n.id = d.notification_id \
               JOIN users u ON u.id = n.user_id WHERE d.id = $1 AND d.lease_holder = $2";
    fetch_optional!(conn, Due, sql, lease.id, lease.holder)
}

/// State of a delivery after an attempt.
#[derive(Debug)]
pub(in crate::notifications) struct Outcome {
    pub(in crate::notifications) state: DeliveryState,
    pub(in crate::notifications) attempts: i64,
    pub(in crate::notifications) next_try_at: DateTime<Utc>,
    /// As it was, when absent.
    pub(in crate::notifications) answer: Option<String>,
}

/// Writes down what became of a delivery, unless another server has it.
pub(in crate::notifications) async fn mark(
    conn: &mut Conn,
    lease: &Lease,
    outcome: &Outcome,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE notification_deliveries SET state = $3, attempts = $4, next_try_at = $5, answer = coalesce($6, answer), \
                 updated_at = $7, sent_at = CASE WHEN $3 = 'SENT' THEN $7 ELSE sent_at END, \
                 lease_holder = NULL, lease_until = NULL \
               WHERE id = $1 AND lease_holder = $2";
    execute!(
        conn,
        sql,
        lease.id,
        lease.holder,
        outcome.state,
        outcome.attempts,
        outcome.next_try_at,
        &outcome.answer,
        now
    )
}

/// Mails that were neither sent nor given up.
pub(in crate::notifications) async fn backlog(conn: &mut Conn) -> sqlx::Result<Backlog> {
    let sql = "SELECT count(*), min(created_at) FROM notification_deliveries WHERE state IN ('PENDING', 'FAILED')";
    let found = fetch_one!(conn, (i64, Option<DateTime<Utc>>), sql)?;
    Ok(found.into())
}

const DELIVERIES: List = List {
    rows: "SELECT d.id, d.notification_id, n.user_id, n.kind, d.channel, d.address, d.state, d.attempts, d.next_try_at, \
             d.answer, d.created_at, d.sent_at \
           FROM notification_deliveries d JOIN notifications n ON n.id = d.notification_id",
    from: "FROM notification_deliveries d",
    key: "d.id",
    order: "ORDER BY d.created_at DESC, d.id DESC",
};

/// Deliveries, newest first.
pub(in crate::notifications) async fn list(
    conn: &mut Conn,
    state: Option<DeliveryState>,
    span: Span<DeliveryId>,
) -> sqlx::Result<Walked<Delivery>> {
    let filter = Filter::default().with_some("d.state = ?", state);
    let place = "(d.created_at, d.id) < (?, ?)";
    fetch_span(conn, DELIVERIES, place, filter, span).await
}

pub(in crate::notifications) async fn by_id(
    conn: &mut Conn,
    id: DeliveryId,
) -> sqlx::Result<Option<Delivery>> {
    let sql = "SELECT d.id, d.notification_id, n.user_id, n.kind, d.channel, d.address, d.state, d.attempts, d.next_try_at, \
                 d.answer, d.created_at, d.sent_at \
               FROM notification_deliveries d JOIN notifications n ON n.id = d.notification_id WHERE d.id = $1";
    fetch_optional!(conn, Delivery, sql, id)
}

/// Lets a dead delivery be tried again at once; false when it is not dead.
pub(in crate::notifications) async fn revive(
    conn: &mut Conn,
    id: DeliveryId,
    now: DateTime<Utc>,
    retry_until: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE notification_deliveries SET state = 'PENDING', attempts = 0, next_try_at = $2, retry_until = $3, \
                 updated_at = $2 WHERE id = $1 AND state = 'DEAD'";
    Ok(execute!(conn, sql, id, now, retry_until)? == 1)
}

/// Returns the reader and the kind that a token to unsubscribe is for.
pub(in crate::notifications) async fn unsubscribing(
    conn: &mut Conn,
    token: &str,
) -> sqlx::Result<Option<(UserId, Topic, Channel)>> {
    let sql = "SELECT n.user_id, n.kind, d.channel FROM notification_deliveries d \
               JOIN notifications n ON n.id = d.notification_id WHERE d.unsubscribe_token = $1";
    fetch_optional!(conn, (UserId, Topic, Channel), sql, token)
}

/// Removes a number of deliveries from before a moment that are over; returns how many.
pub(in crate::notifications) async fn purge(
    conn: &mut Conn,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let sql = delete_free!(
        conn,
        "notification_deliveries",
        "id",
        "created_at < $1 AND state IN ('SENT', 'DEAD') ORDER BY created_at, id LIMIT $2"
    );
    execute!(conn, sql, before, limit)
}
