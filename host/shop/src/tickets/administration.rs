//! Tickets as administrators see and change them.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    KeptFile, ManagedMessage, ManagedTicket, ManagedTicketDetail, Ticket, TicketAct,
    TicketClosedBy, TicketCounts, TicketFilter, TicketPriority, TicketStatistics, TicketStatus,
    Tickets, TicketsOfPriority, Writing, attachments, by_message, lock, missing, step, store,
    texts, view,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, By, Event, Subject},
    db::{Conn, Span, Walked},
    ids::{TicketId, UserId},
    outbox::{self, Topic},
};

/// Result of closing several tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BulkClosed {
    pub closed: Vec<TicketId>,
    /// Those that were closed before.
    pub already_closed: Vec<TicketId>,
}

impl Tickets {
    /// Lists tickets of all customers, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_all(
        &self,
        filter: &TicketFilter<'_>,
        span: Span<TicketId>,
    ) -> Result<Walked<ManagedTicket>> {
        let found = store::list_all(&mut self.db.read().await?, filter, span).await?;
        Ok(found.map(ManagedTicket::from))
    }

    /// Adds up all tickets.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn statistics(&self) -> Result<TicketStatistics> {
        let mut conn = self.db.snapshot().await?;
        let statuses = store::count_by_status(&mut conn).await?;
        let priorities = store::count_by_priority(&mut conn).await?;
        let (unassigned, oldest_open_at) = store::waiting(&mut conn).await?;
        let of_priority = |priority: &TicketPriority| TicketsOfPriority {
            priority: *priority,
            count: priorities
                .iter()
                .find(|(other, _)| other == priority)
                .map_or(0, |(_, count)| *count),
        };
        Ok(TicketStatistics {
            counts: TicketCounts::of(&statuses),
            by_priority: TicketPriority::ALL.iter().rev().map(of_priority).collect(),
            unassigned,
            oldest_open_at,
        })
    }

    /// Returns any ticket with its messages, notes and evidence.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn get_any(&self, id: TicketId) -> Result<ManagedTicketDetail> {
        managed(&mut self.db.read().await?, id).await
    }

    /// Lists the tickets of a customer, newest first.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such account.
    pub async fn of_customer(
        &self,
        user_id: UserId,
        span: Span<TicketId>,
    ) -> Result<Walked<ManagedTicket>> {
        let mut conn = self.db.read().await?;
        if !store::is_account(&mut conn, user_id).await? {
            return Err(Error::not_found("user"));
        }
        let filter = TicketFilter {
            user_id: Some(user_id),
            ..TicketFilter::default()
        };
        let found = store::list_all(&mut conn, &filter, span).await?;
        Ok(found.map(ManagedTicket::from))
    }

    /// Checks that a ticket can be answered, before files are read.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` when it is closed.
    pub async fn check_answerable(&self, id: TicketId) -> Result<()> {
        let found = store::by_id(&mut self.db.read().await?, id).await?;
        step(found.ok_or_else(missing)?.status, TicketAct::Answer)?;
        Ok(())
    }

    /// Answers a ticket; its customer is notified.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `TOO_MANY_FILES`, `NOT_FOUND`; `INVALID_STATE` when it is closed or has too
    /// many messages.
    pub async fn answer(
        &self,
        by: By<'_>,
        id: TicketId,
        body: &str,
        files: Vec<KeptFile>,
    ) -> Result<ManagedTicketDetail> {
        let body = texts::message(body)?;
        let mut conn = self.db.begin().await?;
        let mut ticket = lock(&mut conn, id).await?;
        ticket.status = step(ticket.status, TicketAct::Answer)?;
        let writing = Writing::of(by.actor_id, &body);
        let message_id = self.write(&mut conn, id, &writing, &files).await?;
        let now = self.clock.now();
        ticket.awaits_customer_since = Some(now);
        (ticket.updated_at, ticket.touched_at) = (now, now);
        store::update(&mut conn, &ticket).await?;
        let details = json!({ "number": ticket.number.to_string(), "messageId": message_id });
        self.note_act(&mut conn, by, id, AuditAct::TicketAnswered, details)
            .await?;
        let payload = json!({
            "ticketId": id,
            "number": ticket.number.to_string(),
            "subject": ticket.subject,
            "answer": body,
        });
        let what = (Topic::TicketAnswered, ticket.user_id.into());
        let key = message_id.to_string();
        outbox::put_once(&mut conn, &self.clock, what, &key, payload).await?;
        let detail = managed(&mut conn, id).await?;
        conn.commit().await?;
        attachments::settle(files);
        Ok(detail)
    }

    /// Adds a note that customers never see, to a ticket of any status.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `NOT_FOUND`; `INVALID_STATE` when it has too many messages.
    pub async fn note(&self, by: By<'_>, id: TicketId, body: &str) -> Result<ManagedTicketDetail> {
        let body = texts::message(body)?;
        let mut conn = self.db.begin().await?;
        let mut ticket = lock(&mut conn, id).await?;
        step(ticket.status, TicketAct::Note)?;
        let writing = Writing {
            internal: true,
            ..Writing::of(by.actor_id, &body)
        };
        let message_id = self.write(&mut conn, id, &writing, &[]).await?;
        ticket.touched_at = self.clock.now();
        let details = json!({ "number": ticket.number.to_string(), "messageId": message_id });
        self.finish(conn, by, &ticket, AuditAct::TicketNoted, details)
            .await
    }

    /// Closes a ticket.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` when it is closed.
    pub async fn close_any(
        &self,
        admin_id: UserId,
        id: TicketId,
        reason: &str,
    ) -> Result<ManagedTicketDetail> {
        let mut conn = self.db.begin().await?;
        let mut ticket = lock(&mut conn, id).await?;
        step(ticket.status, TicketAct::Close)?;
        self.close_locked(&mut conn, admin_id, &mut ticket, reason)
            .await?;
        let detail = managed(&mut conn, id).await?;
        conn.commit().await?;
        Ok(detail)
    }

    async fn close_locked(
        &self,
        conn: &mut Conn,
        admin_id: UserId,
        ticket: &mut Ticket,
        reason: &str,
    ) -> Result<()> {
        let from = ticket.status;
        ticket.close(TicketClosedBy::Administrator, self.clock.now());
        store::update(conn, ticket).await?;
        let by = TicketClosedBy::Administrator;
        let details = json!({ "number": ticket.number.to_string(), "from": from, "by": by });
        let (by, act) = (By::because(admin_id, reason), AuditAct::TicketClosed);
        self.note_act(conn, by, ticket.id, act, details).await
    }

    /// Closes several tickets: all of them, or none when one does not exist.
    ///
    /// # Errors
    /// `NOT_FOUND` with the ids that are none.
    pub async fn close_many(
        &self,
        admin_id: UserId,
        mut ids: Vec<TicketId>,
        reason: &str,
    ) -> Result<BulkClosed> {
        // In one order, so that two of these never wait for each other.
        ids.sort_unstable();
        ids.dedup();
        let mut conn = self.db.begin().await?;
        let (mut closed, mut already_closed, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for id in ids {
            match store::lock(&mut conn, id).await? {
                None => unknown.push(id),
                Some(ticket) if ticket.status == TicketStatus::Closed => already_closed.push(id),
                Some(mut ticket) => {
                    self.close_locked(&mut conn, admin_id, &mut ticket, reason)
                        .await?;
                    closed.push(id);
                }
            }
        }
        if !unknown.is_empty() {
            let message = match unknown.len() {
                1 => "One of these tickets does not exist. None was closed.".to_owned(),
                count => format!("{count} of these tickets do not exist. None was closed."),
            };
            let refusal = Error::new(Code::NotFound, message);
            return Err(unknown.iter().fold(refusal, |refusal, id| {
                refusal.with("ids", format!("has {id}, which is no ticket"))
            }));
        }
        conn.commit().await?;
        Ok(BulkClosed {
            closed,
            already_closed,
        })
    }

    /// Opens a closed ticket again.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` when it is not closed.
    pub async fn reopen(
        &self,
        admin_id: UserId,
        id: TicketId,
        reason: &str,
    ) -> Result<ManagedTicketDetail> {
        let mut conn = self.db.begin().await?;
        let mut ticket = lock(&mut conn, id).await?;
        ticket.status = step(ticket.status, TicketAct::Reopen)?;
        let by = ticket.closed_by.take();
        ticket.closed_at = None;
        let now = self.clock.now();
        (ticket.updated_at, ticket.touched_at) = (now, now);
        let details = json!({ "number": ticket.number.to_string(), "closedBy": by });
        let (by, act) = (By::because(admin_id, reason), AuditAct::TicketReopened);
        self.finish(conn, by, &ticket, act, details).await
    }

    /// Makes an administrator take care of a ticket, or none.
    ///
    /// # Errors
    /// `NOT_FOUND`; `VALIDATION_FAILED` for an account that is no administrator's.
    pub async fn assign(
        &self,
        admin_id: UserId,
        id: TicketId,
        assignee_id: Option<UserId>,
        reason: &str,
    ) -> Result<ManagedTicketDetail> {
        let mut conn = self.db.begin().await?;
        let mut ticket = lock(&mut conn, id).await?;
        if let Some(assignee_id) = assignee_id
            && !store::is_administrator(&mut conn, assignee_id).await?
        {
            let message = "must be the account of an administrator who can sign in";
            return Err(Error::invalid("assigneeId", message));
        }
        let before = std::mem::replace(&mut ticket.assignee_id, assignee_id);
        ticket.touched_at = self.clock.now();
        let number = ticket.number.to_string();
        let details = json!({ "number": number, "before": before, "after": assignee_id });
        let (by, act) = (By::because(admin_id, reason), AuditAct::TicketAssigned);
        self.finish(conn, by, &ticket, act, details).await
    }

    /// Sets the priority of a ticket.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn set_priority(
        &self,
        admin_id: UserId,
        id: TicketId,
        priority: TicketPriority,
        reason: &str,
    ) -> Result<ManagedTicketDetail> {
        let mut conn = self.db.begin().await?;
        let mut ticket = lock(&mut conn, id).await?;
        let before = std::mem::replace(&mut ticket.priority, priority);
        ticket.touched_at = self.clock.now();
        let number = ticket.number.to_string();
        let details = json!({ "number": number, "before": before, "after": priority });
        let (by, act) = (By::because(admin_id, reason), AuditAct::TicketPrioritySet);
        self.finish(conn, by, &ticket, act, details).await
    }

    /// Writes a ticket that was changed and who did it; returns all about it.
    async fn finish(
        &self,
        mut conn: Conn,
        by: By<'_>,
        ticket: &Ticket,
        act: AuditAct,
        details: Value,
    ) -> Result<ManagedTicketDetail> {
        store::update(&mut conn, ticket).await?;
        self.note_act(&mut conn, by, ticket.id, act, details)
            .await?;
        let detail = managed(&mut conn, ticket.id).await?;
        conn.commit().await?;
        Ok(detail)
    }

    async fn note_act(
        &self,
        conn: &mut Conn,
        by: By<'_>,
        id: TicketId,
        act: AuditAct,
        details: Value,
    ) -> Result<()> {
        let event = Event::new(act, Subject::Ticket(id), details);
        audit::record_by(conn, &self.clock, by, event).await
    }
}

/// Returns a ticket with everything about it.
async fn managed(conn: &mut Conn, id: TicketId) -> Result<ManagedTicketDetail> {
    let mut row = store::managed(conn, id).await?.ok_or_else(missing)?;
    let messages = store::messages::list(conn, id, true).await?;
    let mut files = by_message(store::attachments::of_ticket(conn, id, true).await?);
    let views = messages.into_iter().map(|message| ManagedMessage {
        internal: message.internal,
        author_id: message.author_id,
        author_email: message.author_email.clone(),
        sent_from: message
            .mail_from
            .clone()
            .filter(|from| *from != message.author_email),
        message: view(message, &mut files),
    });
    Ok(ManagedTicketDetail {
        messages: views.collect(),
        evidence: row.evidence.take().map(|evidence| evidence.0),
        ticket: row.into(),
    })
}
