//! SQL of coupons and their redemptions.

pub(super) mod admin;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;

use super::model::{Coupon, CouponCode, EffectView, RedemptionRow};
use crate::{
    catalog::Tier,
    db::{Conn, Filter, List, Span, Walked, fetch_span, fetch_where, find_where},
    defer, execute, fetch_all, fetch_one, fetch_optional,
    ids::{CouponId, DecisionId, RedemptionId, SubscriptionId, TransactionId, UserId},
    money::Rupiah,
    write_returning,
};

/// A coupon's columns, and what is asked besides.
macro_rules! select_coupon {
    ($more:literal) => {
        concat!(
            "SELECT id, code, description, plugin_id, parameters, starts_at, ends_at, max_uses, max_uses_per_user,
               used_count, budget, granted_amount, services, tiers, periods, status, revision, created_at",
            $more
        )
    };
}

const COUPON: &str = select_coupon!(" FROM coupons");

/// A coupon, and how often this customer has used it.
pub(super) async fn for_customer(
    conn: &mut Conn,
    code: &CouponCode,
    user_id: UserId,
) -> sqlx::Result<Option<(Coupon, i64)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        coupon: Coupon,
        uses: i64,
    }
    let sql = select_coupon!(
        ", coalesce((SELECT u.uses FROM coupon_customer_uses u WHERE u.coupon_id = c.id AND u.user_id = $2), 0) AS uses
         FROM coupons c WHERE code = $1"
    );
    let row = fetch_optional!(conn, Row, sql, code.as_str(), user_id)?;
    Ok(row.map(|row| (row.coupon, row.uses)))
}

/// Returns true for a customer who had a welcome bonus.
pub(super) async fn was_welcomed(conn: &mut Conn, user_id: UserId) -> sqlx::Result<bool> {
    // Only the question to the rule says in which place the coupon was presented.
    let sql = "SELECT EXISTS (SELECT 1 FROM coupon_redemptions r JOIN decisions d ON d.id = r.decision_id \
               WHERE r.user_id = $1 AND r.released_at IS NULL AND d.input LIKE '%\"place\":\"registration\"%')";
    let (was_welcomed,) = fetch_one!(conn, (bool,), sql, user_id)?;
    Ok(was_welcomed)
}

pub(super) async fn by_id(conn: &mut Conn, id: CouponId) -> sqlx::Result<Option<Coupon>> {
    find_where(conn, COUPON, &Filter::of("id = ?", id)).await
}

/// Moment at which a coupon may be given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Usable {
    Now(DateTime<Utc>),
    /// When this customer signed up, also where it is not any more.
    AtSignUp(UserId),
}

/// Coupons of these plugins that may be given at a moment.
pub(super) async fn usable_of(
    conn: &mut Conn,
    plugins: &[String],
    usable: Usable,
) -> sqlx::Result<Vec<Coupon>> {
    if plugins.is_empty() {
        return Ok(Vec::new());
    }
    let filter = match usable {
        Usable::Now(now) => Filter::of(
            "status = 'ACTIVE' AND starts_at <= ? AND (ends_at IS NULL OR ends_at > ?)",
            now,
        ),
        // One that the shop has ended was changed then; one that is switched off may be changed later, too.
        Usable::AtSignUp(user_id) => Filter::of(
            "created_at <= (SELECT u.created_at FROM users u WHERE u.id = ?)
             AND starts_at <= (SELECT u.created_at FROM users u WHERE u.id = ?)
             AND (ends_at IS NULL OR ends_at > (SELECT u.created_at FROM users u WHERE u.id = ?))
             AND (status = 'ACTIVE'
               OR (status IN ('USED_UP', 'EXPIRED') AND updated_at > (SELECT u.created_at FROM users u WHERE u.id = ?))
               OR disabled_at > (SELECT u.created_at FROM users u WHERE u.id = ?))",
            user_id,
        ),
    };
    let filter = filter.with_any("plugin_id", plugins.iter().map(String::as_str));
    fetch_where(conn, COUPON, &filter, "ORDER BY created_at, id").await
}

/// Fields of a coupon to insert.
pub(super) struct NewCouponRow<'a> {
    pub(super) id: CouponId,
    pub(super) code: &'a CouponCode,
    pub(super) description: &'a str,
    pub(super) plugin_id: &'a str,
    pub(super) parameters: &'a Value,
    pub(super) starts_at: DateTime<Utc>,
    pub(super) ends_at: Option<DateTime<Utc>>,
    pub(super) max_uses: Option<i64>,
    pub(super) max_uses_per_user: Option<i64>,
    pub(super) budget: Option<Rupiah>,
    pub(super) services: &'a [String],
    pub(super) tiers: &'a [Tier],
    pub(super) periods: Option<i64>,
    pub(super) created_by: UserId,
    pub(super) now: DateTime<Utc>,
}

pub(super) async fn insert(conn: &mut Conn, new: &NewCouponRow<'_>) -> sqlx::Result<()> {
    execute!(
        conn,
        "INSERT INTO coupons (id, code, description, plugin_id, parameters, starts_at, ends_at, max_uses,
           max_uses_per_user, budget, services, tiers, periods, status, created_by, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'ACTIVE', $14, $15, $15)",
        new.id,
        new.code.as_str(),
        new.description,
        new.plugin_id,
        Json(new.parameters),
        new.starts_at,
        new.ends_at,
        new.max_uses,
        new.max_uses_per_user,
        new.budget,
        Json(new.services),
        Json(new.tiers),
        new.periods,
        new.created_by,
        new.now,
    )
    .map(|_| ())
}

/// Takes one use and its cost, if window, status, uses and budget still allow it. The last use
/// makes the coupon USED_UP in the same statement.
pub(super) async fn take_use(
    conn: &mut Conn,
    seen: &Coupon,
    amount: Rupiah,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE coupons SET used_count = used_count + 1, granted_amount = granted_amount + $2, updated_at = $3,
                 status = CASE WHEN used_count + 1 >= max_uses OR granted_amount + $2 >= budget THEN 'USED_UP' ELSE status END
               WHERE id = $1 AND status = 'ACTIVE' AND starts_at <= $3 AND (ends_at IS NULL OR ends_at > $3)
                 AND (max_uses IS NULL OR used_count < max_uses)
                 AND (budget IS NULL OR granted_amount + $2 <= budget) AND revision = $4
               RETURNING used_count";
    let taken = write_returning!(conn, (i64,), sql, seen.id, amount, now, seen.revision)?;
    Ok(taken.is_some())
}

/// Counts this customer's uses of the coupon.
pub(super) async fn customer_uses(
    conn: &mut Conn,
    coupon_id: CouponId,
    user_id: UserId,
) -> sqlx::Result<i64> {
    let sql = "SELECT uses FROM coupon_customer_uses WHERE coupon_id = $1 AND user_id = $2";
    let row = fetch_optional!(conn, (i64,), sql, coupon_id, user_id)?;
    Ok(row.map_or(0, |(uses,)| uses))
}

/// Standing of a customer who redeems a coupon.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Standing {
    /// True while the account is active.
    pub(super) is_active: bool,
    /// Number of times that this customer has used the coupon.
    pub(super) uses: i64,
}

/// Returns the standing of a customer under the lock of the wallet, which the end of an account takes, too.
pub(super) async fn standing(
    conn: &mut Conn,
    coupon_id: CouponId,
    user_id: UserId,
) -> sqlx::Result<Standing> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE id = $2 AND status = 'ACTIVE' AND deleted_at IS NULL) AS is_active,
                 coalesce((SELECT uses FROM coupon_customer_uses WHERE coupon_id = $1 AND user_id = $2), 0) AS uses";
    fetch_one!(conn, Standing, sql, coupon_id, user_id)
}

/// Counts one use by this customer.
pub(super) async fn add_customer_use(
    conn: &mut Conn,
    coupon_id: CouponId,
    user_id: UserId,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO coupon_customer_uses (coupon_id, user_id, uses) VALUES ($1, $2, 1)
               ON CONFLICT (coupon_id, user_id) DO UPDATE SET uses = coupon_customer_uses.uses + 1";
    defer!(conn, sql, coupon_id, user_id)
}

pub(super) async fn registered_at(
    conn: &mut Conn,
    user_id: UserId,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let row = fetch_optional!(
        conn,
        (DateTime<Utc>,),
        "SELECT created_at FROM users WHERE id = $1",
        user_id
    )?;
    Ok(row.map(|(at,)| at))
}

/// Fields of a redemption to insert.
pub(super) struct NewRedemption<'a> {
    pub(super) id: RedemptionId,
    pub(super) coupon_id: CouponId,
    pub(super) user_id: UserId,
    pub(super) effect: EffectView,
    pub(super) amount: Rupiah,
    pub(super) reason: &'a str,
    pub(super) decision_id: DecisionId,
    pub(super) transaction_id: Option<TransactionId>,
    pub(super) subscription_id: Option<SubscriptionId>,
    /// Of the subscription; 1 where the coupon was redeemed.
    pub(super) period: i64,
    pub(super) now: DateTime<Utc>,
}

pub(super) async fn insert_redemption(
    conn: &mut Conn,
    new: &NewRedemption<'_>,
) -> sqlx::Result<()> {
    defer!(
        conn,
        "INSERT INTO coupon_redemptions (id, coupon_id, user_id, effect, amount, reason, decision_id, transaction_id,
           subscription_id, period, created_at, revenue)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
           coalesce((SELECT -t.amount FROM transactions t WHERE t.id = $8 AND t.type IN ('SUBSCRIPTION', 'UPGRADE')
             AND t.status = 'COMPLETED'), 0))",
        new.id,
        new.coupon_id,
        new.user_id,
        Json(new.effect),
        new.amount,
        new.reason,
        new.decision_id,
        new.transaction_id,
        new.subscription_id,
        new.period,
        new.now,
    )
}

/// The coupon a subscription was bought with, and the digest and input of the decision to grant it.
pub(super) async fn granted(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
) -> sqlx::Result<Option<(Coupon, String, String)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        coupon: Coupon,
        digest: String,
        input: String,
    }
    let sql = select_coupon!(
        ", digest, input FROM coupons JOIN (
           SELECT r.coupon_id, d.digest, d.input FROM coupon_redemptions r JOIN decisions d ON d.id = r.decision_id
           WHERE r.subscription_id = $1 AND r.period = 1) AS granted ON granted.coupon_id = coupons.id"
    );
    let row = fetch_optional!(conn, Row, sql, subscription_id)?;
    Ok(row.map(|row| (row.coupon, row.digest, row.input)))
}

/// Takes the cost of one more period, if the budget still holds it. A customer who was promised a
/// period gets it when the coupon is over for others.
pub(super) async fn take_cost(
    conn: &mut Conn,
    coupon_id: CouponId,
    amount: Rupiah,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE coupons SET granted_amount = granted_amount + $2, updated_at = $3,
                 status = CASE WHEN status = 'ACTIVE' AND granted_amount + $2 >= budget THEN 'USED_UP' ELSE status END
               WHERE id = $1 AND (budget IS NULL OR granted_amount + $2 <= budget)";
    Ok(execute!(conn, sql, coupon_id, amount, now)? == 1)
}

/// A redemption that was given back.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Released {
    coupon_id: CouponId,
    user_id: UserId,
    amount: Rupiah,
    period: i64,
}

/// Marks the redemptions of a subscription as given back, once.
pub(super) async fn release(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Released>> {
    let sql = "UPDATE coupon_redemptions SET released_at = $2 WHERE subscription_id = $1 AND released_at IS NULL
               RETURNING coupon_id, user_id, amount, period";
    fetch_all!(conn, Released, sql, subscription_id, now)
}

/// Takes a redemption out of a coupon's counts again. Later periods are no uses.
pub(super) async fn give_back_use(
    conn: &mut Conn,
    released: &Released,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let Released {
        coupon_id,
        user_id,
        amount,
        period,
    } = released;
    let uses = i64::from(*period == 1);
    let sql = "UPDATE coupons SET used_count = used_count - $2, granted_amount = granted_amount - $3, updated_at = $4,
                 status = CASE WHEN status = 'USED_UP' AND (max_uses IS NULL OR used_count - $2 < max_uses)
                   AND (budget IS NULL OR granted_amount - $3 < budget) THEN 'ACTIVE' ELSE status END
               WHERE id = $1";
    execute!(conn, sql, coupon_id, uses, amount, now)?;
    let sql = "UPDATE coupon_customer_uses SET uses = uses - $3 WHERE coupon_id = $1 AND user_id = $2 AND uses >= $3";
    execute!(conn, sql, coupon_id, user_id, uses).map(|_| ())
}

const REDEMPTIONS: List = List {
    rows: "SELECT r.id, c.code, r.effect, r.amount, r.reason, r.decision_id, r.transaction_id, r.subscription_id, r.period,
        r.created_at, r.released_at FROM coupon_redemptions r JOIN coupons c ON c.id = r.coupon_id",
    from: "FROM coupon_redemptions r",
    key: "r.id",
    order: "ORDER BY r.created_at DESC, r.id DESC",
};

pub(super) async fn redemptions_of_user(
    conn: &mut Conn,
    user_id: UserId,
    span: Span<RedemptionId>,
) -> sqlx::Result<Walked<RedemptionRow>> {
    let filter = Filter::of("r.user_id = ?", user_id);
    let place = "(r.created_at, r.id) < (?, ?)";
    fetch_span(conn, REDEMPTIONS, place, filter, span).await
}

/// Sets the status EXPIRED or USED_UP on every active coupon that cannot be used any more.
pub(super) async fn settle_statuses(conn: &mut Conn, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let sql = "UPDATE coupons SET updated_at = $1,
                 status = CASE WHEN used_count >= max_uses OR granted_amount >= budget THEN 'USED_UP' ELSE 'EXPIRED' END
               WHERE status = 'ACTIVE' AND (ends_at <= $1 OR used_count >= max_uses OR granted_amount >= budget)";
    execute!(conn, sql, now)
}
