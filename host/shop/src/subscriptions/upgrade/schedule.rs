//! A plan that comes with the next period. Its place is taken when it is planned, so that the renewal never
//! fails for quota.

use std::ops::Range;

use chrono::{DateTime, Utc};

use super::store::{self, PlanChange};
use crate::{
    Result,
    catalog::Plan,
    db::{Clock, Conn, new_id},
    ids::{PlanId, SubscriptionId},
    money::Rupiah,
    provisioning,
    subscriptions::{Subscription, store as subscriptions},
    wallet::Payment,
};

/// Plans a change for the next period; returns the plan of one that was planned before. The place in the one is
/// taken by the caller, and the place in the other given back.
pub(super) async fn plan(
    conn: &mut Conn,
    clock: &Clock,
    id: SubscriptionId,
    plan_id: PlanId,
) -> Result<Option<PlanId>> {
    let before = take_back(conn, clock, id).await?;
    subscriptions::set_next_plan(conn, id, Some(plan_id), clock.now()).await?;
    Ok(before)
}

/// Takes a planned change back; returns the plan, in which its place is given back by the caller.
pub(super) async fn take_back(
    conn: &mut Conn,
    clock: &Clock,
    id: SubscriptionId,
) -> Result<Option<PlanId>> {
    let row = subscriptions::any(conn, id).await?;
    let planned = row.and_then(|row| row.subscription.next_plan_id);
    if planned.is_some() {
        subscriptions::set_next_plan(conn, id, None, clock.now()).await?;
    }
    Ok(planned)
}

/// Period that a planned change comes with.
#[derive(Debug, Clone)]
pub(in crate::subscriptions) struct Beginning<'a> {
    pub(in crate::subscriptions) number: i64,
    pub(in crate::subscriptions) covers: Range<DateTime<Utc>>,
    pub(in crate::subscriptions) payment: &'a Payment,
}

/// Moves a subscription into the plan that comes with the period which was just paid for. When the instance
/// cannot be made so, it keeps its plan, and what a dearer plan cost more is given back.
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
        given: Rupiah::ZERO,
    };
    Ok(store::insert(conn, &change, covers, now).await?)
}
