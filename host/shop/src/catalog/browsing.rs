//! The public catalogue: services, plans and categories that are on sale.

use std::collections::HashMap;

use super::{
    Catalog, Category, PlanView, Service, ServiceFilter, ServicePluginView, ServiceView,
    Unavailable, form_in_language, model::in_language, store,
};
use crate::{
    Error, Result,
    db::{Conn, Db, Page, Part},
    ids::ServiceId,
    language::{self, Language},
    plugins,
};

/// Lists all categories in their order.
///
/// # Errors
/// When the database does not answer.
pub async fn categories(db: &Db) -> Result<Vec<Category>> {
    let in_indonesian = language::current() == Language::Indonesian;
    Ok(store::categories(&mut db.read().await?, in_indonesian).await?)
}

/// Lists services that are sold, with their plans.
///
/// # Errors
/// When the database does not answer.
pub async fn sold_services(
    catalog: &Catalog,
    filter: &ServiceFilter,
    part: Part,
) -> Result<Page<ServiceView>> {
    let mut conn = catalog.db.read().await?;
    let Page { items, total } = store::services(&mut conn, filter, part).await?;
    let items = with_plans(&mut conn, catalog, items).await?;
    Ok(Page { items, total })
}

/// Lists the services of a category, and of those below it, that are sold, with their plans.
///
/// # Errors
/// `NOT_FOUND` for an unknown category.
pub async fn sold_services_of(
    catalog: &Catalog,
    category: String,
    part: Part,
) -> Result<Page<ServiceView>> {
    let known = categories(&catalog.db).await?;
    if !known.iter().any(|one| one.slug == category) {
        return Err(Error::not_found("category"));
    }
    let filter = ServiceFilter {
        category: Some(category),
        ..ServiceFilter::default()
    };
    sold_services(catalog, &filter, part).await
}

/// Returns a service that is sold, with its plans, cheapest first.
///
/// # Errors
/// `NOT_FOUND` when none with this slug is sold.
pub async fn sold_service(catalog: &Catalog, slug: &str) -> Result<ServiceView> {
    let mut conn = catalog.db.read().await?;
    let row = store::service_by_slug(&mut conn, slug)
        .await?
        .ok_or_else(|| Error::not_found("service"))?;
    let mut views = with_plans(&mut conn, catalog, vec![row]).await?;
    views.pop().ok_or_else(|| Error::not_found("service"))
}

async fn with_plans(
    conn: &mut Conn,
    catalog: &Catalog,
    services: Vec<Service>,
) -> Result<Vec<ServiceView>> {
    let ids: Vec<ServiceId> = services.iter().map(|service| service.id).collect();
    let mut plans: HashMap<ServiceId, Vec<PlanView>> = HashMap::new();
    for plan in store::plans_of(conn, &ids).await? {
        plans.entry(plan.service_id).or_default().push(plan.into());
    }
    let mut views = Vec::with_capacity(services.len());
    for service in services {
        let plans = plans.remove(&service.id).unwrap_or_default();
        views.push(view(catalog, plans, service).await);
    }
    Ok(views)
}

async fn view(catalog: &Catalog, mut plans: Vec<PlanView>, service: Service) -> ServiceView {
    let plugin = catalog.plugins.active(&service.plugin_id).ok();
    for plan in &mut plans {
        if plugin.is_none() {
            plan.withhold(Unavailable::PluginUnavailable);
        }
        if catalog.room.is_full(plan.id) {
            plan.withhold(Unavailable::ClusterFull);
        }
    }
    // A plugin that cannot say what it makes must not hide what is sold.
    let description = match &plugin {
        Some(plugin) => plugins::describe(plugin, &service.settings).await.ok(),
        None => None,
    };
    let config_schema = description.map(|description| {
        form_in_language(&description.config_schema, &service.indonesian_form).into_owned()
    });
    ServiceView {
        price_from: plans.iter().map(|plan| plan.monthly_price).min(),
        plugin: ServicePluginView {
            id: service.plugin_id,
            version: plugin.as_ref().map(|plugin| plugin.about().version.clone()),
            config_schema,
        },
        id: service.id,
        slug: service.slug,
        category: service.category_slug,
        category_name: in_language(service.category_name, service.indonesian_category),
        name: service.name,
        summary: in_language(service.summary, service.indonesian_summary),
        description: in_language(service.description, service.indonesian_description),
        featured: service.featured,
        plans,
    }
}
