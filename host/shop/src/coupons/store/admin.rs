//! SQL over all coupons, for administrators.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    super::{
        NewCoupon,
        model::{Coupon, CouponCost, CouponStatus, RedeemedByRow, StatusCount, TypeCost},
    },
    COUPON,
};
use crate::{
    db::{Conn, contains},
    execute, fetch_all, fetch_built, fetch_one,
    money::Rupiah,
};

/// Start, inclusive, and end, exclusive.
type Window = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

#[derive(Debug, Clone)]
pub struct CouponFilter {
    pub status: Option<CouponStatus>,
    pub plugin: Option<String>,
    /// Part of the code or the description.
    pub text: Option<String>,
    /// Moment of the query: an active coupon whose window is over counts as expired.
    pub now: DateTime<Utc>,
}

macro_rules! filter_coupons {
    ($q:ident, $filter:expr) => {
        $q.push(" WHERE true");
        match $filter.status {
            Some(CouponStatus::Active) => {
                $q.push(" AND status = 'ACTIVE' AND (ends_at IS NULL OR ends_at > ")
                    .push_bind($filter.now);
                $q.push(")");
            }
            Some(CouponStatus::Expired) => {
                $q.push(" AND (status = 'EXPIRED' OR status = 'ACTIVE' AND ends_at <= ")
                    .push_bind($filter.now);
                $q.push(")");
            }
            Some(status) => {
                $q.push(" AND status = ").push_bind(status);
            }
            None => {}
        }
        if let Some(plugin) = &$filter.plugin {
            $q.push(" AND plugin_id = ").push_bind(plugin.clone());
        }
        if let Some(text) = &$filter.text {
            let pattern = contains(text);
            $q.push(" AND (lower(code) LIKE ")
                .push_bind(pattern.clone());
            $q.push(" ESCAPE '!' OR lower(description) LIKE ")
                .push_bind(pattern);
            $q.push(" ESCAPE '!')");
        }
    };
}

pub async fn list(
    conn: &mut Conn,
    filter: &CouponFilter,
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<Coupon>> {
    fetch_built!(conn, Coupon, COUPON, |q| {
        filter_coupons!(q, filter);
        q.push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(limit);
        q.push(" OFFSET ").push_bind(offset);
    })
}

pub async fn count(conn: &mut Conn, filter: &CouponFilter) -> sqlx::Result<i64> {
    let found: Vec<(i64,)> = fetch_built!(conn, (i64,), "SELECT count(*) FROM coupons", |q| {
        filter_coupons!(q, filter);
    })?;
    Ok(found.first().map_or(0, |(count,)| *count))
}

/// An update that changes nothing takes the row's lock on both engines.
pub(in crate::coupons) async fn lock(conn: &mut Conn, id: Uuid) -> sqlx::Result<Option<Coupon>> {
    execute!(
        conn,
        "UPDATE coupons SET updated_at = updated_at WHERE id = $1",
        id
    )?;
    super::by_id(conn, id).await
}

/// New content of a coupon.
pub(in crate::coupons) struct ChangedRow<'a> {
    pub(in crate::coupons) id: Uuid,
    pub(in crate::coupons) wanted: &'a NewCoupon,
    pub(in crate::coupons) starts_at: DateTime<Utc>,
    pub(in crate::coupons) status: CouponStatus,
    pub(in crate::coupons) now: DateTime<Utc>,
}

pub(in crate::coupons) async fn update(conn: &mut Conn, row: &ChangedRow<'_>) -> sqlx::Result<()> {
    let wanted = row.wanted;
    execute!(
        conn,
        "UPDATE coupons SET code = $2, description = $3, plugin_id = $4, parameters = $5, starts_at = $6, ends_at = $7,
           max_uses = $8, max_uses_per_user = $9, budget = $10, services = $11, tiers = $12, periods = $13, status = $14,
           updated_at = $15, revision = revision + 1
         WHERE id = $1",
        row.id,
        wanted.code.as_str(),
        &wanted.description,
        &wanted.plugin,
        Json(&wanted.parameters),
        row.starts_at,
        wanted.ends_at,
        wanted.max_uses,
        wanted.max_uses_per_user,
        wanted.budget.map(Rupiah::new),
        Json(&wanted.services),
        Json(&wanted.tiers),
        wanted.lasts.periods(),
        row.status,
        row.now,
    )
    .map(|_| ())
}

pub(in crate::coupons) async fn set_status(
    conn: &mut Conn,
    id: Uuid,
    status: CouponStatus,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE coupons SET status = $2, updated_at = $3 WHERE id = $1";
    execute!(conn, sql, id, status, now).map(|_| ())
}

/// `false` when it was used.
pub(in crate::coupons) async fn delete_unused(conn: &mut Conn, id: Uuid) -> sqlx::Result<bool> {
    let sql = "DELETE FROM coupons WHERE id = $1 AND used_count = 0
                 AND NOT EXISTS (SELECT 1 FROM coupon_redemptions WHERE coupon_id = $1)";
    Ok(execute!(conn, sql, id)? == 1)
}

pub async fn redemptions(
    conn: &mut Conn,
    coupon_id: Uuid,
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<RedeemedByRow>> {
    let sql = "SELECT r.user_id, u.email, r.id, c.code, r.effect, r.amount, r.reason, r.decision_id, r.transaction_id,
                 r.subscription_id, r.period, r.created_at, r.released_at
               FROM coupon_redemptions r JOIN coupons c ON c.id = r.coupon_id JOIN users u ON u.id = r.user_id
               WHERE r.coupon_id = $1 ORDER BY r.created_at DESC, r.id DESC LIMIT $2 OFFSET $3";
    fetch_all!(conn, RedeemedByRow, sql, coupon_id, limit, offset)
}

pub async fn count_redemptions(conn: &mut Conn, coupon_id: Uuid) -> sqlx::Result<i64> {
    let sql = "SELECT count(*) FROM coupon_redemptions WHERE coupon_id = $1";
    let (count,) = fetch_one!(conn, (i64,), sql, coupon_id)?;
    Ok(count)
}

pub(in crate::coupons) async fn count_by_status(
    conn: &mut Conn,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<StatusCount>> {
    let sql = "SELECT status, count(*) AS count
               FROM (SELECT CASE WHEN status = 'ACTIVE' AND ends_at <= $1 THEN 'EXPIRED' ELSE status END AS status FROM coupons) AS shown
               GROUP BY status ORDER BY status";
    fetch_all!(conn, StatusCount, sql, now)
}

/// A purchase is negative in the wallet; what came back since is not revenue. Later periods cost
/// and bring money, and are no uses.
const SUMS: &str = "count(CASE WHEN r.period = 1 THEN 1 END) AS uses, CAST(coalesce(sum(r.amount), 0) AS BIGINT) AS cost,
    CAST(coalesce(sum(CASE WHEN t.type IN ('SUBSCRIPTION', 'UPGRADE') AND t.status = 'COMPLETED' THEN -t.amount ELSE 0 END), 0) AS BIGINT) AS revenue
    FROM coupon_redemptions r JOIN coupons c ON c.id = r.coupon_id LEFT JOIN transactions t ON t.id = r.transaction_id";

macro_rules! within {
    ($q:ident, $window:expr) => {
        $q.push(" WHERE r.released_at IS NULL");
        if let Some(from) = $window.0 {
            $q.push(" AND r.created_at >= ").push_bind(from);
        }
        if let Some(to) = $window.1 {
            $q.push(" AND r.created_at < ").push_bind(to);
        }
    };
}

pub(in crate::coupons) async fn cost_by_type(
    conn: &mut Conn,
    window: Window,
) -> sqlx::Result<Vec<TypeCost>> {
    let start = "SELECT c.plugin_id AS plugin, count(DISTINCT c.id) AS coupons, ";
    fetch_built!(conn, TypeCost, start, |q| {
        q.push(SUMS);
        within!(q, window);
        q.push(" GROUP BY c.plugin_id ORDER BY cost DESC, c.plugin_id");
    })
}

pub(in crate::coupons) async fn costliest(
    conn: &mut Conn,
    window: Window,
    limit: i64,
) -> sqlx::Result<Vec<CouponCost>> {
    fetch_built!(
        conn,
        CouponCost,
        "SELECT c.id, c.code AS coupon_code, ",
        |q| {
            q.push(SUMS);
            within!(q, window);
            q.push(" GROUP BY c.id, c.code ORDER BY cost DESC, c.id LIMIT ")
                .push_bind(limit);
        }
    )
}

pub(in crate::coupons) async fn customers(conn: &mut Conn, window: Window) -> sqlx::Result<i64> {
    let start = "SELECT count(DISTINCT r.user_id) FROM coupon_redemptions r";
    let found: Vec<(i64,)> = fetch_built!(conn, (i64,), start, |q| {
        within!(q, window);
    })?;
    Ok(found.first().map_or(0, |(count,)| *count))
}
