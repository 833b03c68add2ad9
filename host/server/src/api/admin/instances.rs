//! `/admin/instances`: what administrators decide about instances.

use axum::extract::State;
use dermaga_shop::{
    ids::InstanceId,
    provisioning::{
        self,
        view::InstanceDetail,
        watching::{self, InstanceEventView},
    },
    subscriptions::{
        cancellation::{self, Cancelled},
        lifecycle,
    },
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        Admin, AppState,
        admin::reasons::RequiredReason,
        instances::{InstanceEventQuery, happened},
        lifecycle::{RESTART, answer},
    },
    http::{Body, Envelope, Id, PageQuery, Paged, Reply, Success, failure_responses, routes},
};

failure_responses!(Missing: NotFound);
failure_responses!(Accepting: NotFound, InvalidState);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get, terminate))
        .routes(routes!(restart))
        .routes(routes!(accept_data_loss))
        .routes(routes!(events))
}

/// Instance that starts again without its earlier data.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AcceptedDataLoss {
    id: InstanceId,
    name: String,
    /// Names of the volume claims that were lost with their data.
    claims: Vec<String>,
}

/// Lets an instance start on empty volumes after its data was lost.
///
/// An instance whose volume claim is gone, or is another one than before, is `FAILED` with the alert
/// `INSTANCE_DATA_LOST` and is not started: an empty one must not pass for the customer's own.
#[utoipa::path(post, path = "/admin/instances/{id}/accept-data-loss", tag = "admin: instances", request_body = RequiredReason,
    params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 202, description = "Being started", body = Envelope<AcceptedDataLoss>), Accepting))]
async fn accept_data_loss(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<InstanceId>,
    Body(request): Body<RequiredReason>,
) -> Reply<AcceptedDataLoss> {
    let instances = &state.instances;
    let lost =
        provisioning::accept_data_loss(instances, admin.user_id, id, request.reason.as_str())
            .await?;
    let accepted = AcceptedDataLoss {
        id,
        name: lost.name,
        claims: lost.claims.0.into_iter().map(|claim| claim.name).collect(),
    };
    Ok(Success::accepted(
        "It is started without its earlier data.",
        accepted,
    ))
}

/// Instance that is being removed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TerminatedInstance {
    id: InstanceId,
    /// True when it was never delivered, so that everything paid for it was given back.
    undone: bool,
}

/// Ends any customer's instance and its subscription now, with everything it has. The reason is kept.
///
/// The period stays paid where the service was delivered; `POST /admin/subscriptions/{id}/refund`
/// returns money.
#[utoipa::path(delete, path = "/admin/instances/{id}", tag = "admin: instances", request_body = RequiredReason,
    params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 202, description = "Being removed", body = Envelope<TerminatedInstance>), Accepting))]
async fn terminate(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<InstanceId>,
    Body(request): Body<RequiredReason>,
) -> Reply<TerminatedInstance> {
    let shop = &state.subscriptions;
    let ended =
        cancellation::end_instance(shop, admin.user_id, id, request.reason.as_str()).await?;
    let terminated = TerminatedInstance {
        id,
        undone: ended == Cancelled::Undone,
    };
    let message = match ended {
        Cancelled::Paid => "The instance is being removed.",
        Cancelled::Undone => "It was never set up; everything paid for it is back in the wallet.",
    };
    Ok(Success::accepted(message, terminated))
}

/// Returns any customer's instance, as its customer sees it.
#[utoipa::path(get, path = "/admin/instances/{id}", tag = "admin: instances", params(("id" = Uuid, Path)),
    security(("bearer" = [])),
    responses((status = 200, description = "The instance", body = Envelope<InstanceDetail>), Missing))]
async fn get(
    State(state): State<AppState>,
    _: Admin,
    Id(id): Id<InstanceId>,
) -> Reply<InstanceDetail> {
    let detail = provisioning::detail_of_any(&state.instances, id).await?;
    Ok(Success::ok(detail.instance.message.clone(), detail))
}

/// Restarts any customer's instance: each of its pods is replaced. A second call within ten seconds
/// is the same restart.
#[utoipa::path(post, path = "/admin/instances/{id}/restart", tag = "admin: instances", request_body = RequiredReason,
    params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "So already", body = Envelope<InstanceDetail>),
        (status = 202, description = "Being restarted", body = Envelope<InstanceDetail>), Accepting))]
async fn restart(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<InstanceId>,
    Body(request): Body<RequiredReason>,
) -> Reply<InstanceDetail> {
    let shop = &state.subscriptions;
    let is_changed =
        lifecycle::restart_any(shop, admin.user_id, id, request.reason.as_str()).await?;
    let detail = provisioning::detail_of_any(&state.instances, id).await?;
    Ok(answer(RESTART, is_changed, detail))
}

/// Lists what happened to any instance, newest first, with Kubernetes' own words.
///
/// Events of the shop and of the cluster are one list. The cluster forgets its own after an hour or so, and one that
/// happens again there is listed at its last time.
#[utoipa::path(get, path = "/admin/instances/{id}/events", tag = "admin: instances",
    params(("id" = Uuid, Path), PageQuery, InstanceEventQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of them", body = Envelope<Vec<InstanceEventView>>), Missing))]
async fn events(
    State(state): State<AppState>,
    _: Admin,
    Id(id): Id<InstanceId>,
    Paged(page, query): Paged<InstanceEventQuery>,
) -> Reply<Vec<InstanceEventView>> {
    let span = page.span(query.cursor)?;
    let found = watching::events_in_full(&state.instances, id, span).await?;
    Ok(happened(page, found))
}
