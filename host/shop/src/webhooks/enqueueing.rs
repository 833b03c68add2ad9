//! Events to deliveries: one for each endpoint that wants it, in the transaction that takes the
//! message from the outbox.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    model::Owner,
    store::{
        self,
        deliveries::{self, NewDelivery},
    },
};
use crate::{
    Result,
    calendar::json_text,
    db::{Clock, Conn, new_id},
    ids::{WebhookDeliveryId, WebhookId},
    outbox::{ADMINISTRATORS, Message},
};

/// Type of the event that tries an endpoint.
pub(super) const TEST: &str = "WEBHOOK_TEST";

/// Writes a delivery of a message to each endpoint that wants it: the shop's, and those of the
/// customer that it is about.
///
/// # Errors
/// When the database refuses.
pub async fn enqueue(conn: &mut Conn, clock: &Clock, message: &Message) -> Result<()> {
    let owner = if message.subject_id == ADMINISTRATORS {
        Owner::Shop
    } else {
        Owner::Customer(message.subject_id.into())
    };
    let topic = message.topic;
    if !Owner::Shop.may_have(topic) {
        return Ok(());
    }
    let listening = store::listening(conn, owner.id()).await?;
    let wanting = listening
        .into_iter()
        .filter(|(_, events)| events.0.is_empty() || events.0.contains(&topic));
    let mut data = message.payload.0.clone();
    if let (Owner::Customer(user_id), Value::Object(facts)) = (owner, &mut data) {
        facts.insert("userId".to_owned(), json!(user_id));
    }
    let event = Event {
        id: message.id,
        kind: topic.as_str(),
        at: message.created_at,
        data,
    };
    for (webhook_id, _) in wanting {
        event.put(conn, clock, webhook_id).await?;
    }
    Ok(())
}

/// Event to deliver.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) id: Uuid,
    pub(super) kind: &'a str,
    pub(super) at: DateTime<Utc>,
    pub(super) data: Value,
}

impl Event<'_> {
    /// Writes a delivery to an endpoint.
    pub(super) async fn put(
        &self,
        conn: &mut Conn,
        clock: &Clock,
        webhook_id: WebhookId,
    ) -> Result<WebhookDeliveryId> {
        let timestamp = json_text(self.at);
        let payload = json!({ "type": self.kind, "timestamp": timestamp, "data": self.data });
        let new = NewDelivery {
            id: new_id(clock),
            webhook_id,
            event_id: self.id,
            kind: self.kind,
            body: payload.to_string(),
            now: clock.now(),
        };
        deliveries::insert(conn, &new).await?;
        Ok(new.id)
    }
}
