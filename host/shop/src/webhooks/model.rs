//! Webhooks as they are stored and shown.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    audit::By,
    db::Place,
    ids::{UserId, WebhookDeliveryId, WebhookId},
    language,
    outbox::{ADMINISTRATORS, Topic},
    owners::SignedIn,
    text_enum,
};

/// Owner of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The shop: events of all customers, and those for administrators.
    Shop,
    /// A customer: its own events.
    Customer(UserId),
}

impl Owner {
    /// Returns the subject that messages to this owner have.
    pub(super) fn id(self) -> Uuid {
        match self {
            Self::Shop => ADMINISTRATORS,
            Self::Customer(user_id) => user_id.into(),
        }
    }

    /// Returns true for a kind of events that this owner can choose.
    pub(super) fn may_have(self, topic: Topic) -> bool {
        !topic.is_mail_only() && (self == Self::Shop || !topic.is_for_administrators())
    }
}

/// Caller of an act.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// A customer, on its own endpoints.
    Customer(SignedIn),
    /// An administrator, on those of the shop.
    Administrator(By<'a>),
}

impl Caller<'_> {
    pub(super) const fn owner(self) -> Owner {
        match self {
            Self::Customer(SignedIn { user_id, .. }) => Owner::Customer(user_id),
            Self::Administrator(..) => Owner::Shop,
        }
    }

    pub(super) const fn user_id(self) -> UserId {
        match self {
            Self::Customer(SignedIn { user_id, .. }) => user_id,
            Self::Administrator(by) => by.actor_id,
        }
    }
}

text_enum! {
    /// Reason why nothing is sent to an endpoint.
    pub enum DisabledBecause {
        /// Its owner switched it off.
        Owner = "OWNER",
        /// Nothing but failures for days.
        Failing = "FAILING",
        /// It answered 410 Gone.
        Gone = "GONE",
    }
}

text_enum! {
    /// State of the delivery of an event to an endpoint.
    pub enum WebhookDeliveryState {
        /// Not tried yet.
        Pending = "PENDING",
        /// Answered with a status of 200 to 299.
        Delivered = "DELIVERED",
        /// Not taken; it is tried again.
        Failed = "FAILED",
        /// Not taken in all attempts, or its endpoint is disabled.
        Dead = "DEAD",
    }
}

/// Address that events are sent to.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    pub id: WebhookId,
    pub url: String,
    pub description: String,
    /// Kinds of events; all, also those that come later, when it is empty.
    #[schema(value_type = Vec<Topic>)]
    pub events: Json<Vec<Topic>>,
    /// Time since when nothing is sent; absent while it is enabled.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub disabled_at: Option<DateTime<Utc>>,
    pub disabled_because: Option<DisabledBecause>,
    /// Time of the first failure after the last success.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub failing_since: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub updated_at: DateTime<Utc>,
}

/// Endpoint to make.
#[derive(Debug)]
pub struct NewWebhook<'a> {
    pub url: &'a str,
    pub description: &'a str,
    pub events: Vec<Topic>,
}

/// Fields of an endpoint to change; what is absent stays.
#[derive(Debug, Default)]
pub struct WebhookChange {
    pub url: Option<String>,
    pub description: Option<String>,
    pub events: Option<Vec<Topic>>,
    pub enabled: Option<bool>,
}

/// An event on its way to an endpoint.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDelivery {
    pub id: WebhookDeliveryId,
    /// Event, whose `webhook-id` is `msg_` and this.
    pub event_id: Uuid,
    /// Kind of the event, or `WEBHOOK_TEST`.
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub kind: String,
    pub state: WebhookDeliveryState,
    /// Attempts since it was made, or since it was sent again by hand.
    pub attempts: i64,
    /// Time of the next attempt of what is pending or failed.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub next_try_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub delivered_at: Option<DateTime<Utc>>,
}

impl WebhookDelivery {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<WebhookDeliveryId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

/// One attempt to deliver.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct WebhookAttempt {
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub at: DateTime<Utc>,
    /// Status of the answer; absent when there was none.
    pub status: Option<i64>,
    /// Time from the request to its end; 0 when the address was refused, and nothing was sent.
    pub duration_ms: i64,
    /// First bytes of the answer, or the reason why there was none.
    pub answer: String,
}

impl WebhookAttempt {
    /// Returns it with the reason why there was no answer in the current language; an answer stays.
    #[must_use]
    pub(super) fn in_words(self) -> Self {
        match self.status {
            Some(_) => self,
            None => Self {
                answer: language::spoken(&self.answer).into_owned(),
                ..self
            },
        }
    }
}

/// A delivery with what was sent and its newest attempts.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDeliveryDetail {
    #[serde(flatten)]
    pub delivery: WebhookDelivery,
    /// Payload as it is sent.
    #[schema(value_type = Object)]
    pub payload: Value,
    /// Attempts, newest first; at most 50.
    pub log: Vec<WebhookAttempt>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_endpoint_is_sent_the_token_of_a_mail() {
        let customer = Owner::Customer(UserId::from_u128(1));
        for &topic in Topic::ALL.iter().filter(|topic| topic.is_mail_only()) {
            assert!(!Owner::Shop.may_have(topic), "{topic}");
            assert!(!customer.may_have(topic), "{topic}");
        }
    }

    #[test]
    fn the_shop_has_all_that_a_customer_has_and_figures_of_its_own() {
        let customer = Owner::Customer(UserId::from_u128(1));
        let only_shop =
            |topic: &&Topic| Owner::Shop.may_have(**topic) && !customer.may_have(**topic);
        let mut own: Vec<_> = Topic::ALL
            .iter()
            .filter(only_shop)
            .map(|topic| topic.as_str())
            .collect();
        own.sort_unstable();
        assert_eq!(own, ["ADMIN_BILLING_SUMMARY", "IMAGE_OLD"]);
        for &topic in Topic::ALL {
            assert!(
                !customer.may_have(topic) || Owner::Shop.may_have(topic),
                "{topic}"
            );
        }
    }
}
