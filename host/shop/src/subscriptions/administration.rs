//! Changes of a subscription by administrators: its renewal, its price, the end of its period.

use chrono::{DateTime, Days, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    SubscriptionDetail, SubscriptionStatus, Subscriptions, cancellation, model::Subscription,
    pricing, store, upgrade,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    calendar,
    db::{Conn, Uncommitted},
    ids::{SubscriptionId, UserId},
    money::Rupiah,
    text::counted,
    wallet,
};

/// Most days of one extension.
pub const MOST_EXTENSION_DAYS: u64 = 365;

/// Changes of a live subscription; what is absent stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edit {
    pub auto_renew: Option<bool>,
    /// Price of a month from the next period on; never higher than now.
    pub monthly_price: Option<Rupiah>,
}

/// Changes a subscription by an administrator's word, audited.
///
/// # Errors
/// `NOT_FOUND`; `VALIDATION_FAILED` for a higher price, or without a change; `INVALID_STATE` when it has
/// ended, its plan is being changed or will be, its customer was told of another price, or renewal is
/// switched off and its period is over.
pub async fn edit(
    shop: &Subscriptions,
    actor_id: UserId,
    id: SubscriptionId,
    edit: Edit,
    reason: &str,
) -> Result<SubscriptionDetail> {
    if edit.auto_renew.is_none() && edit.monthly_price.is_none() {
        return Err(Error::invalid(
            "autoRenew",
            "is missing, and so is monthlyPrice",
        ));
    }
    let now = shop.clock.now();
    let mut conn = shop.db.begin().await?;
    let seen = locked(&mut conn, id).await?;
    check_lives(&seen)?;
    let mut details = json!({});
    if let Some(auto_renew) = edit.auto_renew {
        let (user_id, why) = (seen.user_id, Some(reason));
        if !store::set_auto_renew(&mut conn, user_id, id, auto_renew, why, now).await? {
            return Err(cancellation::not_live(&mut conn, user_id, id, now).await?);
        }
        note(&mut details, "autoRenew", seen.auto_renew, auto_renew);
    }
    if let Some(price) = edit.monthly_price {
        check_price(&seen, price)?;
        if upgrade::pending(&mut conn, id).await?.is_some() {
            return Err(upgrade::changing());
        }
        if seen.next_plan_id.is_some() {
            let message = "Another plan begins with the next period, at its own price. Take that change back first.";
            return Err(Error::new(Code::InvalidState, message));
        }
        check_stays(shop, &seen)?;
        store::set_price(&mut conn, id, seen.term()?.at(price)?, now).await?;
        note(&mut details, "monthlyPrice", seen.monthly_price, price);
    }
    let subject = Subject::Subscription(id);
    let event = Event::new(AuditAct::SubscriptionChanged, subject, details).because(reason);
    audit::record(&mut conn, &shop.clock, actor_id, event).await?;
    let detail = super::any_detail(&mut conn, id).await?;
    conn.commit().await?;
    Ok(detail)
}

fn note(details: &mut Value, field: &str, before: impl Serialize, after: impl Serialize) {
    if let Some(fields) = details.as_object_mut() {
        let change = json!({ "before": before, "after": after });
        fields.insert(field.to_owned(), change);
    }
}

fn check_price(seen: &Subscription, price: Rupiah) -> Result<()> {
    if price <= seen.monthly_price {
        return Ok(());
    }
    let message = format!("must not be more than its price of {}", seen.monthly_price);
    Err(Error::invalid("monthlyPrice", message))
}

/// Refuses another price while a move waits, which would replace it a moment later.
fn check_stays(shop: &Subscriptions, seen: &Subscription) -> Result<()> {
    let (Some(price), Some(from)) = (seen.next_price, seen.next_price_from) else {
        return Ok(());
    };
    let from = shop.clock.written(from);
    let message = format!(
        "A price of {price} a month was announced from {from} on. Take that move back first."
    );
    Err(Error::new(Code::InvalidState, message))
}

/// Moves the end of the running period by so many days, without a charge; later periods follow it. One
/// in grace is paid for again until then.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` when it is suspended or has ended, or would still be over.
pub async fn extend(
    shop: &Subscriptions,
    actor_id: UserId,
    id: SubscriptionId,
    days: u64,
    reason: &str,
) -> Result<Uncommitted<SubscriptionDetail>> {
    let (zone, now) = (shop.clock.zone(), shop.clock.now());
    let mut conn = shop.db.begin().await?;
    let seen = locked(&mut conn, id).await?;
    check_extends(&seen)?;
    let (anchor_at, end) = extended(zone, &seen, days)?;
    if end <= now {
        let message = format!(
            "Its period ended on {}, more than {} ago.",
            shop.clock.written(seen.period_end),
            counted(days, "day")
        );
        return Err(Error::new(Code::InvalidState, message));
    }
    store::extend(&mut conn, &seen, anchor_at, end, now).await?;
    let before = calendar::json_text(seen.period_end);
    let details = json!({ "days": days, "before": before, "after": calendar::json_text(end) });
    let subject = Subject::Subscription(id);
    let event = Event::new(AuditAct::SubscriptionExtended, subject, details).because(reason);
    audit::record(&mut conn, &shop.clock, actor_id, event).await?;
    let detail = super::any_detail(&mut conn, id).await?;
    Ok(Uncommitted::new(conn, detail))
}

fn check_extends(seen: &Subscription) -> Result<()> {
    match seen.status {
        SubscriptionStatus::Active | SubscriptionStatus::PastDue => Ok(()),
        status => {
            let message = format!("This subscription is {status} and cannot be extended.");
            Err(Error::new(Code::InvalidState, message))
        }
    }
}

/// Returns the new anchor and the new end. The anchor moves so far that the next period is not shorter
/// than a month.
fn extended(zone: Tz, seen: &Subscription, days: u64) -> Result<(DateTime<Utc>, DateTime<Utc>)> {
    let beyond = || Error::invalid("days", "reaches beyond the calendar");
    let days = Days::new(days);
    let end = calendar::add_days(zone, seen.period_end, days).ok_or_else(beyond)?;
    let anchor = calendar::add_days(zone, seen.anchor_at, days).ok_or_else(beyond)?;
    let months = u32::try_from(seen.anchor_months).map_err(Error::internal)?;
    // Months differ in length.
    let missing = end - pricing::period_end(zone, anchor, months)?;
    Ok((anchor + missing.max(chrono::TimeDelta::zero()), end))
}

fn check_lives(seen: &Subscription) -> Result<()> {
    if seen.status.is_live() {
        return Ok(());
    }
    let message = format!("This subscription is {}: it has ended.", seen.status);
    Err(Error::new(Code::InvalidState, message))
}

/// Returns a subscription with its customer's wallet and its own row locked, so that nothing is charged
/// for it before the transaction ends.
async fn locked(conn: &mut Conn, id: SubscriptionId) -> Result<Subscription> {
    let user_id = super::row(conn, id).await?.subscription.user_id;
    wallet::lock(conn, user_id).await?;
    Ok(super::row(conn, id).await?.subscription)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_database;

    #[test]
    fn a_price_is_only_lowered() {
        let seen = test_database::ended(SubscriptionStatus::Active);
        for (price, is_good) in [(0, true), (49_999, true), (50_000, true), (50_001, false)] {
            let checked = check_price(&seen, Rupiah::new(price));
            assert_eq!(checked.is_ok(), is_good, "{price}");
        }
    }

    /// A suspended one begins a new period when it is paid for, which an extension would move.
    #[test]
    fn only_what_runs_is_extended_and_only_what_lives_is_edited() {
        for (status, is_extended, is_edited) in [
            (SubscriptionStatus::Active, true, true),
            (SubscriptionStatus::PastDue, true, true),
            (SubscriptionStatus::Suspended, false, true),
            (SubscriptionStatus::Cancelled, false, false),
            (SubscriptionStatus::Expired, false, false),
        ] {
            let seen = test_database::ended(status);
            assert_eq!(check_extends(&seen).is_ok(), is_extended, "{status}");
            assert_eq!(check_lives(&seen).is_ok(), is_edited, "{status}");
        }
    }

    /// The end moves by exactly so many days, and the next period is never shorter than a month.
    #[test]
    fn an_extension_is_exact_and_shortens_no_later_period() {
        let at = |text: &str| -> DateTime<Utc> { text.parse().unwrap() };
        for (anchor, number, end, days, expected) in [
            (
                "2027-01-31T05:00:00Z",
                1,
                "2027-02-28T05:00:00Z",
                1,
                "2027-03-01T05:00:00Z",
            ),
            (
                "2027-01-15T05:00:00Z",
                1,
                "2027-02-15T05:00:00Z",
                20,
                "2027-03-07T05:00:00Z",
            ),
            (
                "2027-01-15T05:00:00Z",
                3,
                "2027-04-15T05:00:00Z",
                365,
                "2028-04-14T05:00:00Z",
            ),
        ] {
            let mut seen = test_database::ended(SubscriptionStatus::Active);
            seen.anchor_at = at(anchor);
            (seen.period_number, seen.anchor_months) = (number, number);
            seen.period_end = at(end);
            let (anchor, end) = extended(Tz::UTC, &seen, days).unwrap();
            assert_eq!(end, at(expected));
            let number = u32::try_from(number).unwrap();
            let next = pricing::period_end(Tz::UTC, anchor, number + 1).unwrap();
            let month = calendar::add_months(Tz::UTC, end, 1).unwrap();
            assert!(next >= month - chrono::TimeDelta::days(3), "{next} {month}");
            assert!(next - end >= chrono::TimeDelta::days(28), "{next} {end}");
        }
    }
}
