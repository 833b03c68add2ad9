//! Moves of chosen customers from the price they bought at to the plan's present one, with notice: from
//! the first period that begins at the named moment or later, never within a period that is paid.

mod store;

use chrono::{DateTime, Days, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

pub(super) use store::apply;

use super::{
    Subscriptions,
    model::{Subscription, SubscriptionRow},
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    calendar,
    catalog::{self, Plan},
    db::{Conn, Uncommitted},
    ids::{PlanId, ServiceId, SubscriptionId, UserId},
    money::Rupiah,
    outbox::{self, Topic},
    wallet,
};

/// Most subscriptions of one request.
pub const MOST_MOVES: usize = 100;
/// Days that customers know of a new price before it is in force.
pub const NOTICE_DAYS: u64 = 30;
/// Years within which a new price is in force.
const MOST_YEARS: u32 = 2;

/// Move of a subscription to another price.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceMove {
    pub subscription_id: SubscriptionId,
    pub user_id: UserId,
    /// Rupiah a month until then.
    pub before: Rupiah,
    /// Rupiah a month of the first period that begins at `effectiveAt` or later, and of all after it.
    pub after: Rupiah,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub effective_at: DateTime<Utc>,
}

/// Price that customers of a plan pay.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct PaidPrice {
    /// Rupiah a month, before coupons.
    pub monthly_price: Rupiah,
    /// Live subscriptions at this price.
    pub subscriptions: i64,
    /// Number of them that are told of another price already.
    pub moving: i64,
}

/// Prices of a plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanPrices {
    /// Price for new customers, rupiah a month.
    pub present: Rupiah,
    /// Prices of customers who have bought, the lowest first.
    pub paid: Vec<PaidPrice>,
}

/// Subscriptions to move, the moment, and the reason.
#[derive(Debug)]
pub struct PriceOrder<'a> {
    pub subscriptions: Vec<SubscriptionId>,
    pub effective_at: DateTime<Utc>,
    pub reason: &'a str,
}

impl Subscription {
    /// Returns the monthly price of a period that begins then.
    pub(super) fn price_from(&self, starts_at: DateTime<Utc>) -> Rupiah {
        match (self.next_price, self.next_price_from) {
            (Some(price), Some(from)) if from <= starts_at => price,
            _ => self.monthly_price,
        }
    }
}

async fn plan_of(conn: &mut Conn, service_id: ServiceId, id: PlanId) -> Result<Plan> {
    let plan = catalog::plan(conn, id).await?;
    if plan.service_id == service_id {
        Ok(plan)
    } else {
        Err(Error::not_found("plan"))
    }
}

/// Returns the prices that customers of a plan pay.
///
/// # Errors
/// `NOT_FOUND`, also for a plan of another service.
pub async fn plan_prices(
    shop: &Subscriptions,
    service_id: ServiceId,
    plan_id: PlanId,
) -> Result<PlanPrices> {
    let mut conn = shop.db.read().await?;
    let present = plan_of(&mut conn, service_id, plan_id).await?.monthly_price;
    let paid = store::paid_prices(&mut conn, plan_id).await?;
    Ok(PlanPrices { present, paid })
}

/// Moves subscriptions of a plan to its present price, and tells their customers: all, or none; the
/// caller commits it. One that is moved to this price at this moment already stays as it is.
///
/// # Errors
/// `NOT_FOUND` with the id of a subscription that is not of this plan; `VALIDATION_FAILED` for a moment
/// that is too soon or too far, and for a subscription that is named twice; `INVALID_STATE` for one that
/// has ended, or pays this price already.
pub async fn move_prices(
    shop: &Subscriptions,
    actor_id: UserId,
    (service_id, plan_id): (ServiceId, PlanId),
    mut order: PriceOrder<'_>,
) -> Result<Uncommitted<Vec<PriceMove>>> {
    check_notice(shop, order.effective_at)?;
    order.subscriptions.sort_unstable();
    check_once(&order.subscriptions)?;
    let mut conn = shop.db.begin().await?;
    let plan = plan_of(&mut conn, service_id, plan_id).await?;
    let mut rows = Vec::with_capacity(order.subscriptions.len());
    for &id in &order.subscriptions {
        rows.push(row_of(&mut conn, &plan, id).await?);
    }
    // All lock in this order, so that two administrators never wait for each other.
    rows.sort_by_key(|row| (row.subscription.user_id, row.subscription.id));
    let mut moved = Vec::with_capacity(rows.len());
    for row in rows {
        moved.push(move_price(shop, &mut conn, actor_id, (&plan, &row), &order).await?);
    }
    Ok(Uncommitted::new(conn, moved))
}

fn check_notice(shop: &Subscriptions, effective_at: DateTime<Utc>) -> Result<()> {
    let (zone, now) = (shop.clock.zone(), shop.clock.now());
    let soonest = calendar::add_days(zone, now, Days::new(NOTICE_DAYS));
    let soonest = soonest.ok_or_else(|| Error::internal("a notice ends beyond the calendar"))?;
    if effective_at < soonest {
        let message = format!("must be at least {NOTICE_DAYS} days from now");
        return Err(Error::invalid("effectiveAt", message));
    }
    let latest = calendar::add_months(zone, now, 12 * MOST_YEARS);
    if latest.is_some_and(|latest| effective_at > latest) {
        let message = format!("must be at most {MOST_YEARS} years from now");
        return Err(Error::invalid("effectiveAt", message));
    }
    Ok(())
}

/// Refuses a subscription that is named twice in a sorted list.
fn check_once(ids: &[SubscriptionId]) -> Result<()> {
    let repeated = ids.windows(2).find_map(|pair| match pair {
        [one, other] if one == other => Some(one),
        _ => None,
    });
    let Some(id) = repeated else {
        return Ok(());
    };
    let message = format!("the subscription {id} is named twice");
    Err(Error::invalid("subscriptionIds", message))
}

async fn row_of(conn: &mut Conn, plan: &Plan, id: SubscriptionId) -> Result<SubscriptionRow> {
    let row = super::store::any(conn, id).await?;
    row.filter(|row| row.subscription.plan_id == plan.id)
        .ok_or_else(|| {
            Error::not_found("subscription of this plan").with("subscriptionIds", id.to_string())
        })
}

async fn move_price(
    shop: &Subscriptions,
    conn: &mut Conn,
    actor_id: UserId,
    (plan, seen): (&Plan, &SubscriptionRow),
    order: &PriceOrder<'_>,
) -> Result<PriceMove> {
    let (clock, id) = (&shop.clock, seen.subscription.id);
    // Nothing is charged for it before the transaction ends.
    wallet::lock(conn, seen.subscription.user_id).await?;
    let row = row_of(conn, plan, id).await?;
    let subscription = &row.subscription;
    check_moves(subscription, plan.monthly_price)?;
    let new = PriceMove {
        subscription_id: id,
        user_id: subscription.user_id,
        before: subscription.monthly_price,
        after: plan.monthly_price,
        effective_at: order.effective_at,
    };
    if is_announced(subscription, &new) {
        return Ok(new);
    }
    let by = (actor_id, order.reason);
    store::put(conn, &new, plan.id, by, clock.now()).await?;
    let effective_at = calendar::json_text(new.effective_at);
    let details = json!({
        "before": new.before, "after": new.after, "effectiveAt": effective_at, "plan": row.plan_slug,
    });
    let subject = Subject::Subscription(id);
    let event = Event::new(AuditAct::PriceMoved, subject, details).because(order.reason);
    audit::record(conn, clock, actor_id, event).await?;
    let payload = json!({
        "subscriptionId": id, "planId": plan.id, "service": row.service_name, "plan": row.plan_name,
        "oldPrice": new.before, "newPrice": new.after, "droppedPrice": null, "effectiveAt": effective_at,
    });
    outbox::put(conn, clock, Topic::PriceChange, new.user_id.into(), payload).await?;
    Ok(new)
}

/// Returns true when the customer was told of exactly this move.
fn is_announced(subscription: &Subscription, new: &PriceMove) -> bool {
    let from = subscription.next_price_from;
    // The databases keep no more than microseconds.
    subscription.next_price == Some(new.after)
        && from.is_some_and(|at| at.timestamp_micros() == new.effective_at.timestamp_micros())
}

fn check_moves(subscription: &Subscription, price: Rupiah) -> Result<()> {
    let id = subscription.id;
    let refused = |message: String| {
        let error = Error::new(Code::InvalidState, message);
        Err(error.with("subscriptionIds", id.to_string()))
    };
    if !subscription.status.is_live() {
        return refused(format!("A subscription is {}.", subscription.status));
    }
    if subscription.monthly_price == price {
        return refused(format!("A subscription is at {price} a month already."));
    }
    Ok(())
}

/// Takes back a move before it is in force, and tells the customer.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` when none waits.
pub async fn keep_price(
    shop: &Subscriptions,
    actor_id: UserId,
    id: SubscriptionId,
    reason: &str,
) -> Result<()> {
    let clock = &shop.clock;
    let mut conn = shop.db.begin().await?;
    let user_id = super::row(&mut conn, id).await?.subscription.user_id;
    wallet::lock(&mut conn, user_id).await?;
    let row = super::row(&mut conn, id).await?;
    if !store::take_back(&mut conn, id).await? {
        let message = "No other price waits for this subscription.";
        return Err(Error::new(Code::InvalidState, message));
    }
    let kept = row.subscription.monthly_price;
    let details = json!({ "kept": kept, "dropped": row.subscription.next_price });
    let event = Event::new(AuditAct::PriceKept, Subject::Subscription(id), details).because(reason);
    audit::record(&mut conn, clock, actor_id, event).await?;
    let effective_at = row.subscription.next_price_from.map(calendar::json_text);
    let payload = json!({
        "subscriptionId": id, "planId": row.subscription.plan_id, "service": row.service_name,
        "plan": row.plan_name, "oldPrice": kept, "newPrice": kept,
        "droppedPrice": row.subscription.next_price, "effectiveAt": effective_at,
    });
    outbox::put(
        &mut conn,
        clock,
        Topic::PriceChange,
        user_id.into(),
        payload,
    )
    .await?;
    Ok(conn.commit().await?)
}
