//! SQL over all coupons, for administrators.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::{
    super::{
        NewCoupon,
        model::{
            Coupon, CouponCost, CouponFilter, CouponStatus, RedeemedByRow, StatusCount, TypeCost,
        },
    },
    COUPON,
};
use crate::{
    db::{Conn, Filter, List, Span, Walked, fetch_span, fetch_where},
    execute, fetch_all,
    ids::{CouponId, RedemptionId},
    money::Rupiah,
};

/// Start, inclusive, and end, exclusive.
type Window = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Restricts coupons to a status as it is now.
fn of_status(filter: Filter<'_>, status: CouponStatus, now: DateTime<Utc>) -> Filter<'_> {
    match status {
        CouponStatus::Active => filter.with(
            "status = 'ACTIVE' AND (ends_at IS NULL OR ends_at > ?)",
            now,
        ),
        CouponStatus::Expired => filter.with(
            "(status = 'EXPIRED' OR status = 'ACTIVE' AND ends_at <= ?)",
            now,
        ),
        CouponStatus::Disabled | CouponStatus::UsedUp => filter.with("status = ?", status),
    }
}

pub(in crate::coupons) async fn list(
    conn: &mut Conn,
    wanted: &CouponFilter,
    span: Span<CouponId>,
) -> sqlx::Result<Walked<Coupon>> {
    let list = List {
        rows: COUPON,
        from: "FROM coupons",
        key: "id",
        order: "ORDER BY created_at DESC, id DESC",
    };
    let mut filter = Filter::default()
        .with_some("plugin_id = ?", wanted.plugin.as_deref())
        .containing(&["code", "description"], wanted.text.as_deref());
    if let Some(status) = wanted.status {
        filter = of_status(filter, status, wanted.now);
    }
    let place = "(created_at, id) < (?, ?)";
    fetch_span(conn, list, place, filter, span).await
}

/// An update that changes nothing takes the row's lock on both engines.
pub(in crate::coupons) async fn lock(
    conn: &mut Conn,
    id: CouponId,
) -> sqlx::Result<Option<Coupon>> {
    execute!(
        conn,
        "UPDATE coupons SET updated_at = updated_at WHERE id = $1",
        id
    )?;
    super::by_id(conn, id).await
}

/// New content of a coupon.
pub(in crate::coupons) struct ChangedRow<'a> {
    pub(in crate::coupons) id: CouponId,
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
    id: CouponId,
    status: CouponStatus,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE coupons SET status = $2, updated_at = $3,
                 disabled_at = CASE WHEN $2 = 'DISABLED' THEN coalesce(disabled_at, $3) END
               WHERE id = $1";
    execute!(conn, sql, id, status, now).map(|_| ())
}

/// `false` when it was used.
pub(in crate::coupons) async fn delete_unused(conn: &mut Conn, id: CouponId) -> sqlx::Result<bool> {
    let sql = "DELETE FROM coupons WHERE id = $1 AND used_count = 0
                 AND NOT EXISTS (SELECT 1 FROM coupon_redemptions WHERE coupon_id = $1)";
    Ok(execute!(conn, sql, id)? == 1)
}

const REDEMPTIONS: List = List {
    rows: "SELECT r.user_id, u.email, r.id, c.code, r.effect, r.amount, r.reason, r.decision_id, r.transaction_id,
        r.subscription_id, r.period, r.created_at, r.released_at
        FROM coupon_redemptions r JOIN coupons c ON c.id = r.coupon_id JOIN users u ON u.id = r.user_id",
    from: "FROM coupon_redemptions r",
    key: "r.id",
    order: "ORDER BY r.created_at DESC, r.id DESC",
};

pub(in crate::coupons) async fn redemptions(
    conn: &mut Conn,
    coupon_id: CouponId,
    span: Span<RedemptionId>,
) -> sqlx::Result<Walked<RedeemedByRow>> {
    let filter = Filter::of("r.coupon_id = ?", coupon_id);
    let place = "(r.created_at, r.id) < (?, ?)";
    fetch_span(conn, REDEMPTIONS, place, filter, span).await
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

/// Redemptions in the window that were not given back.
fn within((from, to): Window) -> Filter<'static> {
    Filter::default()
        .and("r.released_at IS NULL")
        .with_some("r.created_at >= ?", from)
        .with_some("r.created_at < ?", to)
}

/// Sums of a coupon, or of all coupons of a type.
#[derive(Debug, sqlx::FromRow)]
struct CostRow {
    /// Type; that of a single coupon is not read.
    plugin: Option<String>,
    id: Option<CouponId>,
    coupon_code: Option<String>,
    /// Number of coupons; 0 for a single one.
    coupons: i64,
    uses: i64,
    cost: Rupiah,
    revenue: Rupiah,
}

impl CostRow {
    fn of_type(self) -> Option<TypeCost> {
        Some(TypeCost {
            plugin: self.plugin?,
            coupons: self.coupons,
            uses: self.uses,
            cost: self.cost,
            revenue: self.revenue,
        })
    }

    fn of_coupon(self) -> Option<CouponCost> {
        Some(CouponCost {
            id: self.id?,
            coupon_code: self.coupon_code?,
            uses: self.uses,
            cost: self.cost,
            revenue: self.revenue,
        })
    }
}

/// Adds up redemptions in the window: by type, and for the ten coupons that cost the most. Each coupon's sums are made
/// once, from an index alone. A purchase is negative in the wallet; what came back since is not revenue, as its redemption
/// was given back. Later periods cost and bring money, and are no uses.
pub(in crate::coupons) async fn costs(
    conn: &mut Conn,
    window: Window,
) -> sqlx::Result<(Vec<TypeCost>, Vec<CouponCost>)> {
    let select = "WITH g AS MATERIALIZED (SELECT r.coupon_id, count(CASE WHEN r.period = 1 THEN 1 END) AS uses,
                    CAST(coalesce(sum(r.amount), 0) AS BIGINT) AS cost,
                    CAST(coalesce(sum(r.revenue), 0) AS BIGINT) AS revenue
                  FROM coupon_redemptions r";
    let tail = "GROUP BY r.coupon_id)
                SELECT c.plugin_id AS plugin, NULL AS id, NULL AS coupon_code, count(*) AS coupons,
                  CAST(sum(g.uses) AS BIGINT) AS uses, CAST(sum(g.cost) AS BIGINT) AS cost,
                  CAST(sum(g.revenue) AS BIGINT) AS revenue
                FROM g JOIN coupons c ON c.id = g.coupon_id GROUP BY c.plugin_id
                UNION ALL SELECT NULL, t.coupon_id, c.code, 0, t.uses, t.cost, t.revenue
                FROM (SELECT coupon_id, uses, cost, revenue FROM g ORDER BY cost DESC, coupon_id LIMIT 10) AS t
                JOIN coupons c ON c.id = t.coupon_id";
    let filter = within(window);
    let rows: Vec<CostRow> = fetch_where(conn, select, &filter, tail).await?;
    let (types, coupons): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.id.is_none());
    let mut types: Vec<TypeCost> = types.into_iter().filter_map(CostRow::of_type).collect();
    let mut coupons: Vec<CouponCost> = coupons.into_iter().filter_map(CostRow::of_coupon).collect();
    types.sort_by(|one, other| {
        let by_cost = other.cost.cmp(&one.cost);
        by_cost.then_with(|| one.plugin.cmp(&other.plugin))
    });
    coupons.sort_by(|one, other| {
        let by_cost = other.cost.cmp(&one.cost);
        by_cost.then_with(|| one.id.cmp(&other.id))
    });
    Ok((types, coupons))
}

/// Counts the customers of redemptions in the window.
pub(in crate::coupons) async fn customers(conn: &mut Conn, window: Window) -> sqlx::Result<i64> {
    // Groups come from the index of customers in its order, where distinct ones would be kept aside.
    let select = "SELECT count(*) FROM (SELECT r.user_id FROM coupon_redemptions r";
    let tail = "GROUP BY r.user_id) AS known";
    let filter = within(window);
    let rows: Vec<(i64,)> = fetch_where(conn, select, &filter, tail).await?;
    Ok(rows.first().map_or(0, |(number,)| *number))
}
