//! Money follows what exists: a first period begins when its instance is delivered,
//! nothing is charged while the instance never runs, and a purchase that can never be set up is
//! undone.

mod store;
mod undo;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

pub(crate) use undo::{Ending, is_undelivered, take_back, undo_purchases};

use super::{
    lifecycle::lives,
    model::{Subscription, SubscriptionDetail},
    pricing,
};
use crate::{
    Code, Error, Result,
    alerts::{self, AlertKind},
    db::{Conn, Uncommitted},
    ids::{SubscriptionId, UserId},
    provisioning::{self, view::InstanceDetail},
    subscriptions::Subscriptions,
};

/// Time that setting up takes anyhow, and that moves nothing.
const SETTING_UP: TimeDelta = TimeDelta::minutes(1);

/// Notes first deliveries, and moves the first period of what waited by the time it waited.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn note_deliveries(shop: &Subscriptions) -> Result<()> {
    let is_any = store::delivered(&mut shop.db.read().await?).await?;
    if !is_any || shop.clock.jump().is_some() {
        return Ok(());
    }
    let clock = &shop.clock;
    let mut conn = shop.db.begin().await?;
    let mut works = BTreeSet::new();
    // Read as the rows are locked: an extension that came before counts.
    for seen in store::note_deliveries(&mut conn, clock.now()).await? {
        let id = seen.id;
        // A moment that a wrong clock wrote down may lie ahead.
        let wait = seen.delivered_at.min(clock.now()) - seen.period_start;
        if seen.period_number == 1 && wait > SETTING_UP {
            let anchor = (seen.anchor_at, seen.anchor_months);
            let (anchor_at, end) = moved(clock.zone(), anchor, seen.period_end, wait)?;
            let period = crate::subscriptions::store::period(&mut conn, id, 1).await?;
            // Days that were paid for move, too, if others were given before.
            let paid_until = period.and_then(|period| period.paid_until);
            let moved = store::Moved {
                start: seen.period_start + wait,
                anchor_at,
                end,
                paid: paid_until.map(|until| (until, until + wait)),
            };
            store::move_first_period(&mut conn, id, &moved, clock.now()).await?;
            tracing::info!(subscription.id = %id, wait_s = wait.num_seconds(), "subscription.first_period_moved");
        }
        let subject = undo::subject(&seen.service, &seen.plan);
        // Many of one plan are delivered at once, and its alert is over with the first.
        if !works.contains(&subject) {
            alerts::resolve(&mut conn, clock, AlertKind::PurchaseUndone, &subject).await?;
            works.insert(subject);
        }
    }
    Ok(conn.commit().await?)
}

/// The anchor and the end of a first period that waited so long; the end moves by at least that
/// time, and the periods after it begin where it ends.
fn moved(
    zone: Tz,
    (anchor_at, months): (DateTime<Utc>, i64),
    period_end: DateTime<Utc>,
    wait: TimeDelta,
) -> Result<(DateTime<Utc>, DateTime<Utc>)> {
    let months = u32::try_from(months).map_err(Error::internal)?;
    let mut anchor = anchor_at + wait;
    let mut end = pricing::period_end(zone, anchor, months)?;
    // Months differ in length: from a shorter one on, a month alone would be too little.
    let missing = (period_end + wait) - end;
    if missing > TimeDelta::zero() {
        anchor += missing;
        end = pricing::period_end(zone, anchor, months)?;
    }
    Ok((anchor, end))
}

/// Returns true when nothing is charged for a subscription whose period is over: its instance never
/// ran in that period. It is charged again once the instance runs, for the time from then on.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn is_held(shop: &Subscriptions, seen: &Subscription) -> Result<bool> {
    if seen.delivered_at.is_none() {
        note_deliveries(shop).await?;
        let now = crate::subscriptions::row(&mut shop.db.read().await?, seen.id).await?;
        // Its period may end later by now.
        if !now.subscription.is_due(shop.clock.now()) {
            return Ok(true);
        }
    }
    if !never_ran(&mut shop.db.read().await?, seen).await? {
        return Ok(false);
    }
    if seen.held_since.is_none() {
        let mut conn = shop.db.begin().await?;
        store::hold(&mut conn, seen.id, seen.period_number).await?;
        conn.commit().await?;
        tracing::warn!(subscription.id = %seen.id, "renewal.held");
    }
    Ok(true)
}

/// Returns true when the instance did not run once since the period began.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn never_ran(conn: &mut Conn, seen: &Subscription) -> Result<bool> {
    Ok(!provisioning::ran_since(conn, seen.id, seen.period_start).await?)
}

/// Makes an instance that waits or failed due at once.
///
/// # Errors
/// `NOT_FOUND` when it is not this customer's, `INVALID_STATE` when nothing waits to be tried
/// again.
pub async fn retry_provisioning(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
) -> Result<SubscriptionDetail> {
    let detail = super::detail(&mut shop.db.read().await?, user_id, id).await?;
    let mut conn = shop.db.begin().await?;
    if !provisioning::try_again(&mut conn, &shop.clock, id).await? {
        let message = "There is nothing to retry: the instance is as it should be, or was removed.";
        return Err(Error::new(Code::InvalidState, message));
    }
    conn.commit().await?;
    shop.instances.handle.wake();
    Ok(detail)
}

/// Instance of a subscription, for which its customer asks.
#[derive(Debug)]
pub struct AskedFor {
    pub instance: InstanceDetail,
    /// True when it waited or had failed, and is tried again at once.
    pub is_retried: bool,
}

/// Returns the instance of a customer's subscription. One that waits or failed is made due at once, as
/// [`retry_provisioning`] does, and returned as it was before.
///
/// # Errors
/// `NOT_FOUND` when the subscription is not this customer's, `INVALID_STATE` once it has ended.
pub async fn ask_for(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
) -> Result<Uncommitted<AskedFor>> {
    let row = super::owned(&mut shop.db.read().await?, user_id, id).await?;
    lives(row.subscription.status)?;
    let known = row
        .instance_id
        .ok_or_else(|| Error::not_found("instance"))?;
    let instance = provisioning::detail(&shop.instances, user_id, known).await?;
    let mut conn = shop.db.begin().await?;
    let is_retried = provisioning::try_again(&mut conn, &shop.clock, id).await?;
    if !is_retried {
        // It may have ended since it was read, and then nothing is tried any more.
        let row = super::owned(&mut conn, user_id, id).await?;
        lives(row.subscription.status)?;
    }
    let asked = AskedFor {
        instance,
        is_retried,
    };
    let handle = shop.instances.handle.clone();
    Ok(Uncommitted::new(conn, asked).and_then(move || {
        if is_retried {
            handle.wake();
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_first_period_moves_by_at_least_the_wait_and_the_next_follows_it() {
        for (bought, days, expected) in [
            ("2027-10-01T05:00:00Z", 3, "2027-11-04T05:00:00Z"),
            ("2027-01-30T05:00:00Z", 2, "2027-03-02T05:00:00Z"),
            ("2027-01-31T05:00:00Z", 1, "2027-03-01T05:00:00Z"),
            ("2027-01-15T05:00:00Z", 40, "2027-03-27T05:00:00Z"),
        ] {
            let (bought, wait) = (at(bought), TimeDelta::days(days));
            let end = pricing::period_end(Tz::UTC, bought, 1).unwrap();
            let (anchor, moved_end) = moved(Tz::UTC, (bought, 1), end, wait).unwrap();
            assert!(moved_end >= end + wait, "{bought}");
            assert!(moved_end <= end + wait + TimeDelta::days(3), "{bought}");
            assert_eq!(moved_end, at(expected), "{bought}");
            assert_eq!(pricing::period_end(Tz::UTC, anchor, 1).unwrap(), moved_end);
        }
    }
}
