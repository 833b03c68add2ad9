//! SQL of moves.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dermaga_runtime::contract::Settings;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Order, Target};
use crate::{
    catalog::Sizes,
    db::{Conn, Filter, fetch_where},
    fetch_all, fetch_one, fetch_optional,
    ids::{InstanceId, PlanId, ServiceId, SubscriptionId},
    provisioning::{model::Instance, recipe},
};

/// Returns live instances that are not yet as the order wants them, whatever their share.
pub(super) async fn candidates(conn: &mut Conn, order: &Order) -> sqlx::Result<Vec<InstanceId>> {
    let select = match &order.target {
        Target::Version { .. } => {
            "SELECT i.id FROM instances i JOIN plugin_versions v ON v.digest = i.plugin_digest"
        }
        Target::Settings { .. } => {
            "SELECT i.id FROM instances i JOIN service_plans p ON p.id = i.plan_id JOIN services s ON s.id = p.service_id"
        }
    };
    let filter = not_as_wanted(conn, order).await?;
    let found: Vec<(InstanceId,)> = fetch_where(conn, select, &filter, "").await?;
    let mut found: Vec<_> = found.into_iter().map(|(id,)| id).collect();
    found.sort();
    Ok(found)
}

async fn not_as_wanted<'o>(conn: &mut Conn, order: &'o Order) -> sqlx::Result<Filter<'o>> {
    let filter = match &order.target {
        Target::Version {
            plugin_id,
            to,
            from,
        } => Filter::of("v.plugin_id = ?", plugin_id.as_str())
            .with("i.plugin_digest <> ?", to.as_str())
            .with_some("i.plugin_digest = ?", from.as_deref()),
        Target::Settings { service } => Filter::default()
            .with_any("i.plan_id", plans_of(conn, service).await?)
            .and(
                "(i.settings <> s.settings OR i.images <> s.images OR i.cpu_millis <> p.cpu_millis \
                 OR i.memory_mib <> p.memory_mib OR i.storage_gib <> p.storage_gib OR i.replicas <> p.replicas)",
            ),
    };
    let filter = filter
        .and("i.desired <> 'TERMINATED'")
        .with_some("i.id > ?", order.after);
    Ok(match &order.instances {
        Some(instances) => filter.with_any("i.id", instances.iter().copied()),
        None => filter,
    })
}

/// Plugin version and plan of instances.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Kind {
    pub(super) plugin_digest: String,
    pub(super) plan_id: PlanId,
}

/// Returns the kinds of the instances that [`candidates`] returns.
pub(super) async fn kinds(conn: &mut Conn, order: &Order) -> sqlx::Result<Vec<Kind>> {
    let select = match &order.target {
        Target::Version { .. } => {
            "SELECT DISTINCT i.plugin_digest, i.plan_id FROM instances i \
             JOIN plugin_versions v ON v.digest = i.plugin_digest"
        }
        Target::Settings { .. } => {
            "SELECT DISTINCT i.plugin_digest, i.plan_id FROM instances i \
             JOIN service_plans p ON p.id = i.plan_id JOIN services s ON s.id = p.service_id"
        }
    };
    let filter = not_as_wanted(conn, order).await?;
    fetch_where(conn, select, &filter, "").await
}

/// A plan with what instances get that are moved to its present size and its service's present template.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct PlanNow {
    pub(super) id: PlanId,
    pub(super) service_id: ServiceId,
    #[sqlx(flatten)]
    pub(super) present: Present,
}

/// Returns all plans.
pub(super) async fn plans_now(conn: &mut Conn) -> sqlx::Result<Vec<PlanNow>> {
    let sql = "SELECT p.id, p.service_id, s.settings, s.images, p.cpu_millis, p.memory_mib, p.storage_gib, p.replicas \
               FROM service_plans p JOIN services s ON s.id = p.service_id";
    fetch_all!(conn, PlanNow, sql)
}

/// Returns live instances of these plans that went back from what they were moved to.
pub(super) async fn went_back(conn: &mut Conn, plans: &[PlanId]) -> sqlx::Result<Vec<Instance>> {
    let filter = live(plans).and("i.failed_recipe IS NOT NULL");
    fetch_where(conn, "SELECT i.* FROM instances i", &filter, "").await
}

/// Returns live instances of these plans whose change is not proven and fails: what refuses it was asked since, and a
/// failure began with its rollout. One from before says nothing about the new recipe, and neither does one of the
/// host or the cluster, nor lost data.
pub(super) async fn failing(conn: &mut Conn, plans: &[PlanId]) -> sqlx::Result<Vec<Instance>> {
    // A cluster that denies access has the cause of a refusal without one. It shows an instance that was never
    // delivered as failed, and any other as degraded.
    let filter = live(plans).and("i.unproven_generation IS NOT NULL").and(
        "((i.failures > 0 AND i.failure_cause = 'REFUSED' AND i.refusal IS NOT NULL) \
         OR (coalesce(i.failure_cause, '') NOT IN ('AWAY', 'HOST', 'DATA_LOST') \
           AND (i.delivered_at IS NOT NULL OR coalesce(i.failure_cause, '') <> 'REFUSED') \
           AND EXISTS (SELECT 1 FROM health_spans h WHERE h.instance_id = i.id AND h.until IS NULL \
             AND h.state = 'FAILED' AND h.since >= coalesce(i.rollout_begun_at, i.rollout_since))))",
    );
    fetch_where(conn, "SELECT i.* FROM instances i", &filter, "").await
}

/// Returns true while a change of plan is under way, which is judged by itself.
pub(super) async fn changes_plan(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
) -> sqlx::Result<bool> {
    let sql = "SELECT id FROM plan_changes WHERE subscription_id = $1 AND state = 'PENDING'";
    let row = fetch_optional!(conn, (Uuid,), sql, subscription_id)?;
    Ok(row.is_some())
}

fn live(plans: &[PlanId]) -> Filter<'static> {
    Filter::default()
        .with_any("i.plan_id", plans.iter().copied())
        .and("i.desired <> 'TERMINATED'")
}

async fn plans_of(conn: &mut Conn, slug: &str) -> sqlx::Result<Vec<PlanId>> {
    let sql =
        "SELECT p.id FROM service_plans p JOIN services s ON s.id = p.service_id WHERE s.slug = $1";
    let found = fetch_all!(conn, (PlanId,), sql, slug)?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

pub(super) async fn has_service(conn: &mut Conn, slug: &str) -> sqlx::Result<bool> {
    let sql = "SELECT id FROM services WHERE slug = $1";
    Ok(fetch_optional!(conn, (Uuid,), sql, slug)?.is_some())
}

/// Settings and images that the template of an instance's service names now, and the present size of
/// its plan.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Present {
    pub(super) settings: Json<Settings>,
    pub(super) images: Json<BTreeMap<String, String>>,
    #[sqlx(flatten)]
    pub(super) sizes: Sizes,
}

impl Present {
    /// Returns the fingerprint of the recipe that it makes with a plugin version.
    pub(super) fn fingerprint(&self, plugin_digest: &str) -> String {
        recipe::fingerprint(plugin_digest, &self.settings.0, &self.images.0, self.sizes)
    }
}

pub(super) async fn present(conn: &mut Conn, instance_id: InstanceId) -> sqlx::Result<Present> {
    let sql = "SELECT s.settings, s.images, p.cpu_millis, p.memory_mib, p.storage_gib, p.replicas \
               FROM instances i JOIN service_plans p ON p.id = i.plan_id \
               JOIN services s ON s.id = p.service_id WHERE i.id = $1";
    fetch_one!(conn, Present, sql, instance_id)
}

/// Returns true when a period of its subscription is over and the next one is not charged yet: that
/// one is priced by the version that the instance was on when it began.
pub(super) async fn is_overdue(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    // One that is held is charged only once it runs, and another version may be what makes it run.
    let sql = "SELECT id FROM subscriptions WHERE id = $1 AND status = 'ACTIVE' AND period_end <= $2 \
               AND held_since IS NULL";
    let row = fetch_optional!(conn, (Uuid,), sql, subscription_id, now)?;
    Ok(row.is_some())
}
