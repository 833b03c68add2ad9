//! `/notifications`: the caller's inbox and preferences.

use axum::{
    extract::State,
    http::header,
    response::{Html, IntoResponse},
};
use dermaga_shop::{
    ids::NotificationId,
    notifications::{
        Channel, InboxFilter, Language, NotificationView, PreferenceChange, Preferences,
    },
    outbox::Topic,
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
failure_responses!(Unsubscribe: NotFound, InvalidState);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(read_all))
        .routes(routes!(preferences, change_preferences))
        .routes(routes!(unsubscribe_page, unsubscribe))
}

/// Filter of an inbox.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct InboxQuery {
    #[garde(skip)]
    #[param(inline)]
    kind: Option<Topic>,
    /// True for notifications that were not read yet, false for the others.
    #[garde(skip)]
    unread: Option<bool>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Notifications>>,
}

/// Part of an inbox.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Inbox {
    /// Number of notifications in the whole inbox that were not read yet.
    unread: i64,
    notifications: Vec<NotificationView>,
}

/// Lists one's own notifications, newest first, in one's own language.
#[utoipa::path(get, path = "/notifications", tag = "notifications", params(PageQuery, InboxQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of the inbox", body = Envelope<Inbox>)))]
async fn list(
    State(state): State<AppState>,
    customer: Customer,
    Paged(page, query): Paged<InboxQuery>,
) -> Reply<Inbox> {
    let filter = InboxFilter {
        kind: query.kind,
        unread: query.unread,
        ..InboxFilter::default()
    };
    let notifications = &state.notifications;
    let (found, unread) = notifications
        .inbox(customer.user_id, filter, page.span(query.cursor)?)
        .await?;
    let place = NotificationView::place;
    let success = Success::walk::<lists::Notifications>("Your notifications.", page, found, place);
    Ok(success.map(|notifications| Inbox {
        unread,
        notifications,
    }))
}

/// Marks a notification as read. One that was read before keeps its time.
#[utoipa::path(patch, path = "/notifications/{id}/read", tag = "notifications", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The notification", body = Envelope<NotificationView>), Missing))]
async fn read(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<NotificationId>,
) -> Reply<NotificationView> {
    let read = state.notifications.read(customer.user_id, id).await?;
    Ok(Success::ok("The notification is read.", read))
}

/// Number of notifications that a request changed.
#[derive(Debug, Serialize, ToSchema)]
struct ReadCount {
    read: u64,
}

/// Marks all of one's own notifications as read.
#[utoipa::path(post, path = "/notifications/read-all", tag = "notifications", security(("bearer" = [])),
    responses((status = 200, description = "Number of those that were not read before", body = Envelope<ReadCount>)))]
async fn read_all(State(state): State<AppState>, customer: Customer) -> Reply<ReadCount> {
    let read = state.notifications.read_all(customer.user_id).await?;
    Ok(Success::ok(
        "All notifications are read.",
        ReadCount { read },
    ))
}

/// Returns the language and the channels of one's own notifications.
#[utoipa::path(get, path = "/notifications/preferences", tag = "notifications", security(("bearer" = [])),
    responses((status = 200, description = "Every kind there is", body = Envelope<Preferences>)))]
async fn preferences(State(state): State<AppState>, customer: Customer) -> Reply<Preferences> {
    let preferences = state.notifications.preferences(customer.user_id).await?;
    Ok(Success::ok("Your preferences.", preferences))
}

/// Channels of a kind.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KindChange {
    #[garde(skip)]
    kind: Topic,
    /// As it is, when absent.
    #[garde(skip)]
    inbox: Option<bool>,
    /// As it is, when absent.
    #[garde(skip)]
    email: Option<bool>,
}

/// Preferences to change; what is absent stays as it is.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PreferencesChange {
    #[garde(skip)]
    language: Option<Language>,
    #[garde(inner(length(max = 50)))]
    #[schema(max_items = 50)]
    kinds: Option<Vec<KindChange>>,
}

/// Changes the language and the channels of one's own notifications. Kinds that are required cannot
/// be turned off.
#[utoipa::path(patch, path = "/notifications/preferences", tag = "notifications", security(("bearer" = [])),
    request_body = PreferencesChange,
    responses((status = 200, description = "The preferences now", body = Envelope<Preferences>)))]
async fn change_preferences(
    State(state): State<AppState>,
    customer: Customer,
    Body(change): Body<PreferencesChange>,
) -> Reply<Preferences> {
    let mut changes = Vec::new();
    for change in change.kinds.unwrap_or_default() {
        for (channel, enabled) in [
            (Channel::Inbox, change.inbox),
            (Channel::Email, change.email),
        ] {
            changes.extend(enabled.map(|enabled| PreferenceChange {
                kind: change.kind,
                channel,
                enabled,
            }));
        }
    }
    let notifications = &state.notifications;
    let preferences = notifications
        .set_preferences(customer.user_id, change.language, &changes)
        .await?;
    state.accounts.language_changed(customer.user_id);
    Ok(Success::ok("Your preferences are changed.", preferences))
}

/// Page that asks to confirm, since programs look at links before people do.
const UNSUBSCRIBE_PAGE: &str = "<!DOCTYPE html>
<html lang=\"id\"><head><meta charset=\"utf-8\"><title>Berhenti / Unsubscribe</title></head>
<body><p>Berhenti menerima surel seperti ini? / Stop mails like this one?</p>
<form method=\"post\"><button>Ya / Yes</button></form></body></html>
";

/// Policy of that page: it loads nothing, and its form is sent to where it came from.
const CSP_OF_UNSUBSCRIBE_PAGE: &str =
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Shows a page that asks to confirm; nothing is changed.
#[utoipa::path(get, path = "/notifications/unsubscribe/{token}", tag = "notifications",
    params(("token" = String, Path, description = "Token in a mail")),
    responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
async fn unsubscribe_page(Segment(_token): Segment<String>) -> impl IntoResponse {
    let policy = [(header::CONTENT_SECURITY_POLICY, CSP_OF_UNSUBSCRIBE_PAGE)];
    (policy, Html(UNSUBSCRIBE_PAGE))
}

/// Ends further mails of the kind that a mail's link is for, without signing in (RFC 8058). The
/// inbox is left as it is. A kind that is required cannot be ended.
#[utoipa::path(post, path = "/notifications/unsubscribe/{token}", tag = "notifications",
    params(("token" = String, Path, description = "Token in a mail")),
    responses((status = 200, description = "No more mails of this kind", body = Envelope<Nothing>), Unsubscribe))]
async fn unsubscribe(
    State(state): State<AppState>,
    Segment(token): Segment<String>,
) -> Reply<Nothing> {
    state.notifications.unsubscribe(&token).await?;
    let message = "You get no more mails of this kind. They are in your inbox.";
    Ok(Success::ok(message, Nothing {}))
}
