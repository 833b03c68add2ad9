//! Quotas of plans: how much of each is in use, and their change by administrators.

mod store;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Catalog, Tier, waitlist};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::{Conn, Page, Part},
    ids::{PlanId, UserId},
    text_enum,
};

/// Largest quota of a plan.
pub const MOST_QUOTA: i64 = 1_000_000;
/// Most plans that one request changes.
pub const MOST_PLANS: usize = 50;
/// Most plans that an overview names.
const MOST_NAMED: usize = 10;

text_enum! {
    /// Health of a quota, by the part of it that is in use.
    #[derive(PartialOrd, Ord)]
    pub enum QuotaHealth {
        Healthy = "healthy",
        /// 80 % or more.
        Warning = "warning",
        /// 95 % or more.
        Critical = "critical",
        /// Nothing is left.
        Full = "full",
    }
}

impl QuotaHealth {
    const fn of(used: i64, total: i64) -> Self {
        let (part, whole) = (used.saturating_mul(100), total);
        if used >= total {
            Self::Full
        } else if part >= whole.saturating_mul(95) {
            Self::Critical
        } else if part >= whole.saturating_mul(80) {
            Self::Warning
        } else {
            Self::Healthy
        }
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct QuotaRow {
    plan_id: PlanId,
    service: String,
    service_name: String,
    plan: String,
    plan_name: String,
    tier: Tier,
    sold: bool,
    total_quota: i64,
    used_quota: i64,
    held_quota: i64,
    waiting: i64,
}

/// Filter of a list of quotas.
#[derive(Debug, Default)]
pub struct QuotaFilter<'a> {
    /// Slug of the service.
    pub service: Option<&'a str>,
    pub tier: Option<Tier>,
    pub health: Option<QuotaHealth>,
}

/// Numbers of a quota, of one plan or of several together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaNumbers {
    pub total_quota: i64,
    pub used_quota: i64,
    pub available_quota: i64,
    /// Percent in use, rounded down.
    pub utilization: i64,
    pub health: QuotaHealth,
}

impl QuotaNumbers {
    fn of(total: i64, used: i64) -> Self {
        let percent = used.saturating_mul(100).checked_div(total);
        Self {
            total_quota: total,
            used_quota: used,
            available_quota: total.saturating_sub(used),
            utilization: percent.unwrap_or(100),
            health: QuotaHealth::of(used, total),
        }
    }

    fn sum<'r>(rows: impl IntoIterator<Item = &'r QuotaRow>) -> Self {
        let add = |(total, used): (i64, i64), row: &QuotaRow| {
            (
                total.saturating_add(row.total_quota),
                used.saturating_add(row.used_quota),
            )
        };
        let (total, used) = rows.into_iter().fold((0, 0), add);
        Self::of(total, used)
    }
}

/// Quota of a plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaView {
    pub plan_id: PlanId,
    /// Slug of the service.
    pub service: String,
    pub service_name: String,
    /// Slug of the plan.
    pub plan: String,
    pub plan_name: String,
    pub tier: Tier,
    /// True while the plan and its service are on sale.
    pub sold: bool,
    #[serde(flatten)]
    pub quota: QuotaNumbers,
    /// Number of places in use that are held for customers who waited.
    pub held_quota: i64,
    /// Number of customers who wait for a place.
    pub waiting: i64,
}

impl From<QuotaRow> for QuotaView {
    fn from(row: QuotaRow) -> Self {
        Self {
            quota: QuotaNumbers::of(row.total_quota, row.used_quota),
            plan_id: row.plan_id,
            service: row.service,
            service_name: row.service_name,
            plan: row.plan,
            plan_name: row.plan_name,
            tier: row.tier,
            sold: row.sold,
            held_quota: row.held_quota,
            waiting: row.waiting,
        }
    }
}

/// Numbers of plans by the health of their quota.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlansByHealth {
    pub healthy: i64,
    pub warning: i64,
    pub critical: i64,
    pub full: i64,
}

/// All quotas at a glance.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaOverview {
    /// Number of plans, sold or not.
    pub plans: i64,
    #[serde(flatten)]
    pub quota: QuotaNumbers,
    pub by_health: PlansByHealth,
    /// Plans on sale that are not healthy, the fullest first; ten at most.
    pub attention: Vec<QuotaView>,
}

/// Quotas of the plans of a service, together.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceQuota {
    /// Slug of the service.
    pub service: String,
    pub plans: i64,
    #[serde(flatten)]
    pub quota: QuotaNumbers,
}

/// Quotas of the plans of a tier, together.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierQuota {
    pub tier: Tier,
    pub plans: i64,
    #[serde(flatten)]
    pub quota: QuotaNumbers,
}

/// Sums of quotas.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaStatistics {
    /// In the order of their slugs.
    pub by_service: Vec<ServiceQuota>,
    /// From the lowest tier to the highest.
    pub by_tier: Vec<TierQuota>,
}

/// Quota that a plan is to have.
#[derive(Debug, Clone, Copy)]
pub struct NewQuota {
    pub plan_id: PlanId,
    pub total_quota: i64,
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Lists quotas by service, the cheapest plan first.
///
/// # Errors
/// When the database does not answer.
pub async fn quotas(
    catalog: &Catalog,
    filter: &QuotaFilter<'_>,
    part: Part,
) -> Result<Page<QuotaView>> {
    let found = store::list(&mut catalog.db.read().await?, filter, part).await?;
    Ok(found.map(QuotaView::from))
}

/// Returns the quota of a plan.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn quota(catalog: &Catalog, plan_id: PlanId) -> Result<QuotaView> {
    of_plan(&mut catalog.db.read().await?, plan_id).await
}

async fn of_plan(conn: &mut Conn, plan_id: PlanId) -> Result<QuotaView> {
    let row = store::of_plan(conn, plan_id).await?;
    row.map(QuotaView::from)
        .ok_or_else(|| Error::not_found("plan").with("planId", plan_id.to_string()))
}

/// Sums all quotas and names the plans that need attention.
///
/// # Errors
/// When the database does not answer.
pub async fn quota_overview(catalog: &Catalog) -> Result<QuotaOverview> {
    let rows = store::all(&mut catalog.db.read().await?).await?;
    Ok(overview(rows))
}

fn overview(rows: Vec<QuotaRow>) -> QuotaOverview {
    let (plans, quota) = (number(rows.len()), QuotaNumbers::sum(&rows));
    let views: Vec<QuotaView> = rows.into_iter().map(QuotaView::from).collect();
    let count = |health| {
        let such = views.iter().filter(|view| view.quota.health == health);
        number(such.count())
    };
    let by_health = PlansByHealth {
        healthy: count(QuotaHealth::Healthy),
        warning: count(QuotaHealth::Warning),
        critical: count(QuotaHealth::Critical),
        full: count(QuotaHealth::Full),
    };
    let mut attention: Vec<QuotaView> = views
        .into_iter()
        .filter(|view| view.sold && view.quota.health != QuotaHealth::Healthy)
        .collect();
    attention.sort_by_key(|view| {
        (
            std::cmp::Reverse(view.quota.health),
            view.quota.available_quota,
        )
    });
    attention.truncate(MOST_NAMED);
    QuotaOverview {
        plans,
        quota,
        by_health,
        attention,
    }
}

/// Sums quotas by service and by tier.
///
/// # Errors
/// When the database does not answer.
pub async fn quota_statistics(catalog: &Catalog) -> Result<QuotaStatistics> {
    let rows = store::all(&mut catalog.db.read().await?).await?;
    let mut services: BTreeMap<&str, Vec<&QuotaRow>> = BTreeMap::new();
    let mut tiers: BTreeMap<Tier, Vec<&QuotaRow>> = BTreeMap::new();
    for row in &rows {
        services.entry(&row.service).or_default().push(row);
        tiers.entry(row.tier).or_default().push(row);
    }
    let by_service = services.into_iter().map(|(service, rows)| ServiceQuota {
        service: service.to_owned(),
        plans: number(rows.len()),
        quota: QuotaNumbers::sum(rows),
    });
    let by_tier = tiers.into_iter().map(|(tier, rows)| TierQuota {
        tier,
        plans: number(rows.len()),
        quota: QuotaNumbers::sum(rows),
    });
    Ok(QuotaStatistics {
        by_service: by_service.collect(),
        by_tier: by_tier.collect(),
    })
}

/// Sets the quotas of plans: all, or none. Returns them in the order of their ids.
///
/// # Errors
/// `NOT_FOUND` with the id of an unknown plan, `VALIDATION_FAILED` for a plan that is named twice,
/// `INVALID_STATE` when more of a plan is in use, or held for those who waited.
pub async fn set_quotas(
    catalog: &Catalog,
    actor_id: UserId,
    mut wanted: Vec<NewQuota>,
    reason: &str,
) -> Result<Vec<QuotaView>> {
    // All lock in this order, so that two administrators never wait for each other.
    wanted.sort_unstable_by_key(|new| new.plan_id);
    let repeated = wanted.windows(2).find_map(|pair| match pair {
        [one, other] if one.plan_id == other.plan_id => Some(one.plan_id),
        _ => None,
    });
    if let Some(plan_id) = repeated {
        let message = format!("the plan {plan_id} is named twice");
        return Err(Error::invalid("plans", message));
    }
    let mut conn = catalog.db.begin().await?;
    let mut changed = Vec::with_capacity(wanted.len());
    for new in wanted {
        changed.push(set_quota(&mut conn, catalog, actor_id, new, reason).await?);
    }
    conn.commit().await?;
    Ok(changed)
}

/// Takes the lock of a plan's row, until the caller commits.
pub(super) async fn lock(conn: &mut Conn, plan_id: PlanId) -> Result<()> {
    store::lock(conn, plan_id).await?;
    Ok(())
}

async fn set_quota(
    conn: &mut Conn,
    catalog: &Catalog,
    actor_id: UserId,
    new: NewQuota,
    reason: &str,
) -> Result<QuotaView> {
    let (clock, plan_id) = (&catalog.clock, new.plan_id);
    lock(conn, plan_id).await?;
    let before = of_plan(conn, plan_id).await?;
    if !store::set_total(conn, plan_id, new.total_quota, clock.now()).await? {
        return Err(below_use(&before));
    }
    let details = json!({
        "service": before.service, "plan": before.plan, "before": before.quota.total_quota,
        "after": new.total_quota, "used": before.quota.used_quota,
    });
    let event = Event::new(AuditAct::QuotaChanged, Subject::Plan(plan_id), details).because(reason);
    audit::record(conn, clock, actor_id, event).await?;
    waitlist::settle(conn, catalog, plan_id).await?;
    of_plan(conn, plan_id).await
}

fn below_use(before: &QuotaView) -> Error {
    let (service, plan) = (&before.service_name, &before.plan_name);
    let message = match before.quota.used_quota {
        1 => format!("1 of {service} {plan} is in use or held. Its quota cannot be less."),
        used => format!("{used} of {service} {plan} are in use or held. Its quota cannot be less."),
    };
    let field = format!("{}/{}", before.service, before.plan);
    Error::new(Code::InvalidState, message).with(field, "is in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_follows_the_part_in_use() {
        use QuotaHealth::{Critical, Full, Healthy, Warning};
        for (used, total, health) in [
            (0, 10, Healthy),
            (79, 100, Healthy),
            (80, 100, Warning),
            (94, 100, Warning),
            (95, 100, Critical),
            (99, 100, Critical),
            (100, 100, Full),
            (18, 19, Warning),
            (19, 20, Critical),
            (0, 0, Full),
        ] {
            assert_eq!(QuotaHealth::of(used, total), health, "{used} of {total}");
        }
    }

    #[test]
    fn numbers_of_a_quota_without_places_are_full() {
        let none = QuotaNumbers::of(0, 0);
        assert_eq!((none.utilization, none.health), (100, QuotaHealth::Full));
        let most = QuotaNumbers::of(1000, 949);
        assert_eq!((most.utilization, most.available_quota), (94, 51));
    }
}
