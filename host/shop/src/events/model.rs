//! Events of customers, and places among them.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::text_enum;

text_enum! {
    /// Kind of what changed.
    pub enum EventKind {
        /// Status of an instance.
        Instance = "instance",
        /// Something new in the inbox.
        Notification = "notification",
        /// Status, plan, period, renewal or freeze of a subscription.
        Subscription = "subscription",
        /// Status of a ticket, and each of its messages.
        Ticket = "ticket",
        /// Balance of the wallet.
        Wallet = "wallet",
    }
}

/// Something that changed for a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct CustomerEvent {
    #[serde(skip)]
    pub(super) tx: i64,
    #[serde(skip)]
    pub(super) seq: i64,
    pub kind: EventKind,
    /// Instance, notification, subscription, ticket, or transaction of the wallet.
    pub subject_id: Uuid,
    /// Status that an instance, a subscription or a ticket is shown with now, kind of a notification, type of a
    /// transaction.
    pub change: String,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub at: DateTime<Utc>,
}

impl CustomerEvent {
    /// Returns the place after this event.
    pub(super) const fn place(&self) -> Place {
        Place {
            tx: self.tx,
            seq: self.seq,
        }
    }
}

/// Place among the events of all customers; those after it come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub(super) struct Place {
    pub(super) tx: i64,
    pub(super) seq: i64,
}

/// Place as a client keeps it, with the time when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub(super) place: Place,
    pub(super) sent_at: DateTime<Utc>,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { tx, seq } = self.place;
        write!(f, "{tx}-{seq}-{}", self.sent_at.timestamp())
    }
}

/// Text that is no cursor.
#[derive(Debug, thiserror::Error)]
#[error("is no id of an event")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let mut numbers = text.splitn(3, '-').map(|number| {
            let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse::<i64>().ok().filter(|_| is_plain)
        });
        let mut next = || numbers.next().flatten().ok_or(NoCursor);
        let (tx, seq, seconds) = (next()?, next()?, next()?);
        let cursor = Self {
            place: Place { tx, seq },
            sent_at: DateTime::from_timestamp_secs(seconds).ok_or(NoCursor)?,
        };
        // A number is read with zeros before it, too, as the shop never writes one.
        Some(cursor)
            .filter(|cursor| cursor.to_string() == text)
            .ok_or(NoCursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let text = "731-42-1803866400";
        let cursor: Cursor = text.parse().unwrap();
        assert_eq!(cursor.place, Place { tx: 731, seq: 42 });
        assert_eq!(cursor.to_string(), text);
        for wrong in [
            "",
            "1",
            "1-2",
            "1-2-",
            "-1-2-3",
            "1-2-x",
            "1-2-3-4",
            "1-2-99999999999999999",
            "01-2-1803866400",
            "1-2-01803866400",
        ] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
        let place = |tx, seq| Place { tx, seq };
        assert!(place(1, 9) < place(2, 1) && place(2, 1) < place(2, 2));
    }
}
