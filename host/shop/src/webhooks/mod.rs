//! Outgoing webhooks by the Standard Webhooks specification: events of the shop, signed and sent to
//! the endpoints of customers and of the shop.
//!
//! Events are the messages of the [outbox](crate::outbox). The transaction that takes one writes a
//! delivery for each endpoint that wants it ([`enqueue`]); a worker sends what is due.

mod address;
mod delivering;
mod enqueueing;
mod fetching;
mod history;
mod model;
mod secrets;
mod sending;
mod settings;
mod signing;
mod store;

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::types::Json;
use tokio_util::sync::CancellationToken;

use self::{address::Checking, sending::Sender};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Subject},
    crypto::{Secret, Vault},
    db::{Clock, Conn, Db, new_id},
    ids::{UserId, WebhookId},
    outbox::Topic,
    owners,
    text::counted,
    throttle::Throttle,
    workers::Worker,
};

pub use address::{LONGEST_URL, Lookup, Lookups};
pub use enqueueing::enqueue;
pub use fetching::{Fetched, Fetcher, Unread};
pub use history::{backlog, forget_copies, purge};
pub use model::{
    Caller, DisabledBecause, NewWebhook, Owner, Webhook, WebhookAttempt, WebhookChange,
    WebhookDelivery, WebhookDeliveryDetail, WebhookDeliveryState,
};
pub use settings::Settings;
pub use signing::{is_secret, is_signed};

/// Endpoints that the shop may have.
const MOST_OF_SHOP: i64 = 20;
/// Secrets that may sign at the same time.
const MOST_SECRETS: usize = 5;
/// Longest time in which an earlier secret signs beside the new one, in hours.
pub const MOST_OVERLAP_HOURS: u32 = 168;
/// Tests and repeated deliveries that one account may ask for within an hour, on one server.
const MOST_ASKED_AN_HOUR: u32 = 120;
/// Rest between two looks at what is due.
const INTERVAL: Duration = Duration::from_secs(1);
/// Workers of a server, so that endpoints that hang hold up a part of it only.
const LANES: usize = 4;

/// Everything webhooks need, built once at start.
#[derive(Debug, Clone)]
pub struct Webhooks {
    db: Db,
    clock: Clock,
    vault: Arc<Vault>,
    settings: Arc<Settings>,
    checking: Checking,
    sender: Sender,
    asked: Arc<Throttle<UserId>>,
}

impl Webhooks {
    /// Prepares webhooks.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(db: Db, clock: Clock, vault: Arc<Vault>, settings: Settings) -> Result<Self> {
        let checking = Checking::new(&settings);
        let sender = Sender::new(&settings, checking.clone()).map_err(Error::internal)?;
        let hour = TimeDelta::hours(1);
        let asked = Throttle::new(MOST_ASKED_AN_HOUR, hour, "tests and repeated deliveries");
        Ok(Self {
            db,
            clock,
            vault,
            settings: Arc::new(settings),
            checking,
            sender,
            asked: Arc::new(asked),
        })
    }

    /// Returns the kinds of events that an owner can choose.
    pub fn kinds(owner: Owner) -> Vec<Topic> {
        let offered = Topic::ALL.iter().copied();
        offered.filter(|topic| owner.may_have(*topic)).collect()
    }

    /// Returns the endpoints of an owner, the oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, owner: Owner) -> Result<Vec<Webhook>> {
        Ok(store::list(&mut self.db.read().await?, owner).await?)
    }

    /// Returns an endpoint of an owner.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none or it is another one's.
    pub async fn get(&self, owner: Owner, id: WebhookId) -> Result<Webhook> {
        find(&mut self.db.read().await?, owner, id).await
    }

    /// Makes an endpoint; returns it with its secret, which is shown this once.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for an address that nothing may be sent to, `CONFLICT` when the owner has
    /// as many as are allowed.
    pub async fn create(
        &self,
        caller: Caller<'_>,
        new: NewWebhook<'_>,
    ) -> Result<(Webhook, Secret)> {
        let owner = caller.owner();
        let url = self.checking.check_url(new.url, self.settings.allow_http);
        let url = url.await?.to_string();
        let now = self.clock.now();
        let webhook = Webhook {
            id: new_id(&self.clock),
            url,
            description: new.description.trim().to_owned(),
            events: kinds_for(owner, new.events)?,
            disabled_at: None,
            disabled_because: None,
            failing_since: None,
            created_at: now,
            updated_at: now,
        };
        let mut conn = self.begin(caller).await?;
        store::lock(&mut conn, owner, now).await?;
        self.check_count(&mut conn, owner).await?;
        store::insert(&mut conn, owner, &webhook).await?;
        let secret = secrets::make(&mut conn, &self.clock, &self.vault, webhook.id).await?;
        let details = json!({ "url": webhook.url, "events": webhook.events });
        self.note(
            &mut conn,
            caller,
            AuditAct::WebhookCreated,
            webhook.id,
            details,
        )
        .await?;
        conn.commit().await?;
        Ok((webhook, secret))
    }

    /// Opens the transaction of an act. An administrator is looked at when the act is recorded.
    async fn begin(&self, caller: Caller<'_>) -> Result<Conn> {
        let mut conn = self.db.begin().await?;
        if let Caller::Customer(customer) = caller {
            owners::still_signed_in(&mut conn, customer).await?;
        }
        Ok(conn)
    }

    async fn check_count(&self, conn: &mut Conn, owner: Owner) -> Result<()> {
        let most = match owner {
            Owner::Shop => MOST_OF_SHOP,
            Owner::Customer(_) => self.settings.per_customer,
        };
        if store::count(conn, owner).await? >= most {
            let most = counted(most, "webhook");
            let message = format!("You already have the maximum of {most}. Delete one first.");
            return Err(Error::new(Code::Conflict, message));
        }
        Ok(())
    }

    /// Changes an endpoint. One that is enabled again is given all its time again.
    ///
    /// # Errors
    /// `NOT_FOUND`; `VALIDATION_FAILED` for an address that nothing may be sent to.
    pub async fn change(
        &self,
        caller: Caller<'_>,
        id: WebhookId,
        change: WebhookChange,
    ) -> Result<Webhook> {
        let owner = caller.owner();
        let url = match &change.url {
            Some(url) => {
                let checked = self.checking.check_url(url, self.settings.allow_http);
                Some(checked.await?.to_string())
            }
            None => None,
        };
        let events = change.events.map(|events| kinds_for(owner, events));
        let (events, now) = (events.transpose()?, self.clock.now());
        let mut conn = self.begin(caller).await?;
        store::lock(&mut conn, owner, now).await?;
        let before = find(&mut conn, owner, id).await?;
        let mut after = Webhook {
            url: url.unwrap_or_else(|| before.url.clone()),
            description: change
                .description
                .unwrap_or_else(|| before.description.clone()),
            events: events.unwrap_or_else(|| before.events.clone()),
            updated_at: now,
            ..before.clone()
        };
        match change.enabled {
            Some(true) => {
                (
                    after.disabled_at,
                    after.disabled_because,
                    after.failing_since,
                ) = (None, None, None);
            }
            Some(false) if after.disabled_at.is_none() => {
                after.disabled_at = Some(now);
                after.disabled_because = Some(DisabledBecause::Owner);
            }
            Some(false) | None => {}
        }
        store::update(&mut conn, &after).await?;
        let details = json!({ "before": before, "after": after });
        self.note(&mut conn, caller, AuditAct::WebhookChanged, id, details)
            .await?;
        conn.commit().await?;
        Ok(after)
    }

    /// Removes an endpoint with everything about it.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn delete(&self, caller: Caller<'_>, id: WebhookId) -> Result<()> {
        let owner = caller.owner();
        let mut conn = self.begin(caller).await?;
        store::lock(&mut conn, owner, self.clock.now()).await?;
        let removed = find(&mut conn, owner, id).await?;
        store::delete(&mut conn, owner, id).await?;
        let details = json!({ "url": removed.url });
        self.note(&mut conn, caller, AuditAct::WebhookDeleted, id, details)
            .await?;
        Ok(conn.commit().await?)
    }

    /// Makes a new secret, which is shown this once. The earlier ones sign beside it for a while.
    ///
    /// # Errors
    /// `NOT_FOUND`; `CONFLICT` when too many secrets sign already.
    pub async fn rotate(
        &self,
        caller: Caller<'_>,
        id: WebhookId,
        overlap: TimeDelta,
    ) -> Result<Secret> {
        let (owner, now) = (caller.owner(), self.clock.now());
        let mut conn = self.begin(caller).await?;
        store::lock(&mut conn, owner, now).await?;
        find(&mut conn, owner, id).await?;
        store::expire_secrets(&mut conn, id, now + overlap).await?;
        store::forget_secrets(&mut conn, id, now).await?;
        if store::secrets(&mut conn, id, now).await?.len() >= MOST_SECRETS {
            let message = format!(
                "{MOST_SECRETS} secrets sign already. Wait until one of them ends, or rotate with an overlap of 0 hours."
            );
            return Err(Error::new(Code::Conflict, message));
        }
        let secret = secrets::make(&mut conn, &self.clock, &self.vault, id).await?;
        let details = json!({ "overlapHours": overlap.num_hours() });
        self.note(
            &mut conn,
            caller,
            AuditAct::WebhookSecretRotated,
            id,
            details,
        )
        .await?;
        conn.commit().await?;
        Ok(secret)
    }

    /// Records an act of an administrator; customers act on what is their own.
    async fn note(
        &self,
        conn: &mut Conn,
        caller: Caller<'_>,
        act: AuditAct,
        id: WebhookId,
        details: Value,
    ) -> Result<()> {
        let Caller::Administrator(by) = caller else {
            return Ok(());
        };
        let event = audit::Event::new(act, Subject::Webhook(id), details);
        audit::record_by(conn, &self.clock, by, event).await
    }
}

async fn find(conn: &mut Conn, owner: Owner, id: WebhookId) -> Result<Webhook> {
    let found = store::by_id(conn, owner, id).await?;
    found.ok_or_else(|| Error::not_found("webhook"))
}

/// Returns the chosen kinds of events, each once.
fn kinds_for(owner: Owner, mut events: Vec<Topic>) -> Result<Json<Vec<Topic>>> {
    if let Some(refused) = events.iter().find(|topic| !owner.may_have(**topic)) {
        let message = format!("has {refused}, which is not sent to this webhook");
        return Err(Error::invalid("events", message));
    }
    events.sort_unstable_by_key(|topic| topic.as_str());
    events.dedup();
    Ok(Json(events))
}

/// Removes the endpoints of an account that is deleted, with everything about them.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut Conn, user_id: UserId) -> Result<()> {
    store::delete_all(conn, Owner::Customer(user_id)).await?;
    Ok(())
}

/// Delivers what is due, until cancelled.
pub async fn watch(webhooks: Webhooks, cancel: CancellationToken) {
    let (webhooks, cancel) = (&webhooks, &cancel);
    let lane = |_| {
        let worker = Worker::new("webhooks", INTERVAL).ending_steps();
        worker.run(cancel.clone(), move || {
            delivering::deliver(webhooks, cancel)
        })
    };
    join_all((0..LANES).map(lane)).await;
}
