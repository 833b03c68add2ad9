//! Changes of plan by an administrator: a higher plan at once, charged or as a gift; a lower plan at once,
//! with the cash of the rest back; any other plan with the next period.

use chrono::{DateTime, Utc};
use dermaga_runtime::contract::{self, Occasion};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    Charging, changed_meanwhile, changing, check_instance_limit,
    credit::share,
    payments::{self, Left},
    proposal::{self, Permitted},
    schedule,
    span::span,
    store::{self, PlanChange},
};
use crate::{
    Error, Result,
    audit::{self, AuditAct, Event, Subject},
    catalog::{self, Offer, Plan, SoldTerm},
    db::{Conn, Uncommitted, new_id},
    ids::{PlanId, SubscriptionId, TransactionId, UserId},
    money::Rupiah,
    plugins::{Asking, Decision},
    provisioning,
    subscriptions::{
        PriceLineView, SubscriptionRow, SubscriptionView, Subscriptions, delivery,
        model::{PeriodRow, Subscription},
        pricing,
        renewal::is_as_seen,
        store as subscriptions,
    },
    wallet::{self, LockedWallet, NewTransaction, Payment, TransactionType},
};

/// Moment at which another plan begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanChangeAt {
    /// At once. What is left of the period counts.
    #[default]
    Now,
    /// With the next period, at its price.
    PeriodEnd,
}

/// Plan that an administrator wants for a subscription.
#[derive(Debug, Clone, Copy)]
pub struct WantedPlan {
    pub plan_id: PlanId,
    pub at: PlanChangeAt,
    /// A higher plan costs nothing until the period ends.
    pub is_gift: bool,
}

/// Change of plan by an administrator.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminPlanChange {
    pub subscription: SubscriptionView,
    pub at: PlanChangeAt,
    /// They add up to what is charged, or to what is given back as a negative sum. Empty for a change with the
    /// next period.
    #[serde(serialize_with = "crate::subscriptions::lines_in_words")]
    pub lines: Vec<PriceLineView>,
    pub charged: Rupiah,
    /// Cash that comes back to the wallet as soon as the instance is changed.
    pub gives_back: Rupiah,
    pub transaction_id: Option<TransactionId>,
}

/// Changes the plan of any customer's subscription, audited. The plan that it is in, wanted for the end of
/// the period, takes back a change that waits for it.
///
/// # Errors
/// `NOT_FOUND`; `VALIDATION_FAILED` for a plan of another service, or the same one; `INVALID_STATE` when it
/// is not active, its period is over or another change is under way; every refusal of plan, plugin, quota,
/// limit and credit; `CONFLICT` when it was changed meanwhile.
pub async fn change_plan(
    shop: &Subscriptions,
    actor_id: UserId,
    id: SubscriptionId,
    wanted: WantedPlan,
    reason: &str,
) -> Result<Uncommitted<AdminPlanChange>> {
    delivery::note_deliveries(shop).await?;
    let mut conn = shop.db.read().await?;
    let row = crate::subscriptions::row(&mut conn, id).await?;
    let from = catalog::plan(&mut conn, row.subscription.plan_id).await?;
    drop(conn);
    let mut made = match wanted.at {
        PlanChangeAt::PeriodEnd if wanted.plan_id == from.id => keep(shop, &row).await?,
        PlanChangeAt::PeriodEnd => plan(shop, &row, &from, wanted.plan_id).await?,
        PlanChangeAt::Now => {
            let to = catalog::plan(&mut shop.db.read().await?, wanted.plan_id).await?;
            if to.tier > from.tier {
                Box::pin(upwards(shop, &row, wanted)).await?
            } else {
                downwards(shop, &row, &from, wanted.plan_id).await?
            }
        }
    };
    let details = json!({
        "from": from.id,
        "to": wanted.plan_id,
        "at": wanted.at,
        "gift": wanted.is_gift,
    });
    let subject = Subject::Subscription(id);
    let event = Event::new(AuditAct::SubscriptionPlanChanged, subject, details).because(reason);
    audit::record(made.conn(), &shop.clock, actor_id, event).await?;
    Ok(made)
}

async fn upwards(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    wanted: WantedPlan,
) -> Result<Uncommitted<AdminPlanChange>> {
    let seen = &row.subscription;
    let charging = if wanted.is_gift {
        Charging::Nothing
    } else {
        Charging::AtMost(None)
    };
    let upgrading = super::carry_out(shop, seen.user_id, seen.id, wanted.plan_id, charging);
    let made = Box::pin(upgrading).await?;
    Ok(made.map(|view| AdminPlanChange {
        subscription: view.subscription,
        at: PlanChangeAt::Now,
        lines: view.lines,
        charged: view.charged,
        gives_back: Rupiah::ZERO,
        transaction_id: Some(view.transaction_id),
    }))
}

/// Takes back what was planned for the end of the period.
async fn keep(shop: &Subscriptions, row: &SubscriptionRow) -> Result<Uncommitted<AdminPlanChange>> {
    let seen = &row.subscription;
    let mut conn = shop.db.begin().await?;
    wallet::lock(&mut conn, seen.user_id).await?;
    // In another plan by now, what waits may be the very plan that is wanted.
    if !is_as_seen(&mut conn, seen).await? {
        return Err(changed_meanwhile());
    }
    let planned = schedule::take_back(&mut conn, &shop.clock, seen.id).await?;
    let planned = planned.ok_or_else(|| {
        let message = "is the plan that it has, and no other is planned";
        Error::invalid("planId", message)
    })?;
    catalog::give_back_quota(&mut conn, &shop.clock, planned).await?;
    with_next_period(conn, seen).await
}

async fn plan(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    from: &Plan,
    plan_id: PlanId,
) -> Result<Uncommitted<AdminPlanChange>> {
    let seen = &row.subscription;
    let (to, permitted) = permitted(shop, row, from, plan_id).await?;
    let (mut conn, _wallet) = locked(shop, seen, &to).await?;
    permitted.decision.record(&mut conn).await?;
    let clock = &shop.clock;
    let before = schedule::plan(&mut conn, clock, seen.id, plan_id).await?;
    catalog::exchange_quota(&mut conn, clock, seen.user_id, before, &to).await?;
    with_next_period(conn, seen).await
}

async fn with_next_period(
    mut conn: Conn,
    seen: &Subscription,
) -> Result<Uncommitted<AdminPlanChange>> {
    let subscription = crate::subscriptions::row(&mut conn, seen.id).await?.into();
    let view = AdminPlanChange {
        subscription,
        at: PlanChangeAt::PeriodEnd,
        lines: Vec::new(),
        charged: Rupiah::ZERO,
        gives_back: Rupiah::ZERO,
        transaction_id: None,
    };
    Ok(Uncommitted::new(conn, view))
}

/// A lower plan for the rest of the period, with its price decided.
struct Lower {
    to: Offer,
    /// Its term in the lower plan.
    term: SoldTerm,
    permitted: Permitted,
    price_decision: Decision,
    period: PeriodRow,
    moment: DateTime<Utc>,
    left: Left,
    /// Price of the lower plan for the rest of the period.
    cost: Rupiah,
    /// Price of the lower plan for a whole period.
    price: Rupiah,
    give_back: Rupiah,
}

async fn downwards(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    from: &Plan,
    plan_id: PlanId,
) -> Result<Uncommitted<AdminPlanChange>> {
    let (seen, clock) = (&row.subscription, &shop.clock);
    let lower = price(shop, row, from, plan_id).await?;
    let (to, now) = (&lower.to, clock.now());
    let (mut conn, mut wallet) = locked(shop, seen, to).await?;
    let number = seen.period_number;
    let period = subscriptions::period(&mut conn, seen.id, number).await?;
    if period.is_none_or(|period| period.sums() != lower.period.sums()) {
        return Err(changed_meanwhile());
    }
    lower.permitted.decision.record(&mut conn).await?;
    lower.price_decision.record(&mut conn).await?;
    let planned = schedule::take_back(&mut conn, clock, seen.id).await?;
    let payment = note(shop, &mut conn, &mut wallet, row, &lower).await?;
    if !subscriptions::change_plan(&mut conn, seen, (&to.plan, lower.term), now).await? {
        return Err(changed_meanwhile());
    }
    let message = format!("Being moved to the plan {}.", to.plan.name);
    let generation =
        provisioning::change_plan(&mut conn, clock, seen.id, plan_id, &message).await?;
    let change = lower.change(new_id(clock), seen, generation, payment.transaction.id)?;
    // Given days cost nothing in the lower plan.
    let covers = lower.moment..lower.period.paid_until.unwrap_or(seen.period_end);
    store::insert(&mut conn, &change, covers, now).await?;
    let subscription = crate::subscriptions::row(&mut conn, seen.id).await?.into();
    let view = AdminPlanChange {
        subscription,
        at: PlanChangeAt::Now,
        lines: lower.lines(from)?,
        charged: Rupiah::ZERO,
        gives_back: lower.give_back,
        transaction_id: Some(payment.transaction.id),
    };
    catalog::exchange_quota(&mut conn, clock, seen.user_id, planned, to).await?;
    let handle = shop.instances.handle.clone();
    Ok(Uncommitted::new(conn, view).and_then(move || handle.wake()))
}

/// Begins the transaction: the wallet and the subscription are locked, and nothing has changed.
async fn locked(
    shop: &Subscriptions,
    seen: &Subscription,
    to: &Offer,
) -> Result<(Conn, LockedWallet)> {
    let mut conn = shop.db.begin().await?;
    let wallet = wallet::lock(&mut conn, seen.user_id).await?;
    if !is_as_seen(&mut conn, seen).await? {
        return Err(changed_meanwhile());
    }
    if store::pending(&mut conn, seen.id).await?.is_some() {
        return Err(changing());
    }
    check_instance_limit(&mut conn, seen.user_id, to).await?;
    Ok((conn, wallet))
}

/// Asks the plugin and the gate for the change, of an active subscription whose period runs.
async fn permitted(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    from: &Plan,
    plan_id: PlanId,
) -> Result<(Offer, Permitted)> {
    let seen = &row.subscription;
    let mut conn = shop.db.read().await?;
    let to = catalog::offer(&mut conn, plan_id).await?;
    let is_changing = store::pending(&mut conn, seen.id).await?.is_some();
    drop(conn);
    proposal::check_change(seen, from, &to)?;
    if plan_id == from.id {
        return Err(Error::invalid("planId", "is the plan that it has"));
    }
    to.plan.same_term(seen.term()?.months)?;
    if is_changing {
        return Err(changing());
    }
    if seen.is_due(shop.clock.now()) && !seen.awaits_delivery() {
        let message = "The period that was paid for is over, and the next one is not charged yet. Try again later.";
        return Err(Error::new(crate::Code::InvalidState, message));
    }
    catalog::check_quota(&shop.db, &shop.clock, seen.user_id, &to).await?;
    let asked = (seen.user_id, Asking::Act);
    let permitted = proposal::permit(shop, seen, (from, &to), asked).await?;
    Ok((to, permitted))
}

async fn price(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    from: &Plan,
    plan_id: PlanId,
) -> Result<Lower> {
    let seen = &row.subscription;
    let (to, permitted) = permitted(shop, row, from, plan_id).await?;
    let term = to.plan.same_term(seen.term()?.months)?;
    let moment = seen.used_until(shop.clock.now());
    let request = contract::PriceRequest {
        settings: permitted.settings.clone(),
        plan: permitted.new.clone(),
        term: term.for_plugins(),
        config: seen.config.0.clone(),
        occasion: Occasion::Renewal,
        moment: moment.timestamp(),
    };
    let asked = pricing::ask(shop, &permitted.plugin, request, seen.user_id, "planId");
    let (mut answer, price_decision) = asked.await?;
    let price = term.reduce(&mut answer.lines, Rupiah::new(answer.total))?;
    let mut conn = shop.db.read().await?;
    let period = subscriptions::period(&mut conn, seen.id, seen.period_number).await?;
    let period = period.ok_or_else(|| Error::internal("a subscription without its period"))?;
    let made = store::of_period(&mut conn, seen.id, period.number).await?;
    let left = payments::left(seen, &period, &made, moment)?;
    let (cost, give_back) = settled(left, price)?;
    Ok(Lower {
        to,
        term,
        permitted,
        price_decision,
        period,
        moment,
        left,
        cost,
        price,
        give_back,
    })
}

/// Returns the price of the rest in the lower plan, rounded up, and the cash that comes back: what is left
/// of all payments less that price, and never more than the cash that is left.
fn settled(left: Left, price: Rupiah) -> Result<(Rupiah, Rupiah)> {
    let used = left.whole.saturating_sub(left.seconds);
    let cost = price.minus(share(price, used, left.whole)?)?;
    let rest = left.total()?.minus(cost)?;
    Ok((cost, rest.max(Rupiah::ZERO).min(left.cash)))
}

impl Lower {
    fn change(
        &self,
        id: crate::ids::PlanChangeId,
        seen: &Subscription,
        generation: i64,
        transaction_id: TransactionId,
    ) -> Result<PlanChange> {
        Ok(PlanChange {
            id,
            subscription_id: seen.id,
            from_plan_id: seen.plan_id,
            from_monthly_price: seen.monthly_price,
            from_term_price: seen.term_price,
            to_plan_id: self.to.plan.id,
            generation,
            period_number: seen.period_number,
            paid_cash: Rupiah::ZERO,
            paid_bonus: Rupiah::ZERO,
            transaction_id,
            kept_cash: Some(self.left.cash.minus(self.give_back)?),
            kept_bonus: Some(self.left.bonus),
            give_back: self.give_back,
            refunded_until: Some(self.period.refunded_cash.plus(self.give_back)?),
            given: Rupiah::ZERO,
        })
    }

    /// They add up to what is given back, as a negative sum.
    fn lines(&self, from: &Plan) -> Result<Vec<PriceLineView>> {
        let Self { left, cost, .. } = self;
        let unused = left.total()?;
        let rest = unused.minus(*cost)?.minus(self.give_back)?;
        let line = |code: &str, label: String, amount: Rupiah, reason: String| PriceLineView {
            code: code.to_owned(),
            label,
            amount,
            reason,
        };
        let time = span(left.seconds);
        let mut lines = vec![
            line(
                "unused-time",
                format!("Unused time of the {} plan", from.tier),
                unused.negated(),
                format!("Paid for the rest of the period, {time}, and not given back."),
            ),
            line(
                "remaining-time",
                format!("Rest of the period in the {} plan", self.to.plan.tier),
                *cost,
                format!("{} for {}; {time} are left.", self.price, span(left.whole)),
            ),
        ];
        if !rest.is_zero() {
            let reason = if rest.is_positive() {
                "Bonus credit does not come back; it counts in a later upgrade."
            } else {
                "The rest of the period stays as it was paid."
            };
            lines.push(line(
                "kept",
                "Not given back".to_owned(),
                rest,
                reason.to_owned(),
            ));
        }
        Ok(lines)
    }
}

/// Notes the change among the customer's transactions; it moves no money.
async fn note(
    shop: &Subscriptions,
    conn: &mut Conn,
    wallet: &mut LockedWallet,
    row: &SubscriptionRow,
    lower: &Lower,
) -> Result<Payment> {
    let plan = &lower.to.plan;
    let details: Value = json!({
        "from": row.plan_slug,
        "to": plan.slug,
        "givesBack": lower.give_back,
    });
    let new = NewTransaction {
        user_id: wallet.user_id,
        kind: TransactionType::Downgrade,
        description: format!(
            "{} {}, lowered from {}",
            row.service_name, plan.name, row.plan_name
        ),
        details,
        subscription_id: Some(row.subscription.id),
        coupon_id: None,
        price_decision_id: Some(lower.price_decision.id),
        coupon_decision_id: None,
    };
    let key = format!("downgrade:{}", lower.price_decision.id);
    let nothing = Rupiah::ZERO;
    wallet::pay(conn, &shop.clock, wallet, nothing, nothing, &key, new).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The difference for the rest comes back, and never more than the cash that is left.
    #[test]
    fn no_more_than_the_cash_of_the_rest_comes_back() {
        for (seconds, cash, bonus, price, cost, back) in [
            // Half of a period of 100 is left.
            (50, 50_000, 0, 40_000, 20_000, 30_000),
            (50, 30_000, 20_000, 40_000, 20_000, 30_000),
            (50, 10_000, 40_000, 40_000, 20_000, 10_000),
            (50, 0, 50_000, 40_000, 20_000, 0),
            // The lower plan costs more than what is left of a cheap one.
            (50, 5_000, 0, 40_000, 20_000, 0),
            // The price is rounded up, so that the cash is rounded down.
            (33, 33_333, 0, 10_001, 3_301, 30_032),
            (0, 0, 0, 40_000, 0, 0),
            (100, 100_000, 0, 40_000, 40_000, 60_000),
        ] {
            let left = Left {
                whole: 100,
                seconds,
                cash: Rupiah::new(cash),
                bonus: Rupiah::new(bonus),
            };
            let expected = (Rupiah::new(cost), Rupiah::new(back));
            assert_eq!(settled(left, Rupiah::new(price)).unwrap(), expected);
        }
    }
}
