//! Customers who wait for plans that are sold out.
//!
//! A plan that no node of the cluster has room for is as good as sold out: customers wait for it, too, and no
//! place of it is held before there is room.
//!
//! A place that comes free is held for the first who waits and may have one more: it stays in use, so that no
//! other customer can take it, until it is bought, given up or over. While such customers wait, a place that
//! is free and not held yet goes to no other customer either. All changes are made under the lock of the
//! plan's row.

mod store;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{Catalog, Offer, quota};
use crate::{
    Code, Error, Result,
    calendar::json_text,
    db::{Clock, Conn, Page, Part, Place, Span, Walked, new_id},
    ids::{PlanId, ServiceId, UserId, WaitId},
    outbox::{self, Topic},
    owners,
    workers::{Next, Worker},
};

/// Rest between two looks at places that came free and holds that are over.
const INTERVAL: Duration = Duration::from_secs(1);

/// A customer's wait for a plan.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct WaitView {
    pub id: WaitId,
    pub plan_id: PlanId,
    /// Slug of the service.
    pub service: String,
    pub service_name: String,
    /// Slug of the plan.
    pub plan: String,
    pub plan_name: String,
    /// Place in the queue, from 1; absent while a place is held.
    pub position: Option<i64>,
    /// End of the time for which a place is held for this customer; absent until one is.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub held_until: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
}

/// A customer in the queue of a plan.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct QueueEntry {
    pub id: WaitId,
    pub user_id: UserId,
    pub email: String,
    /// Place in the queue, from 1; absent while a place is held.
    pub position: Option<i64>,
    /// End of the time for which a place is held; absent until one is.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub held_until: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    /// Order of the queue, with gaps where customers have left.
    #[serde(skip)]
    pub number: i64,
}

impl QueueEntry {
    /// Returns its place in the queue.
    pub const fn place(&self) -> Place<WaitId, i64> {
        Place {
            at: self.number,
            tie: self.id,
        }
    }
}

/// An entry, as acts on it need it.
#[derive(Debug, sqlx::FromRow)]
struct Entry {
    id: WaitId,
    plan_id: PlanId,
    user_id: UserId,
    is_held: bool,
}

/// Lets a customer wait for a plan that is sold out.
///
/// # Errors
/// `NOT_FOUND` for an unknown plan, `PLAN_UNAVAILABLE` when it is not on sale, `INVALID_STATE` when
/// it can be bought, `CONFLICT` when the customer waits for it already, `INSTANCE_LIMIT_REACHED` when
/// the customer has as many of it as one may.
pub async fn join(catalog: &Catalog, user_id: UserId, plan_id: PlanId) -> Result<WaitView> {
    let clock = &catalog.clock;
    let mut conn = catalog.db.begin().await?;
    // Before the plan's, as the deletion of the account takes them.
    owners::lock(&mut conn, user_id).await?;
    quota::lock(&mut conn, plan_id).await?;
    let offer = super::offer(&mut conn, plan_id).await?;
    let id: WaitId = new_id(clock);
    if store::waits_for(&mut conn, plan_id, user_id).await? {
        return Err(waits_already(&offer));
    }
    if store::is_at_limit(&mut conn, plan_id, user_id).await? {
        return Err(super::limit_reached(&offer));
    }
    // A place that is free for a moment belongs to those who wait.
    if offer.plan.available_quota() > 0
        && !catalog.room.is_full(plan_id)
        && !store::has_waiting(&mut conn, plan_id).await?
    {
        return Err(not_sold_out(&offer));
    }
    store::insert(&mut conn, id, plan_id, user_id, clock.now()).await?;
    let view = store::own(&mut conn, user_id, id).await?;
    conn.commit().await?;
    view.ok_or_else(|| Error::not_found("entry"))
}

fn waits_already(offer: &Offer) -> Error {
    let (service, plan) = (&offer.service.name, &offer.plan.name);
    let message = format!("You wait for {service} {plan} already.");
    Error::new(Code::Conflict, message)
}

fn not_sold_out(offer: &Offer) -> Error {
    let (service, plan) = (&offer.service.name, &offer.plan.name);
    let message = format!("{service} {plan} is not sold out. It can be bought now.");
    Error::new(Code::InvalidState, message)
}

/// Lists the plans that a customer waits for, the longest wait first.
///
/// # Errors
/// When the database does not answer.
pub async fn waits(catalog: &Catalog, user_id: UserId, part: Part) -> Result<Page<WaitView>> {
    let found = walk(catalog, user_id, Span::Page(part)).await?;
    Ok(found.into_page())
}

/// Walks the plans that a customer waits for, the longest wait first.
///
/// # Errors
/// When the database does not answer.
pub async fn walk(
    catalog: &Catalog,
    user_id: UserId,
    span: Span<WaitId>,
) -> Result<Walked<WaitView>> {
    Ok(store::list(&mut catalog.db.read().await?, user_id, span).await?)
}

/// Lists the queue of a plan: held places first, then those who wait, in their order.
///
/// # Errors
/// `NOT_FOUND` for an unknown plan.
pub async fn queue(
    catalog: &Catalog,
    plan_id: PlanId,
    span: Span<WaitId, i64>,
) -> Result<Walked<QueueEntry>> {
    let mut conn = catalog.db.read().await?;
    super::plan(&mut conn, plan_id).await?;
    Ok(store::queue(&mut conn, plan_id, span).await?)
}

/// Ends a customer's wait; a place that was held goes to the next.
///
/// # Errors
/// `NOT_FOUND` when this customer has no such entry.
pub async fn leave(catalog: &Catalog, user_id: UserId, id: WaitId) -> Result<()> {
    let none = || Error::not_found("entry");
    let mut conn = catalog.db.begin().await?;
    let entry = store::entry(&mut conn, user_id, id).await?;
    quota::lock(&mut conn, entry.ok_or_else(none)?.plan_id).await?;
    // Read again: a place may have been held, bought or lost until the lock was taken.
    let entry = store::entry(&mut conn, user_id, id).await?;
    let entry = entry.ok_or_else(none)?;
    end(&mut conn, &catalog.clock, &entry).await?;
    settle(&mut conn, catalog, entry.plan_id).await?;
    Ok(conn.commit().await?)
}

/// Ends all waits of a customer whose account is closed, in the caller's transaction; places that were held
/// go to the next.
///
/// # Errors
/// When the database refuses.
pub async fn leave_all(conn: &mut Conn, catalog: &Catalog, user_id: UserId) -> Result<()> {
    for Entry { id, plan_id, .. } in store::entries(conn, user_id).await? {
        quota::lock(conn, plan_id).await?;
        // Read again: a place may have been held, bought or lost until the lock was taken.
        if let Some(entry) = store::entry(conn, user_id, id).await? {
            end(conn, &catalog.clock, &entry).await?;
            settle(conn, catalog, plan_id).await?;
        }
    }
    Ok(())
}

/// Removes an entry, and frees the place that was held for it.
async fn end(conn: &mut Conn, clock: &Clock, entry: &Entry) -> Result<()> {
    store::delete(conn, entry.id).await?;
    if entry.is_held {
        super::give_back_quota(conn, clock, entry.plan_id).await?;
    }
    Ok(())
}

/// Takes the place that is held for a customer, in the caller's transaction, which has the lock of
/// the plan's row; false when there is none.
pub(super) async fn take_held(
    conn: &mut Conn,
    clock: &Clock,
    plan_id: PlanId,
    user_id: UserId,
) -> Result<bool> {
    Ok(store::take_held(conn, plan_id, user_id, clock.now()).await?)
}

/// Returns true when a place of a plan is held for a customer.
pub(super) async fn is_held(
    conn: &mut Conn,
    clock: &Clock,
    plan_id: PlanId,
    user_id: UserId,
) -> Result<bool> {
    Ok(store::is_held(conn, plan_id, user_id, clock.now()).await?)
}

/// Lists the plans of the places that are held now, each as often as it has such places, but those held for
/// one customer.
///
/// # Errors
/// When the database does not answer.
pub async fn held_for_others(
    conn: &mut Conn,
    clock: &Clock,
    user_id: UserId,
) -> Result<Vec<PlanId>> {
    Ok(store::held_for_others(conn, user_id, clock.now()).await?)
}

/// Ends what is over in the queue of a plan, and holds free places for those who wait, in the
/// caller's transaction, which has the lock of the plan's row.
///
/// # Errors
/// When the database refuses.
pub(super) async fn settle(conn: &mut Conn, catalog: &Catalog, plan_id: PlanId) -> Result<()> {
    let clock = &catalog.clock;
    for entry in store::held_off_sale(conn, plan_id).await? {
        // The number stays, and the time begins again once the plan is on sale again.
        store::release(conn, entry.id).await?;
        super::give_back_quota(conn, clock, plan_id).await?;
    }
    for entry in store::over(conn, plan_id, clock.now()).await? {
        end(conn, clock, &entry).await?;
    }
    while let Some(entry) = store::next(conn, plan_id).await? {
        let (now, hold) = (clock.now(), catalog.settings.waitlist_hold);
        // A customer who hears of a place must be able to buy it.
        if catalog.room.is_full(plan_id) || !store::take_place(conn, plan_id, now).await? {
            break;
        }
        catalog.room.take(plan_id);
        store::hold(conn, entry.id, now + hold).await?;
        tell(conn, clock, &entry, (now + hold, hold)).await?;
    }
    Ok(())
}

/// Settles the queues of all plans of a service, in the caller's transaction.
///
/// # Errors
/// When the database refuses.
pub(super) async fn settle_service(
    conn: &mut Conn,
    catalog: &Catalog,
    service_id: ServiceId,
) -> Result<()> {
    // In the order of their ids, in which administrators who change many lock them, too.
    for plan_id in store::waited_for(conn, service_id).await? {
        quota::lock(conn, plan_id).await?;
        settle(conn, catalog, plan_id).await?;
    }
    Ok(())
}

async fn tell(
    conn: &mut Conn,
    clock: &Clock,
    entry: &Entry,
    (until, hold): (DateTime<Utc>, TimeDelta),
) -> Result<()> {
    let offer = super::offer(conn, entry.plan_id).await?;
    let payload = json!({
        "planId": entry.plan_id, "service": offer.service.name, "plan": offer.plan.name,
        "heldUntil": json_text(until), "hours": hold.num_hours(),
    });
    let what = (Topic::QuotaFree, entry.user_id.into());
    // Once for each time that a place is held.
    let key = format!("{}:{}", entry.id, until.timestamp());
    outbox::put_once(conn, clock, what, &key, payload).await?;
    tracing::info!(plan.id = %entry.plan_id, user.id = %entry.user_id, "waitlist.held");
    Ok(())
}

/// Settles the queues of all plans in which there is something to do, each in a transaction of its
/// own; returns their number.
///
/// # Errors
/// When the database refuses; what was settled until then is.
pub async fn settle_all(catalog: &Catalog) -> Result<u64> {
    let now = catalog.clock.now();
    let due = store::due(&mut catalog.db.read().await?, now).await?;
    let mut settled = 0;
    for plan_id in due {
        let mut conn = catalog.db.begin().await?;
        quota::lock(&mut conn, plan_id).await?;
        settle(&mut conn, catalog, plan_id).await?;
        conn.commit().await?;
        settled += 1;
    }
    Ok(settled)
}

/// Holds places that came free and passes on those whose time is over, until cancelled.
pub async fn watch(catalog: Catalog, cancel: CancellationToken) {
    let step = || async {
        settle_all(&catalog).await?;
        Ok(Next::AfterRest)
    };
    let worker = Worker::new("waitlist", INTERVAL).ending_steps();
    worker.run(cancel, step).await;
}
