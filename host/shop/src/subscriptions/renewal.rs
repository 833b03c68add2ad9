//! The next period of a subscription: priced by the version its instance is pinned to, reduced by
//! the coupon it was bought with, and charged once.
//!
//! A charge is one database transaction that looks again at what it was decided on, with the
//! customer's wallet locked: two servers, or a server that dies anywhere, charge each period once.

mod overdue;
mod store;
#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::contract::{self, Answer, Occasion, PriceLine, Purchase};
use serde_json::{Value, json};

pub(super) use overdue::{ahead, renew_first};

use super::{
    Subscriptions,
    model::{PeriodRow, PriceLineView, Subscription, SubscriptionRow, SubscriptionStatus},
    price_moves, pricing, store as subscriptions, upgrade,
};
use crate::{
    Error, Result,
    catalog::{self, Plan, SoldTerm},
    coupons::{self, Continued},
    db::{Clock, Conn},
    money::Rupiah,
    outbox::{self, Topic},
    plugins::{self, Decision},
    provisioning, schema,
    wallet::{self, NewTransaction, Payment, TransactionType},
};

/// Attempts to renew a subscription that keeps changing meanwhile.
pub(crate) const ATTEMPTS: u32 = 3;

/// The next period with its price decided, nothing booked yet.
pub(crate) struct Next {
    number: i64,
    anchor_at: DateTime<Utc>,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    lines: Vec<PriceLine>,
    /// Term at the customer's price, before what the plugin makes of it.
    term: SoldTerm,
    /// Months from the anchor to its end.
    anchor_months: u32,
    price: Rupiah,
    price_decision: Decision,
    pub(crate) coupon: Option<Continued>,
    /// Another plan that comes with it.
    to: Option<Plan>,
}

impl Next {
    /// Price before the coupon.
    pub(super) const fn price(&self) -> Rupiah {
        self.price
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

    /// Writes its place among the periods: `month 2`, or `period 2, 12 months`.
    fn in_words(&self) -> String {
        match self.term.months {
            1 => format!("month {}", self.number),
            _ => format!("period {}, {}", self.number, self.term.in_words()),
        }
    }

    /// Without the coupon, whose budget does not hold this period.
    fn over_budget(&mut self) {
        if let Some(Continued::Reduces(reduced)) = self.coupon.take() {
            self.coupon = Some(Continued::Nothing {
                code: reduced.coupon.code.clone(),
                reason: format!("The budget of the coupon {} is spent.", reduced.coupon.code),
                decision: Some(Box::new(reduced.decision)),
            });
        }
    }
}

/// Decides what the next period costs: at the price the customer bought at or was told of, by the
/// plugin version that the instance is pinned to. Writes nothing.
pub(crate) async fn price(shop: &Subscriptions, row: &SubscriptionRow) -> Result<Next> {
    let current = &row.subscription;
    let mut conn = shop.db.read().await?;
    let off = switched_off(current, shop.clock.now());
    // Forecast and charge ask about the same moment, so that their prices agree.
    let starts_at = current.period_end + off;
    let (plan, term, to) = plans(&mut conn, current, starts_at).await?;
    let pinned = provisioning::pinned(&mut conn, current.id).await?;
    if upgrade::pending(&mut conn, current.id).await?.is_some() {
        return Err(super::upgrade::changing());
    }
    drop(conn);
    let plugin = shop.plugins.version(&pinned.plugin_digest).await?;
    let request = contract::PriceRequest {
        settings: pinned.settings.0,
        plan: plan.clone(),
        term: term.for_plugins(),
        config: pinned.config.0,
        occasion: Occasion::Renewal,
        moment: starts_at.timestamp(),
    };
    let subject = current.user_id.into();
    let decided =
        plugins::decide::<contract::service::Price>(&shop.plugins, &plugin, request, subject)
            .await?;
    let answer = match decided.value {
        Answer::Ok(answer) => answer,
        Answer::Problems(problems) => return Err(schema::refused(problems, "config")),
    };
    let mut lines = answer.lines;
    let price = term.reduce(&mut lines, Rupiah::new(answer.total))?;
    let coupon = if price.is_positive() && current.has_coupon_left() {
        let purchase = Purchase {
            service: row.service_slug.clone(),
            plan,
            term: term.for_plugins(),
            lines: lines.clone(),
            total: price.get(),
        };
        let whose = (current.user_id, current.id);
        let left = current.coupon_periods_left;
        Some(coupons::continue_for(&shop.coupons, whose, (purchase, left), starts_at).await?)
    } else {
        None
    };
    let anchor_at = current.anchor_at + off;
    let passed = u32::try_from(current.anchor_months).map_err(Error::internal)?;
    let anchor_months = passed.saturating_add(term.months);
    Ok(Next {
        number: current.period_number.saturating_add(1),
        anchor_at,
        // Without a gap to the period before, though the zone may be another since.
        starts_at,
        ends_at: pricing::period_end(shop.clock.zone(), anchor_at, anchor_months)?,
        lines,
        term,
        anchor_months,
        price,
        price_decision: decided.decision,
        coupon,
        to,
    })
}

/// Returns the plan of the next period as plugins see it, its term at the customer's price, and the plan
/// itself where it is another one.
async fn plans(
    conn: &mut Conn,
    current: &Subscription,
    starts_at: DateTime<Utc>,
) -> Result<(contract::Plan, SoldTerm, Option<Plan>)> {
    if let Some(id) = current.next_plan_id {
        let to = catalog::plan(conn, id).await?;
        let term = to.term_or_months(current.term()?.months)?;
        return Ok((to.for_plugins()?, term, Some(to)));
    }
    let plan = catalog::plan(conn, current.plan_id).await?;
    let price = current.price_from(starts_at);
    Ok((
        plan.for_plugins_at(price)?,
        current.term()?.at(price)?,
        None,
    ))
}

/// Returns how long it has been switched off or never ran. That is not charged: its periods move on
/// by as much.
fn switched_off(current: &Subscription, now: DateTime<Utc>) -> TimeDelta {
    let since = current.suspended_at.or(current.held_since);
    let off = since.map(|since| now - since);
    // A moment that a wrong clock wrote down may lie ahead.
    off.unwrap_or_default().max(TimeDelta::zero())
}

/// Result of a charge.
pub(crate) enum Charge {
    Paid,
    /// Price that the wallet does not hold.
    Short(Rupiah),
    /// The subscription changed meanwhile.
    Overtaken,
}

/// The one transaction: money, coupon, period, subscription and instance.
pub(crate) async fn charge(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    mut next: Next,
) -> Result<Charge> {
    let (clock, seen) = (&shop.clock, &row.subscription);
    let mut conn = shop.db.begin().await?;
    let mut wallet = wallet::lock(&mut conn, seen.user_id).await?;
    if !is_as_seen(&mut conn, seen).await? {
        conn.rollback().await?;
        return Ok(Charge::Overtaken);
    }
    if let Some(Continued::Reduces(reduced)) = &next.coupon
        && !coupons::take_cost(&mut conn, clock, reduced).await?
    {
        next.over_budget();
    }
    let due = next.due()?;
    if wallet.balance().total()? < due {
        conn.rollback().await?;
        return Ok(Charge::Short(due));
    }
    next.price_decision.record(&mut conn).await?;
    let asked = next.coupon.as_ref().and_then(Continued::decision);
    if let Some(decision) = asked {
        decision.record(&mut conn).await?;
    }
    let new = NewTransaction {
        user_id: seen.user_id,
        kind: TransactionType::Subscription,
        description: format!(
            "{} {}, {}",
            row.service_name,
            row.plan_name,
            next.in_words()
        ),
        details: next.details(),
        subscription_id: Some(seen.id),
        coupon_id: next.coupon.as_ref().and(seen.coupon_id),
        price_decision_id: Some(next.price_decision.id),
        coupon_decision_id: asked.map(|decision| decision.id),
    };
    let key = format!("subscription:{}:period:{}", seen.id, next.number);
    let (price, discount) = (next.price, next.discount());
    let paid = wallet::pay(&mut conn, clock, &mut wallet, price, discount, &key, new).await?;
    let now = clock.now();
    let period = PeriodRow {
        number: next.number,
        starts_at: next.starts_at,
        ends_at: next.ends_at,
        months: next.term.months.into(),
        paid_until: None,
        price,
        discount,
        paid_cash: paid.cash,
        paid_bonus: paid.bonus,
        refunded_cash: Rupiah::ZERO,
        transaction_id: Some(paid.transaction.id),
        price_decision_id: next.price_decision.id,
    };
    subscriptions::insert_period(&mut conn, seen.id, &period, now).await?;
    let left = seen
        .coupon_periods_left
        .map(|left| left.saturating_sub(next.term.months.into()).max(0));
    if !store::advance(&mut conn, seen, &next, left, now).await? {
        return Err(Error::internal("a locked subscription changed"));
    }
    begin_plan(shop, &mut conn, seen, (&next, &paid)).await?;
    if next.to.is_none() && next.term.monthly_price != seen.monthly_price {
        price_moves::apply(&mut conn, seen, next.number).await?;
    }
    if let Some(Continued::Reduces(reduced)) = &next.coupon {
        let (transaction, subscription) = (Some(paid.transaction.id), Some((seen.id, next.number)));
        let user_id = seen.user_id;
        coupons::record_redemption(
            &mut conn,
            clock,
            reduced,
            user_id,
            transaction,
            subscription,
        )
        .await?;
    }
    tell(&mut conn, clock, row, &next).await?;
    if seen.status == SubscriptionStatus::Suspended {
        let message = "Paid for again; being started.";
        let act = provisioning::Act::Resume;
        provisioning::change(&mut conn, clock, seen.id, act, message).await?;
    }
    conn.commit().await?;
    shop.instances.handle.wake();
    tracing::info!(subscription.id = %seen.id, period = next.number, paid = %due, "subscription.renewed");
    Ok(Charge::Paid)
}

async fn tell(conn: &mut Conn, clock: &Clock, row: &SubscriptionRow, next: &Next) -> Result<()> {
    let seen = &row.subscription;
    let what = (Topic::RenewalSuccess, seen.user_id.into());
    let payload = json!({
        "subscriptionId": seen.id,
        "service": row.service_name,
        "plan": row.plan_name,
        "period": next.number,
        "paid": next.due()?,
        "periodEnd": next.ends_at,
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
        starts_at: next.starts_at,
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
