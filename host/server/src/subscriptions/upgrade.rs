//! A higher plan in the middle of a period: priced by the service's plugin, charged at once, and
//! undone to the last rupiah when the instance cannot be made so.
//!
//! While a change is under way the subscription holds a place in both plans, so that undoing it
//! always can.

mod ending;

use dermaga_runtime::{
    Plugin,
    contract::{
        self, Answer, Occasion, PlanChangeAnswer, PlanChangeRequest, PriceLine, RunningPeriod, Term,
    },
};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

pub(super) use ending::{abandon, settle_all};

use super::{
    PriceLineView, SubscriptionView,
    model::{PeriodRow, Subscription, SubscriptionRow, SubscriptionStatus},
    plan_changes::{self, PlanChange},
    pricing, store,
};
use crate::{
    Code, Error, Result,
    app::AppState,
    catalog::{self, Offer, Plan},
    db::{Conn, Uncommitted, new_id},
    money::Rupiah,
    plugins::{self, Asking, Decision},
    provisioning, schema,
    wallet::{self, NewTransaction, Payment, TransactionType, WalletRow},
};

/// What an upgrade costs now. The price falls with every second of the period that passes.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeQuote {
    pub plan_id: Uuid,
    pub plan: String,
    /// They add up to `due`.
    pub lines: Vec<PriceLineView>,
    /// What will be charged; give it as `maxCharge` to be charged no more.
    pub due: Rupiah,
    pub balance: Rupiah,
    /// The wallet holds enough.
    pub affordable: bool,
}

/// What an upgrade changed, with ids to follow.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeView {
    pub subscription: SubscriptionView,
    /// `TXMP-101`
    pub transaction: String,
    pub transaction_id: Uuid,
    pub lines: Vec<PriceLineView>,
    pub charged: Rupiah,
    pub paid_cash: Rupiah,
    pub paid_bonus: Rupiah,
    pub price_decision_id: Uuid,
}

/// An upgrade with its price decided, nothing booked yet.
struct Proposal {
    current: Subscription,
    from: Plan,
    to: Offer,
    lines: Vec<PriceLine>,
    due: Rupiah,
    decisions: [Decision; 2],
}

impl Proposal {
    fn lines(&self) -> Vec<PriceLineView> {
        self.lines
            .iter()
            .cloned()
            .map(PriceLineView::from)
            .collect()
    }

    const fn price_decision(&self) -> &Decision {
        let [_, price] = &self.decisions;
        price
    }
}

/// What an upgrade would cost now.
///
/// # Errors
/// Every refusal of [`upgrade`] but those of quota and credit.
pub(super) async fn quote(
    state: &AppState,
    user_id: Uuid,
    id: Uuid,
    plan_id: Uuid,
) -> Result<UpgradeQuote> {
    let proposal = propose(state, (user_id, Asking::Preview), id, plan_id).await?;
    let balance = wallet::balance(&mut state.db.read().await?, user_id)
        .await?
        .total()?;
    Ok(UpgradeQuote {
        plan_id,
        plan: proposal.to.plan.slug.clone(),
        lines: proposal.lines(),
        due: proposal.due,
        balance,
        affordable: balance >= proposal.due,
    })
}

/// Moves a subscription to a higher plan of its service: quota, money, period, subscription and
/// instance together, or none.
///
/// # Errors
/// `VALIDATION_FAILED` when the plan is not a higher one of the same service, `INVALID_STATE` when
/// the subscription is not active or another change is under way, `QUOTE_CHANGED` when it costs
/// more than `max_charge`, and every refusal of plan, plugin, quota, limit and credit.
pub async fn upgrade(
    state: &AppState,
    user_id: Uuid,
    id: Uuid,
    plan_id: Uuid,
    max_charge: Option<Rupiah>,
) -> Result<Uncommitted<UpgradeView>> {
    let proposal = propose(state, (user_id, Asking::Act), id, plan_id).await?;
    if let Some(most) = max_charge
        && proposal.due > most
    {
        let message = format!(
            "The upgrade costs {} now, more than the {most} you agreed to.",
            proposal.due
        );
        return Err(Error::new(Code::QuoteChanged, message));
    }
    catalog::check_quota(&proposal.to)?;
    let (clock, provisioning) = (&state.clock, state.provisioning.clone());
    let mut conn = state.db.begin().await?;
    let mut wallet = wallet::lock(&mut conn, user_id).await?;
    check_instance_limit(&mut conn, user_id, &proposal.to).await?;
    for decision in &proposal.decisions {
        decision.record(&mut conn).await?;
    }
    let payment = pay(state, &mut conn, &mut wallet, &proposal).await?;
    let now = clock.now();
    let current = &proposal.current;
    if !store::change_plan(&mut conn, current, &proposal.to.plan, now).await? {
        return Err(changed_meanwhile());
    }
    store::add_to_period(
        &mut conn,
        current,
        proposal.due,
        payment.cash,
        payment.bonus,
    )
    .await?;
    let message = format!("Being moved to the plan {}.", proposal.to.plan.name);
    let generation = provisioning::change_plan(&mut conn, clock, id, plan_id, &message).await?;
    let change = PlanChange {
        id: new_id(clock),
        subscription_id: id,
        from_plan_id: current.plan_id,
        from_monthly_price: current.monthly_price,
        to_plan_id: plan_id,
        generation,
        period_number: current.period_number,
        paid_cash: payment.cash,
        paid_bonus: payment.bonus,
        transaction_id: payment.transaction.id,
    };
    plan_changes::insert(&mut conn, &change, now).await?;
    let row = store::owned(&mut conn, user_id, id).await?;
    let row = row.ok_or_else(|| Error::not_found("subscription"))?;
    let view = UpgradeView {
        subscription: row.into(),
        transaction: payment.transaction.reference(),
        transaction_id: payment.transaction.id,
        lines: proposal.lines(),
        charged: proposal.due,
        paid_cash: payment.cash,
        paid_bonus: payment.bonus,
        price_decision_id: proposal.price_decision().id,
    };
    // At the end, since everybody who buys this plan wants the same row.
    catalog::take_quota(&mut conn, clock, &proposal.to).await?;
    Ok(Uncommitted::new(conn, view).and_then(move || provisioning.wake()))
}

/// Decides whether the change is allowed and what it costs. Writes nothing but refusals.
async fn propose(
    state: &AppState,
    (user_id, asking): (Uuid, Asking),
    id: Uuid,
    plan_id: Uuid,
) -> Result<Proposal> {
    let mut conn = state.db.read().await?;
    let row = store::owned(&mut conn, user_id, id).await?;
    let SubscriptionRow {
        subscription: current,
        ..
    } = row.ok_or_else(|| Error::not_found("subscription"))?;
    let from = catalog::plan(&mut conn, current.plan_id).await?;
    let to = catalog::offer(&mut conn, plan_id).await?;
    check_direction(&current, &from, &to)?;
    if plan_changes::pending(&mut conn, id).await?.is_some() {
        return Err(changing());
    }
    let running = store::period(&mut conn, id, current.period_number).await?;
    let running = running.ok_or_else(|| Error::internal("a subscription without its period"))?;
    let pinned = provisioning::pinned(&mut conn, id).await?;
    drop(conn);

    let plugin = state.plugins.version(&pinned.plugin_digest).await?;
    let old = from.for_plugins_at(current.monthly_price)?;
    let new = to.plan.for_plugins()?;
    let change = PlanChangeRequest {
        settings: pinned.settings.0.clone(),
        from: old.clone(),
        to: new.clone(),
        config: current.config.0.clone(),
    };
    let allowed = ask_plan_change(state, &plugin, change, (user_id, asking)).await?;
    let check = contract::ConfigCheck {
        settings: pinned.settings.0.clone(),
        plan: new.clone(),
        config: current.config.0.clone(),
    };
    pricing::check_config(state, &plugin, check, user_id).await?;
    let request = contract::PriceRequest {
        settings: pinned.settings.0,
        plan: new,
        term: Term { months: 1 },
        config: current.config.0.clone(),
        occasion: Occasion::Upgrade(RunningPeriod {
            plan: old,
            paid: paid(&running)?.get(),
            period: contract::Period {
                start: current.period_start.timestamp(),
                end: current.period_end.timestamp(),
            },
        }),
        moment: state.clock.now().timestamp(),
    };
    let decided = plugins::decide::<contract::service::Price>(
        &state.plugins,
        &plugin,
        request,
        user_id.into(),
    )
    .await?;
    let answer = match decided.value {
        Answer::Ok(answer) => answer,
        Answer::Problems(problems) => return Err(schema::refused(problems, "planId")),
    };
    Ok(Proposal {
        current,
        from,
        to,
        due: Rupiah::new(answer.total),
        lines: answer.lines,
        decisions: [allowed, decided.decision],
    })
}

/// What a period still holds: paid, and not given back.
fn paid(period: &PeriodRow) -> Result<Rupiah> {
    let kept = period.paid_cash.minus(period.refunded_cash)?;
    Ok(kept.plus(period.paid_bonus)?)
}

fn check_direction(current: &Subscription, from: &Plan, to: &Offer) -> Result<()> {
    if current.status != SubscriptionStatus::Active {
        let message = format!(
            "This subscription is {} and cannot be upgraded.",
            current.status
        );
        return Err(Error::new(Code::InvalidState, message));
    }
    if to.plan.service_id != from.service_id {
        return Err(Error::invalid(
            "planId",
            "must be a plan of the same service",
        ));
    }
    if to.plan.tier <= from.tier {
        let message = format!(
            "must be a higher plan than {}: subscriptions are only upgraded",
            from.name
        );
        return Err(Error::invalid("planId", message));
    }
    Ok(())
}

async fn ask_plan_change(
    state: &AppState,
    plugin: &Plugin,
    request: PlanChangeRequest,
    (user_id, asking): (Uuid, Asking),
) -> Result<Decision> {
    let decided = plugins::decide::<contract::service::PlanChange>(
        &state.plugins,
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
            Err(plugins::refuse(&state.plugins, &decided.decision, asking, error).await)
        }
    }
}

/// Counting is safe because the customer's wallet is locked while it matters.
async fn check_instance_limit(conn: &mut Conn, user_id: Uuid, to: &Offer) -> Result<()> {
    let live = store::live_of_plan(conn, user_id, to.plan.id).await?;
    if live < to.plan.max_instances_per_user {
        return Ok(());
    }
    Err(super::checkout::limit_reached(to))
}

async fn pay(
    state: &AppState,
    conn: &mut Conn,
    wallet: &mut WalletRow,
    proposal: &Proposal,
) -> Result<Payment> {
    let Proposal {
        current, from, to, ..
    } = proposal;
    let new = NewTransaction {
        user_id: wallet.user_id,
        kind: TransactionType::Upgrade,
        description: format!(
            "{} {}, from {}, for the rest of the period",
            to.service.name, to.plan.name, from.name
        ),
        details: json!({ "lines": proposal.lines(), "from": from.slug, "to": to.plan.slug }),
        subscription_id: Some(current.id),
        coupon_id: None,
        price_decision_id: Some(proposal.price_decision().id),
        coupon_decision_id: None,
    };
    let key = format!("upgrade:{}", proposal.price_decision().id);
    let (clock, due) = (&state.clock, proposal.due);
    wallet::pay(conn, clock, wallet, due, Rupiah::ZERO, &key, new).await
}

fn changed_meanwhile() -> Error {
    let message = "The subscription changed at the same moment. Look at it and try again.";
    Error::new(Code::Conflict, message)
}

pub(super) fn changing() -> Error {
    let message = "A change of plan is under way. Wait until it is done.";
    Error::new(Code::InvalidState, message)
}
