//! Delivery of events to endpoints.
//!
//! A delivery is leased, sent, and marked. A server that dies between the answer and the mark lets
//! it be sent again when the lease ends, with the same `webhook-id`, by which a receiver knows it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, stream};
use reqwest::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Webhooks,
    model::{DisabledBecause, WebhookDeliveryState},
    secrets,
    sending::{Attempt, Signed},
    signing,
    store::{
        self,
        deliveries::{self, Due, NewAttempt, Outcome},
    },
};
use crate::{
    Result,
    calendar::json_text,
    crypto,
    db::{Conn, Lease, LeasedQueue, Term, new_id},
    ids::WebhookId,
    outbox::{self, Topic},
    workers::Next,
};

pub(super) const QUEUE: LeasedQueue = LeasedQueue {
    table: "webhook_deliveries",
    due: "next_try_at",
    open: "state IN ('PENDING', 'FAILED')",
};

/// Deliveries that are claimed together. An endpoint that hangs holds up those that were claimed
/// with it, and no others.
const AT_ONCE: i64 = 8;
/// Longer than all attempts of one claim take. `timekeeping` knows it, too.
const LEASE: TimeDelta = TimeDelta::minutes(6);
/// Time that an attempt takes beside what its timeout bounds.
const MARGIN: TimeDelta = TimeDelta::seconds(10);
/// Pause of a delivery whose endpoint did not answer the one before it.
const BEHIND_ANOTHER: TimeDelta = TimeDelta::minutes(1);
/// Pauses after each attempt that failed, as the specification proposes them.
const PAUSES: [TimeDelta; 9] = [
    TimeDelta::seconds(5),
    TimeDelta::minutes(5),
    TimeDelta::minutes(30),
    TimeDelta::hours(2),
    TimeDelta::hours(5),
    TimeDelta::hours(10),
    TimeDelta::hours(14),
    TimeDelta::hours(20),
    LONGEST_PAUSE,
];
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(24);

/// Delivers what is due. When the server stops, what was not begun is given back.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn deliver(webhooks: &Webhooks, stop: &CancellationToken) -> Result<Next> {
    let (db, clock) = (&webhooks.db, &webhooks.clock);
    let now = clock.now();
    if !QUEUE.may_be_due(db, now).await? {
        return Ok(Next::AfterRest);
    }
    let term = Term {
        now,
        until: now + LEASE,
    };
    // Nothing is sent before the claim is durable.
    let mut conn = db.begin_single().await?;
    let leases = QUEUE.claim_due(&mut conn, clock, term, AT_ONCE).await?;
    conn.commit().await?;
    let claimed = leases.len();
    let mut conn = db.read().await?;
    let mut by_webhook: BTreeMap<WebhookId, Vec<(Lease, Due)>> = BTreeMap::new();
    for lease in leases {
        if let Some(due) = deliveries::due(&mut conn, &lease).await? {
            by_webhook
                .entry(due.webhook_id)
                .or_default()
                .push((lease, due));
        }
    }
    drop(conn);
    let results: Vec<Result<()>> = stream::iter(by_webhook.into_values())
        .map(|of_one| in_turn(webhooks, stop, of_one))
        .buffer_unordered(claimed.max(1))
        .collect()
        .await;
    results.into_iter().collect::<Result<()>>()?;
    let is_more = usize::try_from(AT_ONCE).is_ok_and(|limit| claimed >= limit);
    Ok(if is_more {
        Next::AtOnce
    } else {
        Next::AfterRest
    })
}

/// Delivers to one endpoint, one after the other.
async fn in_turn(
    webhooks: &Webhooks,
    stop: &CancellationToken,
    of_one: Vec<(Lease, Due)>,
) -> Result<()> {
    let mut is_away = false;
    for (lease, due) in of_one {
        let now = webhooks.clock.now();
        let timeout = TimeDelta::from_std(webhooks.settings.timeout).unwrap_or(LEASE);
        if due.disabled_at.is_some() {
            give_up(webhooks, &lease, &due).await?;
        } else if stop.is_cancelled() {
            mark(webhooks, &lease, &due.postponed(now)).await?;
        } else if is_away {
            let outcome = due.postponed(now + BEHIND_ANOTHER);
            mark(webhooks, &lease, &outcome).await?;
        } else if now + timeout + MARGIN < lease.until {
            let attempt = attempt(webhooks, &due).await?;
            is_away = attempt.status.is_none();
            record(webhooks, &lease, &due, &attempt).await?;
        }
        // Otherwise another server may take it soon.
    }
    Ok(())
}

async fn attempt(webhooks: &Webhooks, due: &Due) -> Result<Attempt> {
    let now = webhooks.clock.now();
    let mut conn = webhooks.db.read().await?;
    let sealed = store::secrets(&mut conn, due.webhook_id, now).await?;
    drop(conn);
    let secrets = match secrets::open_all(&webhooks.vault, due.webhook_id, sealed) {
        Ok(secrets) => secrets,
        Err(error) => {
            tracing::error!(webhook.id = %due.webhook_id, cause = ?error.source, "webhook.secret_does_not_open");
            return Ok(Attempt::not_made("the shop cannot sign it"));
        }
    };
    let (id, timestamp) = (format!("msg_{}", due.event_id), now.timestamp());
    let signed = Signed {
        url: &due.url,
        id: &id,
        timestamp,
        signature: signing::signatures(&secrets, &id, timestamp, &due.body)?,
        body: &due.body,
    };
    Ok(webhooks.sender.send(signed).await)
}

/// Writes down an attempt, what follows for the delivery and what for its endpoint.
async fn record(webhooks: &Webhooks, lease: &Lease, due: &Due, attempt: &Attempt) -> Result<()> {
    let (db, clock) = (&webhooks.db, &webhooks.clock);
    let now = clock.now();
    let outcome = due.after(attempt, now);
    let mut conn = db.begin_together().await?;
    // The endpoint first, as its removal locks it first.
    if !attempt.is_success() {
        store::failed(&mut conn, due.webhook_id, now).await?;
        disable_if_hopeless(webhooks, &mut conn, due, attempt, now).await?;
    } else if due.failing_since.is_some() {
        store::succeeded(&mut conn, due.webhook_id).await?;
    }
    if deliveries::mark(&mut conn, lease, &outcome, now).await? == 0 {
        // Removed, or another server has it.
        return Ok(conn.rollback().await?);
    }
    let new = NewAttempt {
        id: new_id(clock),
        delivery_id: due.id,
        at: now,
        status: attempt.status.map(|status| i64::from(status.as_u16())),
        duration_ms: i64::try_from(attempt.duration.as_millis()).unwrap_or(i64::MAX),
        answer: &attempt.answer,
    };
    deliveries::insert_attempt(&mut conn, &new).await?;
    conn.commit().await?;
    let result = outcome.state.as_str();
    metrics::counter!("dermaga_webhook_attempts_total", "result" => result).increment(1);
    Ok(())
}

/// Disables an endpoint that is gone or has failed for days, and tells its owner.
async fn disable_if_hopeless(
    webhooks: &Webhooks,
    conn: &mut Conn,
    due: &Due,
    attempt: &Attempt,
    now: DateTime<Utc>,
) -> Result<()> {
    let because = if attempt.status == Some(StatusCode::GONE) {
        DisabledBecause::Gone
    } else if due
        .failing_since
        .is_some_and(|since| since <= now - webhooks.settings.disable_after)
    {
        DisabledBecause::Failing
    } else {
        return Ok(());
    };
    if !store::disable(conn, due.webhook_id, because, now).await? {
        return Ok(());
    }
    tracing::warn!(webhook.id = %due.webhook_id, %because, "webhook.disabled");
    let payload = json!({ "webhookId": due.webhook_id, "url": due.url, "because": because, "at": json_text(now) });
    let what = (Topic::WebhookDisabled, due.owner_id);
    let key = format!("{}:{}", due.webhook_id, now.timestamp_millis());
    outbox::put_once(conn, &webhooks.clock, what, &key, payload).await?;
    Ok(())
}

async fn mark(webhooks: &Webhooks, lease: &Lease, outcome: &Outcome) -> Result<()> {
    let mut conn = webhooks.db.begin_together().await?;
    deliveries::mark(&mut conn, lease, outcome, webhooks.clock.now()).await?;
    Ok(conn.commit().await?)
}

/// Ends a delivery to an endpoint that was disabled meanwhile.
async fn give_up(webhooks: &Webhooks, lease: &Lease, due: &Due) -> Result<()> {
    let outcome = Outcome {
        state: WebhookDeliveryState::Dead,
        attempts: due.attempts,
        next_try_at: webhooks.clock.now(),
    };
    mark(webhooks, lease, &outcome).await
}

impl Due {
    const fn postponed(&self, until: DateTime<Utc>) -> Outcome {
        Outcome {
            state: self.state,
            attempts: self.attempts,
            next_try_at: until,
        }
    }

    /// State after an attempt: again later as long as there is a pause left.
    fn after(&self, attempt: &Attempt, now: DateTime<Utc>) -> Outcome {
        let pause = pause(self.attempts);
        let state = match pause {
            // First, since the last attempt has no pause after it and may succeed.
            _ if attempt.is_success() => WebhookDeliveryState::Delivered,
            // The receiver says that there is no endpoint any more.
            _ if attempt.status == Some(StatusCode::GONE) => WebhookDeliveryState::Dead,
            Some(_) => WebhookDeliveryState::Failed,
            None => WebhookDeliveryState::Dead,
        };
        let next_try_at = now + pause.map(spread).unwrap_or_default();
        // No receiver puts a delivery off for longer than the longest pause.
        let asked = attempt
            .retry_after
            .map(|asked| asked.moment(now).min(now + LONGEST_PAUSE));
        Outcome {
            state,
            attempts: self.attempts.saturating_add(1),
            next_try_at: next_try_at.max(asked.unwrap_or(next_try_at)),
        }
    }
}

/// Returns the pause after an attempt that failed, when so many were made before it.
fn pause(attempts: i64) -> Option<TimeDelta> {
    let position = usize::try_from(attempts).unwrap_or_default();
    PAUSES.get(position).copied()
}

/// Shortens a pause by up to a tenth, so that those who failed together come back apart.
fn spread(pause: TimeDelta) -> TimeDelta {
    let [random] = crypto::random_bytes::<1>();
    pause - pause / 10 * i32::from(random) / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_those_of_the_specification() {
        let seconds: Vec<i64> = (0..10)
            .map_while(pause)
            .map(|pause| pause.num_seconds())
            .collect();
        let hours = [2, 5, 10, 14, 20, 24].map(|hours| hours * 3600);
        assert_eq!(seconds, [&[5, 300, 1800], hours.as_slice()].concat());
        assert_eq!(pause(9), None, "then it is given up");
        for _ in 0..100 {
            let spread = spread(TimeDelta::seconds(100)).num_milliseconds();
            assert!((90_000..=100_000).contains(&spread), "{spread}");
        }
    }
}
