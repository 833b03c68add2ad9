//! A higher plan in the middle of a period: priced by the service's plugin, charged at once, and
//! undone to the last rupiah when the instance cannot be made so.
//!
//! While a change is under way the subscription holds a place in both plans, so that undoing it
//! always can.

mod by_administrator;
mod credit;
mod payments;
mod proposal;
mod schedule;
mod settlement;
mod span;
mod store;

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

pub use by_administrator::{AdminPlanChange, PlanChangeAt, WantedPlan, change_plan};
pub(super) use payments::unused_cash;
pub(super) use schedule::{Beginning, begin};
pub(crate) use settlement::{abandon, settle_all};
pub(super) use store::pending;

use self::{
    proposal::{Proposal, propose},
    store::PlanChange,
};
use super::{PriceLineView, SubscriptionView, Subscriptions, store as subscriptions};
use crate::{
    Code, Error, Result, calendar,
    catalog::{self, Offer},
    db::{Conn, Uncommitted, new_id},
    ids::{DecisionId, PlanChangeId, PlanId, SubscriptionId, TransactionId, UserId},
    money::Rupiah,
    owners,
    plugins::Asking,
    provisioning,
    wallet::{self, LockedWallet, NewTransaction, Payment, TransactionNumber, TransactionType},
};

/// Price of an upgrade now. It falls with every second of the period that passes.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeQuote {
    pub plan_id: PlanId,
    pub plan: String,
    /// They add up to `due`.
    #[serde(serialize_with = "crate::subscriptions::lines_in_words")]
    pub lines: Vec<PriceLineView>,
    /// Amount that will be charged; send it as `maxCharge` to be charged no more.
    pub due: Rupiah,
    /// Price of the next month in the present plan, when the period is over: it is charged first,
    /// and `due` is for that month. Absent otherwise.
    pub renewal: Option<Rupiah>,
    /// Whole calendar days that are left of the period; the lines count to the second.
    pub days_left: u32,
    /// Says how amounts become whole rupiah.
    #[serde(serialize_with = "crate::language::in_words")]
    pub rounding: &'static str,
    pub balance: Rupiah,
    /// The wallet holds enough for both.
    pub affordable: bool,
}

/// Result of an upgrade, with ids to follow.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeView {
    pub subscription: SubscriptionView,
    /// `TXMP-101`
    #[schema(value_type = String)]
    pub transaction: TransactionNumber,
    pub transaction_id: TransactionId,
    #[serde(serialize_with = "crate::subscriptions::lines_in_words")]
    pub lines: Vec<PriceLineView>,
    pub charged: Rupiah,
    pub paid_cash: Rupiah,
    pub paid_bonus: Rupiah,
    pub price_decision_id: DecisionId,
}

/// Charge that is agreed to for an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charging {
    /// Its price, but no more than this.
    AtMost(Option<Rupiah>),
    /// Nothing: it is a gift of the shop until the period ends.
    Nothing,
}

/// Returns the price of an upgrade now.
///
/// # Errors
/// Every refusal of [`upgrade`] but those of quota, room and credit.
pub async fn quote(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
    plan_id: PlanId,
) -> Result<UpgradeQuote> {
    let proposal = propose(shop, (user_id, Asking::Preview), id, plan_id).await?;
    let balance = wallet::balance(&mut shop.db.read().await?, user_id)
        .await?
        .total()?;
    let first = proposal.renewal.unwrap_or(Rupiah::ZERO);
    Ok(UpgradeQuote {
        plan_id,
        plan: proposal.to.plan.slug.clone(),
        lines: proposal.lines(),
        due: proposal.due,
        renewal: proposal.renewal,
        days_left: calendar::days_between(
            shop.clock.zone(),
            proposal.moment,
            proposal.current.period_end,
        ),
        rounding: proposal.rounding.in_words(),
        balance,
        affordable: balance >= proposal.due.plus(first)?,
    })
}

/// Moves a subscription to a higher plan for its customer, as `carry_out` does.
///
/// # Errors
/// As `carry_out`; `UNAUTHENTICATED` when the account was disabled meanwhile.
pub async fn upgrade(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
    plan_id: PlanId,
    charging: Charging,
) -> Result<Uncommitted<UpgradeView>> {
    let upgrading = carry_out(shop, user_id, id, plan_id, charging);
    let (mut done, view) = Box::pin(upgrading).await?.take();
    owners::check_active(done.conn(), user_id).await?;
    Ok(done.map(|()| view))
}

/// Moves a subscription to a higher plan of its service: quota, money, period, subscription and
/// instance together, or none. A period that is over is renewed first, in a transaction of its own.
///
/// # Errors
/// `VALIDATION_FAILED` when the plan is not a higher one of the same service, `INVALID_STATE` when
/// the subscription is not active or another change is under way, `QUOTE_CHANGED` when it costs
/// more than was agreed to, and every refusal of plan, plugin, quota, room, limit and credit.
async fn carry_out(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
    plan_id: PlanId,
    charging: Charging,
) -> Result<Uncommitted<UpgradeView>> {
    let proposal = propose(shop, (user_id, Asking::Act), id, plan_id).await?;
    let gift = gift(&proposal, charging)?;
    catalog::check_quota(&shop.db, &shop.clock, user_id, &proposal.to).await?;
    check_room(&mut shop.db.read().await?, shop, (user_id, id), &proposal).await?;
    let (clock, provisioning) = (&shop.clock, shop.instances.handle.clone());
    let mut conn = shop.db.begin().await?;
    let mut wallet = wallet::lock(&mut conn, user_id).await?;
    if !proposal.still_holds(&mut conn).await? {
        return Err(changed_meanwhile());
    }
    check_instance_limit(&mut conn, user_id, &proposal.to).await?;
    for decision in &proposal.decisions {
        decision.record(&mut conn).await?;
    }
    let planned = schedule::take_back(&mut conn, clock, id).await?;
    let charged = proposal.due.minus(gift)?;
    let payment = pay(shop, &mut conn, &mut wallet, (&proposal, gift)).await?;
    let now = clock.now();
    let current = &proposal.current;
    let to = (&proposal.to.plan, proposal.term);
    if !subscriptions::change_plan(&mut conn, current, to, now).await? {
        return Err(changed_meanwhile());
    }
    subscriptions::add_to_period(&mut conn, current, charged, payment.cash, payment.bonus).await?;
    let message = format!("Being moved to the plan {}.", proposal.to.plan.name);
    let generation = provisioning::change_plan(&mut conn, clock, id, plan_id, &message).await?;
    let change = change(new_id(clock), &proposal, generation, &payment);
    let covers = proposal.moment..current.period_end;
    store::insert(&mut conn, &change, covers, now).await?;
    let row = super::owned(&mut conn, user_id, id).await?;
    let view = UpgradeView {
        subscription: row.into(),
        transaction: payment.transaction.number,
        transaction_id: payment.transaction.id,
        lines: proposal.explained(gift),
        charged,
        paid_cash: payment.cash,
        paid_bonus: payment.bonus,
        price_decision_id: proposal.price_decision().id,
    };
    // At the end, since everybody who buys this plan wants the same row.
    catalog::exchange_quota(&mut conn, clock, user_id, planned, &proposal.to).await?;
    check_room(&mut conn, shop, (user_id, id), &proposal).await?;
    Ok(Uncommitted::new(conn, view).and_then(move || provisioning.wake()))
}

/// Returns the part of the price that is not charged.
fn gift(proposal: &Proposal, charging: Charging) -> Result<Rupiah> {
    match charging {
        Charging::Nothing => Ok(proposal.due),
        Charging::AtMost(Some(most)) if proposal.due > most => {
            let message = format!(
                "The upgrade costs {} now, more than the {most} you agreed to.",
                proposal.due
            );
            Err(Error::new(Code::QuoteChanged, message))
        }
        Charging::AtMost(_) => Ok(Rupiah::ZERO),
    }
}

fn change(id: PlanChangeId, proposal: &Proposal, generation: i64, payment: &Payment) -> PlanChange {
    let current = &proposal.current;
    PlanChange {
        id,
        subscription_id: current.id,
        from_plan_id: current.plan_id,
        from_monthly_price: current.monthly_price,
        from_term_price: current.term_price,
        to_plan_id: proposal.to.plan.id,
        generation,
        period_number: current.period_number,
        paid_cash: payment.cash,
        paid_bonus: payment.bonus,
        transaction_id: payment.transaction.id,
        kept_cash: None,
        kept_bonus: None,
        give_back: Rupiah::ZERO,
        refunded_until: proposal.refunded(),
        given: proposal.given,
    }
}

/// Refuses a plan that the cluster has no room for in the place of the present one.
async fn check_room(
    conn: &mut Conn,
    shop: &Subscriptions,
    (user_id, id): (UserId, SubscriptionId),
    proposal: &Proposal,
) -> Result<()> {
    let whose = (user_id, Some(id));
    let Proposal { to, pods, .. } = proposal;
    provisioning::check_room(conn, &shop.instances, to, whose, pods).await
}

/// Counting is safe because the customer's wallet is locked while it matters.
async fn check_instance_limit(conn: &mut Conn, user_id: UserId, to: &Offer) -> Result<()> {
    let live = subscriptions::live_of_plan(conn, user_id, to.plan.id).await?;
    if live < to.plan.max_instances_per_user {
        return Ok(());
    }
    Err(catalog::limit_reached(to))
}

async fn pay(
    shop: &Subscriptions,
    conn: &mut Conn,
    wallet: &mut LockedWallet,
    (proposal, gift): (&Proposal, Rupiah),
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
        details: json!({ "lines": proposal.explained(gift), "from": from.slug, "to": to.plan.slug }),
        subscription_id: Some(current.id),
        coupon_id: None,
        price_decision_id: Some(proposal.price_decision().id),
        coupon_decision_id: None,
    };
    let key = format!("upgrade:{}", proposal.price_decision().id);
    let (clock, due) = (&shop.clock, proposal.due);
    wallet::pay(conn, clock, wallet, due, gift, &key, new).await
}

fn changed_meanwhile() -> Error {
    let message = "The subscription was changed by another request. Check it and try again.";
    Error::new(Code::Conflict, message).retry_after(1)
}

pub(super) fn changing() -> Error {
    let message = "A change of plan is under way. Wait until it is done.";
    Error::new(Code::InvalidState, message).retry_after(5)
}
