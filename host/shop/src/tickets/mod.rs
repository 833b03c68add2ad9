//! Tickets: questions of customers, answers of administrators, and the pictures in both.

mod administration;
pub mod attachments;
mod canned;
mod evidence;
mod mail;
mod model;
mod quoted;
mod settings;
mod silence;
mod store;
#[cfg(test)]
mod tests;
pub mod texts;
mod views;

use std::{collections::HashMap, sync::Arc};

use chrono::TimeDelta;
use serde_json::json;
use sqlx::types::Json;

pub use administration::BulkClosed;
pub use attachments::{KeptFile, MOST_FILE_BYTES, MOST_FILES, SentFile};
pub use canned::NewCannedAnswer;
pub use mail::{MOST_MAIL_BYTES, MailOutcome, MailUse, Signed};
pub use model::{
    CannedAnswer, TicketAct, TicketAuthor, TicketChannel, TicketClosedBy, TicketFilter,
    TicketNumber, TicketPriority, TicketStatus,
};
pub use settings::Settings;
pub use views::{
    ManagedMessage, ManagedTicket, ManagedTicketDetail, TicketAttachment, TicketCounts,
    TicketDetail, TicketMessage, TicketStatistics, TicketView, TicketsOfPriority,
};

use self::{
    model::{Attachment, Message, Ticket},
    store::messages::{self, NewMessage},
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::{Clock, Conn, Db, Span, Walked, new_id},
    files::Files,
    ids::{InstanceId, TicketId, TicketMessageId, UserId},
    owners,
    pictures::Pictures,
    provisioning::Instances,
    replies::Replies,
    throttle::Throttle,
};

/// Messages that a customer may send within an hour, on one server.
const MOST_AN_HOUR: u32 = 60;
/// Messages and notes of one ticket.
const MOST_MESSAGES: i64 = 300;

/// Everything tickets need, built once at start. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tickets {
    db: Db,
    clock: Clock,
    instances: Instances,
    files: Files,
    pictures: Pictures,
    replies: Option<Replies>,
    settings: Arc<Settings>,
    sent: Arc<Throttle<UserId>>,
}

/// A ticket to open.
#[derive(Debug, Default)]
pub struct NewTicket<'a> {
    pub subject: &'a str,
    pub description: &'a str,
    /// Instance of the customer that it is about.
    pub instance_id: Option<InstanceId>,
    pub files: Vec<KeptFile>,
}

/// Removes a customer's tickets; their files go with the next sweep.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut Conn, user_id: UserId) -> Result<()> {
    store::attachments::detach_all(conn, user_id).await?;
    store::delete_all(conn, user_id).await?;
    Ok(())
}

impl Tickets {
    /// Prepares tickets of the customers whose instances these are.
    pub fn new(
        instances: Instances,
        files: Files,
        replies: Option<Replies>,
        settings: Settings,
    ) -> Self {
        let hour = TimeDelta::hours(1);
        Self {
            db: instances.db.clone(),
            clock: instances.clock.clone(),
            instances,
            files,
            pictures: Pictures::default(),
            replies,
            settings: Arc::new(settings),
            sent: Arc::new(Throttle::new(MOST_AN_HOUR, hour, "messages")),
        }
    }

    /// Counts a message of a customer, before anything of it is read.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` after 60 in an hour.
    pub fn admit(&self, user_id: UserId) -> Result<()> {
        self.sent.admit(user_id, self.clock.now())
    }

    /// Opens a ticket, with the evidence of the instance that it names.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `TOO_MANY_FILES`; `NOT_FOUND` for an instance of another customer.
    pub async fn open(&self, user_id: UserId, new: NewTicket<'_>) -> Result<TicketDetail> {
        let (subject, description) = (new.subject, new.description);
        Error::join([
            texts::subject(subject).map(drop),
            texts::description(description).map(drop),
        ])?;
        let (subject, description) = (texts::subject(subject)?, texts::description(description)?);
        let evidence = match new.instance_id {
            Some(id) => Some(evidence::of(&self.instances, user_id, id).await?),
            None => None,
        };
        let now = self.clock.now();
        let mut ticket = Ticket {
            id: new_id(&self.clock),
            number: TicketNumber(0),
            user_id,
            subject,
            status: TicketStatus::Open,
            priority: TicketPriority::Normal,
            assignee_id: None,
            instance_id: new.instance_id,
            awaits_customer_since: None,
            closed_at: None,
            closed_by: None,
            created_at: now,
            updated_at: now,
            touched_at: now,
        };
        let mut conn = self.db.begin().await?;
        owners::hold(&mut conn, user_id).await?;
        // Others who open a ticket wait from here to the commit.
        ticket.number = store::next_number(&mut conn).await?;
        store::insert(&mut conn, &ticket).await?;
        if let Some(evidence) = evidence {
            store::insert_evidence(&mut conn, ticket.id, &Json(evidence), now).await?;
        }
        let message = Writing {
            author: TicketAuthor::Customer,
            channel: TicketChannel::Api,
            ..Writing::of(user_id, &description)
        };
        self.write(&mut conn, ticket.id, &message, &new.files)
            .await?;
        let detail = detail(&mut conn, ticket).await?;
        conn.commit().await?;
        attachments::settle(new.files);
        tracing::info!(ticket.id = %detail.ticket.id, "ticket.opened");
        Ok(detail)
    }

    /// Lists a customer's tickets, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(
        &self,
        user_id: UserId,
        status: Option<TicketStatus>,
        span: Span<TicketId>,
    ) -> Result<Walked<TicketView>> {
        let found = store::list(&mut self.db.read().await?, user_id, status, span).await?;
        Ok(found.map(TicketView::from))
    }

    /// Counts a customer's tickets by status.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn counts(&self, user_id: UserId) -> Result<TicketCounts> {
        let rows = store::count_of(&mut self.db.read().await?, user_id).await?;
        Ok(TicketCounts::of(&rows))
    }

    /// Returns a customer's ticket with its messages.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none or it is another customer's.
    pub async fn get(&self, user_id: UserId, id: TicketId) -> Result<TicketDetail> {
        let mut conn = self.db.read().await?;
        let found = store::owned(&mut conn, user_id, id).await?;
        detail(&mut conn, found.ok_or_else(missing)?).await
    }

    /// Checks that a customer can write to a ticket, before files are read.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` when it is closed.
    pub async fn check_writable(&self, user_id: UserId, id: TicketId) -> Result<()> {
        let found = store::owned(&mut self.db.read().await?, user_id, id).await?;
        step(found.ok_or_else(missing)?.status, TicketAct::Write)?;
        Ok(())
    }

    /// Adds a message of its customer to a ticket.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `TOO_MANY_FILES`, `NOT_FOUND`; `INVALID_STATE` when it is closed or has too
    /// many messages.
    pub async fn reply(
        &self,
        user_id: UserId,
        id: TicketId,
        body: &str,
        files: Vec<KeptFile>,
    ) -> Result<TicketDetail> {
        let body = texts::message(body)?;
        let mut conn = self.db.begin().await?;
        owners::hold(&mut conn, user_id).await?;
        let mut ticket = lock_owned(&mut conn, user_id, id).await?;
        let message = Writing {
            author: TicketAuthor::Customer,
            channel: TicketChannel::Api,
            ..Writing::of(user_id, &body)
        };
        self.add_of_customer(&mut conn, &mut ticket, &message, &files)
            .await?;
        let detail = detail(&mut conn, ticket).await?;
        conn.commit().await?;
        attachments::settle(files);
        Ok(detail)
    }

    /// Writes a customer's message and what follows from it.
    async fn add_of_customer(
        &self,
        conn: &mut Conn,
        ticket: &mut Ticket,
        message: &Writing<'_>,
        files: &[KeptFile],
    ) -> Result<()> {
        ticket.status = step(ticket.status, TicketAct::Write)?;
        self.write(conn, ticket.id, message, files).await?;
        let now = self.clock.now();
        ticket.awaits_customer_since = None;
        (ticket.updated_at, ticket.touched_at) = (now, now);
        store::update(conn, ticket).await?;
        Ok(())
    }

    /// Closes a customer's ticket, which only an administrator can open again.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` when it is closed.
    pub async fn close(&self, user_id: UserId, id: TicketId) -> Result<TicketDetail> {
        let mut conn = self.db.begin().await?;
        owners::hold(&mut conn, user_id).await?;
        let mut ticket = lock_owned(&mut conn, user_id, id).await?;
        let before = ticket.status;
        step(before, TicketAct::Close)?;
        ticket.close(TicketClosedBy::Customer, self.clock.now());
        store::update(&mut conn, &ticket).await?;
        let details = json!({ "number": ticket.number.to_string(), "from": before, "by": TicketClosedBy::Customer });
        let event = Event::new(AuditAct::TicketClosed, Subject::Ticket(id), details);
        audit::record_of_owner(&mut conn, &self.clock, user_id, event).await?;
        let detail = detail(&mut conn, ticket).await?;
        conn.commit().await?;
        Ok(detail)
    }

    /// Writes a message with its files; the ticket is locked, or new.
    async fn write(
        &self,
        conn: &mut Conn,
        ticket_id: TicketId,
        message: &Writing<'_>,
        files: &[KeptFile],
    ) -> Result<TicketMessageId> {
        if messages::count(conn, ticket_id).await? >= MOST_MESSAGES {
            let message = format!(
                "This ticket has {MOST_MESSAGES} messages already. Open another one for what is left."
            );
            return Err(Error::new(Code::InvalidState, message));
        }
        let row = NewMessage {
            id: new_id(&self.clock),
            ticket_id,
            author_id: message.author_id,
            author: message.author,
            internal: message.internal,
            channel: message.channel,
            mail_id: message.mail_id,
            mail_from: message.mail_from,
            body: message.body,
            now: self.clock.now(),
        };
        messages::insert(conn, &row).await?;
        attachments::attach(conn, row.id, files).await?;
        Ok(row.id)
    }
}

/// A message to write.
#[derive(Debug, Clone, Copy)]
struct Writing<'a> {
    author_id: UserId,
    author: TicketAuthor,
    internal: bool,
    channel: TicketChannel,
    mail_id: Option<&'a str>,
    mail_from: Option<&'a str>,
    body: &'a str,
}

impl<'a> Writing<'a> {
    const fn of(author_id: UserId, body: &'a str) -> Self {
        Self {
            author_id,
            author: TicketAuthor::Administrator,
            internal: false,
            channel: TicketChannel::Api,
            mail_id: None,
            mail_from: None,
            body,
        }
    }
}

/// Returns the status that follows.
fn step(status: TicketStatus, act: TicketAct) -> Result<TicketStatus> {
    status.after(act).ok_or_else(|| {
        let message = match act {
            TicketAct::Write => "This ticket is closed. Open a new one.",
            TicketAct::Answer | TicketAct::Note => "This ticket is closed. Reopen it first.",
            TicketAct::Close => "This ticket is closed already.",
            TicketAct::Reopen => "This ticket is not closed.",
        };
        Error::new(Code::InvalidState, message)
    })
}

fn missing() -> Error {
    Error::not_found("ticket")
}

async fn lock(conn: &mut Conn, id: TicketId) -> Result<Ticket> {
    store::lock(conn, id).await?.ok_or_else(missing)
}

async fn lock_owned(conn: &mut Conn, user_id: UserId, id: TicketId) -> Result<Ticket> {
    let found = store::lock(conn, id).await?;
    found
        .filter(|ticket| ticket.user_id == user_id)
        .ok_or_else(missing)
}

/// Returns a ticket as its customer sees it: without notes.
async fn detail(conn: &mut Conn, ticket: Ticket) -> Result<TicketDetail> {
    let id = ticket.id;
    let messages = messages::list(conn, id, false).await?;
    let mut files = by_message(store::attachments::of_ticket(conn, id, false).await?);
    let views = messages
        .into_iter()
        .map(|message| view(message, &mut files));
    Ok(TicketDetail {
        messages: views.collect(),
        ticket: ticket.into(),
    })
}

type FilesOf = HashMap<TicketMessageId, Vec<TicketAttachment>>;

fn by_message(files: Vec<Attachment>) -> FilesOf {
    let mut found = FilesOf::new();
    for file in files {
        if let Some(message_id) = file.message_id {
            found.entry(message_id).or_default().push(file.into());
        }
    }
    found
}

fn view(message: Message, files: &mut FilesOf) -> TicketMessage {
    TicketMessage {
        id: message.id,
        author: message.author,
        channel: message.channel,
        body: message.body,
        attachments: files.remove(&message.id).unwrap_or_default(),
        created_at: message.created_at,
    }
}
