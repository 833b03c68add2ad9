//! A plan that comes with the next period. Its place is taken when it is planned, so that the renewal never
//! fails for quota.

use std::ops::Range;

use chrono::{DateTime, Utc};

use super::store::{self, PlanChange};
use crate::{
    Result, catalog,
    catalog::Plan,
    db::{Clock, Conn, new_id},
    ids::{PlanId, SubscriptionId},
    money::Rupiah,
    provisioning,
    subscriptions::{Subscription, store as subscriptions},
    wallet::Payment,
};

/// Plans a change for the next period, in place of one that was planned before; the place in the plan is
/// taken by the caller.
pub(super) async fn plan(
    conn: &mut Conn,
    clock: &Clock,
    id: SubscriptionId,
    plan_id: PlanId,
) -> Result<()> {
    take_back(conn, clock, id).await?;
    Ok(subscriptions::set_next_plan(conn, id, Some(plan_id), clock.now()).await?)
}

/// Takes a planned change back, with its place; returns false when there is none.
pub(super) async fn take_back(conn: &mut Conn, clock: &Clock, id: SubscriptionId) -> Result<bool> {
    let row = subscriptions::any(conn, id).await?;
    let Some(plan_id) = row.and_then(|row| row.subscription.next_plan_id) else {
        return Ok(false);
    };
    subscriptions::set_next_plan(conn, id, None, clock.now()).await?;
    catalog::give_back_quota(conn, clock, plan_id).await?;
    Ok(true)
}

/// Period that a planned change comes with.
#[derive(Debug, Clone)]
pub(in crate::subscriptions) struct Beginning<'a> {
    pub(in crate::subscriptions) number: i64,
    pub(in crate::subscriptions) covers: Range<DateTime<Utc>>,
    pub(in crate::subscriptions) payment: &'a Payment,
}

/// Moves a subscription into the plan that comes with the period which was just paid for. When the instance
/// cannot be made so, it keeps its plan, and the period stays as it was paid.
///
/// # Errors
/// `INVALID_STATE` while another change of the instance is not proven to work.
pub(in crate::subscriptions) async fn begin(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Subscription,
    to: &Plan,
    beginning: Beginning<'_>,
) -> Result<()> {
    let (id, now) = (seen.id, clock.now());
    let message = format!("Being moved to the plan {}.", to.name);
    let generation = provisioning::change_plan(conn, clock, id, to.id, &message).await?;
    subscriptions::begin_next_plan(conn, id, to, now).await?;
    let Beginning {
        number,
        covers,
        payment,
    } = beginning;
    let change = PlanChange {
        id: new_id(clock),
        subscription_id: id,
        from_plan_id: seen.plan_id,
        from_monthly_price: seen.monthly_price,
        from_term_price: seen.term_price,
        to_plan_id: to.id,
        generation,
        period_number: number,
        paid_cash: Rupiah::ZERO,
        paid_bonus: Rupiah::ZERO,
        transaction_id: payment.transaction.id,
        kept_cash: Some(payment.cash),
        kept_bonus: Some(payment.bonus),
        give_back: Rupiah::ZERO,
        refunded_until: Some(Rupiah::ZERO),
    };
    Ok(store::insert(conn, &change, covers, now).await?)
}
