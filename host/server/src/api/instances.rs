//! `/instances`: what a customer's instances are, how to use them and what they are made of.

use axum::extract::State;
use dermaga_shop::{
    ids::InstanceId,
    provisioning::{
        self, Status,
        view::{CredentialsView, InstanceDetail, InstanceView, ManifestsView},
    },
    subscriptions::lifecycle::{self, Named},
    text::counted,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{AppState, Customer},
    http::{Envelope, Id, PageQuery, Paged, Reply, Success, failure_responses},
};

failure_responses!(Missing: NotFound);
failure_responses!(Living: NotFound, InvalidState);
failure_responses!(NotApplied: NotFound, InvalidState);
failure_responses!(NoCredentials: NotFound, InvalidState, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(credentials))
        .routes(routes!(manifests))
        .routes(routes!(stop))
        .routes(routes!(start))
        .routes(routes!(restart))
}

/// Filter of a list of instances.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    #[garde(skip)]
    #[param(inline)]
    status: Option<Status>,
}

/// Lists this customer's instances, newest first.
#[utoipa::path(get, path = "/instances", tag = "instances", params(PageQuery, ListQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of instances", body = Envelope<Vec<InstanceView>>)))]
async fn list(
    State(state): State<AppState>,
    customer: Customer,
    Paged(page, query): Paged<ListQuery>,
) -> Reply<Vec<InstanceView>> {
    let found = provisioning::list(&state.db, customer.user_id, query.status, page.part()).await?;
    let message = format!("{}.", counted(found.total, "instance"));
    Ok(Success::page(message, page, found))
}

/// Returns an instance: status, health, endpoints, events, and its problem if there is one.
#[utoipa::path(get, path = "/instances/{id}", tag = "instances", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The instance", body = Envelope<InstanceDetail>), Missing))]
async fn get(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
) -> Reply<InstanceDetail> {
    let detail = provisioning::detail(&state.instances, customer.user_id, id).await?;
    Ok(Success::ok(detail.instance.message.clone(), detail))
}

/// Returns the access to an instance: address, user, passwords. Every look is recorded.
#[utoipa::path(get, path = "/instances/{id}/credentials", tag = "instances", params(("id" = Uuid, Path)),
    security(("bearer" = [])),
    responses((status = 200, description = "What to know", body = Envelope<CredentialsView>), NoCredentials))]
async fn credentials(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
) -> Reply<CredentialsView> {
    let view = provisioning::credentials(&state.instances, customer.user_id, id).await?;
    Ok(Success::ok("Keep these to yourself.", view))
}

/// The Kubernetes objects of an instance as they were applied, with the values of secrets masked.
#[utoipa::path(get, path = "/instances/{id}/manifests", tag = "instances", params(("id" = Uuid, Path)),
    security(("bearer" = [])),
    responses((status = 200, description = "The objects", body = Envelope<ManifestsView>), NotApplied))]
async fn manifests(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
) -> Reply<ManifestsView> {
    let view = provisioning::manifests(&state.instances, customer.user_id, id).await?;
    Ok(Success::ok(
        format!("{}.", counted(view.objects.len(), "object")),
        view,
    ))
}

/// Stops an instance: scaled to zero, its data kept, and still paid for. One that is stopped stays so.
#[utoipa::path(put, path = "/instances/{id}/stop", tag = "instances", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "So already", body = Envelope<InstanceDetail>),
        (status = 202, description = "Being stopped", body = Envelope<InstanceDetail>), Living))]
async fn stop(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
) -> Reply<InstanceDetail> {
    let named = Named::Instance(id);
    let is_changed = lifecycle::stop(&state.subscriptions, customer.user_id, named).await?;
    let detail = provisioning::detail(&state.instances, customer.user_id, id).await?;
    Ok(if is_changed {
        Success::accepted(
            "It is being stopped. Its data is kept, and it is still paid for.",
            detail,
        )
    } else {
        Success::ok("It is stopped already.", detail)
    })
}

/// Starts an instance that was stopped. Refused while it is unpaid.
#[utoipa::path(put, path = "/instances/{id}/start", tag = "instances", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "So already", body = Envelope<InstanceDetail>),
        (status = 202, description = "Being started", body = Envelope<InstanceDetail>), Living))]
async fn start(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
) -> Reply<InstanceDetail> {
    let named = Named::Instance(id);
    let is_changed = lifecycle::start(&state.subscriptions, customer.user_id, named).await?;
    let detail = provisioning::detail(&state.instances, customer.user_id, id).await?;
    Ok(if is_changed {
        Success::accepted("It is being started.", detail)
    } else {
        Success::ok("It was not stopped.", detail)
    })
}

/// Restarts an instance: each of its pods is replaced. A second call within ten seconds is the same
/// restart.
#[utoipa::path(post, path = "/instances/{id}/restart", tag = "instances", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "So already", body = Envelope<InstanceDetail>),
        (status = 202, description = "Being restarted", body = Envelope<InstanceDetail>), Living))]
async fn restart(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
) -> Reply<InstanceDetail> {
    let named = Named::Instance(id);
    let is_changed = lifecycle::restart(&state.subscriptions, customer.user_id, named).await?;
    let detail = provisioning::detail(&state.instances, customer.user_id, id).await?;
    Ok(if is_changed {
        Success::accepted("It is being restarted.", detail)
    } else {
        Success::ok("It is being restarted already.", detail)
    })
}
