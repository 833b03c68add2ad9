//! Reads the health of an instance before a pass, and writes what the pass found.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    Act, CheckSource, Finding, Ground, InstanceHealth, Plan, Span,
    limits::WINDOW,
    plan::{Course, Situation},
    store,
};
use crate::{
    Result,
    db::{Clock, Conn, Db, new_id},
    outbox::{self, Topic},
    provisioning::{
        is_untouched,
        model::{Cause, Desired, Instance, NewStatus, Status},
    },
};

/// Rows that one transaction of the purge removes.
const AT_ONCE: i64 = 1000;

/// Makes the plan of a pass from its finding and the history of the instance.
///
/// # Errors
/// When the database does not answer.
pub(in crate::provisioning) async fn load(
    conn: &mut Conn,
    seen: &Instance,
    new_status: &NewStatus,
    patience: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Plan> {
    let before = if is_untouched(seen) {
        None
    } else {
        store::open_span(conn, seen.id).await?
    };
    let before = match before {
        Some(span) if is_unseen(seen, new_status) => return Ok(Plan::unseen(seen, span, now)),
        before => before,
    };
    let finding = Finding::of(seen, new_status);
    // Only a fault that may be mended asks for the attempts.
    let attempts = match finding.ground {
        Ground::Ailing => store::attempts(conn, seen.id, now - WINDOW).await?,
        _ => Vec::new(),
    };
    // A change that is not proven has its own time, and its undoing is what mends it.
    let is_unproven = seen.unproven_generation.is_some() && seen.delivered_at.is_some();
    let is_new = seen.generation != seen.observed_generation || is_unproven;
    Ok(Plan::of(Situation {
        seen,
        before,
        attempts: &attempts,
        finding,
        is_changing: is_new || new_status.contest.corrections > 0,
        patience,
        now,
    }))
}

/// Returns true for a pass that failed on the shop's side before it looked at what runs.
fn is_unseen(seen: &Instance, new_status: &NewStatus) -> bool {
    let cause = new_status.failure.map(|failure| failure.cause);
    seen.desired == Desired::Running && new_status.finding.is_none() && cause == Some(Cause::Host)
}

/// Writes the span, the attempt and what is to be told, in the transaction that writes the status.
///
/// # Errors
/// When the database refuses.
pub(in crate::provisioning) async fn record(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    new_status: &NewStatus,
    plan: &Plan,
) -> Result<()> {
    // An instance that fails, mends itself and fails again is reported once an hour.
    let is_news =
        plan.gives_up && !store::was_given_up(conn, seen.id, clock.now() - WINDOW).await?;
    write_span(conn, clock, seen, new_status, plan).await?;
    if let Some(given_up_at) = plan.course.given_up_at.filter(|_| is_news) {
        tell(conn, clock, (seen, given_up_at), new_status).await?;
    }
    let Some(act) = plan.act else { return Ok(()) };
    let now = clock.now();
    store::insert_attempt(conn, new_id(clock), seen.id, act, now).await?;
    if act == Act::Restart {
        store::restart(conn, seen, now).await?;
    }
    metrics::counter!("dermaga_healing_acts_total", "act" => act.as_str()).increment(1);
    tracing::warn!(instance.id = %seen.id, instance.name = seen.name, %act, reason = plan.finding.detail, "instance.healing");
    Ok(())
}

async fn write_span(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    new_status: &NewStatus,
    plan: &Plan,
) -> Result<()> {
    let now = clock.now();
    let Plan {
        before,
        finding,
        course,
        ..
    } = plan;
    if new_status.status == Status::Terminated {
        store::close_span(conn, seen.id, now).await?;
        return Ok(());
    }
    let next = Span {
        id: new_id(clock),
        state: finding.state,
        reason: finding.reason.clone(),
        detail: finding.detail.clone(),
        source: seen.due_by.unwrap_or(CheckSource::Periodic),
        since: now,
        until: None,
        unwell_since: course.unwell_since,
        ailing_since: course.ailing_since,
        given_up_at: course.given_up_at,
    };
    let Some(before) = before else {
        store::insert_span(conn, seen.id, &next, true).await?;
        return Ok(());
    };
    let is_new_span = before.state != next.state;
    let is_new_state = is_new_span && !is_same_failure(conn, seen, before, &next).await?;
    // A healthy instance is one span, whatever words its plugin finds for it.
    let is_new =
        is_new_span || (before.reason != next.reason && next.state != InstanceHealth::Healthy);
    if is_new {
        store::close_span(conn, seen.id, now).await?;
        store::insert_span(conn, seen.id, &next, is_new_state).await?;
    } else if has_changed(before, &next, *course) {
        store::update_span(conn, before, &next).await?;
    }
    Ok(())
}

/// Returns true when an instance fails as it did before nothing was known of it for a while.
async fn is_same_failure(
    conn: &mut Conn,
    seen: &Instance,
    before: &Span,
    next: &Span,
) -> Result<bool> {
    if before.state != InstanceHealth::Unknown || next.state != InstanceHealth::Failed {
        return Ok(false);
    }
    let known = store::last_known(conn, seen.id).await?;
    Ok(known == Some(InstanceHealth::Failed))
}

fn has_changed(before: &Span, next: &Span, course: Course) -> bool {
    let earlier = Course {
        unwell_since: before.unwell_since,
        ailing_since: before.ailing_since,
        given_up_at: before.given_up_at,
    };
    course != earlier || before.reason != next.reason || before.detail != next.detail
}

async fn tell(
    conn: &mut Conn,
    clock: &Clock,
    (seen, given_up_at): (&Instance, DateTime<Utc>),
    new_status: &NewStatus,
) -> Result<()> {
    let payload = json!({
        "instanceId": seen.id,
        "name": seen.name,
        "subscriptionId": seen.subscription_id,
        "message": new_status.message,
    });
    let what = (Topic::InstanceFailed, seen.user_id.into());
    let key = format!("{}:{}", seen.id, given_up_at.timestamp_millis());
    outbox::put_once(conn, clock, what, &key, payload).await?;
    metrics::counter!("dermaga_instances_given_up_total").increment(1);
    Ok(())
}

/// Removes the history of health that is older than it is kept, and messages that are as old and
/// were read; returns the number of rows.
///
/// # Errors
/// When the database refuses; what was removed until then is gone.
pub async fn purge(db: &Db, clock: &Clock, kept: TimeDelta) -> Result<u64> {
    let now = clock.now();
    let (before, told_before) = (now - kept, now - kept.max(outbox::KEPT_AT_LEAST));
    let mut removed = 0;
    loop {
        let mut conn = db.begin().await?;
        let mut part = store::purge_spans(&mut conn, before, AT_ONCE).await?;
        part += store::purge_attempts(&mut conn, before, AT_ONCE).await?;
        part += outbox::purge(&mut conn, told_before, AT_ONCE).await?;
        conn.commit().await?;
        if part == 0 {
            return Ok(removed);
        }
        removed += part;
    }
}
