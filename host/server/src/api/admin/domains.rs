//! `/admin/domains`: domains of all customers.

use axum::extract::State;
use dermaga_shop::{
    db::MOST_COUNTED,
    ids::{DomainId, InstanceId, UserId},
    provisioning::domains::{DomainFilter, DomainState, OwnedDomain},
    text::counted,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState, admin::reasons::RequiredReason, domains::removed},
    http::{
        Body, Cursor, Envelope, Id, Nothing, PageQuery, Paged, Reply, Success, failure_responses,
        lists, routes,
    },
};

failure_responses!(Missing: NotFound);

/// The administrators' routes.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(remove))
}

/// Filter of a list of domains.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DomainQuery {
    #[garde(skip)]
    #[param(inline)]
    state: Option<DomainState>,
    #[garde(skip)]
    user_id: Option<UserId>,
    #[garde(skip)]
    instance_id: Option<InstanceId>,
    /// Text within the domain or the customer's e-mail address, in any case.
    #[garde(length(chars, max = 200))]
    #[param(max_length = 200)]
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_search")]
    q: Option<String>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Domains>>,
}

/// Lists the domains of all customers, newest first: those that lead to instances, and those that wait for a proof.
#[utoipa::path(get, path = "/admin/domains", tag = "admin: instances", params(PageQuery, DomainQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of domains", body = Envelope<Vec<OwnedDomain>>)))]
async fn list(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<DomainQuery>,
) -> Reply<Vec<OwnedDomain>> {
    let filter = DomainFilter {
        state: query.state,
        user_id: query.user_id,
        instance_id: query.instance_id,
        q: query.q.as_deref(),
    };
    let span = page.span(query.cursor)?;
    let found = state.domains.list_all(&filter, span).await?;
    let message = match found.total {
        Some(total) => format!("{}.", counted(total.min(MOST_COUNTED), "domain")),
        None => "Earlier domains.".to_owned(),
    };
    let place = OwnedDomain::place;
    Ok(Success::walk::<lists::Domains>(message, page, found, place))
}

/// Removes a domain of any customer. One that leads to an instance is taken back from it. The reason is kept.
#[utoipa::path(delete, path = "/admin/domains/{id}", tag = "admin: instances", params(("id" = Uuid, Path)),
    request_body = RequiredReason, security(("bearer" = [])),
    responses((status = 200, description = "Removed", body = Envelope<Nothing>),
        (status = 202, description = "Being taken back", body = Envelope<Nothing>), Missing))]
async fn remove(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<DomainId>,
    Body(request): Body<RequiredReason>,
) -> Reply<Nothing> {
    let domains = &state.domains;
    let is_led = domains
        .remove_any(admin.user_id, id, request.reason.as_str())
        .await?;
    Ok(removed(is_led))
}
