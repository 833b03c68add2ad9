//! `/instances`: what a customer's instances are, how to use them and what they are made of.

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use dermaga_shop::{
    cluster::Following,
    db::MOST_COUNTED,
    ids::{InstanceId, PlanId, SubscriptionId},
    provisioning::{
        self, Status, lifecycle as life,
        view::{CredentialsView, InstanceDetail, InstanceView, ManifestsView},
        watching::{self, InstanceEventView, InstanceEvents, LogLineView},
    },
    subscriptions::{
        cancellation, delivery,
        lifecycle::{self, Named},
        update::{self, UpdateView, Wanted},
    },
    text::counted,
};
use futures::StreamExt as _;
use garde::Validate;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        AppState, Customer, IdempotencyKey, Keyed,
        lifecycle::{RESTART, START, STOP, answer, removed},
    },
    http::{
        self, Cursor, Envelope, Id, PageQuery, Paged, Params, Refusal, Reply, Sent, Success,
        failure_responses, lists, routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Logging: NotFound, InvalidState, NoCluster, ClusterUnavailable, TooManyRequests);
failure_responses!(Living: NotFound, InvalidState);
failure_responses!(Updating: NotFound, InvalidState, Conflict, InsufficientCredit, PluginRefusedInput, PriceWouldRise,
    VolumeCannotGrow, NotDeliverable, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended);
failure_responses!(NotApplied: NotFound, InvalidState);
failure_responses!(NoCredentials: NotFound, InvalidState, TooManyRequests, PluginFailed, PluginUnavailable, PluginBusy, PluginSuspended);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, ask))
        .routes(routes!(get, terminate))
        .routes(routes!(update))
        .routes(routes!(credentials))
        .routes(routes!(manifests))
        .routes(routes!(events))
        .routes(routes!(logs))
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
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::OwnInstances>>,
}

/// Lists this customer's instances, newest first.
#[utoipa::path(get, path = "/instances", tag = "instances", params(PageQuery, ListQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of instances", body = Envelope<Vec<InstanceView>>)))]
async fn list(
    State(state): State<AppState>,
    customer: Customer,
    Paged(page, query): Paged<ListQuery>,
) -> Reply<Vec<InstanceView>> {
    let (span, user_id) = (page.span(query.cursor)?, customer.user_id);
    let found = provisioning::list(&state.db, user_id, query.status, span).await?;
    let message = match found.total {
        Some(total) => format!("{}.", counted(total.min(MOST_COUNTED), "instance")),
        None => "Earlier instances.".to_owned(),
    };
    Ok(Success::walk::<lists::OwnInstances>(
        message,
        page,
        found,
        InstanceView::place,
    ))
}

/// Subscription whose instance is asked for.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InstanceRequest {
    #[garde(skip)]
    subscription_id: SubscriptionId,
}

/// Asks for the instance of a subscription.
///
/// A subscription has one, from its purchase on, so that this makes no second one. An instance that waits to be set up,
/// or that failed, is tried again at once, as `POST /subscriptions/{id}/retry-provisioning` does.
#[utoipa::path(post, path = "/instances", tag = "instances", params(IdempotencyKey), request_body = InstanceRequest,
    security(("bearer" = [])),
    responses((status = 200, description = "As it should be", body = Envelope<InstanceDetail>),
        (status = 202, description = "Being tried again", body = Envelope<InstanceDetail>), Living))]
async fn ask(
    State(state): State<AppState>,
    customer: Customer,
    Keyed(request, once): Keyed<InstanceRequest>,
) -> Result<Response, Refusal> {
    let (user_id, id) = (customer.user_id, request.subscription_id);
    let act = async {
        let asked = delivery::ask_for(&state.subscriptions, user_id, id).await?;
        Ok(asked.map(|asked| {
            if asked.is_retried {
                Success::accepted("It is being tried again.", asked.instance)
            } else {
                Success::ok(asked.instance.instance.message.clone(), asked.instance)
            }
        }))
    };
    once.answer(&state, user_id, act).await
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

/// Returns the access to an instance: address, user, passwords. Every look is recorded; a customer
/// has 60 in an hour at each server.
#[utoipa::path(get, path = "/instances/{id}/credentials", tag = "instances", params(("id" = Uuid, Path)),
    security(("bearer" = [])),
    responses((status = 200, description = "Addresses and credentials", body = Envelope<CredentialsView>), NoCredentials))]
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

/// Configuration that an instance is to have.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateRequest {
    /// The whole configuration, as the service's schema says: what is absent has its default.
    #[schema(value_type = Object)]
    #[garde(skip)]
    config: Map<String, Value>,
    /// The plan that it has; another one is refused, since the subscription's upgrade changes it.
    #[garde(skip)]
    plan_id: Option<PlanId>,
    /// True to report the changes only.
    #[serde(default)]
    #[garde(skip)]
    dry_run: bool,
}

/// Changes the configuration of an instance, checked as at its purchase; with `dryRun`, a preview.
///
/// The period that is paid for keeps its price, and the next one is priced by the new configuration,
/// which may not cost more. A configuration whose pods do not become ready in time is undone: the
/// instance goes back to what ran before, and `undone` says why. Data is not touched.
#[utoipa::path(put, path = "/instances/{id}/update", tag = "instances", params(("id" = Uuid, Path), IdempotencyKey),
    request_body = UpdateRequest, security(("bearer" = [])),
    responses((status = 200, description = "A preview, or so already", body = Envelope<UpdateView>),
        (status = 202, description = "Being updated", body = Envelope<UpdateView>), Updating))]
async fn update(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
    Keyed(request, once): Keyed<UpdateRequest>,
) -> Result<Response, Refusal> {
    let wanted = Wanted {
        config: Value::Object(request.config),
        plan_id: request.plan_id,
    };
    let (shop, user_id) = (&state.subscriptions, customer.user_id);
    if request.dry_run {
        let view = Box::pin(update::preview(shop, user_id, id, wanted)).await?;
        let message = format!("{} would change.", counted(view.changes.len(), "object"));
        return Ok(Success::ok(message, view).into_response());
    }
    let act = async {
        let updated = update::update(shop, user_id, id, wanted).await?;
        Ok(updated.map(|view| {
            if view.applied {
                Success::accepted("It is being given its new configuration.", view)
            } else {
                Success::ok("It has this configuration already.", view)
            }
        }))
    };
    once.answer(&state, user_id, act).await
}

/// Ends an instance and its subscription now, as `DELETE /subscriptions/{id}` does: everything it has is
/// removed, its data too.
#[utoipa::path(delete, path = "/instances/{id}", tag = "instances", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 202, description = "Being removed", body = Envelope<InstanceDetail>), Living))]
async fn terminate(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
) -> Reply<InstanceDetail> {
    let user_id = customer.user_id;
    let subscription = life::subscription_of(&mut state.db.read().await?, user_id, id).await?;
    let ended = cancellation::cancel(&state.subscriptions, user_id, subscription, None).await?;
    let detail = provisioning::detail(&state.instances, user_id, id).await?;
    Ok(Success::accepted(removed(ended), detail))
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
    Ok(answer(STOP, is_changed, detail))
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
    Ok(answer(START, is_changed, detail))
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
    Ok(answer(RESTART, is_changed, detail))
}

/// Place in a list of events.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct InstanceEventQuery {
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    pub(super) cursor: Option<Cursor<lists::InstanceEvents>>,
}

/// Answers with a part of an instance's events.
pub(super) fn happened(page: PageQuery, found: InstanceEvents) -> Success<Vec<InstanceEventView>> {
    let InstanceEvents {
        walked,
        has_cluster,
    } = found;
    let mut message = match walked.total {
        Some(total) => format!("{}.", counted(total.min(MOST_COUNTED), "event")),
        None => "Earlier events.".to_owned(),
    };
    if !has_cluster {
        message += " Events of its cluster are not among them.";
    }
    Success::walk::<lists::InstanceEvents>(message, page, walked, InstanceEventView::place)
}

/// Lists what happened to an instance in plain words, newest first: changes of its status, and what
/// its cluster tells of its parts.
///
/// Events of the shop and of the cluster are one list. The cluster forgets its own after an hour or so, and one that
/// happens again there is listed at its last time.
#[utoipa::path(get, path = "/instances/{id}/events", tag = "instances", params(("id" = Uuid, Path), PageQuery, InstanceEventQuery),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of them", body = Envelope<Vec<InstanceEventView>>), Missing))]
async fn events(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
    Paged(page, query): Paged<InstanceEventQuery>,
) -> Reply<Vec<InstanceEventView>> {
    let span = page.span(query.cursor)?;
    let found = watching::events(&state.instances, customer.user_id, id, span).await?;
    Ok(happened(page, found))
}

/// Part of a log to return.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct LogQuery {
    /// Newest lines.
    #[garde(range(min = 1, max = 1000))]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    lines: u32,
    /// True to be sent new lines as they are written.
    #[garde(skip)]
    #[param(default = false)]
    follow: bool,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self {
            lines: 100,
            follow: false,
        }
    }
}

/// Returns the newest lines that an instance's pods wrote, oldest first; generated secrets are masked.
///
/// With `follow`, the answer is a stream of server-sent events: a `line` for each line, and `end` when
/// the pods end, or after 15 minutes. A client that comes back with `Last-Event-ID` misses nothing.
#[utoipa::path(get, path = "/instances/{id}/logs", tag = "instances", params(("id" = Uuid, Path), LogQuery),
    security(("bearer" = [])),
    responses((status = 200, description = "The lines", content(
        (Envelope<Vec<LogLineView>> = "application/json"), (String = "text/event-stream"))), Logging))]
async fn logs(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
    Params(query): Params<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (instances, user_id) = (&state.instances, customer.user_id);
    if !query.follow {
        let lines = watching::logs(instances, user_id, id, query.lines).await?;
        let message = format!("{}.", counted(lines.len(), "line"));
        return Ok(Success::ok(message, lines).into_response());
    }
    let place = state.streams.enter(user_id)?;
    let seen = http::last_event_id(&headers);
    let following = Following {
        lines: query.lines,
        since: seen.and_then(|seen| seen.parse().ok()),
    };
    let lines = watching::follow_logs(instances, user_id, id, following).await?;
    let sent = lines.map(|line| Sent {
        id: line.at.map(|at| at.to_rfc3339()),
        name: "line",
        data: line,
    });
    Ok(http::events(place, sent))
}
