//! Notifications as they are stored and shown.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::{
    accounts::Role,
    db::Place,
    ids::{DeliveryId, NotificationId, UserId},
    outbox::Topic,
    text_enum,
};

pub use crate::language::Language;

text_enum! {
    /// Way by which a notification reaches its reader.
    pub enum Channel {
        Inbox = "INBOX",
        Email = "EMAIL",
    }
}

text_enum! {
    /// State of a delivery.
    pub enum DeliveryState {
        /// Not tried yet.
        Pending = "PENDING",
        /// Taken by the other side.
        Sent = "SENT",
        /// Not taken; it is tried again.
        Failed = "FAILED",
        /// Refused, or not taken for so long that it is not tried again.
        Dead = "DEAD",
    }
}

/// Account that notifications are for.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Reader {
    pub(super) id: UserId,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) language: Language,
    pub(super) role: Role,
}

impl Reader {
    /// Returns true for kinds that this account can have in an inbox or by e-mail.
    pub(super) fn may_have(&self, kind: Topic) -> bool {
        !kind.is_mail_only() && (self.role == Role::Administrator || !kind.is_for_administrators())
    }
}

/// A notification as the database holds it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Notification {
    pub(super) id: NotificationId,
    pub(super) kind: Topic,
    pub(super) payload: Json<Value>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) read_at: Option<DateTime<Utc>>,
}

/// A notification in an inbox.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationView {
    pub id: NotificationId,
    pub kind: Topic,
    /// Line in the reader's language.
    pub title: String,
    /// Text in the reader's language.
    pub text: String,
    /// Facts that the text was made of; they differ by kind.
    #[schema(value_type = Object)]
    pub facts: Value,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub read_at: Option<DateTime<Utc>>,
}

impl NotificationView {
    /// Returns its place in an inbox, which begins with the newest.
    pub const fn place(&self) -> Place<NotificationId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

/// A notification on its way by a channel.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub id: DeliveryId,
    pub notification_id: NotificationId,
    /// Account that it is for.
    pub user_id: UserId,
    pub kind: Topic,
    pub channel: Channel,
    pub address: String,
    pub state: DeliveryState,
    /// Attempts until now.
    pub attempts: i64,
    /// Time of the next attempt of what is not sent or dead.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub next_try_at: DateTime<Utc>,
    /// Last answer of the other side, or the reason why there was none.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub answer: Option<String>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub sent_at: Option<DateTime<Utc>>,
}

impl Delivery {
    /// Returns the place in the list of all mails.
    pub const fn place(&self) -> Place<DeliveryId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

/// Filter of an inbox.
#[derive(Debug, Clone, Copy, Default)]
pub struct InboxFilter {
    pub kind: Option<Topic>,
    pub unread: Option<bool>,
    /// Only what happened to the account itself.
    pub is_about_security: bool,
}

/// Channels of one kind of notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preference {
    pub kind: Topic,
    /// True when this kind cannot be turned off.
    pub required: bool,
    pub inbox: bool,
    pub email: bool,
}

/// Language and channels of an account's notifications.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preferences {
    pub language: Language,
    pub kinds: Vec<Preference>,
}

/// Channel of a kind to turn on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreferenceChange {
    pub kind: Topic,
    pub channel: Channel,
    pub enabled: bool,
}

/// A notification as it is written to its reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rendered {
    pub subject: String,
    pub text: String,
    pub html: String,
}
