//! SQL of notifications: readers, inboxes and preferences.

pub(super) mod deliveries;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::model::{Channel, InboxFilter, Language, Notification, PreferenceChange, Reader};
use crate::{
    db::{Conn, Filter, List, Span, Walked, fetch_span},
    delete_free, execute, fetch_all, fetch_one, fetch_optional,
    ids::{NotificationId, UserId},
    outbox::Topic,
};

pub(super) async fn reader(conn: &mut Conn, id: UserId) -> sqlx::Result<Option<Reader>> {
    let sql = "SELECT id, email, name, language, role FROM users WHERE id = $1";
    fetch_optional!(conn, Reader, sql, id)
}

/// Active account with an address; only one that waits for its confirmation, unless any will do.
pub(super) async fn addressee(
    conn: &mut Conn,
    email: &str,
    is_any: bool,
) -> sqlx::Result<Option<Reader>> {
    let sql = "SELECT id, email, name, language, role FROM users \
               WHERE email = $1 AND status = 'ACTIVE' AND (email_verified_at IS NULL OR $2)";
    fetch_optional!(conn, Reader, sql, email, is_any)
}

/// Accounts that administer the shop.
pub(super) async fn administrators(conn: &mut Conn) -> sqlx::Result<Vec<Reader>> {
    let sql = "SELECT id, email, name, language, role FROM users WHERE role = 'ADMINISTRATOR' AND status = 'ACTIVE' ORDER BY id";
    fetch_all!(conn, Reader, sql)
}

/// Exceptions of an account for one kind.
pub(super) async fn exceptions_of(
    conn: &mut Conn,
    user_id: UserId,
    kind: Topic,
) -> sqlx::Result<Vec<(Channel, bool)>> {
    let sql =
        "SELECT channel, enabled FROM notification_preferences WHERE user_id = $1 AND kind = $2";
    fetch_all!(conn, (Channel, bool), sql, user_id, kind)
}

/// All exceptions of an account.
pub(super) async fn exceptions(
    conn: &mut Conn,
    user_id: UserId,
) -> sqlx::Result<Vec<(String, Channel, bool)>> {
    let sql = "SELECT kind, channel, enabled FROM notification_preferences WHERE user_id = $1";
    fetch_all!(conn, (String, Channel, bool), sql, user_id)
}

pub(super) async fn set_preference(
    conn: &mut Conn,
    user_id: UserId,
    change: PreferenceChange,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO notification_preferences (user_id, kind, channel, enabled, updated_at) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (user_id, kind, channel) DO UPDATE SET enabled = excluded.enabled, updated_at = excluded.updated_at";
    execute!(
        conn,
        sql,
        user_id,
        change.kind,
        change.channel,
        change.enabled,
        now
    )
}

pub(super) async fn set_language(
    conn: &mut Conn,
    user_id: UserId,
    language: Language,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE users SET language = $2, updated_at = $3 WHERE id = $1";
    execute!(conn, sql, user_id, language, now)
}

/// Values of a notification to store.
#[derive(Debug)]
pub(super) struct NewNotification<'a> {
    pub(super) id: NotificationId,
    pub(super) message_id: Uuid,
    pub(super) user_id: UserId,
    pub(super) kind: Topic,
    pub(super) payload: &'a Json<Value>,
    pub(super) in_inbox: bool,
    /// Time of the cause.
    pub(super) created_at: DateTime<Utc>,
}

pub(super) async fn insert(conn: &mut Conn, new: &NewNotification<'_>) -> sqlx::Result<u64> {
    let sql = "INSERT INTO notifications (id, message_id, user_id, kind, payload, in_inbox, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    execute!(
        conn,
        sql,
        new.id,
        new.message_id,
        new.user_id,
        new.kind,
        new.payload,
        new.in_inbox,
        new.created_at
    )
}

const INBOX: List = List {
    rows: "SELECT id, kind, payload, created_at, read_at FROM notifications",
    from: "FROM notifications",
    key: "id",
    order: "ORDER BY created_at DESC, id DESC",
};

/// An account's inbox, newest first.
pub(super) async fn list(
    conn: &mut Conn,
    user_id: UserId,
    wanted: InboxFilter,
    span: Span<NotificationId>,
) -> sqlx::Result<Walked<Notification>> {
    let unread = wanted.unread.map(|is_unread| {
        if is_unread {
            "read_at IS NULL"
        } else {
            "read_at IS NOT NULL"
        }
    });
    let filter = Filter::of("user_id = ?", user_id)
        .and("in_inbox")
        .with_some("kind = ?", wanted.kind)
        .and_some(unread);
    let filter = if wanted.is_about_security {
        let topics = Topic::ALL.iter().copied();
        filter.with_any("kind", topics.filter(|topic| topic.is_about_security()))
    } else {
        filter
    };
    fetch_span(conn, INBOX, "(created_at, id) < (?, ?)", filter, span).await
}

pub(super) async fn unread(conn: &mut Conn, user_id: UserId) -> sqlx::Result<i64> {
    let sql =
        "SELECT count(*) FROM notifications WHERE user_id = $1 AND in_inbox AND read_at IS NULL";
    let (count,) = fetch_one!(conn, (i64,), sql, user_id)?;
    Ok(count)
}

/// Marks a notification as read, the first time; returns it when it is in this inbox.
pub(super) async fn read(
    conn: &mut Conn,
    user_id: UserId,
    id: NotificationId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Notification>> {
    let sql = "UPDATE notifications SET read_at = coalesce(read_at, $3) WHERE id = $1 AND user_id = $2 AND in_inbox \
               RETURNING id, kind, payload, created_at, read_at";
    fetch_optional!(conn, Notification, sql, id, user_id, now)
}

/// Marks all notifications of an inbox as read; returns how many were not.
pub(super) async fn read_all(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql =
        "UPDATE notifications SET read_at = $2 WHERE user_id = $1 AND in_inbox AND read_at IS NULL";
    execute!(conn, sql, user_id, now)
}

/// Removes all notifications of an account, on their way or not, and its preferences.
pub(super) async fn forget(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    let sql = "DELETE FROM notification_deliveries WHERE notification_id IN \
               (SELECT id FROM notifications WHERE user_id = $1)";
    execute!(conn, sql, user_id)?;
    let sql = "DELETE FROM notifications WHERE user_id = $1";
    execute!(conn, sql, user_id)?;
    let sql = "DELETE FROM notification_preferences WHERE user_id = $1";
    execute!(conn, sql, user_id)
}

/// Removes a number of notifications from before a moment that have no delivery; returns how many.
pub(super) async fn purge(conn: &mut Conn, before: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    let sql = delete_free!(
        conn,
        "notifications",
        "id",
        "created_at < $1 AND NOT EXISTS (SELECT 1 FROM notification_deliveries d WHERE d.notification_id = notifications.id) \
         ORDER BY created_at LIMIT $2"
    );
    execute!(conn, sql, before, limit)
}
