//! Tickets as they are shown.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::model::{
    Attachment, ManagedRow, Ticket, TicketAuthor, TicketChannel, TicketClosedBy, TicketPriority,
    TicketStatus,
};
use crate::{
    db::Place,
    ids::{AttachmentId, InstanceId, TicketId, TicketMessageId, UserId},
    pictures::MediaType,
};

/// A ticket of a customer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketView {
    pub id: TicketId,
    /// For people, as `#001`. The numbers of a shop follow one another without gaps.
    pub number: String,
    pub subject: String,
    pub status: TicketStatus,
    /// Instance that it is about.
    pub instance_id: Option<InstanceId>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub closed_at: Option<DateTime<Utc>>,
    pub closed_by: Option<TicketClosedBy>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub updated_at: DateTime<Utc>,
}

impl TicketView {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<TicketId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

impl From<Ticket> for TicketView {
    fn from(row: Ticket) -> Self {
        Self {
            id: row.id,
            number: row.number.to_string(),
            subject: row.subject,
            status: row.status,
            instance_id: row.instance_id,
            closed_at: row.closed_at,
            closed_by: row.closed_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// A ticket, as administrators see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedTicket {
    #[serde(flatten)]
    pub ticket: TicketView,
    pub user_id: UserId,
    /// E-mail address of its customer.
    pub email: String,
    pub priority: TicketPriority,
    /// Administrator who takes care of it.
    pub assignee_id: Option<UserId>,
    pub assignee_email: Option<String>,
    /// Time of the last answer, while the customer has not answered it.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub awaits_customer_since: Option<DateTime<Utc>>,
    /// Last change of any kind, notes too.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub touched_at: DateTime<Utc>,
}

impl ManagedTicket {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<TicketId> {
        self.ticket.place()
    }
}

impl From<ManagedRow> for ManagedTicket {
    fn from(row: ManagedRow) -> Self {
        let ticket = row.ticket;
        Self {
            user_id: ticket.user_id,
            email: row.email,
            priority: ticket.priority,
            assignee_id: ticket.assignee_id,
            assignee_email: row.assignee_email,
            awaits_customer_since: ticket.awaits_customer_since,
            touched_at: ticket.touched_at,
            ticket: ticket.into(),
        }
    }
}

/// A message of a ticket.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketMessage {
    pub id: TicketMessageId,
    pub author: TicketAuthor,
    pub channel: TicketChannel,
    pub body: String,
    pub attachments: Vec<TicketAttachment>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
}

/// A picture of a message.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketAttachment {
    pub id: AttachmentId,
    /// Name that the file had where it came from.
    pub name: String,
    /// Type of the picture as it is kept: it was decoded and written again.
    pub media_type: MediaType,
    pub size_bytes: i64,
}

impl From<Attachment> for TicketAttachment {
    fn from(row: Attachment) -> Self {
        Self {
            id: row.id,
            name: row.name,
            media_type: row.media_type,
            size_bytes: row.size_bytes,
        }
    }
}

/// A message or a note, as administrators see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedMessage {
    #[serde(flatten)]
    pub message: TicketMessage,
    /// True for a note, which the customer never sees.
    pub internal: bool,
    pub author_id: UserId,
    pub author_email: String,
    /// Address that the mail of this message came from, where that is not its author's: another person may
    /// have written it. `unknown` when the mail named none.
    pub sent_from: Option<String>,
}

/// A ticket with its messages, the oldest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketDetail {
    #[serde(flatten)]
    pub ticket: TicketView,
    pub messages: Vec<TicketMessage>,
}

/// A ticket with its messages and notes, the oldest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedTicketDetail {
    #[serde(flatten)]
    pub ticket: ManagedTicket,
    pub messages: Vec<ManagedMessage>,
    /// Evidence of the instance from when the ticket was opened: its state, events, last lines of its
    /// logs, last decision and payment; secrets are masked. Absent for a ticket that names none.
    #[schema(value_type = Option<Object>)]
    pub evidence: Option<Value>,
}

/// Number of a customer's tickets in each status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketCounts {
    pub open: i64,
    pub in_progress: i64,
    pub closed: i64,
    pub total: i64,
}

impl TicketCounts {
    pub(super) fn of(rows: &[(TicketStatus, i64)]) -> Self {
        let count = |wanted| {
            let of_status = rows.iter().filter(|(status, _)| *status == wanted);
            of_status.map(|(_, count)| count).sum()
        };
        let [open, in_progress, closed] = [
            count(TicketStatus::Open),
            count(TicketStatus::InProgress),
            count(TicketStatus::Closed),
        ];
        Self {
            open,
            in_progress,
            closed,
            total: rows.iter().map(|(_, count)| count).sum(),
        }
    }
}

/// Figures of all tickets.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketStatistics {
    #[serde(flatten)]
    pub counts: TicketCounts,
    /// Of those that are not closed, by priority; the most urgent first.
    pub by_priority: Vec<TicketsOfPriority>,
    /// Of those that are not closed, without an administrator.
    pub unassigned: i64,
    /// Time since which the oldest open ticket waits for its answer.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub oldest_open_at: Option<DateTime<Utc>>,
}

/// Number of tickets of a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketsOfPriority {
    pub priority: TicketPriority,
    pub count: i64,
}
