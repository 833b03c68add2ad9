//! SQL of subscriptions, periods and quotes.

use chrono::{DateTime, Utc};

use super::{
    model::{PeriodRow, ShownStatus, Subscription, SubscriptionRow},
    quote::QuoteRow,
};
use crate::{
    catalog::{Plan, SoldTerm},
    db::{Conn, Filter, List, Span, Walked, fetch_span, find_where},
    defer, delete_free, execute, fetch_all, fetch_one, fetch_optional,
    ids::{CouponId, PlanId, QuoteId, SubscriptionId, UserId},
    money::Rupiah,
};

/// Inserts a subscription without its coupon, which [`set_coupon`] adds. It waits, as all that refers to it does.
pub(super) async fn insert(conn: &mut Conn, new: &Subscription) -> sqlx::Result<()> {
    defer!(
        conn,
        "INSERT INTO subscriptions (id, user_id, plan_id, status, monthly_price, config, auto_renew, anchor_at,
           period_number, period_start, period_end, coupon_periods_left, created_at, updated_at, term_months, term_price,
           anchor_months)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14, $15, $16)",
        new.id,
        new.user_id,
        new.plan_id,
        new.status,
        new.monthly_price,
        &new.config,
        new.auto_renew,
        new.anchor_at,
        new.period_number,
        new.period_start,
        new.period_end,
        new.coupon_periods_left,
        new.created_at,
        new.term_months,
        new.term_price,
        new.anchor_months,
    )
}

/// The coupon that a new subscription was bought with.
pub(super) async fn set_coupon(
    conn: &mut Conn,
    id: SubscriptionId,
    coupon_id: CouponId,
) -> sqlx::Result<()> {
    let sql = "UPDATE subscriptions SET coupon_id = $2 WHERE id = $1";
    execute!(conn, sql, id, coupon_id).map(|_| ())
}

pub(super) async fn insert_period(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
    period: &PeriodRow,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    defer!(
        conn,
        "INSERT INTO subscription_periods (subscription_id, number, starts_at, ends_at, price, discount, paid_cash,
           paid_bonus, transaction_id, price_decision_id, created_at, months,
           frozen, storage)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        subscription_id,
        period.number,
        period.starts_at,
        period.ends_at,
        period.price,
        period.discount,
        period.paid_cash,
        period.paid_bonus,
        period.transaction_id,
        period.price_decision_id,
        now,
        period.months,
        period.frozen,
        period.storage,
    )
}

macro_rules! period {
    () => {
        "SELECT number, starts_at, ends_at, months, frozen, paid_until, price, storage, discount, paid_cash, paid_bonus, refunded_cash,
           transaction_id, price_decision_id FROM subscription_periods"
    };
}

macro_rules! columns {
    () => {
        "s.id, s.user_id, s.plan_id, s.status, s.monthly_price, s.term_months, s.term_price, s.freeze_state, s.storage_price, s.config, s.auto_renew,
        s.anchor_at, s.anchor_months, s.period_number,
        s.period_start, s.period_end, s.coupon_id, s.coupon_periods_left, s.cancelled_at, s.cancel_reason, s.grace_until,
        s.suspended_at, s.unpaid, s.delivered_at, s.held_since, s.next_plan_id, s.created_at, s.updated_at, v.slug AS service_slug,
        v.name AS service_name, p.slug AS plan_slug, p.name AS plan_name, p.tier, i.id AS instance_id,
        i.status AS instance_status,
        (SELECT m.monthly_price FROM price_moves m
          WHERE m.subscription_id = s.id AND m.plan_id = s.plan_id AND m.applied_period IS NULL) AS next_price,
        (SELECT m.term_price FROM price_moves m
          WHERE m.subscription_id = s.id AND m.plan_id = s.plan_id AND m.applied_period IS NULL) AS next_term_price,
        (SELECT m.effective_at FROM price_moves m
          WHERE m.subscription_id = s.id AND m.plan_id = s.plan_id AND m.applied_period IS NULL) AS next_price_from"
    };
}

macro_rules! with_plan {
    () => {
        " FROM subscriptions s JOIN service_plans p ON p.id = s.plan_id JOIN services v ON v.id = p.service_id"
    };
}

const SUBSCRIPTIONS: List = List {
    rows: concat!(
        "SELECT ",
        columns!(),
        with_plan!(),
        " LEFT JOIN instances i ON i.subscription_id = s.id"
    ),
    from: "FROM subscriptions s",
    key: "s.id",
    order: "ORDER BY s.created_at DESC, s.id DESC",
};

/// Condition of those that are [pending](ShownStatus::Pending), of which there are few at any time. Its first half is
/// that of an index which has no others.
macro_rules! waits {
    () => {
        "delivered_at IS NULL AND status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED') AND status = 'ACTIVE' AND period_number = 1"
    };
}

pub(super) use {columns, waits, with_plan};

/// Adds the condition that a subscription `s` is shown with this status, if there is one.
pub(super) fn shown_with(filter: Filter<'_>, status: Option<ShownStatus>) -> Filter<'_> {
    // The few are looked up by their ids, so that each list reads the index that it has without them.
    match status {
        Some(ShownStatus::Pending) => filter.and(concat!(
            "s.id IN (SELECT id FROM subscriptions WHERE ",
            waits!(),
            ")"
        )),
        Some(ShownStatus::Active) => filter
            .with("s.status = ?", ShownStatus::Active)
            .and(concat!(
                "s.id NOT IN (SELECT id FROM subscriptions WHERE ",
                waits!(),
                ")"
            )),
        other => filter.with_some("s.status = ?", other),
    }
}

/// Reads one of this customer's subscriptions.
pub(super) async fn owned(
    conn: &mut Conn,
    user_id: UserId,
    id: SubscriptionId,
) -> sqlx::Result<Option<SubscriptionRow>> {
    let filter = Filter::of("s.user_id = ?", user_id).with("s.id = ?", id);
    find_where(conn, SUBSCRIPTIONS.rows, &filter).await
}

/// Reads a subscription of any customer.
pub(super) async fn any(
    conn: &mut Conn,
    id: SubscriptionId,
) -> sqlx::Result<Option<SubscriptionRow>> {
    find_where(conn, SUBSCRIPTIONS.rows, &Filter::of("s.id = ?", id)).await
}

pub(super) async fn list(
    conn: &mut Conn,
    user_id: UserId,
    status: Option<ShownStatus>,
    span: Span<SubscriptionId>,
) -> sqlx::Result<Walked<SubscriptionRow>> {
    let filter = shown_with(Filter::of("s.user_id = ?", user_id), status);
    let place = "(s.created_at, s.id) < (?, ?)";
    fetch_span(conn, SUBSCRIPTIONS, place, filter, span).await
}

pub(super) async fn periods(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
) -> sqlx::Result<Vec<PeriodRow>> {
    let sql = concat!(
        period!(),
        " WHERE subscription_id = $1 ORDER BY number DESC"
    );
    fetch_all!(conn, PeriodRow, sql, subscription_id)
}

pub(super) async fn period(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
    number: i64,
) -> sqlx::Result<Option<PeriodRow>> {
    let sql = concat!(period!(), " WHERE subscription_id = $1 AND number = $2");
    fetch_optional!(conn, PeriodRow, sql, subscription_id, number)
}

/// Puts an active subscription into another plan at that plan's price, if it is still in the plan
/// and period it was seen in and that period is not over.
pub(super) async fn change_plan(
    conn: &mut Conn,
    seen: &Subscription,
    (to, term): (&Plan, SoldTerm),
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE subscriptions SET plan_id = $4, monthly_price = $5, term_price = $7, updated_at = $6
               WHERE id = $1 AND plan_id = $2 AND period_number = $3 AND status = 'ACTIVE'
                 AND (period_end > $6 OR delivered_at IS NULL AND period_number = 1) AND freeze_state = 'NONE'";
    let (id, plan_id, number) = (seen.id, seen.plan_id, seen.period_number);
    let (monthly, price) = (term.monthly_price, term.price);
    Ok(execute!(conn, sql, id, plan_id, number, to.id, monthly, now, price)? == 1)
}

/// Sets the plan that comes with the next period.
pub(super) async fn set_next_plan(
    conn: &mut Conn,
    id: SubscriptionId,
    plan_id: Option<PlanId>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    // The price of what is not paid may be another one now: it is looked at within seconds.
    let sql = "UPDATE subscriptions SET next_plan_id = $2, updated_at = $3,
                 renewal_retry_at = CASE WHEN status IN ('PAST_DUE', 'SUSPENDED') THEN $3 ELSE renewal_retry_at END
               WHERE id = $1";
    execute!(conn, sql, id, plan_id, now).map(|_| ())
}

/// Puts a subscription into the plan that comes with the period which has just begun.
pub(super) async fn begin_next_plan(
    conn: &mut Conn,
    id: SubscriptionId,
    to: &Plan,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE subscriptions SET plan_id = $2, monthly_price = $3, next_plan_id = NULL, updated_at = $4
               WHERE id = $1";
    execute!(conn, sql, id, to.id, to.monthly_price, now).map(|_| ())
}

/// Adds an upgrade's price to the running period.
pub(super) async fn add_to_period(
    conn: &mut Conn,
    seen: &Subscription,
    price: Rupiah,
    cash: Rupiah,
    bonus: Rupiah,
) -> sqlx::Result<bool> {
    let sql = "UPDATE subscription_periods SET price = price + $3, paid_cash = paid_cash + $4, paid_bonus = paid_bonus + $5
               WHERE subscription_id = $1 AND number = $2";
    let (id, number) = (seen.id, seen.period_number);
    Ok(execute!(conn, sql, id, number, price, cash, bonus)? == 1)
}

/// Notes cash that is given back; false when it is more than was paid and not given back before.
pub(super) async fn refund_period(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
    number: i64,
    amount: Rupiah,
) -> sqlx::Result<bool> {
    let sql = "UPDATE subscription_periods SET refunded_cash = refunded_cash + $3
               WHERE subscription_id = $1 AND number = $2 AND refunded_cash + $3 <= paid_cash";
    Ok(execute!(conn, sql, subscription_id, number, amount)? == 1)
}

/// Counts those of all customers that wait for their first delivery.
pub(super) async fn count_waiting(conn: &mut Conn) -> sqlx::Result<i64> {
    let sql = concat!("SELECT count(*) FROM subscriptions WHERE ", waits!());
    let (count,) = fetch_one!(conn, (i64,), sql)?;
    Ok(count)
}

/// Standing of a customer who buys a plan.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Standing {
    /// True while the account is active.
    pub(super) is_active: bool,
    /// Number of live subscriptions of the plan.
    pub(super) live: i64,
}

/// Returns the standing of a customer under the lock of the wallet, which purchases and the end of an account take.
pub(super) async fn standing(
    conn: &mut Conn,
    user_id: UserId,
    plan_id: PlanId,
) -> sqlx::Result<Standing> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1 AND status = 'ACTIVE' AND deleted_at IS NULL) AS is_active,
                 (SELECT count(*) FROM subscriptions WHERE user_id = $1 AND plan_id = $2
                   AND status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')) AS live";
    fetch_one!(conn, Standing, sql, user_id, plan_id)
}

/// Counts the customer's live subscriptions of this plan.
pub(super) async fn live_of_plan(
    conn: &mut Conn,
    user_id: UserId,
    plan_id: PlanId,
) -> sqlx::Result<i64> {
    // SQLite uses the index `subscriptions_live` only for the condition that it has.
    let sql = "SELECT count(*) FROM subscriptions WHERE user_id = $1 AND plan_id = $2
               AND status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')";
    let (count,) = fetch_one!(conn, (i64,), sql, user_id, plan_id)?;
    Ok(count)
}

/// Ends a live subscription; returns its plan, or nothing when it was not live (any more).
pub(super) async fn cancel(
    conn: &mut Conn,
    user_id: UserId,
    id: SubscriptionId,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<PlanId>> {
    let sql = "UPDATE subscriptions SET status = 'CANCELLED', auto_renew = FALSE, cancelled_at = $3,
                 cancel_reason = coalesce($4, cancel_reason),
                 storage_price = CASE WHEN freeze_state = 'PENDING' THEN NULL ELSE storage_price END,
                 freeze_state = CASE WHEN freeze_state = 'PENDING' THEN 'NONE' ELSE freeze_state END, updated_at = $3
               WHERE user_id = $1 AND id = $2 AND status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')
               RETURNING plan_id";
    let row = fetch_optional!(conn, (PlanId,), sql, user_id, id, now, reason)?;
    Ok(row.map(|(plan,)| plan))
}

/// Sets if a live subscription renews or runs out, with the reason to run out; false when it is not
/// live (any more), or is to run out with a period that is over already: it would end at once, before
/// its grace or its retention does; or when it is frozen from its next period on.
pub(super) async fn set_auto_renew(
    conn: &mut Conn,
    user_id: UserId,
    id: SubscriptionId,
    auto_renew: bool,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE subscriptions SET auto_renew = $4, updated_at = $3,
                 renewal_retry_at = CASE WHEN $4 AND status IN ('PAST_DUE', 'SUSPENDED') THEN $3 ELSE renewal_retry_at END,
                 cancel_reason = CASE WHEN $4 THEN NULL ELSE coalesce($5, cancel_reason) END
               WHERE user_id = $1 AND id = $2 AND status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')
                 AND ($4 OR period_end > $3 AND freeze_state <> 'PENDING')";
    Ok(execute!(conn, sql, user_id, id, now, auto_renew, reason)? == 1)
}

/// Sets the price of a month, and of a term, from the next period on.
pub(super) async fn set_price(
    conn: &mut Conn,
    id: SubscriptionId,
    term: SoldTerm,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    // The worker looks at an unpaid one within seconds.
    let sql = "UPDATE subscriptions SET monthly_price = $2, term_price = $3, updated_at = $4,
                 renewal_retry_at = CASE WHEN status IN ('PAST_DUE', 'SUSPENDED') THEN $4 ELSE renewal_retry_at END
               WHERE id = $1";
    execute!(conn, sql, id, term.monthly_price, term.price, now).map(|_| ())
}

/// Moves the end of the running period, which keeps the end that was paid for; one in grace is out of it.
pub(super) async fn extend(
    conn: &mut Conn,
    seen: &Subscription,
    anchor_at: DateTime<Utc>,
    end: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (id, number) = (seen.id, seen.period_number);
    let sql = "UPDATE subscriptions SET status = 'ACTIVE', anchor_at = $3, period_end = $4, grace_until = NULL,
                 unpaid = NULL, held_since = NULL, renewal_failures = 0, renewal_retry_at = NULL, updated_at = $5
               WHERE id = $1 AND period_number = $2";
    execute!(conn, sql, id, number, anchor_at, end, now)?;
    let sql =
        "UPDATE subscription_periods SET paid_until = coalesce(paid_until, ends_at), ends_at = $3
               WHERE subscription_id = $1 AND number = $2";
    execute!(conn, sql, id, number, end).map(|_| ())
}

/// Fields of a quote to insert.
pub(super) struct NewQuote<'a> {
    pub(super) id: QuoteId,
    pub(super) user_id: UserId,
    pub(super) plan_id: PlanId,
    pub(super) term_months: u32,
    pub(super) coupon_code: Option<&'a str>,
    pub(super) config: &'a str,
    pub(super) due: Rupiah,
    pub(super) now: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

/// Inserts a quote and forgets the customer's expired ones.
pub(super) async fn insert_quote(conn: &mut Conn, new: &NewQuote<'_>) -> sqlx::Result<()> {
    let sql = delete_free!(conn, "quotes", "id", "user_id = $1 AND expires_at < $2");
    execute!(conn, sql, new.user_id, new.now)?;
    execute!(
        conn,
        "INSERT INTO quotes (id, user_id, plan_id, coupon_code, config, due, created_at, expires_at, term_months)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        new.id,
        new.user_id,
        new.plan_id,
        new.coupon_code,
        new.config,
        new.due,
        new.now,
        new.expires_at,
        i64::from(new.term_months),
    )
    .map(|_| ())
}

/// Removes a number of quotes that have expired before a moment, the oldest first; returns how many.
pub(super) async fn purge_quotes(
    conn: &mut Conn,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let sql = delete_free!(
        conn,
        "quotes",
        "id",
        "expires_at < $1 ORDER BY expires_at LIMIT $2"
    );
    execute!(conn, sql, before, limit)
}

pub(super) async fn quote(
    conn: &mut Conn,
    user_id: UserId,
    id: QuoteId,
) -> sqlx::Result<Option<QuoteRow>> {
    let sql = "SELECT plan_id, term_months, coupon_code, config, due, expires_at, used_at FROM quotes WHERE user_id = $1 AND id = $2";
    fetch_optional!(conn, QuoteRow, sql, user_id, id)
}

/// Consumes a quote; false when a purchase has, or when it has expired.
pub(super) async fn use_quote(
    conn: &mut Conn,
    user_id: UserId,
    id: QuoteId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE quotes SET used_at = $3 WHERE user_id = $1 AND id = $2 AND used_at IS NULL AND expires_at > $3";
    Ok(execute!(conn, sql, user_id, id, now)? == 1)
}

/// Removes a customer's quotes in the order of their ids, in which a deletion of their plan takes them, too. SQLite's
/// writer has every row.
const FORGET_QUOTES: &str = "DELETE FROM quotes WHERE id = ANY(ARRAY(\
    SELECT id FROM quotes WHERE user_id = $1 ORDER BY id FOR UPDATE))";

/// Removes the quotes of a customer, and the configurations and reasons of the subscriptions, all of which are over.
pub(super) async fn forget(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    let sql = "DELETE FROM quotes WHERE user_id = $1";
    let is_postgres = conn.is_postgres();
    let sql = if is_postgres { FORGET_QUOTES } else { sql };
    execute!(conn, sql, user_id)?;
    // A plugin's reason to revert may repeat the configuration.
    let sql = "UPDATE plan_changes SET message = NULL WHERE subscription_id IN \
               (SELECT id FROM subscriptions WHERE user_id = $1)";
    execute!(conn, sql, user_id)?;
    let sql = "UPDATE subscriptions SET config = '{}', cancel_reason = NULL WHERE user_id = $1";
    execute!(conn, sql, user_id)
}
