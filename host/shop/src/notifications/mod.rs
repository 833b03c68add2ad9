//! Notifications: what happened in other domains, told to those it concerns.
//!
//! The acts write messages into the [outbox](crate::outbox). Here they become one notification for
//! each reader, which is in the reader's inbox and goes out by the other channels.

mod delivering;
mod mail;
mod model;
mod samples;
mod settings;
mod spreading;
mod store;
mod templates;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chrono::TimeDelta;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::{
    mail::Mailer,
    model::{Notification, Reader},
    store::deliveries,
    templates::{Frame, Templates},
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, By, Event, Subject},
    db::{Clock, Conn, Db, Span, Walked},
    ids::{DeliveryId, NotificationId, UserId},
    outbox::{Backlog, Topic},
    owners,
    workers::Worker,
};

pub use mail::{Sender, SmtpUrl};
pub use model::{
    Channel, Delivery, DeliveryState, InboxFilter, Language, NotificationView, Preference,
    PreferenceChange, Preferences, Rendered,
};
pub use settings::Settings;

/// Time for which notifications and their deliveries are kept.
const KEPT: TimeDelta = TimeDelta::days(400);
/// Rows that one transaction of the purge removes.
const PURGED_AT_ONCE: i64 = 1000;

/// Removes notifications that are too old to be of use, with their deliveries; returns the number of
/// rows. One that still goes out stays.
///
/// # Errors
/// When the database refuses; what was removed until then is gone.
pub async fn purge(db: &Db, clock: &Clock) -> Result<u64> {
    let before = clock.now() - KEPT;
    let mut removed = 0;
    loop {
        let mut conn = db.begin().await?;
        let mut now = deliveries::purge(&mut conn, before, PURGED_AT_ONCE).await?;
        now += store::purge(&mut conn, before, PURGED_AT_ONCE).await?;
        conn.commit().await?;
        if now == 0 {
            return Ok(removed);
        }
        removed += now;
    }
}

/// Returns the mails that wait to be sent, counted.
///
/// # Errors
/// When the database does not answer.
pub async fn backlog(conn: &mut Conn) -> Result<Backlog> {
    Ok(deliveries::backlog(conn).await?)
}

/// Removes what is told to an account that is deleted, and its preferences.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut Conn, user_id: UserId) -> Result<()> {
    store::forget(conn, user_id).await?;
    Ok(())
}

/// Rest between two looks at the outbox.
const INTERVAL: Duration = Duration::from_secs(1);

/// Everything notifications need, built once at start.
#[derive(Debug, Clone)]
pub struct Notifications {
    db: Db,
    clock: Clock,
    settings: Arc<Settings>,
    templates: Arc<ArcSwap<Templates>>,
    /// Absent where mails cannot be sent.
    mailer: Option<Mailer>,
}

impl Notifications {
    /// Prepares notifications.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` with the file and line of a template that does not work.
    pub fn new(db: Db, clock: Clock, settings: Settings) -> Result<Self> {
        let templates = settings.load_templates(clock.zone())?;
        let mailer = match (&settings.smtp, &settings.from) {
            (Some(url), Some(from)) => {
                let (authorities, connections) = (&settings.authorities, settings.connections);
                let server = (url, authorities.as_ref());
                let mailer = Mailer::smtp(server, from, connections.max(1));
                Some(mailer.map_err(Error::internal)?)
            }
            _ if settings.log_mails => Some(Mailer::Log),
            _ => None,
        };
        Ok(Self {
            db,
            clock,
            settings: Arc::new(settings),
            templates: Arc::new(ArcSwap::from_pointee(templates)),
            mailer,
        })
    }

    /// Returns true when notifications go out by e-mail.
    pub const fn sends_mails(&self) -> bool {
        self.mailer.is_some()
    }

    /// Returns a part of all deliveries, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deliveries(
        &self,
        state: Option<DeliveryState>,
        span: Span<DeliveryId>,
    ) -> Result<Walked<Delivery>> {
        Ok(deliveries::list(&mut self.db.read().await?, state, span).await?)
    }

    /// Lets a dead delivery be tried again at once.
    ///
    /// # Errors
    /// `NOT_FOUND`, `INVALID_STATE` when it is not dead.
    pub async fn resend(&self, by: By<'_>, id: DeliveryId) -> Result<Delivery> {
        let (clock, now) = (&self.clock, self.clock.now());
        let mut conn = self.db.begin().await?;
        let is_revived = deliveries::revive(&mut conn, id, now, now + self.settings.retry).await?;
        let found = deliveries::by_id(&mut conn, id).await?;
        let found = found.ok_or_else(|| Error::not_found("delivery"))?;
        if !is_revived {
            let message = format!("This delivery is {}, not DEAD.", found.state);
            return Err(Error::new(Code::InvalidState, message));
        }
        let details = json!({ "kind": found.kind, "address": found.address });
        let event = Event::new(AuditAct::NotificationResent, Subject::Delivery(id), details);
        audit::record_by(&mut conn, clock, by, event).await?;
        conn.commit().await?;
        Ok(found)
    }

    /// Turns off the mails of the kind that a token in one of them is for.
    ///
    /// # Errors
    /// `NOT_FOUND` when no mail has this token; `INVALID_STATE` for a kind that cannot be turned off.
    pub async fn unsubscribe(&self, token: &str) -> Result<()> {
        let mut conn = self.db.begin().await?;
        let found = deliveries::unsubscribing(&mut conn, token).await?;
        let (user_id, kind, channel) = found.ok_or_else(|| Error::not_found("subscription"))?;
        if owners::keep(&mut conn, user_id).await?.is_none() {
            return Err(Error::not_found("subscription"));
        }
        // Its mail may be older than the rule that it is required.
        if kind.is_required() {
            let message = "Mails of this kind cannot be turned off.";
            return Err(Error::new(Code::InvalidState, message));
        }
        let change = PreferenceChange {
            kind,
            channel,
            enabled: false,
        };
        store::set_preference(&mut conn, user_id, change, self.clock.now()).await?;
        Ok(conn.commit().await?)
    }

    /// Returns a part of an account's inbox, newest first, and how many in it are unread.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn inbox(
        &self,
        user_id: UserId,
        filter: InboxFilter,
        span: Span<NotificationId>,
    ) -> Result<(Walked<NotificationView>, i64)> {
        let mut conn = self.db.read().await?;
        let reader = reader(store::reader(&mut conn, user_id).await?)?;
        let walked = store::list(&mut conn, user_id, filter, span).await?;
        let unread = store::unread(&mut conn, user_id).await?;
        Ok((walked.map(|found| self.view(&reader, found)), unread))
    }

    /// Walks an account's whole inbox, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn walk(
        &self,
        user_id: UserId,
        span: Span<NotificationId>,
    ) -> Result<Walked<NotificationView>> {
        let mut conn = self.db.read().await?;
        let reader = reader(store::reader(&mut conn, user_id).await?)?;
        let found = store::list(&mut conn, user_id, InboxFilter::default(), span).await?;
        Ok(found.map(|found| self.view(&reader, found)))
    }

    /// Walks what happened to an account itself, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn walk_security(
        &self,
        user_id: UserId,
        span: Span<NotificationId>,
    ) -> Result<Walked<NotificationView>> {
        let filter = InboxFilter {
            is_about_security: true,
            ..InboxFilter::default()
        };
        Ok(self.inbox(user_id, filter, span).await?.0)
    }

    /// Marks a notification as read.
    ///
    /// # Errors
    /// `NOT_FOUND` when it is not in this account's inbox.
    pub async fn read(&self, user_id: UserId, id: NotificationId) -> Result<NotificationView> {
        let mut conn = self.db.begin().await?;
        let reader = reader(store::reader(&mut conn, user_id).await?)?;
        let found = store::read(&mut conn, user_id, id, self.clock.now()).await?;
        let found = found.ok_or_else(|| Error::not_found("notification"))?;
        conn.commit().await?;
        Ok(self.view(&reader, found))
    }

    /// Marks everything in an inbox as read; returns how many notifications were not.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn read_all(&self, user_id: UserId) -> Result<u64> {
        let mut conn = self.db.begin().await?;
        let read = store::read_all(&mut conn, user_id, self.clock.now()).await?;
        conn.commit().await?;
        Ok(read)
    }

    /// Returns an account's language and channels.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such account.
    pub async fn preferences(&self, user_id: UserId) -> Result<Preferences> {
        let mut conn = self.db.read().await?;
        let reader = reader(store::reader(&mut conn, user_id).await?)?;
        let exceptions = store::exceptions(&mut conn, user_id).await?;
        let is_on = |kind: Topic, channel: Channel| {
            let is_this = |(other, by, _): &&(String, Channel, bool)| {
                other == kind.as_str() && *by == channel
            };
            let exception = exceptions.iter().find(is_this);
            kind.is_required() || exception.is_none_or(|(_, _, enabled)| *enabled)
        };
        let preference = |kind: &Topic| Preference {
            kind: *kind,
            required: kind.is_required(),
            inbox: is_on(*kind, Channel::Inbox),
            email: is_on(*kind, Channel::Email),
        };
        Ok(Preferences {
            language: reader.language,
            kinds: Topic::ALL
                .iter()
                .filter(|kind| reader.may_have(**kind))
                .map(preference)
                .collect(),
        })
    }

    /// Changes an account's language and channels; what is not named stays.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when a kind is turned off that is required.
    pub async fn set_preferences(
        &self,
        user_id: UserId,
        language: Option<Language>,
        changes: &[PreferenceChange],
    ) -> Result<Preferences> {
        let is_refused = |change: &&PreferenceChange| !change.enabled && change.kind.is_required();
        if let Some(refused) = changes.iter().find(is_refused) {
            let message = format!("has {}, which cannot be turned off", refused.kind);
            return Err(Error::invalid("kinds", message));
        }
        let (now, mut conn) = (self.clock.now(), self.db.begin().await?);
        // The account's row is changed: a lock that is shared with its deletion would not do.
        owners::lock(&mut conn, user_id).await?;
        if let Some(language) = language {
            store::set_language(&mut conn, user_id, language, now).await?;
        }
        for change in changes {
            store::set_preference(&mut conn, user_id, *change, now).await?;
        }
        conn.commit().await?;
        self.preferences(user_id).await
    }

    /// Writes an imagined notification of a kind, as it would be sent.
    ///
    /// # Errors
    /// When its template fails, which the start checks.
    pub fn preview(&self, kind: Topic, language: Language) -> Result<Rendered> {
        let frame = Frame {
            name: "Sari Dewi",
            language,
            unsubscribe: None,
        };
        let rendered = self
            .templates
            .load()
            .render(kind, &samples::facts(kind), frame);
        rendered.map_err(Error::internal)
    }

    /// Loads the templates again; the earlier ones stay in use when one of the new ones is wrong.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` with the file and line of a template that does not work.
    pub async fn reload_templates(&self, by: By<'_>) -> Result<()> {
        let templates = self.settings.load_templates(self.clock.zone())?;
        let mut conn = self.db.begin().await?;
        let act = AuditAct::NotificationTemplatesLoaded;
        let event = Event::new(act, Subject::NotificationTemplates, json!({}));
        audit::record_by(&mut conn, &self.clock, by, event).await?;
        conn.commit().await?;
        self.templates.store(Arc::new(templates));
        tracing::info!("notification.templates_loaded");
        Ok(())
    }

    fn view(&self, reader: &Reader, found: Notification) -> NotificationView {
        let frame = Frame {
            name: &reader.name,
            language: reader.language,
            unsubscribe: None,
        };
        let facts = found.payload.0;
        let rendered = self.templates.load().render(found.kind, &facts, frame);
        let (title, text) = match rendered {
            Ok(rendered) => (rendered.subject, rendered.text),
            Err(error) => {
                tracing::error!(notification.id = %found.id, %error, "notification.not_rendered");
                (found.kind.to_string(), String::new())
            }
        };
        NotificationView {
            id: found.id,
            kind: found.kind,
            title,
            text,
            facts,
            created_at: found.created_at,
            read_at: found.read_at,
        }
    }
}

fn reader(found: Option<Reader>) -> Result<Reader> {
    found.ok_or_else(|| Error::not_found("account"))
}

/// Spreads what is in the outbox and delivers it, until cancelled.
pub async fn watch(notifications: Notifications, cancel: CancellationToken) {
    let spreading = Worker::new("notifications", INTERVAL)
        .ending_steps()
        .run(cancel.clone(), || spreading::spread(&notifications));
    let delivering = async {
        if let Some(mailer) = &notifications.mailer {
            let worker = Worker::new("mails", INTERVAL).ending_steps();
            worker
                .run(cancel.clone(), || {
                    delivering::deliver(&notifications, mailer, &cancel)
                })
                .await;
        }
    };
    tokio::join!(spreading, delivering);
}
