//! SQL of endpoints and their secrets.

pub(super) mod deliveries;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::model::{DisabledBecause, Owner, Webhook};
use crate::{
    db::Conn,
    execute, fetch_all, fetch_one, fetch_optional,
    ids::WebhookId,
    outbox::{ADMINISTRATORS, Topic},
};

/// Locks an owner until the transaction ends.
pub(super) async fn lock(conn: &mut Conn, owner: Owner, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let sql = "INSERT INTO webhook_owners (owner_id, updated_at) VALUES ($1, $2) \
               ON CONFLICT (owner_id) DO UPDATE SET updated_at = excluded.updated_at";
    execute!(conn, sql, owner.id(), now)
}

pub(super) async fn count(conn: &mut Conn, owner: Owner) -> sqlx::Result<i64> {
    let sql = "SELECT count(*) FROM webhook_endpoints WHERE owner_id = $1";
    let (count,) = fetch_one!(conn, (i64,), sql, owner.id())?;
    Ok(count)
}

pub(super) async fn insert(conn: &mut Conn, owner: Owner, new: &Webhook) -> sqlx::Result<u64> {
    let sql = "INSERT INTO webhook_endpoints (id, owner_id, url, description, events, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $6)";
    execute!(
        conn,
        sql,
        new.id,
        owner.id(),
        &new.url,
        &new.description,
        &new.events,
        new.created_at
    )
}

/// All endpoints of an owner, the oldest first.
pub(super) async fn list(conn: &mut Conn, owner: Owner) -> sqlx::Result<Vec<Webhook>> {
    let sql = "SELECT id, url, description, events, disabled_at, disabled_because, failing_since, created_at, updated_at \
               FROM webhook_endpoints WHERE owner_id = $1 ORDER BY created_at, id";
    fetch_all!(conn, Webhook, sql, owner.id())
}

pub(super) async fn by_id(
    conn: &mut Conn,
    owner: Owner,
    id: WebhookId,
) -> sqlx::Result<Option<Webhook>> {
    let sql = "SELECT id, url, description, events, disabled_at, disabled_because, failing_since, created_at, updated_at \
               FROM webhook_endpoints WHERE id = $1 AND owner_id = $2";
    fetch_optional!(conn, Webhook, sql, id, owner.id())
}

/// Writes all fields that can be changed.
pub(super) async fn update(conn: &mut Conn, changed: &Webhook) -> sqlx::Result<u64> {
    let sql = "UPDATE webhook_endpoints SET url = $2, description = $3, events = $4, disabled_at = $5, \
                 disabled_because = $6, failing_since = $7, updated_at = $8 WHERE id = $1";
    execute!(
        conn,
        sql,
        changed.id,
        &changed.url,
        &changed.description,
        &changed.events,
        changed.disabled_at,
        changed.disabled_because,
        changed.failing_since,
        changed.updated_at
    )
}

/// Removes an endpoint with its secrets, deliveries and attempts.
pub(super) async fn delete(conn: &mut Conn, owner: Owner, id: WebhookId) -> sqlx::Result<bool> {
    let sql = "DELETE FROM webhook_endpoints WHERE id = $1 AND owner_id = $2";
    Ok(execute!(conn, sql, id, owner.id())? == 1)
}

/// Removes all endpoints of an owner, with their secrets, deliveries and attempts.
pub(super) async fn delete_all(conn: &mut Conn, owner: Owner) -> sqlx::Result<u64> {
    let sql = "DELETE FROM webhook_endpoints WHERE owner_id = $1";
    execute!(conn, sql, owner.id())
}

/// Enabled endpoints of an owner and of the shop, with the kinds of events that they are for.
pub(super) async fn listening(
    conn: &mut Conn,
    owner_id: Uuid,
) -> sqlx::Result<Vec<(WebhookId, Json<Vec<Topic>>)>> {
    let sql = "SELECT id, events FROM webhook_endpoints WHERE owner_id IN ($1, $2) AND disabled_at IS NULL ORDER BY id";
    fetch_all!(
        conn,
        (WebhookId, Json<Vec<Topic>>),
        sql,
        owner_id,
        ADMINISTRATORS
    )
}

/// Notes that an endpoint failed, unless it has failed before.
pub(super) async fn failed(
    conn: &mut Conn,
    id: WebhookId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql =
        "UPDATE webhook_endpoints SET failing_since = coalesce(failing_since, $2) WHERE id = $1";
    execute!(conn, sql, id, now)
}

pub(super) async fn succeeded(conn: &mut Conn, id: WebhookId) -> sqlx::Result<u64> {
    let sql = "UPDATE webhook_endpoints SET failing_since = NULL WHERE id = $1";
    execute!(conn, sql, id)
}

/// Disables an endpoint; false when it was.
pub(super) async fn disable(
    conn: &mut Conn,
    id: WebhookId,
    because: DisabledBecause,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE webhook_endpoints SET disabled_at = $2, disabled_because = $3, updated_at = $2 \
               WHERE id = $1 AND disabled_at IS NULL";
    Ok(execute!(conn, sql, id, now, because)? == 1)
}

pub(super) async fn insert_secret(
    conn: &mut Conn,
    id: Uuid,
    webhook_id: WebhookId,
    sealed: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql =
        "INSERT INTO webhook_secrets (id, webhook_id, sealed, created_at) VALUES ($1, $2, $3, $4)";
    execute!(conn, sql, id, webhook_id, sealed, now)
}

/// Sealed secrets that sign at a moment, the newest first.
pub(super) async fn secrets(
    conn: &mut Conn,
    webhook_id: WebhookId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(Vec<u8>,)>> {
    let sql = "SELECT sealed FROM webhook_secrets WHERE webhook_id = $1 AND (expires_at IS NULL OR expires_at > $2) \
               ORDER BY created_at DESC, id DESC";
    fetch_all!(conn, (Vec<u8>,), sql, webhook_id, now)
}

/// Lets all secrets of an endpoint end at a moment, unless they end before.
pub(super) async fn expire_secrets(
    conn: &mut Conn,
    webhook_id: WebhookId,
    at: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE webhook_secrets SET expires_at = $2 WHERE webhook_id = $1 AND (expires_at IS NULL OR expires_at > $2)";
    execute!(conn, sql, webhook_id, at)
}

/// Removes the secrets of an endpoint that have ended.
pub(super) async fn forget_secrets(
    conn: &mut Conn,
    webhook_id: WebhookId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "DELETE FROM webhook_secrets WHERE webhook_id = $1 AND expires_at <= $2";
    execute!(conn, sql, webhook_id, now)
}
