//! SQL of attachments.

use chrono::{DateTime, Utc};

use super::super::model::Attachment;
use crate::{
    db::Conn,
    execute, fetch_all, fetch_optional,
    ids::{AttachmentId, TicketId, TicketMessageId, UserId},
};

/// Writes the row of a file that is about to be kept.
pub(in crate::tickets) async fn insert(
    conn: &mut Conn,
    new: &Attachment,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql =
        "INSERT INTO ticket_attachments (id, user_id, name, media_type, size_bytes, created_at)
               VALUES ($1, $2, $3, $4, $5, $6)";
    execute!(
        conn,
        sql,
        new.id,
        user_id,
        &new.name,
        new.media_type,
        new.size_bytes,
        now
    )
}

/// Makes a file one of a message; false when it is being removed.
pub(in crate::tickets) async fn attach(
    conn: &mut Conn,
    id: AttachmentId,
    message_id: TicketMessageId,
) -> sqlx::Result<bool> {
    let sql = "UPDATE ticket_attachments SET message_id = $2
               WHERE id = $1 AND message_id IS NULL AND discarded_at IS NULL";
    Ok(execute!(conn, sql, id, message_id)? == 1)
}

/// Files behind one, in the order of their ids, and which of them belong to a message.
pub(in crate::tickets) async fn after(
    conn: &mut Conn,
    id: AttachmentId,
    limit: i64,
) -> sqlx::Result<Vec<(AttachmentId, bool)>> {
    let sql = "SELECT id, message_id IS NOT NULL FROM ticket_attachments WHERE id > $1 ORDER BY id LIMIT $2";
    fetch_all!(conn, (AttachmentId, bool), sql, id, limit)
}

/// Files of a ticket's messages, in the order of their names as they were kept.
pub(in crate::tickets) async fn of_ticket(
    conn: &mut Conn,
    ticket_id: TicketId,
    with_notes: bool,
) -> sqlx::Result<Vec<Attachment>> {
    let sql = "SELECT a.id, a.message_id, a.name, a.media_type, a.size_bytes
               FROM ticket_messages m JOIN ticket_attachments a ON a.message_id = m.id
               WHERE m.ticket_id = $1 AND ($2 OR NOT m.internal) ORDER BY a.id";
    fetch_all!(conn, Attachment, sql, ticket_id, with_notes)
}

/// File of a message that a customer sees.
pub(in crate::tickets) async fn owned(
    conn: &mut Conn,
    user_id: UserId,
    id: AttachmentId,
) -> sqlx::Result<Option<Attachment>> {
    let sql = "SELECT a.id, a.message_id, a.name, a.media_type, a.size_bytes
               FROM ticket_attachments a JOIN ticket_messages m ON m.id = a.message_id JOIN tickets t ON t.id = m.ticket_id
               WHERE a.id = $1 AND t.user_id = $2 AND NOT m.internal";
    fetch_optional!(conn, Attachment, sql, id, user_id)
}

/// File of any message.
pub(in crate::tickets) async fn any(
    conn: &mut Conn,
    id: AttachmentId,
) -> sqlx::Result<Option<Attachment>> {
    let sql = "SELECT id, message_id, name, media_type, size_bytes FROM ticket_attachments
               WHERE id = $1 AND message_id IS NOT NULL";
    fetch_optional!(conn, Attachment, sql, id)
}

/// Marks a file without a message as one that is being removed; false when it has a message.
pub(in crate::tickets) async fn discard(
    conn: &mut Conn,
    id: AttachmentId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE ticket_attachments SET discarded_at = coalesce(discarded_at, $2)
               WHERE id = $1 AND message_id IS NULL";
    Ok(execute!(conn, sql, id, now)? == 1)
}

/// Removes the row of a file that is gone.
pub(in crate::tickets) async fn delete(conn: &mut Conn, id: AttachmentId) -> sqlx::Result<u64> {
    let sql = "DELETE FROM ticket_attachments WHERE id = $1 AND discarded_at IS NOT NULL";
    execute!(conn, sql, id)
}

/// Files without a message since a moment, in parts by their ids.
pub(in crate::tickets) async fn orphans(
    conn: &mut Conn,
    before: DateTime<Utc>,
    after: AttachmentId,
    limit: i64,
) -> sqlx::Result<Vec<AttachmentId>> {
    let sql = "SELECT id FROM ticket_attachments
               WHERE message_id IS NULL AND created_at < $1 AND id > $2 ORDER BY id LIMIT $3";
    let rows = fetch_all!(conn, (AttachmentId,), sql, before, after, limit)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Takes the files of a customer's tickets from their messages, so that they are removed as files
/// without a message are.
pub(in crate::tickets) async fn detach_all(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    let sql = "UPDATE ticket_attachments SET message_id = NULL, name = ''
               WHERE message_id IN (SELECT m.id FROM tickets t JOIN ticket_messages m ON m.ticket_id = t.id
                                    WHERE t.user_id = $1)";
    execute!(conn, sql, user_id)
}
