//! SQL of quotas, for administrators.

use chrono::{DateTime, Utc};

use super::{QuotaFilter, QuotaHealth, QuotaRow};
use crate::{
    db::{Conn, Filter, List, Page, Part, fetch_page, fetch_where, find_where},
    execute,
    ids::PlanId,
};

const QUOTAS: List = List {
    rows: "SELECT p.id AS plan_id, s.slug AS service, s.name AS service_name, p.slug AS plan, p.name AS plan_name, p.tier,
        (p.active AND s.active AND s.refused IS NULL) AS sold, p.total_quota, p.used_quota,
        (SELECT count(*) FROM waitlist w WHERE w.plan_id = p.id AND w.held_until IS NOT NULL) AS held_quota,
        (SELECT count(*) FROM waitlist w WHERE w.plan_id = p.id AND w.held_until IS NULL) AS waiting
        FROM service_plans p JOIN services s ON s.id = p.service_id",
    from: "FROM service_plans p JOIN services s ON s.id = p.service_id",
    key: "p.id",
    order: "ORDER BY s.slug, p.monthly_price, p.slug",
};

/// Condition of plans with this health; as [`QuotaHealth::of`].
const fn condition(health: QuotaHealth) -> &'static str {
    match health {
        QuotaHealth::Full => "p.used_quota >= p.total_quota",
        QuotaHealth::Critical => {
            "p.used_quota < p.total_quota AND p.used_quota * 100 >= p.total_quota * 95"
        }
        QuotaHealth::Warning => {
            "p.used_quota * 100 < p.total_quota * 95 AND p.used_quota * 100 >= p.total_quota * 80"
        }
        QuotaHealth::Healthy => "p.used_quota * 100 < p.total_quota * 80",
    }
}

pub(super) async fn list(
    conn: &mut Conn,
    wanted: &QuotaFilter<'_>,
    part: Part,
) -> sqlx::Result<Page<QuotaRow>> {
    let filter = Filter::default()
        .with_some("s.slug = ?", wanted.service)
        .with_some("p.tier = ?", wanted.tier)
        .and_some(wanted.health.map(condition));
    fetch_page(conn, QUOTAS, &filter, part).await
}

pub(super) async fn all(conn: &mut Conn) -> sqlx::Result<Vec<QuotaRow>> {
    fetch_where(conn, QUOTAS.rows, &Filter::default(), QUOTAS.order).await
}

pub(super) async fn of_plan(conn: &mut Conn, id: PlanId) -> sqlx::Result<Option<QuotaRow>> {
    find_where(conn, QUOTAS.rows, &Filter::of("p.id = ?", id)).await
}

/// Takes the lock of a plan's row on both engines, until the caller commits.
pub(super) async fn lock(conn: &mut Conn, id: PlanId) -> sqlx::Result<bool> {
    let sql = "UPDATE service_plans SET updated_at = updated_at WHERE id = $1";
    Ok(execute!(conn, sql, id)? == 1)
}

/// Sets the quota of a plan, unless more of it is in use.
pub(super) async fn set_total(
    conn: &mut Conn,
    id: PlanId,
    total: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE service_plans SET total_quota = $2, updated_at = $3 WHERE id = $1 AND used_quota <= $2";
    Ok(execute!(conn, sql, id, total, now)? == 1)
}
