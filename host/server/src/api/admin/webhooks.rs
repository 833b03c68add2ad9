//! `/admin/webhooks`: endpoints of the shop, which the events of all customers are sent to.

use axum::extract::State;
use dermaga_shop::{
    audit::{By, GivenReason},
    ids::{WebhookDeliveryId, WebhookId},
    outbox::Topic,
    webhooks::{
        Caller, MOST_OVERLAP_HOURS, NewWebhook, Owner, Webhook, WebhookChange, WebhookDelivery,
        WebhookDeliveryDetail, Webhooks,
    },
};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        Admin, AppState,
        admin::reasons::{OptionalReason, Reason, RequiredReason},
        webhooks::{
            CreatedWebhook, NewWebhookSecret, WebhookDeliveryQuery, created, listed, overlap,
            rotated,
        },
    },
    http::{
        Body, Envelope, Id, Nothing, PageQuery, Paged, Reply, Segment, Success, failure_responses,
        lists, routes,
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

/// Endpoint of the shop to make.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ShopWebhookRequest {
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
    #[garde(dive)]
    reason: GivenReason,
}

/// Fields of an endpoint of the shop to change; what is absent stays as it is.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ShopWebhookPatch {
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
    #[garde(dive)]
    reason: GivenReason,
}

/// Rotation of the secret of an endpoint of the shop.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ShopRotationRequest {
    /// Hours in which the earlier secret signs beside the new one; 24 when absent, 0 to end it at once.
    #[garde(inner(range(min = 0, max = MOST_OVERLAP_HOURS)))]
    #[schema(minimum = 0, maximum = 168, default = 24)]
    overlap_hours: Option<u32>,
    #[garde(dive)]
    reason: GivenReason,
}

/// Lists the webhooks of the shop, the oldest first; never their secrets.
#[utoipa::path(get, path = "/admin/webhooks", tag = "admin: webhooks", security(("bearer" = [])),
    responses((status = 200, description = "The webhooks", body = Envelope<Vec<Webhook>>)))]
async fn list(State(state): State<AppState>, _admin: Admin) -> Reply<Vec<Webhook>> {
    Ok(listed(state.webhooks.list(Owner::Shop).await?))
}

/// Makes a webhook of the shop: from now on, events of all customers are sent to it, and those for
/// administrators, signed by the Standard Webhooks specification.
#[utoipa::path(post, path = "/admin/webhooks", tag = "admin: webhooks", security(("bearer" = [])), request_body = ShopWebhookRequest,
    responses((status = 201, description = "The webhook, with its secret, shown this once", body = Envelope<CreatedWebhook>), Creating))]
async fn create(
    State(state): State<AppState>,
    admin: Admin,
    Body(request): Body<ShopWebhookRequest>,
) -> Reply<CreatedWebhook> {
    let new = NewWebhook {
        url: &request.url,
        description: &request.description,
        events: request.events,
    };
    let caller = Caller::Administrator(By::because(admin.user_id, request.reason.as_str()));
    Ok(created(state.webhooks.create(caller, new).await?))
}

/// Lists the kinds of events that a webhook of the shop can be for.
#[utoipa::path(get, path = "/admin/webhooks/event-types", tag = "admin: webhooks", security(("bearer" = [])),
    responses((status = 200, description = "The kinds", body = Envelope<Vec<Topic>>)))]
async fn event_types(_admin: Admin) -> Reply<Vec<Topic>> {
    let kinds = Webhooks::kinds(Owner::Shop);
    Ok(Success::ok("The kinds of events.", kinds))
}

/// Returns a webhook of the shop.
#[utoipa::path(get, path = "/admin/webhooks/{id}", tag = "admin: webhooks", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The webhook", body = Envelope<Webhook>), Missing))]
async fn get(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<WebhookId>,
) -> Reply<Webhook> {
    let webhook = state.webhooks.get(Owner::Shop, id).await?;
    Ok(Success::ok("The webhook.", webhook))
}

/// Changes a webhook of the shop, switches it off or on again.
#[utoipa::path(patch, path = "/admin/webhooks/{id}", tag = "admin: webhooks", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = ShopWebhookPatch,
    responses((status = 200, description = "The webhook now", body = Envelope<Webhook>), Missing))]
async fn change(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<WebhookId>,
    Body(patch): Body<ShopWebhookPatch>,
) -> Reply<Webhook> {
    let change = WebhookChange {
        url: patch.url,
        description: patch.description,
        events: patch.events,
        enabled: patch.enabled,
    };
    let caller = Caller::Administrator(By::because(admin.user_id, patch.reason.as_str()));
    let webhook = state.webhooks.change(caller, id, change).await?;
    Ok(Success::ok("The webhook is changed.", webhook))
}

/// Deletes a webhook of the shop with its log. What was not delivered is not sent any more.
#[utoipa::path(delete, path = "/admin/webhooks/{id}", tag = "admin: webhooks", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = RequiredReason,
    responses((status = 200, description = "Deleted", body = Envelope<Nothing>), Missing))]
async fn delete(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<WebhookId>,
    Body(request): Body<RequiredReason>,
) -> Reply<Nothing> {
    let caller = Caller::Administrator(By::because(admin.user_id, request.reason.as_str()));
    state.webhooks.delete(caller, id).await?;
    Ok(Success::ok("The webhook is deleted.", Nothing {}))
}

/// Makes a new secret. Events are signed with the earlier one, too, until the overlap ends.
#[utoipa::path(post, path = "/admin/webhooks/{id}/rotate-secret", tag = "admin: webhooks", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = ShopRotationRequest,
    responses((status = 200, description = "The new secret, shown this once", body = Envelope<NewWebhookSecret>), Rotating))]
async fn rotate(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<WebhookId>,
    Body(request): Body<ShopRotationRequest>,
) -> Reply<NewWebhookSecret> {
    let caller = Caller::Administrator(By::because(admin.user_id, request.reason.as_str()));
    let overlap = overlap(request.overlap_hours);
    Ok(rotated(&state.webhooks.rotate(caller, id, overlap).await?))
}

/// Sends an event of the type `WEBHOOK_TEST` to a webhook of the shop, whatever kinds it is for.
#[utoipa::path(post, path = "/admin/webhooks/{id}/test", tag = "admin: webhooks", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = Option<OptionalReason>,
    responses((status = 202, description = "The delivery, which is tried at once", body = Envelope<WebhookDelivery>), Sending))]
async fn test(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<WebhookId>,
    reason: Reason,
) -> Reply<WebhookDelivery> {
    let caller = Caller::Administrator(reason.of(admin));
    let delivery = state.webhooks.test(caller, id).await?;
    Ok(Success::accepted("The test event is on its way.", delivery))
}

/// Lists the deliveries of the last 30 days to a webhook of the shop, newest first.
#[utoipa::path(get, path = "/admin/webhooks/{id}/deliveries", tag = "admin: webhooks",
    params(("id" = Uuid, Path), PageQuery, WebhookDeliveryQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of deliveries", body = Envelope<Vec<WebhookDelivery>>), Missing))]
async fn deliveries(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<WebhookId>,
    Paged(page, query): Paged<WebhookDeliveryQuery>,
) -> Reply<Vec<WebhookDelivery>> {
    let webhooks = &state.webhooks;
    let found = webhooks
        .deliveries(Owner::Shop, id, query.state, page.span(query.cursor)?)
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
#[utoipa::path(get, path = "/admin/webhooks/{id}/deliveries/{deliveryId}", tag = "admin: webhooks",
    params(("id" = Uuid, Path), ("deliveryId" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The delivery", body = Envelope<WebhookDeliveryDetail>), Missing))]
async fn delivery(
    State(state): State<AppState>,
    _admin: Admin,
    Segment((id, delivery_id)): Segment<(WebhookId, WebhookDeliveryId)>,
) -> Reply<WebhookDeliveryDetail> {
    let detail = state
        .webhooks
        .delivery(Owner::Shop, id, delivery_id)
        .await?;
    Ok(Success::ok("The delivery.", detail))
}

/// Sends an event again, whatever became of it, with the same `webhook-id`.
#[utoipa::path(post, path = "/admin/webhooks/{id}/deliveries/{deliveryId}/resend", tag = "admin: webhooks",
    params(("id" = Uuid, Path), ("deliveryId" = Uuid, Path)), request_body = Option<OptionalReason>,
    security(("bearer" = [])),
    responses((status = 202, description = "The delivery, which is tried at once", body = Envelope<WebhookDelivery>), Sending))]
async fn resend(
    State(state): State<AppState>,
    admin: Admin,
    Segment((id, delivery_id)): Segment<(WebhookId, WebhookDeliveryId)>,
    reason: Reason,
) -> Reply<WebhookDelivery> {
    let caller = Caller::Administrator(reason.of(admin));
    let delivery = state.webhooks.resend(caller, id, delivery_id).await?;
    Ok(Success::accepted("The event is sent again.", delivery))
}
