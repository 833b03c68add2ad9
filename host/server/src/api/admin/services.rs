//! `/admin/services`: services and plans, for administrators.

use axum::{extract::State, response::Response};
use dermaga_shop::{
    audit::GivenReason,
    catalog::{
        self, ManagedPlan, ManagedService, Removal, ServiceState, ServiceStatistics, ServicesFilter,
    },
    ids::{PlanId, ServiceId},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        Admin, AppState, IdempotencyKey, Keyed,
        admin::{
            plan_inputs::{PlanEdit, PlanInput},
            reasons::RequiredReason,
            service_inputs::{ServiceEdit, ServiceRequest},
        },
    },
    http::{
        Body, Envelope, Id, PageQuery, Paged, Refusal, Reply, Segment, Success, failure_responses,
        routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Switching: NotFound, Conflict);
failure_responses!(Creating: PluginRefusedInput, Conflict, PluginUnavailable, PluginBusy);
failure_responses!(CreatingPlan: NotFound, PluginRefusedInput, Conflict, InvalidState, PluginUnavailable, PluginBusy);
failure_responses!(Resetting: NotFound, Conflict, InvalidState, PluginUnavailable, PluginBusy);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(statistics))
        .routes(routes!(get, change, remove))
        .routes(routes!(toggle))
        .routes(routes!(reset))
        .routes(routes!(list_plans, create_plan))
        .routes(routes!(get_plan, change_plan, remove_plan))
        .routes(routes!(toggle_plan))
}

/// Filter of a list of services.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ServicesQuery {
    /// Words in name, summary or slug.
    #[garde(length(chars, max = 100))]
    #[param(max_length = 100)]
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_search")]
    q: Option<String>,
    /// Slug of a category.
    #[garde(length(chars, max = 50))]
    #[param(max_length = 50)]
    category: Option<String>,
    /// Id of the plugin.
    #[garde(length(chars, max = 50))]
    #[param(max_length = 50)]
    plugin: Option<String>,
    #[garde(skip)]
    #[param(inline)]
    state: Option<ServiceState>,
}

/// Lists services by name, sold or not, with all their plans.
#[utoipa::path(get, path = "/admin/services", tag = "admin: catalogue", params(PageQuery, ServicesQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of services", body = Envelope<Vec<ManagedService>>)))]
async fn list(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<ServicesQuery>,
) -> Reply<Vec<ManagedService>> {
    let filter = ServicesFilter {
        category: query.category.as_deref(),
        plugin: query.plugin.as_deref(),
        state: query.state,
        words: query.q.as_deref(),
    };
    let found = catalog::managed_services(&state.catalog, &filter, page.part()).await?;
    Ok(Success::page("The services.", page, found))
}

/// Counts services by their state, and sums live subscriptions and their prices by service.
#[utoipa::path(get, path = "/admin/services/statistics", tag = "admin: catalogue", security(("bearer" = [])),
    responses((status = 200, description = "Numbers and sums", body = Envelope<ServiceStatistics>)))]
async fn statistics(State(state): State<AppState>, _admin: Admin) -> Reply<ServiceStatistics> {
    let statistics = catalog::service_statistics(&state.catalog).await?;
    Ok(Success::ok("The catalogue in figures.", statistics))
}

/// Creates a service, put to the same rules and to the same check of its plugin as a template.
///
/// It is sold at once. A template file of the same slug takes it over with the next reload.
#[utoipa::path(post, path = "/admin/services", tag = "admin: catalogue", params(IdempotencyKey), request_body = ServiceRequest, security(("bearer" = [])),
    responses((status = 201, description = "Created", body = Envelope<ManagedService>), Creating))]
async fn create(
    State(state): State<AppState>,
    admin: Admin,
    Keyed(request, once): Keyed<ServiceRequest>,
) -> Result<Response, Refusal> {
    let (new, reason) = request.into_new();
    let act = async {
        let made =
            catalog::create_service(&state.catalog, admin.user_id, new, reason.as_str()).await?;
        Ok(made.map(|service| {
            let message = format!("{} is on sale.", service.name);
            Success::created(message, service)
        }))
    };
    once.answer(&state, admin.user_id, act).await
}

/// Returns a service, sold or not, with all its plans.
#[utoipa::path(get, path = "/admin/services/{id}", tag = "admin: catalogue", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The service", body = Envelope<ManagedService>), Missing))]
async fn get(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<ServiceId>,
) -> Reply<ManagedService> {
    let service = catalog::managed_service(&state.catalog, id).await?;
    Ok(Success::ok("The service.", service))
}

/// Changes fields of a service. They keep these values over the template until a reset.
///
/// Images and their support, settings and exceptions are changed of a service that no template file names, after its
/// plugin has accepted the service with its present plans, which a reset then brings back. Moves of
/// instances find them as after a reload.
#[utoipa::path(put, path = "/admin/services/{id}", tag = "admin: catalogue", params(("id" = Uuid, Path)), request_body = ServiceEdit, security(("bearer" = [])),
    responses((status = 200, description = "The service", body = Envelope<ManagedService>), CreatingPlan))]
async fn change(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<ServiceId>,
    Body(edit): Body<ServiceEdit>,
) -> Reply<ManagedService> {
    let (wanted, reason) = edit.into_changes();
    let actor = admin.user_id;
    let service =
        catalog::change_service(&state.catalog, actor, id, wanted, reason.as_str()).await?;
    Ok(Success::ok("The service is changed.", service))
}

/// Service that was removed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RemovedService {
    id: ServiceId,
    outcome: Removal,
}

/// Plan that was removed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RemovedPlan {
    id: PlanId,
    outcome: Removal,
}

const fn removed(outcome: Removal) -> &'static str {
    match outcome {
        Removal::Deleted => "It is deleted.",
        Removal::Retired => "It is not sold any more, and kept for those who bought it.",
    }
}

/// Deletes a service that was never sold. One with subscriptions, or that a template file still
/// names, is retired: customers keep what they bought.
#[utoipa::path(delete, path = "/admin/services/{id}", tag = "admin: catalogue", params(("id" = Uuid, Path)), request_body = RequiredReason, security(("bearer" = [])),
    responses((status = 200, description = "Deleted or retired", body = Envelope<RemovedService>), Switching))]
async fn remove(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<ServiceId>,
    Body(request): Body<RequiredReason>,
) -> Reply<RemovedService> {
    let (actor, reason) = (admin.user_id, request.reason.as_str());
    let outcome = catalog::remove_service(&state.catalog, actor, id, reason).await?;
    Ok(Success::ok(
        removed(outcome),
        RemovedService { id, outcome },
    ))
}

/// Putting on sale, or taking off it, and why.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SaleToggle {
    /// True to sell it; the other of what is, when absent.
    #[garde(skip)]
    active: Option<bool>,
    #[garde(dive)]
    reason: GivenReason,
}

/// Puts a service on sale, or takes it off. Customers keep what they bought; a retired service is on
/// sale again.
#[utoipa::path(patch, path = "/admin/services/{id}/toggle", tag = "admin: catalogue", params(("id" = Uuid, Path)), request_body = SaleToggle, security(("bearer" = [])),
    responses((status = 200, description = "The service", body = Envelope<ManagedService>), Switching))]
async fn toggle(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<ServiceId>,
    Body(wanted): Body<SaleToggle>,
) -> Reply<ManagedService> {
    let (actor, reason) = (admin.user_id, wanted.reason.as_str());
    let service = catalog::switch_service(&state.catalog, actor, id, wanted.active, reason).await?;
    Ok(Success::ok(switched(service.active, &service), service))
}

/// Beginning of the answer to a switch on, where something else keeps it from being sold.
const NOT_YET: &str = "It is switched on, but is not on sale yet.";
const SERVICE_OFF: &str = "Its service is off sale.";

/// Says what a switch of a service, or of a plan of it, has led to.
fn switched(active: bool, service: &ManagedService) -> String {
    if !active {
        return "It is not on sale any more.".to_owned();
    }
    match (service.state, &service.refused) {
        (ServiceState::OnSale, _) => "It is on sale.".to_owned(),
        (ServiceState::Refused, Some(why)) => format!("{NOT_YET} {why}"),
        _ => format!("{NOT_YET} {SERVICE_OFF}"),
    }
}

/// Brings back the template's values of all fields of a service and its plans that were edited.
/// Quotas, and whether they are sold, stay; so do plans that the template does not name.
#[utoipa::path(post, path = "/admin/services/{id}/reset", tag = "admin: catalogue", params(("id" = Uuid, Path)), request_body = RequiredReason, security(("bearer" = [])),
    responses((status = 200, description = "The service", body = Envelope<ManagedService>), Resetting))]
async fn reset(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<ServiceId>,
    Body(request): Body<RequiredReason>,
) -> Reply<ManagedService> {
    let (actor, reason) = (admin.user_id, request.reason.as_str());
    let reset = catalog::reset_service(&state.catalog, actor, id, reason).await?;
    Ok(Success::ok(reset.message(), reset.service))
}

/// Lists the plans of a service, sold or not, the cheapest first.
#[utoipa::path(get, path = "/admin/services/{id}/plans", tag = "admin: catalogue", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "All plans", body = Envelope<Vec<ManagedPlan>>), Missing))]
async fn list_plans(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<ServiceId>,
) -> Reply<Vec<ManagedPlan>> {
    let service = catalog::managed_service(&state.catalog, id).await?;
    Ok(Success::ok("The plans.", service.plans))
}

/// Plan to create, and why.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PlanRequest {
    #[garde(dive)]
    plan: PlanInput,
    #[garde(dive)]
    reason: GivenReason,
}

/// Creates a plan of a service, after its plugin has accepted it. It is sold at once, and stays
/// when the templates are reloaded.
#[utoipa::path(post, path = "/admin/services/{id}/plans", tag = "admin: catalogue", params(("id" = Uuid, Path), IdempotencyKey), request_body = PlanRequest,
    security(("bearer" = [])), responses((status = 201, description = "Created", body = Envelope<ManagedPlan>), CreatingPlan))]
async fn create_plan(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<ServiceId>,
    Keyed(request, once): Keyed<PlanRequest>,
) -> Result<Response, Refusal> {
    let (new, reason) = (request.plan.into(), request.reason);
    let act = async {
        let made =
            catalog::create_plan(&state.catalog, admin.user_id, id, new, reason.as_str()).await?;
        Ok(made.map(|plan| Success::created(format!("The plan {} was made.", plan.name), plan)))
    };
    once.answer(&state, admin.user_id, act).await
}

/// Returns a plan of a service, sold or not.
#[utoipa::path(get, path = "/admin/services/{id}/plans/{planId}", tag = "admin: catalogue", params(("id" = Uuid, Path), ("planId" = Uuid, Path)),
    security(("bearer" = [])), responses((status = 200, description = "The plan", body = Envelope<ManagedPlan>), Missing))]
async fn get_plan(
    State(state): State<AppState>,
    _admin: Admin,
    Segment((id, plan_id)): Segment<(ServiceId, PlanId)>,
) -> Reply<ManagedPlan> {
    let plan = catalog::managed_plan(&state.catalog, id, plan_id).await?;
    Ok(Success::ok("The plan.", plan))
}

/// Changes fields of a plan, after its plugin has accepted them. They keep these values over the
/// template until a reset of the service. The quota has its own route.
#[utoipa::path(put, path = "/admin/services/{id}/plans/{planId}", tag = "admin: catalogue", params(("id" = Uuid, Path), ("planId" = Uuid, Path)),
    request_body = PlanEdit, security(("bearer" = [])),
    responses((status = 200, description = "The plan", body = Envelope<ManagedPlan>), CreatingPlan))]
async fn change_plan(
    State(state): State<AppState>,
    admin: Admin,
    Segment((id, plan_id)): Segment<(ServiceId, PlanId)>,
    Body(edit): Body<PlanEdit>,
) -> Reply<ManagedPlan> {
    let (wanted, reason) = edit.into_changes();
    let ids = (id, plan_id);
    let plan =
        catalog::change_plan(&state.catalog, admin.user_id, ids, wanted, reason.as_str()).await?;
    Ok(Success::ok("The plan is changed.", plan))
}

/// Deletes a plan that was never sold. One with subscriptions, or that a template file still names,
/// is retired: customers keep what they bought.
#[utoipa::path(delete, path = "/admin/services/{id}/plans/{planId}", tag = "admin: catalogue", params(("id" = Uuid, Path), ("planId" = Uuid, Path)),
    request_body = RequiredReason, security(("bearer" = [])),
    responses((status = 200, description = "Deleted or retired", body = Envelope<RemovedPlan>), Switching))]
async fn remove_plan(
    State(state): State<AppState>,
    admin: Admin,
    Segment((id, plan_id)): Segment<(ServiceId, PlanId)>,
    Body(request): Body<RequiredReason>,
) -> Reply<RemovedPlan> {
    let (ids, reason) = ((id, plan_id), request.reason.as_str());
    let outcome = catalog::remove_plan(&state.catalog, admin.user_id, ids, reason).await?;
    let id = plan_id;
    Ok(Success::ok(removed(outcome), RemovedPlan { id, outcome }))
}

/// Puts a plan on sale, or takes it off. Customers keep what they bought; a retired plan is on sale
/// again, unless another plan of its tier is not retired.
#[utoipa::path(patch, path = "/admin/services/{id}/plans/{planId}/toggle", tag = "admin: catalogue", params(("id" = Uuid, Path), ("planId" = Uuid, Path)),
    request_body = SaleToggle, security(("bearer" = [])),
    responses((status = 200, description = "The plan", body = Envelope<ManagedPlan>), Switching))]
async fn toggle_plan(
    State(state): State<AppState>,
    admin: Admin,
    Segment((id, plan_id)): Segment<(ServiceId, PlanId)>,
    Body(wanted): Body<SaleToggle>,
) -> Reply<ManagedPlan> {
    let (ids, reason) = ((id, plan_id), wanted.reason.as_str());
    let (plan, service) =
        catalog::switch_plan(&state.catalog, admin.user_id, ids, wanted.active, reason).await?;
    Ok(Success::ok(switched(plan.active, &service), plan))
}
