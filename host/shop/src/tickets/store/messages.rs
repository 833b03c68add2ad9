//! SQL of messages.

use chrono::{DateTime, Utc};

use super::super::model::{Message, TicketAuthor, TicketChannel};
use crate::{
    db::Conn,
    execute, fetch_all, fetch_one,
    ids::{TicketId, TicketMessageId, UserId},
};

/// Fields of a row.
#[derive(Debug)]
pub(in crate::tickets) struct NewMessage<'a> {
    pub(in crate::tickets) id: TicketMessageId,
    pub(in crate::tickets) ticket_id: TicketId,
    pub(in crate::tickets) author_id: UserId,
    pub(in crate::tickets) author: TicketAuthor,
    pub(in crate::tickets) internal: bool,
    pub(in crate::tickets) channel: TicketChannel,
    pub(in crate::tickets) mail_id: Option<&'a str>,
    pub(in crate::tickets) mail_from: Option<&'a str>,
    pub(in crate::tickets) body: &'a str,
    pub(in crate::tickets) now: DateTime<Utc>,
}

pub(in crate::tickets) async fn insert(conn: &mut Conn, new: &NewMessage<'_>) -> sqlx::Result<u64> {
    let sql = "INSERT INTO ticket_messages (id, ticket_id, author_id, author, internal, channel, mail_id, body, created_at, mail_from)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    execute!(
        conn,
        sql,
        new.id,
        new.ticket_id,
        new.author_id,
        new.author,
        new.internal,
        new.channel,
        new.mail_id,
        new.body,
        new.now,
        new.mail_from
    )
}

/// Messages of a ticket, the oldest first, with or without the notes.
pub(in crate::tickets) async fn list(
    conn: &mut Conn,
    ticket_id: TicketId,
    with_notes: bool,
) -> sqlx::Result<Vec<Message>> {
    let sql = "SELECT m.id, m.author_id, u.email AS author_email, m.author, m.internal, m.channel, m.body, m.created_at, m.mail_from
               FROM ticket_messages m JOIN users u ON u.id = m.author_id
               WHERE m.ticket_id = $1 AND ($2 OR NOT m.internal) ORDER BY m.created_at, m.id";
    fetch_all!(conn, Message, sql, ticket_id, with_notes)
}

/// Number of messages and notes of a ticket.
pub(in crate::tickets) async fn count(conn: &mut Conn, ticket_id: TicketId) -> sqlx::Result<i64> {
    let sql = "SELECT count(*) FROM ticket_messages WHERE ticket_id = $1";
    let (count,) = fetch_one!(conn, (i64,), sql, ticket_id)?;
    Ok(count)
}

/// True when a mail is a message of the ticket already.
pub(in crate::tickets) async fn has_mail(
    conn: &mut Conn,
    ticket_id: TicketId,
    mail_id: &str,
) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM ticket_messages WHERE ticket_id = $1 AND mail_id = $2)";
    let (found,) = fetch_one!(conn, (bool,), sql, ticket_id, mail_id)?;
    Ok(found)
}
