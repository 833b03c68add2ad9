//! End of a plan change: applied when the instance is made so, undone to the last rupiah when it
//! cannot be.

use chrono::TimeDelta;
use serde_json::json;

use super::{
    payments, schedule,
    store::{self, PlanChange, Progress},
};
use crate::{
    Result, catalog,
    db::Conn,
    ids::{PlanId, SubscriptionId},
    money::Rupiah,
    payments::debts,
    provisioning,
    subscriptions::{Subscription, Subscriptions, refund, store as subscriptions},
    wallet::{self, LockedWallet, NewTransaction, TransactionType},
};

/// Reason of an owner's stop that lasted until the period was over.
const NEVER_RAN: &str = "It was stopped, and never ran in the larger plan before its period ended.";
/// Reason of a change that could not be made until the period was over.
const NEVER_MADE: &str = "The new plan could not be set up before the period ended.";
/// Time that a change has to be made in, when its period ends meanwhile.
const TIME_TO_MAKE: TimeDelta = TimeDelta::hours(1);

/// Settles every change whose instance shows its result. One that fails stops none of the others, nor the renewals
/// that come after.
///
/// # Errors
/// When the database does not answer; what is settled stays so.
pub(crate) async fn settle_all(shop: &Subscriptions) -> Result<()> {
    let now = shop.clock.now();
    let until = now - TIME_TO_MAKE;
    let under_way = store::progress(&mut shop.db.read().await?, now, until).await?;
    for progress in under_way {
        let settled = match outcome(&progress) {
            Outcome::Waiting => Ok(()),
            Outcome::Applied => apply(shop, &progress).await,
            Outcome::Refused => revert(shop, &progress, &progress.message).await,
            Outcome::Lapsed if progress.is_stopped => revert(shop, &progress, NEVER_RAN).await,
            Outcome::Lapsed => revert(shop, &progress, NEVER_MADE).await,
        };
        if let Err(error) = settled {
            let id = progress.change.subscription_id;
            tracing::error!(subscription.id = %id, %error, cause = ?error.source, "plan_change.not_settled");
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Waiting,
    Applied,
    Refused,
    /// It was stopped before it was proven, or never made, and what was paid for is over.
    Lapsed,
}

/// Decides the outcome: a change is made once its pods are ready, and only a result that
/// [`provisioning`] found to be final undoes it, or a period that is over before it was made or while it is kept
/// stopped; all else is tried again.
fn outcome(progress: &Progress) -> Outcome {
    if progress.observed_generation >= progress.change.generation && !progress.is_rolling {
        return Outcome::Applied;
    }
    if progress.final_generation == Some(progress.instance_generation) {
        Outcome::Refused
    } else if progress.has_lapsed {
        Outcome::Lapsed
    } else {
        Outcome::Waiting
    }
}

async fn apply(shop: &Subscriptions, progress: &Progress) -> Result<()> {
    let (change, clock) = (&progress.change, &shop.clock);
    let id = change.subscription_id;
    let mut conn = shop.db.begin().await?;
    let mut wallet = wallet::lock(&mut conn, progress.user_id).await?;
    if !store::settle(&mut conn, change.id, "APPLIED", None, clock.now()).await? {
        return Ok(());
    }
    if change.give_back.is_positive() {
        let row = crate::subscriptions::row(&mut conn, id).await?;
        let reason = "The rest of the period costs less in the lower plan.";
        let what = (change.period_number, change.give_back, reason);
        refund::book(shop, &mut conn, &mut wallet, &row, what).await?;
    }
    catalog::give_back_quota(&mut conn, clock, change.from_plan_id).await?;
    conn.commit().await?;
    tracing::info!(subscription.id = %id, "plan_change.applied");
    Ok(())
}

async fn revert(shop: &Subscriptions, progress: &Progress, reason: &str) -> Result<()> {
    let (change, clock) = (&progress.change, &shop.clock);
    let mut conn = shop.db.begin().await?;
    let mut wallet = wallet::lock(&mut conn, progress.user_id).await?;
    if !undo(shop, &mut conn, &mut wallet, change, reason).await? {
        return Ok(());
    }
    let (id, plan) = (change.subscription_id, change.from_plan_id);
    provisioning::restore_plan(&mut conn, clock, id, plan, reason).await?;
    catalog::give_back_quota(&mut conn, clock, change.to_plan_id).await?;
    conn.commit().await?;
    shop.instances.handle.wake();
    tracing::warn!(subscription.id = %id, reason, "plan_change.reverted");
    Ok(())
}

/// Undoes a change under way: money, period and plan. Its place in the new plan is given back by the caller.
/// False when it is not under way any more.
async fn undo(
    shop: &Subscriptions,
    conn: &mut Conn,
    wallet: &mut LockedWallet,
    change: &PlanChange,
    why: &str,
) -> Result<bool> {
    let clock = &shop.clock;
    let now = clock.now();
    if !store::settle(conn, change.id, "REVERTED", Some(why), now).await? {
        return Ok(false);
    }
    let back = if change.kept_cash.is_none() {
        (change.paid_cash, change.paid_bonus)
    } else {
        overpaid(conn, change).await?
    };
    return_payment(shop, conn, wallet, change, (back, why)).await?;
    store::restore_period(conn, change, back).await?;
    store::restore_plan(conn, change, now).await?;
    Ok(true)
}

/// Returns the part of a period's payment that was for a dearer plan which came with it, in both kinds of credit.
/// A change within the period that settled what was paid before has taken nothing itself.
async fn overpaid(conn: &mut Conn, change: &PlanChange) -> Result<(Rupiah, Rupiah)> {
    let (id, number) = (change.subscription_id, change.period_number);
    let period = subscriptions::period(conn, id, number).await?;
    let Some(period) = period.filter(|one| one.transaction_id == Some(change.transaction_id))
    else {
        return Ok((Rupiah::ZERO, Rupiah::ZERO));
    };
    let to = crate::subscriptions::row(conn, id).await?.subscription;
    let from = Subscription {
        monthly_price: change.from_monthly_price,
        term_price: change.from_term_price,
        ..to.clone()
    };
    let (from, to) = (from.term()?.plan_price()?, to.term()?.plan_price()?);
    payments::overpaid(&period, to.minus(from)?)
}

async fn return_payment(
    shop: &Subscriptions,
    conn: &mut Conn,
    wallet: &mut LockedWallet,
    change: &PlanChange,
    (back, why): ((Rupiah, Rupiah), &str),
) -> Result<()> {
    let clock = &shop.clock;
    let new = NewTransaction {
        user_id: wallet.user_id,
        kind: TransactionType::Refund,
        description: "Upgrade undone".to_owned(),
        details: json!({ "reason": why, "upgrade": change.transaction_id }),
        subscription_id: Some(change.subscription_id),
        coupon_id: None,
        price_decision_id: None,
        coupon_decision_id: None,
    };
    let key = format!("upgrade-undone:{}", change.id);
    // A plan that came with its period was paid by the renewal, which is undone in part.
    let upgrade = change.kept_cash.is_none().then_some(change.transaction_id);
    wallet::undo_purchase(conn, clock, wallet, upgrade, back, &key, new).await?;
    debts::collect(conn, clock, wallet, back.0, &key).await
}

/// Undoes a change under way before its subscription is cancelled, and takes back one that waits for the
/// next period. Returns the plans in which their places are given back by the caller, with that of the
/// subscription.
pub(crate) async fn abandon(
    shop: &Subscriptions,
    conn: &mut Conn,
    wallet: &mut LockedWallet,
    subscription_id: SubscriptionId,
) -> Result<Vec<PlanId>> {
    let planned = schedule::take_back(conn, &shop.clock, subscription_id).await?;
    let mut places: Vec<_> = planned.into_iter().collect();
    let why = "The subscription was cancelled.";
    if let Some(change) = store::pending(conn, subscription_id).await?
        && undo(shop, conn, wallet, &change, why).await?
    {
        places.push(change.to_plan_id);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::ids::{PlanChangeId, TransactionId, UserId};

    #[test]
    fn only_a_final_refusal_and_a_period_that_is_over_undo_a_change() {
        let progress = |observed_generation, is_rolling, has_lapsed, final_generation| Progress {
            change: PlanChange {
                id: PlanChangeId::MIN,
                subscription_id: SubscriptionId::MIN,
                from_plan_id: PlanId::MIN,
                from_monthly_price: Rupiah::ZERO,
                from_term_price: None,
                to_plan_id: PlanId::MIN,
                generation: 2,
                period_number: 1,
                paid_cash: Rupiah::ZERO,
                paid_bonus: Rupiah::ZERO,
                transaction_id: TransactionId::MIN,
                kept_cash: None,
                kept_bonus: None,
                give_back: Rupiah::ZERO,
                refunded_until: None,
                given: Rupiah::ZERO,
            },
            user_id: UserId::MIN,
            message: String::new(),
            instance_generation: 3,
            observed_generation,
            is_rolling,
            has_lapsed,
            is_stopped: has_lapsed,
            final_generation,
        };
        for (observed, rolling, lapsed, refused, expected) in [
            (1, false, false, None, Outcome::Waiting),
            (1, false, false, Some(2), Outcome::Waiting),
            (1, false, false, Some(3), Outcome::Refused),
            (2, false, false, None, Outcome::Applied),
            (1, false, true, None, Outcome::Lapsed),
            (2, false, true, None, Outcome::Applied),
            (2, true, false, None, Outcome::Waiting),
            (2, true, true, None, Outcome::Lapsed),
            (3, true, false, Some(3), Outcome::Refused),
            (3, false, false, Some(3), Outcome::Applied),
        ] {
            let progress = progress(observed, rolling, lapsed, refused);
            assert_eq!(outcome(&progress), expected, "{progress:?}");
        }
    }
}
