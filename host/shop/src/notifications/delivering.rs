//! Delivery of notifications by e-mail.
//!
//! A delivery is leased, handed over, and marked. A server that dies between the mail server's
//! answer and the mark lets it be sent again when the lease ends: SMTP cannot say if a message was
//! taken. Both have the same `Message-ID`.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicBool, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Notifications,
    mail::{LONGEST, Mail, Mailer, Sent},
    model::DeliveryState,
    store::deliveries::{self, Due, Outcome},
    templates::Frame,
};
use crate::{
    Result,
    accounts::{confirmation, recovery},
    calendar::json_text,
    db::{Lease, LeasedQueue, Term},
    outbox::Topic,
    workers::Next,
};

pub(super) const QUEUE: LeasedQueue = LeasedQueue {
    table: "notification_deliveries",
    due: "next_try_at",
    open: "state IN ('PENDING', 'FAILED')",
};

/// Mails that each connection sends within one lease.
const ROUNDS: u32 = 4;
/// Longer than all rounds of one lease take.
const LEASE: TimeDelta = TimeDelta::minutes(2);
/// Pause after the first attempt that failed; each further one is twice as long.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(30);
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(15);

/// Delivers what is due. When the server stops, what was not begun is given back.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn deliver(
    notifications: &Notifications,
    mailer: &Mailer,
    stop: &CancellationToken,
) -> Result<Next> {
    let (db, clock) = (&notifications.db, &notifications.clock);
    let now = clock.now();
    if !QUEUE.may_be_due(db, now).await? {
        return Ok(Next::AfterRest);
    }
    let term = Term {
        now,
        until: now + LEASE,
    };
    let connections = notifications.settings.connections.max(1);
    let limit = i64::from(connections.saturating_mul(ROUNDS));
    // Nothing is sent before the claim is durable.
    let mut conn = db.begin_single().await?;
    let leases = QUEUE.claim_due(&mut conn, clock, term, limit).await?;
    conn.commit().await?;
    let claimed = leases.len();
    let batch = Batch {
        notifications,
        mailer,
        stop,
        is_away: AtomicBool::new(false),
    };
    let width = usize::try_from(connections).unwrap_or(1);
    let results: Vec<Result<()>> = stream::iter(leases)
        .map(|lease| batch.one(lease))
        .buffer_unordered(width)
        .collect()
        .await;
    results.into_iter().collect::<Result<()>>()?;
    let is_more = usize::try_from(limit).is_ok_and(|limit| claimed >= limit);
    Ok(if is_more && !batch.is_away.into_inner() {
        Next::AtOnce
    } else {
        Next::AfterRest
    })
}

struct Batch<'a> {
    notifications: &'a Notifications,
    mailer: &'a Mailer,
    stop: &'a CancellationToken,
    /// The mail server did not answer: the rest of the batch waits.
    is_away: AtomicBool,
}

impl Batch<'_> {
    async fn one(&self, lease: Lease) -> Result<()> {
        let (db, clock) = (&self.notifications.db, &self.notifications.clock);
        let Some(due) = deliveries::due(&mut db.read().await?, &lease).await? else {
            return Ok(());
        };
        let margin = TimeDelta::from_std(LONGEST).unwrap_or(LEASE);
        let outcome = if self.stop.is_cancelled() {
            due.postponed(clock.now())
        } else if self.is_away.load(Ordering::Relaxed) {
            due.postponed(clock.now() + FIRST_PAUSE)
        } else if clock.now() + margin >= lease.until {
            // Another server may take it soon.
            return Ok(());
        } else {
            self.attempt(&due).await
        };
        let result = outcome.state.as_str();
        // Many marks share a commit, and each is durable before its end.
        let mut conn = db.begin_together().await?;
        deliveries::mark(&mut conn, &lease, &outcome, clock.now()).await?;
        conn.commit().await?;
        metrics::counter!("dermaga_mail_attempts_total", "result" => result).increment(1);
        Ok(())
    }

    async fn attempt(&self, due: &Due) -> Outcome {
        let sent = match self.write_and_send(due).await {
            Ok(sent) => sent,
            Err(reason) => Sent::Refused(reason),
        };
        if let Sent::Away(answer) = &sent {
            self.is_away.store(true, Ordering::Relaxed);
            tracing::warn!(delivery.id = %due.id, answer, "mail.server_away");
        }
        let outcome = due.after(sent, self.notifications.clock.now());
        if outcome.state == DeliveryState::Dead {
            tracing::warn!(delivery.id = %due.id, answer = outcome.answer, "mail.dead");
        }
        outcome
    }

    /// Returns the facts of a mail. Tokens are made now, so that no table has them.
    async fn facts<'d>(&self, due: &'d Due) -> Result<Cow<'d, Value>> {
        let Notifications {
            db,
            clock,
            settings,
            ..
        } = self.notifications;
        Ok(match due.kind {
            Topic::EmailConfirmation => {
                let token = confirmation::new_token(db, clock, due.user_id).await?;
                let link = settings.page("verify-email", &token);
                Cow::Owned(json!({ "token": token, "link": link }))
            }
            Topic::PasswordReset => {
                let lifetime = settings.password_reset;
                let (token, until) = recovery::new_token(db, clock, due.user_id, lifetime).await?;
                let link = settings.page("reset-password", &token);
                Cow::Owned(json!({ "token": token, "link": link, "until": json_text(until) }))
            }
            Topic::TicketAnswered if self.reply_to(due).is_some() => {
                let mut facts = due.payload.0.clone();
                if let Value::Object(fields) = &mut facts {
                    fields.insert("canReply".to_owned(), Value::Bool(true));
                }
                Cow::Owned(facts)
            }
            _ => Cow::Borrowed(&due.payload.0),
        })
    }

    /// Returns the address for answers to a ticket by e-mail. No table has its token either.
    fn reply_to(&self, due: &Due) -> Option<String> {
        let replies = self.notifications.settings.replies.as_ref()?;
        let number = due.payload.0.get("number")?.as_str()?.strip_prefix('#')?;
        let is_ticket = due.kind == Topic::TicketAnswered;
        let number = number.parse().ok().filter(|_| is_ticket)?;
        replies.address_of(number).ok()
    }

    async fn write_and_send(&self, due: &Due) -> Result<Sent, String> {
        let unsubscribe = due
            .unsubscribe_token
            .as_ref()
            .filter(|_| !due.kind.is_required())
            .and_then(|token| self.notifications.settings.unsubscribe_address(token));
        let frame = Frame {
            name: &due.name,
            language: due.language,
            unsubscribe: unsubscribe.as_deref(),
        };
        let facts = match self.facts(due).await {
            Ok(facts) => facts,
            // The database does not answer, which is no fault of the mail.
            Err(error) => return Ok(Sent::NotNow(error.message)),
        };
        let templates = self.notifications.templates.load();
        let content = templates.render(due.kind, &facts, frame);
        let content = content.map_err(|fault| fault.to_string())?;
        let reply_to = self.reply_to(due);
        let mail = Mail {
            id: due.id,
            name: &due.name,
            address: &due.address,
            content: &content,
            reply_to: reply_to.as_deref(),
            unsubscribe: unsubscribe.as_deref(),
        };
        Ok(self.mailer.send(&mail).await)
    }
}

impl Due {
    fn postponed(&self, until: DateTime<Utc>) -> Outcome {
        Outcome {
            state: self.state,
            attempts: self.attempts,
            next_try_at: until,
            answer: None,
        }
    }

    /// State after an attempt: again later as long as there is time, else not any more.
    fn after(&self, sent: Sent, now: DateTime<Utc>) -> Outcome {
        let next_try_at = now + pause(self.attempts);
        let (state, answer) = match sent {
            Sent::Taken(answer) => (DeliveryState::Sent, answer),
            Sent::Refused(answer) => (DeliveryState::Dead, answer),
            Sent::NotNow(answer) | Sent::Away(answer) if next_try_at < self.retry_until => {
                (DeliveryState::Failed, answer)
            }
            Sent::NotNow(answer) | Sent::Away(answer) => (DeliveryState::Dead, answer),
        };
        Outcome {
            state,
            attempts: self.attempts.saturating_add(1),
            next_try_at,
            answer: Some(answer),
        }
    }
}

fn pause(attempts: i64) -> TimeDelta {
    let doubled = u32::try_from(attempts).unwrap_or_default().min(10);
    let pause = FIRST_PAUSE.checked_mul(1 << doubled);
    pause.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_quarter_of_an_hour() {
        let seconds = |attempts| pause(attempts).num_seconds();
        assert_eq!(
            [0, 1, 2, 4, 5, 60, -1].map(seconds),
            [30, 60, 120, 480, 900, 900, 30]
        );
    }
}
