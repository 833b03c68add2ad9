//! SQL of periods that are over: which ones, and what became of them.

use chrono::{DateTime, Utc};

use crate::{
    db::Conn,
    execute, fetch_all, fetch_one,
    ids::{CouponId, SubscriptionId, UserId},
    money::Rupiah,
    subscriptions::{Subscription, SubscriptionStatus as Status},
    wallet::TransactionType,
};

fn ids(rows: Vec<(SubscriptionId,)>) -> Vec<SubscriptionId> {
    rows.into_iter().map(|(id,)| id).collect()
}

/// A subscription to take a step with, and what it shares with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Due {
    pub(super) id: SubscriptionId,
    pub(super) user_id: UserId,
    /// Its coupon, if that has a budget.
    pub(super) coupon_id: Option<CouponId>,
}

/// Subscriptions whose period is over, and whose grace is not; the longest over first. The price of what is not paid
/// may have changed since it was asked for.
pub(super) async fn due(conn: &mut Conn, now: DateTime<Utc>) -> sqlx::Result<Vec<Due>> {
    let sql = "SELECT s.id, s.user_id,
                 (SELECT c.id FROM coupons c WHERE c.id = s.coupon_id AND c.budget IS NOT NULL) AS coupon_id
               FROM subscriptions s WHERE s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED') AND s.period_end <= $1
                 AND (s.status <> 'PAST_DUE' OR NOT s.auto_renew OR s.grace_until > $1) ORDER BY s.period_end, s.id";
    fetch_all!(conn, Due, sql, now)
}

/// Unpaid subscriptions whose grace is over.
pub(super) async fn out_of_grace(conn: &mut Conn, now: DateTime<Utc>) -> sqlx::Result<Vec<Due>> {
    let sql = "SELECT s.id, s.user_id,
                 (SELECT c.id FROM coupons c WHERE c.id = s.coupon_id AND c.budget IS NOT NULL) AS coupon_id
               FROM subscriptions s WHERE s.status = 'PAST_DUE' AND s.grace_until <= $1 ORDER BY s.grace_until, s.id";
    fetch_all!(conn, Due, sql, now)
}

/// Unpaid subscriptions that run on for a while.
pub(super) async fn in_grace(
    conn: &mut Conn,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<SubscriptionId>> {
    let sql = "SELECT id FROM subscriptions WHERE status = 'PAST_DUE' AND grace_until > $1 ORDER BY grace_until, id";
    fetch_all!(conn, (SubscriptionId,), sql, now).map(ids)
}

/// Number of subscriptions of each status, counted by plan before, in the order of an index.
pub(super) async fn count_by_status(conn: &mut Conn) -> sqlx::Result<Vec<(Status, i64)>> {
    let sql = "SELECT status, CAST(sum(number) AS BIGINT)
               FROM (SELECT plan_id, status, count(*) AS number FROM subscriptions GROUP BY plan_id, status) AS n
               GROUP BY status";
    fetch_all!(conn, (Status, i64), sql)
}

/// Subscriptions suspended at this moment or before it.
pub(super) async fn suspended_until(
    conn: &mut Conn,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<SubscriptionId>> {
    let sql = "SELECT id FROM subscriptions WHERE status = 'SUSPENDED' AND suspended_at <= $1 ORDER BY suspended_at, id";
    fetch_all!(conn, (SubscriptionId,), sql, until).map(ids)
}

/// Unpaid ones that the wallet holds enough for by now, or whose wallet has changed since they were looked at, and
/// those to be tried again.
pub(super) async fn payable(conn: &mut Conn, now: DateTime<Utc>) -> sqlx::Result<Vec<Due>> {
    let unpaid = "SELECT s.id, s.user_id,
                    (SELECT c.id FROM coupons c WHERE c.id = s.coupon_id AND c.budget IS NOT NULL) AS coupon_id
                  FROM subscriptions s JOIN wallets w ON w.user_id = s.user_id
                  WHERE s.status IN ('PAST_DUE', 'SUSPENDED') AND s.auto_renew
                    AND (s.renewal_retry_at <= $1 OR s.renewal_retry_at IS NULL
                      AND (s.unpaid <= w.paid_balance + w.bonus_balance OR w.updated_at > s.updated_at))
                  ORDER BY s.period_end, s.id";
    let retried = "SELECT s.id, s.user_id,
                     (SELECT c.id FROM coupons c WHERE c.id = s.coupon_id AND c.budget IS NOT NULL) AS coupon_id
                   FROM subscriptions s WHERE s.status = 'ACTIVE' AND s.renewal_retry_at <= $1 AND s.period_end <= $1
                   ORDER BY s.renewal_retry_at, s.id";
    let mut found = fetch_all!(conn, Due, unpaid, now)?;
    found.extend(fetch_all!(conn, Due, retried, now)?);
    Ok(found)
}

/// New status and dates of an unpaid subscription.
#[derive(Debug, Clone, Copy)]
pub(super) struct Behind {
    pub(super) status: Status,
    pub(super) grace_until: Option<DateTime<Utc>>,
    pub(super) suspended_at: Option<DateTime<Utc>>,
    pub(super) unpaid: Rupiah,
}

pub(super) async fn fall_behind(
    conn: &mut Conn,
    seen: &Subscription,
    behind: Behind,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql =
        "UPDATE subscriptions SET status = $3, grace_until = $4, suspended_at = $5, unpaid = $6,
                 freeze_state = CASE WHEN freeze_state = 'PENDING' THEN 'FROZEN' ELSE freeze_state END, renewal_failures = 0, renewal_retry_at = NULL,
                 updated_at = (SELECT CASE WHEN w.updated_at > $7 THEN w.updated_at ELSE $7 END
                   FROM wallets w WHERE w.user_id = subscriptions.user_id)
               WHERE id = $1 AND period_number = $2";
    let (id, number) = (seen.id, seen.period_number);
    let Behind {
        status,
        grace_until,
        suspended_at,
        unpaid,
    } = behind;
    Ok(execute!(
        conn,
        sql,
        id,
        number,
        status,
        grace_until,
        suspended_at,
        unpaid,
        now
    )? == 1)
}

/// Ends a subscription whose time is over.
pub(super) async fn expire(
    conn: &mut Conn,
    id: SubscriptionId,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE subscriptions SET status = 'EXPIRED', auto_renew = FALSE, cancelled_at = $3,
                 storage_price = CASE WHEN freeze_state = 'PENDING' THEN NULL ELSE storage_price END,
                 freeze_state = CASE WHEN freeze_state = 'PENDING' THEN 'NONE' ELSE freeze_state END,
                 cancel_reason = coalesce(cancel_reason, $2), renewal_retry_at = NULL, updated_at = $3
               WHERE id = $1 AND status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')";
    Ok(execute!(conn, sql, id, reason, now)? == 1)
}

/// Notes an attempt that failed: after `retries` of them the next one is `later`. A period that another server
/// renewed meanwhile is not over any more, and nothing is noted.
pub(super) async fn failed(
    conn: &mut Conn,
    id: SubscriptionId,
    retries: i64,
    (now, soon, later): (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<()> {
    let sql = "UPDATE subscriptions SET renewal_retry_at = CASE WHEN renewal_failures < $2 THEN $3 ELSE $4 END,
                 renewal_failures = CASE WHEN renewal_failures < $2 THEN renewal_failures + 1 ELSE 0 END
               WHERE id = $1 AND period_end <= $5";
    execute!(conn, sql, id, retries, soon, later, now).map(|_| ())
}

/// A subscription whose period ends, and what it shares with others.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Ending {
    pub(super) id: SubscriptionId,
    pub(super) user_id: UserId,
    /// Its coupon, if that has a budget.
    pub(super) coupon_id: Option<CouponId>,
    pub(super) email: String,
    pub(super) period_end: DateTime<Utc>,
}

impl From<&Ending> for Due {
    fn from(ending: &Ending) -> Self {
        Self {
            id: ending.id,
            user_id: ending.user_id,
            coupon_id: ending.coupon_id,
        }
    }
}

/// Subscriptions whose period ends before a moment, the first to end first.
pub(super) async fn ending(conn: &mut Conn, until: DateTime<Utc>) -> sqlx::Result<Vec<Ending>> {
    let sql = "SELECT s.id, s.user_id,
                 (SELECT c.id FROM coupons c WHERE c.id = s.coupon_id AND c.budget IS NOT NULL) AS coupon_id,
                 (SELECT u.email FROM users u WHERE u.id = s.user_id) AS email, s.period_end
               FROM subscriptions s WHERE s.period_end < $1 AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')
               ORDER BY s.period_end, s.id";
    fetch_all!(conn, Ending, sql, until)
}

/// Sets another last day of grace for an unpaid subscription.
pub(super) async fn set_grace(
    conn: &mut Conn,
    id: SubscriptionId,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE subscriptions SET grace_until = $2, updated_at = $3 WHERE id = $1 AND status = 'PAST_DUE'";
    Ok(execute!(conn, sql, id, until, now)? == 1)
}

/// Live subscriptions of one status, renewed or not.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct StatusSum {
    pub(super) status: Status,
    pub(super) auto_renew: bool,
    pub(super) number: i64,
    pub(super) monthly_price: Rupiah,
    pub(super) unpaid: Rupiah,
}

/// Sums live subscriptions, by plan before, in the order of an index.
pub(super) async fn sums_by_status(conn: &mut Conn) -> sqlx::Result<Vec<StatusSum>> {
    let sql = "SELECT status, auto_renew, CAST(sum(number) AS BIGINT) AS number,
                 CAST(sum(monthly) AS BIGINT) AS monthly_price, CAST(sum(unpaid) AS BIGINT) AS unpaid
               FROM (SELECT plan_id, status, auto_renew, count(*) AS number, CAST(sum(CASE WHEN freeze_state = 'FROZEN'
                   THEN storage_price ELSE coalesce(term_price / term_months, monthly_price) END) AS BIGINT) AS monthly,
                   CAST(coalesce(sum(unpaid), 0) AS BIGINT) AS unpaid
                 FROM subscriptions WHERE status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')
                 GROUP BY plan_id, status, auto_renew) AS n
               GROUP BY status, auto_renew";
    fetch_all!(conn, StatusSum, sql)
}

/// Counts active subscriptions to be renewed whose period ends after a moment, up to another.
pub(super) async fn count_due(
    conn: &mut Conn,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let sql =
        "SELECT count(*) FROM subscriptions WHERE status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')
                 AND status = 'ACTIVE' AND auto_renew AND period_end > $1 AND period_end <= $2";
    let (number,) = fetch_one!(conn, (i64,), sql, after, until)?;
    Ok(number)
}

/// Transactions of one type.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct TypeSum {
    pub(super) kind: TransactionType,
    pub(super) number: i64,
    pub(super) amount: Rupiah,
}

/// Sums the charges and refunds of subscriptions since a moment, from an index alone. All transactions of these
/// types are of a subscription.
pub(super) async fn charged_since(
    conn: &mut Conn,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<TypeSum>> {
    let sql = "SELECT type AS kind, count(*) AS number, CAST(sum(amount) AS BIGINT) AS amount FROM transactions
               WHERE type IN ('SUBSCRIPTION', 'UPGRADE', 'REFUND') AND created_at >= $1 GROUP BY type";
    fetch_all!(conn, TypeSum, sql, since)
}

/// Counts the subscriptions that ended since a moment.
pub(super) async fn count_ended(conn: &mut Conn, since: DateTime<Utc>) -> sqlx::Result<i64> {
    let sql = "SELECT count(*) FROM subscriptions WHERE cancelled_at >= $1";
    let (number,) = fetch_one!(conn, (i64,), sql, since)?;
    Ok(number)
}
