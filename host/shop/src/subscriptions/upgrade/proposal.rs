//! Decides whether a change of plan is allowed and what it costs.

use chrono::{DateTime, Utc};
use dermaga_runtime::{
    Plugin,
    contract::{self, Occasion, PlanChangeAnswer, PlanChangeRequest, PriceLine, RunningPeriod},
};

use super::{
    changed_meanwhile, changing,
    credit::{Paid, Running, Settled},
    payments::{Given, period_of, running},
    span::span,
    store,
};
use crate::{
    Code, Error, Result,
    catalog::{self, Offer, Plan, SoldTerm, Tier},
    cluster::Load,
    db::Conn,
    ids::{PlanId, SubscriptionId, UserId},
    money::Rupiah,
    plugins::{self, Asking, Decision},
    provisioning,
    subscriptions::{
        PriceLineView, Subscriptions, delivery, freezing,
        model::{PeriodRow, Subscription, SubscriptionRow, SubscriptionStatus},
        pricing, renewal,
        rounding::Rounding,
        store as subscriptions,
    },
};

/// An upgrade with its price decided, nothing booked yet.
pub(super) struct Proposal {
    pub(super) current: Subscription,
    pub(super) from: Plan,
    pub(super) to: Offer,
    /// Its term in the new plan.
    pub(super) term: SoldTerm,
    pub(super) lines: Vec<PriceLine>,
    pub(super) due: Rupiah,
    /// Part of it for days that were given.
    pub(super) given: Rupiah,
    pub(super) rounding: Rounding,
    /// Price of the next month, which is charged first because the running period is over.
    pub(super) renewal: Option<Rupiah>,
    /// Moment of pricing: the time that it pays for begins here, or with the delivery that it waits for.
    pub(super) moment: DateTime<Utc>,
    pub(super) decisions: [Decision; 2],
    /// Requests of the pods in the new plan.
    pub(super) pods: Vec<Load>,
    /// The period as it was priced by.
    period: Option<PeriodRow>,
}

impl Proposal {
    pub(super) fn lines(&self) -> Vec<PriceLineView> {
        let lines = self.lines.iter().cloned();
        lines.map(PriceLineView::from).collect()
    }

    /// The lines, less a gift; they add up to what is charged.
    pub(super) fn explained(&self, gift: Rupiah) -> Vec<PriceLineView> {
        let mut lines = self.lines();
        if gift.is_positive() {
            lines.push(PriceLineView::of_gift(gift));
        }
        lines
    }

    pub(super) const fn price_decision(&self) -> &Decision {
        let [_, price] = &self.decisions;
        price
    }

    /// Returns the cash of the period that was given back before the change.
    pub(super) fn refunded(&self) -> Option<Rupiah> {
        self.period.as_ref().map(|period| period.refunded_cash)
    }

    /// Looks again, in the caller's transaction, after [`crate::wallet::lock`]: the subscription is as it was
    /// priced, its period ends when it did, and nothing was paid for the period or given back since.
    pub(super) async fn still_holds(&self, conn: &mut Conn) -> Result<bool> {
        let Some(seen) = &self.period else {
            return Ok(false);
        };
        if !renewal::is_as_seen(conn, &self.current).await? {
            return Ok(false);
        }
        let now = subscriptions::period(conn, self.current.id, seen.number).await?;
        Ok(now.is_some_and(|now| now.sums() == seen.sums()))
    }
}

/// Facts that a change is priced by.
struct Basis {
    current: Subscription,
    running: Running,
    renewal: Option<Rupiah>,
    period: Option<PeriodRow>,
}

impl Basis {
    /// Returns the running period, in the plan that it was paid for, as the plugin sees it.
    fn occasion(&self, plan: contract::Plan) -> Result<Occasion> {
        Ok(Occasion::Upgrade(RunningPeriod {
            plan,
            paid: self.running.as_one_payment()?.get(),
            period: self.running.period,
        }))
    }
}

/// Price of a change, with the days that were given.
struct Priced {
    lines: Vec<PriceLine>,
    due: Rupiah,
    /// Part of it for days that were given.
    given: Rupiah,
    rounding: Rounding,
    decision: Decision,
}

/// A change between plans of one service, from a subscription that may be changed.
struct Change {
    row: SubscriptionRow,
    from: Plan,
    to: Offer,
    /// Its term in the new plan.
    term: SoldTerm,
}

/// Reads a change that is wanted.
///
/// # Errors
/// The refusals of the subscription's state and of the two plans.
async fn change(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
    plan_id: PlanId,
) -> Result<Change> {
    let mut conn = shop.db.read().await?;
    let mut row = crate::subscriptions::owned(&mut conn, user_id, id).await?;
    if row.subscription.awaits_delivery() {
        drop(conn);
        // It may be there by now, and its time runs.
        delivery::note_deliveries(shop).await?;
        conn = shop.db.read().await?;
        row = crate::subscriptions::owned(&mut conn, user_id, id).await?;
    }
    let current = &row.subscription;
    let from = catalog::plan(&mut conn, current.plan_id).await?;
    let to = catalog::offer(&mut conn, plan_id).await?;
    check_direction(current, &from, &to)?;
    let term = to.plan.same_term(current.term()?.months)?;
    if store::pending(&mut conn, id).await?.is_some() {
        return Err(changing());
    }
    Ok(Change {
        row,
        from,
        to,
        term,
    })
}

/// Decides whether the change is allowed and what it costs. Writes nothing but refusals and, when
/// the change is to be made and the period is over, the renewal.
pub(super) async fn propose(
    shop: &Subscriptions,
    (user_id, asking): (UserId, Asking),
    id: SubscriptionId,
    plan_id: PlanId,
) -> Result<Proposal> {
    let Change {
        row,
        from,
        to,
        term,
    } = change(shop, user_id, id, plan_id).await?;
    let permitted = permit(shop, &row.subscription, (&from, &to), (user_id, asking)).await?;
    let config = row.subscription.config.0.clone();
    let basis = basis(shop, row, from.tier, asking).await?;
    let moment = basis.current.used_until(shop.clock.now());
    let request = contract::PriceRequest {
        settings: permitted.settings,
        plan: permitted.new,
        term: term.for_plugins(),
        config,
        occasion: basis.occasion(permitted.old)?,
        moment: moment.timestamp(),
    };
    let asked = (&permitted.plugin, request);
    let Priced {
        lines,
        due,
        given,
        rounding,
        decision: price,
    } = price(shop, (&basis, moment), asked, (term, to.plan.tier)).await?;
    Ok(Proposal {
        current: basis.current,
        from,
        to,
        term,
        lines,
        due,
        given,
        rounding,
        renewal: basis.renewal,
        moment,
        decisions: [permitted.decision, price],
        pods: permitted.pods,
        period: basis.period,
    })
}

/// Asks the plugin for the price at a moment, and adds that of the days that were given.
async fn price(
    shop: &Subscriptions,
    (basis, moment): (&Basis, DateTime<Utc>),
    (plugin, request): (&Plugin, contract::PriceRequest),
    (term, tier): (SoldTerm, Tier),
) -> Result<Priced> {
    let user_id = basis.current.user_id;
    let (answer, decision) = pricing::ask(shop, plugin, request, user_id, "planId").await?;
    let Settled {
        mut lines,
        mut due,
        rounding,
    } = basis.running.settle(answer, term, moment.timestamp())?;
    let mut given = Rupiah::ZERO;
    if let Some(line) = for_given_days(basis, moment, term, tier)? {
        given = Rupiah::new(line.amount);
        due = due.plus(given)?;
        lines.push(line);
    }
    Ok(Priced {
        lines,
        due,
        given,
        rounding,
        decision,
    })
}

/// A change of plan that the service's plugin allows, and whose objects pass the gate.
pub(super) struct Permitted {
    pub(super) plugin: Plugin,
    pub(super) settings: contract::Settings,
    /// The plan at the price it was bought at.
    pub(super) old: contract::Plan,
    pub(super) new: contract::Plan,
    pub(super) decision: Decision,
    /// Requests of the pods in the new plan.
    pub(super) pods: Vec<Load>,
}

/// Asks the plugin that the instance is pinned to, and the gate, for a change of plan.
///
/// # Errors
/// The refusals of both.
pub(super) async fn permit(
    shop: &Subscriptions,
    current: &Subscription,
    (from, to): (&Plan, &Offer),
    (user_id, asking): (UserId, Asking),
) -> Result<Permitted> {
    let pinned = provisioning::pinned(&mut shop.db.read().await?, current.id).await?;
    let plugin = shop.plugins.version(&pinned.plugin_digest).await?;
    let old = from.for_plugins_at(current.monthly_price)?;
    let new = to.plan.for_plugins()?;
    let config = current.config.0.clone();
    let settings = pinned.settings.0;
    let mut asked = new.clone();
    if to.plan.tier < from.tier {
        // The instance keeps its volumes in a lower plan.
        let kept = old.resources.storage_gib;
        asked.resources.storage_gib = asked.resources.storage_gib.max(kept);
    }
    let change = PlanChangeRequest {
        settings: settings.clone(),
        from: old.clone(),
        to: asked.clone(),
        config: config.clone(),
    };
    let decision = ask_plan_change(shop, &plugin, change, (user_id, asking)).await?;
    let check = contract::ConfigCheck {
        settings: settings.clone(),
        plan: asked,
        config,
    };
    pricing::check_config(shop, &plugin, (check, &to.service), user_id).await?;
    let pods = provisioning::rehearse_change(&shop.instances, current.id, to, asking).await?;
    Ok(Permitted {
        plugin,
        settings,
        old,
        new,
        decision,
        pods,
    })
}

/// The period that the change interrupts. One that is over is renewed first; a quote looks ahead at
/// it.
async fn basis(
    shop: &Subscriptions,
    mut row: SubscriptionRow,
    tier: Tier,
    asking: Asking,
) -> Result<Basis> {
    let seen = &row.subscription;
    if seen.is_overdue(shop.clock.now()) && !seen.awaits_delivery() {
        if asking == Asking::Preview {
            return ahead(shop, row, tier).await;
        }
        renewal::renew_first(shop, row.subscription.id).await?;
        row = again(shop, &row).await?;
    }
    let current = row.subscription;
    let mut conn = shop.db.read().await?;
    let period = subscriptions::period(&mut conn, current.id, current.period_number).await?;
    let period = period.ok_or_else(|| Error::internal("a subscription without its period"))?;
    let made = store::of_period(&mut conn, current.id, period.number).await?;
    let running = running(&current, &period, &made, tier)?;
    Ok(Basis {
        current,
        running,
        renewal: None,
        period: Some(period),
    })
}

/// Returns the price of the days that were given, in the plan it goes to.
fn for_given_days(
    basis: &Basis,
    moment: DateTime<Utc>,
    term: SoldTerm,
    tier: Tier,
) -> Result<Option<PriceLine>> {
    let current = &basis.current;
    let given = basis.period.as_ref();
    let Some(given) = given.and_then(|period| Given::left(current, period, moment)) else {
        return Ok(None);
    };
    let (from, to) = (current.term()?.plan_price()?, term.plan_price()?);
    Ok(Some(PriceLine {
        code: "given-time".to_owned(),
        label: format!("Given days in the {tier} plan"),
        amount: given.price(from, to)?.get(),
        reason: format!(
            "The plan costs {to} for {}, the present one {from}; {} were given. The difference is paid.",
            span(given.whole),
            span(given.seconds)
        ),
    }))
}

/// The subscription after its renewal.
async fn again(shop: &Subscriptions, seen: &SubscriptionRow) -> Result<SubscriptionRow> {
    let before = &seen.subscription;
    let mut conn = shop.db.read().await?;
    let row = crate::subscriptions::owned(&mut conn, before.user_id, before.id).await?;
    let now = &row.subscription;
    let is_same = now.status == SubscriptionStatus::Active && now.plan_id == before.plan_id;
    if is_same {
        Ok(row)
    } else {
        Err(changed_meanwhile())
    }
}

async fn ahead(shop: &Subscriptions, row: SubscriptionRow, tier: Tier) -> Result<Basis> {
    let next = renewal::ahead(shop, &row).await?;
    let current = Subscription {
        period_start: next.starts_at,
        period_end: next.ends_at,
        ..row.subscription
    };
    let paid = vec![Paid {
        tier,
        amount: next.due,
        refunded: Rupiah::ZERO,
        from: next.starts_at.timestamp(),
        until: next.ends_at.timestamp(),
    }];
    let running = Running {
        period: period_of(&current),
        paid,
    };
    Ok(Basis {
        current,
        running,
        renewal: Some(next.due),
        period: None,
    })
}

fn check_direction(current: &Subscription, from: &Plan, to: &Offer) -> Result<()> {
    check_change(current, from, to)?;
    if to.plan.tier <= from.tier {
        let message = format!(
            "must be a higher plan than {}: subscriptions are only upgraded",
            from.name
        );
        return Err(Error::invalid("planId", message));
    }
    Ok(())
}

/// Refuses a change of what is not active, and a plan of another service.
pub(super) fn check_change(current: &Subscription, from: &Plan, to: &Offer) -> Result<()> {
    let unchangeable = || {
        let message = format!(
            "This subscription is {} and its plan cannot be changed.",
            current.status
        );
        Error::new(Code::InvalidState, message)
    };
    if !current.status.is_live() {
        // It may have ended while it was frozen.
        return Err(unchangeable());
    }
    freezing::check_unfrozen(current)?;
    if current.status != SubscriptionStatus::Active {
        return Err(unchangeable());
    }
    if to.plan.service_id != from.service_id {
        return Err(Error::invalid(
            "planId",
            "must be a plan of the same service",
        ));
    }
    Ok(())
}

async fn ask_plan_change(
    shop: &Subscriptions,
    plugin: &Plugin,
    request: PlanChangeRequest,
    (user_id, asking): (UserId, Asking),
) -> Result<Decision> {
    let decided = plugins::decide::<contract::service::PlanChange>(
        &shop.plugins,
        plugin,
        request,
        user_id.into(),
    )
    .await?;
    match decided.value {
        PlanChangeAnswer::Allowed => Ok(decided.decision),
        PlanChangeAnswer::Denied(why) => {
            let error = Error::new(Code::PluginRefusedInput, why);
            let error = error.with("planId", "cannot be moved to");
            Err(plugins::refuse(&shop.plugins, &decided.decision, asking, error).await)
        }
    }
}
