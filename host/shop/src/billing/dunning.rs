//! Dunning of an unpaid subscription: grace, suspension, end; and its control by administrators.

use chrono::{DateTime, Days, Utc};
use chrono_tz::Tz;
use serde_json::json;

use super::{note, store};
use crate::{
    Code, Error, Result,
    audit::{self, Event, Subject},
    calendar, catalog, coupons,
    db::Conn,
    ids::{SubscriptionId, UserId},
    money::Rupiah,
    outbox::{self, Topic},
    provisioning::{self, Act},
    scheduler::{Outcome, Progress},
    subscriptions::{
        self, FreezeState, Settings, Subscription, SubscriptionStatus as Status, Subscriptions,
        cancellation::Cancelled,
        delivery::{self, Ending},
        end_notice::{self, Cause},
        renewal::{FROZEN, is_as_seen},
        upgrade,
    },
    timekeeping,
    wallet::{self, LockedWallet},
};

/// The job [`super::GRACE_PERIOD`]: suspends unpaid subscriptions whose grace is over, and ends
/// those suspended for too long. Those that can be paid by now are renewed instead.
///
/// # Errors
/// When the database does not answer; `UNAVAILABLE` while the clock is in doubt.
pub async fn process_grace(shop: &Subscriptions) -> Result<Outcome> {
    process_all_grace(shop, &Progress::default()).await
}

/// The same as [`process_grace`], and says how far it has come.
///
/// # Errors
/// As [`process_grace`].
pub async fn process_all_grace(shop: &Subscriptions, progress: &Progress) -> Result<Outcome> {
    timekeeping::trusted(&shop.clock)?;
    let now = shop.clock.now();
    let kept_since = kept_since(&shop.settings, (shop.clock.zone(), now))?;
    let mut conn = shop.db.read().await?;
    let over = store::out_of_grace(&mut conn, now).await?;
    let forgotten = store::suspended_until(&mut conn, kept_since).await?;
    drop(conn);
    progress.expect(forgotten.len());
    let mut outcome = super::each(shop, over, progress).await;
    for id in forgotten {
        timekeeping::wait_until_trusted(&shop.clock).await;
        let ended = end_forgotten(shop, id, kept_since).await;
        note(&mut outcome, progress, id, ended.as_ref().copied());
    }
    Ok(outcome)
}

/// Returns the last moment of a suspension whose data is not kept any more at a moment.
pub(super) fn kept_since(
    billing: &Settings,
    (zone, at): (Tz, DateTime<Utc>),
) -> Result<DateTime<Utc>> {
    calendar::sub_days(zone, at, billing.retention)
        .ok_or_else(|| Error::internal("SUSPENSION_RETENTION_DAYS reaches before the calendar"))
}

/// Returns true for a subscription that was suspended for as long as its data is kept.
pub(super) fn is_forgotten(seen: &Subscription, kept_since: DateTime<Utc>) -> bool {
    seen.status == Status::Suspended && seen.suspended_at.is_some_and(|since| since <= kept_since)
}

async fn end_forgotten(
    shop: &Subscriptions,
    id: SubscriptionId,
    kept_since: DateTime<Utc>,
) -> Result<bool> {
    let seen = seen(shop, id).await?;
    if !is_forgotten(&seen, kept_since) {
        return Ok(false);
    }
    // Its price may have fallen to what the wallet holds.
    if matches!(super::step(shop, id).await, Ok(super::Step::Renewed)) {
        return Ok(true);
    }
    let seen = self::seen(shop, id).await?;
    let reason = "It was suspended and not paid for.";
    let ended = end(shop, &seen, (reason, Cause::Unpaid), None).await?;
    Ok(ended.is_some())
}

/// Status after a renewal that could not be paid.
pub(super) fn behind(
    seen: &Subscription,
    billing: &Settings,
    unpaid: Rupiah,
    (zone, now): (Tz, DateTime<Utc>),
) -> store::Behind {
    let grace_until = match seen.status {
        // It begins once, when the period ends, however late that is noticed.
        Status::Active if billing.grace_period => {
            calendar::add_days(zone, seen.period_end, Days::new(billing.grace_days))
        }
        Status::PastDue => seen.grace_until,
        _ => None,
    };
    let runs = match seen.status {
        Status::Active => grace_until.is_some(),
        Status::PastDue => grace_until.is_some_and(|until| now < until),
        _ => false,
    };
    store::Behind {
        status: if runs {
            Status::PastDue
        } else {
            Status::Suspended
        },
        grace_until: grace_until.filter(|_| runs),
        // The first moment stays: the retention of the data counts from it.
        suspended_at: (!runs).then(|| seen.suspended_at.unwrap_or(now)),
        unpaid,
    }
}

/// Returns a subscription as it is at a moment if nothing is paid from another one on: each step is taken on the day
/// when it is due, and none before that other moment.
pub(super) fn unpaid_by(
    seen: &Subscription,
    billing: &Settings,
    (zone, from, at): (Tz, DateTime<Utc>, DateTime<Utc>),
) -> Subscription {
    let mut state = seen.clone();
    loop {
        let due = match state.status {
            Status::Active => state.period_end,
            Status::PastDue => state.grace_until.unwrap_or(state.period_end),
            _ => return state,
        };
        let now = due.max(from);
        if now > at {
            return state;
        }
        let behind = behind(&state, billing, Rupiah::ZERO, (zone, now));
        state.status = behind.status;
        state.grace_until = behind.grace_until;
        state.suspended_at = behind.suspended_at;
    }
}

/// Notes that the next period is not paid, and returns the status that follows; nothing when the subscription changed
/// meanwhile, or the wallet holds enough now.
pub(super) async fn fall_behind(
    shop: &Subscriptions,
    seen: &Subscription,
    due: Rupiah,
) -> Result<Option<Status>> {
    let (clock, now) = (&shop.clock, shop.clock.now());
    let mut conn = shop.db.begin_together().await?;
    let wallet = wallet::lock(&mut conn, seen.user_id).await?;
    if wallet.balance().total()? >= due || !is_as_seen(&mut conn, seen).await? {
        conn.rollback().await?;
        return Ok(None);
    }
    let behind = behind(seen, &shop.settings, due, (clock.zone(), now));
    if behind.status != seen.status {
        seen.status.check_move(behind.status)?;
    }
    store::fall_behind(&mut conn, seen, behind, now).await?;
    // Compute was paid for until now: the next period is of the storage alone, paid or not.
    if seen.freeze_state == FreezeState::Pending {
        provisioning::change(&mut conn, clock, seen.id, Act::Freeze, FROZEN).await?;
    }
    if behind.status == Status::Suspended && seen.status != Status::Suspended {
        let message =
            format!("Suspended: {due} for the next month was not paid. Its data is kept.");
        provisioning::change(&mut conn, clock, seen.id, Act::Suspend, &message).await?;
    }
    tell(shop, &mut conn, seen, behind).await?;
    conn.commit().await?;
    shop.instances.handle.wake();
    tracing::info!(subscription.id = %seen.id, status = %behind.status, unpaid = %due, "subscription.unpaid");
    Ok(Some(behind.status))
}

/// Tells the customer of a grace that has begun, or of a suspension.
async fn tell(
    shop: &Subscriptions,
    conn: &mut Conn,
    seen: &Subscription,
    behind: store::Behind,
) -> Result<()> {
    if seen.status == behind.status {
        return Ok(());
    }
    let topic = match behind.status {
        Status::Suspended => Topic::SubscriptionSuspended,
        _ => Topic::RenewalFailure,
    };
    let row = subscriptions::row(conn, seen.id).await?;
    let (zone, now) = (shop.clock.zone(), shop.clock.now());
    let data_until = calendar::add_days(zone, now, shop.settings.retention)
        .filter(|_| topic == Topic::SubscriptionSuspended);
    let plan = match topic {
        // That of the period which is not paid.
        Topic::RenewalFailure => subscriptions::next_plan_name(conn, &row).await?,
        _ => row.plan_name,
    };
    let payload = json!({
        "subscriptionId": seen.id,
        "service": row.service_name,
        "plan": plan,
        "due": behind.unpaid,
        "graceUntil": behind.grace_until.map(calendar::json_text),
        "dataUntil": data_until.map(calendar::json_text),
        "isFrozen": row.subscription.freeze_state != FreezeState::None,
    });
    let key = super::once_until(seen);
    let what = (topic, seen.user_id.into());
    outbox::put_once(conn, &shop.clock, what, &key, payload).await?;
    Ok(())
}

/// Ends a subscription whose time is over: resources are removed and quota is given back. `None`
/// when it changed meanwhile. An administrator's call is audited.
pub(super) async fn end(
    shop: &Subscriptions,
    seen: &Subscription,
    (reason, cause): (&str, Cause<'_>),
    by: Option<UserId>,
) -> Result<Option<Cancelled>> {
    let (clock, id) = (&shop.clock, seen.id);
    let mut conn = shop.db.begin().await?;
    let mut wallet = wallet::lock(&mut conn, seen.user_id).await?;
    if !is_as_seen(&mut conn, seen).await? {
        conn.rollback().await?;
        return Ok(None);
    }
    let held = wallet.balance().total()?;
    let row = subscriptions::row(&mut conn, id).await?;
    let cancelled = if delivery::is_undelivered(&mut conn, &row).await? {
        let why = "Ended before it was set up.";
        let reason = Some(reason);
        let ending = Ending { why, reason, cause };
        delivery::take_back(shop, &mut conn, &mut wallet, &row, ending).await?;
        Cancelled::Undone
    } else if expire_in_books(shop, &mut conn, &mut wallet, seen, reason).await? {
        end_notice::tell(&mut conn, clock, id, (cause, false)).await?;
        Cancelled::Paid
    } else {
        return Ok(None);
    };
    if let Some(actor_id) = by {
        let returned = wallet.balance().total()?.minus(held)?;
        let details = json!({ "returned": returned, "undone": cancelled == Cancelled::Undone });
        let subject = Subject::Subscription(id);
        let event =
            Event::new(audit::AuditAct::SubscriptionExpired, subject, details).because(reason);
        audit::record(&mut conn, clock, actor_id, event).await?;
    }
    conn.commit().await?;
    shop.instances.handle.wake();
    tracing::info!(subscription.id = %id, reason, "subscription.expired");
    Ok(Some(cancelled))
}

/// Ends a subscription whose payments stay; returns false when it changes at the moment.
async fn expire_in_books(
    shop: &Subscriptions,
    conn: &mut Conn,
    wallet: &mut LockedWallet,
    seen: &Subscription,
    reason: &str,
) -> Result<bool> {
    let (clock, id) = (&shop.clock, seen.id);
    let mut places = upgrade::abandon(shop, conn, wallet, id).await?;
    if !store::expire(conn, id, reason, clock.now()).await? {
        return Ok(false);
    }
    // An upgrade that was abandoned has put it back into its earlier plan.
    let plan_id = subscriptions::row(conn, id).await?.subscription.plan_id;
    provisioning::terminate(conn, clock, id).await?;
    places.push(plan_id);
    catalog::give_back_places(conn, clock, places).await?;
    Ok(true)
}

/// Ends a subscription by an administrator's word, as if its time were over. A first purchase that
/// was not delivered yet is undone, as the result says.
///
/// # Errors
/// `NOT_FOUND`, `INVALID_STATE` when it has ended already, `CONFLICT` when it changes at the
/// moment.
pub async fn expire(
    shop: &Subscriptions,
    actor_id: UserId,
    id: SubscriptionId,
    reason: &str,
) -> Result<Cancelled> {
    let seen = seen(shop, id).await?;
    seen.status.check_move(Status::Expired)?;
    let why = (reason, Cause::Shop(reason));
    if let Some(cancelled) = end(shop, &seen, why, Some(actor_id)).await? {
        return Ok(cancelled);
    }
    // Another request may have ended it meanwhile.
    let seen = self::seen(shop, id).await?;
    seen.status.check_move(Status::Expired)?;
    Err(coupons::too_busy())
}

/// Grants an unpaid subscription so many days of grace from now; returns their end.
///
/// # Errors
/// `NOT_FOUND`, `INVALID_STATE` when it is not in grace.
pub async fn set_grace(
    shop: &Subscriptions,
    actor_id: UserId,
    id: SubscriptionId,
    (days, reason): (u64, &str),
) -> Result<DateTime<Utc>> {
    let bounds = shop.settings.check_grace_days(days);
    bounds.map_err(|fault| Error::invalid("graceDays", fault))?;
    let now = shop.clock.now();
    let until = calendar::add_days(shop.clock.zone(), now, Days::new(days));
    let until = until.ok_or_else(|| Error::internal("a grace ends beyond the calendar"))?;
    let mut conn = shop.db.begin().await?;
    if !store::set_grace(&mut conn, id, until, now).await? {
        // As it is now: another request may have ended it meanwhile.
        let status = subscriptions::row(&mut conn, id).await?.subscription.status;
        let message = format!("This subscription is {status}, not in grace.");
        return Err(Error::new(Code::InvalidState, message));
    }
    let details = json!({ "days": days, "until": calendar::json_text(until) });
    let subject = Subject::Subscription(id);
    let event = Event::new(audit::AuditAct::SubscriptionGraceSet, subject, details).because(reason);
    audit::record(&mut conn, &shop.clock, actor_id, event).await?;
    conn.commit().await?;
    Ok(until)
}

async fn seen(shop: &Subscriptions, id: SubscriptionId) -> Result<Subscription> {
    let row = subscriptions::row(&mut shop.db.read().await?, id).await?;
    Ok(row.subscription)
}
