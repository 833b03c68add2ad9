//! Spreading of messages: from the outbox to each reader, by the channels that they want.

use serde_json::{Value, json};
use sqlx::types::Json;

use super::{
    Notifications,
    model::{Channel, Reader},
    store::{
        self, NewNotification,
        deliveries::{self, NewDelivery},
    },
};
use crate::{
    Result, crypto,
    db::{Conn, new_id},
    outbox::{self, ADDRESSEE, ADMINISTRATORS, Message, Topic},
    owners, webhooks,
    workers::Next,
};

/// Messages that one transaction spreads.
const AT_ONCE: i64 = 100;

/// Spreads messages that wait. The message is marked in the transaction that writes what follows
/// from it, so that of two servers one spreads it, and a server that dies has spread it or not.
///
/// # Errors
/// When the database refuses.
pub(super) async fn spread(notifications: &Notifications) -> Result<Next> {
    let waiting = outbox::waiting(&mut notifications.db.read().await?, AT_ONCE).await?;
    if waiting.is_empty() {
        return Ok(Next::AfterRest);
    }
    let mut conn = notifications.db.begin().await?;
    let mut next = Next::AfterRest;
    for message in &waiting {
        if outbox::take(&mut conn, message.id, notifications.clock.now()).await? {
            spread_one(notifications, &mut conn, message).await?;
            next = Next::AtOnce;
        }
    }
    conn.commit().await?;
    // Those that others have locked come free in a moment.
    Ok(next)
}

async fn spread_one(
    notifications: &Notifications,
    conn: &mut Conn,
    message: &Message,
) -> Result<()> {
    webhooks::enqueue(conn, &notifications.clock, message).await?;
    let readers = readers(conn, message).await?;
    if readers.is_empty() && message.subject_id != ADDRESSEE {
        tracing::warn!(message.id = %message.id, message.topic = %message.topic, "notification.without_reader");
    }
    for reader in readers {
        tell(notifications, conn, message, &reader).await?;
    }
    metrics::counter!("dermaga_notifications_total", "kind" => message.topic.as_str()).increment(1);
    Ok(())
}

/// Returns the accounts that a message is for.
async fn readers(conn: &mut Conn, message: &Message) -> Result<Vec<Reader>> {
    Ok(match message.subject_id {
        ADMINISTRATORS => store::administrators(conn).await?,
        ADDRESSEE => addressee(conn, message).await?.into_iter().collect(),
        subject => store::reader(conn, subject.into())
            .await?
            .into_iter()
            .collect(),
    })
}

/// Returns the account with the address of a message, when it is one that gets such mails.
async fn addressee(conn: &mut Conn, message: &Message) -> Result<Option<Reader>> {
    let Some(email) = message.payload.get("email").and_then(Value::as_str) else {
        return Ok(None);
    };
    let is_any = message.topic != Topic::EmailConfirmation;
    Ok(store::addressee(conn, email, is_any).await?)
}

async fn tell(
    notifications: &Notifications,
    conn: &mut Conn,
    message: &Message,
    reader: &Reader,
) -> Result<()> {
    // It may have been deleted since the message was written.
    if owners::keep(conn, reader.id).await?.is_none() {
        return Ok(());
    }
    let exceptions = store::exceptions_of(conn, reader.id, message.topic).await?;
    let is_wanted = |channel: Channel| {
        let exception = exceptions.iter().find(|(other, _)| *other == channel);
        message.topic.is_required() || exception.is_none_or(|(_, enabled)| *enabled)
    };
    let nothing = Json(json!({}));
    let new = NewNotification {
        id: new_id(&notifications.clock),
        message_id: message.id,
        user_id: reader.id,
        kind: message.topic,
        payload: if message.topic.is_mail_only() {
            &nothing
        } else {
            &message.payload
        },
        in_inbox: !message.topic.is_mail_only() && is_wanted(Channel::Inbox),
        created_at: message.created_at,
    };
    store::insert(conn, &new).await?;
    if notifications.mailer.is_none() || !is_wanted(Channel::Email) {
        return Ok(());
    }
    let now = notifications.clock.now();
    let delivery = NewDelivery {
        id: new_id(&notifications.clock),
        notification_id: new.id,
        address: &reader.email,
        unsubscribe_token: (!message.topic.is_required()).then(|| crypto::random_token().into()),
        now,
        retry_until: now + notifications.settings.retry,
    };
    deliveries::insert(conn, &delivery).await?;
    Ok(())
}
