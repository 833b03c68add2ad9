//! `/webhooks`: endpoints that a customer's events are sent to.

use axum::extract::State;
use chrono::TimeDelta;
use dermaga_shop::{
    crypto::{Hidden, Secret},
    ids::{WebhookDeliveryId, WebhookId},
    outbox::Topic,
    text::counted,
    webhooks::{
        Caller, MOST_OVERLAP_HOURS, NewWebhook, Owner, Webhook, WebhookChange, WebhookDelivery,
        WebhookDeliveryDetail, WebhookDeliveryState, Webhooks,
    },
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer},
    http::{
        Body, Cursor, Envelope, Id, Nothing, PageQuery, Paged, Reply, Segment, Success,
        failure_responses, lists, routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Creating: Conflict);
failure_responses!(Rotating: NotFound, Conflict);
failure_responses!(Sending: NotFound, InvalidState, TooManyRequests);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(event_types))
        .routes(routes!(get, change, delete))
        .routes(routes!(rotate))
        .routes(routes!(test))
        .routes(routes!(deliveries))
        .routes(routes!(delivery))
        .routes(routes!(resend))
}

/// Endpoint to make.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WebhookRequest {
    /// Public address that begins with `https://`.
    #[garde(length(chars, min = 1, max = 500))]
    #[schema(min_length = 1, max_length = 500, example = "https://example.com/hook")]
    url: String,
    /// Purpose of the endpoint, for people to read.
    #[garde(length(chars, max = 200), custom(dermaga_shop::text::prose))]
    #[schema(max_length = 200)]
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_prose")]
    description: String,
    /// Kinds of events; all, also those that come later, when it is empty or absent.
    #[garde(length(max = 50))]
    #[schema(max_items = 50)]
    #[serde(default)]
    events: Vec<Topic>,
}

/// Fields of an endpoint to change; what is absent stays as it is.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WebhookPatch {
    /// Public address that begins with `https://`.
    #[garde(inner(length(chars, min = 1, max = 500)))]
    #[schema(min_length = 1, max_length = 500)]
    url: Option<String>,
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_prose")]
    #[garde(inner(length(chars, max = 200), custom(dermaga_shop::text::prose)))]
    #[schema(max_length = 200)]
    description: Option<String>,
    /// Kinds of events; all, also those that come later, when it is empty.
    #[garde(inner(length(max = 50)))]
    #[schema(max_items = 50)]
    events: Option<Vec<Topic>>,
    /// False to send nothing for now. True also after the shop disabled it.
    #[garde(skip)]
    enabled: Option<bool>,
}

/// Rotation of a secret.
#[derive(Debug, Default, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RotationRequest {
    /// Hours in which the earlier secret signs beside the new one; 24 when absent, 0 to end it at once.
    #[garde(inner(range(min = 0, max = MOST_OVERLAP_HOURS)))]
    #[schema(minimum = 0, maximum = 168, default = 24)]
    overlap_hours: Option<u32>,
}

/// Returns the overlap that was asked for.
pub(super) fn overlap(hours: Option<u32>) -> TimeDelta {
    TimeDelta::hours(hours.unwrap_or(24).into())
}

/// An endpoint and its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedWebhook {
    #[serde(flatten)]
    pub(super) webhook: Webhook,
    /// Secret that events are signed with. Shown this once.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", value_type = String)]
    pub(super) secret: Hidden,
}

/// A new secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewWebhookSecret {
    /// Secret that events are signed with from now on. Shown this once.
    #[schema(value_type = String)]
    pub(super) secret: Hidden,
}

/// Answers with all endpoints of an owner.
pub(super) fn listed(found: Vec<Webhook>) -> Success<Vec<Webhook>> {
    Success::ok(format!("{}.", counted(found.len(), "webhook")), found)
}

/// Answers with an endpoint that was made.
pub(super) fn created((webhook, secret): (Webhook, Secret)) -> Success<CreatedWebhook> {
    let secret = secret.reveal().to_owned().into();
    Success::created(
        "Keep the secret now: it is not shown again.",
        CreatedWebhook { webhook, secret },
    )
}

/// Answers with a secret that takes the place of an earlier one.
pub(super) fn rotated(secret: &Secret) -> Success<NewWebhookSecret> {
    let secret = secret.reveal().to_owned().into();
    Success::ok(
        "Keep the secret now: it is not shown again.",
        NewWebhookSecret { secret },
    )
}

/// Filter of deliveries.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WebhookDeliveryQuery {
    #[garde(skip)]
    #[param(inline)]
    pub(super) state: Option<WebhookDeliveryState>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    pub(super) cursor: Option<Cursor<lists::Deliveries>>,
}

/// Lists one's own webhooks, the oldest first; never their secrets.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", security(("bearer" = [])),
    responses((status = 200, description = "The webhooks", body = Envelope<Vec<Webhook>>)))]
async fn list(State(state): State<AppState>, customer: Customer) -> Reply<Vec<Webhook>> {
    let owner = Owner::Customer(customer.user_id);
    Ok(listed(state.webhooks.list(owner).await?))
}

/// Makes a webhook: from now on, one's own events are sent to it, signed by the Standard Webhooks
/// specification.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", security(("bearer" = [])), request_body = WebhookRequest,
    responses((status = 201, description = "The webhook, with its secret, shown this once", body = Envelope<CreatedWebhook>), Creating))]
async fn create(
    State(state): State<AppState>,
    customer: Customer,
    Body(request): Body<WebhookRequest>,
) -> Reply<CreatedWebhook> {
    let new = NewWebhook {
        url: &request.url,
        description: &request.description,
        events: request.events,
    };
    let caller = Caller::Customer(customer.identity().signed_in());
    Ok(created(state.webhooks.create(caller, new).await?))
}

/// Lists the kinds of events that a webhook can be for.
#[utoipa::path(get, path = "/webhooks/event-types", tag = "webhooks", security(("bearer" = [])),
    responses((status = 200, description = "The kinds", body = Envelope<Vec<Topic>>)))]
async fn event_types(customer: Customer) -> Reply<Vec<Topic>> {
    let kinds = Webhooks::kinds(Owner::Customer(customer.user_id));
    Ok(Success::ok("The kinds of events.", kinds))
}

/// Returns one of one's own webhooks.
#[utoipa::path(get, path = "/webhooks/{id}", tag = "webhooks", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The webhook", body = Envelope<Webhook>), Missing))]
async fn get(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<WebhookId>,
) -> Reply<Webhook> {
    let owner = Owner::Customer(customer.user_id);
    let webhook = state.webhooks.get(owner, id).await?;
    Ok(Success::ok("Your webhook.", webhook))
}

/// Changes a webhook, switches it off or on again.
#[utoipa::path(patch, path = "/webhooks/{id}", tag = "webhooks", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = WebhookPatch,
    responses((status = 200, description = "The webhook now", body = Envelope<Webhook>), Missing))]
async fn change(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<WebhookId>,
    Body(patch): Body<WebhookPatch>,
) -> Reply<Webhook> {
    let change = WebhookChange {
        url: patch.url,
        description: patch.description,
        events: patch.events,
        enabled: patch.enabled,
    };
    let caller = Caller::Customer(customer.identity().signed_in());
    let webhook = state.webhooks.change(caller, id, change).await?;
    Ok(Success::ok("The webhook is changed.", webhook))
}

/// Deletes a webhook with its log. What was not delivered is not sent any more.
#[utoipa::path(delete, path = "/webhooks/{id}", tag = "webhooks", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "Deleted", body = Envelope<Nothing>), Missing))]
async fn delete(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<WebhookId>,
) -> Reply<Nothing> {
    let caller = Caller::Customer(customer.identity().signed_in());
    state.webhooks.delete(caller, id).await?;
    Ok(Success::ok("The webhook is deleted.", Nothing {}))
}

/// Makes a new secret. Events are signed with the earlier one, too, until the overlap ends.
#[utoipa::path(post, path = "/webhooks/{id}/rotate-secret", tag = "webhooks", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = RotationRequest,
    responses((status = 200, description = "The new secret, shown this once", body = Envelope<NewWebhookSecret>), Rotating))]
async fn rotate(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<WebhookId>,
    Body(request): Body<RotationRequest>,
) -> Reply<NewWebhookSecret> {
    let caller = Caller::Customer(customer.identity().signed_in());
    let overlap = overlap(request.overlap_hours);
    Ok(rotated(&state.webhooks.rotate(caller, id, overlap).await?))
}

/// Sends an event of the type `WEBHOOK_TEST` to a webhook, whatever kinds it is for.
#[utoipa::path(post, path = "/webhooks/{id}/test", tag = "webhooks", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 202, description = "The delivery, which is tried at once", body = Envelope<WebhookDelivery>), Sending))]
async fn test(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<WebhookId>,
) -> Reply<WebhookDelivery> {
    let caller = Caller::Customer(customer.identity().signed_in());
    let delivery = state.webhooks.test(caller, id).await?;
    Ok(Success::accepted("The test event is on its way.", delivery))
}

/// Lists the deliveries of the last 30 days to a webhook, newest first.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", tag = "webhooks", params(("id" = Uuid, Path), PageQuery, WebhookDeliveryQuery),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of deliveries", body = Envelope<Vec<WebhookDelivery>>), Missing))]
async fn deliveries(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<WebhookId>,
    Paged(page, query): Paged<WebhookDeliveryQuery>,
) -> Reply<Vec<WebhookDelivery>> {
    let owner = Owner::Customer(customer.user_id);
    let webhooks = &state.webhooks;
    let found = webhooks
        .deliveries(owner, id, query.state, page.span(query.cursor)?)
        .await?;
    let place = WebhookDelivery::place;
    Ok(Success::walk::<lists::Deliveries>(
        "The deliveries.",
        page,
        found,
        place,
    ))
}

/// Returns a delivery with its payload, its attempts and the answers to them.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries/{deliveryId}", tag = "webhooks",
    params(("id" = Uuid, Path), ("deliveryId" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The delivery", body = Envelope<WebhookDeliveryDetail>), Missing))]
async fn delivery(
    State(state): State<AppState>,
    customer: Customer,
    Segment((id, delivery_id)): Segment<(WebhookId, WebhookDeliveryId)>,
) -> Reply<WebhookDeliveryDetail> {
    let owner = Owner::Customer(customer.user_id);
    let detail = state.webhooks.delivery(owner, id, delivery_id).await?;
    Ok(Success::ok("The delivery.", detail))
}

/// Sends an event again, whatever became of it, with the same `webhook-id`.
#[utoipa::path(post, path = "/webhooks/{id}/deliveries/{deliveryId}/resend", tag = "webhooks",
    params(("id" = Uuid, Path), ("deliveryId" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 202, description = "The delivery, which is tried at once", body = Envelope<WebhookDelivery>), Sending))]
async fn resend(
    State(state): State<AppState>,
    customer: Customer,
    Segment((id, delivery_id)): Segment<(WebhookId, WebhookDeliveryId)>,
) -> Reply<WebhookDelivery> {
    let caller = Caller::Customer(customer.identity().signed_in());
    let delivery = state.webhooks.resend(caller, id, delivery_id).await?;
    Ok(Success::accepted("The event is sent again.", delivery))
}
