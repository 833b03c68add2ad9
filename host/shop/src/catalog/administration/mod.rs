//! Services and plans as administrators see and change them.

mod creation;
mod editing;
mod own_template;
mod removal;
mod store;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

pub use creation::{NewPlan, NewService, create_plan, create_service};
pub use editing::{
    PlanChanges, ServiceChanges, ServiceReset, change_plan, change_service, reset_service,
    switch_plan, switch_service,
};
pub use removal::{Removal, remove_plan, remove_service};

pub(super) use store::lock_categories;

use super::{Catalog, Plan, PlanTermView, ResourcesView, Tier};
use crate::{
    Error, Result,
    db::{Conn, Page, Part},
    ids::{CategoryId, PlanId, ServiceId},
    money::Rupiah,
    text_enum,
};

/// Beginning of the name of a template that an administrator wrote, in place of its file's.
pub(super) const WRITTEN_HERE: &str = "administrator:";

text_enum! {
    /// Reason why a service is sold or not.
    pub enum ServiceState {
        OnSale = "ON_SALE",
        /// An administrator took it off sale.
        Off = "OFF",
        /// Its template is wrong, or no version of its plugin is active.
        Refused = "REFUSED",
        /// It is kept for those who bought it.
        Retired = "RETIRED",
    }
}

/// Filter of a list of services; words are looked for in name, summary and slug.
#[derive(Debug, Default)]
pub struct ServicesFilter<'a> {
    /// Slug of a category.
    pub category: Option<&'a str>,
    /// Id of the plugin.
    pub plugin: Option<&'a str>,
    pub state: Option<ServiceState>,
    pub words: Option<&'a str>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct ServiceRow {
    id: ServiceId,
    slug: String,
    category_id: CategoryId,
    category: String,
    category_name: String,
    plugin_id: String,
    name: String,
    summary: String,
    description: String,
    featured: bool,
    active: bool,
    refused: Option<String>,
    retired_at: Option<DateTime<Utc>>,
    edited: String,
    template_file: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct PlanRow {
    #[sqlx(flatten)]
    plan: Plan,
    edited: String,
    retired_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
}

/// Plan, as administrators see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedPlan {
    pub id: PlanId,
    pub service_id: ServiceId,
    pub slug: String,
    pub name: String,
    pub tier: Tier,
    /// Rupiah a month, for new customers.
    pub monthly_price: Rupiah,
    /// Longer terms that it is sold for, the shortest first.
    pub terms: Vec<PlanTermView>,
    /// Rupiah for a frozen month, for customers who freeze from now on; absent where it cannot be frozen.
    pub storage_price: Option<Rupiah>,
    pub resources: ResourcesView,
    pub features: Vec<String>,
    pub max_instances_per_user: i64,
    pub total_quota: i64,
    /// Number of live subscriptions.
    pub used_quota: i64,
    /// True while administrators want it sold.
    pub active: bool,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub retired_at: Option<DateTime<Utc>>,
    /// Fields that keep an administrator's value over the template's.
    pub edited: Vec<String>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub updated_at: DateTime<Utc>,
}

impl From<PlanRow> for ManagedPlan {
    fn from(row: PlanRow) -> Self {
        let plan = row.plan;
        Self {
            id: plan.id,
            service_id: plan.service_id,
            slug: plan.slug,
            name: plan.name,
            tier: plan.tier,
            monthly_price: plan.monthly_price,
            terms: plan.terms.0.into_iter().map(Into::into).collect(),
            storage_price: plan.storage_price,
            resources: ResourcesView {
                cpu_millis: plan.cpu_millis,
                memory_mib: plan.memory_mib,
                storage_gib: plan.storage_gib,
                replicas: plan.replicas,
            },
            features: plan.features.0,
            max_instances_per_user: plan.max_instances_per_user,
            total_quota: plan.total_quota,
            used_quota: plan.used_quota,
            active: plan.active,
            retired_at: row.retired_at,
            edited: names(&row.edited),
            created_at: plan.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Service, as administrators see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedService {
    pub id: ServiceId,
    pub slug: String,
    /// Slug of its category.
    pub category: String,
    pub category_name: String,
    /// Id of its plugin.
    pub plugin: String,
    pub name: String,
    pub summary: String,
    pub description: String,
    pub featured: bool,
    pub state: ServiceState,
    /// True while administrators want it sold.
    pub active: bool,
    /// Reason why its template is refused, or that no version of its plugin is active.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub refused: Option<String>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub retired_at: Option<DateTime<Utc>>,
    /// Fields that keep an administrator's value over the template's.
    pub edited: Vec<String>,
    /// Name of its template's file; absent for a service that an administrator created.
    pub template_file: Option<String>,
    /// The cheapest first.
    pub plans: Vec<ManagedPlan>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub updated_at: DateTime<Utc>,
}

impl ManagedService {
    fn of(row: ServiceRow, plans: Vec<ManagedPlan>) -> Self {
        let file = row.template_file.clone();
        Self {
            state: ServiceState::of(&row),
            id: row.id,
            slug: row.slug,
            category: row.category,
            category_name: row.category_name,
            plugin: row.plugin_id,
            name: row.name,
            summary: row.summary,
            description: row.description,
            featured: row.featured,
            active: row.active,
            refused: row.refused,
            retired_at: row.retired_at,
            edited: names(&row.edited),
            template_file: file.filter(|name| !name.starts_with(WRITTEN_HERE)),
            plans,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl ServiceState {
    const fn of(row: &ServiceRow) -> Self {
        match (row.retired_at.is_some(), row.active, row.refused.is_some()) {
            (true, _, _) => Self::Retired,
            (false, false, _) => Self::Off,
            (false, true, true) => Self::Refused,
            (false, true, false) => Self::OnSale,
        }
    }
}

/// Live subscriptions of a service.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSales {
    /// Slug of the service.
    pub service: String,
    /// Number that is not cancelled or expired.
    pub subscriptions: i64,
    pub customers: i64,
    /// Monthly prices of those that are active or in grace, before coupons.
    pub monthly_revenue: Rupiah,
}

/// Numbers of services and plans, and what is sold of them.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatistics {
    pub services: i64,
    pub on_sale: i64,
    pub off: i64,
    pub refused: i64,
    pub retired: i64,
    /// Number of plans, sold or not.
    pub plans: i64,
    /// Services with live subscriptions, by slug.
    pub sales: Vec<ServiceSales>,
}

/// Lists services, sold or not, with all their plans.
///
/// # Errors
/// When the database does not answer.
pub async fn managed_services(
    catalog: &Catalog,
    filter: &ServicesFilter<'_>,
    part: Part,
) -> Result<Page<ManagedService>> {
    let mut conn = catalog.db.read().await?;
    let Page { items, total } = store::list(&mut conn, filter, part).await?;
    let ids: Vec<ServiceId> = items.iter().map(|row| row.id).collect();
    let mut plans: HashMap<ServiceId, Vec<ManagedPlan>> = HashMap::new();
    for row in store::plans(&mut conn, &ids).await? {
        plans
            .entry(row.plan.service_id)
            .or_default()
            .push(row.into());
    }
    let items = items.into_iter().map(|row| {
        let plans = plans.remove(&row.id).unwrap_or_default();
        ManagedService::of(row, plans)
    });
    Ok(Page {
        items: items.collect(),
        total,
    })
}

/// Returns a service, sold or not, with all its plans.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn managed_service(catalog: &Catalog, id: ServiceId) -> Result<ManagedService> {
    managed(&mut catalog.db.read().await?, id).await
}

/// Returns a plan of a service, sold or not.
///
/// # Errors
/// `NOT_FOUND`, also for a plan of another service.
pub async fn managed_plan(
    catalog: &Catalog,
    service_id: ServiceId,
    id: PlanId,
) -> Result<ManagedPlan> {
    let mut conn = catalog.db.read().await?;
    Ok(plan_row(&mut conn, service_id, id).await?.into())
}

/// Counts services and plans by their state, and sums what is sold.
///
/// # Errors
/// When the database does not answer.
pub async fn service_statistics(catalog: &Catalog) -> Result<ServiceStatistics> {
    let mut conn = catalog.db.snapshot().await?;
    let services = store::all(&mut conn).await?;
    let ids: Vec<ServiceId> = services.iter().map(|row| row.id).collect();
    let plans = store::plans(&mut conn, &ids).await?;
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let count = |state| {
        let such = services.iter().filter(|row| ServiceState::of(row) == state);
        number(such.count())
    };
    Ok(ServiceStatistics {
        services: number(services.len()),
        on_sale: count(ServiceState::OnSale),
        off: count(ServiceState::Off),
        refused: count(ServiceState::Refused),
        retired: count(ServiceState::Retired),
        plans: number(plans.len()),
        sales: store::sales(&mut conn).await?,
    })
}

async fn service_row(conn: &mut Conn, id: ServiceId) -> Result<ServiceRow> {
    let row = store::service(conn, id).await?;
    row.ok_or_else(|| Error::not_found("service"))
}

async fn plan_row(conn: &mut Conn, service_id: ServiceId, id: PlanId) -> Result<PlanRow> {
    let row = store::plan(conn, id).await?;
    row.filter(|row| row.plan.service_id == service_id)
        .ok_or_else(|| Error::not_found("plan"))
}

async fn managed(conn: &mut Conn, id: ServiceId) -> Result<ManagedService> {
    let row = service_row(conn, id).await?;
    let plans = store::plans(conn, &[id]).await?;
    let plans = plans.into_iter().map(ManagedPlan::from).collect();
    Ok(ManagedService::of(row, plans))
}

/// Names of edited fields, as the database keeps them.
pub(super) fn names(edited: &str) -> Vec<String> {
    edited.split_whitespace().map(str::to_owned).collect()
}

/// Adds names to those that are edited already, each once and with blanks around.
pub(super) fn with_names<'n>(edited: &str, added: impl IntoIterator<Item = &'n str>) -> String {
    let mut all: Vec<&str> = edited.split_whitespace().collect();
    for name in added {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    match all.is_empty() {
        true => String::new(),
        false => format!(" {} ", all.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_edited_fields_are_kept_once() {
        assert_eq!(with_names("", []), "");
        let two = with_names(" name ", ["summary", "name"]);
        assert_eq!(two, " name summary ");
        assert_eq!(names(&two), ["name", "summary"]);
    }
}
