//! Deliveries as they are asked for: their history, tests and repetitions.

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use super::{
    Caller, Owner, Webhook, WebhookAttempt, WebhookDelivery, WebhookDeliveryDetail,
    WebhookDeliveryState, Webhooks,
    enqueueing::{self, Event},
    find,
    store::deliveries,
};
use crate::{
    Code, Error, Result,
    audit::AuditAct,
    db::{Clock, Conn, Db, Span, Walked, new_id},
    ids::{WebhookDeliveryId, WebhookId},
    outbox::Backlog,
};

/// Attempts that a delivery shows.
const LOG_LENGTH: i64 = 50;
/// Time for which deliveries are kept.
const KEPT: TimeDelta = TimeDelta::days(30);
/// Rows that one transaction of the purge removes.
const PURGED_AT_ONCE: i64 = 1000;

impl Webhooks {
    /// Sends a test event to an endpoint; returns its delivery.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` while it is disabled; `TOO_MANY_REQUESTS`.
    pub async fn test(&self, caller: Caller<'_>, id: WebhookId) -> Result<WebhookDelivery> {
        self.asked.admit(caller.user_id(), self.clock.now())?;
        let mut conn = self.begin(caller).await?;
        let webhook = find(&mut conn, caller.owner(), id).await?;
        check_enabled(&webhook)?;
        let data = match caller.owner() {
            Owner::Customer(user_id) => json!({ "webhookId": id, "userId": user_id }),
            Owner::Shop => json!({ "webhookId": id }),
        };
        let event = Event {
            id: new_id::<Uuid>(&self.clock),
            kind: enqueueing::TEST,
            at: self.clock.now(),
            data,
        };
        let delivery_id = event.put(&mut conn, &self.clock, id).await?;
        let delivery = delivery(&mut conn, id, delivery_id).await?;
        let details = json!({ "deliveryId": delivery_id });
        self.note(&mut conn, caller, AuditAct::WebhookTested, id, details)
            .await?;
        conn.commit().await?;
        Ok(delivery)
    }

    /// Returns a part of the deliveries to an endpoint, newest first.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn deliveries(
        &self,
        owner: Owner,
        id: WebhookId,
        state: Option<WebhookDeliveryState>,
        span: Span<WebhookDeliveryId>,
    ) -> Result<Walked<WebhookDelivery>> {
        let mut conn = self.db.read().await?;
        find(&mut conn, owner, id).await?;
        Ok(deliveries::list(&mut conn, id, state, span).await?)
    }

    /// Returns a delivery with its payload and its attempts.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn delivery(
        &self,
        owner: Owner,
        id: WebhookId,
        delivery_id: WebhookDeliveryId,
    ) -> Result<WebhookDeliveryDetail> {
        let mut conn = self.db.read().await?;
        find(&mut conn, owner, id).await?;
        let delivery = delivery(&mut conn, id, delivery_id).await?;
        let body = deliveries::body(&mut conn, delivery_id).await?;
        let (body,) = body.ok_or_else(|| Error::not_found("delivery"))?;
        let attempts = deliveries::attempts(&mut conn, delivery_id, LOG_LENGTH).await?;
        Ok(WebhookDeliveryDetail {
            delivery,
            payload: serde_json::from_str(&body)?,
            log: attempts.into_iter().map(WebhookAttempt::in_words).collect(),
        })
    }

    /// Sends an event again, whatever became of it, with the same `webhook-id`.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` when it waits to be sent or is being sent, and while its endpoint
    /// is disabled; `TOO_MANY_REQUESTS`.
    pub async fn resend(
        &self,
        caller: Caller<'_>,
        id: WebhookId,
        delivery_id: WebhookDeliveryId,
    ) -> Result<WebhookDelivery> {
        self.asked.admit(caller.user_id(), self.clock.now())?;
        let mut conn = self.begin(caller).await?;
        let webhook = find(&mut conn, caller.owner(), id).await?;
        check_enabled(&webhook)?;
        let is_revived = deliveries::revive(&mut conn, id, delivery_id, self.clock.now()).await?;
        let delivery = delivery(&mut conn, id, delivery_id).await?;
        if !is_revived {
            return Err(Error::new(
                Code::InvalidState,
                "This delivery is on its way already.",
            ));
        }
        let details = json!({ "deliveryId": delivery_id, "type": delivery.kind });
        self.note(&mut conn, caller, AuditAct::WebhookResent, id, details)
            .await?;
        conn.commit().await?;
        Ok(delivery)
    }
}

async fn delivery(
    conn: &mut Conn,
    id: WebhookId,
    delivery_id: WebhookDeliveryId,
) -> Result<WebhookDelivery> {
    let found = deliveries::by_id(conn, id, delivery_id).await?;
    found.ok_or_else(|| Error::not_found("delivery"))
}

fn check_enabled(webhook: &Webhook) -> Result<()> {
    if webhook.disabled_at.is_some() {
        let message = "This webhook is disabled. Enable it first.";
        return Err(Error::new(Code::InvalidState, message));
    }
    Ok(())
}

/// Removes what the shop's own endpoints are sent, or were, of messages to an account that is deleted.
///
/// # Errors
/// When the database refuses.
pub async fn forget_copies(conn: &mut Conn, messages: &[Uuid]) -> Result<()> {
    for &message in messages {
        deliveries::delete_of_shop(conn, message).await?;
    }
    Ok(())
}

/// Returns the deliveries that wait to be made, counted.
///
/// # Errors
/// When the database does not answer.
pub async fn backlog(conn: &mut Conn) -> Result<Backlog> {
    Ok(deliveries::backlog(conn).await?)
}

/// Removes deliveries that are too old to be of use, with their attempts; returns their number. One
/// that still goes out stays.
///
/// # Errors
/// When the database refuses; what was removed until then is gone.
pub async fn purge(db: &Db, clock: &Clock) -> Result<u64> {
    let before = clock.now() - KEPT;
    let mut removed = 0;
    loop {
        let mut conn = db.begin().await?;
        let now = deliveries::purge(&mut conn, before, PURGED_AT_ONCE).await?;
        conn.commit().await?;
        if now == 0 {
            return Ok(removed);
        }
        removed += now;
    }
}
