//! Tickets as they are stored.

use std::fmt::{self, Display, Formatter};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::{
    ids::{AttachmentId, CannedAnswerId, InstanceId, TicketId, TicketMessageId, UserId},
    pictures::MediaType,
    text_enum,
};

text_enum! {
    /// State of a ticket.
    pub enum TicketStatus {
        /// It waits for an answer.
        Open = "OPEN",
        /// It was answered.
        InProgress = "IN_PROGRESS",
        Closed = "CLOSED",
    }
}

/// Change of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketAct {
    /// Its customer writes.
    Write,
    /// An administrator answers.
    Answer,
    /// An administrator writes a note, which its customer does not see.
    Note,
    Close,
    Reopen,
}

impl TicketAct {
    pub const ALL: [Self; 5] = [
        Self::Write,
        Self::Answer,
        Self::Note,
        Self::Close,
        Self::Reopen,
    ];
}

impl TicketStatus {
    /// Returns the status that follows; `None` where the change is refused.
    pub const fn after(self, act: TicketAct) -> Option<Self> {
        match (self, act) {
            (Self::Open, TicketAct::Write) => Some(Self::Open),
            (Self::Open | Self::InProgress, TicketAct::Answer)
            | (Self::InProgress, TicketAct::Write) => Some(Self::InProgress),
            (Self::Open | Self::InProgress, TicketAct::Close) => Some(Self::Closed),
            (status, TicketAct::Note) => Some(status),
            (Self::Closed, TicketAct::Reopen) => Some(Self::Open),
            (Self::Closed, TicketAct::Write | TicketAct::Answer | TicketAct::Close)
            | (Self::Open | Self::InProgress, TicketAct::Reopen) => None,
        }
    }

    /// Returns true when a ticket may go from this status to `next`, or stays as it is. The database
    /// keeps the same table.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Open, Self::Open | Self::InProgress | Self::Closed)
            | (Self::InProgress, Self::InProgress | Self::Closed)
            | (Self::Closed, Self::Closed | Self::Open) => true,
            (Self::InProgress, Self::Open) | (Self::Closed, Self::InProgress) => false,
        }
    }
}

text_enum! {
    /// Urgency of a ticket, for administrators.
    pub enum TicketPriority {
        Low = "LOW",
        Normal = "NORMAL",
        High = "HIGH",
        Urgent = "URGENT",
    }
}

text_enum! {
    /// Party that closed a ticket.
    pub enum TicketClosedBy {
        Customer = "CUSTOMER",
        Administrator = "ADMINISTRATOR",
        /// The shop, after days without a word of the customer.
        Silence = "SILENCE",
    }
}

text_enum! {
    /// Party that wrote a message.
    pub enum TicketAuthor {
        Customer = "CUSTOMER",
        Administrator = "ADMINISTRATOR",
    }
}

text_enum! {
    /// Way by which a message came.
    pub enum TicketChannel {
        Api = "API",
        /// A reply to a mail of the shop.
        Email = "EMAIL",
    }
}

/// Number of a ticket, for people: `#001`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct TicketNumber(pub(super) i64);

impl TicketNumber {
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl Display for TicketNumber {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "#{:03}", self.0)
    }
}

/// A row.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Ticket {
    pub(super) id: TicketId,
    pub(super) number: TicketNumber,
    pub(super) user_id: UserId,
    pub(super) subject: String,
    pub(super) status: TicketStatus,
    pub(super) priority: TicketPriority,
    pub(super) assignee_id: Option<UserId>,
    pub(super) instance_id: Option<InstanceId>,
    pub(super) awaits_customer_since: Option<DateTime<Utc>>,
    pub(super) closed_at: Option<DateTime<Utc>>,
    pub(super) closed_by: Option<TicketClosedBy>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) touched_at: DateTime<Utc>,
}

impl Ticket {
    /// Closes it, as its row is written then.
    pub(super) fn close(&mut self, by: TicketClosedBy, now: DateTime<Utc>) {
        self.status = TicketStatus::Closed;
        self.awaits_customer_since = None;
        (self.closed_at, self.closed_by) = (Some(now), Some(by));
        (self.updated_at, self.touched_at) = (now, now);
    }
}

/// A row with what administrators see beside it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct ManagedRow {
    #[sqlx(flatten)]
    pub(super) ticket: Ticket,
    pub(super) email: String,
    pub(super) assignee_email: Option<String>,
    pub(super) evidence: Option<Json<Value>>,
}

/// A message of a ticket.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Message {
    pub(super) id: TicketMessageId,
    pub(super) author_id: UserId,
    pub(super) author_email: String,
    pub(super) author: TicketAuthor,
    pub(super) internal: bool,
    pub(super) channel: TicketChannel,
    pub(super) body: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) mail_from: Option<String>,
}

/// A file of a message.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Attachment {
    pub(super) id: AttachmentId,
    pub(super) message_id: Option<TicketMessageId>,
    pub(super) name: String,
    pub(super) media_type: MediaType,
    pub(super) size_bytes: i64,
}

/// Text that administrators keep to answer with.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct CannedAnswer {
    pub id: CannedAnswerId,
    pub title: String,
    pub body: String,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub updated_at: DateTime<Utc>,
}

/// Filter of a list of all tickets.
#[derive(Debug, Default)]
pub struct TicketFilter<'a> {
    pub status: Option<TicketStatus>,
    pub priority: Option<TicketPriority>,
    pub user_id: Option<UserId>,
    pub assignee_id: Option<UserId>,
    /// True for those without an administrator.
    pub unassigned: Option<bool>,
    /// Text within the subject, or the customer's e-mail address, or a number with or without `#`.
    pub words: Option<&'a str>,
    /// First moment at which they were opened.
    pub from: Option<DateTime<Utc>>,
    /// Moment after the last.
    pub until: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    use TicketStatus::{Closed, InProgress, Open};

    /// Status before, act, status after; what is not listed is refused.
    const LEGAL: [(TicketStatus, TicketAct, TicketStatus); 10] = [
        (Open, TicketAct::Write, Open),
        (Open, TicketAct::Answer, InProgress),
        (Open, TicketAct::Note, Open),
        (Open, TicketAct::Close, Closed),
        (InProgress, TicketAct::Write, InProgress),
        (InProgress, TicketAct::Answer, InProgress),
        (InProgress, TicketAct::Note, InProgress),
        (InProgress, TicketAct::Close, Closed),
        (Closed, TicketAct::Note, Closed),
        (Closed, TicketAct::Reopen, Open),
    ];

    #[test]
    fn every_act_on_every_status_is_decided() {
        for &status in TicketStatus::ALL {
            for act in TicketAct::ALL {
                let listed = LEGAL
                    .iter()
                    .find(|(from, by, _)| (*from, *by) == (status, act));
                let expected = listed.map(|(_, _, next)| *next);
                assert_eq!(status.after(act), expected, "{status} {act:?}");
            }
        }
    }

    #[test]
    fn every_pair_that_an_act_makes_is_legal_and_no_other() {
        for &from in TicketStatus::ALL {
            for &to in TicketStatus::ALL {
                let mut acts = TicketAct::ALL.into_iter();
                let is_made = acts.any(|act| from.after(act) == Some(to));
                assert_eq!(from.may_become(to), is_made || from == to, "{from} {to}");
            }
        }
    }

    #[test]
    fn numbers_have_three_digits_at_least() {
        let text = |number| TicketNumber(number).to_string();
        assert_eq!(
            [1, 42, 999, 1000].map(text),
            ["#001", "#042", "#999", "#1000"]
        );
    }
}
