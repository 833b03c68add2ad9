//! `/catalog`: what is sold, for everyone.

use std::collections::HashMap;

use axum::extract::State;
use dermaga_shop::{
    Error, Result,
    catalog::{
        Category, PlanView, Service, ServicePluginView, ServiceView,
        store::{self, ServiceFilter},
    },
    db::Conn,
    plugins::{self, Registry},
};
use garde::Validate;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    api::AppState,
    http::{Envelope, PageQuery, Paged, Params, Reply, Segment, Success, failure_responses},
};

failure_responses!(Missing: NotFound);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(categories))
        .routes(routes!(services))
        .routes(routes!(services_of_category))
        .routes(routes!(service))
        .routes(routes!(plans))
        .routes(routes!(search))
        .routes(routes!(featured))
}

/// Lists all categories.
#[utoipa::path(get, path = "/catalog/categories", tag = "catalogue",
    responses((status = 200, description = "Categories by name", body = Envelope<Vec<Category>>)))]
async fn categories(State(state): State<AppState>) -> Reply<Vec<Category>> {
    let categories = store::categories(&mut state.db.read().await?).await?;
    Ok(Success::ok("The categories.", categories))
}

/// Services with their plans.
#[utoipa::path(get, path = "/catalog/services", tag = "catalogue", params(PageQuery),
    responses((status = 200, description = "A page of services", body = Envelope<Vec<ServiceView>>)))]
async fn services(
    State(state): State<AppState>,
    Params(page): Params<PageQuery>,
) -> Reply<Vec<ServiceView>> {
    list(&state, &ServiceFilter::default(), page).await
}

/// The services of one category.
#[utoipa::path(get, path = "/catalog/categories/{slug}/services", tag = "catalogue", params(PageQuery,
        ("slug" = String, Path, description = "Slug of the category")),
    responses((status = 200, description = "A page of services", body = Envelope<Vec<ServiceView>>), Missing))]
async fn services_of_category(
    State(state): State<AppState>,
    Segment(slug): Segment<String>,
    Params(page): Params<PageQuery>,
) -> Reply<Vec<ServiceView>> {
    let known = store::categories(&mut state.db.read().await?).await?;
    if !known.iter().any(|category| category.slug == slug) {
        return Err(Error::not_found("category").into());
    }
    list(
        &state,
        &ServiceFilter {
            category: Some(slug),
            ..ServiceFilter::default()
        },
        page,
    )
    .await
}

/// Returns a service with its plans.
#[utoipa::path(get, path = "/catalog/services/{slug}", tag = "catalogue",
    params(("slug" = String, Path, description = "Slug of the service")),
    responses((status = 200, description = "The service", body = Envelope<ServiceView>), Missing))]
async fn service(
    State(state): State<AppState>,
    Segment(slug): Segment<String>,
) -> Reply<ServiceView> {
    let view = one(&state, &slug).await?;
    Ok(Success::ok("The service.", view))
}

/// The plans of a service.
#[utoipa::path(get, path = "/catalog/services/{slug}/plans", tag = "catalogue",
    params(("slug" = String, Path, description = "Slug of the service")),
    responses((status = 200, description = "Plans, cheapest first", body = Envelope<Vec<PlanView>>), Missing))]
async fn plans(
    State(state): State<AppState>,
    Segment(slug): Segment<String>,
) -> Reply<Vec<PlanView>> {
    let view = one(&state, &slug).await?;
    Ok(Success::ok("The plans.", view.plans))
}

/// Filters of a search.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SearchQuery {
    /// Words in name, summary or slug.
    #[garde(length(chars, max = 100))]
    #[param(max_length = 100)]
    q: Option<String>,
    /// Slug of a category.
    #[garde(length(chars, max = 100))]
    #[param(max_length = 100)]
    category: Option<String>,
    #[garde(skip)]
    featured: Option<bool>,
}

/// Finds services.
#[utoipa::path(get, path = "/catalog/search", tag = "catalogue", params(PageQuery, SearchQuery),
    responses((status = 200, description = "A page of services", body = Envelope<Vec<ServiceView>>)))]
async fn search(
    State(state): State<AppState>,
    Paged(page, query): Paged<SearchQuery>,
) -> Reply<Vec<ServiceView>> {
    let filter = ServiceFilter {
        category: query.category,
        featured: query.featured,
        words: query.q,
    };
    list(&state, &filter, page).await
}

/// The services put forward.
#[utoipa::path(get, path = "/catalog/featured", tag = "catalogue", params(PageQuery),
    responses((status = 200, description = "A page of services", body = Envelope<Vec<ServiceView>>)))]
async fn featured(
    State(state): State<AppState>,
    Params(page): Params<PageQuery>,
) -> Reply<Vec<ServiceView>> {
    list(
        &state,
        &ServiceFilter {
            featured: Some(true),
            ..ServiceFilter::default()
        },
        page,
    )
    .await
}

async fn list(
    state: &AppState,
    filter: &ServiceFilter,
    page: PageQuery,
) -> Reply<Vec<ServiceView>> {
    let mut conn = state.db.read().await?;
    let rows = store::services(&mut conn, filter, page.limit.into(), page.offset()).await?;
    let total = store::count_services(&mut conn, filter).await?;
    let views = with_plans(&mut conn, &state.plugins, rows).await?;
    Ok(Success::page(
        "The services.",
        views,
        page.pagination(total),
    ))
}

async fn one(state: &AppState, slug: &str) -> Result<ServiceView> {
    let mut conn = state.db.read().await?;
    let row = store::service_by_slug(&mut conn, slug)
        .await?
        .ok_or_else(|| Error::not_found("service"))?;
    let mut views = with_plans(&mut conn, &state.plugins, vec![row]).await?;
    views.pop().ok_or_else(|| Error::not_found("service"))
}

async fn with_plans(
    conn: &mut Conn,
    registry: &Registry,
    services: Vec<Service>,
) -> Result<Vec<ServiceView>> {
    let ids: Vec<Uuid> = services.iter().map(|service| service.id).collect();
    let mut plans: HashMap<Uuid, Vec<PlanView>> = HashMap::new();
    for plan in store::plans_of(conn, &ids).await? {
        plans.entry(plan.service_id).or_default().push(plan.into());
    }
    let mut views = Vec::with_capacity(services.len());
    for service in services {
        let plans = plans.remove(&service.id).unwrap_or_default();
        views.push(view(registry, plans, service).await);
    }
    Ok(views)
}

async fn view(registry: &Registry, mut plans: Vec<PlanView>, service: Service) -> ServiceView {
    let plugin = registry.active(&service.plugin_id).ok();
    for plan in &mut plans {
        plan.is_available &= plugin.is_some();
    }
    // A plugin that cannot say what it makes must not hide what is sold.
    let description = match &plugin {
        Some(plugin) => plugins::describe(plugin, &service.settings).await.ok(),
        None => None,
    };
    ServiceView {
        price_from: plans.iter().map(|plan| plan.monthly_price).min(),
        plugin: ServicePluginView {
            id: service.plugin_id,
            version: plugin.as_ref().map(|plugin| plugin.about().version.clone()),
            config_schema: description.map(|description| description.config_schema.clone()),
        },
        id: service.id,
        slug: service.slug,
        category: service.category_slug,
        category_name: service.category_name,
        name: service.name,
        summary: service.summary,
        description: service.description,
        featured: service.featured,
        plans,
    }
}
