//! SQL of deliveries and their attempts.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::model::{WebhookAttempt, WebhookDelivery, WebhookDeliveryState};
use crate::{
    db::{Conn, Filter, Lease, List, Span, Walked, fetch_span},
    delete_free, execute, fetch_all, fetch_one, fetch_optional,
    ids::{WebhookDeliveryId, WebhookId},
    outbox::{ADMINISTRATORS, Backlog},
};

/// Values of a delivery to store.
#[derive(Debug)]
pub(in crate::webhooks) struct NewDelivery<'a> {
    pub(in crate::webhooks) id: WebhookDeliveryId,
    pub(in crate::webhooks) webhook_id: WebhookId,
    pub(in crate::webhooks) event_id: Uuid,
    pub(in crate::webhooks) kind: &'a str,
    pub(in crate::webhooks) body: String,
    pub(in crate::webhooks) now: DateTime<Utc>,
}

pub(in crate::webhooks) async fn insert(
    conn: &mut Conn,
    new: &NewDelivery<'_>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO webhook_deliveries (id, webhook_id, event_id, type, body, state, attempts, next_try_at, \
                 created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 'PENDING', 0, $6, $6, $6)";
    execute!(
        conn,
        sql,
        new.id,
        new.webhook_id,
        new.event_id,
        new.kind,
        &new.body,
        new.now
    )
}

/// A delivery with everything that its request is made of.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::webhooks) struct Due {
    pub(in crate::webhooks) id: WebhookDeliveryId,
    pub(in crate::webhooks) webhook_id: WebhookId,
    pub(in crate::webhooks) event_id: Uuid,
    pub(in crate::webhooks) body: String,
    pub(in crate::webhooks) state: WebhookDeliveryState,
    pub(in crate::webhooks) attempts: i64,
    pub(in crate::webhooks) owner_id: Uuid,
    pub(in crate::webhooks) url: String,
    pub(in crate::webhooks) disabled_at: Option<DateTime<Utc>>,
    pub(in crate::webhooks) failing_since: Option<DateTime<Utc>>,
}

/// Returns a leased delivery.
pub(in crate::webhooks) async fn due(conn: &mut Conn, lease: &Lease) -> sqlx::Result<Option<Due>> {
    let sql = "SELECT d.id, d.webhook_id, d.event_id, d.body, d.state, d.attempts, w.owner_id, w.url, w.disabled_at, \
                 w.failing_since \
               FROM webhook_deliveries d JOIN webhook_endpoints w ON w.id = d.webhook_id \
               WHERE d.id = $1 AND d.lease_holder = $2";
    fetch_optional!(conn, Due, sql, lease.id, lease.holder)
}

/// Deliveries that were neither made nor given up.
pub(in crate::webhooks) async fn backlog(conn: &mut Conn) -> sqlx::Result<Backlog> {
    let sql = "SELECT count(*), min(created_at) FROM webhook_deliveries WHERE state IN ('PENDING', 'FAILED')";
    let found = fetch_one!(conn, (i64, Option<DateTime<Utc>>), sql)?;
    Ok(found.into())
}

/// State of a delivery after an attempt.
#[derive(Debug)]
pub(in crate::webhooks) struct Outcome {
    pub(in crate::webhooks) state: WebhookDeliveryState,
    pub(in crate::webhooks) attempts: i64,
    pub(in crate::webhooks) next_try_at: DateTime<Utc>,
}

/// Writes down what became of a delivery, unless another server has it.
pub(in crate::webhooks) async fn mark(
    conn: &mut Conn,
    lease: &Lease,
    outcome: &Outcome,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE webhook_deliveries SET state = $3, attempts = $4, next_try_at = $5, updated_at = $6, \
                 delivered_at = CASE WHEN $3 = 'DELIVERED' THEN $6 ELSE delivered_at END, \
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
        now
    )
}

/// Values of an attempt to store.
#[derive(Debug)]
pub(in crate::webhooks) struct NewAttempt<'a> {
    pub(in crate::webhooks) id: Uuid,
    pub(in crate::webhooks) delivery_id: WebhookDeliveryId,
    pub(in crate::webhooks) at: DateTime<Utc>,
    pub(in crate::webhooks) status: Option<i64>,
    pub(in crate::webhooks) duration_ms: i64,
    pub(in crate::webhooks) answer: &'a str,
}

pub(in crate::webhooks) async fn insert_attempt(
    conn: &mut Conn,
    new: &NewAttempt<'_>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO webhook_attempts (id, delivery_id, at, status, duration_ms, answer) VALUES ($1, $2, $3, $4, $5, $6)";
    execute!(
        conn,
        sql,
        new.id,
        new.delivery_id,
        new.at,
        new.status,
        new.duration_ms,
        new.answer
    )
}

const DELIVERIES: List = List {
    rows: "SELECT id, event_id, type, state, attempts, next_try_at, created_at, delivered_at FROM webhook_deliveries",
    from: "FROM webhook_deliveries",
    key: "id",
    order: "ORDER BY created_at DESC, id DESC",
};

/// Deliveries to an endpoint, newest first.
pub(in crate::webhooks) async fn list(
    conn: &mut Conn,
    webhook_id: WebhookId,
    state: Option<WebhookDeliveryState>,
    span: Span<WebhookDeliveryId>,
) -> sqlx::Result<Walked<WebhookDelivery>> {
    let filter = Filter::of("webhook_id = ?", webhook_id).with_some("state = ?", state);
    let place = "(created_at, id) < (?, ?)";
    fetch_span(conn, DELIVERIES, place, filter, span).await
}

pub(in crate::webhooks) async fn by_id(
    conn: &mut Conn,
    webhook_id: WebhookId,
    id: WebhookDeliveryId,
) -> sqlx::Result<Option<WebhookDelivery>> {
    let sql = "SELECT id, event_id, type, state, attempts, next_try_at, created_at, delivered_at FROM webhook_deliveries \
               WHERE id = $1 AND webhook_id = $2";
    fetch_optional!(conn, WebhookDelivery, sql, id, webhook_id)
}

/// Payload of a delivery.
pub(in crate::webhooks) async fn body(
    conn: &mut Conn,
    id: WebhookDeliveryId,
) -> sqlx::Result<Option<(String,)>> {
    fetch_optional!(
        conn,
        (String,),
        "SELECT body FROM webhook_deliveries WHERE id = $1",
        id
    )
}

/// Attempts of a delivery, newest first.
pub(in crate::webhooks) async fn attempts(
    conn: &mut Conn,
    id: WebhookDeliveryId,
    limit: i64,
) -> sqlx::Result<Vec<WebhookAttempt>> {
    let sql = "SELECT at, status, duration_ms, answer FROM webhook_attempts WHERE delivery_id = $1 \
               ORDER BY at DESC, id DESC LIMIT $2";
    fetch_all!(conn, WebhookAttempt, sql, id, limit)
}

/// Lets a delivery be sent at once, from the first attempt on; false while it is being sent.
pub(in crate::webhooks) async fn revive(
    conn: &mut Conn,
    webhook_id: WebhookId,
    id: WebhookDeliveryId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE webhook_deliveries SET state = 'PENDING', attempts = 0, next_try_at = $3, updated_at = $3 \
               WHERE id = $1 AND webhook_id = $2 AND state <> 'PENDING' AND (lease_until IS NULL OR lease_until <= $3)";
    Ok(execute!(conn, sql, id, webhook_id, now)? == 1)
}

/// Removes a number of deliveries from before a moment that are over, with their attempts; returns
/// how many.
pub(in crate::webhooks) async fn purge(
    conn: &mut Conn,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let sql = delete_free!(
        conn,
        "webhook_deliveries",
        "id",
        "created_at < $1 AND state IN ('DELIVERED', 'DEAD') ORDER BY created_at, id LIMIT $2"
    );
    execute!(conn, sql, before, limit)
}

/// Removes the deliveries of a message to the shop's endpoints, with their attempts.
pub(in crate::webhooks) async fn delete_of_shop(
    conn: &mut Conn,
    event_id: Uuid,
) -> sqlx::Result<u64> {
    let sql = "DELETE FROM webhook_deliveries WHERE event_id = $1 \
               AND webhook_id IN (SELECT id FROM webhook_endpoints WHERE owner_id = $2)";
    execute!(conn, sql, event_id, ADMINISTRATORS)
}
