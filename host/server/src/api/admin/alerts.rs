//! `/admin/alerts`.

use axum::extract::State;
use dermaga_shop::{
    alerts::{self, Alert, AlertFilter, AlertKind, AlertState},
    ids::AlertId,
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
        Cursor, Envelope, Id, PageQuery, Paged, Reply, Success, failure_responses, lists, routes,
    },
};

failure_responses!(Missing: NotFound);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(acknowledge))
}

/// Filter of a list of alerts.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AlertQuery {
    #[garde(skip)]
    #[param(inline)]
    kind: Option<AlertKind>,
    #[garde(skip)]
    #[param(inline)]
    state: Option<AlertState>,
    /// Subject of the alert, exactly.
    #[garde(length(chars, max = 200))]
    #[param(max_length = 200)]
    subject: Option<String>,
    /// True for alerts that an administrator has acknowledged, false for the others.
    #[garde(skip)]
    acknowledged: Option<bool>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Alerts>>,
}

/// Lists the alerts for administrators, newest first.
#[utoipa::path(get, path = "/admin/alerts", tag = "admin: alerts", params(PageQuery, AlertQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of alerts", body = Envelope<Vec<Alert>>)))]
async fn list(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<AlertQuery>,
) -> Reply<Vec<Alert>> {
    let filter = AlertFilter {
        kind: query.kind,
        state: query.state,
        subject: query.subject.as_deref(),
        acknowledged: query.acknowledged,
    };
    let found = alerts::list(&state.db, &filter, page.span(query.cursor)?).await?;
    let place = Alert::place;
    Ok(Success::walk::<lists::Alerts>(
        "The alerts.",
        page,
        found,
        place,
    ))
}

/// Marks an alert as seen. It stays open until its cause is over.
#[utoipa::path(post, path = "/admin/alerts/{id}/acknowledge", tag = "admin: alerts", params(("id" = uuid::Uuid, Path)),
    request_body = Option<OptionalReason>, security(("bearer" = [])),
    responses((status = 200, description = "The alert, with who saw it first", body = Envelope<Alert>), Missing))]
async fn acknowledge(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<AlertId>,
    reason: Reason,
) -> Reply<Alert> {
    let alert = alerts::acknowledge(&state.db, &state.clock, reason.of(admin), id).await?;
    Ok(Success::ok("The alert is acknowledged.", alert))
}
