//! The next period of a subscription: priced by the version its instance is pinned to, reduced by
//! the coupon it was bought with, and charged once.
//!
//! A charge is one database transaction that looks again at what it was decided on, with the
//! customer's wallet locked: two servers, or a server that dies anywhere, charge each period once.

mod advanced;
mod next_price;
mod overdue;
mod store;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use dermaga_runtime::contract::PriceLine;
use serde_json::{Value, json};

pub(super) use next_price::{plan_price, price_of_thaw};
pub(crate) use next_price::{price, price_at};
pub(super) use overdue::{ahead, renew_first};

use super::{
    FreezeState, Subscriptions,
    model::{PeriodRow, Subscription, SubscriptionRow, SubscriptionStatus},
    price_moves,
    quote::PriceLineView,
    store as subscriptions, upgrade,
};
use crate::{
    Error, Result,
    calendar::json_text,
    catalog::{Plan, SoldTerm},
    coupons::{self, Continued},
    db::{Clock, Conn},
    ids::{CouponId, TransactionId},
    money::Rupiah,
    outbox::{self, Topic},
    plugins::Decision,
    provisioning::{self, Act},
    wallet::{self, NewTransaction, Payment, TransactionType},
};

/// Attempts to renew a subscription that keeps changing meanwhile.
pub(crate) const ATTEMPTS: u32 = 3;

/// Message of an instance whose freeze begins.
pub(crate) const FROZEN: &str = "Frozen, as its customer asked. Its data is kept.";

/// Sort of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Service,
    /// It is frozen, and pays for a month of its storage.
    Storage(Rupiah),
    /// It is frozen no more, and its service begins now. A frozen month that is not paid costs this.
    Thaw(Rupiah),
}

impl Kind {
    fn of(seen: &Subscription) -> Self {
        match (seen.freeze_state, seen.storage_price) {
            (FreezeState::Pending | FreezeState::Frozen, Some(price)) => Self::Storage(price),
            _ => Self::Service,
        }
    }

    const fn is_frozen(self) -> bool {
        matches!(self, Self::Storage(_))
    }
}

/// The next period with its price decided, nothing booked yet.
pub(crate) struct Next {
    number: i64,
    anchor_at: DateTime<Utc>,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    lines: Vec<PriceLine>,
    kind: Kind,
    /// Term at the customer's price, before what the plugin makes of it.
    term: SoldTerm,
    /// Months that it is for.
    months: u32,
    /// Months from the anchor to its end.
    anchor_months: u32,
    price: Rupiah,
    /// Part of the price for storage of the time before.
    storage: Rupiah,
    price_decision: Decision,
    pub(crate) coupon: Option<Continued>,
    /// Another plan that comes with it.
    to: Option<Plan>,
}

impl Next {
    const fn freeze_state(&self) -> FreezeState {
        match self.kind {
            Kind::Storage(_) => FreezeState::Frozen,
            Kind::Service | Kind::Thaw(_) => FreezeState::None,
        }
    }

    const fn storage_price(&self) -> Option<Rupiah> {
        match self.kind {
            Kind::Storage(price) => Some(price),
            Kind::Service | Kind::Thaw(_) => None,
        }
    }

    /// Returns the name of the plan that it is for.
    fn plan_name<'a>(&'a self, row: &'a SubscriptionRow) -> &'a str {
        self.to.as_ref().map_or(&row.plan_name, |to| &to.name)
    }

    /// Returns the slug of the plan that it is for.
    pub(crate) fn plan_slug<'a>(&'a self, row: &'a SubscriptionRow) -> &'a str {
        self.to.as_ref().map_or(&row.plan_slug, |to| &to.slug)
    }

    /// Price less what the coupon takes off, as long as its budget lasts.
    pub(crate) fn due(&self) -> Result<Rupiah> {
        Ok(self.price.minus(self.discount())?)
    }

    fn discount(&self) -> Rupiah {
        match &self.coupon {
            Some(Continued::Reduces(reduced)) => reduced.amount,
            _ => Rupiah::ZERO,
        }
    }

    /// The price's lines and the coupon's; they add up to what is due.
    pub(crate) fn explained(&self) -> Vec<PriceLineView> {
        let mut lines: Vec<_> = self.lines.iter().cloned().map(Into::into).collect();
        if let Some(Continued::Reduces(reduced)) = &self.coupon {
            lines.push(PriceLineView::of_coupon(reduced));
        }
        lines
    }

    /// Returns the explanation of the price that is kept in the transaction.
    fn details(&self) -> Value {
        let (code, without) = match &self.coupon {
            None => (None, None),
            Some(Continued::Reduces(reduced)) => (Some(&reduced.coupon.code), None),
            Some(Continued::Nothing { code, reason, .. }) => (Some(code), Some(reason)),
        };
        json!({
            "period": self.number,
            "lines": self.explained(),
            "price": self.price,
            "discount": self.discount(),
            "couponCode": code,
            "couponGaveNothing": without,
        })
    }

    /// Returns the transaction that pays for it.
    fn transaction(&self, row: &SubscriptionRow) -> NewTransaction {
        let seen = &row.subscription;
        let coupon = self.coupon.as_ref();
        let asked = coupon.and_then(Continued::decision);
        NewTransaction {
            user_id: seen.user_id,
            kind: TransactionType::Subscription,
            description: self.description(row),
            details: self.details(),
            subscription_id: Some(seen.id),
            coupon_id: coupon.and(seen.coupon_id),
            price_decision_id: Some(self.price_decision.id),
            coupon_decision_id: asked.map(|decision| decision.id),
        }
    }

    /// Returns the period as it was paid.
    fn period(&self, paid: &Payment) -> PeriodRow {
        PeriodRow {
            number: self.number,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            months: self.months.into(),
            frozen: self.kind.is_frozen(),
            paid_until: None,
            price: self.price,
            storage: self.storage,
            discount: self.discount(),
            paid_cash: paid.cash,
            paid_bonus: paid.bonus,
            refunded_cash: Rupiah::ZERO,
            transaction_id: Some(paid.transaction.id),
            price_decision_id: self.price_decision.id,
        }
    }

    /// Writes what is paid, with its place among the periods: `N8N Basic, month 2`, or
    /// `N8N Basic, period 2, 12 months`.
    fn description(&self, row: &SubscriptionRow) -> String {
        let (service, plan, number) = (&row.service_name, self.plan_name(row), self.number);
        match self.months {
            _ if self.kind.is_frozen() => {
                format!("{service} {plan}, period {number}, storage only")
            }
            1 => format!("{service} {plan}, month {number}"),
            _ => format!(
                "{service} {plan}, period {number}, {}",
                self.term.in_words()
            ),
        }
    }

    /// Leaves the coupon out when its budget does not hold this period, after so much for others.
    pub(crate) fn keep_to_budget(&mut self, before: Rupiah) {
        if let Some(Continued::Reduces(reduced)) = &self.coupon
            && !reduced.is_within_budget(before)
        {
            self.over_budget();
        }
    }

    /// Returns the coupon that it takes a discount from, and the discount.
    pub(crate) fn taken_from(&self) -> Option<(CouponId, Rupiah)> {
        match &self.coupon {
            Some(Continued::Reduces(reduced)) => Some((reduced.coupon.id, reduced.amount)),
            _ => None,
        }
    }

    /// Without the coupon, whose budget does not hold this period.
    fn over_budget(&mut self) {
        if let Some(Continued::Reduces(reduced)) = self.coupon.take() {
            self.coupon = Some(Continued::Nothing {
                code: reduced.coupon.code.clone(),
                reason: reduced.coupon.budget_in_words(),
                decision: Some(Box::new(reduced.decision)),
            });
        }
    }
}

/// Result of a charge.
pub(crate) enum Charge {
    Paid,
    /// Price that the wallet does not hold.
    Short(Rupiah),
    /// The subscription changed meanwhile.
    Overtaken,
}

/// A charge in a transaction that is still open.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, which its maker hands on at once"
)]
pub(super) enum Booking {
    Paid(Conn, Box<Booked>),
    /// Price that the wallet does not hold.
    Short(Rupiah),
    /// The subscription changed meanwhile.
    Overtaken,
}

/// The period as it was charged.
pub(super) struct Booked {
    pub(super) next: Next,
    pub(super) transaction_id: TransactionId,
    /// True when the instance is to be changed, too.
    has_effect: bool,
}

/// Charges the next period.
pub(crate) async fn charge(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    next: Next,
) -> Result<Charge> {
    let (conn, booked) = match book(shop, row, next).await? {
        Booking::Paid(conn, booked) => (conn, booked),
        Booking::Short(due) => return Ok(Charge::Short(due)),
        Booking::Overtaken => return Ok(Charge::Overtaken),
    };
    conn.commit().await?;
    // Most periods change nothing in the cluster.
    if booked.has_effect {
        shop.instances.handle.wake();
    }
    let (id, next) = (row.subscription.id, &booked.next);
    tracing::info!(subscription.id = %id, period = next.number, paid = %next.due()?, "subscription.renewed");
    Ok(Charge::Paid)
}

/// The one transaction: money, coupon, period, subscription and instance. What it saw is durable when it is
/// undone, so that its caller may say so.
pub(super) async fn book(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    mut next: Next,
) -> Result<Booking> {
    let (clock, seen) = (&shop.clock, &row.subscription);
    let mut conn = shop.db.begin_together().await?;
    let mut wallet = wallet::lock(&mut conn, seen.user_id).await?;
    if !is_as_seen(&mut conn, seen).await? {
        conn.rollback().await?;
        return Ok(Booking::Overtaken);
    }
    if let Some(Continued::Reduces(reduced)) = &next.coupon
        && !coupons::take_cost(&mut conn, clock, reduced).await?
    {
        next.over_budget();
    }
    let due = next.due()?;
    if wallet.balance().total()? < due {
        conn.rollback().await?;
        return Ok(Booking::Short(due));
    }
    next.price_decision.record(&mut conn).await?;
    if let Some(decision) = next.coupon.as_ref().and_then(Continued::decision) {
        decision.record(&mut conn).await?;
    }
    let new = next.transaction(row);
    let key = format!("subscription:{}:period:{}", seen.id, next.number);
    let (price, discount) = (next.price, next.discount());
    let paid = wallet::pay(&mut conn, clock, &mut wallet, price, discount, &key, new).await?;
    enter(shop, &mut conn, seen, (&next, &paid)).await?;
    tell(&mut conn, clock, row, &next).await?;
    let effect = effect(seen, next.kind);
    let has_effect = effect.is_some() || next.to.is_some();
    if let Some((act, message)) = effect {
        provisioning::change(&mut conn, clock, seen.id, act, message).await?;
    }
    let booked = Booked {
        has_effect,
        transaction_id: paid.transaction.id,
        next,
    };
    Ok(Booking::Paid(conn, Box::new(booked)))
}

/// Writes the paid period down: the subscription enters it, with the plan and the price that come with it, and
/// uses its coupon.
async fn enter(
    shop: &Subscriptions,
    conn: &mut Conn,
    seen: &Subscription,
    (next, paid): (&Next, &Payment),
) -> Result<()> {
    let (clock, now) = (&shop.clock, shop.clock.now());
    subscriptions::insert_period(conn, seen.id, &next.period(paid), now).await?;
    let left = next.coupon_left(seen);
    if !store::advance(conn, seen, next, left, now).await? {
        return Err(Error::internal("a locked subscription changed"));
    }
    begin_plan(shop, conn, seen, (next, paid)).await?;
    if next.to.is_none() && next.term != seen.term()? {
        price_moves::apply(conn, seen, next.number).await?;
    }
    if let Some(Continued::Reduces(reduced)) = &next.coupon {
        let (user_id, transaction) = (seen.user_id, Some(paid.transaction.id));
        let period = Some((seen.id, next.number));
        coupons::record_redemption(conn, clock, reduced, user_id, transaction, period).await?;
    }
    Ok(())
}

/// Effect of a paid period on the instance, and its message.
const fn effect(seen: &Subscription, kind: Kind) -> Option<(Act, &'static str)> {
    match (kind, seen.freeze_state, seen.status) {
        (Kind::Thaw(_), ..) => Some((Act::Thaw, "Frozen no more; being started.")),
        (Kind::Storage(_), FreezeState::Pending, _) => Some((Act::Freeze, FROZEN)),
        (_, _, SubscriptionStatus::Suspended) => {
            Some((Act::Resume, "Paid for again; being started."))
        }
        _ => None,
    }
}

async fn tell(conn: &mut Conn, clock: &Clock, row: &SubscriptionRow, next: &Next) -> Result<()> {
    let seen = &row.subscription;
    let what = (Topic::RenewalSuccess, seen.user_id.into());
    let payload = json!({
        "subscriptionId": seen.id,
        "service": row.service_name,
        "plan": next.plan_name(row),
        "period": next.number,
        "paid": next.due()?,
        "periodEnd": json_text(next.ends_at),
    });
    let key = format!("{}:{}", seen.id, next.number);
    outbox::put_once(conn, clock, what, &key, payload).await?;
    Ok(())
}

/// Moves it into the plan that comes with the period.
async fn begin_plan(
    shop: &Subscriptions,
    conn: &mut Conn,
    seen: &Subscription,
    (next, payment): (&Next, &Payment),
) -> Result<()> {
    let Some(to) = &next.to else {
        return Ok(());
    };
    let beginning = upgrade::Beginning {
        number: next.number,
        covers: next.starts_at..next.ends_at,
        payment,
    };
    upgrade::begin(conn, &shop.clock, seen, to, beginning).await
}

/// Looks again, in the caller's transaction, after [`wallet::lock`]; no other writer changes the
/// subscription before its end.
pub(crate) async fn is_as_seen(conn: &mut Conn, seen: &Subscription) -> Result<bool> {
    store::lock(conn, seen.id).await?;
    let now = subscriptions::any(conn, seen.id).await?;
    Ok(now.is_some_and(|row| row.subscription.is_as_seen(seen)))
}
