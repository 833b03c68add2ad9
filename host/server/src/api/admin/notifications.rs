//! `/admin/notifications`: texts of notifications and what became of them.

use axum::extract::State;
use dermaga_shop::{
    ids::DeliveryId,
    notifications::{Delivery, DeliveryState, Language, Rendered},
    outbox::Topic,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        Admin, AppState,
        admin::reasons::{OptionalReason, Reason},
    },
    http::{
        Cursor, Envelope, Id, Nothing, PageQuery, Paged, Params, Reply, Success, failure_responses,
        lists, routes,
    },
};

failure_responses!(Reloading: ValidationFailed);
failure_responses!(Resending: NotFound, InvalidState);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(preview))
        .routes(routes!(reload))
        .routes(routes!(deliveries))
        .routes(routes!(resend))
}

/// Notification to write.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PreviewQuery {
    #[garde(skip)]
    #[param(inline)]
    kind: Topic,
    #[garde(skip)]
    #[param(inline)]
    language: Language,
}

/// Writes an imagined notification of a kind, as it would be sent. Nothing is sent.
#[utoipa::path(get, path = "/admin/notifications/preview", tag = "admin: notifications", params(PreviewQuery), security(("bearer" = [])),
    responses((status = 200, description = "Subject and texts", body = Envelope<Rendered>)))]
async fn preview(
    State(state): State<AppState>,
    _admin: Admin,
    Params(query): Params<PreviewQuery>,
) -> Reply<Rendered> {
    let rendered = state.notifications.preview(query.kind, query.language)?;
    Ok(Success::ok(
        "The notification as it would be sent.",
        rendered,
    ))
}

/// Loads the templates of `DERMAGA_NOTIFICATION_TEMPLATES_DIR` again. If one of them is wrong, the
/// answer names its file and line, and the earlier ones stay in use.
#[utoipa::path(post, path = "/admin/notifications/templates/reload", tag = "admin: notifications",
    request_body = Option<OptionalReason>, security(("bearer" = [])),
    responses((status = 200, description = "Loaded", body = Envelope<Nothing>), Reloading))]
async fn reload(State(state): State<AppState>, admin: Admin, reason: Reason) -> Reply<Nothing> {
    let by = reason.of(admin);
    state.notifications.reload_templates(by).await?;
    Ok(Success::ok("The templates are loaded.", Nothing {}))
}

/// Filter of deliveries.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeliveryQuery {
    #[garde(skip)]
    #[param(inline)]
    state: Option<DeliveryState>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Mails>>,
}

/// Lists the mails that were sent, that wait, and that are dead (`state=DEAD`), newest first.
#[utoipa::path(get, path = "/admin/notifications/deliveries", tag = "admin: notifications", params(PageQuery, DeliveryQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of deliveries", body = Envelope<Vec<Delivery>>)))]
async fn deliveries(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<DeliveryQuery>,
) -> Reply<Vec<Delivery>> {
    let notifications = &state.notifications;
    let span = page.span(query.cursor)?;
    let found = notifications.deliveries(query.state, span).await?;
    Ok(Success::walk::<lists::Mails>(
        "The deliveries.",
        page,
        found,
        Delivery::place,
    ))
}

/// Sends a dead mail again, with the address that it was sent to.
#[utoipa::path(post, path = "/admin/notifications/deliveries/{id}/resend", tag = "admin: notifications", params(("id" = Uuid, Path)),
    request_body = Option<OptionalReason>, security(("bearer" = [])),
    responses((status = 200, description = "The delivery, which is tried at once", body = Envelope<Delivery>), Resending))]
async fn resend(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<DeliveryId>,
    reason: Reason,
) -> Reply<Delivery> {
    let delivery = state.notifications.resend(reason.of(admin), id).await?;
    Ok(Success::ok("The mail is sent again.", delivery))
}
