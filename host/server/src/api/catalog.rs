//! `/catalog`: what is sold, for everyone. Answers are kept until it changes.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use dermaga_shop::catalog::{self, Category, PlanView, ServiceFilter, ServiceView};
use futures::FutureExt as _;
use garde::Validate;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::AppState,
    http::{
        Asked, Envelope, PageQuery, Paged, Params, Reply, Segment, Success, failure_responses,
        routes,
    },
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

/// Lists all categories in their order.
#[utoipa::path(get, path = "/catalog/categories", tag = "catalogue",
    responses((status = 200, description = "All categories", body = Envelope<Vec<Category>>)))]
async fn categories(State(state): State<AppState>, asked: Asked) -> Response {
    kept(&state, &asked, || all_categories(&state)).await
}

async fn all_categories(state: &AppState) -> Reply<Vec<Category>> {
    let categories = catalog::categories(&state.db).await?;
    Ok(Success::ok("The categories.", categories))
}

/// Services with their plans.
#[utoipa::path(get, path = "/catalog/services", tag = "catalogue", params(PageQuery),
    responses((status = 200, description = "A page of services", body = Envelope<Vec<ServiceView>>)))]
async fn services(
    State(state): State<AppState>,
    asked: Asked,
    Params(page): Params<PageQuery>,
) -> Response {
    let filter = ServiceFilter::default();
    kept(&state, &asked, || list(&state, filter, page)).await
}

/// The services of one category and of those below it.
#[utoipa::path(get, path = "/catalog/categories/{slug}/services", tag = "catalogue", params(PageQuery,
        ("slug" = String, Path, description = "Slug of the category")),
    responses((status = 200, description = "A page of services", body = Envelope<Vec<ServiceView>>), Missing))]
async fn services_of_category(
    State(state): State<AppState>,
    asked: Asked,
    Segment(slug): Segment<String>,
    Params(page): Params<PageQuery>,
) -> Response {
    kept(&state, &asked, || list_of_category(&state, slug, page)).await
}

async fn list_of_category(
    state: &AppState,
    slug: String,
    page: PageQuery,
) -> Reply<Vec<ServiceView>> {
    let found = catalog::sold_services_of(&state.catalog, slug, page.part()).await?;
    Ok(Success::page("The services.", page, found))
}

/// Returns a service with its plans.
#[utoipa::path(get, path = "/catalog/services/{slug}", tag = "catalogue",
    params(("slug" = String, Path, description = "Slug of the service")),
    responses((status = 200, description = "The service", body = Envelope<ServiceView>), Missing))]
async fn service(
    State(state): State<AppState>,
    asked: Asked,
    Segment(slug): Segment<String>,
) -> Response {
    kept(&state, &asked, || one(&state, slug)).await
}

async fn one(state: &AppState, slug: String) -> Reply<ServiceView> {
    let view = catalog::sold_service(&state.catalog, &slug).await?;
    Ok(Success::ok("The service.", view))
}

/// The plans of a service.
#[utoipa::path(get, path = "/catalog/services/{slug}/plans", tag = "catalogue",
    params(("slug" = String, Path, description = "Slug of the service")),
    responses((status = 200, description = "Plans, cheapest first", body = Envelope<Vec<PlanView>>), Missing))]
async fn plans(
    State(state): State<AppState>,
    asked: Asked,
    Segment(slug): Segment<String>,
) -> Response {
    kept(&state, &asked, || plans_of_one(&state, slug)).await
}

async fn plans_of_one(state: &AppState, slug: String) -> Reply<Vec<PlanView>> {
    let view = catalog::sold_service(&state.catalog, &slug).await?;
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
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_search")]
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
    asked: Asked,
    Paged(page, query): Paged<SearchQuery>,
) -> Response {
    let filter = ServiceFilter {
        category: query.category,
        featured: query.featured,
        words: query.q,
    };
    kept(&state, &asked, || list(&state, filter, page)).await
}

/// The services put forward.
#[utoipa::path(get, path = "/catalog/featured", tag = "catalogue", params(PageQuery),
    responses((status = 200, description = "A page of services", body = Envelope<Vec<ServiceView>>)))]
async fn featured(
    State(state): State<AppState>,
    asked: Asked,
    Params(page): Params<PageQuery>,
) -> Response {
    let filter = ServiceFilter {
        featured: Some(true),
        ..ServiceFilter::default()
    };
    kept(&state, &asked, || list(&state, filter, page)).await
}

async fn list(state: &AppState, filter: ServiceFilter, page: PageQuery) -> Reply<Vec<ServiceView>> {
    let found = catalog::sold_services(&state.catalog, &filter, page.part()).await?;
    Ok(Success::page("The services.", page, found))
}

/// Answers with what is kept for this request, or as `make` does.
async fn kept<'a, F>(
    state: &'a AppState,
    asked: &Asked,
    make: impl FnOnce() -> F + Send,
) -> Response
where
    F: Future<Output: IntoResponse> + Send + 'a,
{
    let make = || make().map(IntoResponse::into_response).boxed();
    let generation = state.db.catalogue();
    state.kept_answers.answer(asked, generation, make).await
}
