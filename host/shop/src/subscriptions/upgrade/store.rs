//! SQL of plan changes.

use std::ops::Range;

use chrono::{DateTime, Utc};

use crate::{
    catalog::Tier,
    db::Conn,
    execute, fetch_all, fetch_optional,
    ids::{PlanChangeId, PlanId, SubscriptionId, TransactionId, UserId},
    money::Rupiah,
};

/// Fields needed to finish or undo a change.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(in crate::subscriptions) struct PlanChange {
    pub(in crate::subscriptions) id: PlanChangeId,
    pub(in crate::subscriptions) subscription_id: SubscriptionId,
    pub(in crate::subscriptions) from_plan_id: PlanId,
    pub(in crate::subscriptions) from_monthly_price: Rupiah,
    pub(in crate::subscriptions) from_term_price: Option<Rupiah>,
    pub(in crate::subscriptions) to_plan_id: PlanId,
    /// Of the instance: once it is applied, the change is done.
    pub(in crate::subscriptions) generation: i64,
    pub(in crate::subscriptions) period_number: i64,
    pub(in crate::subscriptions) paid_cash: Rupiah,
    pub(in crate::subscriptions) paid_bonus: Rupiah,
    pub(in crate::subscriptions) transaction_id: TransactionId,
    /// For a change that settles what was paid before: the worth that is left for the plan it goes to.
    pub(in crate::subscriptions) kept_cash: Option<Rupiah>,
    pub(in crate::subscriptions) kept_bonus: Option<Rupiah>,
    /// Cash to give back once the change is made.
    pub(in crate::subscriptions) give_back: Rupiah,
    /// Cash of the period that was given back by then, this change's included.
    pub(in crate::subscriptions) refunded_until: Option<Rupiah>,
    /// Part of its price for days that were given after the period was paid for.
    pub(in crate::subscriptions) given: Rupiah,
}

/// A change under way, with the progress of its instance.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(in crate::subscriptions) struct Progress {
    #[sqlx(flatten)]
    pub(in crate::subscriptions) change: PlanChange,
    pub(in crate::subscriptions) user_id: UserId,
    pub(in crate::subscriptions) message: String,
    /// Of the instance now.
    pub(in crate::subscriptions) instance_generation: i64,
    pub(in crate::subscriptions) observed_generation: i64,
    /// It is applied and its pods are not all ready yet.
    pub(in crate::subscriptions) is_rolling: bool,
    /// The period that the change was paid for is over, and it is kept stopped or was not made in time.
    pub(in crate::subscriptions) has_lapsed: bool,
    pub(in crate::subscriptions) is_stopped: bool,
    /// The generation that will never be set up.
    pub(in crate::subscriptions) final_generation: Option<i64>,
}

pub(in crate::subscriptions) async fn insert(
    conn: &mut Conn,
    change: &PlanChange,
    covers: Range<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    execute!(
        conn,
        "INSERT INTO plan_changes (id, subscription_id, from_plan_id, from_monthly_price, to_plan_id, generation,
           period_number, paid_cash, paid_bonus, transaction_id, state, created_at, covers_from, kept_cash, kept_bonus,
           give_back, refunded_until, from_term_price, covers_until, given)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'PENDING', $11, $12, $13, $14, $15, $16, $17, $18, $19)",
        change.id,
        change.subscription_id,
        change.from_plan_id,
        change.from_monthly_price,
        change.to_plan_id,
        change.generation,
        change.period_number,
        change.paid_cash,
        change.paid_bonus,
        change.transaction_id,
        now,
        covers.start,
        change.kept_cash,
        change.kept_bonus,
        change.give_back,
        change.refunded_until,
        change.from_term_price,
        covers.end,
        change.given,
    )
    .map(|_| ())
}

/// A change that was made, with what was paid for it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(in crate::subscriptions) struct Made {
    pub(in crate::subscriptions) from_tier: Tier,
    pub(in crate::subscriptions) to_tier: Tier,
    pub(in crate::subscriptions) paid_cash: Rupiah,
    pub(in crate::subscriptions) paid_bonus: Rupiah,
    /// Time that it covers.
    pub(in crate::subscriptions) covers_from: DateTime<Utc>,
    pub(in crate::subscriptions) covers_until: DateTime<Utc>,
    /// Rest of all payments before, where the change settled them.
    pub(in crate::subscriptions) kept_cash: Option<Rupiah>,
    pub(in crate::subscriptions) kept_bonus: Option<Rupiah>,
    pub(in crate::subscriptions) refunded_until: Option<Rupiah>,
    pub(in crate::subscriptions) given: Rupiah,
}

/// The changes that were made in a period, oldest first.
pub(in crate::subscriptions) async fn of_period(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
    period_number: i64,
) -> sqlx::Result<Vec<Made>> {
    let sql = "SELECT f.tier AS from_tier, t.tier AS to_tier, c.paid_cash, c.paid_bonus, c.covers_from, c.covers_until,
               c.kept_cash, c.kept_bonus, c.refunded_until, c.given
               FROM plan_changes c JOIN service_plans f ON f.id = c.from_plan_id JOIN service_plans t ON t.id = c.to_plan_id
               WHERE c.subscription_id = $1 AND c.period_number = $2 AND c.state = 'APPLIED' ORDER BY c.created_at, c.id";
    fetch_all!(conn, Made, sql, subscription_id, period_number)
}

/// The change that is under way.
pub(in crate::subscriptions) async fn pending(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
) -> sqlx::Result<Option<PlanChange>> {
    let sql = "SELECT id, subscription_id, from_plan_id, from_monthly_price, from_term_price, to_plan_id, generation,
               period_number, paid_cash, paid_bonus, transaction_id, kept_cash, kept_bonus, give_back, refunded_until, given
               FROM plan_changes WHERE subscription_id = $1 AND state = 'PENDING'";
    fetch_optional!(conn, PlanChange, sql, subscription_id)
}

/// Every change that is under way. One that was asked for by `until` has had the time to be made.
pub(in crate::subscriptions) async fn progress(
    conn: &mut Conn,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<Progress>> {
    let sql = "SELECT c.id, c.subscription_id, c.from_plan_id, c.from_monthly_price, c.from_term_price, c.to_plan_id, c.generation,
               c.period_number, c.paid_cash, c.paid_bonus, c.transaction_id, c.kept_cash, c.kept_bonus,
               c.give_back, c.refunded_until, c.given, i.user_id, i.message,
               i.generation AS instance_generation, i.observed_generation, i.final_generation,
               (i.unproven_generation IS NOT NULL AND i.delivered_at IS NOT NULL) AS is_rolling,
               i.desired = 'STOPPED' AS is_stopped,
               ((i.desired = 'STOPPED' OR (i.observed_generation < c.generation AND c.created_at <= $2)) AND
                 coalesce((SELECT s.period_end FROM subscriptions s WHERE s.id = c.subscription_id AND
                   (s.delivered_at IS NOT NULL OR s.period_number > 1)) <= $1, FALSE)) AS has_lapsed
               FROM plan_changes c JOIN instances i ON i.subscription_id = c.subscription_id
               WHERE c.state = 'PENDING' ORDER BY c.created_at";
    fetch_all!(conn, Progress, sql, now, until)
}

/// Ends a change, once; false when it was ended elsewhere.
pub(in crate::subscriptions) async fn settle(
    conn: &mut Conn,
    id: PlanChangeId,
    state: &str,
    message: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE plan_changes SET state = $2, message = $3, settled_at = $4 WHERE id = $1 AND state = 'PENDING'";
    Ok(execute!(conn, sql, id, state, message, now)? == 1)
}

/// Puts a subscription back into the plan and price it had.
pub(in crate::subscriptions) async fn restore_plan(
    conn: &mut Conn,
    change: &PlanChange,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE subscriptions SET plan_id = $2, monthly_price = $3, updated_at = $4, term_price = $6
               WHERE id = $1 AND plan_id = $5";
    let (id, plan_id) = (change.subscription_id, change.from_plan_id);
    let (price, term_price) = (change.from_monthly_price, change.from_term_price);
    let to = change.to_plan_id;
    Ok(execute!(conn, sql, id, plan_id, price, now, to, term_price)? == 1)
}

/// Takes what is given back, cash and bonus credit, off the period again.
pub(in crate::subscriptions) async fn restore_period(
    conn: &mut Conn,
    change: &PlanChange,
    (cash, bonus): (Rupiah, Rupiah),
) -> sqlx::Result<bool> {
    let sql = "UPDATE subscription_periods SET price = price - $3 - $4, paid_cash = paid_cash - $3, paid_bonus = paid_bonus - $4
               WHERE subscription_id = $1 AND number = $2";
    let (id, number) = (change.subscription_id, change.period_number);
    Ok(execute!(conn, sql, id, number, cash, bonus)? == 1)
}
