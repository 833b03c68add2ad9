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
    ids::{InstanceId, PlanId, SubscriptionId},
};

/// Returns live instances that are not yet as the order wants them, whatever their share.
pub(super) async fn candidates(conn: &mut Conn, order: &Order) -> sqlx::Result<Vec<InstanceId>> {
    let plans = match &order.target {
        Target::Settings { service } => plans_of(conn, service).await?,
        Target::Version { .. } => Vec::new(),
    };
    let (select, filter) = match &order.target {
        Target::Version {
            plugin_id,
            to,
            from,
        } => (
            "SELECT i.id FROM instances i JOIN plugin_versions v ON v.digest = i.plugin_digest",
            Filter::of("v.plugin_id = ?", plugin_id.as_str())
                .with("i.plugin_digest <> ?", to.as_str())
                .with_some("i.plugin_digest = ?", from.as_deref()),
        ),
        Target::Settings { .. } => (
            "SELECT i.id FROM instances i JOIN service_plans p ON p.id = i.plan_id JOIN services s ON s.id = p.service_id",
            Filter::default()
                .with_any("i.plan_id", plans)
                .and(
                    "(i.settings <> s.settings OR i.images <> s.images OR i.cpu_millis <> p.cpu_millis \
                     OR i.memory_mib <> p.memory_mib OR i.storage_gib <> p.storage_gib OR i.replicas <> p.replicas)",
                ),
        ),
    };
    let filter = filter
        .and("i.desired <> 'TERMINATED'")
        .with_some("i.id > ?", order.after);
    let filter = match &order.instances {
        Some(instances) => filter.with_any("i.id", instances.iter().copied()),
        None => filter,
    };
    let found: Vec<(InstanceId,)> = fetch_where(conn, select, &filter, "").await?;
    let mut found: Vec<_> = found.into_iter().map(|(id,)| id).collect();
    found.sort();
    Ok(found)
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
