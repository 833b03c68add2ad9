//! `/admin/audit`.

use axum::extract::State;
use dermaga_shop::{
    audit::{self, AuditAct, AuditEvent, AuditFilter},
    ids::UserId,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState},
    http::{Cursor, Envelope, PageQuery, Paged, Reply, Success, When, lists, range, routes},
};

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Filter of a list of acts.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Id of the account that acted.
    #[garde(skip)]
    actor: Option<UserId>,
    #[garde(skip)]
    #[param(inline)]
    act: Option<AuditAct>,
    /// Kind and id of what it was done to, exactly: `subscription:0199…`.
    #[garde(length(chars, max = 200))]
    #[param(max_length = 200)]
    subject: Option<String>,
    /// Text within the reason, in any case.
    #[garde(length(chars, max = 200))]
    #[param(max_length = 200)]
    reason: Option<String>,
    /// Done at or after this moment, or on this date or later where the shop is.
    #[garde(skip)]
    #[param(inline)]
    from: Option<When>,
    /// Done before this moment, or on this date or earlier.
    #[garde(skip)]
    #[param(inline)]
    to: Option<When>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Acts>>,
}

/// Lists acts of administrators and reads of passwords, newest first. Nothing of it can be changed.
#[utoipa::path(get, path = "/admin/audit", tag = "admin: audit", params(PageQuery, AuditQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of acts", body = Envelope<Vec<AuditEvent>>)))]
async fn list(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<AuditQuery>,
) -> Reply<Vec<AuditEvent>> {
    let (from, until) = range(("from", query.from), ("to", query.to), state.clock.zone())?;
    let filter = AuditFilter {
        actor_id: query.actor,
        act: query.act,
        subject: query.subject.as_deref(),
        reason: query.reason.as_deref(),
        from,
        until,
    };
    let found = audit::list(&state.db, &filter, page.span(query.cursor)?).await?;
    Ok(Success::walk::<lists::Acts>(
        "The audit trail.",
        page,
        found,
        AuditEvent::place,
    ))
}
