//! Moves of chosen customers from the price they bought at to the plan's present one, with notice: from
//! the first period that begins at the named moment or later, never within a period that is paid. Who pays
//! for several months at once gets the plan's present price of that term.

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
    catalog::{self, Plan, SoldTerm, TermView},
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
    /// Calendar months of each of its periods.
    pub term_months: u32,
    /// Price of the plan for such a period until then.
    pub term_before: Rupiah,
    /// Price of the plan for such a period from then on.
    pub term_after: Rupiah,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub effective_at: DateTime<Utc>,
}

/// Price that customers of a plan pay.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct PaidPrice {
    /// Rupiah a month, before coupons.
    pub monthly_price: Rupiah,
    /// Calendar months of each period.
    pub term_months: i64,
    /// Price of the plan for such a period; absent where it is the price of its months.
    pub term_price: Option<Rupiah>,
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
    /// Terms that it is sold for, at their prices for new customers.
    pub terms: Vec<TermView>,
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
    /// Returns its term at the price that it is moved to, while that waits for its period.
    ///
    /// # Errors
    /// As [`SoldTerm::full_price`].
    pub(super) fn next_term(&self) -> Result<Option<SoldTerm>> {
        let Some(monthly_price) = self.next_price else {
            return Ok(None);
        };
        // A move that names no price of the term keeps the share.
        let kept = self.term()?.at(monthly_price)?;
        let price = self.next_term_price.or(kept.price);
        Ok(Some(SoldTerm { price, ..kept }))
    }

    /// Returns its term at the price of a period that begins then.
    ///
    /// # Errors
    /// As [`SoldTerm::full_price`].
    pub(super) fn term_from(&self, starts_at: DateTime<Utc>) -> Result<SoldTerm> {
        let is_in_force = self.next_price_from.is_some_and(|from| from <= starts_at);
        match self.next_term()? {
            Some(term) if is_in_force => Ok(term),
            _ => self.term(),
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
    let plan = plan_of(&mut conn, service_id, plan_id).await?;
    let paid = store::paid_prices(&mut conn, plan_id).await?;
    Ok(PlanPrices {
        present: plan.monthly_price,
        terms: plan.term_views(),
        paid,
    })
}

/// Moves subscriptions of a plan to its present price of their terms, and tells their customers: all, or none; the
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
    let own = subscription.term()?;
    let term = plan.present_term(own)?;
    check_moves(subscription, own, term)?;
    let new = PriceMove {
        subscription_id: id,
        user_id: subscription.user_id,
        before: own.monthly_price,
        after: term.monthly_price,
        term_months: own.months,
        term_before: own.plan_price()?,
        term_after: term.plan_price()?,
        effective_at: order.effective_at,
    };
    if is_announced(subscription, &new)? {
        return Ok(new);
    }
    let by = (actor_id, order.reason);
    store::put(conn, &new, (plan.id, term), by, clock.now()).await?;
    let effective_at = calendar::json_text(new.effective_at);
    let details = json!({
        "before": new.before, "after": new.after, "termMonths": new.term_months, "termBefore": new.term_before,
        "termAfter": new.term_after, "effectiveAt": effective_at, "plan": row.plan_slug,
    });
    let subject = Subject::Subscription(id);
    let event = Event::new(AuditAct::PriceMoved, subject, details).because(order.reason);
    let act = audit::record_with_id(conn, clock, actor_id, event).await?;
    let payload = json!({
        "subscriptionId": id, "planId": plan.id, "service": row.service_name, "plan": row.plan_name,
        "months": new.term_months, "oldPrice": new.term_before, "newPrice": new.term_after,
        "droppedPrice": null, "effectiveAt": effective_at,
    });
    let what = (Topic::PriceChange, new.user_id.into());
    outbox::put_once(conn, clock, what, &act.to_string(), payload).await?;
    Ok(new)
}

/// Returns true when the customer was told of exactly this move.
fn is_announced(subscription: &Subscription, new: &PriceMove) -> Result<bool> {
    let from = subscription.next_price_from;
    // The databases keep no more than microseconds.
    let is_then =
        from.is_some_and(|at| at.timestamp_micros() == new.effective_at.timestamp_micros());
    let Some(term) = subscription.next_term()? else {
        return Ok(false);
    };
    let is_same = term.monthly_price == new.after && term.plan_price()? == new.term_after;
    Ok(is_then && is_same)
}

/// Refusal of a move to a price that would never be charged.
const NEXT_PLAN: &str =
    "A subscription goes into another plan with its next period. Take that back first.";

fn check_moves(subscription: &Subscription, own: SoldTerm, term: SoldTerm) -> Result<()> {
    let id = subscription.id;
    let refused = |message: String| {
        let error = Error::new(Code::InvalidState, message);
        Err(error.with("subscriptionIds", id.to_string()))
    };
    if !subscription.status.is_live() {
        return refused(format!("A subscription is {}.", subscription.status));
    }
    if subscription.next_plan_id.is_some() {
        return refused(NEXT_PLAN.to_owned());
    }
    let price = term.monthly_price;
    if own.monthly_price == price && own.plan_price()? == term.plan_price()? {
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
    let own = row.subscription.term()?;
    let kept = own.plan_price()?;
    let dropped = row.subscription.next_term()?;
    let dropped = dropped.map(SoldTerm::plan_price).transpose()?;
    let details = json!({
        "kept": own.monthly_price, "dropped": row.subscription.next_price, "termMonths": own.months,
        "termKept": kept, "termDropped": dropped,
    });
    let event = Event::new(AuditAct::PriceKept, Subject::Subscription(id), details).because(reason);
    let act = audit::record_with_id(&mut conn, clock, actor_id, event).await?;
    let effective_at = row.subscription.next_price_from.map(calendar::json_text);
    let payload = json!({
        "subscriptionId": id, "planId": row.subscription.plan_id, "service": row.service_name,
        "plan": row.plan_name, "months": own.months, "oldPrice": kept, "newPrice": kept,
        "droppedPrice": dropped, "effectiveAt": effective_at,
    });
    let what = (Topic::PriceChange, user_id.into());
    outbox::put_once(&mut conn, clock, what, &act.to_string(), payload).await?;
    Ok(conn.commit().await?)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{subscriptions::SubscriptionStatus, test_database::ended};

    fn term(months: u32, monthly: i64, price: Option<i64>) -> SoldTerm {
        SoldTerm {
            months,
            monthly_price: Rupiah::new(monthly),
            price: price.map(Rupiah::new),
        }
    }

    #[test]
    fn a_subscription_is_named_once() {
        let ids = |numbers: &[u128]| -> Vec<SubscriptionId> {
            let ids = numbers.iter().copied();
            ids.map(SubscriptionId::from_u128).collect()
        };
        for good in [&[][..], &[1], &[1, 2, 3]] {
            check_once(&ids(good)).unwrap();
        }
        for twice in [&[1, 1][..], &[1, 2, 2, 3]] {
            let refused = check_once(&ids(twice)).unwrap_err();
            assert_eq!(refused.details[0].field, "subscriptionIds");
        }
    }

    #[test]
    fn only_what_lives_and_stays_in_its_plan_is_moved() {
        let (own, other) = (term(1, 50_000, None), term(1, 60_000, None));
        for &status in SubscriptionStatus::ALL {
            let moved = check_moves(&ended(status), own, other);
            assert_eq!(moved.is_ok(), status.is_live(), "{status}");
        }
        let leaving = Subscription {
            next_plan_id: Some(PlanId::from_u128(9)),
            ..ended(SubscriptionStatus::Active)
        };
        let refused = check_moves(&leaving, own, other).unwrap_err();
        assert_eq!(refused.message, NEXT_PLAN);
    }

    #[test]
    fn a_move_to_the_same_price_is_none_unless_the_term_costs_another() {
        let seen = ended(SubscriptionStatus::Active);
        for (own, to, is_move) in [
            (term(1, 50_000, None), term(1, 50_000, None), false),
            (term(1, 50_000, None), term(1, 49_999, None), true),
            (
                term(12, 50_000, Some(510_000)),
                term(12, 50_000, Some(510_000)),
                false,
            ),
            (
                term(12, 50_000, Some(510_000)),
                term(12, 50_000, Some(500_000)),
                true,
            ),
            (
                term(12, 50_000, None),
                term(12, 50_000, Some(600_000)),
                false,
            ),
        ] {
            assert_eq!(
                check_moves(&seen, own, to).is_ok(),
                is_move,
                "{own:?} {to:?}"
            );
        }
    }

    /// Sent again, a move is found as the database kept it, which drops what is below a microsecond.
    #[test]
    fn a_repeated_move_is_known_to_the_microsecond() {
        let from = DateTime::UNIX_EPOCH + TimeDelta::microseconds(7);
        let told = Subscription {
            next_price: Some(Rupiah::new(60_000)),
            next_price_from: Some(from),
            ..ended(SubscriptionStatus::Active)
        };
        let asked = |after: i64, effective_at| PriceMove {
            subscription_id: told.id,
            user_id: told.user_id,
            before: told.monthly_price,
            after: Rupiah::new(after),
            term_months: 1,
            term_before: told.monthly_price,
            term_after: Rupiah::new(after),
            effective_at,
        };
        for (after, effective_at, is_known) in [
            (60_000, from, true),
            (60_000, from + TimeDelta::nanoseconds(999), true),
            (60_000, from + TimeDelta::microseconds(1), false),
            (60_001, from, false),
        ] {
            let known = is_announced(&told, &asked(after, effective_at)).unwrap();
            assert_eq!(known, is_known, "{after} {effective_at}");
        }
        let untold = ended(SubscriptionStatus::Active);
        assert!(!is_announced(&untold, &asked(60_000, from)).unwrap());
    }
}
