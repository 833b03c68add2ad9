//! `/instances`: what a customer's instances are, how to use them and what they are made of.

use axum::extract::State;
use dermaga_runtime::contract::service;
use dermaga_shop::{
    Code, Error, Result, audit, plugins,
    provisioning::{
        model::{Owned, Status},
        render::{recorded_objects, subject},
        secrets, store,
        view::{CredentialsView, InstanceDetail, InstanceView, ManifestsView},
    },
    text::counted,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    api::{AppState, Customer},
    http::{Envelope, Id, PageQuery, Paged, Reply, Success, failure_responses},
};

failure_responses!(Missing: NotFound);
failure_responses!(NotApplied: NotFound, InvalidState);
failure_responses!(NoCredentials: NotFound, InvalidState, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended);

/// Number of events that an instance shows.
const EVENTS: i64 = 50;

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(credentials))
        .routes(routes!(manifests))
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
    let mut conn = state.db.read().await?;
    let total = store::count(&mut conn, customer.user_id, query.status).await?;
    let limit = i64::from(page.limit);
    let rows = store::list(
        &mut conn,
        customer.user_id,
        query.status,
        limit,
        page.offset(),
    )
    .await?;
    let views = rows.iter().map(InstanceView::from).collect();
    Ok(Success::page(
        format!("{}.", counted(total, "instance")),
        views,
        page.pagination(total),
    ))
}

/// Returns an instance: status, health, endpoints, events, and its problem if there is one.
#[utoipa::path(get, path = "/instances/{id}", tag = "instances", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The instance", body = Envelope<InstanceDetail>), Missing))]
async fn get(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id,
) -> Reply<InstanceDetail> {
    let owned = owned(&state, customer, id).await?;
    let events = store::events(&mut state.db.read().await?, id, EVENTS).await?;
    // A version that does not load must not hide the instance that depends on it.
    let description = match state.plugins.version(&owned.instance.plugin_digest).await {
        Ok(plugin) => plugins::describe(&plugin, &owned.instance.settings)
            .await
            .ok(),
        Err(_) => None,
    };
    let endpoints = description
        .as_ref()
        .map(|description| description.endpoints.as_slice())
        .unwrap_or_default();
    let detail = InstanceDetail::of(&owned, endpoints, events);
    Ok(Success::ok(detail.instance.message.clone(), detail))
}

/// Returns the access to an instance: address, user, passwords. Every look is recorded.
#[utoipa::path(get, path = "/instances/{id}/credentials", tag = "instances", params(("id" = Uuid, Path)),
    security(("bearer" = [])),
    responses((status = 200, description = "What to know", body = Envelope<CredentialsView>), NoCredentials))]
async fn credentials(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id,
) -> Reply<CredentialsView> {
    let Owned { instance, terms } = owned(&state, customer, id).await?;
    if matches!(instance.status, Status::Terminating | Status::Terminated) {
        return Err(Error::new(
            Code::InvalidState,
            "This instance has been removed, and its credentials with it.",
        )
        .into());
    }
    let secrets = secrets::open(&mut state.db.read().await?, &state.instances.vault, id).await?;
    let plugin = state.plugins.version(&instance.plugin_digest).await?;
    let input = subject(&instance, &terms, &secrets)?;
    let card =
        plugins::decide::<service::Access>(&state.plugins, &plugin, input, customer.user_id.into())
            .await?;
    let (view, shown) = CredentialsView::of(card.value, &secrets)?;
    let mut conn = state.db.begin().await?;
    let details = serde_json::json!({"secrets": shown});
    let (actor, subject) = (customer.user_id, format!("instance:{id}"));
    let action = "instance.credentials_shown";
    audit::record(&mut conn, &state.clock, actor, action, &subject, details).await?;
    conn.commit().await?;
    Ok(Success::ok("Keep these to yourself.", view))
}

/// The Kubernetes objects of an instance as they were applied, with the values of secrets masked.
#[utoipa::path(get, path = "/instances/{id}/manifests", tag = "instances", params(("id" = Uuid, Path)),
    security(("bearer" = [])),
    responses((status = 200, description = "The objects", body = Envelope<ManifestsView>), NotApplied))]
async fn manifests(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id,
) -> Reply<ManifestsView> {
    let owned = owned(&state, customer, id).await?;
    let nothing = || {
        Error::new(
            Code::InvalidState,
            "Nothing has been applied for this instance yet.",
        )
    };
    let decision_id = owned.instance.manifests_decision_id.ok_or_else(nothing)?;
    let mut conn = state.db.read().await?;
    let recorded = store::recorded(&mut conn, decision_id)
        .await?
        .ok_or_else(nothing)?;
    let secrets = secrets::open(&mut conn, &state.instances.vault, id).await?;
    let objects = recorded_objects(
        &recorded,
        &owned,
        &secrets,
        state.instances.handle.classes(),
    )?;
    let view = ManifestsView {
        decision_id,
        plugin_id: recorded.plugin_id,
        plugin_version: recorded.plugin_version,
        namespace: owned.instance.namespace,
        objects,
    };
    Ok(Success::ok(
        format!("{}.", counted(view.objects.len(), "object")),
        view,
    ))
}

async fn owned(state: &AppState, customer: Customer, id: Uuid) -> Result<Owned> {
    let owned = store::owned(&mut state.db.read().await?, customer.user_id, id).await?;
    owned.ok_or_else(|| Error::not_found("instance"))
}
