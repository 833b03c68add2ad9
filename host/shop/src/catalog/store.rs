//! SQL of categories, services and plans.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dermaga_runtime::{contract::Settings, gate::Exception};
use dermaga_toolkit::template::{self, ServiceTexts};
use sqlx::types::Json;

use super::{Category, Offer, Plan, PlanTerm, Service, ServiceFilter, Tier};
use crate::{
    db::{Conn, Filter, List, Page, Part, fetch_page, fetch_where, find_where},
    execute, fetch_all, fetch_one, fetch_optional,
    ids::{CategoryId, PlanId, ServiceId, UserId},
    money::Rupiah,
};

pub(super) async fn upsert_category(
    conn: &mut Conn,
    id: CategoryId,
    category: &template::Category,
) -> sqlx::Result<CategoryId> {
    let sql = "INSERT INTO service_categories (id, slug, name, description, indonesian_name, indonesian_description)
               VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (slug) DO UPDATE SET
                 indonesian_name = coalesce(excluded.indonesian_name, service_categories.indonesian_name),
                 indonesian_description = coalesce(excluded.indonesian_description, service_categories.indonesian_description),
                 name = CASE WHEN service_categories.edited LIKE '% name %' THEN service_categories.name ELSE excluded.name END,
                 description = CASE WHEN service_categories.edited LIKE '% description %' THEN service_categories.description ELSE excluded.description END
               RETURNING id";
    let texts = &category.texts;
    let (id,) = fetch_one!(
        conn,
        (CategoryId,),
        sql,
        id,
        &category.slug,
        &category.name,
        &category.description,
        &texts.name,
        &texts.description
    )?;
    Ok(id)
}

/// Columns of a service, from its template.
pub(super) struct NewService<'a> {
    pub(super) id: ServiceId,
    pub(super) slug: &'a str,
    pub(super) category_id: CategoryId,
    pub(super) plugin_id: &'a str,
    pub(super) name: &'a str,
    pub(super) summary: &'a str,
    pub(super) description: &'a str,
    pub(super) texts: &'a ServiceTexts,
    pub(super) featured: bool,
    pub(super) images: &'a BTreeMap<String, String>,
    pub(super) settings: &'a Settings,
    pub(super) exceptions: &'a [Exception],
    /// Name of its template's file, and the text.
    pub(super) template: (&'a str, &'a str),
}

/// Inserts or updates a service by slug, as one that can be sold; `active` and edited fields stay
/// as an administrator left them.
pub(super) async fn upsert_service(
    conn: &mut Conn,
    new: &NewService<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<ServiceId> {
    let (id,) = fetch_one!(
        conn,
        (ServiceId,),
        "INSERT INTO services (id, slug, category_id, plugin_id, name, summary, description, featured, active,
           images, settings, pod_security_exceptions, template_file, template, created_at, updated_at,
           indonesian_summary, indonesian_description, indonesian_form, indonesian_sentences)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, TRUE, $9, $10, $11, $13, $14, $12, $12, $15, $16, $17, $18)
         ON CONFLICT (slug) DO UPDATE SET plugin_id = excluded.plugin_id,
           category_id = CASE WHEN services.edited LIKE '% category %' THEN services.category_id ELSE excluded.category_id END,
           name = CASE WHEN services.edited LIKE '% name %' THEN services.name ELSE excluded.name END,
           summary = CASE WHEN services.edited LIKE '% summary %' THEN services.summary ELSE excluded.summary END,
           description = CASE WHEN services.edited LIKE '% description %' THEN services.description ELSE excluded.description END,
           featured = CASE WHEN services.edited LIKE '% featured %' THEN services.featured ELSE excluded.featured END,
           indonesian_summary = excluded.indonesian_summary, indonesian_description = excluded.indonesian_description,
           indonesian_form = excluded.indonesian_form, indonesian_sentences = excluded.indonesian_sentences,
           images = excluded.images, settings = excluded.settings,
           pod_security_exceptions = excluded.pod_security_exceptions, template_file = excluded.template_file,
           template = excluded.template, refused = NULL, updated_at = excluded.updated_at
         RETURNING id",
        new.id,
        new.slug,
        new.category_id,
        new.plugin_id,
        new.name,
        new.summary,
        new.description,
        new.featured,
        Json(new.images),
        Json(new.settings),
        Json(new.exceptions),
        now,
        new.template.0,
        new.template.1,
        &new.texts.summary,
        &new.texts.description,
        Json(&new.texts.form),
        Json(&new.texts.sentences),
    )?;
    Ok(id)
}

/// Takes the locks of all services; the caller has those of the categories, in whose order all wait.
pub(super) async fn lock_services(conn: &mut Conn) -> sqlx::Result<()> {
    // The end of a sale waits for services alone, in the same order. SQLite's writer has every row.
    let sql = if conn.is_postgres() {
        "SELECT id FROM services ORDER BY id FOR NO KEY UPDATE"
    } else {
        "SELECT id FROM services ORDER BY id"
    };
    fetch_all!(conn, (ServiceId,), sql).map(|_| ())
}

/// Source that a service was loaded from.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct LoadedFrom {
    pub(super) slug: String,
    /// Name of the file; absent, as the text, for one that was loaded before they were kept.
    pub(super) template_file: Option<String>,
    pub(super) template: Option<String>,
    pub(super) plugin_id: String,
    /// True when it is not sold for a reason other than an administrator's.
    pub(super) is_refused: bool,
}

/// Returns the source of every service, sold or not.
pub(super) async fn loaded_from(conn: &mut Conn) -> sqlx::Result<Vec<LoadedFrom>> {
    let sql = "SELECT slug, template_file, template, plugin_id, refused IS NOT NULL AS is_refused
               FROM services ORDER BY slug";
    fetch_all!(conn, LoadedFrom, sql)
}

/// A plan as far as templates must go together with it.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct KnownPlan {
    /// Slug of the service.
    pub(super) service: String,
    pub(super) slug: String,
    pub(super) tier: Tier,
    pub(super) is_retired: bool,
}

/// Returns all plans.
pub(super) async fn known_plans(conn: &mut Conn) -> sqlx::Result<Vec<KnownPlan>> {
    let sql = "SELECT s.slug AS service, p.slug, p.tier, p.retired_at IS NOT NULL AS is_retired
               FROM service_plans p JOIN services s ON s.id = p.service_id ORDER BY s.slug, p.slug";
    fetch_all!(conn, KnownPlan, sql)
}

/// Edited fields of a service or a plan.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Edits {
    /// Slug of the service.
    pub(super) service: String,
    /// Slug of the plan.
    pub(super) plan: Option<String>,
    /// Names with blanks around.
    pub(super) edited: String,
}

/// Services and plans with edited fields.
pub(super) async fn edits(conn: &mut Conn) -> sqlx::Result<Vec<Edits>> {
    let sql = "SELECT slug AS service, NULL AS plan, edited FROM services WHERE edited <> ''
               UNION ALL
               SELECT s.slug, p.slug, p.edited FROM service_plans p JOIN services s ON s.id = p.service_id
               WHERE p.edited <> '' ORDER BY 1, 2";
    fetch_all!(conn, Edits, sql)
}

/// Records the reason that a service cannot be sold, or clears it.
pub(super) async fn set_refused(
    conn: &mut Conn,
    slug: &str,
    why: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE services SET refused = $2, updated_at = $3
               WHERE slug = $1 AND COALESCE(refused, '') <> COALESCE($2, '')";
    execute!(conn, sql, slug, why, now).map(|_| ())
}

/// Columns of a plan, from its template.
pub(super) struct NewPlan<'a> {
    pub(super) id: PlanId,
    pub(super) service_id: ServiceId,
    pub(super) slug: &'a str,
    pub(super) name: &'a str,
    pub(super) tier: Tier,
    pub(super) monthly_price: Rupiah,
    pub(super) cpu_millis: i64,
    pub(super) memory_mib: i64,
    pub(super) storage_gib: i64,
    pub(super) replicas: i64,
    pub(super) quota: i64,
    pub(super) max_instances_per_user: i64,
    pub(super) features: &'a [String],
    pub(super) indonesian_features: Option<&'a [String]>,
    pub(super) terms: &'a [PlanTerm],
    pub(super) storage_price: Option<Rupiah>,
}

/// Inserts or updates a plan; the template sets quota and `active` once, then they belong to the
/// administrators.
pub(super) async fn upsert_plan(
    conn: &mut Conn,
    new: &NewPlan<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    execute!(
        conn,
        "INSERT INTO service_plans (id, service_id, slug, name, tier, monthly_price, cpu_millis, memory_mib, storage_gib,
           replicas, total_quota, max_instances_per_user, features, terms, active, created_at, updated_at,
           storage_price, indonesian_features)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $15, TRUE, $14, $14, $16, $17)
         ON CONFLICT (service_id, slug) DO UPDATE SET tier = excluded.tier,
           name = CASE WHEN service_plans.edited LIKE '% name %' THEN service_plans.name ELSE excluded.name END,
           monthly_price = CASE WHEN service_plans.edited LIKE '% monthlyPrice %' THEN service_plans.monthly_price ELSE excluded.monthly_price END,
           cpu_millis = CASE WHEN service_plans.edited LIKE '% cpuMillis %' THEN service_plans.cpu_millis ELSE excluded.cpu_millis END,
           memory_mib = CASE WHEN service_plans.edited LIKE '% memoryMib %' THEN service_plans.memory_mib ELSE excluded.memory_mib END,
           storage_gib = CASE WHEN service_plans.edited LIKE '% storageGib %' THEN service_plans.storage_gib ELSE excluded.storage_gib END,
           replicas = CASE WHEN service_plans.edited LIKE '% replicas %' THEN service_plans.replicas ELSE excluded.replicas END,
           max_instances_per_user = CASE WHEN service_plans.edited LIKE '% maxInstancesPerUser %' THEN service_plans.max_instances_per_user ELSE excluded.max_instances_per_user END,
           features = CASE WHEN service_plans.edited LIKE '% features %' THEN service_plans.features ELSE excluded.features END,
           indonesian_features = excluded.indonesian_features,
           storage_price = CASE WHEN service_plans.edited LIKE '% storagePrice %' THEN service_plans.storage_price ELSE excluded.storage_price END,
           terms = CASE WHEN service_plans.edited LIKE '% terms %' THEN service_plans.terms ELSE excluded.terms END,
           updated_at = excluded.updated_at",
        new.id,
        new.service_id,
        new.slug,
        new.name,
        new.tier,
        new.monthly_price,
        new.cpu_millis,
        new.memory_mib,
        new.storage_gib,
        new.replicas,
        new.quota,
        new.max_instances_per_user,
        Json(new.features),
        now,
        Json(new.terms),
        new.storage_price,
        new.indonesian_features.map(Json),
    )
    .map(|_| ())
}

/// Categories with their texts in Indonesian, as far as there are such, or in English.
pub(super) async fn categories(
    conn: &mut Conn,
    in_indonesian: bool,
) -> sqlx::Result<Vec<Category>> {
    let sql = "SELECT c.id, c.slug,
                 CASE WHEN $1 AND c.edited NOT LIKE '% name %' THEN coalesce(c.indonesian_name, c.name)
                   ELSE c.name END AS name,
                 CASE WHEN $1 AND c.edited NOT LIKE '% description %' THEN coalesce(c.indonesian_description, c.description)
                   ELSE c.description END AS description, c.position,
                 (SELECT p.slug FROM service_categories p WHERE p.id = c.parent_id) AS parent,
                 (SELECT count(*) FROM services s
                  WHERE s.category_id = c.id AND s.active AND s.refused IS NULL) AS services
               FROM service_categories c ORDER BY c.position, 3, c.slug";
    fetch_all!(conn, Category, sql, in_indonesian)
}

/// Columns of a service but its id, by names that those of a plan do not have.
macro_rules! service_columns {
    () => {
        "s.slug AS service_slug, c.slug AS category_slug, c.name AS category_name, s.plugin_id, s.name AS service_name, s.summary,
        s.description, s.featured, (s.active AND s.refused IS NULL) AS service_active, s.images, s.settings,
        s.pod_security_exceptions, s.indonesian_form, s.indonesian_sentences,
        CASE WHEN c.edited LIKE '% name %' THEN NULL ELSE c.indonesian_name END AS indonesian_category,
        CASE WHEN s.edited LIKE '% summary %' THEN NULL ELSE s.indonesian_summary END AS indonesian_summary,
        CASE WHEN s.edited LIKE '% description %' THEN NULL ELSE s.indonesian_description END AS indonesian_description"
    };
}

const SERVICES: List = List {
    rows: concat!(
        "SELECT s.id AS service_id, ",
        service_columns!(),
        " FROM services s JOIN service_categories c ON c.id = s.category_id"
    ),
    from: "FROM services s JOIN service_categories c ON c.id = s.category_id",
    key: "s.id",
    order: "ORDER BY s.featured DESC, s.name, s.slug",
};

/// Services that are sold.
fn sold() -> Filter<'static> {
    Filter::default().and("s.active AND s.refused IS NULL")
}

pub(super) async fn services(
    conn: &mut Conn,
    wanted: &ServiceFilter,
    part: Part,
) -> sqlx::Result<Page<Service>> {
    let filter = sold()
        .with_some(
            "(c.slug = ? OR c.parent_id = (SELECT a.id FROM service_categories a WHERE a.slug = ?))",
            wanted.category.as_deref(),
        )
        .with_some("s.featured = ?", wanted.featured)
        .containing(
            &[
                "s.name || ' ' || s.summary || ' ' || s.slug || ' ' ||
                 CASE WHEN s.edited LIKE '% summary %' THEN '' ELSE coalesce(s.indonesian_summary, '') END",
            ],
            wanted.words.as_deref(),
        );
    fetch_page(conn, SERVICES, &filter, part).await
}

/// Every service, sold or not.
pub(super) async fn all_services(conn: &mut Conn) -> sqlx::Result<Vec<Service>> {
    fetch_where(conn, SERVICES.rows, &Filter::default(), "ORDER BY s.slug").await
}

pub(super) async fn service_by_slug(conn: &mut Conn, slug: &str) -> sqlx::Result<Option<Service>> {
    find_where(conn, SERVICES.rows, &sold().with("s.slug = ?", slug)).await
}

/// The same, sold or not.
pub(super) async fn any_service_by_slug(
    conn: &mut Conn,
    slug: &str,
) -> sqlx::Result<Option<Service>> {
    find_where(conn, SERVICES.rows, &Filter::of("s.slug = ?", slug)).await
}

/// Columns of a plan.
macro_rules! plan_columns {
    () => {
        "p.id, p.service_id, p.slug, p.name, p.tier, p.monthly_price, p.cpu_millis, p.memory_mib, p.storage_gib, p.replicas,
    p.total_quota, p.used_quota, p.max_instances_per_user, p.features, p.terms, p.storage_price, p.active, p.created_at,
    CASE WHEN p.edited LIKE '% features %' THEN NULL ELSE p.indonesian_features END AS indonesian_features"
    };
}

const PLAN: &str = concat!("SELECT ", plan_columns!(), " FROM service_plans p");

/// Every plan, sold or not.
pub(super) async fn all_plans(conn: &mut Conn) -> sqlx::Result<Vec<Plan>> {
    fetch_where(conn, PLAN, &Filter::default(), "ORDER BY service_id, slug").await
}

/// Plans of these services that are sold.
pub(super) async fn plans_of(conn: &mut Conn, services: &[ServiceId]) -> sqlx::Result<Vec<Plan>> {
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let filter = Filter::default()
        .and("active")
        .with_any("service_id", services.iter().copied());
    fetch_where(conn, PLAN, &filter, "ORDER BY monthly_price, slug").await
}

pub(super) async fn plan(conn: &mut Conn, id: PlanId) -> sqlx::Result<Option<Plan>> {
    find_where(conn, PLAN, &Filter::of("id = ?", id)).await
}

/// A plan and its service, sold or not: in one statement, since every purchase begins with them.
pub(super) async fn offer(conn: &mut Conn, id: PlanId) -> sqlx::Result<Option<Offer>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        plan: Plan,
        #[sqlx(flatten)]
        service: Service,
    }
    let sql = concat!(
        "SELECT ",
        plan_columns!(),
        ", ",
        service_columns!(),
        " FROM service_plans p JOIN services s ON s.id = p.service_id JOIN service_categories c ON c.id = s.category_id
         WHERE p.id = $1"
    );
    let row = fetch_optional!(conn, Row, sql, id)?;
    Ok(row.map(|Row { plan, service }| Offer { service, plan }))
}

/// Takes one of a plan's quota, if it is still sold at these prices, no customer waits for it, and
/// none is held for this one.
pub(super) async fn take_quota(
    conn: &mut Conn,
    seen: &Plan,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE service_plans SET used_quota = used_quota + 1, updated_at = $3
               WHERE id = $1 AND active AND monthly_price = $2 AND terms = $5 AND used_quota < total_quota
                 AND NOT EXISTS (SELECT 1 FROM waitlist w WHERE w.plan_id = $1
                   AND ((w.user_id = $4 AND w.held_until > $3)
                     OR (w.held_until IS NULL AND service_plans.max_instances_per_user >
                       (SELECT count(*) FROM subscriptions o WHERE o.plan_id = $1 AND o.user_id = w.user_id
                         AND o.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')))))";
    let (id, price, terms) = (seen.id, seen.monthly_price, &seen.terms);
    Ok(execute!(conn, sql, id, price, now, user_id, terms)? == 1)
}

/// Takes the lock of a plan's row until the caller commits, if it is still sold at these prices.
pub(super) async fn lock_as_sold(
    conn: &mut Conn,
    seen: &Plan,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE service_plans SET updated_at = $3
               WHERE id = $1 AND active AND monthly_price = $2 AND terms = $4";
    Ok(execute!(conn, sql, seen.id, seen.monthly_price, now, &seen.terms)? == 1)
}

pub(super) async fn give_back_quota(
    conn: &mut Conn,
    plan_id: PlanId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE service_plans SET used_quota = used_quota - 1, updated_at = $2 WHERE id = $1 AND used_quota > 0";
    Ok(execute!(conn, sql, plan_id, now)? == 1)
}

/// Returns true when the service behind this plan is sold.
pub(super) async fn service_is_active(
    conn: &mut Conn,
    service_id: ServiceId,
) -> sqlx::Result<bool> {
    let row = fetch_optional!(
        conn,
        (bool,),
        "SELECT (active AND refused IS NULL) AS active FROM services WHERE id = $1",
        service_id
    )?;
    Ok(row.is_some_and(|(active,)| active))
}
