//! SQL of what administrators do with services and plans.

use chrono::{DateTime, Utc};
use dermaga_toolkit::template::{self, CategoryTexts};
use sqlx::types::Json;

use super::{PlanRow, ServiceRow, ServiceSales, ServiceState, ServicesFilter};
use crate::{
    catalog::store::LoadedFrom,
    db::{Conn, Filter, List, Page, Part, fetch_page, fetch_where, find_where},
    execute, fetch_all, fetch_optional,
    ids::{CategoryId, PlanId, ServiceId},
};

const SERVICES: List = List {
    rows: "SELECT s.id, s.slug, s.category_id, c.slug AS category, c.name AS category_name, s.plugin_id, s.name, s.summary,
        s.description, s.featured, s.active, s.refused, s.retired_at, s.edited, s.template_file, s.created_at, s.updated_at
        FROM services s JOIN service_categories c ON c.id = s.category_id",
    from: "FROM services s JOIN service_categories c ON c.id = s.category_id",
    key: "s.id",
    order: "ORDER BY s.name, s.slug",
};

/// Condition of services in this state; as [`ServiceState::of`].
const fn condition(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Retired => "s.retired_at IS NOT NULL",
        ServiceState::Off => "s.retired_at IS NULL AND NOT s.active",
        ServiceState::Refused => "s.retired_at IS NULL AND s.active AND s.refused IS NOT NULL",
        ServiceState::OnSale => "s.retired_at IS NULL AND s.active AND s.refused IS NULL",
    }
}

pub(super) async fn list(
    conn: &mut Conn,
    wanted: &ServicesFilter<'_>,
    part: Part,
) -> sqlx::Result<Page<ServiceRow>> {
    let filter = Filter::default()
        .with_some("c.slug = ?", wanted.category)
        .with_some("s.plugin_id = ?", wanted.plugin)
        .and_some(wanted.state.map(condition))
        .containing(
            &["s.name || ' ' || s.summary || ' ' || s.slug"],
            wanted.words,
        );
    fetch_page(conn, SERVICES, &filter, part).await
}

pub(super) async fn all(conn: &mut Conn) -> sqlx::Result<Vec<ServiceRow>> {
    fetch_where(conn, SERVICES.rows, &Filter::default(), SERVICES.order).await
}

pub(super) async fn service(conn: &mut Conn, id: ServiceId) -> sqlx::Result<Option<ServiceRow>> {
    find_where(conn, SERVICES.rows, &Filter::of("s.id = ?", id)).await
}

const PLANS: &str = "SELECT id, service_id, slug, name, tier, monthly_price, cpu_millis, memory_mib, storage_gib, replicas,
    total_quota, used_quota, max_instances_per_user, features, terms, storage_price, active, created_at, edited, retired_at, updated_at,
    CASE WHEN edited LIKE '% features %' THEN NULL ELSE indonesian_features END AS indonesian_features
    FROM service_plans";

/// Plans of these services, sold or not.
pub(super) async fn plans(conn: &mut Conn, services: &[ServiceId]) -> sqlx::Result<Vec<PlanRow>> {
    let filter = Filter::default().with_any("service_id", services.iter().copied());
    fetch_where(conn, PLANS, &filter, "ORDER BY monthly_price, slug").await
}

pub(super) async fn plan(conn: &mut Conn, id: PlanId) -> sqlx::Result<Option<PlanRow>> {
    find_where(conn, PLANS, &Filter::of("id = ?", id)).await
}

/// Sums the live subscriptions of each service, and counts each customer of several plans once.
pub(super) async fn sales(conn: &mut Conn) -> sqlx::Result<Vec<ServiceSales>> {
    // SQLite keeps the order of a cross join, so that each plan's are read from the index of those that live.
    let sql = "SELECT v.slug AS service, count(*) AS subscriptions, count(DISTINCT s.user_id) AS customers,
                 CAST(coalesce(sum(CASE WHEN s.status IN ('ACTIVE', 'PAST_DUE') THEN
                   CASE WHEN s.freeze_state = 'FROZEN' THEN s.storage_price
                     ELSE coalesce(s.term_price / s.term_months, s.monthly_price) END ELSE 0 END), 0) AS BIGINT)
                   AS monthly_revenue
               FROM services v CROSS JOIN service_plans p CROSS JOIN subscriptions s
               WHERE p.service_id = v.id AND s.plan_id = p.id
                 AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')
               GROUP BY v.slug ORDER BY v.slug";
    fetch_all!(conn, ServiceSales, sql)
}

pub(super) async fn template(conn: &mut Conn, id: ServiceId) -> sqlx::Result<Option<LoadedFrom>> {
    let sql = "SELECT slug, template_file, template, plugin_id, refused IS NOT NULL AS is_refused
               FROM services WHERE id = $1";
    fetch_optional!(conn, LoadedFrom, sql, id)
}

/// Takes the lock of a service's row on both engines.
pub(super) async fn lock_service(conn: &mut Conn, id: ServiceId) -> sqlx::Result<()> {
    let sql = "UPDATE services SET updated_at = updated_at WHERE id = $1";
    execute!(conn, sql, id).map(|_| ())
}

/// Takes the lock of a plan's row on both engines.
pub(super) async fn lock_plan(conn: &mut Conn, id: PlanId) -> sqlx::Result<()> {
    let sql = "UPDATE service_plans SET updated_at = updated_at WHERE id = $1";
    execute!(conn, sql, id).map(|_| ())
}

/// Takes the locks of all categories: administrators who create services wait for each other.
pub(in crate::catalog) async fn lock_categories(conn: &mut Conn) -> sqlx::Result<()> {
    // All wait for the same row first, or three of them could each hold what another one wants.
    let first = "UPDATE service_categories SET position = position
                 WHERE id = (SELECT id FROM service_categories ORDER BY id LIMIT 1)";
    execute!(conn, first)?;
    execute!(conn, "UPDATE service_categories SET position = position").map(|_| ())
}

/// Writes the fields of a service that administrators edit.
pub(super) async fn update_service(
    conn: &mut Conn,
    row: &ServiceRow,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE services SET category_id = $2, name = $3, summary = $4, description = $5, featured = $6, edited = $7,
                 updated_at = $8 WHERE id = $1";
    execute!(
        conn,
        sql,
        row.id,
        row.category_id,
        &row.name,
        &row.summary,
        &row.description,
        row.featured,
        &row.edited,
        now
    )
    .map(|_| ())
}

/// Writes the template of a service, with what it says that the service runs; the plugin has accepted it.
pub(super) async fn rewrite_service(
    conn: &mut Conn,
    id: ServiceId,
    template: &template::Template,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE services SET images = $2, settings = $3, pod_security_exceptions = $4, template = $5,
                 refused = NULL, updated_at = $6 WHERE id = $1";
    execute!(
        conn,
        sql,
        id,
        Json(&template.images),
        Json(&template.settings),
        Json(&template.pod_security.exceptions),
        template.source().text.as_str(),
        now
    )
    .map(|_| ())
}

/// Writes the fields of a plan that administrators edit.
pub(super) async fn update_plan(
    conn: &mut Conn,
    row: &PlanRow,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE service_plans SET name = $2, monthly_price = $3, cpu_millis = $4, memory_mib = $5, storage_gib = $6,
                 replicas = $7, max_instances_per_user = $8, features = $9, edited = $10, updated_at = $11, terms = $12, storage_price = $13 WHERE id = $1";
    let plan = &row.plan;
    execute!(
        conn,
        sql,
        plan.id,
        &plan.name,
        plan.monthly_price,
        plan.cpu_millis,
        plan.memory_mib,
        plan.storage_gib,
        plan.replicas,
        plan.max_instances_per_user,
        Json(&plan.features.0),
        &row.edited,
        now,
        &plan.terms,
        plan.storage_price
    )
    .map(|_| ())
}

/// Puts a service on sale, or off it; one that is put on sale is not retired any more.
pub(super) async fn switch_service(
    conn: &mut Conn,
    id: ServiceId,
    active: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE services SET active = $2, updated_at = $3,
                 retired_at = CASE WHEN $2 THEN NULL ELSE retired_at END WHERE id = $1";
    execute!(conn, sql, id, active, now).map(|_| ())
}

/// Puts a plan on sale, or off it; one that is put on sale is not retired any more.
pub(super) async fn switch_plan(
    conn: &mut Conn,
    id: PlanId,
    active: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE service_plans SET active = $2, updated_at = $3,
                 retired_at = CASE WHEN $2 THEN NULL ELSE retired_at END WHERE id = $1";
    execute!(conn, sql, id, active, now).map(|_| ())
}

pub(super) async fn retire_service(
    conn: &mut Conn,
    id: ServiceId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE services SET active = FALSE, retired_at = $2, updated_at = $2 WHERE id = $1";
    execute!(conn, sql, id, now).map(|_| ())
}

pub(super) async fn retire_plan(
    conn: &mut Conn,
    id: PlanId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql =
        "UPDATE service_plans SET active = FALSE, retired_at = $2, updated_at = $2 WHERE id = $1";
    execute!(conn, sql, id, now).map(|_| ())
}

/// Lets the template decide all fields of a service and of these plans again.
pub(super) async fn forget_edits(
    conn: &mut Conn,
    id: ServiceId,
    plans: &[PlanId],
) -> sqlx::Result<()> {
    execute!(conn, "UPDATE services SET edited = '' WHERE id = $1", id)?;
    for plan in plans {
        execute!(
            conn,
            "UPDATE service_plans SET edited = '' WHERE id = $1",
            *plan
        )?;
    }
    Ok(())
}

/// Removes quotes in the order of their ids, in which a deletion of their customer's account takes them, too. SQLite's
/// writer has every row.
const REMOVE_QUOTES_OF_SERVICE: &str = "DELETE FROM quotes WHERE id = ANY(ARRAY(\
    SELECT id FROM quotes WHERE plan_id IN (SELECT id FROM service_plans WHERE service_id = $1) ORDER BY id FOR UPDATE))";

/// Removes the quotes of one plan in the same order.
const REMOVE_QUOTES_OF_PLAN: &str = "DELETE FROM quotes WHERE id = ANY(ARRAY(\
    SELECT id FROM quotes WHERE plan_id = $1 ORDER BY id FOR UPDATE))";

/// Removes the quotes of a service's plans, and takes the locks of the plans that are free; `false` when one is not.
pub(super) async fn free_service(conn: &mut Conn, id: ServiceId) -> sqlx::Result<bool> {
    let sql =
        "DELETE FROM quotes WHERE plan_id IN (SELECT id FROM service_plans WHERE service_id = $1)";
    let is_postgres = conn.is_postgres();
    let sql = if is_postgres {
        REMOVE_QUOTES_OF_SERVICE
    } else {
        sql
    };
    execute!(conn, sql, id)?;
    let sql = if conn.is_postgres() {
        "SELECT id FROM service_plans WHERE service_id = $1 ORDER BY id FOR UPDATE SKIP LOCKED"
    } else {
        "SELECT id FROM service_plans WHERE service_id = $1"
    };
    let free = fetch_all!(conn, (PlanId,), sql, id)?;
    let sql = "SELECT id FROM service_plans WHERE service_id = $1";
    let all = fetch_all!(conn, (PlanId,), sql, id)?;
    Ok(free.len() == all.len())
}

/// Removes the quotes of a plan, and takes the lock of the plan if it is free; `false` when it is not.
pub(super) async fn free_plan(conn: &mut Conn, id: PlanId) -> sqlx::Result<bool> {
    let sql = "DELETE FROM quotes WHERE plan_id = $1";
    let is_postgres = conn.is_postgres();
    let sql = if is_postgres {
        REMOVE_QUOTES_OF_PLAN
    } else {
        sql
    };
    execute!(conn, sql, id)?;
    let sql = if conn.is_postgres() {
        "SELECT id FROM service_plans WHERE id = $1 FOR UPDATE SKIP LOCKED"
    } else {
        "SELECT id FROM service_plans WHERE id = $1"
    };
    Ok(fetch_optional!(conn, (PlanId,), sql, id)?.is_some())
}

/// Deletes a service with its plans. The database refuses when one of them was ever sold.
pub(super) async fn delete_service(conn: &mut Conn, id: ServiceId) -> sqlx::Result<()> {
    execute!(conn, "DELETE FROM service_plans WHERE service_id = $1", id)?;
    execute!(conn, "DELETE FROM services WHERE id = $1", id).map(|_| ())
}

/// Deletes a plan. The database refuses when it was ever sold.
pub(super) async fn delete_plan(conn: &mut Conn, id: PlanId) -> sqlx::Result<()> {
    execute!(conn, "DELETE FROM service_plans WHERE id = $1", id).map(|_| ())
}

/// Id and texts of a category.
pub(super) async fn category(
    conn: &mut Conn,
    slug: &str,
) -> sqlx::Result<Option<(CategoryId, template::Category)>> {
    type Row = (CategoryId, String, String, Option<String>, Option<String>);
    let sql = "SELECT id, name, description, indonesian_name, indonesian_description
               FROM service_categories WHERE slug = $1";
    let row = fetch_optional!(conn, Row, sql, slug)?;
    Ok(
        row.map(|(id, name, description, in_indonesian, described)| {
            let texts = CategoryTexts {
                name: in_indonesian,
                description: described,
            };
            let slug = slug.to_owned();
            let category = template::Category {
                slug,
                name,
                description,
                texts,
            };
            (id, category)
        }),
    )
}

/// Returns the service with this slug, sold or not.
pub(super) async fn by_slug(conn: &mut Conn, slug: &str) -> sqlx::Result<Option<ServiceId>> {
    let row = fetch_optional!(
        conn,
        (ServiceId,),
        "SELECT id FROM services WHERE slug = $1",
        slug
    )?;
    Ok(row.map(|(id,)| id))
}
