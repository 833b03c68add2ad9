//! SQL of tickets.

pub(super) mod attachments;
pub(super) mod messages;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;

use super::model::{
    CannedAnswer, ManagedRow, Ticket, TicketFilter, TicketNumber, TicketPriority, TicketStatus,
};
use crate::{
    Result,
    db::{Conn, Filter, List, Span, Walked, fetch_span},
    execute, fetch_all, fetch_one, fetch_optional,
    ids::{CannedAnswerId, TicketId, UserId},
    language::Language,
    owners, write_returning,
};

const OWN: List = List {
    rows: "SELECT t.* FROM tickets t",
    from: "FROM tickets t",
    key: "t.id",
    order: "ORDER BY t.created_at DESC, t.id DESC",
};

const ALL: List = List {
    rows: "SELECT t.*, u.email, a.email AS assignee_email, NULL AS evidence
           FROM tickets t JOIN users u ON u.id = t.user_id LEFT JOIN users a ON a.id = t.assignee_id",
    from: "FROM tickets t",
    key: "t.id",
    order: "ORDER BY t.created_at DESC, t.id DESC",
};

const WITH_CUSTOMERS: List = List {
    from: "FROM tickets t JOIN users u ON u.id = t.user_id",
    ..ALL
};

/// Takes the next number. Its row stays locked until the transaction ends.
pub(super) async fn next_number(conn: &mut Conn) -> sqlx::Result<TicketNumber> {
    let sql = "UPDATE ticket_numbers SET last = last + 1 WHERE id = $1 RETURNING last";
    let taken = write_returning!(conn, (TicketNumber,), sql, 1_i64)?;
    let (number,) = taken.ok_or(sqlx::Error::RowNotFound)?;
    Ok(number)
}

pub(super) async fn insert(conn: &mut Conn, new: &Ticket) -> sqlx::Result<u64> {
    let sql = "INSERT INTO tickets (id, number, user_id, subject, status, priority, instance_id, created_at, updated_at,
                 touched_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $8)";
    execute!(
        conn,
        sql,
        new.id,
        new.number,
        new.user_id,
        &new.subject,
        new.status,
        new.priority,
        new.instance_id,
        new.created_at
    )
}

pub(super) async fn insert_evidence(
    conn: &mut Conn,
    id: TicketId,
    content: &Json<Value>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO ticket_evidence (ticket_id, content, taken_at) VALUES ($1, $2, $3)";
    execute!(conn, sql, id, content, now)
}

/// Locks a ticket until the transaction ends, and returns it.
/// Locks a ticket, and returns it.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn lock(conn: &mut Conn, id: TicketId) -> Result<Option<Ticket>> {
    let owner = "SELECT user_id FROM tickets WHERE id = $1";
    let Some((owner,)) = fetch_optional!(conn, (UserId,), owner, id)? else {
        return Ok(None);
    };
    // The deletion of an account locks it before its tickets. What is written to a ticket twice asks for the account.
    owners::keep(conn, owner).await?;
    let sql = "UPDATE tickets SET touched_at = touched_at WHERE id = $1 RETURNING *";
    Ok(write_returning!(conn, Ticket, sql, id)?)
}

/// Writes all fields that can be changed.
pub(super) async fn update(conn: &mut Conn, ticket: &Ticket) -> sqlx::Result<u64> {
    let sql = "UPDATE tickets SET status = $2, priority = $3, assignee_id = $4, awaits_customer_since = $5,
                 closed_at = $6, closed_by = $7, updated_at = $8, touched_at = $9 WHERE id = $1";
    execute!(
        conn,
        sql,
        ticket.id,
        ticket.status,
        ticket.priority,
        ticket.assignee_id,
        ticket.awaits_customer_since,
        ticket.closed_at,
        ticket.closed_by,
        ticket.updated_at,
        ticket.touched_at
    )
}

pub(super) async fn owned(
    conn: &mut Conn,
    user_id: UserId,
    id: TicketId,
) -> sqlx::Result<Option<Ticket>> {
    let sql = "SELECT * FROM tickets WHERE id = $1 AND user_id = $2";
    fetch_optional!(conn, Ticket, sql, id, user_id)
}

pub(super) async fn by_id(conn: &mut Conn, id: TicketId) -> sqlx::Result<Option<Ticket>> {
    fetch_optional!(conn, Ticket, "SELECT * FROM tickets WHERE id = $1", id)
}

/// Ticket with a number, its customer, and the customer's language.
pub(super) async fn by_number(
    conn: &mut Conn,
    number: i64,
) -> sqlx::Result<Option<(TicketId, UserId, Language)>> {
    let sql = "SELECT t.id, t.user_id, u.language FROM tickets t JOIN users u ON u.id = t.user_id WHERE t.number = $1";
    fetch_optional!(conn, (TicketId, UserId, Language), sql, number)
}

pub(super) async fn managed(conn: &mut Conn, id: TicketId) -> sqlx::Result<Option<ManagedRow>> {
    let sql = "SELECT t.*, u.email, a.email AS assignee_email, e.content AS evidence
               FROM tickets t JOIN users u ON u.id = t.user_id LEFT JOIN users a ON a.id = t.assignee_id
               LEFT JOIN ticket_evidence e ON e.ticket_id = t.id WHERE t.id = $1";
    fetch_optional!(conn, ManagedRow, sql, id)
}

/// Tickets of a customer.
pub(super) async fn list(
    conn: &mut Conn,
    user_id: UserId,
    status: Option<TicketStatus>,
    span: Span<TicketId>,
) -> sqlx::Result<Walked<Ticket>> {
    let filter = Filter::of("t.user_id = ?", user_id).with_some("t.status = ?", status);
    let place = "(t.created_at, t.id) < (?, ?)";
    fetch_span(conn, OWN, place, filter, span).await
}

/// Tickets of all customers.
pub(super) async fn list_all(
    conn: &mut Conn,
    wanted: &TicketFilter<'_>,
    span: Span<TicketId>,
) -> sqlx::Result<Walked<ManagedRow>> {
    let unassigned = wanted.unassigned.map(|unassigned| match unassigned {
        // One who is no administrator any more takes care of nothing.
        true => "NOT coalesce((SELECT a.role = 'ADMINISTRATOR' AND a.status = 'ACTIVE' FROM users a WHERE a.id = t.assignee_id), FALSE)",
        false => "coalesce((SELECT a.role = 'ADMINISTRATOR' AND a.status = 'ACTIVE' FROM users a WHERE a.id = t.assignee_id), FALSE)",
    });
    let digits = wanted
        .words
        .map(|words| words.trim().trim_start_matches('#'));
    let number = digits.and_then(|digits| digits.parse::<i64>().ok());
    let filter = Filter::default()
        .with_some("t.status = ?", wanted.status)
        .with_some("t.priority = ?", wanted.priority)
        .with_some("t.user_id = ?", wanted.user_id)
        .with_some("t.assignee_id = ?", wanted.assignee_id)
        .and_some(unassigned)
        .with_some("t.created_at >= ?", wanted.from)
        .with_some("t.created_at < ?", wanted.until);
    let (list, filter) = match (number, wanted.words) {
        (Some(number), _) => (ALL, filter.with("t.number = ?", number)),
        (None, None) => (ALL, filter),
        (None, words) => {
            let filter = filter.containing(&["t.subject", "u.email"], words);
            (WITH_CUSTOMERS, filter)
        }
    };
    let place = "(t.created_at, t.id) < (?, ?)";
    fetch_span(conn, list, place, filter, span).await
}

pub(super) async fn count_of(
    conn: &mut Conn,
    user_id: UserId,
) -> sqlx::Result<Vec<(TicketStatus, i64)>> {
    let sql = "SELECT status, count(*) FROM tickets WHERE user_id = $1 GROUP BY status";
    fetch_all!(conn, (TicketStatus, i64), sql, user_id)
}

pub(super) async fn count_by_status(conn: &mut Conn) -> sqlx::Result<Vec<(TicketStatus, i64)>> {
    let sql = "SELECT status, count(*) FROM tickets GROUP BY status";
    fetch_all!(conn, (TicketStatus, i64), sql)
}

pub(super) async fn count_by_priority(conn: &mut Conn) -> sqlx::Result<Vec<(TicketPriority, i64)>> {
    let sql = "SELECT priority, count(*) FROM tickets WHERE status <> 'CLOSED' GROUP BY priority";
    fetch_all!(conn, (TicketPriority, i64), sql)
}

/// Number of tickets without an administrator, and the opening of the oldest that waits for an answer.
pub(super) async fn waiting(conn: &mut Conn) -> sqlx::Result<(i64, Option<DateTime<Utc>>)> {
    let sql = "SELECT count(*) FROM tickets t WHERE t.status <> 'CLOSED' AND NOT coalesce(
               (SELECT a.role = 'ADMINISTRATOR' AND a.status = 'ACTIVE' FROM users a WHERE a.id = t.assignee_id), FALSE)";
    let (unassigned,) = fetch_one!(conn, (i64,), sql)?;
    let sql = "SELECT created_at FROM tickets WHERE status = 'OPEN' ORDER BY created_at LIMIT 1";
    let oldest = fetch_optional!(conn, (DateTime<Utc>,), sql)?;
    Ok((unassigned, oldest.map(|(at,)| at)))
}

/// Tickets whose customers did not answer since a moment.
pub(super) async fn silent(
    conn: &mut Conn,
    since: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<TicketId>> {
    let sql = "SELECT id FROM tickets WHERE awaits_customer_since <= $1 ORDER BY awaits_customer_since, id LIMIT $2";
    let rows = fetch_all!(conn, (TicketId,), sql, since, limit)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub(super) async fn is_account(conn: &mut Conn, id: UserId) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1)";
    let (found,) = fetch_one!(conn, (bool,), sql, id)?;
    Ok(found)
}

/// True for the account of an administrator who can sign in.
pub(super) async fn is_administrator(conn: &mut Conn, id: UserId) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1 AND role = 'ADMINISTRATOR' AND status = 'ACTIVE')";
    let (found,) = fetch_one!(conn, (bool,), sql, id)?;
    Ok(found)
}

/// All canned answers by their titles.
pub(super) async fn canned_answers(conn: &mut Conn) -> sqlx::Result<Vec<CannedAnswer>> {
    let sql = "SELECT id, title, body, created_at, updated_at FROM canned_answers ORDER BY title LIMIT 500";
    fetch_all!(conn, CannedAnswer, sql)
}

pub(super) async fn count_canned(conn: &mut Conn) -> sqlx::Result<i64> {
    let (count,) = fetch_one!(conn, (i64,), "SELECT count(*) FROM canned_answers")?;
    Ok(count)
}

pub(super) async fn canned_answer(
    conn: &mut Conn,
    id: CannedAnswerId,
) -> sqlx::Result<Option<CannedAnswer>> {
    let sql = "SELECT id, title, body, created_at, updated_at FROM canned_answers WHERE id = $1";
    fetch_optional!(conn, CannedAnswer, sql, id)
}

pub(super) async fn insert_canned(conn: &mut Conn, new: &CannedAnswer) -> sqlx::Result<u64> {
    let sql = "INSERT INTO canned_answers (id, title, body, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)";
    execute!(conn, sql, new.id, &new.title, &new.body, new.created_at)
}

pub(super) async fn update_canned(conn: &mut Conn, new: &CannedAnswer) -> sqlx::Result<u64> {
    let sql = "UPDATE canned_answers SET title = $2, body = $3, updated_at = $4 WHERE id = $1";
    execute!(conn, sql, new.id, &new.title, &new.body, new.updated_at)
}

pub(super) async fn delete_canned(conn: &mut Conn, id: CannedAnswerId) -> sqlx::Result<u64> {
    execute!(conn, "DELETE FROM canned_answers WHERE id = $1", id)
}

/// Removes a customer's tickets with their messages and evidence.
pub(super) async fn delete_all(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    execute!(conn, "DELETE FROM tickets WHERE user_id = $1", user_id)
}
