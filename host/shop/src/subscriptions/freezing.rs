//! Freeze of a subscription by its customer: compute off, data and place kept, and the storage charged by
//! the month, from the next period on.
//!
//! A freeze that waits for its period can be called back. A thaw begins a new period at once, at the
//! customer's price.

mod store;

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    PriceLineView, SubscriptionView, Subscriptions,
    model::{Subscription, SubscriptionRow, SubscriptionStatus},
    renewal::{self, ATTEMPTS, Booking},
    upgrade,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    calendar::json_text,
    catalog, coupons,
    db::{Conn, Uncommitted},
    ids::{SubscriptionId, TransactionId, UserId},
    money::Rupiah,
    owners, text_enum, timekeeping, wallet,
};

text_enum! {
    pub enum FreezeState {
        None = "NONE",
        /// It is frozen from the next period on.
        Pending = "PENDING",
        /// Only its storage is charged.
        Frozen = "FROZEN",
    }
}

impl FreezeState {
    /// Returns true when a subscription may go from this state to `next`, or stays as it is. The database
    /// keeps the same table.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::None, Self::None | Self::Pending)
            // Called back, or its period has begun.
            | (Self::Pending, Self::Pending | Self::None | Self::Frozen)
            | (Self::Frozen, Self::Frozen | Self::None) => true,
            (Self::None, Self::Frozen) | (Self::Frozen, Self::Pending) => false,
        }
    }
}

/// Result of a thaw.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThawView {
    pub subscription: SubscriptionView,
    /// They add up to `charged`. Empty for a freeze that was called back before it began.
    #[serde(serialize_with = "crate::subscriptions::lines_in_words")]
    pub lines: Vec<PriceLineView>,
    pub charged: Rupiah,
    pub transaction_id: Option<TransactionId>,
}

/// Result of asking for a freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freezing {
    /// From the next period on.
    Asked,
    /// The same, after the period that runs was charged, which the nightly job had not come to.
    AskedAfterRenewal,
    /// It is frozen, or will be.
    Already,
}

/// Freezes a subscription from its next period on. A period that is over is renewed and charged first.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` when its plan names no price for the storage, it is unpaid, is not renewed,
/// has ended, or its plan is being changed.
pub async fn freeze(shop: &Subscriptions, user_id: UserId, id: SubscriptionId) -> Result<Freezing> {
    let seen = super::owned(&mut shop.db.read().await?, user_id, id).await?;
    check_freezes(&seen.subscription)?;
    let is_overdue = seen.subscription.is_overdue(shop.clock.now());
    if is_overdue {
        renewal::renew_first(shop, id).await?;
    }
    let clock = &shop.clock;
    let mut conn = shop.db.begin().await?;
    wallet::lock(&mut conn, user_id).await?;
    let row = super::owned(&mut conn, user_id, id).await?;
    let seen = &row.subscription;
    check_freezes(seen)?;
    if seen.freeze_state != FreezeState::None {
        return Ok(Freezing::Already);
    }
    if upgrade::pending(&mut conn, id).await?.is_some() {
        return Err(upgrade::changing());
    }
    let price = storage_price(&mut conn, &row).await?;
    store::ask(&mut conn, id, price, clock.now()).await?;
    let details = json!({ "storagePrice": price, "from": json_text(seen.period_end) });
    note(
        shop,
        &mut conn,
        seen,
        AuditAct::SubscriptionFreezeAsked,
        details,
    )
    .await?;
    conn.commit().await?;
    tracing::info!(subscription.id = %id, "subscription.freeze_asked");
    Ok(if is_overdue {
        Freezing::AskedAfterRenewal
    } else {
        Freezing::Asked
    })
}

async fn storage_price(conn: &mut Conn, row: &SubscriptionRow) -> Result<Rupiah> {
    let plan = catalog::plan(conn, row.subscription.plan_id).await?;
    plan.storage_price.ok_or_else(|| {
        let message = format!("{} {} cannot be frozen.", row.service_name, row.plan_name);
        Error::new(Code::InvalidState, message)
    })
}

/// Refuses a freeze of what is not active, or ends.
fn check_freezes(seen: &Subscription) -> Result<()> {
    let message = match seen.status {
        _ if seen.freeze_state == FreezeState::Frozen && seen.status.is_live() => return Ok(()),
        SubscriptionStatus::Active if !seen.auto_renew => {
            "This subscription ends with its period. Turn automatic renewal on first.".to_owned()
        }
        SubscriptionStatus::Active if seen.next_plan_id.is_some() => {
            "Another plan comes with the next period, so that it cannot be frozen from then on."
                .to_owned()
        }
        SubscriptionStatus::Active => return Ok(()),
        SubscriptionStatus::PastDue | SubscriptionStatus::Suspended => {
            "The next period of this service is not paid yet. Top up your wallet first.".to_owned()
        }
        status => format!("This subscription is {status} and cannot be frozen."),
    };
    Err(Error::new(Code::InvalidState, message))
}

/// Thaws a subscription: a new period begins now and is charged, in its plan whose place it has kept. A freeze
/// that waits for its period is called back, and costs nothing. The caller commits it.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` when it is not frozen; `INSUFFICIENT_CREDIT`; `QUOTE_CHANGED` when it costs more
/// than `most`; `UNAUTHENTICATED` when the account was disabled meanwhile; `UNAVAILABLE` while the clock is in
/// doubt; `PLUGIN_*`.
pub async fn thaw(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
    most: Option<Rupiah>,
) -> Result<Uncommitted<ThawView>> {
    for _ in 0..ATTEMPTS {
        let row = super::owned(&mut shop.db.read().await?, user_id, id).await?;
        let done = match thaws(&row.subscription)? {
            FreezeState::Frozen => begin_again(shop, &row, most).await?,
            _ => call_back(shop, &row).await?,
        };
        if let Some(done) = done {
            return Ok(done);
        }
    }
    Err(coupons::too_busy())
}

/// Returns the price of a thaw now; `None` for what is not frozen.
///
/// # Errors
/// `PLUGIN_*` when a plugin fails.
pub(crate) async fn price_of_thaw(
    shop: &Subscriptions,
    row: &SubscriptionRow,
) -> Result<Option<Rupiah>> {
    match thaws(&row.subscription) {
        Ok(FreezeState::Frozen) => Ok(Some(renewal::price_of_thaw(shop, row).await?.due()?)),
        _ => Ok(None),
    }
}

/// Returns the state to thaw from.
fn thaws(seen: &Subscription) -> Result<FreezeState> {
    let message = match seen.freeze_state {
        _ if !seen.status.is_live() => {
            format!("This subscription is {}: it has ended.", seen.status)
        }
        FreezeState::None => "This subscription is not frozen.".to_owned(),
        state => return Ok(state),
    };
    Err(Error::new(Code::InvalidState, message))
}

/// Takes back a freeze that has not begun; nothing when it changed meanwhile.
async fn call_back(
    shop: &Subscriptions,
    row: &SubscriptionRow,
) -> Result<Option<Uncommitted<ThawView>>> {
    let seen = &row.subscription;
    let mut conn = shop.db.begin().await?;
    wallet::lock(&mut conn, seen.user_id).await?;
    if !store::call_back(&mut conn, seen.id, shop.clock.now()).await? {
        conn.rollback().await?;
        return Ok(None);
    }
    let details = json!({ "charged": 0 });
    note(shop, &mut conn, seen, AuditAct::SubscriptionThawed, details).await?;
    let view = ThawView {
        subscription: super::row(&mut conn, seen.id).await?.into(),
        lines: Vec::new(),
        charged: Rupiah::ZERO,
        transaction_id: None,
    };
    Ok(Some(Uncommitted::new(conn, view)))
}

/// Charges a new period from now on; nothing when the subscription changed meanwhile.
async fn begin_again(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    most: Option<Rupiah>,
) -> Result<Option<Uncommitted<ThawView>>> {
    timekeeping::trusted(&shop.clock)?;
    let seen = &row.subscription;
    let next = renewal::price_of_thaw(shop, row).await?;
    let due = next.due()?;
    if let Some(most) = most.filter(|most| due > *most) {
        let message = format!("A new period costs {due} now, more than the {most} you agreed to.");
        return Err(Error::new(Code::QuoteChanged, message));
    }
    let (mut conn, booked) = match renewal::book(shop, row, next).await? {
        Booking::Paid(conn, booked) => (conn, booked),
        Booking::Short(due) => {
            let mut conn = shop.db.read().await?;
            let balance = wallet::balance(&mut conn, seen.user_id).await?;
            return Err(wallet::insufficient(due, balance)?);
        }
        Booking::Overtaken => return Ok(None),
    };
    owners::check_active(&mut conn, seen.user_id).await?;
    let charged = booked.next.due()?;
    let details = json!({ "charged": charged, "period": seen.period_number.saturating_add(1) });
    note(shop, &mut conn, seen, AuditAct::SubscriptionThawed, details).await?;
    let view = ThawView {
        subscription: super::row(&mut conn, seen.id).await?.into(),
        lines: booked.next.explained(),
        charged,
        transaction_id: Some(booked.transaction_id),
    };
    let handle = shop.instances.handle.clone();
    Ok(Some(
        Uncommitted::new(conn, view).and_then(move || handle.wake()),
    ))
}

async fn note(
    shop: &Subscriptions,
    conn: &mut Conn,
    seen: &Subscription,
    act: AuditAct,
    details: serde_json::Value,
) -> Result<()> {
    let event = Event::new(act, Subject::Subscription(seen.id), details);
    audit::record_of_owner(conn, &shop.clock, seen.user_id, event).await
}

/// Refuses a change of plan of what is frozen, or will be.
///
/// # Errors
/// `INVALID_STATE`.
pub(super) fn check_unfrozen(seen: &Subscription) -> Result<()> {
    match seen.freeze_state {
        FreezeState::None => Ok(()),
        FreezeState::Pending => Err(will_be_frozen()),
        FreezeState::Frozen => {
            let message = "This subscription is frozen. Thaw it first.";
            Err(Error::new(Code::InvalidState, message))
        }
    }
}

/// Refusal of what a freeze that waits for its period excludes.
pub(super) fn will_be_frozen() -> Error {
    let message =
        "This subscription is frozen from its next period on. Call that back with a thaw first.";
    Error::new(Code::InvalidState, message)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        execute,
        test_database::{TestDatabase, ended},
    };

    const LEGAL: [(FreezeState, FreezeState); 4] = [
        (FreezeState::None, FreezeState::Pending),
        (FreezeState::Pending, FreezeState::None),
        (FreezeState::Pending, FreezeState::Frozen),
        (FreezeState::Frozen, FreezeState::None),
    ];

    #[test]
    fn every_pair_is_decided() {
        for &from in FreezeState::ALL {
            for &to in FreezeState::ALL {
                let expected = from == to || LEGAL.contains(&(from, to));
                assert_eq!(from.may_become(to), expected, "{from} {to}");
            }
        }
    }

    /// The database refuses exactly the pairs that the table refuses.
    #[tokio::test]
    async fn the_database_keeps_the_same_table() {
        let database = TestDatabase::open().await;
        let plan = database
            .sell("service-test", "registry.example/app:1")
            .await;
        let end = database.clock.now() + TimeDelta::days(30);
        for &from in FreezeState::ALL {
            for &to in FreezeState::ALL {
                let id = database.subscribe(plan, "ACTIVE", end).await;
                let sql = "UPDATE subscriptions SET freeze_state = $2 WHERE id = $1";
                let mut conn = database.db.begin().await.unwrap();
                for step in [FreezeState::Pending, from] {
                    if step.may_become(from) && from != FreezeState::None {
                        execute!(conn, sql, id, step).unwrap();
                    }
                }
                let changed = execute!(conn, sql, id, to).is_ok();
                assert_eq!(changed, from.may_become(to), "{from} {to}");
                conn.rollback().await.unwrap();
            }
        }
    }

    #[test]
    fn every_status_freezes_and_thaws_or_is_refused() {
        for &status in SubscriptionStatus::ALL {
            for &state in FreezeState::ALL {
                let seen = Subscription {
                    freeze_state: state,
                    ..ended(status)
                };
                let is_frozen = state == FreezeState::Frozen && status.is_live();
                let freezes = is_frozen || status == SubscriptionStatus::Active;
                assert_eq!(check_freezes(&seen).is_ok(), freezes, "{status} {state}");
                let is_thawed = status.is_live() && state != FreezeState::None;
                assert_eq!(thaws(&seen).is_ok(), is_thawed, "{status} {state}");
                assert_eq!(check_unfrozen(&seen).is_ok(), state == FreezeState::None);
            }
        }
    }
}
